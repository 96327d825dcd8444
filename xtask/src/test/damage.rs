//! Files that are no drivers, or not ones that the bed can run: each must end with a clear error.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::layout::Layout;
use crate::text;

/// A bad file, and what the error must say of it.
#[derive(Debug)]
pub(super) struct Damaged {
    pub(super) name: &'static str,
    pub(super) file: PathBuf,
    /// All of these are in the output.
    pub(super) said: &'static [&'static str],
}

/// A name as long as the one it replaces, since it is edited in place.
const IMPORTED: &str = "IoDisconnectInterruptEx";
const MISSING: &str = "IoDisconnectEverything_";

/// Makes the bad files from the good driver in `edu`.
pub(super) fn files(layout: &Layout, edu: &Path) -> Result<Vec<Damaged>> {
    let good = fs::read(edu).with_context(|| format!("cannot read {}", edu.display()))?;
    let folder = layout.target().join("damaged");
    text::create_folder(&folder)?;
    let place = |file: &str, content: &[u8]| -> Result<PathBuf> {
        let path = folder.join(file);
        text::write_if_changed(&path, content)?;
        Ok(path)
    };
    Ok(vec![
        Damaged {
            name: "a_file_that_is_no_image_is_refused",
            file: place("text.sys", b"This is a text, and no driver.\n")?,
            said: &["not a PE image"],
        },
        Damaged {
            name: "an_image_that_is_cut_short_is_refused",
            file: place("short.sys", &good[..good.len().min(600)])?,
            said: &["not a PE image"],
        },
        Damaged {
            name: "a_driver_for_another_machine_is_refused",
            file: place("arm64.sys", &for_another_machine(&good)?)?,
            said: &["another machine", "aa64"],
        },
        Damaged {
            name: "a_missing_import_is_named",
            file: place("import.sys", &with_a_missing_import(&good)?)?,
            said: &[MISSING],
        },
    ])
}

/// The image with the number of Arm64 in its header.
fn for_another_machine(good: &[u8]) -> Result<Vec<u8>> {
    let mut image = good.to_vec();
    let header = image
        .get(0x3c..0x40)
        .and_then(|bytes| bytes.try_into().ok())
        .map(u32::from_le_bytes)
        .context("the driver has no DOS header")?;
    let machine = usize::try_from(header)? + 4;
    image
        .get_mut(machine..machine + 2)
        .context("the driver has no PE header")?
        .copy_from_slice(&0xAA64_u16.to_le_bytes());
    Ok(image)
}

/// The image with one import renamed.
fn with_a_missing_import(good: &[u8]) -> Result<Vec<u8>> {
    const { assert!(IMPORTED.len() == MISSING.len()) };
    let mut image = good.to_vec();
    let Some(at) = image.windows(IMPORTED.len()).position(|bytes| bytes == IMPORTED.as_bytes())
    else {
        bail!("the driver does not import {IMPORTED}");
    };
    image[at..at + MISSING.len()].copy_from_slice(MISSING.as_bytes());
    Ok(image)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_import_is_renamed_in_place() {
        let image = with_a_missing_import(b"..IoDisconnectInterruptEx\0..").unwrap_or_default();
        assert_eq!(image, b"..IoDisconnectEverything_\0..");
        assert!(with_a_missing_import(b"nothing").is_err());
    }

    #[test]
    fn the_machine_is_changed_where_the_header_is() {
        let mut image = vec![0_u8; 0x60];
        image[0x3c] = 0x50;
        let changed = for_another_machine(&image).unwrap_or_default();
        assert_eq!(changed[0x54..0x56], [0x64, 0xAA]);
        assert!(for_another_machine(b"MZ").is_err());
    }
}
