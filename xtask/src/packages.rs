//! Debian packages: which are missing, and getting them.

use std::io::IsTerminal;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Result, bail};

use crate::llvm::{self, Llvm};
use crate::progress::Step;
use crate::toolchain;

/// QEMU for x86-64.
pub(crate) const QEMU: &str = "/usr/bin/qemu-system-x86_64";

/// The DDK headers of mingw-w64.
pub(crate) const MINGW_HEADERS: &str = "/usr/share/mingw-w64/include";

/// Installs what is missing; does nothing when nothing is.
///
/// # Errors
///
/// Something is missing, and either this is not a system with `apt-get`, or it takes rights that this
/// process has not got: then the error is the one command to run.
pub(crate) fn install_missing(logs: &Path) -> Result<()> {
    install(logs, &missing())
}

/// Installs Debian's compiler and the standard library's source, if they are not there.
///
/// # Errors
///
/// As for [`install_missing`].
pub(crate) fn install_compiler(logs: &Path) -> Result<()> {
    let missing = toolchain::missing_compiler();
    install(logs, &missing.iter().map(|&name| name.to_owned()).collect::<Vec<_>>())
}

/// Installs what signs a driver and makes the certificate for it, if it is not there.
///
/// # Errors
///
/// As for [`install_missing`].
pub(crate) fn install_signing(logs: &Path) -> Result<()> {
    let missing = ["osslsigncode", "openssl"]
        .into_iter()
        .filter(|name| !Path::new("/usr/bin").join(name).is_file())
        .map(str::to_owned);
    install(logs, &missing.collect::<Vec<_>>())
}

/// Installs the linker of programs for Windows, and what they are linked with, if it is not there.
///
/// # Errors
///
/// As for [`install_missing`].
pub(crate) fn install_program_linker(logs: &Path) -> Result<()> {
    let there = Path::new("/usr/bin/x86_64-w64-mingw32-gcc").is_file();
    let missing = (!there).then(|| "gcc-mingw-w64-x86-64-win32".to_owned());
    install(logs, missing.as_slice())
}

fn install(logs: &Path, missing: &[String]) -> Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(" ");
    if !Path::new("/usr/bin/apt-get").is_file() {
        bail!(
            "missing, by the names that Debian 12 has for them: {list}; install them and run this \
             again (only Debian is installed on by itself)"
        );
    }
    let install = format!("apt-get update && apt-get install -y --no-install-recommends {list}");
    let mut shell = if is_root() {
        Command::new("sh")
    } else if sudo_needs_no_password() {
        let mut sudo = Command::new("sudo");
        sudo.args(["-n", "sh"]);
        sudo
    } else {
        bail!(
            "packages are missing, and installing them takes root's rights. Run this, then the same \
             command again:\n\n    sudo sh -c '{install}'\n"
        );
    };
    let mut step = Step::begin(logs, "installing packages");
    if !std::io::stderr().is_terminal() {
        eprintln!("installing packages: {list}");
    }
    step.run(shell.args(["-c", &install]).env("DEBIAN_FRONTEND", "noninteractive"))?;
    step.done(&list);
    Ok(())
}

/// The packages that bring what is not there.
fn missing() -> Vec<String> {
    let mut missing = Vec::new();
    if Llvm::newest().is_none() {
        missing.extend(Llvm::packages(installable_llvm()));
    }
    if !Path::new(MINGW_HEADERS).join("ddk").join("ntifs.h").is_file() {
        missing.push("mingw-w64-common".to_owned());
    }
    if !Path::new(QEMU).is_file() {
        missing.push("qemu-system-x86".to_owned());
    }
    missing.extend(toolchain::missing_debian_packages().iter().map(|&name| name.to_owned()));
    missing
}

/// The newest LLVM that the package lists know, from the preferred one downwards.
fn installable_llvm() -> u32 {
    (llvm::OLDEST..=llvm::PREFERRED)
        .rev()
        .find(|version| {
            Command::new("apt-cache")
                .args(["show", "--no-all-versions", &format!("lld-{version}")])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .is_ok_and(|status| status.success())
        })
        .unwrap_or(llvm::PREFERRED)
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output();
    id.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

fn sudo_needs_no_password() -> bool {
    Command::new("sudo")
        .args(["-n", "true"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
