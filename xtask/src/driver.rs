//! Builds driver crates to `.sys` files.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use cargo_metadata::{Artifact, Message, Metadata, MetadataCommand, Package};

use crate::layout::Layout;
use crate::processor::Processor;
use crate::progress::Step;
use crate::setup::Host;
use crate::text;
use crate::toolchain::Toolchain;
use crate::vendor::{MANIFEST_VARIABLE, Sources, explain_lock, short_name};

/// Which of cargo's profiles is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    Release,
    Dev,
}

impl Profile {
    /// What `--debug` on the command line asks for.
    pub(crate) const fn from_debug_flag(debug: bool) -> Self {
        if debug { Self::Dev } else { Self::Release }
    }
}

/// What a build came to.
#[derive(Debug)]
pub(crate) struct Built {
    /// The drivers, by the order of cargo.
    pub(crate) drivers: Vec<PathBuf>,
    /// Whether all was there already, so that nothing was compiled.
    pub(crate) fresh: bool,
}

/// Builds the driver crate in `folder`, or all of a workspace's, and returns the drivers.
///
/// # Errors
///
/// There is no driver, or it does not build; the error has the compiler's last lines. An error also says
/// that the crate's lock file changed, which building must not do.
pub(crate) fn build(
    layout: &Layout,
    host: &Host,
    folder: &Path,
    profile: Profile,
) -> Result<Built> {
    let folder = self::folder(layout, folder)?;
    require_driver(&host.driver, &folder)?;
    let sources = Sources::of(layout, &host.driver, &folder)?;
    let lock = text::read(&sources.lock())?;
    let mut step = Step::begin(&layout.logs(), format!("building {}", short_name(&folder)));
    let mut command = cargo_build(layout, host, &sources, &folder, profile)?;
    let messages = step.run(&mut command).map_err(|error| explain_lock(error, &folder))?;
    let artifacts = artifacts(&messages)?;
    let fresh = artifacts.iter().all(|artifact| artifact.fresh);
    let mut drivers = Vec::new();
    let mut changed = !fresh;
    for library in libraries(artifacts) {
        let (driver, new) = place(layout, host.processor, &library)?;
        changed |= new;
        drivers.push(driver);
    }
    if drivers.is_empty() {
        bail!("{} built, but no driver came of it", folder.display());
    }
    if text::read(&sources.lock())? != lock {
        bail!("building changed {}", sources.lock().display());
    }
    step.done(if changed { "built" } else { "up to date" });
    Ok(Built { drivers, fresh })
}

/// The folder as a whole path; one that is relative may be so to the repository.
pub(crate) fn folder(layout: &Layout, folder: &Path) -> Result<PathBuf> {
    fs::canonicalize(folder)
        .or_else(|_| fs::canonicalize(layout.root().join(folder)))
        .with_context(|| format!("there is no folder {}", folder.display()))
}

/// Fails if no crate in `folder` is a driver, before anything is fetched or compiled for it.
fn require_driver(toolchain: &Toolchain, folder: &Path) -> Result<()> {
    let manifest = folder.join("Cargo.toml");
    if !manifest.is_file() {
        bail!("{} has no Cargo.toml: it is not the folder of a driver's crate", folder.display());
    }
    let output = toolchain
        .cargo()
        .current_dir(folder)
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .output()
        .context("cannot start cargo")?;
    if !output.status.success() {
        bail!("{}: {}", folder.display(), String::from_utf8_lossy(&output.stderr).trim());
    }
    let metadata = MetadataCommand::parse(String::from_utf8_lossy(&output.stdout))
        .with_context(|| format!("cannot read what cargo says of {}", folder.display()))?;
    if !makes_a_driver(&metadata, &manifest) {
        bail!(
            "{} is not a driver's crate: that has `crate-type = [\"cdylib\"]` in its [lib] section",
            folder.display()
        );
    }
    Ok(())
}

/// Whether the package of `manifest`, or one of the workspace's if it has no package, is a dynamic library.
fn makes_a_driver(metadata: &Metadata, manifest: &Path) -> bool {
    let own: Vec<&Package> = metadata
        .packages
        .iter()
        .filter(|package| package.manifest_path.as_std_path() == manifest)
        .collect();
    let packages = if own.is_empty() { metadata.packages.iter().collect() } else { own };
    packages.iter().flat_map(|package| &package.targets).any(cargo_metadata::Target::is_cdylib)
}

/// `cargo build` for the driver in `folder`.
fn cargo_build(
    layout: &Layout,
    host: &Host,
    sources: &Sources,
    folder: &Path,
    profile: Profile,
) -> Result<Command> {
    let mut command = cargo(layout, host, sources, folder)?;
    command.arg("build").args(["--locked", "--offline"]);
    command.args(["--message-format", "json-render-diagnostics"]);
    match profile {
        Profile::Release => {
            command.arg("--release");
        }
        // Unoptimised, it calls functions of a C runtime that nothing here uses.
        Profile::Dev if host.driver.builds_core() => {
            command.args(["--config", "profile.dev.package.compiler_builtins.opt-level=2"]);
        }
        Profile::Dev => {}
    }
    // The memory functions come from the kit in both cases, so that both are one case.
    command.args(host.driver.target_arguments(host.processor.target(), ""));
    Ok(command)
}

/// `cargo` with all that building for the driver's target takes, run in `folder`.
pub(crate) fn cargo(
    layout: &Layout,
    host: &Host,
    sources: &Sources,
    folder: &Path,
) -> Result<Command> {
    let mut flags = own_rustflags(host, sources, folder)?;
    // wdk-build refuses to build without.
    if !flags.iter().any(|flag| flag.contains("+crt-static")) {
        flags.extend(["-C".to_owned(), "target-feature=+crt-static".to_owned()]);
    }
    flags.extend(["-C".to_owned(), format!("link-arg={}", host.kit.memory_library().display())]);
    // The checksum in the header. Microsoft's linker writes it whenever the subsystem is native.
    flags.extend(["-C".to_owned(), "link-arg=/RELEASE".to_owned()]);
    let resources = host.llvm.resource_folder()?;
    let clang_arguments = format!("-fgnuc-version=12 -resource-dir '{}'", resources.display());
    let target = host.processor.target_in_a_variable();
    let mut command = host.driver.cargo();
    command
        .current_dir(folder)
        .env("CARGO_HOME", &sources.home)
        .env("CARGO_TARGET_DIR", target_folder(layout, sources))
        .env("CARGO_TERM_PROGRESS_WHEN", "always")
        .env("CARGO_TERM_PROGRESS_WIDTH", "100")
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
        .env(format!("CARGO_TARGET_{}_LINKER", target.to_uppercase()), host.llvm.linker())
        // For resources: embed-resource compiles them, and has their macros expanded before that.
        .env(format!("RC_{target}"), host.llvm.resource_compiler())
        .env(format!("CC_{target}"), host.llvm.clang())
        .env("WDKContentRoot", host.kit.root())
        .env("LIBCLANG_PATH", host.llvm.library_folder())
        .env("BINDGEN_EXTRA_CLANG_ARGS", &clang_arguments)
        .env(MANIFEST_VARIABLE, &sources.manifest);
    if let Some(arguments) = host.kit.clang_arguments() {
        // In a variable of the target's own: of the other the build of bindgen itself depends, for every target.
        let variable = format!("BINDGEN_EXTRA_CLANG_ARGS_{target}");
        command.env(variable, format!("{clang_arguments} {arguments}"));
    }
    Ok(command)
}

/// Where a workspace is built: a folder for each, since two may have packages of one name.
fn target_folder(layout: &Layout, sources: &Sources) -> PathBuf {
    let root = sources.manifest.parent().unwrap_or(&sources.manifest);
    let identity = text::fingerprint(root.as_os_str().as_encoded_bytes());
    layout.drivers().join(".build").join(format!("{}-{identity}", short_name(root)))
}

/// The flags that the crate's own configuration asks for. Given to cargo with the kit's, because flags in
/// the environment replace those in files.
fn own_rustflags(host: &Host, sources: &Sources, folder: &Path) -> Result<Vec<String>> {
    for key in
        [format!("target.{}.rustflags", host.processor.target()), "build.rustflags".to_owned()]
    {
        let output = host
            .driver
            .cargo()
            .current_dir(folder)
            .env("CARGO_HOME", &sources.home)
            .env("RUSTC_BOOTSTRAP", "1")
            .args(["config", "get", "-Zunstable-options", "--format", "json-value", &key])
            .output()
            .context("cannot start cargo")?;
        if output.status.success() {
            let value = String::from_utf8_lossy(&output.stdout);
            return flags_in(&value).with_context(|| format!("cannot read {key} ({value})"));
        }
    }
    Ok(Vec::new())
}

/// Flags in a value of cargo's configuration, which is a list or one string.
fn flags_in(json: &str) -> Result<Vec<String>> {
    Ok(match serde_json::from_str(json)? {
        serde_json::Value::String(flags) => flags.split_whitespace().map(str::to_owned).collect(),
        value => serde_json::from_value(value)?,
    })
}

/// What cargo says it built, or found built.
fn artifacts(messages: &str) -> Result<Vec<Artifact>> {
    let mut artifacts = Vec::new();
    for message in Message::parse_stream(messages.as_bytes()) {
        if let Message::CompilerArtifact(artifact) =
            message.context("cannot read cargo's output")?
        {
            artifacts.push(artifact);
        }
    }
    Ok(artifacts)
}

/// The dynamic libraries among what was built.
fn libraries(artifacts: Vec<Artifact>) -> impl Iterator<Item = PathBuf> {
    artifacts
        .into_iter()
        .filter(|artifact| artifact.target.is_cdylib())
        .flat_map(|artifact| artifact.filenames)
        .filter(|file| file.extension() == Some("dll"))
        .map(PathBuf::from)
}

/// Puts a library where finished drivers are, under the name of a driver; says whether it is a new one.
fn place(layout: &Layout, processor: Processor, library: &Path) -> Result<(PathBuf, bool)> {
    let stem = library.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let drivers = match processor {
        Processor::X64 => layout.drivers(),
        Processor::Arm64 => layout.drivers().join(processor.machine()),
    };
    let folder = drivers.join(&stem);
    let driver = folder.join(format!("{stem}.sys"));
    let content =
        fs::read(library).with_context(|| format!("cannot read {}", library.display()))?;
    let new = text::write_if_changed(&driver, &content)?;
    // What is known of the driver's symbols, as far as the linker was asked for it. Cargo puts debug information beside
    // the library, and leaves a map where the linker wrote it.
    let linked = library.with_file_name("deps").join(&stem);
    for symbols in [library.with_extension("pdb"), linked.with_extension("map")] {
        if let (true, Some(extension)) = (symbols.is_file(), symbols.extension()) {
            let content =
                fs::read(&symbols).with_context(|| format!("cannot read {}", symbols.display()))?;
            text::write_if_changed(&driver.with_extension(extension), &content)?;
        }
    }
    Ok((driver, new))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_a_list_or_one_string() {
        let expected = ["-C", "target-feature=+crt-static"];
        let list = flags_in(r#"["-C", "target-feature=+crt-static"]"#);
        assert_eq!(list.ok().as_deref(), Some(&expected.map(str::to_owned)[..]));
        let string = flags_in(r#""-C target-feature=+crt-static""#);
        assert_eq!(string.ok().as_deref(), Some(&expected.map(str::to_owned)[..]));
    }
}
