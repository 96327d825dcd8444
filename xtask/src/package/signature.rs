//! A certificate for testing, and signatures with it.
//!
//! It is made when the first package is, and kept with its key under `target/`, so that a machine that trusts it can be
//! given another build. It is good for a year and for nothing but tests.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::text;

/// Whose certificate it says it is.
const SUBJECT: &str = "/CN=wdm-interrupt test (do not trust elsewhere)";

/// A certificate and its key.
#[derive(Debug, Clone)]
pub(crate) struct Certificate {
    certificate: PathBuf,
    key: PathBuf,
}

impl Certificate {
    /// The certificate in `folder`, made if there is none or if its time is up within a week.
    pub(crate) fn of(folder: &Path) -> Result<Self> {
        text::create_folder(folder)?;
        let certificate = folder.join("certificate.pem");
        let key = folder.join("key.pem");
        let lasts = certificate.is_file()
            && key.is_file()
            && run(Command::new("openssl")
                .args(["x509", "-noout", "-checkend", "604800", "-in"])
                .arg(&certificate))
            .is_ok();
        if !lasts {
            // openssl makes the key's file readable for its owner only.
            run(Command::new("openssl")
                .args(["req", "-x509", "-newkey", "rsa:3072", "-nodes", "-sha256", "-days", "365"])
                .args(["-subj", SUBJECT])
                .args(["-addext", "basicConstraints=critical,CA:FALSE"])
                .args(["-addext", "keyUsage=critical,digitalSignature"])
                .args(["-addext", "extendedKeyUsage=critical,codeSigning"])
                .arg("-keyout")
                .arg(&key)
                .arg("-out")
                .arg(&certificate))?;
        }
        Ok(Self { certificate, key })
    }

    /// Writes `driver` with a signature to `signed`.
    pub(crate) fn sign(&self, driver: &Path, signed: &Path) -> Result<()> {
        // osslsigncode writes over no file.
        if signed.is_file() {
            fs::remove_file(signed)
                .with_context(|| format!("cannot replace {}", signed.display()))?;
        }
        run(Command::new("osslsigncode")
            .args(["sign", "-h", "sha256", "-certs"])
            .arg(&self.certificate)
            .arg("-key")
            .arg(&self.key)
            .arg("-in")
            .arg(driver)
            .arg("-out")
            .arg(signed))
    }

    /// Fails unless `signed` has a signature by this certificate, and is what was signed.
    pub(crate) fn verify(&self, signed: &Path) -> Result<()> {
        run(Command::new("osslsigncode")
            .arg("verify")
            .arg("-CAfile")
            .arg(&self.certificate)
            .arg("-in")
            .arg(signed))
    }

    /// Fails unless `catalogue` has a signature by this certificate, and has `member` in it as it is.
    pub(crate) fn verify_by_catalogue(&self, catalogue: &Path, member: &Path) -> Result<()> {
        run(Command::new("osslsigncode")
            .arg("verify")
            .arg("-catalog")
            .arg(catalogue)
            .arg("-CAfile")
            .arg(&self.certificate)
            .arg("-in")
            .arg(member))
    }

    /// Writes the certificate to `file`, as Windows takes it into a store.
    pub(crate) fn export(&self, file: &Path) -> Result<()> {
        run(Command::new("openssl")
            .args(["x509", "-outform", "DER", "-in"])
            .arg(&self.certificate)
            .arg("-out")
            .arg(file))
    }
}

/// Runs a program of which only success is of interest.
fn run(command: &mut Command) -> Result<()> {
    let program = command.get_program().display().to_string();
    let output = command.output().with_context(|| format!("cannot start {program}"))?;
    if !output.status.success() {
        let said = [output.stdout, output.stderr].concat();
        bail!("{program} failed:\n{}", text::tail(String::from_utf8_lossy(&said).trim(), 20));
    }
    Ok(())
}
