//! Makes an INF of an INX, as `stampinf` does with the options that wdk-build gives it.

use std::env;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::inf;

/// What `stampinf` puts for `$ARCH$` when it is told to make an INF for x64.
const ARCHITECTURE: &str = "amd64";

/// The variable by which `stampinf` is told another date than today's.
const DATE_VARIABLE: &str = "STAMPINF_DATE";

/// Today, as `DriverVer` has it: month, day, year. By universal time, because `Inf2Cat` refuses a date that is tomorrow there.
pub(super) fn today() -> Result<String> {
    if let Ok(date) = env::var(DATE_VARIABLE) {
        return Ok(date);
    }
    now("%m/%d/%Y")
}

/// The universal time, in a form of the program `date`.
pub(super) fn now(form: &str) -> Result<String> {
    let output = Command::new("date")
        .args(["-u", &format!("+{form}")])
        .output()
        .context("cannot start date")?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The INF: with the architecture, the date and version of the driver, and the catalogue's name.
///
/// # Errors
///
/// The INX has no `[Version]`, or leaves something else to be stamped.
pub(super) fn stamped(template: &[u8], name: &str, date: &str, version: &str) -> Result<Vec<u8>> {
    let text = inf::decoded(template)?.replace("$ARCH$", ARCHITECTURE);
    let entries =
        [("DriverVer", format!("{date},{version}")), ("CatalogFile", format!("{name}.cat"))];
    let mut lines: Vec<String> = Vec::new();
    let mut missing: Vec<&(&str, String)> = Vec::new();
    let mut found = false;
    for line in text.lines() {
        if line.trim_start().starts_with('[') {
            lines.extend(
                std::mem::take(&mut missing)
                    .into_iter()
                    .map(|(key, value)| format!("{key} = {value}")),
            );
            if line.trim().eq_ignore_ascii_case("[version]") {
                missing.extend(&entries);
                found = true;
            }
        }
        let key = line.split_once('=').map_or("", |(key, _)| key.trim());
        match missing.iter().position(|(wanted, _)| wanted.eq_ignore_ascii_case(key)) {
            Some(index) => {
                let (_, value) = missing.remove(index);
                let begin = line.find('=').unwrap_or(line.len());
                lines.push(format!("{}= {value}", &line[..begin]));
            }
            None => lines.push(line.to_owned()),
        }
    }
    if !found {
        bail!("there is no section [Version]");
    }
    lines.extend(missing.into_iter().map(|(key, value)| format!("{key} = {value}")));
    let left = lines.iter().find(|line| !line.trim_start().starts_with(';') && line.contains('$'));
    if let Some(line) = left.filter(|line| !line.contains("\"$WINDOWS NT$\"")) {
        bail!("nothing is known to put for the variable in {line:?}");
    }
    let text = lines.join("\r\n") + "\r\n";
    Ok(if template.starts_with(&[0xFF, 0xFE]) {
        let units = text.encode_utf16().flat_map(u16::to_le_bytes);
        [0xFF, 0xFE].into_iter().chain(units).collect()
    } else {
        text.into_bytes()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEMPLATE: &str = "; $ARCH$\n[Version]\nSignature = \"$WINDOWS NT$\"\nDriverVer   =\nCatalogFile = x.cat\n\
                            [Manufacturer]\n%a% = b,NT$ARCH$\n";

    fn stamp(template: &[u8]) -> Result<Vec<u8>> {
        stamped(template, "edu", "01/02/2026", "1.2.3.0")
    }

    #[test]
    fn architecture_version_and_catalogue_are_put_in() -> Result<()> {
        let expected = "; amd64\r\n[Version]\r\nSignature = \"$WINDOWS NT$\"\r\nDriverVer   = 01/02/2026,1.2.3.0\r\n\
                        CatalogFile = edu.cat\r\n[Manufacturer]\r\n%a% = b,NTamd64\r\n";
        assert_eq!(String::from_utf8(stamp(TEMPLATE.as_bytes())?)?, expected);
        Ok(())
    }

    #[test]
    fn entries_that_the_template_lacks_are_added_to_their_section() -> Result<()> {
        let inf = String::from_utf8(stamp(b"[Version]\n[Manufacturer]\n")?)?;
        let (version, _) = inf.split_once("[Manufacturer]").unwrap_or_default();
        assert!(version.contains("DriverVer = 01/02/2026,1.2.3.0\r\n"), "{inf}");
        assert!(version.contains("CatalogFile = edu.cat\r\n"), "{inf}");
        Ok(())
    }

    #[test]
    fn utf_16_stays_utf_16() -> Result<()> {
        let mut template = vec![0xFF, 0xFE];
        template.extend(TEMPLATE.encode_utf16().flat_map(u16::to_le_bytes));
        let text = inf::decoded(&stamp(&template)?)?;
        assert_eq!(text, String::from_utf8(stamp(TEMPLATE.as_bytes())?)?);
        Ok(())
    }

    #[test]
    fn what_nobody_stamps_is_refused() {
        let said = stamp(b"[Version]\nb = $KMDFVERSION$\n").map_err(|error| error.to_string());
        assert!(said.is_err_and(|said| said.contains("$KMDFVERSION$")));
    }
}
