//! What is said of the code that is not for the host: the drivers and the bed.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::bed;
use crate::driver;
use crate::layout::Layout;
use crate::progress::Step;
use crate::setup::Host;
use crate::text;
use crate::toolchain::{BED_TARGET, DRIVER_TARGET, Toolchain};
use crate::vendor::Sources;

/// The crate that compares the layouts of the model with those of `wdk-sys` when it is compiled.
const LAYOUTS: &str = "layouts";

/// Lints all of the drivers' workspace.
pub(super) fn lint_drivers(layout: &Layout, host: &Host) -> Result<()> {
    let folder = layout.root().join("samples");
    let sources = Sources::of(layout, &host.driver, &folder)?;
    let command = driver::cargo(layout, host, &sources, &folder)?;
    let step = Step::begin(&layout.logs(), "lints of the drivers");
    lint(step, command, &host.driver, DRIVER_TARGET, "")
}

/// Lints the bed.
pub(super) fn lint_bed(layout: &Layout, host: &Host) -> Result<()> {
    let sources = Sources::of(layout, &host.bed, &layout.bed())?;
    let command = bed::cargo(layout, host, &sources);
    let step = Step::begin(&layout.logs(), "lints of the bed");
    lint(step, command, &host.bed, BED_TARGET, bed::CORE_FEATURES)
}

fn lint(
    mut step: Step,
    mut command: Command,
    toolchain: &Toolchain,
    target: &str,
    features: &str,
) -> Result<()> {
    command
        .arg(if toolchain.has_clippy() { "clippy" } else { "build" })
        .args(["--workspace", "--release", "--locked", "--offline"])
        .args(toolchain.target_arguments(target, features));
    step.run_without_warnings(&mut command)?;
    step.nothing_to_do();
    Ok(())
}

/// What [`lint_drivers`] and [`lint_bed`] lint with.
pub(super) fn linter(toolchain: &Toolchain) -> &'static str {
    match toolchain {
        _ if toolchain.has_clippy() => "clippy",
        Toolchain::Rustup { .. } => "rustc, the toolchain has no clippy",
        Toolchain::Debian => "rustc, for want of the package rust-web-clippy",
    }
}

/// Compiles the comparison of the model's layouts with those of `wdk-sys`, and looks that none is left out.
pub(super) fn layouts(layout: &Layout, host: &Host) -> Result<()> {
    let folder = layout.root().join("samples");
    let sources = Sources::of(layout, &host.driver, &folder)?;
    let mut step = Step::begin(&layout.logs(), "comparing layouts");
    let mut command = driver::cargo(layout, host, &sources, &folder)?;
    command
        .args(["build", "--release", "--locked", "--offline"])
        .args(["--package", LAYOUTS])
        .args(host.driver.target_arguments(DRIVER_TARGET, ""));
    step.run(&mut command)?;
    step.nothing_to_do();
    let compared = all_text(&folder.join(LAYOUTS).join("src"))?;
    let model = all_text(&layout.root().join("model").join("src").join("nt"))?;
    let missing: Vec<&str> =
        declared(&model).filter(|name| !words(&compared).any(|word| word == *name)).collect();
    if !missing.is_empty() {
        bail!("samples/{LAYOUTS} does not mention these of the model: {}", missing.join(", "));
    }
    Ok(())
}

/// The structures, unions and constants that Rust source makes public at the beginning of a line.
fn declared(source: &str) -> impl Iterator<Item = &str> {
    source.lines().filter_map(|line| {
        let rest = ["pub struct ", "pub union ", "pub const "]
            .iter()
            .find_map(|start| line.strip_prefix(start))?;
        let name = words(rest).next()?;
        // A function, or a name that a macro puts in.
        (name != "fn" && !rest.starts_with('$')).then_some(name)
    })
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

/// The text of all files in `folder`.
fn all_text(folder: &Path) -> Result<String> {
    let listing =
        fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    let mut all = String::new();
    for entry in listing {
        let path = entry.with_context(|| format!("cannot list {}", folder.display()))?.path();
        if path.is_dir() {
            all.push_str(&all_text(&path)?);
        } else {
            all.push_str(&text::read(&path)?);
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_source_declares_is_found() {
        let source = "pub struct _KDPC {\n    pub Type: u8,\n}\npub const A_B: u32 = 1;\npub const \
                      fn NT_SUCCESS() {}\n        pub struct $name {\npub union U {\n";
        let names: Vec<&str> = declared(source).collect();
        assert_eq!(names, ["_KDPC", "A_B", "U"]);
    }
}
