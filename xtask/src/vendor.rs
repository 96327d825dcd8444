//! Sources of crates, with `wdk-build` made to fit a host that is not Windows.
//!
//! Microsoft's `wdk-build` stops on other hosts in a few places. A `[patch]` would show in `Cargo.lock`, and a
//! `--config` on the command line would not reach the `cargo metadata` that `wdk-build` runs itself. So
//! the crates are vendored, the vendored copy of `wdk-build` is edited, and a private `CARGO_HOME` replaces
//! crates.io by the vendored folder: the lock files stay as they are on Windows.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::layout::Layout;
use crate::progress::Step;
use crate::text;
use crate::toolchain::Toolchain;

/// Tells the edited `wdk-build` which manifest is the top-level one. It looks for a `Cargo.lock` above the
/// build's output otherwise, which is no longer beside the driver when the output lies elsewhere.
pub(crate) const MANIFEST_VARIABLE: &str = "KIT_TOP_LEVEL_MANIFEST";

/// One edit of a file of `wdk-build`.
#[derive(Debug, Clone, Copy, Hash)]
struct Edit {
    file: &'static str,
    from: &'static str,
    to: &'static str,
    /// How often `from` is there.
    times: usize,
}

/// All that is edited, for `wdk-build` 0.6.0.
const EDITS: [Edit; 8] = [
    // The `windows` crate does not compile here; as a dependency for Windows it stays in the lock file.
    Edit {
        file: "Cargo.toml",
        from: "[dependencies.windows]\n",
        to: "[target.'cfg(windows)'.dependencies.windows]\n",
        times: 1,
    },
    // The registry names the kit on Windows; here WDKContentRoot does.
    Edit {
        file: "src/utils.rs",
        from: "use windows::{\n    Win32::System::Registry::{",
        to: "#[cfg(windows)]\nuse windows::{\n    Win32::System::Registry::{",
        times: 1,
    },
    Edit {
        file: "src/utils.rs",
        from: "fn read_registry_key_string_value(",
        to: "#[cfg(windows)]\nfn read_registry_key_string_value(",
        times: 1,
    },
    Edit {
        file: "src/utils.rs",
        from: "    if let Some(path) = read_registry_key_string_value(",
        to: "    #[cfg(windows)]\n    if let Some(path) = read_registry_key_string_value(",
        times: 2,
    },
    // A build script sets variables before it starts threads.
    Edit {
        file: "src/utils.rs",
        from: "pub fn set_var<K, V>(_key: K, _value: V)\nwhere\n    K: AsRef<OsStr>,\n    V: AsRef<OsStr>,\n{\n    compile_error!(",
        to: "pub fn set_var<K, V>(key: K, value: V)\nwhere\n    K: AsRef<OsStr>,\n    V: AsRef<OsStr>,\n{\n    unsafe { env::set_var(key, value) };\n    let _ = concat!(",
        times: 1,
    },
    Edit {
        file: "src/utils.rs",
        from: "pub fn remove_var<K>(_key: K)\nwhere\n    K: AsRef<OsStr>,\n{\n    compile_error!(",
        to: "pub fn remove_var<K>(key: K)\nwhere\n    K: AsRef<OsStr>,\n{\n    unsafe { env::remove_var(key) };\n    let _ = concat!(",
        times: 1,
    },
    Edit {
        file: "src/cargo_make.rs",
        from: "std::os::windows::fs::symlink_file(",
        to: "std::os::unix::fs::symlink(",
        times: 2,
    },
    Edit {
        file: "src/lib.rs",
        from: "pub fn find_top_level_cargo_manifest() -> PathBuf {\n",
        to: "pub fn find_top_level_cargo_manifest() -> PathBuf {\n    println!(\"cargo:rerun-if-env-changed=KIT_TOP_LEVEL_MANIFEST\");\n    if let Some(manifest) = env::var_os(\"KIT_TOP_LEVEL_MANIFEST\") {\n        return PathBuf::from(manifest);\n    }\n",
        times: 1,
    },
];

/// A file in an edited copy, which says so.
const MARK: &str = ".edited-by-the-kit";

/// The workspace of a crate, and where its dependencies' sources are.
#[derive(Debug, Clone)]
pub(crate) struct Sources {
    /// The manifest of the workspace's root.
    pub(crate) manifest: PathBuf,
    /// The private `CARGO_HOME`.
    pub(crate) home: PathBuf,
}

impl Sources {
    /// Makes the sources of everything in the workspace of `folder` available without a network.
    ///
    /// # Errors
    ///
    /// `folder` has no crate, its `Cargo.lock` does not fit its manifest, a crate cannot be fetched, or
    /// its `wdk-build` is not one that can be edited.
    pub(crate) fn of(layout: &Layout, toolchain: &Toolchain, folder: &Path) -> Result<Self> {
        let manifest = workspace_manifest(toolchain, folder)?;
        let lock = manifest.with_file_name("Cargo.lock");
        if let Some(home) = existing_home(layout, toolchain, &lock)? {
            return Ok(Self { manifest, home });
        }
        let title = format!("fetching sources for {}", short_name(folder));
        let mut step = Step::begin(&layout.logs(), title);
        let vendor = layout.kit().join(format!("crates-{}", edits_fingerprint()));
        text::create_folder(&layout.kit())?;
        let locked = lock.is_file();
        // With a lock file all may have been fetched before, and then this needs no network.
        let known = if locked {
            step.run(&mut vendor_command(toolchain, &manifest, &vendor, &["--locked", "--offline"]))
                .ok()
        } else {
            None
        };
        let configuration = if let Some(configuration) = known {
            configuration
        } else {
            let options: &[&str] = if locked { &["--locked"] } else { &[] };
            step.run(&mut vendor_command(toolchain, &manifest, &vendor, options))
                .map_err(|error| explain_lock(error, folder))?
        };
        edit_wdk_build(&vendor)?;
        let home = home_for(layout, toolchain, &lock)?;
        text::create_folder(&home)?;
        // Written last: its presence says that the sources are complete.
        text::write_if_changed(&home.join("config.toml"), configuration.as_bytes())?;
        step.done("done");
        Ok(Self { manifest, home })
    }

    /// The lock file of the workspace.
    pub(crate) fn lock(&self) -> PathBuf {
        self.manifest.with_file_name("Cargo.lock")
    }
}

/// `cargo vendor` for the workspace of `manifest`, and for the standard library if that is built.
fn vendor_command(
    toolchain: &Toolchain,
    manifest: &Path,
    vendor: &Path,
    options: &[&str],
) -> Command {
    let mut command = toolchain.cargo();
    command
        .current_dir(manifest.parent().unwrap_or(manifest))
        .args(["vendor", "--versioned-dirs", "--no-delete", "--manifest-path"])
        .arg(manifest)
        .args(options);
    if let Some(library) = toolchain.library_manifest() {
        command.arg("--sync").arg(library);
    }
    command.arg(vendor);
    command
}

/// Says what to do about a lock file that does not fit its manifest; cargo's advice is for an option
/// that nobody here has typed.
pub(crate) fn explain_lock(error: anyhow::Error, folder: &Path) -> anyhow::Error {
    if format!("{error:#}").contains("because --locked was passed") {
        error.context(format!(
            "Cargo.lock is behind Cargo.toml: run `cargo update --workspace` in {}, then this again",
            folder.display()
        ))
    } else {
        error
    }
}

/// The last part of a folder's name.
pub(crate) fn short_name(folder: &Path) -> String {
    folder.file_name().unwrap_or_else(|| OsStr::new("crate")).to_string_lossy().into_owned()
}

fn workspace_manifest(toolchain: &Toolchain, folder: &Path) -> Result<PathBuf> {
    let output = toolchain
        .cargo()
        .current_dir(folder)
        .args(["locate-project", "--workspace", "--message-format", "plain"])
        .output()
        .context("cannot start cargo")?;
    if !output.status.success() {
        bail!("{}: {}", folder.display(), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()))
}

/// The private home for what is locked in `lock`, if it is complete.
fn existing_home(layout: &Layout, toolchain: &Toolchain, lock: &Path) -> Result<Option<PathBuf>> {
    if !lock.is_file() {
        return Ok(None);
    }
    let home = home_for(layout, toolchain, lock)?;
    Ok(home.join("config.toml").is_file().then_some(home))
}

fn home_for(layout: &Layout, toolchain: &Toolchain, lock: &Path) -> Result<PathBuf> {
    let mut content = text::read(lock)?;
    content.push_str(&edits_fingerprint());
    if let Some(library) = toolchain.library_manifest() {
        content.push_str(&text::read(&library.with_file_name("Cargo.lock"))?);
    }
    Ok(layout.kit().join("cargo").join(text::fingerprint(content.as_bytes())))
}

/// Another set of edits is another folder of crates, so that what was built from the old one is not taken
/// for current.
fn edits_fingerprint() -> String {
    let all: String = EDITS.iter().flat_map(|edit| [edit.file, edit.from, edit.to]).collect();
    text::fingerprint(all.as_bytes())
}

/// Edits every version of `wdk-build` in the vendored folder that is not edited yet.
fn edit_wdk_build(vendor: &Path) -> Result<()> {
    let listing =
        fs::read_dir(vendor).with_context(|| format!("cannot list {}", vendor.display()))?;
    for entry in listing {
        let folder = entry.with_context(|| format!("cannot list {}", vendor.display()))?.path();
        if short_name(&folder).starts_with("wdk-build-") && !folder.join(MARK).is_file() {
            edit(&folder)?;
        }
    }
    Ok(())
}

fn edit(folder: &Path) -> Result<()> {
    let mut files: BTreeMap<PathBuf, String> = BTreeMap::new();
    for edit in EDITS {
        let path = folder.join(edit.file);
        let content = match files.remove(&path) {
            Some(content) => content,
            // The package has the line ends of the machine that it was published from.
            None => text::read(&path)?.replace("\r\n", "\n"),
        };
        let edited = apply(&content, &edit).with_context(|| {
            format!(
                "{} is a version of wdk-build that the kit cannot make fit this host; 0.6.0 is known \
                 to do. In {}",
                short_name(folder),
                edit.file
            )
        })?;
        files.insert(path, edited);
    }
    for (path, edited) in files {
        fs::write(&path, edited).with_context(|| format!("cannot write {}", path.display()))?;
    }
    let checksums = folder.join(".cargo-checksum.json");
    let mut value: serde_json::Value = serde_json::from_str(&text::read(&checksums)?)
        .with_context(|| format!("cannot read {}", checksums.display()))?;
    value["files"] = serde_json::json!({});
    fs::write(&checksums, value.to_string())
        .with_context(|| format!("cannot write {}", checksums.display()))?;
    text::write_if_changed(&folder.join(MARK), b"")?;
    Ok(())
}

fn apply(content: &str, edit: &Edit) -> Result<String> {
    let found = content.matches(edit.from).count();
    if found != edit.times {
        bail!("{:?} is there {found} times where {} were expected", edit.from, edit.times);
    }
    Ok(content.replace(edit.from, edit.to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_file_that_is_behind_is_explained_and_nothing_else_is() {
        let cargo = "cannot update the lock file /d/Cargo.lock because --locked was passed";
        let explained = explain_lock(anyhow::anyhow!(cargo), Path::new("/d"));
        assert!(explained.to_string().contains("`cargo update --workspace` in /d"), "{explained}");
        let other = explain_lock(anyhow::anyhow!("no space left"), Path::new("/d"));
        assert_eq!(other.to_string(), "no space left");
    }

    const EDIT: Edit = Edit { file: "a.rs", from: "old(", to: "new(", times: 2 };

    #[test]
    fn an_edit_replaces_every_place() {
        assert_eq!(apply("old(1) old(2)", &EDIT).ok().as_deref(), Some("new(1) new(2)"));
    }

    #[test]
    fn an_edit_of_a_text_that_is_not_the_expected_one_is_an_error_that_shows_it() {
        let error = apply("old(1)", &EDIT).map_err(|error| error.to_string());
        assert_eq!(error.unwrap_err(), "\"old(\" is there 1 times where 2 were expected");
    }
}
