//! Builds the C twins of drivers, with the kit's headers and the linker that links the drivers in Rust.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::layout::Layout;
use crate::progress::Step;
use crate::setup::Host;
use crate::text;

/// As in a release build of the WDK, without what is there to find mistakes at run time: the optimised code
/// of the driver and nothing else. What can be done across its files when linking is done.
pub(crate) const COMPILER_FLAGS: [&str; 9] = [
    "--target=x86_64-pc-windows-msvc",
    "-std=c17",
    "-O2",
    "-flto",
    "-ffreestanding",
    "-fno-stack-protector",
    // What the kernel unwinds stacks by: every driver for x64 has these tables.
    "-fasynchronous-unwind-tables",
    "-fms-extensions",
    // The kit's headers are made for that compiler.
    "-fgnuc-version=12",
];

/// All warnings, save that of a header of the compiler's, which says that it is out of date.
const WARNINGS: [&str; 4] = ["-Wall", "-Wextra", "-Werror", "-Wno-#warnings"];

/// As for a driver in Rust, symbols in a file of their own included.
pub(crate) const LINKER_FLAGS: [&str; 7] = [
    "/driver",
    "/subsystem:native",
    "/entry:DriverEntry",
    "/nodefaultlib",
    "/debug",
    "/opt:ref",
    "/opt:icf",
];

/// Builds the twin of this name.
pub(crate) fn build(layout: &Layout, host: &Host, name: &str) -> Result<PathBuf> {
    let folder = layout.root().join("benches").join("twin").join(name);
    let target = layout.target().join("twins").join(name);
    text::create_folder(&target)?;
    let mut step = Step::begin(&layout.logs(), format!("building {name} in C"));
    let mut objects = Vec::new();
    for source in sources(&folder)? {
        let file = source.file_name().unwrap_or_default();
        let object = target.join(file).with_extension("obj");
        step.run(&mut compile(layout, host, &source, &object))?;
        objects.push(object);
    }
    let driver = target.join(name).with_extension("sys");
    step.run(
        Command::new(host.llvm.linker())
            .args(LINKER_FLAGS)
            .arg(format!("/out:{}", driver.display()))
            .arg(format!("/map:{}", driver.with_extension("map").display()))
            .args(&objects)
            .arg(host.kit.library("ntoskrnl"))
            .arg(host.kit.library("hal"))
            .arg(host.kit.memory_library()),
    )?;
    step.done("built");
    Ok(driver)
}

/// The C files in a folder, in the order of their names.
fn sources(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries =
        fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    let mut sources = Vec::new();
    for entry in entries {
        let path = entry.with_context(|| format!("cannot list {}", folder.display()))?.path();
        if path.extension() == Some(OsStr::new("c")) {
            sources.push(path);
        }
    }
    if sources.is_empty() {
        bail!("{} has no C file", folder.display());
    }
    sources.sort();
    Ok(sources)
}

fn compile(layout: &Layout, host: &Host, source: &Path, object: &Path) -> Command {
    let mut command = Command::new(host.llvm.clang());
    command.args(COMPILER_FLAGS).args(WARNINGS);
    for folder in host.kit.header_folders() {
        command.arg("-isystem").arg(folder);
    }
    command.arg("-include").arg(layout.root().join("xtask").join("kit").join("c.h"));
    command.arg("-c").arg(source).arg("-o").arg(object);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_twin_has_its_sources() -> Result<()> {
        let twins = Layout::of_this_repository().root().join("benches").join("twin");
        let names = |name: &str| -> Result<Vec<String>> {
            let sources = sources(&twins.join(name))?;
            let stem = |path: &PathBuf| path.file_stem()?.to_str().map(str::to_owned);
            Ok(sources.iter().filter_map(stem).collect())
        };
        assert_eq!(names("probe")?, ["probe"]);
        assert_eq!(names("edu")?, ["edu", "interrupt", "pnp", "power", "queue", "requests"]);
        Ok(())
    }

    #[test]
    fn a_folder_without_c_is_named() {
        let outcome = sources(&Layout::of_this_repository().root().join("docs"));
        assert!(outcome.is_err_and(|error| error.to_string().contains("docs has no C file")));
    }
}
