//! Checks the sample's INX for what matters to a driver with interrupts: where the interrupt keys are, who may open the
//! device, and that the parts name each other. `InfVerif` on Windows checks the rest.

use anyhow::{Context, Result, bail};

/// Where the plug and play manager reads a device's interrupt settings, below its hardware key.
const INTERRUPTS: &str = r"Interrupt Management";

/// The settings that the sample must have: subkey, value, number.
const SETTINGS: [(&str, &str, u32); 3] = [
    (r"\MessageSignaledInterruptProperties", "MSISupported", 1),
    (r"\MessageSignaledInterruptProperties", "MessageNumberLimit", 1),
    (r"\Affinity Policy", "DevicePolicy", 0),
];

/// The device that the driver is for.
const HARDWARE_ID: &str = r"PCI\VEN_1234&DEV_11E8";

/// The decoration of the models section: any architecture, from Windows 10, version 2004.
const DECORATION: &str = "NT$ARCH$.10.0...19041";

/// An INF or INX file, as sections of lines.
struct Inx<'a> {
    sections: Vec<(&'a str, Vec<&'a str>)>,
}

impl<'a> Inx<'a> {
    fn parse(text: &'a str) -> Result<Self> {
        let mut sections: Vec<(&str, Vec<&str>)> = Vec::new();
        for line in text.lines().map(without_comment).filter(|line| !line.is_empty()) {
            if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
                if sections.iter().any(|(present, _)| present.eq_ignore_ascii_case(name)) {
                    bail!("section [{name}] is there twice");
                }
                sections.push((name, Vec::new()));
            } else {
                let (_, lines) =
                    sections.last_mut().with_context(|| format!("{line:?} is in no section"))?;
                lines.push(line);
            }
        }
        Ok(Self { sections })
    }

    fn lines(&self, section: &str) -> Result<&[&'a str]> {
        self.sections
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(section))
            .map(|(_, lines)| lines.as_slice())
            .with_context(|| format!("there is no section [{section}]"))
    }

    /// The value of `key = value`.
    fn value(&self, section: &str, key: &str) -> Result<&'a str> {
        self.lines(section)?
            .iter()
            .filter_map(|line| line.split_once('='))
            .find(|(name, _)| name.trim().eq_ignore_ascii_case(key))
            .map(|(_, value)| value.trim())
            .with_context(|| format!("[{section}] has no {key}"))
    }

    fn require(&self, section: &str, key: &str, wanted: &str) -> Result<()> {
        let value = self.value(section, key)?;
        if !value.eq_ignore_ascii_case(wanted) {
            bail!("[{section}] has {key} = {value}, and {wanted} is needed");
        }
        Ok(())
    }

    /// The lines of the sections that the `AddReg` of `section` names; none if it has none.
    fn registry(&self, section: &str) -> Result<Vec<&'a str>> {
        let mut lines = Vec::new();
        if let Ok(names) = self.value(section, "AddReg") {
            for name in names.split(',') {
                lines.extend(self.lines(name.trim())?);
            }
        }
        Ok(lines)
    }
}

/// A line without the comment at its end; quoted semicolons are none.
fn without_comment(line: &str) -> &str {
    let mut quoted = false;
    let end = line.find(|c: char| {
        quoted ^= c == '"';
        c == ';' && !quoted
    });
    line[..end.unwrap_or(line.len())].trim()
}

/// Checks the text of an INX file.
pub(super) fn check(text: &str) -> Result<()> {
    let inx = Inx::parse(text)?;
    inx.require("Version", "Signature", "\"$WINDOWS NT$\"")?;
    inx.require("Version", "PnpLockdown", "1")?;
    inx.require("Version", "CatalogFile", "edu.cat")?;
    inx.require("DestinationDirs", "DefaultDestDir", "13")?;
    inx.value("SourceDisksFiles", "edu.sys")?;

    let install = install_section(&inx)?;
    let copied = inx.lines(inx.value(&format!("{install}.NT"), "CopyFiles")?)?;
    if copied != ["edu.sys"] {
        bail!("the files that are copied are {copied:?}");
    }
    let hardware = format!("{install}.NT.HW");
    check_security(&inx.registry(&hardware)?)?;
    check_interrupts(&inx, &hardware)?;
    check_service(&inx, &format!("{install}.NT.Services"))?;
    check_strings(&inx)
}

/// The install section of the device, by way of the manufacturer and the model.
fn install_section<'a>(inx: &Inx<'a>) -> Result<&'a str> {
    let [manufacturer] = inx.lines("Manufacturer")? else {
        bail!("one manufacturer is expected");
    };
    let (_, models) = manufacturer.split_once('=').context("the manufacturer names no models")?;
    let (models, decoration) =
        models.split_once(',').context("the models are not decorated with a system")?;
    if decoration.trim() != DECORATION {
        bail!("the models are for {}, and {DECORATION} is needed", decoration.trim());
    }
    let models = format!("{}.{DECORATION}", models.trim());
    inx.lines(&models)?
        .iter()
        .filter_map(|line| line.split_once('=')?.1.split_once(','))
        .find(|(_, id)| id.trim().eq_ignore_ascii_case(HARDWARE_ID))
        .map(|(install, _)| install.trim())
        .with_context(|| format!("[{models}] has no model {HARDWARE_ID}"))
}

/// The device says who may open it, and it is not everybody.
fn check_security(registry: &[&str]) -> Result<()> {
    let descriptor = registry
        .iter()
        .find_map(|line| line.strip_prefix("HKR,,Security,,"))
        .context("the hardware section sets no Security")?
        .trim_matches('"');
    let entries = descriptor
        .strip_prefix("D:P(")
        .with_context(|| format!("{descriptor:?} is no protected list"))?;
    for entry in entries.split('(') {
        let fields: Vec<&str> = entry.trim_end_matches(')').split(';').collect();
        let [kind, _, rights, _, _, who] = fields[..] else {
            bail!("{entry:?} is no access control entry");
        };
        let trusted = ["SY", "BA"].contains(&who);
        if kind != "A" || (rights == "GA" && !trusted) {
            bail!("the entry {entry:?} gives {rights} to {who}");
        }
    }
    Ok(())
}

/// The interrupt keys are in the hardware section, and nowhere else.
fn check_interrupts(inx: &Inx<'_>, hardware: &str) -> Result<()> {
    let registry = inx.registry(hardware)?;
    for (key, value, number) in SETTINGS {
        let line = format!("HKR,\"{INTERRUPTS}{key}\",{value},0x00010001,{number}");
        if !registry.contains(&line.as_str()) {
            bail!("[{hardware}] does not lead to {line}");
        }
    }
    for (section, _) in &inx.sections {
        if section.eq_ignore_ascii_case(hardware) {
            continue;
        }
        if let Some(line) = inx.registry(section)?.iter().find(|line| line.contains(INTERRUPTS)) {
            bail!("[{section}] leads to {line}; interrupt keys belong under {hardware}");
        }
    }
    Ok(())
}

/// The device's service is a kernel driver in the driver store.
fn check_service(inx: &Inx<'_>, services: &str) -> Result<()> {
    let added = inx.value(services, "AddService")?;
    let fields: Vec<&str> = added.split(',').map(str::trim).collect();
    // 2 is SPSVCINST_ASSOCSERVICE.
    let ["edu", "0x00000002", service] = fields[..] else {
        bail!("[{services}] adds {added:?}, which is not the device's service edu");
    };
    inx.require(service, "ServiceType", "1")?;
    inx.require(service, "StartType", "3")?;
    inx.require(service, "ServiceBinary", r"%13%\edu.sys")
}

/// Every `%name%` is in the strings section or a folder's number.
fn check_strings(inx: &Inx<'_>) -> Result<()> {
    for (section, lines) in &inx.sections {
        for line in lines {
            for name in line.split('%').skip(1).step_by(2) {
                if name.parse::<u32>().is_err() && inx.value("Strings", name).is_err() {
                    bail!("[{section}] uses %{name}%, which is not in [Strings]");
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = include_str!("../../../inf/edu.inx");

    /// What is said of the sample with one change made to it.
    fn said_of(from: &str, to: &str) -> String {
        let changed = SAMPLE.replace(from, to);
        assert_ne!(changed, SAMPLE, "{from:?} is not in the sample");
        check(&changed).map_or_else(|error| error.to_string(), |()| "nothing".to_owned())
    }

    #[test]
    fn the_sample_is_as_it_must_be() {
        assert_eq!(check(SAMPLE).map_err(|error| error.to_string()), Ok(()));
    }

    #[test]
    fn interrupt_keys_under_the_service_are_found() {
        let said = said_of("ServiceType   = 1", "AddReg = Edu_Interrupt\nServiceType   = 1");
        assert!(said.contains("interrupt keys belong under"), "{said}");
    }

    #[test]
    fn interrupt_keys_in_the_install_section_are_found() {
        let said = said_of("CopyFiles =", "AddReg = Edu_Interrupt\nCopyFiles =");
        assert!(said.contains("interrupt keys belong under"), "{said}");
    }

    #[test]
    fn a_device_without_messages_is_found() {
        let said = said_of("MSISupported,0x00010001,1", "MSISupported,0x00010001,0");
        assert!(said.contains("MSISupported"), "{said}");
    }

    #[test]
    fn a_device_that_everybody_may_do_anything_with_is_found() {
        let said = said_of("(A;;GRGW;;;BU)", "(A;;GA;;;WD)");
        assert!(said.contains("gives GA to WD"), "{said}");
    }

    #[test]
    fn another_device_or_system_is_found() {
        assert!(said_of("DEV_11E8", "DEV_11E9").contains("no model"));
        assert!(said_of("...19041", "...16299").contains("19041 is needed"));
    }

    #[test]
    fn a_string_that_is_not_there_is_found() {
        let said = said_of("ServiceName       =", "Service           =");
        assert!(said.contains("%ServiceName%"), "{said}");
    }

    #[test]
    fn a_semicolon_in_quotes_begins_no_comment() {
        assert_eq!(without_comment(r#"a = "b;c" ; d"#), r#"a = "b;c""#);
    }
}
