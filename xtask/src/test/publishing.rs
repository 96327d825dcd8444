//! What would be published: the files of the two packages, and that these are all it takes to build them.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::host;
use crate::layout::Layout;
use crate::progress::Step;

/// Files that cargo puts into every package.
const CARGOS: [&str; 4] = [".cargo_vcs_info.json", "Cargo.lock", "Cargo.toml", "Cargo.toml.orig"];

/// The licences, which every package must have a copy of.
const LICENCES: [&str; 2] = ["LICENSE-APACHE", "LICENSE-MIT"];

/// A package that is to be published.
struct Package {
    name: &'static str,
    /// The folder below the repository's root.
    folder: &'static str,
    /// Folders that are in it with all that they have, except packages of their own.
    folders: &'static [&'static str],
    /// Files that are in it, besides those that are in every package.
    files: &'static [&'static str],
}

/// In the order in which they can be published: the library needs the model.
const PACKAGES: [Package; 2] = [
    Package {
        name: "wdm-interrupt-model",
        folder: "model",
        folders: &["src", "tests"],
        files: &["README.md", "RULES.md"],
    },
    Package {
        name: "wdm-interrupt",
        folder: "",
        // The documentation includes pages of docs/.
        folders: &["docs", "src", "tests"],
        files: &["CHANGELOG.md", "README.md", "build.rs"],
    },
];

/// Each package has the files that it should have, and no other.
pub(super) fn files(layout: &Layout) -> Result<()> {
    for package in &PACKAGES {
        let folder = layout.root().join(package.folder);
        for licence in LICENCES {
            let read = |folder: &Path| {
                let path = folder.join(licence);
                fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
            };
            if read(&folder)? != read(layout.root())? {
                bail!("{licence} of {} is not the repository's", package.name);
            }
        }
        let listed = list(layout, package.name)?;
        let expected = package.expected(&folder)?;
        let stray: Vec<&String> = listed.iter().filter(|file| !expected.contains(file)).collect();
        let missing: Vec<&String> = expected.iter().filter(|file| !listed.contains(file)).collect();
        if !stray.is_empty() || !missing.is_empty() {
            bail!("{}: stray {stray:?}, missing {missing:?}", package.name);
        }
    }
    Ok(())
}

/// The packages build from their files alone, without a warning.
pub(super) fn builds(layout: &Layout) -> Result<()> {
    let mut step = Step::begin(&layout.logs(), "building the packages to be published");
    // Cargo would put them where drivers' packages are.
    let target = layout.target().join("published");
    let mut packaging = |network| {
        let mut command = cargo_package(layout, network);
        command.env("CARGO_TARGET_DIR", &target);
        for package in &PACKAGES {
            command.args(["--package", package.name]);
        }
        step.run_without_warnings(&mut command)
    };
    packaging(Network::Unused).or_else(|_| packaging(Network::Used))?;
    step.nothing_to_do();
    Ok(())
}

/// Whether cargo may ask for what it has not got. Where all was fetched before, it need not.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Network {
    Unused,
    Used,
}

/// `cargo package` of what is there, committed or not.
fn cargo_package(layout: &Layout, network: Network) -> Command {
    let mut command = host::cargo(layout, "");
    command.args(["package", "--locked", "--allow-dirty"]);
    if network == Network::Unused {
        command.arg("--offline");
    }
    command
}

/// What cargo would put into the package.
fn list(layout: &Layout, name: &str) -> Result<Vec<String>> {
    let listing = |network| {
        let mut command = cargo_package(layout, network);
        command.args(["--list", "--package", name]).output().context("cannot start cargo")
    };
    let mut output = listing(Network::Unused)?;
    if !output.status.success() {
        output = listing(Network::Used)?;
    }
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let files = String::from_utf8_lossy(&output.stdout);
    Ok(files.lines().map(|line| line.replace('\\', "/")).collect())
}

impl Package {
    /// The files that it should have.
    fn expected(&self, root: &Path) -> Result<Vec<String>> {
        let mut files: Vec<String> =
            [&CARGOS, &LICENCES[..], self.files].concat().into_iter().map(str::to_owned).collect();
        for folder in self.folders {
            walk(root, folder, &mut files)?;
        }
        Ok(files)
    }
}

/// The files in `folder` of `root`, except packages of their own, which cargo leaves out.
fn walk(root: &Path, folder: &str, files: &mut Vec<String>) -> Result<()> {
    let path = root.join(folder);
    if path.join("Cargo.toml").is_file() {
        return Ok(());
    }
    let listing = fs::read_dir(&path).with_context(|| format!("cannot list {}", path.display()))?;
    for entry in listing {
        let entry = entry.with_context(|| format!("cannot list {}", path.display()))?;
        let name = format!("{folder}/{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            walk(root, &name, files)?;
        } else {
            files.push(name);
        }
    }
    Ok(())
}
