//! Mapped device registers. Each mapping has addresses of its own that are never used again, so that
//! touching registers after they were unmapped ends the run.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::Range;
use core::sync::atomic::{AtomicUsize, Ordering};

use crate::memory::{self, PAGE};
use crate::sync::Lock;
use crate::verify::{Rule, broken};

/// Where mappings lie: nothing is there physically, between memory and the PCI window.
const WINDOW: Range<usize> = 0x4000_0000..0x8000_0000;

/// Where physical memory reads as all ones, 1 MiB of it: what is left of registers when their device
/// is gone. QEMU itself gives zeroes for what nobody decodes, unlike a PCI bus.
static ALL_ONES: AtomicUsize = AtomicUsize::new(0);
const ALL_ONES_BYTES: usize = 1 << 20;

/// One mapping.
#[derive(Debug, Clone, Copy)]
struct Mapping {
    physical: usize,
    length: usize,
}

/// Mappings by address, how far the next one begins, and the registers of devices that are gone.
struct Mappings {
    next: usize,
    live: BTreeMap<usize, Mapping>,
    gone: Vec<Range<usize>>,
}

static MAPPINGS: Lock<Mappings> =
    Lock::new(Mappings { next: WINDOW.start, live: BTreeMap::new(), gone: Vec::new() });

/// Says where physical memory reads as all ones.
pub(crate) fn start(all_ones: Option<usize>) {
    ALL_ONES.store(all_ones.unwrap_or_default(), Ordering::Relaxed);
}

impl Mappings {
    /// Maps the pages of one mapping: to its registers, or to nothing if they are gone.
    fn point(&self, address: usize, mapping: Mapping) {
        let offset = address % PAGE;
        let bytes = (offset + mapping.length).next_multiple_of(PAGE);
        let (base, physical) = (address - offset, mapping.physical - offset);
        if !self.gone.iter().any(|gone| gone.contains(&mapping.physical)) {
            memory::map_registers(base, physical, bytes);
            return;
        }
        let nothing = ALL_ONES.load(Ordering::Relaxed);
        for page in (0..bytes).step_by(PAGE) {
            memory::map_registers(base + page, nothing + page % ALL_ONES_BYTES, PAGE);
        }
    }
}

/// The device with these registers is gone, or there again: its registers read as all ones from here,
/// or as themselves.
pub(crate) fn set_gone(registers: Range<usize>, gone: bool) {
    let mut mappings = MAPPINGS.lock();
    mappings.gone.retain(|one| *one != registers);
    if gone {
        mappings.gone.push(registers.clone());
    }
    for (address, mapping) in &mappings.live {
        if registers.contains(&mapping.physical) {
            mappings.point(*address, *mapping);
        }
    }
    drop(mappings);
    crate::smp::flush_everywhere();
}

/// What `MmMapIoSpaceEx` does.
pub(crate) fn map(physical: usize, length: usize) -> Option<usize> {
    let offset = physical % PAGE;
    let bytes = (offset + length).next_multiple_of(PAGE);
    let mut mappings = MAPPINGS.lock();
    let base = mappings.next;
    if length == 0 || base + bytes > WINDOW.end || physical >> 32 != 0 {
        return None;
    }
    // A page between two mappings stays unmapped: running over the end is noticed, too.
    mappings.next = base + bytes + PAGE;
    let mapping = Mapping { physical, length };
    mappings.live.insert(base + offset, mapping);
    mappings.point(base + offset, mapping);
    Some(base + offset)
}

/// The first register of every mapping of these, as their driver would read it.
pub(crate) fn peek(registers: &Range<usize>) -> Vec<u32> {
    let mappings = MAPPINGS.lock();
    let mapped = mappings.live.iter().filter(|(_, one)| registers.contains(&one.physical));
    // SAFETY: the mapping is live, and reading an identification register has no effect.
    mapped
        .map(|(address, _)| unsafe { memory::physical::<u32>(*address).read_volatile() })
        .collect()
}

/// What `MmUnmapIoSpace` does.
pub(crate) fn unmap(address: usize, length: usize) {
    const CALL: &str = "MmUnmapIoSpace";
    let was = MAPPINGS.lock().live.remove(&address).map(|mapping| mapping.length);
    if was != Some(length) {
        broken(
            Rule::Unmapped,
            CALL,
            format_args!("{length:#x} bytes at {address:#x}; mapped there: {was:x?}"),
        );
    }
    let offset = address % PAGE;
    memory::unmap(address - offset, (offset + length).next_multiple_of(PAGE));
}

/// How many mappings there are.
pub(crate) fn left() -> usize {
    MAPPINGS.lock().live.len()
}
