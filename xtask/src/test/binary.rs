//! What a driver's file must be for Windows to load it, and to leave what it loads protected.
//!
//! Where a rule is Microsoft's, its page is named. Each rule is also tried on a driver that was damaged to break it.

mod damaged;

use std::path::Path;

use anyhow::{Result, bail};
use iced_x86::{
    CpuidFeature, Decoder, DecoderOptions, EncodingKind, Formatter, Instruction, IntelFormatter,
};
use object::LittleEndian as LE;
use object::pe::{
    DllFlags, IMAGE_DIRECTORY_ENTRY_BASERELOC, IMAGE_DIRECTORY_ENTRY_EXCEPTION,
    IMAGE_DIRECTORY_ENTRY_IAT, IMAGE_DIRECTORY_ENTRY_TLS, IMAGE_DLLCHARACTERISTICS_DYNAMIC_BASE,
    IMAGE_DLLCHARACTERISTICS_FORCE_INTEGRITY, IMAGE_DLLCHARACTERISTICS_HIGH_ENTROPY_VA,
    IMAGE_DLLCHARACTERISTICS_NX_COMPAT, IMAGE_DLLCHARACTERISTICS_WDM_DRIVER,
    IMAGE_FILE_EXECUTABLE_IMAGE, IMAGE_FILE_LARGE_ADDRESS_AWARE, IMAGE_FILE_MACHINE_AMD64,
    IMAGE_FILE_MACHINE_ARM64, IMAGE_FILE_RELOCS_STRIPPED, IMAGE_SCN_CNT_CODE,
    IMAGE_SCN_MEM_DISCARDABLE, IMAGE_SCN_MEM_EXECUTE, IMAGE_SCN_MEM_WRITE, IMAGE_SUBSYSTEM_NATIVE,
    ImageSectionHeader, SectionFlags,
};
use object::read::pe::ImageNtHeaders as _;

use crate::image::{self, Image};

/// The size of a page: what protection goes by.
const PAGE: u32 = 0x1000;

/// What a driver is asked for beyond what all are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// It is loaded by the bed only.
    Tested,
    /// It is packaged for Windows, so it says that it is a WDM driver, and which version.
    Packaged,
}

/// Bits of `DllCharacteristics` that every driver has, and what each is for.
///
/// `FORCE_INTEGRITY` is wdk-build's: Windows then checks the signature when the driver is loaded, whatever else is
/// allowed to go unsigned. On x64 it would check a driver's anyway.
const PROTECTION: [(DllFlags, &str); 4] = [
    (IMAGE_DLLCHARACTERISTICS_NX_COMPAT, "NX_COMPAT (/NXCOMPAT)"),
    (IMAGE_DLLCHARACTERISTICS_DYNAMIC_BASE, "DYNAMIC_BASE (/DYNAMICBASE)"),
    (IMAGE_DLLCHARACTERISTICS_HIGH_ENTROPY_VA, "HIGH_ENTROPY_VA (/HIGHENTROPYVA)"),
    (IMAGE_DLLCHARACTERISTICS_FORCE_INTEGRITY, "FORCE_INTEGRITY (/INTEGRITYCHECK)"),
];

/// Checks the drivers in `files`.
pub(super) fn check<const N: usize>(files: [&Path; N], kind: Kind) -> Result<()> {
    let mut all = Vec::new();
    for file in files {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let content = image::read(file)?;
        let found = objections(&content, kind)?;
        all.extend(found.into_iter().map(|objection| format!("{name}: {objection}")));
    }
    if !all.is_empty() {
        bail!("{}", all.join("\n"));
    }
    Ok(())
}

/// Damages the driver in `file` in each of the ways that a rule is there for, and looks that the rule sees it.
pub(super) fn check_the_check(file: &Path) -> Result<()> {
    let sound = image::read(file)?;
    let unseen: Vec<String> = damaged::CASES
        .iter()
        .filter_map(|case| {
            let said =
                case.applied_to(&sound).and_then(|content| objections(&content, Kind::Packaged));
            let said = said.map_or_else(|error| format!("{error:#}"), |all| all.join("; "));
            (!said.contains(case.said)).then(|| format!("{}: it says {said:?}", case.name))
        })
        .collect();
    if !unseen.is_empty() {
        bail!("{}", unseen.join("\n"));
    }
    Ok(())
}

/// What is wrong with a driver.
fn objections(content: &[u8], kind: Kind) -> Result<Vec<String>> {
    let image = Image::parse(content)?;
    let mut objections = headers(&image, kind);
    objections.extend(image.sections().filter_map(|section| section_objection(&image, section)));
    objections.extend(layout(&image));
    if image.headers().file_header().machine.get(LE) == IMAGE_FILE_MACHINE_AMD64 {
        for section in image.sections().filter(|section| is(section, IMAGE_SCN_MEM_EXECUTE)) {
            objections.extend(code(&image, section));
        }
    }
    if kind == Kind::Packaged {
        objections.extend(version(&image));
    }
    Ok(objections)
}

/// Machine, subsystem, what the image can do with, and the checksum.
fn headers(image: &Image<'_>, kind: Kind) -> Vec<String> {
    let file = image.headers().file_header();
    let optional = image.headers().optional_header();
    let mut objections = Vec::new();
    let machine = file.machine.get(LE);
    if ![IMAGE_FILE_MACHINE_AMD64, IMAGE_FILE_MACHINE_ARM64].contains(&machine) {
        objections.push(format!("it is for machine {machine:#x}, not for x64 or Arm64"));
    }
    let characteristics = file.characteristics.get(LE);
    let wanted = IMAGE_FILE_EXECUTABLE_IMAGE | IMAGE_FILE_LARGE_ADDRESS_AWARE;
    if characteristics & (wanted | IMAGE_FILE_RELOCS_STRIPPED) != wanted {
        objections.push(format!("its characteristics are {characteristics:#x}"));
    }
    if optional.subsystem.get(LE) != IMAGE_SUBSYSTEM_NATIVE {
        objections.push("its subsystem is not native (/SUBSYSTEM:NATIVE)".to_owned());
    }
    let protection = optional.dll_characteristics.get(LE);
    for (bit, name) in PROTECTION {
        if protection.0 & bit.0 == 0 {
            objections.push(format!("it lacks {name}"));
        }
    }
    if kind == Kind::Packaged && protection.0 & IMAGE_DLLCHARACTERISTICS_WDM_DRIVER.0 == 0 {
        objections.push("it does not say that it is a WDM driver (/DRIVER:WDM)".to_owned());
    }
    // "/RELEASE (Set the Checksum)": Windows requires it of drivers.
    let (stated, right) = (image.stated_checksum(), image.checksum());
    if stated != right {
        objections
            .push(format!("its checksum is {stated:#x} and ought to be {right:#x} (/RELEASE)"));
    }
    objections
}

/// Whether protection can be what the section asks for, and no more. "Code integrity checking" has the numbers that
/// Driver Verifier gives these: 0x2003, 0x2004.
fn section_objection(image: &Image<'_>, section: &ImageSectionHeader) -> Option<String> {
    let name = String::from_utf8_lossy(section.raw_name()).into_owned();
    if is(section, IMAGE_SCN_MEM_EXECUTE) && is(section, IMAGE_SCN_MEM_WRITE) {
        return Some(format!("section {name} can be written and executed"));
    }
    if !section.virtual_address.get(LE).is_multiple_of(PAGE) {
        return Some(format!("section {name} does not begin at a page"));
    }
    let code = is(section, IMAGE_SCN_MEM_EXECUTE) || is(section, IMAGE_SCN_CNT_CODE);
    let discarded = is(section, IMAGE_SCN_MEM_DISCARDABLE);
    // What is discarded is gone when DriverEntry has returned. INIT is there for that, and the relocations are done by then.
    match name.as_str() {
        "INIT" if !discarded => Some("section INIT is not discarded".to_owned()),
        "INIT" => None,
        _ if discarded && code => Some(format!("section {name} has code and is discarded")),
        _ if discarded && holds_what_is_needed_later(image, section) => {
            Some(format!("section {name} is discarded, and has what is needed after DriverEntry"))
        }
        _ => None,
    }
}

/// Whether the section has the addresses of imports or what unwinding needs.
fn holds_what_is_needed_later(image: &Image<'_>, section: &ImageSectionHeader) -> bool {
    [IMAGE_DIRECTORY_ENTRY_IAT, IMAGE_DIRECTORY_ENTRY_EXCEPTION]
        .iter()
        .filter_map(|directory| image.directory(*directory))
        .any(|(address, _)| section.contains_rva(address))
}

/// Where things are that the loader looks for.
fn layout(image: &Image<'_>) -> Vec<String> {
    let optional = image.headers().optional_header();
    let mut objections = Vec::new();
    let alignment = optional.section_alignment.get(LE);
    if alignment < PAGE || !alignment.is_power_of_two() {
        objections.push(format!("its sections are aligned to {alignment:#x}, less than a page"));
    }
    let entry = image.section_at(optional.address_of_entry_point.get(LE));
    if !entry.is_some_and(|section| is(section, IMAGE_SCN_MEM_EXECUTE)) {
        objections
            .push("its entry point is in no section with code (/ENTRY:DriverEntry)".to_owned());
    }
    // 0x2005 of "Code integrity checking".
    let imports = image.directory(IMAGE_DIRECTORY_ENTRY_IAT);
    match imports.and_then(|(address, _)| image.section_at(address)) {
        None => objections.push("it has no import address table".to_owned()),
        Some(section) if is(section, IMAGE_SCN_MEM_EXECUTE) => {
            objections.push("its import address table can be executed".to_owned());
        }
        Some(_) => {}
    }
    if image.directory(IMAGE_DIRECTORY_ENTRY_BASERELOC).is_none() {
        objections.push("it has no relocations, so it cannot be loaded anywhere".to_owned());
    }
    if image.directory(IMAGE_DIRECTORY_ENTRY_EXCEPTION).is_none() {
        objections.push("it does not say how it is unwound".to_owned());
    }
    if image.directory(IMAGE_DIRECTORY_ENTRY_TLS).is_some() {
        objections.push("it has thread-local storage, which a driver has not".to_owned());
    }
    if image.symbols().is_none() {
        objections.push("it does not name its symbols (/DEBUG)".to_owned());
    }
    objections
}

/// The first instruction of the section that a service routine must not have, or the first bytes that are none.
///
/// Microsoft's "Using Floating Point in a WDM Driver" allows the SSE registers everywhere in x64 kernel mode, service
/// routines included, and the x87 and MMX registers nowhere; "Using extended processor features in Windows drivers" adds
/// that AVX registers cannot be used in a service routine, and elsewhere only between calls that save and restore them.
/// Nothing of these drivers makes those calls, so none of their code may have such an instruction: neither the service
/// routines nor what they call.
fn code(image: &Image<'_>, section: &ImageSectionHeader) -> Option<String> {
    let data = image.section_data(section);
    let size = usize::try_from(section.virtual_size.get(LE)).ok()?;
    let data = &data[..size.min(data.len())];
    let base = u64::from(section.virtual_address.get(LE));
    Decoder::with_ip(64, data, base, DecoderOptions::NONE).iter().find_map(|instruction| {
        let address = instruction.ip();
        if instruction.is_invalid() {
            return Some(format!("there is no instruction at {address:#x}, in the midst of code"));
        }
        touches_unsaved_state(&instruction).then(|| {
            let mut text = String::new();
            IntelFormatter::new().format(&instruction, &mut text);
            format!("it has x87, MMX or AVX state in use at {address:#x}: {text}")
        })
    })
}

/// Whether an instruction uses registers that Windows does not keep for kernel code.
fn touches_unsaved_state(instruction: &Instruction) -> bool {
    // AVX and what came after it is encoded in ways of its own, 3DNow! too.
    if instruction.encoding() != EncodingKind::Legacy {
        return true;
    }
    let registers = (0..instruction.op_count()).map(|operand| instruction.op_register(operand));
    let features = [
        CpuidFeature::FPU,
        CpuidFeature::FPU287,
        CpuidFeature::FPU387,
        CpuidFeature::MMX,
        CpuidFeature::FXSR,
        CpuidFeature::XSAVE,
    ];
    registers.into_iter().any(|register| register.is_st() || register.is_mm())
        || instruction.cpuid_features().iter().any(|feature| features.contains(feature))
}

/// The resource with the version: of a driver, and the same in figures and words.
fn version(image: &Image<'_>) -> Option<String> {
    let Some(version) = image.version() else {
        return Some("it has no version resource".to_owned());
    };
    // VFT_DRV, VFT2_DRV_SYSTEM.
    if (version.kind, version.subkind) != (3, 7) {
        return Some(format!(
            "its version is of a file of kind {}, {}",
            version.kind, version.subkind
        ));
    }
    let figures = version.file_text();
    let words = version.string("FileVersion");
    (words != Some(&figures))
        .then(|| format!("its version is {figures} in figures, {words:?} in words"))
}

fn is(section: &ImageSectionHeader, characteristic: SectionFlags) -> bool {
    section.characteristics.get(LE).0 & characteristic.0 != 0
}
