//! What the drivers were built with, and the machine they were booted on: the numbers belong to these.

use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::layout::Layout;
use crate::packages::QEMU;
use crate::setup::Host;
use crate::toolchain::{DRIVER_TARGET, Toolchain};
use crate::{text, twin};

/// Compilers, linker and emulator, with their flags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Versions {
    rustc: String,
    rust_llvm: String,
    rust_flags: Vec<String>,
    clang: String,
    linker: String,
    qemu: String,
    of_ci: bool,
}

impl Versions {
    pub(super) fn find(layout: &Layout, host: &Host) -> Result<Self> {
        let rustc = host.driver.rustc();
        let verbose = output(Command::new(&rustc).arg("-vV"))?;
        let llvm = verbose.lines().find_map(|line| line.strip_prefix("LLVM version: "));
        Ok(Self {
            rustc: first_line(&verbose),
            rust_llvm: llvm.unwrap_or("unknown").to_owned(),
            rust_flags: rust_flags(layout, host)?,
            clang: first_line(&output(Command::new(host.llvm.clang()).arg("--version"))?),
            linker: first_line(&output(Command::new(host.llvm.linker()).arg("--version"))?),
            qemu: first_line(&output(Command::new(QEMU).arg("--version"))?),
            of_ci: matches!(host.driver, Toolchain::Debian),
        })
    }

    /// Whether the compiler for drivers is the one that CI has, to which the goals are tied.
    pub(super) const fn are_of_ci(&self) -> bool {
        self.of_ci
    }

    /// What the goals are tied to, in words.
    pub(super) const fn goals(&self) -> &'static str {
        if self.of_ci {
            "The goals are for Debian's cross toolchain, which this is and CI uses; another compiler may come to others."
        } else {
            "The goals are for Debian's cross toolchain, which CI uses. This is another one: they are shown, not asked for."
        }
    }

    pub(super) fn print(&self) {
        println!("Rust   {} (LLVM {})", self.rustc, self.rust_llvm);
        println!("       {}", self.rust_flags.join(" "));
        println!("C      {}", self.clang);
        println!("       {}", twin::COMPILER_FLAGS.join(" "));
        println!("linker {}", self.linker);
        println!("       for C: {}", twin::LINKER_FLAGS.join(" "));
        println!("QEMU   {}, one processor", self.qemu);
        println!("{}", self.goals());
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "rust": { "compiler": self.rustc, "llvm": self.rust_llvm, "flags": self.rust_flags },
            "c": { "compiler": self.clang, "flags": twin::COMPILER_FLAGS },
            "linker": { "version": self.linker, "flags_for_c": twin::LINKER_FLAGS },
            "qemu": { "version": self.qemu, "processors": 1 },
            "toolchain_of_ci": self.of_ci,
        })
    }
}

/// What is asked of the compiler for drivers: the profile of their workspace, and the flags of its configuration.
fn rust_flags(layout: &Layout, host: &Host) -> Result<Vec<String>> {
    let samples = layout.root().join("samples");
    let parse = |path: &std::path::Path| -> Result<toml::Table> {
        text::read(path)?.parse().with_context(|| format!("cannot read {}", path.display()))
    };
    let manifest = parse(&samples.join("Cargo.toml"))?;
    let configuration = parse(&samples.join(".cargo").join("config.toml"))?;
    let profile = manifest.get("profile").and_then(|all| all.get("release"));
    let profile = profile.and_then(toml::Value::as_table).context("there is no release profile")?;
    let flags =
        configuration.get("target").and_then(|all| all.get(DRIVER_TARGET)?.get("rustflags"));
    let flags = flags.and_then(toml::Value::as_array).into_iter().flatten();
    let mut all = vec!["--release".to_owned()];
    for (key, value) in profile {
        all.push(format!("{key}={}", serde_json::to_string(value).context("cannot write a flag")?));
    }
    all.extend(flags.filter_map(toml::Value::as_str).map(str::to_owned));
    all.extend(
        host.driver
            .target_arguments(DRIVER_TARGET, "")
            .into_iter()
            .filter(|flag| !flag.ends_with('=')),
    );
    Ok(all)
}

fn output(command: &mut Command) -> Result<String> {
    let program = command.get_program().display().to_string();
    let output = command.output().with_context(|| format!("cannot start {program}"))?;
    if !output.status.success() {
        bail!("{program} does not say its version ({})", output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_the_first_line_without_its_end() {
        assert_eq!(first_line("LLD 22.1.2 \nmore"), "LLD 22.1.2");
        assert_eq!(first_line(""), "");
    }
}
