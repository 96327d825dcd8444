//! Builds the test bed.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use cargo_metadata::Message;

use crate::layout::Layout;
use crate::progress::Step;
use crate::setup::Host;
use crate::text;
use crate::toolchain::BED_TARGET;
use crate::vendor::Sources;

/// What of `compiler_builtins` the bed needs: nothing else brings it memory functions.
pub(crate) const CORE_FEATURES: &str = "compiler-builtins-mem";

/// Builds the bed and returns the ELF file that QEMU boots.
///
/// # Errors
///
/// The bed does not build; the error has the compiler's last lines. Or building changed its lock file.
pub(crate) fn build(layout: &Layout, host: &Host) -> Result<PathBuf> {
    let sources = Sources::of(layout, &host.bed, &layout.bed())?;
    let lock = text::read(&sources.lock())?;
    let mut step = Step::begin(&layout.logs(), "building the bed");
    let messages = step.run(
        cargo(layout, host, &sources)
            .args(["build", "--release", "--locked", "--offline"])
            .args(["--message-format", "json-render-diagnostics"])
            .args(host.bed.target_arguments(BED_TARGET, CORE_FEATURES)),
    )?;
    let (bed, fresh) = executable(&messages)?;
    if text::read(&sources.lock())? != lock {
        bail!("building changed {}", sources.lock().display());
    }
    step.done(if fresh { "up to date" } else { "built" });
    Ok(bed)
}

/// `cargo` with all that building the bed takes.
pub(crate) fn cargo(layout: &Layout, host: &Host, sources: &Sources) -> std::process::Command {
    let mut command = host.bed.cargo();
    command
        .current_dir(layout.bed())
        .env("CARGO_HOME", &sources.home)
        .env("CARGO_TARGET_DIR", layout.target().join("bed"))
        // Whichever version of LLVM is there, rather than the one that the bed's configuration names.
        .env("CARGO_TARGET_X86_64_UNKNOWN_NONE_LINKER", host.llvm.elf_linker())
        .env("CARGO_TERM_PROGRESS_WHEN", "always")
        .env("CARGO_TERM_PROGRESS_WIDTH", "100");
    if !host.bed.builds_core() {
        // The bed's ACPI tables come from a crate that asks for unstable features, whatever the compiler.
        command.env("RUSTC_BOOTSTRAP", "acpi");
    }
    command
}

/// The executable that cargo built, and whether it was there already.
fn executable(messages: &str) -> Result<(PathBuf, bool)> {
    for message in Message::parse_stream(messages.as_bytes()) {
        if let Message::CompilerArtifact(artifact) =
            message.context("cannot read cargo's output")?
            && let Some(executable) = artifact.executable
        {
            return Ok((executable.into(), artifact.fresh));
        }
    }
    bail!("the bed built, but there is no executable")
}
