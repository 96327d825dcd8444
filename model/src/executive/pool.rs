//! Pool.
//!
//! Blocks under a page are aligned to 16 and never to 32, since 16 is all that is promised; from a
//! page on they are page-aligned. Round each are guard bytes. Freed memory is poisoned and kept
//! for a while, so that who writes to it is found out.

use alloc::{
    alloc::{Layout, alloc, dealloc},
    collections::{BTreeMap, VecDeque},
};
use core::{
    ops::Range,
    ptr::{self, NonNull},
    slice,
};

use super::{Call, Executive};
use crate::{
    hal::Hal,
    nt::{
        APC_LEVEL, DISPATCH_LEVEL, POOL_FLAG_CACHE_ALIGNED, POOL_FLAG_NON_PAGED,
        POOL_FLAG_NON_PAGED_EXECUTE, POOL_FLAG_PAGED, POOL_FLAG_RAISE_ON_FAILURE,
        POOL_FLAG_UNINITIALIZED, POOL_FLAGS, PVOID, SIZE_T, ULONG,
    },
    report::Rule,
};

const PAGE: usize = 4096;
const CACHE_LINE: usize = 64;
const GUARD: usize = 16;
const GUARD_BYTE: u8 = 0xFD;
const UNINITIALIZED_BYTE: u8 = 0xA5;
const FREED_BYTE: u8 = 0xDD;
const QUARANTINE_BLOCKS: usize = 256;
const QUARANTINE_BYTES: usize = 256 * 1024;

/// One allocation, guards and all.
///
/// # Invariants
///
/// `base` was allocated with `layout`, which has room for `offset` bytes, `size` bytes and a guard.
pub(super) struct Block {
    base: NonNull<u8>,
    layout: Layout,
    /// Where the driver's part begins.
    offset: usize,
    size: usize,
    pub(super) tag: ULONG,
    flags: POOL_FLAGS,
}

// SAFETY: a block owns its memory.
unsafe impl Send for Block {}

impl Block {
    pub(super) fn allocate(size: usize, tag: ULONG, flags: POOL_FLAGS) -> Option<Self> {
        let (align, offset) = if size >= PAGE {
            (PAGE, 0)
        } else if flags & POOL_FLAG_CACHE_ALIGNED != 0 {
            (CACHE_LINE, CACHE_LINE)
        } else {
            (2 * GUARD, GUARD)
        };
        let whole = size.checked_add(offset)?.checked_add(GUARD)?;
        let layout = Layout::from_size_align(whole, align).ok()?;
        // SAFETY: the guard alone makes the size more than zero.
        let base = NonNull::new(unsafe { alloc(layout) })?;
        // INVARIANT: as computed above.
        let block = Self { base, layout, offset, size, tag, flags };
        // SAFETY: the whole allocation.
        unsafe { base.write_bytes(GUARD_BYTE, whole) };
        block.fill(if flags & POOL_FLAG_UNINITIALIZED != 0 { UNINITIALIZED_BYTE } else { 0 });
        Some(block)
    }

    /// The driver's part.
    pub(super) const fn pointer(&self) -> NonNull<u8> {
        // SAFETY: inside the allocation, by the invariant.
        unsafe { self.base.add(self.offset) }
    }

    pub(super) fn range(&self) -> Range<usize> {
        let start = self.pointer().addr().get();
        start..start + self.size
    }

    pub(super) const fn is_paged(&self) -> bool {
        self.flags & POOL_FLAG_PAGED != 0
    }

    const fn fill(&self, byte: u8) {
        // SAFETY: `size` bytes from the driver's part on are inside the allocation.
        unsafe { self.pointer().write_bytes(byte, self.size) };
    }

    fn is_all(&self, from: usize, length: usize, byte: u8) -> bool {
        // SAFETY: callers ask for parts of the allocation only.
        let start = unsafe { self.base.add(from) };
        // SAFETY: as above, and all of it was written when it was allocated.
        let bytes = unsafe { slice::from_raw_parts(start.as_ptr(), length) };
        bytes.iter().all(|other| *other == byte)
    }

    fn guards_are_intact(&self) -> bool {
        self.is_all(0, self.offset, GUARD_BYTE)
            && self.is_all(self.offset + self.size, GUARD, GUARD_BYTE)
    }

    fn is_poisoned(&self) -> bool {
        self.is_all(self.offset, self.size, FREED_BYTE)
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: by the invariant.
        unsafe { dealloc(self.base.as_ptr(), self.layout) };
    }
}

/// What is at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Residence {
    /// Not pool: a static, a stack, a device extension.
    Elsewhere,
    Nonpaged,
    Paged,
    Freed,
}

/// All allocations, by address.
pub(super) struct Pool {
    pub(super) live: BTreeMap<usize, Block>,
    freed: VecDeque<Block>,
    freed_bytes: usize,
}

impl Pool {
    pub(super) const fn new() -> Self {
        Self { live: BTreeMap::new(), freed: VecDeque::new(), freed_bytes: 0 }
    }

    fn residence(&self, address: usize) -> Residence {
        let below = self.live.range(..=address).next_back().map(|(_, block)| block);
        if let Some(block) = below.filter(|block| block.range().contains(&address)) {
            return if block.is_paged() { Residence::Paged } else { Residence::Nonpaged };
        }
        if self.freed.iter().any(|block| block.range().contains(&address)) {
            return Residence::Freed;
        }
        Residence::Elsewhere
    }

    /// Keeps a freed block, and gives back the one that it drives out.
    fn keep(&mut self, block: Block) -> Option<Block> {
        self.freed_bytes += block.size;
        self.freed.push_back(block);
        if self.freed.len() <= QUARANTINE_BLOCKS && self.freed_bytes <= QUARANTINE_BYTES {
            return None;
        }
        let oldest = self.freed.pop_front()?;
        self.freed_bytes -= oldest.size;
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

/// A tag as people write it.
pub(super) struct Tag(pub(super) ULONG);

impl core::fmt::Display for Tag {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.to_le_bytes().escape_ascii().fmt(f)
    }
}

impl<H: Hal> Executive<H> {
    /// `ExAllocatePool2`.
    pub fn ex_allocate_pool2(&self, flags: POOL_FLAGS, size: SIZE_T, tag: ULONG) -> PVOID {
        const CALL: &str = "ExAllocatePool2";
        let types = POOL_FLAG_NON_PAGED | POOL_FLAG_NON_PAGED_EXECUTE | POOL_FLAG_PAGED;
        if (flags & types).count_ones() != 1 {
            self.violate(Rule::PoolFlags, CALL, format_args!("flags {flags:#x}"));
        }
        if size == 0 || tag == 0 {
            self.violate(Rule::PoolFlags, CALL, format_args!("{size} bytes, tag {tag:#x}"));
        }
        let paged = flags & POOL_FLAG_PAGED != 0;
        self.require_irql(Rule::IrqlPool, CALL, if paged { APC_LEVEL } else { DISPATCH_LEVEL });
        let block = if self.fault(Call::ExAllocatePool2).is_some() {
            None
        } else {
            usize::try_from(size).ok().and_then(|size| Block::allocate(size, tag, flags))
        };
        let Some(block) = block else {
            if flags & POOL_FLAG_RAISE_ON_FAILURE != 0 {
                self.violate(
                    Rule::PoolFlags,
                    CALL,
                    format_args!("POOL_FLAG_RAISE_ON_FAILURE raises, and nothing catches it"),
                );
            }
            return ptr::null_mut();
        };
        let pointer = block.pointer();
        self.pool.lock(&self.hal).live.insert(pointer.addr().get(), block);
        pointer.as_ptr().cast()
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
        self.require_irql(Rule::IrqlPool, call, DISPATCH_LEVEL);
        let pool = self.pool.lock(&self.hal);
        let found = pool.live.get(&memory.addr());
        let Some((range, allocated, paged, intact)) = found
            .map(|block| (block.range(), block.tag, block.is_paged(), block.guards_are_intact()))
        else {
            let what = match pool.residence(memory.addr()) {
                Residence::Freed => "freed already",
                Residence::Elsewhere => "not pool",
                Residence::Nonpaged | Residence::Paged => "inside an allocation, not its start",
            };
            drop(pool);
            self.violate(Rule::PoolFree, call, format_args!("{memory:p} is {what}"));
        };
        drop(pool);
        if paged {
            self.require_irql(Rule::IrqlPool, call, APC_LEVEL);
        }
        if tag != 0 && tag != allocated {
            let (tag, allocated) = (Tag(tag), Tag(allocated));
            self.violate(
                Rule::PoolTag,
                call,
                format_args!("{memory:p} has tag '{allocated}', not '{tag}'"),
            );
        }
        if !intact {
            let tag = Tag(allocated);
            self.violate(
                Rule::PoolOverrun,
                call,
                format_args!("bytes next to {memory:p} ('{tag}', {} bytes) changed", range.len()),
            );
        }
        self.require_unused(&range, call);
        let block = self.pool.lock(&self.hal).live.remove(&memory.addr());
        if let Some(block) = block {
            self.quarantine(block, call);
        }
    }

    /// Poisons a block and keeps it for a while.
    pub(super) fn quarantine(&self, block: Block, call: &'static str) {
        block.fill(FREED_BYTE);
        let oldest = self.pool.lock(&self.hal).keep(block);
        if let Some(oldest) = oldest {
            self.require_poisoned(&oldest, call);
        }
    }

    fn require_poisoned(&self, block: &Block, call: &'static str) {
        if !block.is_poisoned() {
            let tag = Tag(block.tag);
            self.violate(
                Rule::PoolUseAfterFree,
                call,
                format_args!(
                    "{:#x} ('{tag}') was written to after it was freed",
                    block.range().start
                ),
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
            pool.freed_bytes -= block.size;
            drop(pool);
            self.require_poisoned(&block, "the end of the run");
        }
    }

    /// What is at `address`.
    pub(super) fn residence(&self, address: usize) -> Residence {
        self.pool.lock(&self.hal).residence(address)
    }

    /// Nothing that the kernel still uses may be in memory that is freed.
    fn require_unused(&self, range: &Range<usize>, call: &'static str) {
        let dispatch = self.dispatch.lock(&self.hal);
        let dpc = dispatch.dpcs.in_use(range);
        let lock = dispatch.held.any_in(range);
        drop(dispatch);
        let start = range.start;
        if let Some((address, state)) = dpc {
            self.violate(
                Rule::FreedInUse,
                call,
                format_args!("{start:#x} holds the KDPC {address:#x}, which is {state}"),
            );
        }
        if let Some(address) = lock {
            self.violate(
                Rule::FreedInUse,
                call,
                format_args!("{start:#x} holds the spin lock {address:#x}, which is held"),
            );
        }
        if let Some(event) = self.awaited_in(range) {
            self.violate(
                Rule::FreedInUse,
                call,
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
            Some((what, object.vector))
        });
        drop(registry);
        if let Some((what, vector)) = user {
            self.violate(
                Rule::FreedInUse,
                call,
                format_args!("{start:#x} holds the {what} of vector {vector:#x}, still connected"),
            );
        }
    }
}
