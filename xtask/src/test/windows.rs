//! What is for Windows and does not run here, as far as it can be checked here: that `cargo make` finds what it looks for,
//! and that the workflows run what there is.

mod workflows;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use toml::{Table, Value};

use super::inx;
use crate::layout::Layout;
use crate::setup::Host;
use crate::text;
use crate::vendor::Sources;

pub(super) use self::workflows::check as workflows;

/// Where the samples' makefile finds wdk-build's.
const EXTENDED: &str = "target/rust-driver-makefile.toml";

/// wdk-build's task that the samples' makefile has another in the place of.
const REPLACED: &str = "copy-inx-to-output";

/// What wdk-build's next task reads, by the folder and the name that its variables stand for.
const STAMPED: &str = "${WDK_BUILD_OUTPUT_DIRECTORY}/${CARGO_MAKE_CRATE_FS_NAME}.inf";

/// Checks that `cargo make` in `samples/` packages the drivers that have an INX, and no others, and that its tasks fit
/// those of the `wdk-build` that the lock file names.
pub(super) fn makefiles(layout: &Layout) -> Result<()> {
    let samples = layout.root().join("samples");
    let makefile: Table = text::read(&samples.join("Makefile.toml"))?.parse()?;
    if string(&makefile, &["extend"]) != Some(EXTENDED) {
        bail!("samples/Makefile.toml does not extend {EXTENDED}, which wdk-build puts there");
    }
    let script = string(&makefile, &["config", "load_script"]).unwrap_or_default();
    let lock: Table = text::read(&samples.join("Cargo.lock"))?.parse()?;
    let version =
        locked_version(&lock, "wdk-build").context("wdk-build is not in samples/Cargo.lock")?;
    if !script.contains(&format!("wdk-build = \"{version}\"")) {
        bail!("samples/Makefile.toml does not load the makefile of wdk-build {version}");
    }
    // Merged with wdk-build's task of the name, a script of another language would be given its runner's arguments.
    let task = &["tasks", REPLACED];
    if find(&makefile, &[task[0], task[1], "clear"]).and_then(Value::as_bool) != Some(true) {
        bail!("[tasks.{REPLACED}] of samples/Makefile.toml lacks `clear = true`");
    }
    let script = string(&makefile, &[task[0], task[1], "script"]).unwrap_or_default();
    if !script.contains("/../inf/${CARGO_MAKE_CRATE_FS_NAME}.inx") || !script.contains(STAMPED) {
        bail!(
            "[tasks.{REPLACED}] of samples/Makefile.toml does not make {STAMPED} of the INX in inf/"
        );
    }
    for name in marked(layout)? {
        if !inx::SAMPLES.iter().any(|sample| sample.name == name) {
            bail!("cargo make would package samples/{name}, which has no INX that is checked");
        }
    }
    Ok(())
}

/// Checks that the makefile of wdk-build has the task that is replaced, and reads what the replacement makes.
pub(super) fn tasks_of_wdk_build(layout: &Layout, host: &Host) -> Result<()> {
    let sources = Sources::of(layout, &host.driver, &layout.root().join("samples"))?;
    let configuration: Table = text::read(&sources.home.join("config.toml"))?.parse()?;
    let crates = string(&configuration, &["source", "vendored-sources", "directory"])
        .context("the sources of crates are nowhere")?;
    let lock: Table = text::read(&sources.lock())?.parse()?;
    let version = locked_version(&lock, "wdk-build").context("wdk-build is not locked")?;
    let folder = Path::new(crates).join(format!("wdk-build-{version}"));
    let makefile: Table = text::read(&folder.join("rust-driver-makefile.toml"))?.parse()?;
    let follows = find(&makefile, &["tasks", "stampinf", "dependencies"]).and_then(Value::as_array);
    if !follows.is_some_and(|tasks| tasks.iter().any(|task| task.as_str() == Some(REPLACED))) {
        bail!("wdk-build's stampinf does not follow {REPLACED} any more");
    }
    let arguments = find(&makefile, &["tasks", "stampinf", "args"]).and_then(Value::as_array);
    if !arguments.is_some_and(|all| all.iter().any(|argument| argument.as_str() == Some(STAMPED))) {
        bail!("wdk-build's stampinf does not read {STAMPED} any more");
    }
    Ok(())
}

/// The samples that wdk-build's tasks take for drivers to be packaged: those with a section `package.metadata.wdk`.
fn marked(layout: &Layout) -> Result<Vec<String>> {
    let samples = layout.root().join("samples");
    let mut marked = Vec::new();
    let listing =
        fs::read_dir(&samples).with_context(|| format!("cannot list {}", samples.display()))?;
    for entry in listing {
        let folder = entry.with_context(|| format!("cannot list {}", samples.display()))?;
        let manifest = folder.path().join("Cargo.toml");
        if !manifest.is_file() {
            continue;
        }
        let manifest: Table = text::read(&manifest)?.parse()?;
        if find(&manifest, &["package", "metadata", "wdk"]).is_some() {
            marked.push(folder.file_name().to_string_lossy().into_owned());
        }
    }
    for sample in inx::SAMPLES {
        if !marked.iter().any(|name| name == sample.name) {
            bail!("cargo make would not package samples/{}", sample.name);
        }
    }
    Ok(marked)
}

/// The version of a package in a lock file.
fn locked_version<'a>(lock: &'a Table, name: &str) -> Option<&'a str> {
    let packages = lock.get("package")?.as_array()?;
    let package = packages.iter().find(|package| package["name"].as_str() == Some(name))?;
    package.get("version")?.as_str()
}

/// What a table has under these keys, one inside the other.
fn find<'a>(table: &'a Table, keys: &[&str]) -> Option<&'a Value> {
    let (first, rest) = keys.split_first()?;
    let value = table.get(*first)?;
    if rest.is_empty() { Some(value) } else { find(value.as_table()?, rest) }
}

fn string<'a>(table: &'a Table, keys: &[&str]) -> Option<&'a str> {
    find(table, keys)?.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_found_in_tables_within_tables() {
        let table: Table = "[a.b]\nc = \"d\"\n".parse().unwrap_or_default();
        assert_eq!(string(&table, &["a", "b", "c"]), Some("d"));
        assert_eq!(string(&table, &["a", "c"]), None);
    }

    #[test]
    fn the_version_in_a_lock_file_is_found() {
        let lock = "[[package]]\nname = \"a\"\nversion = \"1.0.0\"\n".parse().unwrap_or_default();
        assert_eq!(locked_version(&lock, "a"), Some("1.0.0"));
        assert_eq!(locked_version(&lock, "b"), None);
    }
}
