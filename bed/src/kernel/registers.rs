//! Mapped device registers. Each mapping has addresses of its own that are never used again, so that
//! touching registers after they were unmapped ends the run. Registers can be gone, and can lie.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::Range;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

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

/// Mappings by address, how far the next one begins, the registers of devices that are gone, and of those
/// that lie, with what drivers see instead.
struct Mappings {
    next: usize,
    live: BTreeMap<usize, Mapping>,
    gone: Vec<Range<usize>>,
    lies: Vec<(Range<usize>, &'static False)>,
}

static MAPPINGS: Lock<Mappings> = Lock::new(Mappings {
    next: WINDOW.start,
    live: BTreeMap::new(),
    gone: Vec::new(),
    lies: Vec::new(),
});

/// A page that drivers see instead of a device's registers: what they write stays there, and nothing comes
/// of it. Nobody gives it back, since some processor may still have it cached.
#[derive(Debug)]
#[repr(align(4096))]
pub(crate) struct False([AtomicU32; PAGE / 4]);

impl False {
    /// A page on which every register has this value.
    pub(crate) fn new(value: u32) -> &'static Self {
        const { assert!(align_of::<Self>() == PAGE && size_of::<Self>() == PAGE) };
        Box::leak(Box::new(Self([const { AtomicU32::new(0) }; PAGE / 4]))).filled(value)
    }

    fn filled(&self, value: u32) -> &Self {
        for register in &self.0 {
            register.store(value, Ordering::Relaxed);
        }
        self
    }

    /// Gives the register at this offset a value.
    pub(crate) fn set(&self, offset: usize, value: u32) {
        self.0[offset / 4].store(value, Ordering::Relaxed);
    }
}

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
        let lie = self.lies.iter().find(|(registers, _)| registers.contains(&mapping.physical));
        if let Some((_, page)) = lie {
            for at in (0..bytes).step_by(PAGE) {
                memory::map_registers(base + at, (&raw const **page).addr(), PAGE);
            }
            return;
        }
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

/// Whoever has mapped these registers sees this page instead from here, or themselves again.
pub(crate) fn set_lie(registers: &Range<usize>, page: Option<&'static False>) {
    let mut mappings = MAPPINGS.lock();
    mappings.lies.retain(|(one, _)| one != registers);
    mappings.lies.extend(page.map(|page| (registers.clone(), page)));
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
