//! What the user program is as a file: the part of it that no test off Windows runs.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use object::LittleEndian;
use object::pe::IMAGE_SUBSYSTEM_WINDOWS_CUI;
use object::read::pe::PeFile64;

use super::imports;

/// Libraries that every Windows 10 has, as far as the program and its `std` use them.
const OF_WINDOWS: [&str; 10] = [
    "advapi32.dll",
    "api-ms-win-core-synch-l1-2-0.dll",
    "bcryptprimitives.dll",
    "cfgmgr32.dll",
    "kernel32.dll",
    "msvcrt.dll",
    "ntdll.dll",
    "setupapi.dll",
    "userenv.dll",
    "ws2_32.dll",
];

/// How the program reaches the device, and no other way.
const REACHED_BY: [(&str, &str); 7] = [
    ("setupapi.dll", "SetupDiGetClassDevsW"),
    ("setupapi.dll", "SetupDiEnumDeviceInterfaces"),
    ("setupapi.dll", "SetupDiGetDeviceInterfaceDetailW"),
    ("kernel32.dll", "CreateFileW"),
    ("kernel32.dll", "DeviceIoControl"),
    ("cfgmgr32.dll", "CM_Disable_DevNode"),
    ("cfgmgr32.dll", "CM_Enable_DevNode"),
];

/// Fails unless `file` is a console program that takes Windows' own libraries only, and those calls.
pub(super) fn check(file: &Path) -> Result<()> {
    let content = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let image = PeFile64::parse(&*content)
        .with_context(|| format!("{} is no 64-bit PE image", file.display()))?;
    let subsystem = image.nt_headers().optional_header.subsystem.get(LittleEndian);
    if subsystem != IMAGE_SUBSYSTEM_WINDOWS_CUI {
        bail!(
            "the subsystem is {subsystem}, and a console program's is {IMAGE_SUBSYSTEM_WINDOWS_CUI}"
        );
    }
    let imports = imports::of(file)?;
    if let Some(other) = imports.iter().find(|import| !OF_WINDOWS.contains(&&*import.module)) {
        bail!("{} is imported from {}, which Windows does not have", other.name, other.module);
    }
    for (module, name) in REACHED_BY {
        if !imports.iter().any(|import| (&*import.module, &*import.name) == (module, name)) {
            bail!("{name} of {module} is not imported");
        }
    }
    Ok(())
}
