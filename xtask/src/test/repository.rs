//! What the repository says of itself: versions, lock files.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::layout::Layout;
use crate::text;
use crate::toolchain;

/// Workspaces, by the folders below the root.
const WORKSPACES: [&str; 5] = ["", "bed", "fuzz", "samples", "tests/loom"];

/// The lock files, as they were at one time.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Locks(BTreeMap<PathBuf, String>);

impl Locks {
    /// Reads the lock files that are tracked.
    pub(super) fn read(layout: &Layout) -> Result<Self> {
        WORKSPACES
            .iter()
            .map(|folder| {
                let path = layout.root().join(folder).join("Cargo.lock");
                Ok((path.clone(), text::read(&path)?))
            })
            .collect::<Result<_>>()
            .map(Self)
    }

    /// Fails if a lock file is another one now.
    pub(super) fn compare(&self, layout: &Layout) -> Result<()> {
        let now = Self::read(layout)?;
        for (path, content) in &self.0 {
            if now.0.get(path) != Some(content) {
                bail!("{} was changed", path.display());
            }
        }
        Ok(())
    }
}

/// The oldest Rust is the same wherever it is said, and the toolchain is not older.
pub(super) fn oldest_rust(layout: &Layout) -> Result<()> {
    let manifest = text::read(&layout.root().join("Cargo.toml"))?;
    let stated = rust_version(&manifest).context("Cargo.toml states no rust-version")?;
    for folder in ["bed", "fuzz", "samples", "tests/loom"] {
        let other = text::read(&layout.root().join(folder).join("Cargo.toml"))?;
        if rust_version(&other) != Some(stated) {
            bail!("{folder}/Cargo.toml does not state the rust-version {stated} of Cargo.toml");
        }
    }
    let readme = text::read(&layout.root().join("README.md"))?;
    if !readme.contains(&format!("Rust {stated}")) {
        bail!("README.md does not say \"Rust {stated}\"");
    }
    let minor = minor(stated).context("the rust-version is not 1.x")?;
    if minor != toolchain::OLDEST_MINOR {
        bail!("xtask takes compilers from 1.{} on", toolchain::OLDEST_MINOR);
    }
    let output = Command::new("rustc").arg("--version").output().context("cannot start rustc")?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    match toolchain::minor_version(&printed) {
        Some(running) if running >= minor => Ok(()),
        _ => bail!("{} is older than {stated}", printed.trim()),
    }
}

/// The `rust-version` of a manifest.
fn rust_version(manifest: &str) -> Option<&str> {
    manifest.lines().find_map(|line| {
        let value = line.strip_prefix("rust-version")?.trim_start();
        Some(value.strip_prefix('=')?.trim().trim_matches('"'))
    })
}

fn minor(version: &str) -> Option<u32> {
    version.strip_prefix("1.")?.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rust_version_of_a_manifest_is_read() {
        let manifest = "[workspace.package]\nedition = \"2024\"\nrust-version = \"1.95\"\n";
        assert_eq!(rust_version(manifest), Some("1.95"));
        assert_eq!(rust_version("[package]\nrust-version.workspace = true\n"), None);
    }

    #[test]
    fn the_minor_version_is_the_second_number() {
        assert_eq!(minor("1.95"), Some(95));
        assert_eq!(minor("1.95.1"), Some(95));
        assert_eq!(minor("2.0"), None);
    }
}
