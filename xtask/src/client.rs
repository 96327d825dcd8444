//! Builds the sample's user program for Windows.
//!
//! It is a program with `std`, so it takes another target than the drivers: the one whose linker and import
//! libraries Debian has, from mingw-w64. On Windows `cargo build` builds it for whatever target is usual there.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};
use cargo_metadata::Message;

use crate::layout::Layout;
use crate::packages;
use crate::progress::Step;
use crate::text;
use crate::toolchain::Toolchain;
use crate::vendor::Sources;

/// Where the program runs.
const TARGET: &str = "x86_64-pc-windows-gnu";

/// The package, which is also the program's name.
const PACKAGE: &str = "edu-client";

/// Builds the program and returns where it is.
///
/// # Errors
///
/// There is no compiler or linker for it, or it does not build; the error has the compiler's last lines.
pub(crate) fn build(layout: &Layout) -> Result<PathBuf> {
    packages::install_program_linker(&layout.logs())?;
    let mut step = Step::begin(&layout.logs(), format!("building {PACKAGE}"));
    let toolchain = toolchain(layout)?;
    let mut command = cargo(layout, &toolchain, "build")?;
    let messages = step.run(command.args(["--message-format", "json-render-diagnostics"]))?;
    let built = executable(&messages)?;
    let program = layout.target().join("client").join(format!("{PACKAGE}.exe"));
    let content = fs::read(&built).with_context(|| format!("cannot read {}", built.display()))?;
    let new = text::write_if_changed(&program, &content)?;
    step.done(if new { "built" } else { "up to date" });
    Ok(program)
}

/// Lints the part of the program that is for Windows only.
pub(crate) fn lint(layout: &Layout) -> Result<()> {
    let toolchain = toolchain(layout)?;
    let verb = if toolchain.has_clippy() { "clippy" } else { "check" };
    let mut step = Step::begin(&layout.logs(), format!("lints of {PACKAGE} for Windows"));
    step.run_without_warnings(&mut cargo(layout, &toolchain, verb)?)?;
    step.nothing_to_do();
    Ok(())
}

/// The compiler for the program: Debian's is installed, if rustup's have not the target.
fn toolchain(layout: &Layout) -> Result<Toolchain> {
    Toolchain::for_target(TARGET).or_else(|_| {
        packages::install_compiler(&layout.logs())?;
        Toolchain::for_target(TARGET)
    })
}

/// `cargo VERB` for the program.
fn cargo(layout: &Layout, toolchain: &Toolchain, verb: &str) -> Result<Command> {
    let sources = Sources::of(layout, toolchain, layout.root())?;
    let mut command = toolchain.cargo();
    command
        .current_dir(layout.root())
        .env("CARGO_HOME", &sources.home)
        .env("CARGO_TARGET_DIR", layout.target().join("client").join(".build"))
        .env("CARGO_TERM_PROGRESS_WHEN", "always")
        .env("CARGO_TERM_PROGRESS_WIDTH", "100")
        .args([verb, "--package", PACKAGE, "--release", "--locked", "--offline"])
        .args(["--target", TARGET]);
    if toolchain.builds_core() {
        command.arg("-Zbuild-std=std,panic_abort");
    }
    Ok(command)
}

/// The program among what cargo says that it built.
fn executable(messages: &str) -> Result<PathBuf> {
    for message in Message::parse_stream(messages.as_bytes()) {
        if let Message::CompilerArtifact(artifact) =
            message.context("cannot read cargo's output")?
            && artifact.target.name == PACKAGE
            && let Some(executable) = artifact.executable
        {
            return Ok(executable.into());
        }
    }
    bail!("{PACKAGE} built, but there is no program")
}
