//! Which Rust compiler builds for a target that is not the host.
//!
//! A rustup toolchain that has the target installed is used as it is. Where none has, Debian's compiler
//! builds `core` and `alloc` itself, from the source that Debian packages beside it.

use std::env;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Result, bail};

/// Where drivers run.
pub(crate) const DRIVER_TARGET: &str = "x86_64-pc-windows-msvc";

/// Where the bed runs.
pub(crate) const BED_TARGET: &str = "x86_64-unknown-none";

/// Debian's compiler.
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_CARGO: &str = "/usr/bin/cargo";
const DEBIAN_CLIPPY: &str = "/usr/bin/cargo-clippy";

/// The standard library's source, where Debian has it.
const DEBIAN_LIBRARY: &str = "/usr/lib/rustlib/src/rust/library";

/// The oldest compiler that builds this repository.
pub(crate) const OLDEST_MINOR: u32 = 95;

/// A compiler and its cargo, for one target.
#[derive(Debug, Clone)]
pub(crate) enum Toolchain {
    /// A rustup toolchain that has the target's `core`.
    Rustup {
        /// Its folder.
        sysroot: PathBuf,
    },
    /// Debian's, which builds the target's `core` from source.
    Debian,
}

impl Toolchain {
    /// The compiler for `target`.
    ///
    /// # Errors
    ///
    /// Neither a rustup toolchain nor Debian's compiler can build for `target`.
    pub(crate) fn for_target(target: &str) -> Result<Self> {
        Self::choose(target, rustup_sysroots(), has_target, debian_lacks)
    }

    /// The first of rustup's toolchains in `sysroots` that has the target; without one Debian's, if that
    /// lacks nothing.
    fn choose(
        target: &str,
        sysroots: &[PathBuf],
        has_target: impl Fn(&Path, &str) -> bool,
        debian_lacks: impl FnOnce() -> Option<String>,
    ) -> Result<Self> {
        if let Some(sysroot) = sysroots.iter().find(|root| has_target(root, target)) {
            return Ok(Self::Rustup { sysroot: sysroot.clone() });
        }
        match debian_lacks() {
            None => Ok(Self::Debian),
            Some(reason) => bail!(
                "no compiler for {target}: no rustup toolchain has the target (`rustup target add \
                 {target}` gets it), and Debian's compiler cannot stand in: {reason}"
            ),
        }
    }

    /// `rustc`.
    pub(crate) fn rustc(&self) -> PathBuf {
        match self {
            Self::Rustup { sysroot } => sysroot.join("bin").join("rustc"),
            Self::Debian => DEBIAN_RUSTC.into(),
        }
    }

    /// `cargo`, with nothing of the cargo that runs this program in its environment.
    pub(crate) fn cargo(&self) -> Command {
        let (cargo, rustc, rustdoc) = match self {
            Self::Rustup { sysroot } => {
                let bin = sysroot.join("bin");
                (bin.join("cargo"), bin.join("rustc"), bin.join("rustdoc"))
            }
            Self::Debian => (DEBIAN_CARGO.into(), DEBIAN_RUSTC.into(), "/usr/bin/rustdoc".into()),
        };
        let mut command = Command::new(&cargo);
        for (name, _) in env::vars_os() {
            if name.to_str().is_some_and(belongs_to_the_running_cargo) {
                command.env_remove(name);
            }
        }
        // Cargo looks for clippy where programs are, and rustup's may come first there.
        let others = env::var_os("PATH").unwrap_or_default();
        let folders = cargo.parent().map(Path::to_path_buf).into_iter();
        // A folder with a colon in its name cannot be in a path; then clippy is not found.
        if let Ok(path) = env::join_paths(folders.chain(env::split_paths(&others))) {
            command.env("PATH", path);
        }
        command.env("RUSTC", rustc).env("RUSTDOC", rustdoc);
        if self.builds_core() {
            // Building `core` is an unstable option, and Debian's compiler is a stable one.
            command.env("RUSTC_BOOTSTRAP", "1");
        }
        command
    }

    /// Whether `cargo clippy` works.
    pub(crate) fn has_clippy(&self) -> bool {
        match self {
            Self::Rustup { sysroot } => sysroot.join("bin").join("cargo-clippy").is_file(),
            Self::Debian => Path::new(DEBIAN_CLIPPY).is_file(),
        }
    }

    /// The arguments of `cargo build` for `target`.
    pub(crate) fn target_arguments(&self, target: &str, features: &str) -> Vec<String> {
        let mut arguments = vec!["--target".to_owned(), target.to_owned()];
        if self.builds_core() {
            arguments.push("-Zbuild-std=core,alloc".to_owned());
            arguments.push(format!("-Zbuild-std-features={features}"));
        }
        arguments
    }

    /// Whether `core` is built from source.
    pub(crate) const fn builds_core(&self) -> bool {
        matches!(self, Self::Debian)
    }

    /// The manifest of the standard library's workspace, whose dependencies building `core` needs.
    pub(crate) fn library_manifest(&self) -> Option<PathBuf> {
        self.builds_core().then(|| Path::new(DEBIAN_LIBRARY).join("Cargo.toml"))
    }
}

impl fmt::Display for Toolchain {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rustup { sysroot } => write!(formatter, "{}", sysroot.display()),
            Self::Debian => write!(formatter, "{DEBIAN_RUSTC} with core from {DEBIAN_LIBRARY}"),
        }
    }
}

/// The packages of Debian's compiler, and of the standard library's source.
const DEBIAN_COMPILER: [&str; 3] = ["rustc-web", "cargo-web", "rust-web-src"];

/// What of Debian's compiler, source and linter is not there; nothing when rustup has all targets.
pub(crate) fn missing_debian_packages() -> &'static [&'static str] {
    let roots = rustup_sysroots();
    let covered = [DRIVER_TARGET, BED_TARGET]
        .iter()
        .all(|target| roots.iter().any(|root| has_target(root, target)));
    if covered {
        &[]
    } else if debian_lacks().is_some() {
        &["rustc-web", "cargo-web", "rust-web-src", "rust-web-clippy"]
    } else if !Path::new(DEBIAN_CLIPPY).is_file() {
        &["rust-web-clippy"]
    } else {
        &[]
    }
}

/// The packages of Debian's compiler and the standard library's source, if these are not there.
pub(crate) fn missing_compiler() -> &'static [&'static str] {
    if debian_lacks().is_some() { &DEBIAN_COMPILER } else { &[] }
}

/// The runtime library of a sanitizer for `target`, from the first of rustup's toolchains that has it.
pub(crate) fn sanitizer_runtime(sanitizer: &str, target: &str) -> Option<PathBuf> {
    let ending = format!("_rt.{sanitizer}.a");
    rustup_sysroots().iter().find_map(|root| {
        let library = root.join("lib").join("rustlib").join(target).join("lib");
        library.read_dir().ok()?.find_map(|entry| {
            let path = entry.ok()?.path();
            path.file_name()?.to_str()?.ends_with(&ending).then_some(path)
        })
    })
}

/// What keeps Debian's compiler from being used.
fn debian_lacks() -> Option<String> {
    for path in [DEBIAN_RUSTC, DEBIAN_CARGO] {
        if !Path::new(path).is_file() {
            return Some(format!("{path} is not there (packages rustc-web, cargo-web)"));
        }
    }
    if !Path::new(DEBIAN_LIBRARY).join("core").is_dir() {
        return Some(format!("{DEBIAN_LIBRARY} is not there (package rust-web-src)"));
    }
    match version_of(Path::new(DEBIAN_RUSTC)) {
        Some(minor) if minor >= OLDEST_MINOR => None,
        Some(minor) => Some(format!(
            "{DEBIAN_RUSTC} is 1.{minor}, and 1.{OLDEST_MINOR} is the oldest that does"
        )),
        None => Some(format!("{DEBIAN_RUSTC} --version says nothing that can be read")),
    }
}

/// The toolchains that rustup has: the active one first.
fn rustup_sysroots() -> &'static [PathBuf] {
    static ROOTS: OnceLock<Vec<PathBuf>> = OnceLock::new();
    ROOTS.get_or_init(find_rustup_sysroots)
}

fn find_rustup_sysroots() -> Vec<PathBuf> {
    let mut roots = Vec::new();
    let mut ask = Command::new("rustc");
    if let Ok(output) = ask.args(["--print", "sysroot"]).output() {
        roots.push(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
    }
    if let Ok(output) = Command::new("rustup").args(["toolchain", "list", "-v"]).output() {
        roots.extend(listed_toolchains(&String::from_utf8_lossy(&output.stdout)));
    }
    roots.retain(|root| {
        root.join("bin").join("cargo").is_file()
            && root != Path::new("/usr")
            && version_of(&root.join("bin").join("rustc"))
                .is_some_and(|minor| minor >= OLDEST_MINOR)
    });
    roots.dedup();
    roots
}

/// The folders in the output of `rustup toolchain list -v`: the last column.
fn listed_toolchains(output: &str) -> Vec<PathBuf> {
    output
        .lines()
        .filter_map(|line| line.split_whitespace().last())
        .filter(|word| word.starts_with('/'))
        .map(PathBuf::from)
        .collect()
}

/// Whether the toolchain in `sysroot` has a compiled `core` for `target`.
fn has_target(sysroot: &Path, target: &str) -> bool {
    let library = sysroot.join("lib").join("rustlib").join(target).join("lib");
    library.read_dir().is_ok_and(|mut entries| {
        entries.any(|entry| {
            entry.is_ok_and(|entry| entry.file_name().to_string_lossy().starts_with("libcore-"))
        })
    })
}

/// The minor version of the compiler `rustc`.
fn version_of(rustc: &Path) -> Option<u32> {
    let output =
        Command::new(rustc).arg("--version").env_remove("LD_LIBRARY_PATH").output().ok()?;
    minor_version(&String::from_utf8_lossy(&output.stdout))
}

/// The minor version of a compiler, by what it says: 96 for `rustc 1.96.0`.
pub(crate) fn minor_version(text: &str) -> Option<u32> {
    let version = text.strip_prefix("rustc 1.")?;
    version.split('.').next()?.parse().ok()
}

/// Whether an environment variable was set by the cargo that runs this program, or steers a compiler
/// that is not the one chosen here. What says how to reach the network stays.
fn belongs_to_the_running_cargo(name: &str) -> bool {
    const KEPT: [&str; 5] =
        ["CARGO_HOME", "CARGO_HTTP_", "CARGO_NET_", "CARGO_REGISTR", "CARGO_BUILD_JOBS"];
    const OTHERS: [&str; 10] = [
        "RUSTC",
        "RUSTDOC",
        "RUSTFLAGS",
        "RUSTDOCFLAGS",
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
        "RUSTUP_TOOLCHAIN",
        "LD_LIBRARY_PATH",
        "CARGO",
        "RUST_RECURSION_COUNT",
    ];
    let kept = KEPT.iter().any(|prefix| name.starts_with(prefix));
    (name.starts_with("CARGO_") && !kept) || OTHERS.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(having: &[&str], debian_lacks: Option<&str>) -> Result<Toolchain> {
        let sysroots = ["/r/stable", "/r/nightly"].map(PathBuf::from);
        Toolchain::choose(
            DRIVER_TARGET,
            &sysroots,
            |root, target| {
                target == DRIVER_TARGET && having.iter().any(|path| root == Path::new(path))
            },
            || debian_lacks.map(str::to_owned),
        )
    }

    #[test]
    fn the_first_toolchain_of_rustups_that_has_the_target_is_taken() {
        let both = choose(&["/r/nightly", "/r/stable"], None);
        assert!(
            matches!(both, Ok(Toolchain::Rustup { sysroot }) if sysroot == Path::new("/r/stable"))
        );
        let second = choose(&["/r/nightly"], Some("nothing is installed"));
        assert!(
            matches!(second, Ok(Toolchain::Rustup { sysroot }) if sysroot == Path::new("/r/nightly"))
        );
    }

    #[test]
    fn without_one_debians_compiler_is_taken() {
        assert!(matches!(choose(&[], None), Ok(Toolchain::Debian)));
    }

    #[test]
    fn without_either_the_error_says_how_to_get_one() {
        let error = choose(&[], Some("no rustc")).map_err(|error| error.to_string());
        let text = error.err().unwrap_or_default();
        assert!(text.contains("rustup target add x86_64-pc-windows-msvc"), "{text}");
        assert!(text.contains("no rustc"), "{text}");
    }

    #[test]
    fn a_toolchain_of_rustups_builds_no_core_and_takes_no_unstable_option() {
        let rustup = Toolchain::Rustup { sysroot: "/r/stable".into() };
        assert_eq!(rustup.target_arguments("t", "f"), ["--target", "t"]);
        assert!(rustup.library_manifest().is_none());
        let command = rustup.cargo();
        assert_eq!(command.get_program(), "/r/stable/bin/cargo");
        assert!(!command.get_envs().any(|(name, _)| name == "RUSTC_BOOTSTRAP"));
    }

    #[test]
    fn the_version_of_a_compiler_is_read() {
        assert_eq!(minor_version("rustc 1.96.0 (ac68faa20 2026-05-25)"), Some(96));
        assert_eq!(minor_version("something else"), None);
    }

    #[test]
    fn the_folders_of_rustups_toolchains_are_the_last_column() {
        let output = "stable-x86_64-unknown-linux-gnu (active, default) /r/stable\nmine /r/mine\n";
        assert_eq!(listed_toolchains(output), [PathBuf::from("/r/stable"), "/r/mine".into()]);
    }

    #[test]
    fn a_message_that_there_are_no_toolchains_is_no_toolchain() {
        assert!(listed_toolchains("no installed toolchains\n").is_empty());
    }

    #[test]
    fn what_the_running_cargo_sets_does_not_reach_the_other_one() {
        for name in ["CARGO_MANIFEST_DIR", "CARGO_TARGET_DIR", "RUSTFLAGS", "LD_LIBRARY_PATH"] {
            assert!(belongs_to_the_running_cargo(name), "{name}");
        }
    }

    #[test]
    fn what_says_how_to_reach_the_network_does() {
        for name in ["CARGO_HOME", "CARGO_HTTP_PROXY", "CARGO_NET_OFFLINE", "HTTPS_PROXY", "PATH"] {
            assert!(!belongs_to_the_running_cargo(name), "{name}");
        }
    }
}
