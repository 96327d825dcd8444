//! The rules for what an INF says.

use anyhow::{Context, Result, bail};

use super::{Sample, Stage};
use crate::inf::{Inf, Line, Section};

/// The setup class of system devices, by its name and its GUID.
const CLASS: [&str; 2] = ["System", "{4D36E97D-E325-11CE-BFC1-08002BE10318}"];

/// Where the plug and play manager reads a device's interrupt settings, below its hardware key.
const INTERRUPTS: &str = "Interrupt Management";
const MESSAGES: &str = r"Interrupt Management\MessageSignaledInterruptProperties";
const AFFINITY: &str = r"Interrupt Management\Affinity Policy";

/// Types of registry values: a key without a value, a number.
const KEY_ONLY: u32 = 0x10;
const DWORD: u32 = 0x0001_0001;

/// The greatest number of messages that a device can have by MSI-X.
const MOST_MESSAGES: u32 = 2048;

/// What a driver package may not ask for, because it is not confined to the device and its driver: programs that are run,
/// files and keys that belong to all.
const LEGACY: [&str; 14] = [
    "BitReg",
    "CoInstallers32",
    "DelFiles",
    "DelService",
    "Ini2Reg",
    "LogConfig",
    "ProfileItems",
    "Reboot",
    "RegisterDlls",
    "RegisterOcxs",
    "RenFiles",
    "UnregisterDlls",
    "UpdateIniFields",
    "UpdateInis",
];

/// A line of an `AddReg` section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    root: String,
    key: String,
    name: String,
    kind: u32,
    value: String,
}

impl Entry {
    pub(super) fn of(line: &Line) -> Self {
        Self {
            root: line.value(0).to_owned(),
            key: line.value(1).to_owned(),
            name: line.value(2).to_owned(),
            kind: number(line.value(3)).unwrap_or(0),
            value: line.value(4).to_owned(),
        }
    }
}

/// A number as an INF has it: decimal, or hexadecimal behind `0x`.
pub(super) fn number(text: &str) -> Option<u32> {
    let hexadecimal = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    hexadecimal.map_or_else(|| text.parse().ok(), |digits| u32::from_str_radix(digits, 16).ok())
}

/// What the file is, for which class, with which catalogue.
pub(super) fn version(section: &Section, sample: Sample, stage: Stage) -> Result<()> {
    let catalogue = format!("{}.cat", sample.name);
    let [class, guid] = CLASS;
    let wanted = [
        ("Signature", "$WINDOWS NT$"),
        ("Class", class),
        ("ClassGuid", guid),
        ("CatalogFile", &catalogue),
        // Files of the package cannot be replaced but by installing another.
        ("PnpLockdown", "1"),
    ];
    for (key, wanted) in wanted {
        let value = section.one(key)?.value(0);
        if !value.eq_ignore_ascii_case(wanted) {
            bail!("[{}] has {key} = {value}, and {wanted} is needed", section.name);
        }
    }
    if section.one("Provider")?.value(0).is_empty() {
        bail!("the provider has no name");
    }
    let stamped = section.one("DriverVer")?;
    match stage {
        Stage::Template if stamped.values.iter().all(String::is_empty) => Ok(()),
        Stage::Template => bail!("DriverVer is stamped, and must be left to the packaging"),
        Stage::Stamped => driver_version(stamped).context("DriverVer is `month/day/year,w.x.y.z`"),
    }
}

/// A date and four numbers of 16 bits.
fn driver_version(line: &Line) -> Result<()> {
    let [date, version] = line.values.as_slice() else {
        bail!("it has {} values", line.values.len());
    };
    let parts: Vec<u32> = date.split('/').filter_map(|part| part.parse().ok()).collect();
    let sound = matches!(parts[..], [1..=12, 1..=31, 2020..=2999]);
    if !sound || date.len() != "mm/dd/yyyy".len() {
        bail!("{date:?} is no date");
    }
    let numbers = version.split('.').filter(|part| part.parse::<u16>().is_ok()).count();
    if numbers != 4 || version.split('.').count() != 4 {
        bail!("{version:?} is no version");
    }
    Ok(())
}

/// The device says who may open it, and it is not everybody.
pub(super) fn security(registry: &[Entry]) -> Result<()> {
    let entry = registry
        .iter()
        .find(|entry| entry.root == "HKR" && entry.key.is_empty() && entry.name == "Security")
        .context("the hardware section sets no Security")?;
    let list = entry
        .value
        .strip_prefix("D:P(")
        .with_context(|| format!("{:?} is no protected list", entry.value))?;
    for entry in list.split('(') {
        let fields: Vec<&str> = entry.trim_end_matches(')').split(';').collect();
        let [kind, _, rights, _, _, who] = fields[..] else {
            bail!("{entry:?} is no access control entry");
        };
        let trusted = ["SY", "BA"].contains(&who);
        // Local users for reading and writing; nobody else, and nobody for everything but who is trusted.
        if kind != "A" || !(trusted || (who == "BU" && rights == "GRGW")) {
            bail!("the entry {entry:?} gives {rights} to {who}");
        }
    }
    Ok(())
}

/// The settings that Microsoft's "Enabling Message-Signaled Interrupts in the Registry" and "Interrupt Affinity" name.
pub(super) fn interrupts(registry: &[Entry], messages: u32) -> Result<()> {
    if setting(registry, MESSAGES, "MSISupported")? != 1 {
        bail!("MSISupported is not 1, so the device gets a line only");
    }
    let limit = setting(registry, MESSAGES, "MessageNumberLimit")?;
    if limit == 0 || limit > MOST_MESSAGES || limit != messages {
        bail!("MessageNumberLimit is {limit}, and the device has {messages} messages");
    }
    // IrqPolicyMachineDefault to IrqPolicySpreadMessagesAcrossAllProcessors; 4 names processors in another value.
    match setting(registry, AFFINITY, "DevicePolicy")? {
        0..=3 | 5 => Ok(()),
        4 if registry.iter().any(|entry| entry.name == "AssignmentSetOverride") => Ok(()),
        4 => bail!(
            "DevicePolicy 4 is IrqPolicySpecifiedProcessors, and no AssignmentSetOverride names them"
        ),
        other => bail!("DevicePolicy {other} is none"),
    }
}

/// The number that the hardware key gets as the value `name` of `key`.
fn setting(registry: &[Entry], key: &str, name: &str) -> Result<u32> {
    let entry = registry
        .iter()
        .find(|entry| entry.root == "HKR" && entry.key == key && entry.name == name)
        .with_context(|| format!(r"the hardware section does not lead to HKR\{key}: {name}"))?;
    if entry.kind != DWORD {
        bail!("{name} is of type {:#x}, and REG_DWORD is {DWORD:#x}", entry.kind);
    }
    number(&entry.value).with_context(|| format!("{name} is {:?}", entry.value))
}

/// What concerns sections wherever they are: nothing legacy, no interrupt key but in the hardware section, nothing that is
/// used by nobody.
pub(super) fn whole_file(inf: &Inf, visited: &[String], text: &str) -> Result<()> {
    for section in inf.sections() {
        let name = &section.name;
        if name.to_ascii_lowercase().contains(".coinstallers") {
            bail!("[{name}] has programs run at installation: legacy");
        }
        for line in &section.lines {
            let key = line.key.as_deref().unwrap_or_default();
            if LEGACY.iter().any(|legacy| legacy.eq_ignore_ascii_case(key)) {
                bail!("[{name}] has the legacy directive {key}");
            }
        }
        registry_of(inf, section)?;
        if !visited.iter().any(|used| used.eq_ignore_ascii_case(name)) {
            bail!("nothing leads to [{name}]");
        }
    }
    unused_strings(inf, text)
}

/// The registry sections that `section` names are below the key that they are for, and those with interrupt keys are named
/// by a hardware section.
fn registry_of(inf: &Inf, section: &Section) -> Result<()> {
    let hardware = section.name.to_ascii_uppercase().ends_with(".HW");
    for list in section.all("AddReg").flat_map(|line| &line.values) {
        for entry in inf.section(list)?.lines.iter().map(Entry::of) {
            if entry.root != "HKR" {
                bail!("[{list}] writes below {}, and HKR alone is the package's", entry.root);
            }
            if entry.key.starts_with(INTERRUPTS) && !hardware {
                bail!(
                    "[{}] leads to {}; interrupt keys belong under a section .HW",
                    section.name,
                    entry.key
                );
            }
            if entry.name.is_empty() && entry.kind != KEY_ONLY {
                bail!("[{list}] sets the value without a name of {:?}", entry.key);
            }
        }
    }
    Ok(())
}

/// Every string is used.
fn unused_strings(inf: &Inf, text: &str) -> Result<()> {
    let used = text.to_ascii_lowercase();
    for line in &inf.section("Strings")?.lines {
        let name = line.key.as_deref().unwrap_or_default();
        if !used.contains(&format!("%{}%", name.to_ascii_lowercase())) {
            bail!("the string {name} is used nowhere");
        }
    }
    Ok(())
}
