//! The library's public items, as its source declares them, with their documentation.

use std::collections::BTreeSet;
use std::mem;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use proc_macro2::Ident;
use syn::{Attribute, Expr, ImplItem, Item, Lit, Meta, TraitItem, Type, UseTree, Visibility};

use crate::text;

/// An item, or a method of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Documented {
    /// Its name, after that of the type or trait that it is a method of.
    pub(super) name: String,
    pub(super) file: PathBuf,
    pub(super) line: usize,
    /// The lines of its documentation.
    pub(super) documentation: String,
}

/// The public items of the crate whose root is `src/lib.rs` in `folder`, by their order in its modules: types, traits and
/// their methods, functions, constants, and the methods of types.
pub(super) fn public(folder: &Path) -> Result<Vec<Documented>> {
    let root = Module::read(&folder.join("src").join("lib.rs"), true)?;
    let mut modules = Vec::new();
    root.with_children(&folder.join("src"), &mut modules)?;
    let found = of_modules(&modules);
    if found.is_empty() {
        bail!("{} has no public item", folder.display());
    }
    Ok(found)
}

/// The public items of modules that make up a crate.
fn of_modules(modules: &[Module]) -> Vec<Documented> {
    let mut exported = BTreeSet::new();
    for module in modules.iter().filter(|module| module.public) {
        for item in &module.items {
            if let Item::Use(item) = item
                && is_public(&item.vis)
            {
                names(&item.tree, &mut exported);
            }
        }
    }
    let mut found = Vec::new();
    for module in modules {
        let is_exported = |name: &Ident| module.public || exported.contains(&name.to_string());
        for item in &module.items {
            add(item, &module.file, &is_exported, &mut found);
        }
    }
    found
}

/// A module of the crate.
struct Module {
    file: PathBuf,
    /// Whether it, and all that it is in, is public.
    public: bool,
    items: Vec<Item>,
}

impl Module {
    fn read(file: &Path, public: bool) -> Result<Self> {
        let parsed = syn::parse_file(&text::read(file)?)
            .with_context(|| format!("{} is not Rust", file.display()))?;
        Ok(Self { file: file.to_path_buf(), public, items: parsed.items })
    }

    /// Adds this module and those below it, whose files are in `folder`.
    fn with_children(mut self, folder: &Path, modules: &mut Vec<Self>) -> Result<()> {
        let mut children = Vec::new();
        for item in &mut self.items {
            let Item::Mod(module) = item else { continue };
            if is_for_tests(&module.attrs) {
                continue;
            }
            let public = self.public && is_public(&module.vis);
            let below = folder.join(module.ident.to_string());
            let child = if let Some((_, items)) = &mut module.content {
                Self { file: self.file.clone(), public, items: mem::take(items) }
            } else {
                let beside = below.with_extension("rs");
                let file = if beside.is_file() { beside } else { below.join("mod.rs") };
                Self::read(&file, public)?
            };
            children.push((child, below));
        }
        modules.push(self);
        for (child, below) in children {
            child.with_children(&below, modules)?;
        }
        Ok(())
    }
}

/// Adds `item` if it is public, and what is public in it.
fn add(item: &Item, file: &Path, exported: &impl Fn(&Ident) -> bool, found: &mut Vec<Documented>) {
    let mut add = |name: String, ident: &Ident, attributes: &[Attribute]| {
        if !is_hidden(attributes) && !is_for_tests(attributes) {
            found.push(Documented {
                name,
                file: file.to_path_buf(),
                line: ident.span().start().line,
                documentation: documentation(attributes),
            });
        }
    };
    let (attributes, visibility, ident) = match item {
        Item::Struct(item) => (&item.attrs, &item.vis, &item.ident),
        Item::Enum(item) => (&item.attrs, &item.vis, &item.ident),
        Item::Union(item) => (&item.attrs, &item.vis, &item.ident),
        Item::Type(item) => (&item.attrs, &item.vis, &item.ident),
        Item::Const(item) => (&item.attrs, &item.vis, &item.ident),
        Item::Static(item) => (&item.attrs, &item.vis, &item.ident),
        Item::Fn(item) => (&item.attrs, &item.vis, &item.sig.ident),
        Item::Trait(item) => {
            if is_public(&item.vis) && exported(&item.ident) {
                add(item.ident.to_string(), &item.ident, &item.attrs);
                for member in &item.items {
                    if let TraitItem::Fn(method) = member {
                        let name = format!("{}::{}", item.ident, method.sig.ident);
                        add(name, &method.sig.ident, &method.attrs);
                    }
                }
            }
            return;
        }
        Item::Impl(item) => {
            if let (None, Some(of)) = (&item.trait_, type_name(&item.self_ty))
                && exported(of)
            {
                for member in &item.items {
                    let (attributes, visibility, ident) = match member {
                        ImplItem::Fn(method) => (&method.attrs, &method.vis, &method.sig.ident),
                        ImplItem::Const(constant) => {
                            (&constant.attrs, &constant.vis, &constant.ident)
                        }
                        _ => continue,
                    };
                    if is_public(visibility) {
                        add(format!("{of}::{ident}"), ident, attributes);
                    }
                }
            }
            return;
        }
        _ => return,
    };
    if is_public(visibility) && exported(ident) {
        add(ident.to_string(), ident, attributes);
    }
}

const fn is_public(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}

/// The names that a `pub use` makes public, by what they are where they are declared.
fn names(tree: &UseTree, found: &mut BTreeSet<String>) {
    match tree {
        UseTree::Path(path) => names(&path.tree, found),
        UseTree::Name(name) => drop(found.insert(name.ident.to_string())),
        UseTree::Rename(rename) => drop(found.insert(rename.ident.to_string())),
        UseTree::Group(group) => group.items.iter().for_each(|tree| names(tree, found)),
        // What comes with it cannot be told from the tree alone; the library has none.
        UseTree::Glob(_) => {}
    }
}

/// The last name in the path of a type.
fn type_name(of: &Type) -> Option<&Ident> {
    match of {
        Type::Path(path) => Some(&path.path.segments.last()?.ident),
        _ => None,
    }
}

/// The text of the documentation comments.
fn documentation(attributes: &[Attribute]) -> String {
    let mut text = String::new();
    for attribute in attributes {
        if let Meta::NameValue(value) = &attribute.meta
            && value.path.is_ident("doc")
            && let Expr::Lit(literal) = &value.value
            && let Lit::Str(line) = &literal.lit
        {
            text.push_str(&line.value());
            text.push('\n');
        }
    }
    text
}

/// Whether the item is left out of the documentation.
fn is_hidden(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("doc")
            && attribute.parse_args::<Ident>().is_ok_and(|argument| argument == "hidden")
    })
}

/// Whether the item is there for tests only.
fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<Ident>().is_ok_and(|argument| argument == "test")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(source: &str, public: bool) -> Module {
        let items = syn::parse_file(source).map(|file| file.items).unwrap_or_default();
        Module { file: PathBuf::from("m.rs"), public, items }
    }

    fn names_in(root: &str, other: &str) -> Vec<String> {
        let modules = [module(root, true), module(other, false)];
        of_modules(&modules).into_iter().map(|item| item.name).collect()
    }

    #[test]
    fn what_is_exported_is_public_and_the_rest_is_not() {
        let names = names_in(
            "mod m; pub use m::{Shown, inner::Renamed as Other};",
            "pub struct Shown; pub struct Kept; pub(crate) struct Crate; pub enum Renamed {}",
        );
        assert_eq!(names, ["Shown", "Renamed"]);
    }

    #[test]
    fn methods_of_traits_are_items_and_those_of_implementations_are_not() {
        let names = names_in(
            "pub use m::{Handler, Shown};",
            "pub trait Handler { fn service(&self); fn enable(&self) {} }
             pub struct Shown;
             impl Handler for Shown { fn service(&self) {} }
             impl<T> Shown { pub fn new() {} fn private() {} pub(crate) fn inside() {} pub const A: u8 = 1; }
             impl Kept { pub fn new() {} }",
        );
        let expected =
            ["Handler", "Handler::service", "Handler::enable", "Shown", "Shown::new", "Shown::A"];
        assert_eq!(names, expected);
    }

    #[test]
    fn hidden_items_and_those_for_tests_are_left_out() {
        let names = names_in("#[doc(hidden)] pub fn hidden() {} #[cfg(test)] pub fn test() {}", "");
        assert!(names.is_empty(), "{names:?}");
    }

    #[test]
    fn an_item_has_its_place_and_its_documentation() {
        let modules = [module("/// One.\n/// Two.\npub fn documented() {}\n", true)];
        let items = of_modules(&modules);
        let [item] = items.as_slice() else { panic!("{items:?}") };
        assert_eq!((item.line, item.documentation.as_str()), (3, " One.\n Two.\n"));
    }
}
