//! Drivers' files: checked, laid out in memory, relocated, and bound to the bed's exports by name.

mod loaded;

use alloc::alloc::{Layout, alloc_zeroed};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use object::endian::LittleEndian as LE;
use object::pe;
use object::read::pe::{Import, PeFile64};
use tar_no_std::TarArchiveRef;

use crate::exports;
use crate::memory::{self, Access, PAGE};

pub(crate) use loaded::{contains, offset, place, short_name};

/// A driver in memory, ready to run.
#[derive(Debug, Clone)]
pub(crate) struct Image {
    /// File name, as the image's own export directory says it, else "driver.sys".
    pub(crate) name: String,
    /// The service that it is started as: its name without the extension, unless the command line says
    /// another.
    pub(crate) service: String,
    /// Address of the first byte.
    pub(crate) base: usize,
    /// Bytes.
    pub(crate) size: usize,
    /// Address of the entry point.
    pub(crate) entry: usize,
    /// What it imports, as "ntoskrnl.exe!Name".
    pub(crate) imports: Vec<String>,
    file: &'static [u8],
}

impl Image {
    /// The same driver in other memory, as it is before it runs.
    ///
    /// # Errors
    ///
    /// There is no room for another one.
    pub(crate) fn again(&self) -> Result<Self, LoadError> {
        let again = load(self.file)?;
        crate::smp::flush_everywhere();
        Ok(Self { service: self.service.clone(), ..again })
    }
}

/// Why a file is not loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LoadError {
    /// It is no image, or a damaged one.
    NotAnImage(String),
    /// It is for another machine: the machine's number in the file's header.
    OtherMachine(u16),
    /// It is for another subsystem, so not a driver: the subsystem's number.
    NotNative(u16),
    /// It imports what the bed does not have.
    Lacking(Vec<String>),
    /// There are as many drivers as the bed takes.
    TooMany,
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAnImage(why) => write!(f, "not a PE image: {why}"),
            Self::OtherMachine(machine) => {
                write!(f, "for another machine: {machine:#x}")?;
                match *machine {
                    0x14c => write!(f, " (x86)"),
                    0x1c4 => write!(f, " (arm)"),
                    0xaa64 => write!(f, " (aarch64)"),
                    _ => Ok(()),
                }?;
                write!(f, "; the bed runs 0x8664 (x86_64)")
            }
            Self::NotNative(subsystem) => write!(
                f,
                "not a driver: subsystem {subsystem}, and a driver's is 1 (native); \
                 link with /SUBSYSTEM:NATIVE"
            ),
            Self::Lacking(names) => {
                for (index, name) in names.iter().enumerate() {
                    let line = if index == 0 { "" } else { "\n" };
                    write!(f, "{line}import that the bed lacks: {name}")?;
                }
                Ok(())
            }
            Self::TooMany => write!(f, "one driver too many: {} is the most", loaded::MOST),
        }
    }
}

/// A file's name without its extension.
fn stem(name: &str) -> &str {
    name.rsplit_once('.').map_or(name, |(stem, _)| stem)
}

/// A damaged image, for the reason the reader gives.
fn damaged(why: impl fmt::Display) -> LoadError {
    LoadError::NotAnImage(why.to_string())
}

/// Looks at the headers that tell what kind of file this is, before the rest is parsed.
fn check_kind(file: &[u8]) -> Result<(), LoadError> {
    let word = |at: usize| -> Option<u16> {
        Some(u16::from_le_bytes(file.get(at..at.checked_add(2)?)?.try_into().ok()?))
    };
    if file.get(..2) != Some(b"MZ") {
        return Err(damaged("it does not begin with MZ"));
    }
    let header = file
        .get(0x3c..0x40)
        .and_then(|bytes| bytes.try_into().ok())
        .map(u32::from_le_bytes)
        .ok_or_else(|| damaged("it ends within the DOS header"))? as usize;
    if file.get(header..header + 4) != Some(b"PE\0\0") {
        return Err(damaged("there is no PE signature where the DOS header points"));
    }
    let machine = word(header + 4).ok_or_else(|| damaged("it ends within the file header"))?;
    if machine != pe::IMAGE_FILE_MACHINE_AMD64.0 {
        return Err(LoadError::OtherMachine(machine));
    }
    Ok(())
}

/// Loads what the machine was booted with: a driver, or an archive (tar) of several.
///
/// # Errors
///
/// Says what is wrong with which file.
pub(crate) fn load_all(file: &'static [u8]) -> Result<Vec<Image>, String> {
    const MAGIC: &[u8] = b"ustar";
    const MAGIC_AT: usize = 257;
    if file.get(MAGIC_AT..MAGIC_AT + MAGIC.len()) != Some(MAGIC) {
        return load(file).map(|image| alloc::vec![image]).map_err(|why| why.to_string());
    }
    let archive = TarArchiveRef::new(file).map_err(|why| format!("not a tar archive: {why}"))?;
    let all = archive.entries().map(|entry| {
        load(entry.data()).map_err(|why| {
            let name = entry.filename();
            format!("{}: {why}", name.as_str().unwrap_or("a file of the archive"))
        })
    });
    all.collect()
}

/// Loads a driver's file: everything except running it.
///
/// # Errors
///
/// Says what is wrong with the file.
fn load(file: &'static [u8]) -> Result<Image, LoadError> {
    check_kind(file)?;
    let parsed = PeFile64::parse(file).map_err(damaged)?;
    let headers = parsed.nt_headers().optional_header;
    let subsystem = headers.subsystem.get(LE).0;
    if subsystem != pe::IMAGE_SUBSYSTEM_NATIVE.0 {
        return Err(LoadError::NotNative(subsystem));
    }
    let size = (headers.size_of_image.get(LE) as usize).next_multiple_of(PAGE);
    if size == 0 || size > 64 << 20 {
        return Err(damaged(format!("an image of {size} bytes")));
    }
    let entry = headers.address_of_entry_point.get(LE) as usize;
    if entry == 0 || entry >= size {
        return Err(damaged("the entry point lies outside the image"));
    }
    let layout = Layout::from_size_align(size, PAGE).map_err(damaged)?;
    // SAFETY: the layout is not empty.
    let base = unsafe { alloc_zeroed(layout) };
    if base.is_null() {
        return Err(damaged("there is no memory for it"));
    }
    // SAFETY: the allocation is zeroed, as long as this, and nobody else's until the driver runs.
    let memory = unsafe { core::slice::from_raw_parts_mut(base, size) };

    copy(memory, 0, file, headers.size_of_headers.get(LE) as usize)?;
    for section in parsed.section_table().iter() {
        let data = section.pe_data(file).map_err(damaged)?;
        copy(memory, section.virtual_address.get(LE) as usize, data, data.len())?;
    }
    relocate(&parsed, memory, (base.addr() as u64).wrapping_sub(headers.image_base.get(LE)))?;
    let imports = bind(&parsed, memory)?;
    protect(&parsed, base.addr(), size);

    let name = parsed
        .export_table()
        .ok()
        .flatten()
        .and_then(|table| table.name_from_pointer(table.directory().name.get(LE)).ok())
        .and_then(|name| core::str::from_utf8(name).ok())
        .map_or_else(|| String::from("driver.sys"), |name| name.replace(".dll", ".sys"));
    let service = stem(&name).to_string();
    let (base, entry) = (base.addr(), base.addr() + entry);
    let image = Image { name, service, base, size, entry, imports, file };
    if !loaded::remember(&image) {
        return Err(LoadError::TooMany);
    }
    Ok(image)
}

/// Copies the first `count` bytes of `data` to an offset in the image, if both have the room.
fn copy(memory: &mut [u8], at: usize, data: &[u8], count: usize) -> Result<(), LoadError> {
    let source = data.get(..count).ok_or_else(|| damaged("it is shorter than its headers say"))?;
    at.checked_add(count)
        .and_then(|end| memory.get_mut(at..end))
        .ok_or_else(|| damaged("a section lies outside the image"))?
        .copy_from_slice(source);
    Ok(())
}

/// Adds the distance from the preferred base to every address in the image.
fn relocate(file: &PeFile64<'_>, memory: &mut [u8], distance: u64) -> Result<(), LoadError> {
    let blocks = file
        .data_directories()
        .relocation_blocks(file.data(), &file.section_table())
        .map_err(damaged)?;
    let Some(mut blocks) = blocks else {
        // Code that finds everything relative to itself has none, and needs none.
        let flags = file.nt_headers().file_header.characteristics.get(LE).0;
        if flags & pe::IMAGE_FILE_RELOCS_STRIPPED.0 != 0 {
            return Err(damaged("its relocations were taken away; link without /FIXED"));
        }
        return Ok(());
    };
    while let Some(block) = blocks.next().map_err(damaged)? {
        for relocation in block {
            let at = relocation.virtual_address as usize;
            if relocation.typ == pe::IMAGE_REL_BASED_ABSOLUTE {
                continue;
            }
            if relocation.typ != pe::IMAGE_REL_BASED_DIR64 {
                return Err(damaged(format!("a relocation of type {:?}", relocation.typ)));
            }
            let place = memory
                .get_mut(at..at.saturating_add(8))
                .and_then(|bytes| <&mut [u8; 8]>::try_from(bytes).ok())
                .ok_or_else(|| damaged("a relocation lies outside the image"))?;
            *place = u64::from_le_bytes(*place).wrapping_add(distance).to_le_bytes();
        }
    }
    Ok(())
}

/// Fills the import address table; says what was imported, or everything that is lacking.
fn bind(file: &PeFile64<'_>, memory: &mut [u8]) -> Result<Vec<String>, LoadError> {
    let mut imports = Vec::new();
    let mut lacking = Vec::new();
    let Some(table) = file.import_table().map_err(damaged)? else {
        return Ok(imports);
    };
    let mut descriptors = table.descriptors().map_err(damaged)?;
    while let Some(descriptor) = descriptors.next().map_err(damaged)? {
        let library = table.name(descriptor.name.get(LE)).map_err(damaged)?;
        let library = String::from_utf8_lossy(library).to_lowercase();
        let first = descriptor.first_thunk.get(LE);
        let names = match descriptor.original_first_thunk.get(LE) {
            0 => first,
            names => names,
        };
        let mut thunks = table.thunks(names).map_err(damaged)?;
        let mut slot = first as usize;
        while let Some(thunk) = thunks.next::<pe::ImageNtHeaders64>().map_err(damaged)? {
            let full = match table.import::<pe::ImageNtHeaders64>(thunk).map_err(damaged)? {
                Import::Ordinal(ordinal) => format!("{library}!#{ordinal}"),
                Import::Name(_, name) => format!("{library}!{}", String::from_utf8_lossy(name)),
            };
            match exports::find(&full) {
                Some(address) => copy(memory, slot, &(address as u64).to_le_bytes(), 8)?,
                None => lacking.push(full.clone()),
            }
            imports.push(full);
            slot += 8;
        }
    }
    if lacking.is_empty() { Ok(imports) } else { Err(LoadError::Lacking(lacking)) }
}

/// Gives each section the access its flags name: code cannot be written, data cannot be run.
fn protect(file: &PeFile64<'_>, base: usize, size: usize) {
    memory::protect(base, size, Access { write: false, execute: false });
    for section in file.section_table().iter() {
        let flags = section.characteristics.get(LE).0;
        memory::protect(
            base + section.virtual_address.get(LE) as usize,
            section.virtual_size.get(LE).max(section.size_of_raw_data.get(LE)) as usize,
            Access {
                write: flags & pe::IMAGE_SCN_MEM_WRITE.0 != 0,
                execute: flags & pe::IMAGE_SCN_MEM_EXECUTE.0 != 0,
            },
        );
    }
}

/// Forgets an unloaded driver's memory: whatever still runs in it, or reads it, ends the run.
pub(crate) fn unmap(image: &Image) {
    memory::unmap(image.base, image.size);
}
