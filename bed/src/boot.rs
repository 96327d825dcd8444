//! The way from the loader to Rust: the PVH entry, the 64-bit switch, the start-up code of the other
//! processors (`boot.s`), and what the loader hands over.

use core::arch::global_asm;

global_asm!(include_str!("boot.s"), options(att_syntax));

/// What a PVH loader passes in EBX (`hvm_start_info`, version 1).
#[repr(C)]
#[derive(Debug, Clone, Copy)]
struct StartInfo {
    magic: u32,
    version: u32,
    flags: u32,
    module_count: u32,
    modules: u64,
    command_line: u64,
    rsdp: u64,
    memory_map: u64,
    memory_map_entries: u32,
    reserved: u32,
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
struct Module {
    address: u64,
    size: u64,
    command_line: u64,
    reserved: u64,
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
struct MemoryRegion {
    address: u64,
    size: u64,
    kind: u32,
    reserved: u32,
}

const START_INFO_MAGIC: u32 = 0x336e_c578;
const MEMORY_RAM: u32 = 1;

/// What the bed was booted with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Boot {
    /// The kernel command line: what to do.
    pub(crate) command_line: &'static str,
    /// The driver's file, or an archive of several, if there is one.
    pub(crate) module: Option<&'static [u8]>,
    /// Where the ACPI tables begin.
    pub(crate) rsdp: usize,
    /// Memory that nothing uses yet: address and size.
    pub(crate) free: (usize, usize),
}

unsafe extern "C" {
    static bed_end: u8;
}

impl Boot {
    /// Reads the start information.
    ///
    /// # Safety
    ///
    /// `address` is what the loader passed in EBX, and nothing was written to memory since.
    pub(crate) unsafe fn read(address: usize) -> Option<Self> {
        // SAFETY: the caller says that the start info is there; memory is mapped identically.
        let info = unsafe { *(address as *const StartInfo) };
        if info.magic != START_INFO_MAGIC {
            return None;
        }
        let module = (info.module_count > 0).then(|| {
            // SAFETY: the loader reports at least one module.
            let module = unsafe { *(info.modules as *const Module) };
            // SAFETY: the module's bytes are the loader's and are not overwritten: the heap ends
            // below them.
            unsafe {
                core::slice::from_raw_parts(module.address as *const u8, module.size as usize)
            }
        });
        let command_line = if info.command_line == 0 {
            ""
        } else {
            // SAFETY: the loader's command line is a C string in memory that nothing overwrites.
            let line = unsafe { core::ffi::CStr::from_ptr(info.command_line as *const _) };
            line.to_str().unwrap_or_default().trim()
        };
        Some(Self {
            command_line,
            module,
            rsdp: info.rsdp as usize,
            free: Self::free_memory(&info, module),
        })
    }

    /// The memory from the kernel's end to the module, or to the end of the memory it lies in.
    fn free_memory(info: &StartInfo, module: Option<&'static [u8]>) -> (usize, usize) {
        let start = (&raw const bed_end).addr();
        // SAFETY: the loader says how many entries the map has.
        let map = unsafe {
            core::slice::from_raw_parts(
                info.memory_map as *const MemoryRegion,
                info.memory_map_entries as usize,
            )
        };
        let end = map
            .iter()
            .filter(|region| region.kind == MEMORY_RAM)
            .map(|region| (region.address as usize, (region.address + region.size) as usize))
            .find(|(from, to)| (*from..*to).contains(&start))
            .map_or(start, |(_, to)| to);
        let end = match module {
            Some(module) if module.as_ptr().addr() > start => end.min(module.as_ptr().addr()),
            _ => end,
        };
        (start, end - start)
    }
}
