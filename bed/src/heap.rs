//! The heap: all memory that the loader left over.

use talc::TalcLock;
use talc::source::Manual;

use crate::sync::InterruptsOff;

#[global_allocator]
static HEAP: TalcLock<InterruptsOff, Manual> = TalcLock::new(Manual);

/// Gives memory to the heap.
///
/// # Safety
///
/// Nothing else uses the memory, now or later.
pub(crate) unsafe fn start(address: usize, size: usize) {
    let base = core::ptr::with_exposed_provenance_mut(address);
    // SAFETY: the caller hands the memory over.
    let claimed = unsafe { HEAP.lock().claim(base, size) };
    assert!(claimed.is_some(), "there is no memory for the heap");
}
