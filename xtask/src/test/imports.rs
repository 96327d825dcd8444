//! What a driver imports, against lists that are not this repository's: the names that Microsoft's metadata
//! has for `ntoskrnl.exe` and `hal.dll`, which the `windows-sys` crate was made from, and the versions in
//! Microsoft's reference.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use cargo_metadata::MetadataCommand;
use object::LittleEndian;
use object::pe::ImageNtHeaders64;
use object::read::pe::{ImageThunkData, PeFile64};

use crate::layout::Layout;
use crate::text;

/// Since when Microsoft documents each routine.
const DOCUMENTED: &str = include_str!("../../kit/documented.txt");

/// Where the pages are.
const REFERENCE: &str = "https://learn.microsoft.com/windows-hardware/drivers/ddi/";

/// Systems up to the oldest one that the drivers are for, in order.
const OLD_ENOUGH: [&str; 9] = [
    "Windows 2000",
    "Windows XP",
    "Windows Server 2003",
    "Windows Vista",
    "Windows 7",
    "Windows 8",
    "Windows 8.1",
    "Windows 10",
    "Windows 10, version 2004",
];

/// A name that a driver imports.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Import {
    /// The module, in small letters.
    pub(super) module: String,
    pub(super) name: String,
}

/// The imports of the driver in `file`.
pub(super) fn of(file: &Path) -> Result<Vec<Import>> {
    let content = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let image = PeFile64::parse(&*content)
        .with_context(|| format!("{} is no 64-bit PE image", file.display()))?;
    let mut imports = Vec::new();
    let Some(table) = image.import_table()? else {
        return Ok(imports);
    };
    let mut descriptors = table.descriptors()?;
    while let Some(descriptor) = descriptors.next()? {
        let module = table.name(descriptor.name.get(LittleEndian))?;
        let module = String::from_utf8_lossy(module).to_ascii_lowercase();
        let mut thunks = table.thunks(descriptor.original_first_thunk.get(LittleEndian))?;
        while let Some(thunk) = thunks.next::<ImageNtHeaders64>()? {
            if thunk.is_ordinal() {
                bail!("import number {} of {module} has no name", thunk.ordinal());
            }
            let (_, name) = table.hint_name(thunk.address())?;
            imports.push(Import {
                module: module.clone(),
                name: String::from_utf8_lossy(name).into_owned(),
            });
        }
    }
    imports.sort();
    Ok(imports)
}

/// Fails if one of `drivers` imports what Windows 10, version 2004, does not export, or nothing.
pub(super) fn check<const N: usize>(layout: &Layout, drivers: [&Path; N]) -> Result<()> {
    let oracle = Oracle::read(layout)?;
    let mut objections = Vec::new();
    for driver in drivers {
        let name = driver.file_name().unwrap_or_default().to_string_lossy();
        let imports = of(driver)?;
        if imports.is_empty() {
            objections.push(format!("{name} imports nothing"));
        }
        let found = imports.iter().filter_map(|import| oracle.objection(import));
        objections.extend(found.map(|objection| format!("{name}: {objection}")));
    }
    if !objections.is_empty() {
        bail!("{}", objections.join("\n"));
    }
    Ok(())
}

/// What is known about the kernel's exports from elsewhere.
#[derive(Debug)]
pub(super) struct Oracle {
    /// The names that each module exports.
    exports: BTreeMap<String, BTreeSet<String>>,
    documented: Vec<Documented<'static>>,
}

/// A line of the list of documented routines.
#[derive(Debug, Clone, Copy)]
struct Documented<'a> {
    name: &'a str,
    since: &'a str,
    page: &'a str,
    /// The module, for a name that the metadata lacks.
    module: Option<&'a str>,
}

impl<'a> Documented<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut columns = line.split(" | ").map(str::trim);
        Some(Self {
            name: columns.next()?,
            since: columns.next()?,
            page: columns.next()?,
            module: columns.next().and_then(|column| Some(column.split_once(": ")?.0)),
        })
    }
}

impl Oracle {
    /// Reads the sources of `windows-sys`, which xtask depends on for this.
    pub(super) fn read(layout: &Layout) -> Result<Self> {
        let mut exports = BTreeMap::new();
        collect_exports(
            &windows_sys(layout)?.join("src").join("Windows").join("Wdk"),
            &mut exports,
        )?;
        if exports.get("ntoskrnl.exe").map_or(0, BTreeSet::len) < 1000 {
            bail!(
                "windows-sys no longer says what ntoskrnl.exe exports in the way that is read here"
            );
        }
        Ok(Self { exports, documented: documented() })
    }

    /// What is wrong with importing `import`.
    pub(super) fn objection(&self, import: &Import) -> Option<String> {
        let Import { module, name } = import;
        if !["ntoskrnl.exe", "hal.dll"].contains(&module.as_str()) {
            return Some(format!("{name} is imported from {module}"));
        }
        let Some(documented) = self.documented.iter().find(|known| known.name == name) else {
            return Some(format!(
                "{name}: since which Windows is not known; look it up in Microsoft's reference and \
                 add it to xtask/kit/documented.txt"
            ));
        };
        let exported = self.exports.get(module).is_some_and(|names| names.contains(name))
            || documented.module == Some(module.as_str());
        if !exported {
            return Some(format!("{module} does not export {name}"));
        }
        (!OLD_ENOUGH.contains(&documented.since)).then(|| {
            format!(
                "{name} is there since {} only, see {REFERENCE}{}",
                documented.since, documented.page
            )
        })
    }
}

fn documented() -> Vec<Documented<'static>> {
    DOCUMENTED
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .filter_map(Documented::parse)
        .collect()
}

/// The folder of the `windows-sys` that xtask depends on.
fn windows_sys(layout: &Layout) -> Result<PathBuf> {
    let metadata = MetadataCommand::new()
        .manifest_path(layout.root().join("xtask").join("Cargo.toml"))
        .other_options(
            ["--locked", "--offline", "--filter-platform", HOST].map(str::to_owned).to_vec(),
        )
        .exec()
        .context("cannot ask cargo where windows-sys is")?;
    let xtask =
        metadata.packages.iter().find(|package| package.name.as_str() == env!("CARGO_PKG_NAME"));
    let wanted = xtask
        .and_then(|xtask| {
            xtask.dependencies.iter().find(|dependency| dependency.name == "windows-sys")
        })
        .context("xtask does not depend on windows-sys any more")?;
    metadata
        .packages
        .iter()
        .find(|package| {
            package.name.as_str() == "windows-sys" && wanted.req.matches(&package.version)
        })
        .and_then(|package| Some(PathBuf::from(package.manifest_path.parent()?)))
        .context("windows-sys is not among the packages of the workspace")
}

/// The only host that xtask runs on.
const HOST: &str = "x86_64-unknown-linux-gnu";

/// Collects the exports that the sources in `folder` declare.
fn collect_exports(folder: &Path, exports: &mut BTreeMap<String, BTreeSet<String>>) -> Result<()> {
    let listing =
        fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    for entry in listing {
        let path = entry.with_context(|| format!("cannot list {}", folder.display()))?.path();
        if path.is_dir() {
            collect_exports(&path, exports)?;
        } else {
            for (module, name) in text::read(&path)?.lines().filter_map(declared_export) {
                exports.entry(module.to_owned()).or_default().insert(name.to_owned());
            }
        }
    }
    Ok(())
}

/// The module and the name in a line like `windows_link::link!("hal.dll" "system" fn KeX(…`.
fn declared_export(line: &str) -> Option<(&str, &str)> {
    let (module, rest) = line.strip_prefix("windows_link::link!(\"")?.split_once('"')?;
    let (_, declaration) = rest.split_once(" fn ")?;
    let (name, _) = declaration.split_once('(')?;
    Some((module, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn oracle() -> Oracle {
        let names = ["ExAllocatePool2", "IoNew", "IoUnknown"].map(str::to_owned);
        Oracle {
            exports: BTreeMap::from([("ntoskrnl.exe".to_owned(), BTreeSet::from(names))]),
            documented: [
                "ExAllocatePool2 | Windows 10, version 2004 | a",
                "IoNew | Windows 11 | b",
                "KeHidden | Windows 2000 | c | ntoskrnl.exe: a macro",
                "KeInvented | Windows 2000 | d",
            ]
            .into_iter()
            .filter_map(Documented::parse)
            .collect(),
        }
    }

    fn objection(module: &str, name: &str) -> Option<String> {
        oracle().objection(&Import { module: module.to_owned(), name: name.to_owned() })
    }

    #[test]
    fn a_documented_export_is_fine() {
        assert_eq!(objection("ntoskrnl.exe", "ExAllocatePool2"), None);
        assert_eq!(objection("ntoskrnl.exe", "KeHidden"), None);
    }

    #[test]
    fn a_name_that_the_kernel_does_not_export_is_objected_to() {
        let objection = objection("ntoskrnl.exe", "KeInvented").unwrap_or_default();
        assert_eq!(objection, "ntoskrnl.exe does not export KeInvented");
    }

    #[test]
    fn a_name_that_is_newer_than_the_oldest_system_is_objected_to() {
        let objection = objection("ntoskrnl.exe", "IoNew").unwrap_or_default();
        assert!(objection.contains("since Windows 11 only"), "{objection}");
    }

    #[test]
    fn a_name_whose_age_is_unknown_is_objected_to() {
        let objection = objection("ntoskrnl.exe", "IoUnknown").unwrap_or_default();
        assert!(objection.contains("is not known"), "{objection}");
    }

    #[test]
    fn another_module_is_objected_to() {
        let objection = objection("ntdll.dll", "DbgPrint").unwrap_or_default();
        assert_eq!(objection, "DbgPrint is imported from ntdll.dll");
    }

    #[test]
    fn a_declaration_names_its_module() {
        let line = r#"windows_link::link!("hal.dll" "system" fn KeStall(microseconds : u32));"#;
        assert_eq!(declared_export(line), Some(("hal.dll", "KeStall")));
        assert_eq!(declared_export("pub type PVOID = u8;"), None);
    }

    #[test]
    fn every_line_of_the_list_names_a_routine_and_its_page() {
        let lines = DOCUMENTED.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        assert_eq!(lines.count(), documented().len());
        for known in documented() {
            let (header, page) = known.page.split_once('/').unwrap_or_default();
            assert!(page.starts_with(&format!("nf-{header}-")), "{known:?}");
        }
    }
}
