//! Drivers for Arm64, which compile and link here, and are run by nothing here.

use anyhow::{Context, Result, bail};
use object::LittleEndian as LE;
use object::pe::IMAGE_FILE_MACHINE_ARM64;

use super::binary::{self, Kind};
use super::{imports, inx};
use crate::driver::{self, Profile};
use crate::image::{self, Image};
use crate::layout::Layout;
use crate::processor::Processor;
use crate::setup::Host;

/// Builds the samples that are packaged, and checks what came of it as far as that is the same on every processor.
pub(super) fn check(layout: &Layout, host: &Host) -> Result<()> {
    let host = host.clone().for_processor(layout, Processor::Arm64)?;
    for sample in inx::SAMPLES {
        let folder = layout.root().join("samples").join(sample.name);
        let built = driver::build(layout, &host, &folder, Profile::Release)?;
        let driver = built.drivers.first().context("no driver was built")?;
        let content = image::read(driver)?;
        let machine = Image::parse(&content)?.headers().file_header.machine.get(LE);
        if machine != IMAGE_FILE_MACHINE_ARM64 {
            bail!("{} is for {machine:?}", driver.display());
        }
        binary::check([driver], Kind::Packaged)?;
        imports::check(layout, [driver])?;
    }
    Ok(())
}
