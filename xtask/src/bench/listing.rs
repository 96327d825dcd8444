//! The instructions that were counted, in the order in which they were executed: for whoever looks for the difference.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result};
use iced_x86::{Decoder, DecoderOptions, Formatter, Instruction, IntelFormatter};
use object::LittleEndian as LE;

use crate::image::{self, Image};
use crate::qemu::{Boot, Interrupt};
use crate::text;

/// The longest instruction there is, in bytes.
const LONGEST: u32 = 15;

/// Writes what was executed in each region of a boot to a file of its own in `folder`: `REGION-by-INTERRUPT.LANGUAGE.txt`.
pub(super) fn write(
    folder: &Path,
    language: &str,
    driver: &Path,
    boot: &Boot,
    interrupt: Interrupt,
) -> Result<()> {
    let content = image::read(driver)?;
    let image = Image::parse(&content).with_context(|| driver.display().to_string())?;
    let names = Names::parse(&text::read(&driver.with_extension("map"))?);
    for (region, steps) in steps(boot) {
        let region = region.replace(", ", "-").replace(' ', "-");
        let path = folder.join(format!("{region}-by-{interrupt}.{language}.txt"));
        text::write_if_changed(&path, listing(&image, &names, &steps).as_bytes())?;
    }
    Ok(())
}

/// The steps of each region: addresses, relative to the image.
fn steps(boot: &Boot) -> impl Iterator<Item = (&str, Vec<u32>)> {
    boot.lines.iter().filter_map(|line| {
        let (region, offsets) = line.text.strip_prefix("steps ")?.rsplit_once(": ")?;
        let offset = |word| u32::from_str_radix(word, 16).ok();
        Some((region, offsets.split(' ').map_while(offset).collect()))
    })
}

/// A line for each instruction, and one before them wherever another function goes on.
fn listing(image: &Image<'_>, names: &Names, steps: &[u32]) -> String {
    let base = image.headers().optional_header.image_base.get(LE);
    let mut text = String::new();
    let mut function = "";
    for step in steps {
        let address = base + u64::from(*step);
        let here = names.function(address);
        if here != function {
            function = here;
            // Writing to a string does not fail.
            let _infallible = writeln!(text, "{function}");
        }
        let mut written = "no instruction".to_owned();
        if let Some(instruction) = decode(image, *step, address) {
            written.clear();
            IntelFormatter::new().format(&instruction, &mut written);
        }
        let _infallible = writeln!(text, "    {step:6x}  {written}");
    }
    text
}

fn decode(image: &Image<'_>, step: u32, address: u64) -> Option<Instruction> {
    let section = image.section_at(step)?;
    let begin = usize::try_from(step - section.virtual_address.get(LE)).ok()?;
    let bytes = image.section_data(section).get(begin..)?;
    let bytes = &bytes[..bytes.len().min(LONGEST as usize)];
    let instruction = Decoder::with_ip(64, bytes, address, DecoderOptions::NONE).decode();
    (!instruction.is_invalid()).then_some(instruction)
}

/// The functions of a linker's map, by their addresses.
#[derive(Debug, Default)]
struct Names(Vec<(u64, String)>);

impl Names {
    fn parse(map: &str) -> Self {
        let read = |line: &str| {
            let mut words = line.split_whitespace();
            let (place, name, address) = (words.next()?, words.next()?, words.next()?);
            let address = u64::from_str_radix(address, 16).ok()?;
            let name = format!("{:#}", rustc_demangle::demangle(name));
            place.contains(':').then_some((address, name))
        };
        let mut names: Vec<_> = map.lines().filter_map(read).collect();
        names.sort_by_key(|(address, _)| *address);
        Self(names)
    }

    /// The function that an address lies in.
    fn function(&self, address: u64) -> &str {
        let behind = self.0.partition_point(|(begin, _)| *begin <= address);
        behind.checked_sub(1).map_or("", |index| &self.0[index].1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAP: &str = "\
 0001:00000040       second           0000000180001040     driver.o
 0001:00000000       first            0000000180001000     driver.o
 Preferred load address is 0000000180000000
";

    #[test]
    fn an_address_lies_in_the_last_function_that_begins_before_it() {
        let names = Names::parse(MAP);
        assert_eq!(names.function(0x1_8000_1000), "first");
        assert_eq!(names.function(0x1_8000_103f), "first");
        assert_eq!(names.function(0x1_8000_1040), "second");
        assert_eq!(names.function(0x1_8000_0000), "");
    }

    #[test]
    fn the_steps_of_a_region_are_read_from_a_line() {
        let boot = Boot::of_lines(&["steps ISR, line: 10 1f 20", "edu: steps"], true);
        let found: Vec<_> = steps(&boot).collect();
        assert_eq!(found, [("ISR, line", vec![0x10, 0x1f, 0x20])]);
    }
}
