//! The packages that `cargo xtask package` makes of the samples.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use object::LittleEndian as LE;
use object::read::pe::ImageNtHeaders as _;

use super::binary::{self, Kind};
use super::{imports, inx};
use crate::image::{self, Image};
use crate::layout::Layout;
use crate::package;
use crate::setup::Host;

/// The attribute certificates among the directories of data.
const CERTIFICATES: usize = 4;

/// Packages the samples that are packaged, and checks what came of it: the INF as stamped, the driver as signed, and the
/// symbols as its own.
pub(super) fn check(layout: &Layout, host: &Host) -> Result<()> {
    for sample in inx::SAMPLES {
        let folder = layout.root().join("samples").join(sample.name);
        let package = package::make(layout, host, &folder)?;
        let inf = package.file("inf");
        inx::check(sample, inx::Stage::Stamped, &image::read(&inf)?)
            .with_context(|| inf.display().to_string())?;
        let driver = package.file("sys");
        binary::check([&driver], Kind::Packaged)?;
        imports::check(layout, [&driver])?;
        require_signature(&driver)?;
        package.verify_by_catalogue(&package::certificate(layout)?)?;
        for extension in ["pdb", "cer"] {
            if !package.file(extension).is_file() {
                bail!("{} is not there", package.file(extension).display());
            }
        }
    }
    Ok(())
}

fn require_signature(driver: &Path) -> Result<()> {
    let content = image::read(driver)?;
    if Image::parse(&content)?.directory(CERTIFICATES).is_none() {
        bail!("{} has no signature in it", driver.display());
    }
    Ok(())
}

/// A driver that was changed after it was signed, one that was not signed, and symbols of another driver are refused.
pub(super) fn check_refusals(layout: &Layout, host: &Host, other: &Path) -> Result<()> {
    let package = package::make(layout, host, &layout.sample())?;
    let certificate = package::certificate(layout)?;
    let signed = package.file("sys");
    certificate.verify(&signed)?;
    let inf = package.file("inf");
    let stamped = image::read(&inf)?;
    write(&inf, &[&stamped[..], b"; one more line"].concat())?;
    if package.verify_by_catalogue(&certificate).is_ok() {
        bail!("an INF that was changed after the catalogue was made is taken");
    }
    write(&inf, &stamped)?;
    let sound = image::read(&signed)?;
    write(&signed, &with_another_instruction(&sound)?)?;
    if certificate.verify(&signed).is_ok() {
        bail!("a driver that was changed after it was signed is taken");
    }
    if package.verify_by_catalogue(&certificate).is_ok() {
        bail!("a driver that was changed after the catalogue was made is taken");
    }
    write(&signed, &sound)?;
    package.verify_by_catalogue(&certificate)?;
    if certificate.verify(other).is_ok() {
        bail!("a driver without a signature is taken");
    }
    let symbols = other.with_extension("pdb");
    match package::matching_symbols(&host.llvm.symbol_reader(), &signed, &symbols) {
        Err(error) if error.to_string().contains("does not belong to") => Ok(()),
        Err(error) => Err(error),
        Ok(_) => bail!("the symbols of {} are taken for those of edu.sys", other.display()),
    }
}

/// The driver with one bit changed at its entry point.
fn with_another_instruction(driver: &[u8]) -> Result<Vec<u8>> {
    let image = Image::parse(driver)?;
    let entry = image.headers().optional_header().address_of_entry_point.get(LE);
    let section = image.section_at(entry).context("the entry point is nowhere")?;
    let place = section.pointer_to_raw_data.get(LE) + entry - section.virtual_address.get(LE);
    let mut content = driver.to_vec();
    content[place as usize] ^= 1;
    Ok(content)
}

fn write(file: &Path, content: &[u8]) -> Result<()> {
    fs::write(file, content).with_context(|| format!("cannot write {}", file.display()))
}
