//! What a linked driver says of itself: headers, sections, checksum, symbols, version.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use object::LittleEndian as LE;
use object::pe::{
    self, IMAGE_DEBUG_TYPE_CODEVIEW, IMAGE_DIRECTORY_ENTRY_DEBUG, IMAGE_DIRECTORY_ENTRY_RESOURCE,
    IMAGE_DIRECTORY_ENTRY_SECURITY, ImageDebugDirectory, ImageNtHeaders64, ImageSectionHeader,
};
use object::read::pe::{
    ImageNtHeaders as _, PeFile64, ResourceDirectory, ResourceDirectoryEntryData,
};

/// Where the field `CheckSum` is in the optional header.
const CHECKSUM: usize = 64;

/// Where the directories of data begin in the optional header.
const DIRECTORIES: usize = 112;

/// How far into the NT headers the optional header begins.
const OPTIONAL_HEADER: usize = 24;

/// A 64-bit image, in memory as it is in its file.
#[derive(Debug)]
pub(crate) struct Image<'a> {
    content: &'a [u8],
    file: PeFile64<'a>,
}

/// Names the symbols of an image: what is in it and in its PDB, and nowhere else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Symbols {
    /// As tools print it, without braces.
    pub(crate) guid: String,
    pub(crate) age: u32,
    /// The PDB's name, as the linker knew it.
    pub(crate) file: String,
}

/// The content of a file that is to be an image.
pub(crate) fn read(file: &Path) -> Result<Vec<u8>> {
    fs::read(file).with_context(|| format!("cannot read {}", file.display()))
}

impl<'a> Image<'a> {
    /// Takes `content` for an image.
    pub(crate) fn parse(content: &'a [u8]) -> Result<Self> {
        let file = PeFile64::parse(content).context("it is no 64-bit PE image")?;
        Ok(Self { content, file })
    }

    /// The headers behind the signature.
    pub(crate) fn headers(&self) -> &'a ImageNtHeaders64 {
        self.file.nt_headers()
    }

    /// The headers of the sections.
    pub(crate) fn sections(&self) -> impl Iterator<Item = &'a ImageSectionHeader> + use<'a> {
        self.file.section_table().iter()
    }

    /// What a section has in the file.
    pub(crate) fn section_data(&self, section: &'a ImageSectionHeader) -> &'a [u8] {
        section.pe_data(self.content).unwrap_or_default()
    }

    /// The section that the address, relative to the image, lies in.
    pub(crate) fn section_at(&self, address: u32) -> Option<&'a ImageSectionHeader> {
        self.file.section_table().section_containing(address)
    }

    /// One of the directories of data: its address, relative to the image, and its size. None if it is empty.
    pub(crate) fn directory(&self, index: usize) -> Option<(u32, u32)> {
        let range = self.file.data_directory(index)?.address_range();
        (range.1 != 0).then_some(range)
    }

    /// The checksum that its header has.
    pub(crate) fn stated_checksum(&self) -> u32 {
        self.headers().optional_header().check_sum.get(LE)
    }

    /// The checksum that it ought to have.
    pub(crate) fn checksum(&self) -> u32 {
        checksum(self.content, checksum_field(&self.file))
    }

    /// What of the file a signature is for: all but the checksum, the place of the signature and the signature, which is
    /// the file's end.
    pub(crate) fn parts_that_are_signed(&self) -> Option<[&'a [u8]; 3]> {
        let field = checksum_field(&self.file);
        let entry = field - CHECKSUM + DIRECTORIES + IMAGE_DIRECTORY_ENTRY_SECURITY * 8;
        // Of this directory alone the address is an offset in the file.
        let end = self
            .directory(IMAGE_DIRECTORY_ENTRY_SECURITY)
            .map_or(self.content.len(), |(offset, _)| offset as usize);
        Some([
            self.content.get(..field)?,
            self.content.get(field + 4..entry)?,
            self.content.get(entry + 8..end)?,
        ])
    }

    /// What names its symbols, if it has any.
    pub(crate) fn symbols(&self) -> Option<Symbols> {
        let directory = self.file.data_directory(IMAGE_DIRECTORY_ENTRY_DEBUG)?;
        let entries = directory.data(self.content, &self.file.section_table()).ok()?;
        let count = entries.len() / size_of::<ImageDebugDirectory>();
        let (entries, _) = object::slice_from_bytes::<ImageDebugDirectory>(entries, count).ok()?;
        entries
            .iter()
            .filter(|entry| entry.typ.get(LE) == IMAGE_DEBUG_TYPE_CODEVIEW)
            .find_map(|entry| self.codeview(entry))
    }

    /// The record that the debug directory's entry leads to: "RSDS", GUID, age, name.
    fn codeview(&self, entry: &ImageDebugDirectory) -> Option<Symbols> {
        let begin = usize::try_from(entry.pointer_to_raw_data.get(LE)).ok()?;
        let size = usize::try_from(entry.size_of_data.get(LE)).ok()?;
        let record = self.content.get(begin..begin.checked_add(size)?)?.strip_prefix(b"RSDS")?;
        let (guid, rest) = record.split_first_chunk::<16>()?;
        let (age, name) = rest.split_first_chunk::<4>()?;
        let name = name.split(|byte| *byte == 0).next()?;
        Some(Symbols {
            guid: written_guid(*guid),
            age: u32::from_le_bytes(*age),
            file: String::from_utf8_lossy(name).into_owned(),
        })
    }

    /// The version in its resources, if they have one.
    pub(crate) fn version(&self) -> Option<FileVersion> {
        let directory = self.file.data_directory(IMAGE_DIRECTORY_ENTRY_RESOURCE)?;
        let data = directory.data(self.content, &self.file.section_table()).ok()?;
        let resources = ResourceDirectory::new(data);
        let mut table = resources.root().ok()?;
        let mut wanted = Some(pe::RT_VERSION);
        // Type, then name, then language.
        loop {
            let entry = table
                .entries
                .iter()
                .find(|entry| wanted.is_none_or(|id| entry.name_or_id().id() == Some(id)))?;
            match entry.data(resources).ok()? {
                ResourceDirectoryEntryData::Table(next) => table = next,
                ResourceDirectoryEntryData::Data(leaf) => {
                    let address = leaf.offset_to_data.get(LE);
                    let section = self.section_at(address)?;
                    let bytes = section.pe_data_at(self.content, address)?;
                    return FileVersion::parse(
                        bytes.get(..usize::try_from(leaf.size.get(LE)).ok()?)?,
                    );
                }
            }
            wanted = None;
        }
    }
}

/// What of the resource `VERSIONINFO` Windows looks at: the fixed part, and the strings as they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileVersion {
    pub(crate) file: [u16; 4],
    /// `VFT_DRV` is 3.
    pub(crate) kind: u32,
    /// `VFT2_DRV_SYSTEM` is 7.
    pub(crate) subkind: u32,
    /// The whole resource as text, to look strings up in.
    text: String,
}

impl FileVersion {
    fn parse(resource: &[u8]) -> Option<Self> {
        const SIGNATURE: [u8; 4] = 0xFEEF_04BD_u32.to_le_bytes();
        let begin = resource.windows(4).position(|bytes| bytes == SIGNATURE)?;
        let word = |index: usize| {
            let at = begin + index * 4;
            Some(u32::from_le_bytes(resource.get(at..at + 4)?.try_into().ok()?))
        };
        let halves = |value: u32| [(value >> 16) as u16, (value & 0xFFFF) as u16];
        let ([a, b], [c, d]) = (halves(word(2)?), halves(word(3)?));
        let units = resource.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
        let text = char::decode_utf16(units).map(|unit| unit.unwrap_or('\u{FFFD}')).collect();
        Some(Self { file: [a, b, c, d], kind: word(9)?, subkind: word(10)?, text })
    }

    /// The version in words: `1.2.3.4`.
    pub(crate) fn file_text(&self) -> String {
        self.file.map(|number| number.to_string()).join(".")
    }

    /// The string of this name.
    pub(crate) fn string(&self, name: &str) -> Option<&str> {
        let (_, rest) = self.text.split_once(&format!("\u{1}{name}\0"))?;
        rest.trim_start_matches('\0').split('\0').next()
    }
}

/// The offset in the file of the field that the checksum is in.
fn checksum_field(file: &PeFile64<'_>) -> usize {
    file.dos_header().nt_headers_offset() as usize + OPTIONAL_HEADER + CHECKSUM
}

/// The checksum of an image whose field for it is at `field`: its words are added up with their carries, the field left
/// out, and the length is added.
fn checksum(content: &[u8], field: usize) -> u32 {
    let mut sum: u32 = 0;
    for (index, pair) in content.chunks(2).enumerate() {
        if (field..field + 4).contains(&(index * 2)) {
            continue;
        }
        let word = u16::from_le_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]);
        sum += u32::from(word);
        sum = (sum & 0xFFFF) + (sum >> 16);
    }
    sum.wrapping_add(u32::try_from(content.len()).unwrap_or(u32::MAX))
}

/// A GUID as tools write it: the first three parts are numbers of little end first.
fn written_guid(mut bytes: [u8; 16]) -> String {
    for part in [0..4, 4..6, 6..8] {
        bytes[part].reverse();
    }
    let digits: Vec<String> = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
    [&digits[..4], &digits[4..6], &digits[6..8], &digits[8..10], &digits[10..]]
        .map(<[String]>::concat)
        .join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_leaves_its_own_field_out_and_adds_the_length() {
        let content = [1, 0, 2, 0, 0xAA, 0xAA, 0xAA, 0xAA, 3];
        assert_eq!(checksum(&content, 4), 1 + 2 + 3 + 9);
    }

    #[test]
    fn what_is_carried_out_of_a_word_is_added_again() {
        assert_eq!(checksum(&[0xFF, 0xFF, 2, 0, 0, 0, 0, 0], 4), 2 + 8);
    }

    #[test]
    fn a_guid_is_written_as_tools_do() {
        let bytes = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16];
        assert_eq!(written_guid(bytes), "04030201-0605-0807-090A-0B0C0D0E0F10");
    }

    #[test]
    fn a_version_is_its_fixed_part_and_its_strings() {
        let mut resource = Vec::new();
        let fixed =
            [0xFEEF_04BD_u32, 0x1_0000, 0x1_0002, 0x3_0004, 0, 0, 0, 0, 0x4_0004, 3, 7, 0, 0];
        resource.extend(fixed.iter().flat_map(|word| word.to_le_bytes()));
        let strings = ["\u{1}FileVersion\0\0", "1.2.3.4\0"].concat();
        resource.extend(strings.encode_utf16().flat_map(u16::to_le_bytes));
        let version = FileVersion::parse(&resource);
        let version = version.as_ref();
        assert_eq!(version.map(|version| version.file), Some([1, 2, 3, 4]));
        assert_eq!(version.map(|version| (version.kind, version.subkind)), Some((3, 7)));
        assert_eq!(version.and_then(|version| version.string("FileVersion")), Some("1.2.3.4"));
        assert_eq!(version.and_then(|version| version.string("Other")), None);
    }
}
