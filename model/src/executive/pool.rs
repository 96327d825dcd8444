//! Pool.
//!
//! Blocks under a page are aligned to 16 and never to 32, since 16 is all that is promised; from a
//! page on they are page-aligned. Round each are guard bytes, on both sides. Freed memory is poisoned
//! and kept for a while, so that who writes to it is found out. What each tag has is counted.

mod block;
mod tags;

use alloc::collections::{BTreeMap, VecDeque};
use core::{ops::Range, ptr};

pub(super) use self::block::{Block, Extent, poison_of};
pub use self::tags::PoolUse;
use self::{block::pool_type, tags::Tags};
use super::{Call, Executive, breach::Breach};
use crate::{
    hal::Hal,
    nt::{
        APC_LEVEL, DISPATCH_LEVEL, POOL_FLAG_NON_PAGED, POOL_FLAG_NON_PAGED_EXECUTE,
        POOL_FLAG_PAGED, POOL_FLAG_RAISE_ON_FAILURE, POOL_FLAGS, PVOID, SIZE_T, ULONG,
    },
    report::{Object, Rule, Tag},
};

const QUARANTINE_BLOCKS: usize = 256;
const QUARANTINE_BYTES: usize = 256 * 1024;
/// `BAD_POOL_CALLER`.
const BAD_POOL_CALLER: u32 = 0xC2;

/// What is at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Residence {
    /// Not pool: a static, a stack, a device extension.
    Elsewhere,
    Nonpaged(Extent),
    Paged(Extent),
    Freed(Extent),
}

impl Residence {
    /// Why what is here cannot be used at raised IRQL, if it cannot.
    pub(super) const fn unfit(self) -> Option<(&'static str, Object)> {
        match self {
            Self::Elsewhere | Self::Nonpaged(_) => None,
            Self::Paged(extent) => Some(("paged pool", extent.live())),
            Self::Freed(extent) => Some(("freed pool", extent.freed())),
        }
    }
}

/// All allocations, by address.
pub(super) struct Pool {
    pub(super) live: BTreeMap<usize, Block>,
    freed: VecDeque<Block>,
    freed_bytes: usize,
    tags: Tags,
}

impl Pool {
    pub(super) const fn new() -> Self {
        Self { live: BTreeMap::new(), freed: VecDeque::new(), freed_bytes: 0, tags: Tags::new() }
    }

    /// The allocation that `address` is in.
    fn allocated(&self, address: usize) -> Option<Extent> {
        let (_, block) = self.live.range(..=address).next_back()?;
        block.range().contains(&address).then(|| block.extent())
    }

    fn residence(&self, address: usize) -> Residence {
        if let Some(extent) = self.allocated(address) {
            return if extent.is_paged() {
                Residence::Paged(extent)
            } else {
                Residence::Nonpaged(extent)
            };
        }
        // The same address may have been freed more than once, and the last time is meant.
        let mut freed = self.freed.iter().rev();
        let found = freed.find(|block| block.range().contains(&address));
        found.map_or(Residence::Elsewhere, |block| Residence::Freed(block.extent()))
    }

    /// Keeps a freed block, and gives back the one that it drives out.
    fn keep(&mut self, block: Block) -> Option<Block> {
        self.freed_bytes += block.extent().bytes;
        self.freed.push_back(block);
        if self.freed.len() <= QUARANTINE_BLOCKS && self.freed_bytes <= QUARANTINE_BYTES {
            return None;
        }
        let oldest = self.freed.pop_front()?;
        self.freed_bytes -= oldest.extent().bytes;
        Some(oldest)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // What the driver never freed it may still point to, so it is left where it is.
        for (_, block) in core::mem::take(&mut self.live) {
            core::mem::forget(block);
        }
    }
}

impl<H: Hal> Executive<H> {
    /// `ExAllocatePool2`.
    pub fn ex_allocate_pool2(&self, flags: POOL_FLAGS, size: SIZE_T, tag: ULONG) -> PVOID {
        const CALL: &str = "ExAllocatePool2";
        self.require_pool_flags(flags, size, tag, CALL);
        let paged = flags & POOL_FLAG_PAGED != 0;
        let (highest, kind) = if paged { (APC_LEVEL, 0x1) } else { (DISPATCH_LEVEL, 0x2) };
        self.require_irql_or(highest, |irql| {
            Breach::new(Rule::IrqlPool, CALL).verifier(kind, [irql, pool_type(flags), size])
        });
        let block = if self.fault(Call::ExAllocatePool2).is_some() {
            None
        } else {
            usize::try_from(size).ok().and_then(|size| Block::allocate(size, tag, flags))
        };
        let Some(block) = block else {
            if flags & POOL_FLAG_RAISE_ON_FAILURE != 0 {
                self.violate(
                    Breach::new(Rule::PoolFlags, CALL),
                    format_args!("POOL_FLAG_RAISE_ON_FAILURE raises, and nothing catches it"),
                );
            }
            return ptr::null_mut();
        };
        let pointer = block.pointer();
        let mut pool = self.pool.lock(&self.hal);
        pool.tags.allocated(&block.extent());
        pool.live.insert(pointer.addr().get(), block);
        pointer.as_ptr().cast()
    }

    fn require_pool_flags(&self, flags: POOL_FLAGS, size: SIZE_T, tag: ULONG, call: &'static str) {
        let types = POOL_FLAG_NON_PAGED | POOL_FLAG_NON_PAGED_EXECUTE | POOL_FLAG_PAGED;
        let breach = Breach::new(Rule::PoolFlags, call);
        if (flags & types).count_ones() != 1 {
            self.violate(breach, format_args!("flags {flags:#x}"));
        }
        let kind = pool_type(flags);
        if size == 0 {
            let breach = breach.verifier(0x0, [self.hal.irql().into(), kind, size]);
            self.violate(breach, format_args!("0 bytes, tag '{}'", Tag(tag)));
        }
        if tag == 0 {
            let breach = breach.stops(BAD_POOL_CALLER, [0x9B, kind, size, 0]);
            self.violate(breach, format_args!("{size} bytes with tag 0"));
        }
    }

    /// `ExFreePool`.
    pub fn ex_free_pool(&self, memory: PVOID) {
        self.free(memory, 0, "ExFreePool");
    }

    /// `ExFreePoolWithTag`. A tag of 0 is any.
    pub fn ex_free_pool_with_tag(&self, memory: PVOID, tag: ULONG) {
        self.free(memory, tag, "ExFreePoolWithTag");
    }

    fn free(&self, memory: PVOID, tag: ULONG, call: &'static str) {
        let pool = self.pool.lock(&self.hal);
        let found = pool.live.get(&memory.addr());
        let Some((extent, damage)) = found.map(|block| (block.extent(), block.damage())) else {
            let residence = pool.residence(memory.addr());
            drop(pool);
            self.refuse_to_free(memory, residence, call);
        };
        drop(pool);
        let (address, objects) = (extent.start as u64, [extent.live()]);
        let (highest, kind) =
            if extent.is_paged() { (APC_LEVEL, 0x11) } else { (DISPATCH_LEVEL, 0x12) };
        self.require_irql_or(highest, |irql| {
            let parameters = [irql, extent.pool_type, address];
            Breach::new(Rule::IrqlPool, call).verifier(kind, parameters).of(&objects)
        });
        if tag != 0 && tag != extent.tag {
            let parameters = [0xA, address, extent.tag.into(), tag.into()];
            self.violate(
                Breach::new(Rule::PoolTag, call).stops(BAD_POOL_CALLER, parameters).of(&objects),
                format_args!("{memory:p} has tag '{}', not '{}'", Tag(extent.tag), Tag(tag)),
            );
        }
        if let Some(damage) = damage {
            let (kind, side) =
                if damage < extent.start { (0x23, "before") } else { (0x24, "behind") };
            let breach = Breach::new(Rule::PoolOverrun, call);
            self.violate(
                breach.stops(0xC1, [address, damage as u64, 0, kind]).of(&objects),
                format_args!("the byte {damage:#x} {side} {memory:p} was written to"),
            );
        }
        self.require_unused(&extent, call);
        let mut pool = self.pool.lock(&self.hal);
        let block = pool.live.remove(&memory.addr());
        pool.tags.freed(&extent);
        drop(pool);
        if let Some(block) = block {
            self.quarantine(block, call);
        }
    }

    /// What is to be freed is not an allocation.
    fn refuse_to_free(&self, memory: PVOID, residence: Residence, call: &'static str) -> ! {
        let breach = Breach::new(Rule::PoolFree, call);
        let address = memory.addr() as u64;
        match residence {
            Residence::Freed(extent) => self.violate(
                breach.stops(BAD_POOL_CALLER, [0x7, 0, 0, address]).of(&[extent.freed()]),
                format_args!("{memory:p} is freed already"),
            ),
            Residence::Elsewhere => self.violate(
                breach.verifier(0x10, [address, 0, 0]),
                format_args!("{memory:p} is not pool"),
            ),
            Residence::Nonpaged(extent) | Residence::Paged(extent) => self.violate(
                breach.verifier(0x16, [0, address, 0]).of(&[extent.live()]),
                format_args!("{memory:p} is inside an allocation, not its start"),
            ),
        }
    }

    /// Poisons a block and keeps it for a while.
    pub(super) fn quarantine(&self, block: Block, call: &'static str) {
        block.poison();
        let oldest = self.pool.lock(&self.hal).keep(block);
        if let Some(oldest) = oldest {
            self.require_poisoned(&oldest, call);
        }
    }

    fn require_poisoned(&self, block: &Block, call: &'static str) {
        if let Some(written) = block.written_after_free() {
            let objects = [block.extent().freed()];
            let breach = Breach::new(Rule::PoolUseAfterFree, call);
            self.violate(
                breach.stops(0xC6, [written as u64, 1, 0, 0]).of(&objects),
                format_args!("the byte {written:#x} was written to after it was freed"),
            );
        }
    }

    /// Looks at all freed memory that is still kept.
    pub(super) fn require_all_poisoned(&self) {
        loop {
            let mut pool = self.pool.lock(&self.hal);
            let Some(block) = pool.freed.pop_front() else {
                return;
            };
            pool.freed_bytes -= block.extent().bytes;
            drop(pool);
            self.require_poisoned(&block, "the end of the run");
        }
    }

    /// What is at `address`.
    pub(super) fn residence(&self, address: usize) -> Residence {
        self.pool.lock(&self.hal).residence(address)
    }

    /// Whether `address` is in pool that is allocated and paged. It is quick, since it does not look
    /// at freed pool.
    pub(super) fn is_paged(&self, address: usize) -> bool {
        let allocated = self.pool.lock(&self.hal).allocated(address);
        allocated.is_some_and(|extent| extent.is_paged())
    }

    /// Nothing that the kernel still uses may be in memory that is freed.
    fn require_unused(&self, extent: &Extent, call: &'static str) {
        let range = extent.start..extent.end();
        self.require_no_dpc_in(&range, extent, call);
        self.require_no_lock_in(&range, extent, call);
        let breach = Breach::new(Rule::FreedInUse, call);
        let start = extent.start;
        if let Some(event) = self.awaited_in(&range) {
            self.violate(
                breach.of(&[extent.live(), Object::Event { address: event }]),
                format_args!("{start:#x} holds the event {event:#x}, which a thread waits for"),
            );
        }
        let registry = self.registry.lock(&self.hal);
        let user = registry.objects().find_map(|object| {
            let what = if range.contains(&object.context.addr()) {
                "service context"
            } else if range.contains(&object.supplied.addr()) {
                "spin lock"
            } else {
                return None;
            };
            Some((what, object.vector, object.report()))
        });
        drop(registry);
        if let Some((what, vector, object)) = user {
            self.violate(
                breach.of(&[extent.live(), object]),
                format_args!("{start:#x} holds the {what} of vector {vector:#x}, still connected"),
            );
        }
    }

    fn require_no_dpc_in(&self, range: &Range<usize>, extent: &Extent, call: &'static str) {
        let dpc = self.dispatch.lock(&self.hal).dpcs.in_use(range);
        if let Some((address, state)) = dpc {
            let parameters = [0x1, address as u64, range.start as u64, range.end as u64];
            let breach = Breach::new(Rule::FreedInUse, call).stops(0xC7, parameters);
            self.violate(
                breach.of(&[extent.live(), Object::Dpc { address }]),
                format_args!("{:#x} holds the KDPC {address:#x}, which is {state}", range.start),
            );
        }
    }

    fn require_no_lock_in(&self, range: &Range<usize>, extent: &Extent, call: &'static str) {
        let lock = self.dispatch.lock(&self.hal).held.any_in(range);
        if let Some(address) = lock {
            let breach = Breach::new(Rule::FreedInUse, call);
            self.violate(
                breach
                    .verifier(0x100B, [address as u64, 0, 0])
                    .of(&[extent.live(), Object::SpinLock { address }]),
                format_args!("{:#x} holds the spin lock {address:#x}, which is held", range.start),
            );
        }
    }
}
