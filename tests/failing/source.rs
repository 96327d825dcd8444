//! What the library has, as its source says.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// All of the library's source files.
fn files() -> Vec<String> {
    fn gather(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                gather(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    gather(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    found.into_iter().map(|path| fs::read_to_string(path).unwrap()).collect()
}

/// The type that an `impl` is of.
fn implementor(head: &str) -> Option<&str> {
    let head = head.strip_prefix("impl")?;
    let of = head.rsplit_once(" for ").map_or(head, |(_, of)| of);
    // Without the parameters of the `impl`, whose bounds may have parameters of their own.
    let mut depth = 0_u32;
    let end = if of.starts_with('<') {
        of.find(|letter| {
            match letter {
                '<' => depth += 1,
                '>' => depth -= 1,
                _ => {}
            }
            depth == 0
        })? + 1
    } else {
        0
    };
    of[end..].trim_start().split(['<', ' ']).next()
}

/// The public functions whose names begin with `connect`, each with the type that has it.
pub(crate) fn ways_to_connect() -> BTreeSet<(String, String)> {
    let mut ways = BTreeSet::new();
    for file in files() {
        let mut of = None;
        for line in file.lines() {
            if line.starts_with("impl") {
                of = implementor(line);
            }
            let Some(function) = line.strip_prefix("    pub fn connect") else { continue };
            let rest = function.split(['<', '(']).next().unwrap();
            ways.insert((of.unwrap().to_owned(), format!("connect{rest}")));
        }
    }
    ways
}

/// The kinds of deferred half: what implements `DeferredKind`.
pub(crate) fn deferred_halves() -> BTreeSet<String> {
    let files = files();
    let heads = files.iter().flat_map(|file| file.lines());
    let heads =
        heads.filter(|line| line.starts_with("impl") && line.contains(" DeferredKind for "));
    heads.map(|head| implementor(head).unwrap().to_owned()).collect()
}

#[test]
fn the_type_of_an_impl_is_found() {
    for (head, of) in [
        ("impl LineBased {", "LineBased"),
        ("impl<D: DeferredKind> MessageBased<D> {", "MessageBased"),
        ("impl<D: Of<T>> SeveralFullySpecified<'_, D> {", "SeveralFullySpecified"),
        ("impl<T> DeferredKind for Dpc<T> {", "Dpc"),
        ("impl DeferredKind for NoDeferred {", "NoDeferred"),
    ] {
        assert_eq!(implementor(head), Some(of));
    }
}
