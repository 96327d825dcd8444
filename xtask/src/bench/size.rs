//! Sizes of drivers' images.

use std::path::Path;

use anyhow::{Context, Result};
use object::LittleEndian as LE;

use crate::image::{self, Image};

/// What is in resources says a version and the like, and nothing of the driver's code.
const RESOURCES: &str = ".rsrc";

/// The size of an image, and of its parts, in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) file: u64,
    /// Each section by its name, as long as it is in memory.
    sections: Vec<(String, u64)>,
}

impl Size {
    /// The size of a driver.
    pub(super) fn of(driver: &Path) -> Result<Self> {
        let content = image::read(driver)?;
        let parsed = Image::parse(&content).with_context(|| driver.display().to_string())?;
        let section = |header: &object::pe::ImageSectionHeader| {
            let name = header.raw_name().escape_ascii().to_string();
            (name, u64::from(header.virtual_size.get(LE)))
        };
        Ok(Self { file: content.len() as u64, sections: parsed.sections().map(section).collect() })
    }

    /// The section of this name; 0 if there is none.
    pub(super) fn section(&self, name: &str) -> u64 {
        self.sections.iter().filter(|(other, _)| other == name).map(|(_, size)| size).sum()
    }

    /// Code and data: all sections without resources.
    pub(super) fn loaded(&self) -> u64 {
        let all = self.sections.iter().filter(|(name, _)| name != RESOURCES);
        all.map(|(_, size)| size).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_are_no_code() {
        let sections = [(".text", 1000), (".rdata", 200), (".rsrc", 800)];
        let sections = sections.map(|(name, size)| (name.to_owned(), size)).into();
        let size = Size { file: 3072, sections };
        assert_eq!(size.loaded(), 1200);
        assert_eq!(size.section(".rdata"), 200);
        assert_eq!(size.section(".pdata"), 0);
    }
}
