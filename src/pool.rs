//! Nonpaged pool, where everything lies that the kernel or an interrupt routine reaches.
//!
//! It comes from `ExAllocatePool2` and never from the global allocator, which may be paged, or
//! ignore alignment.

use core::alloc::Layout;
use core::ptr::NonNull;

use crate::irql::Irql;
use crate::nt;

/// The pool tag of a registration, as debuggers and Driver Verifier show it: `WInt`.
const TAG: nt::ULONG = u32::from_le_bytes(*b"WInt");

/// What pool promises for a block smaller than a page: `MEMORY_ALLOCATION_ALIGNMENT`.
pub(crate) const ALIGNMENT: usize = 16;

/// Zeroed nonpaged memory for `layout`; `None` when there is none.
///
/// Zeroes are what [`ExAllocatePool2`][page] gives unless it is told `POOL_FLAG_UNINITIALIZED`, and
/// what begins as zeroes is not written again.
///
/// [page]: https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/nf-wdm-exallocatepool2
///
/// The caller keeps the alignment within [`ALIGNMENT`] and the size above zero.
///
/// IRQL: at most `DISPATCH_LEVEL`.
pub(crate) fn allocate(layout: Layout) -> Option<NonNull<u8>> {
    debug_assert!(layout.align() <= ALIGNMENT && layout.size() > 0, "pool cannot give this");
    // SAFETY: at most DISPATCH_LEVEL (caller); the tag has four characters. A size of 0 would be no
    // memory error, and does not occur.
    let memory = unsafe { nt::ExAllocatePool2(nt::POOL_FLAG_NON_PAGED, layout.size() as u64, TAG) };
    NonNull::new(memory.cast())
}

/// Frees what [`allocate`] returned.
///
/// # Safety
///
/// At most `DISPATCH_LEVEL`. `memory` comes from `allocate`, and nobody uses it any more.
pub(crate) unsafe fn free<T>(memory: NonNull<T>) {
    // SAFETY: allocated with this tag, nobody uses it, and the IRQL is low enough (caller).
    unsafe { nt::ExFreePoolWithTag(memory.as_ptr().cast(), TAG) };
}

/// Panics above `DISPATCH_LEVEL`, where nothing can be freed: halves that have come back can be
/// dropped anywhere, also under an interrupt's lock.
#[track_caller]
pub(crate) fn assert_may_free() {
    let irql = Irql::current();
    assert!(
        irql <= Irql::DISPATCH,
        "the memory of an interrupt's halves was freed at {irql}; keep them until DISPATCH_LEVEL \
         or below"
    );
}
