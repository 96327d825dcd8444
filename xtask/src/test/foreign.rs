//! A driver crate that is not this repository's: a few lines against Microsoft's crates only, in a
//! workspace of its own, as a stranger would have it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::driver::{self, Profile};
use crate::layout::Layout;
use crate::setup::Host;
use crate::text;
use crate::vendor::Sources;

/// The name of the crate and of its driver.
pub(super) const NAME: &str = "stranger";

const MANIFEST: &str = r#"[package]
name = "stranger"
version = "0.1.0"
edition = "2024"
publish = false

[package.metadata.wdk.driver-model]
driver-type = "WDM"

[lib]
crate-type = ["cdylib"]

[dependencies]
wdk = "0.5"
wdk-panic = "0.5"
wdk-sys = "0.5"

[build-dependencies]
wdk-build = "0.6"

[profile.dev]
panic = "abort"

[profile.release]
panic = "abort"

[workspace]
"#;

const BUILD_SCRIPT: &str = r"fn main() -> Result<(), wdk_build::ConfigError> {
    wdk_build::configure_wdk_binary_build()
}
";

const DRIVER: &str = r#"//! Says hello when it is loaded and goodbye when it is unloaded. No device is its.
#![no_std]

extern crate wdk_panic;

use wdk_sys::{DRIVER_OBJECT, NTSTATUS, PCUNICODE_STRING, STATUS_SUCCESS};

#[unsafe(export_name = "DriverEntry")]
pub unsafe extern "system" fn driver_entry(
    driver: &mut DRIVER_OBJECT,
    _registry_path: PCUNICODE_STRING,
) -> NTSTATUS {
    driver.DriverUnload = Some(unload);
    wdk::println!("stranger: hello");
    STATUS_SUCCESS
}

unsafe extern "C" fn unload(_driver: *mut DRIVER_OBJECT) {
    wdk::println!("stranger: goodbye");
}
"#;

/// Writes the crate, unless it is there.
fn write(layout: &Layout, host: &Host) -> Result<PathBuf> {
    let folder = layout.target().join(NAME);
    text::write_if_changed(&folder.join("Cargo.toml"), MANIFEST.as_bytes())?;
    text::write_if_changed(&folder.join("build.rs"), BUILD_SCRIPT.as_bytes())?;
    text::write_if_changed(&folder.join("src").join("lib.rs"), DRIVER.as_bytes())?;
    let lock = folder.join("Cargo.lock");
    if !lock.is_file() {
        // From the samples' lock and sources, so that it needs no network and builds the same versions.
        let samples = Sources::of(layout, &host.driver, &layout.sample())?;
        fs::copy(samples.lock(), &lock)
            .with_context(|| format!("cannot write {}", lock.display()))?;
        let output = host
            .driver
            .cargo()
            .current_dir(&folder)
            .env("CARGO_HOME", &samples.home)
            .args(["update", "--workspace", "--offline"])
            .output()
            .context("cannot start cargo")?;
        if !output.status.success() {
            fs::remove_file(&lock).with_context(|| format!("cannot remove {}", lock.display()))?;
            anyhow::bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
        }
    }
    Ok(folder)
}

/// Builds the crate, in the profile that is not the sample's.
pub(super) fn build(layout: &Layout, host: &Host) -> Result<PathBuf> {
    let folder = write(layout, host)?;
    let built = driver::build(layout, host, Path::new(&folder), Profile::Dev)?;
    built.drivers.into_iter().next().context("no driver was built")
}
