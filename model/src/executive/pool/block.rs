//! One allocation of pool, with its guards.

use alloc::alloc::{Layout, alloc, dealloc};
use core::{ops::Range, ptr::NonNull, slice};

use crate::{
    nt::{
        POOL_FLAG_CACHE_ALIGNED, POOL_FLAG_NON_PAGED_EXECUTE, POOL_FLAG_PAGED,
        POOL_FLAG_UNINITIALIZED, POOL_FLAGS, ULONG,
    },
    report::Object,
};

const PAGE: usize = 4096;
const CACHE_LINE: usize = 64;
const GUARD: usize = 16;
const GUARD_BYTE: u8 = 0xFD;
const UNINITIALIZED_BYTE: u8 = 0xA5;
const FREED_BYTE: u8 = 0xDD;

/// One allocation, guards and all.
///
/// # Invariants
///
/// `base` was allocated with `layout`, which has room for `offset` bytes, `size` bytes and a guard.
pub(in crate::executive) struct Block {
    base: NonNull<u8>,
    layout: Layout,
    /// Where the driver's part begins.
    offset: usize,
    size: usize,
    tag: ULONG,
    flags: POOL_FLAGS,
}

// SAFETY: a block owns its memory.
unsafe impl Send for Block {}

impl Block {
    pub(in crate::executive) fn allocate(
        size: usize,
        tag: ULONG,
        flags: POOL_FLAGS,
    ) -> Option<Self> {
        let (align, offset) = if size >= PAGE {
            // A page of guard, since what follows it is to begin a page.
            (PAGE, PAGE)
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
    pub(in crate::executive) const fn pointer(&self) -> NonNull<u8> {
        // SAFETY: inside the allocation, by the invariant.
        unsafe { self.base.add(self.offset) }
    }

    pub(in crate::executive) fn range(&self) -> Range<usize> {
        let start = self.pointer().addr().get();
        start..start + self.size
    }

    /// What reports say of it.
    pub(in crate::executive) fn extent(&self) -> Extent {
        let Range { start, .. } = self.range();
        Extent { start, bytes: self.size, tag: self.tag, pool_type: pool_type(self.flags) }
    }

    const fn fill(&self, byte: u8) {
        // SAFETY: `size` bytes from the driver's part on are inside the allocation.
        unsafe { self.pointer().write_bytes(byte, self.size) };
    }

    /// The address of the first of these bytes that is not `byte`.
    fn other_than(&self, byte: u8, from: usize, length: usize) -> Option<usize> {
        // SAFETY: callers ask for parts of the allocation only.
        let start = unsafe { self.base.add(from) };
        // SAFETY: as above, and all of it was written when it was allocated.
        let bytes = unsafe { slice::from_raw_parts(start.as_ptr(), length) };
        let index = bytes.iter().position(|other| *other != byte)?;
        Some(start.addr().get() + index)
    }

    /// The first byte round it that somebody wrote to: behind it, which is where most write, or
    /// before it.
    pub(in crate::executive) fn damage(&self) -> Option<usize> {
        self.other_than(GUARD_BYTE, self.offset + self.size, GUARD)
            .or_else(|| self.other_than(GUARD_BYTE, 0, self.offset))
    }

    /// Fills it with what freed memory is full of.
    pub(in crate::executive) const fn poison(&self) {
        self.fill(FREED_BYTE);
    }

    /// The first byte of freed memory that somebody wrote to.
    pub(in crate::executive) fn written_after_free(&self) -> Option<usize> {
        self.other_than(FREED_BYTE, self.offset, self.size)
    }

    /// A number that is another one, most likely, when a byte of it is another one.
    pub(in crate::executive) fn fingerprint(&self) -> u64 {
        // SAFETY: `size` bytes from the driver's part on are inside the allocation, and all of it
        // was written when it was allocated.
        let bytes = unsafe { slice::from_raw_parts(self.pointer().as_ptr(), self.size) };
        // FNV-1a: each step is reversible, so that one changed byte is always seen.
        bytes.iter().fold(0xCBF2_9CE4_8422_2325, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3)
        })
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: by the invariant.
        unsafe { dealloc(self.base.as_ptr(), self.layout) };
    }
}

/// What is known of an allocation without looking at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::executive) struct Extent {
    pub(in crate::executive) start: usize,
    pub(in crate::executive) bytes: usize,
    pub(in crate::executive) tag: ULONG,
    /// As a `POOL_TYPE`, which bug checks have.
    pub(in crate::executive) pool_type: u64,
}

impl Extent {
    pub(in crate::executive) const fn is_paged(&self) -> bool {
        self.pool_type == PAGED_POOL
    }

    pub(in crate::executive) const fn end(&self) -> usize {
        self.start + self.bytes
    }

    pub(in crate::executive) const fn live(self) -> Object {
        Object::Pool { address: self.start, bytes: self.bytes, tag: self.tag }
    }

    pub(in crate::executive) const fn freed(self) -> Object {
        Object::FreedPool { address: self.start, bytes: self.bytes, tag: self.tag }
    }
}

const PAGED_POOL: u64 = 1;

/// The `POOL_TYPE` of flags: `NonPagedPool`, `PagedPool` or `NonPagedPoolNx`.
pub(super) const fn pool_type(flags: POOL_FLAGS) -> u64 {
    if flags & POOL_FLAG_PAGED != 0 {
        PAGED_POOL
    } else if flags & POOL_FLAG_NON_PAGED_EXECUTE != 0 {
        0
    } else {
        512
    }
}

/// What a value that a driver passes was most likely read from, by the bytes that it is made of.
pub(in crate::executive) const fn poison_of(value: usize) -> Option<&'static str> {
    const fn is_all(value: usize, byte: u8) -> bool {
        value == usize::from_ne_bytes([byte; size_of::<usize>()])
    }
    if is_all(value, FREED_BYTE) {
        Some("what freed memory is full of")
    } else if is_all(value, UNINITIALIZED_BYTE) {
        Some("what pool that was not initialised is full of")
    } else if is_all(value, GUARD_BYTE) {
        Some("what is next to an allocation")
    } else {
        None
    }
}
