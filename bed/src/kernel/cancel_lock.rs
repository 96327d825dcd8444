//! The lock that every IRP's cancellation takes.

use core::cell::UnsafeCell;

use wdm_interrupt_model::nt::KSPIN_LOCK;

use super::EXECUTIVE;

/// The lock's memory, which the executive changes.
struct Word(UnsafeCell<KSPIN_LOCK>);

// SAFETY: only the executive's lock routines access it, which is what they are for.
unsafe impl Sync for Word {}

static LOCK: Word = Word(UnsafeCell::new(0));

/// What `IoAcquireCancelSpinLock` does; returns the IRQL before.
pub(crate) fn acquire() -> u8 {
    // SAFETY: the lock is static and initialised.
    unsafe { EXECUTIVE.ke_acquire_spin_lock_raise_to_dpc(LOCK.0.get()) }
}

/// What `IoReleaseCancelSpinLock` does.
pub(crate) fn release(irql: u8) {
    // SAFETY: as above; the executive checks that this processor holds it.
    unsafe { EXECUTIVE.ke_release_spin_lock(LOCK.0.get(), irql) };
}
