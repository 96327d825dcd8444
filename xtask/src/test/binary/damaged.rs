//! Ways to damage a driver, each of which breaks one rule.

use anyhow::{Context, Result};
use object::LittleEndian as LE;
use object::pe::{
    IMAGE_DIRECTORY_ENTRY_BASERELOC, IMAGE_DIRECTORY_ENTRY_DEBUG, IMAGE_DIRECTORY_ENTRY_EXCEPTION,
    IMAGE_DIRECTORY_ENTRY_IAT, IMAGE_DIRECTORY_ENTRY_RESOURCE, IMAGE_DIRECTORY_ENTRY_TLS,
    IMAGE_SCN_MEM_DISCARDABLE, IMAGE_SCN_MEM_EXECUTE, IMAGE_SCN_MEM_WRITE, SectionFlags,
};
use object::read::pe::ImageNtHeaders as _;

use crate::image::Image;

/// A damage, and what the check must say of it.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) said: &'static str,
    damage: Damage,
    /// Whether the checksum is made right again, so that it does not give the damage away.
    checksum_follows: bool,
}

/// What is done to the file.
#[derive(Debug)]
enum Damage {
    /// Another number in the headers: how far it is behind their signature, its bytes.
    Header(usize, &'static [u8]),
    /// Bits of a 16-bit field there that are taken out.
    Without(usize, u16),
    /// A directory of data that is empty now.
    NoDirectory(usize),
    /// A directory of data that is where the given one is.
    Directory(usize, usize),
    /// Characteristics that the named section gets besides its own.
    Section(&'static str, SectionFlags),
    /// A name that the named section gets.
    Name(&'static str, [u8; 8]),
    /// Bytes at the entry point.
    Code(&'static [u8]),
    /// The address of the import table: that of the entry point.
    ImportsInCode,
    /// Bytes that are replaced, all over the file, by others as long.
    Bytes(&'static [u8], &'static [u8]),
}

/// Offsets behind the headers' signature, "PE\0\0" included.
const MACHINE: usize = 4;
const CHARACTERISTICS: usize = 22;
const ENTRY_POINT: usize = 24 + 16;
const SECTION_ALIGNMENT: usize = 24 + 32;
const CHECKSUM: usize = 24 + 64;
const SUBSYSTEM: usize = 24 + 68;
const DLL_CHARACTERISTICS: usize = 24 + 70;
const DIRECTORIES: usize = 24 + 112;

const fn case(name: &'static str, damage: Damage, said: &'static str) -> Case {
    Case { name, said, damage, checksum_follows: true }
}

/// All damages.
pub(super) const CASES: [Case; 31] = [
    case("another machine", Damage::Header(MACHINE, &[0x4C, 0x01]), "for machine 0x14c"),
    case(
        "relocations stripped",
        Damage::Header(CHARACTERISTICS, &[0x23, 0x20]),
        "characteristics are",
    ),
    case(
        "no executable image",
        Damage::Header(CHARACTERISTICS, &[0x20, 0x20]),
        "characteristics are",
    ),
    case("a console program", Damage::Header(SUBSYSTEM, &[3, 0]), "subsystem is not native"),
    case("no NX", Damage::Without(DLL_CHARACTERISTICS, 0x100), "lacks NX_COMPAT"),
    case("a fixed base", Damage::Without(DLL_CHARACTERISTICS, 0x40), "lacks DYNAMIC_BASE"),
    case("low entropy", Damage::Without(DLL_CHARACTERISTICS, 0x20), "lacks HIGH_ENTROPY_VA"),
    case(
        "unchecked integrity",
        Damage::Without(DLL_CHARACTERISTICS, 0x80),
        "lacks FORCE_INTEGRITY",
    ),
    case("no WDM driver", Damage::Without(DLL_CHARACTERISTICS, 0x2000), "that it is a WDM driver"),
    Case {
        checksum_follows: false,
        ..case("no checksum", Damage::Header(CHECKSUM, &[0, 0, 0, 0]), "its checksum is 0x0")
    },
    Case {
        checksum_follows: false,
        ..case("a byte changed", Damage::Header(ENTRY_POINT + 3, &[1]), "its checksum is")
    },
    case(
        "code that is written",
        Damage::Section(".text", IMAGE_SCN_MEM_WRITE),
        "written and executed",
    ),
    case(
        "data that is executed",
        Damage::Section(".rdata", SectionFlags(IMAGE_SCN_MEM_EXECUTE.0 | IMAGE_SCN_MEM_WRITE.0)),
        "written and executed",
    ),
    case(
        "code that is discarded",
        Damage::Section(".text", IMAGE_SCN_MEM_DISCARDABLE),
        "is discarded",
    ),
    case("imports discarded", Damage::Section(".rdata", IMAGE_SCN_MEM_DISCARDABLE), "is discarded"),
    case(
        "unwinding discarded",
        Damage::Section(".pdata", IMAGE_SCN_MEM_DISCARDABLE),
        "is discarded",
    ),
    case("INIT that stays", Damage::Name(".text", *b"INIT\0\0\0\0"), "INIT is not discarded"),
    case(
        "sections within a page",
        Damage::Header(SECTION_ALIGNMENT, &[0, 2, 0, 0]),
        "less than a page",
    ),
    case(
        "an entry point outside",
        Damage::Header(ENTRY_POINT, &[0, 0, 0x40, 0]),
        "its entry point is in",
    ),
    case("no imports", Damage::NoDirectory(IMAGE_DIRECTORY_ENTRY_IAT), "no import address table"),
    case("imports among code", Damage::ImportsInCode, "import address table can be executed"),
    case(
        "no relocations",
        Damage::NoDirectory(IMAGE_DIRECTORY_ENTRY_BASERELOC),
        "it has no relocations",
    ),
    case("no unwinding", Damage::NoDirectory(IMAGE_DIRECTORY_ENTRY_EXCEPTION), "how it is unwound"),
    case(
        "thread-local storage",
        Damage::Directory(IMAGE_DIRECTORY_ENTRY_TLS, IMAGE_DIRECTORY_ENTRY_IAT),
        "thread-local storage",
    ),
    case(
        "no symbols",
        Damage::NoDirectory(IMAGE_DIRECTORY_ENTRY_DEBUG),
        "does not name its symbols",
    ),
    // fldz, emms, vxorps ymm0, ymm0, ymm0, and what is no instruction.
    case("x87", Damage::Code(&[0xD9, 0xEE]), "x87, MMX or AVX state in use"),
    case("MMX", Damage::Code(&[0x0F, 0x77]), "x87, MMX or AVX state in use"),
    case("AVX", Damage::Code(&[0xC5, 0xFC, 0x57, 0xC0]), "x87, MMX or AVX state in use"),
    case("no code", Damage::Code(&[0x06, 0x06]), "there is no instruction"),
    case("no version", Damage::NoDirectory(IMAGE_DIRECTORY_ENTRY_RESOURCE), "no version resource"),
    case(
        "another version in words",
        Damage::Bytes(b"\x01\0F\0i\0l\0e\0V\0e\0r", b"\x01\0F\0i\0l\0e\0W\0e\0r"),
        "in words",
    ),
];

impl Case {
    /// The file, damaged.
    pub(super) fn applied_to(&self, sound: &[u8]) -> Result<Vec<u8>> {
        let image = Image::parse(sound)?;
        let mut content = sound.to_vec();
        let headers = u32::from_le_bytes(sound[0x3C..0x40].try_into()?) as usize;
        let directory = |index: usize| headers + DIRECTORIES + index * 8;
        let entry = image.headers().optional_header().address_of_entry_point.get(LE);
        match self.damage {
            Damage::Header(offset, bytes) => put(&mut content, headers + offset, bytes),
            Damage::Without(offset, bits) => {
                let at = headers + offset;
                let field = u16::from_le_bytes(content[at..at + 2].try_into()?);
                put(&mut content, at, &(field & !bits).to_le_bytes());
            }
            Damage::NoDirectory(index) => put(&mut content, directory(index), &[0; 8]),
            Damage::Directory(index, from) => {
                content.copy_within(directory(from)..directory(from) + 8, directory(index));
            }
            Damage::Section(name, characteristics) => {
                let header = section_header(&content, name)?;
                let at = header + 36;
                let field = u32::from_le_bytes(content[at..at + 4].try_into()?);
                put(&mut content, at, &(field | characteristics.0).to_le_bytes());
            }
            Damage::Name(name, new) => {
                let header = section_header(&content, name)?;
                put(&mut content, header, &new);
            }
            Damage::Code(bytes) => {
                let section = image.section_at(entry).context("the entry point is nowhere")?;
                let begin =
                    section.pointer_to_raw_data.get(LE) + entry - section.virtual_address.get(LE);
                put(&mut content, begin as usize, bytes);
            }
            Damage::ImportsInCode => {
                put(&mut content, directory(IMAGE_DIRECTORY_ENTRY_IAT), &entry.to_le_bytes());
            }
            Damage::Bytes(from, to) => {
                let places: Vec<usize> = sound
                    .windows(from.len())
                    .enumerate()
                    .filter_map(|(at, bytes)| (bytes == from).then_some(at))
                    .collect();
                for at in places {
                    put(&mut content, at, to);
                }
            }
        }
        if self.checksum_follows {
            let right = Image::parse(&content)?.checksum();
            put(&mut content, headers + CHECKSUM, &right.to_le_bytes());
        }
        Ok(content)
    }
}

fn put(content: &mut [u8], at: usize, bytes: &[u8]) {
    content[at..at + bytes.len()].copy_from_slice(bytes);
}

/// Where the header of a section is in the file.
fn section_header(content: &[u8], name: &str) -> Result<usize> {
    let mut padded = [0; 8];
    padded[..name.len()].copy_from_slice(name.as_bytes());
    content
        .windows(8)
        .position(|bytes| bytes == padded)
        .with_context(|| format!("there is no section {name}"))
}
