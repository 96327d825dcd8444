//! The lock of a passive-level registration: it is waited for, not spun for.

use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
use core::sync::atomic::Ordering;

use crate::deferred::{KERNEL_MODE, current_thread, wait_for};
use crate::nt::{self, AtomicUsize};

/// A lock made of a synchronization event, which knows who holds it.
///
/// While it is held, the thread cannot be suspended (`KeEnterCriticalRegion`): an ISR may be waiting
/// for it.
#[derive(Debug)]
pub(crate) struct WaitLock {
    /// Signalled while nobody holds the lock.
    free: UnsafeCell<MaybeUninit<nt::KEVENT>>,
    /// The thread that holds it, 0 when none does. Only the thread itself can find its own number
    /// here, which it wrote itself.
    holder: AtomicUsize,
}

impl WaitLock {
    /// [`initialise`](Self::initialise) follows.
    #[cfg_attr(
        not(wdm_interrupt_loom),
        expect(clippy::missing_const_for_fn, reason = "an atomic of loom's is not made in one")
    )]
    pub(super) fn new() -> Self {
        Self { free: UnsafeCell::new(MaybeUninit::zeroed()), holder: AtomicUsize::new(0) }
    }

    /// The rest of making one, once it is where it stays.
    ///
    /// # Safety
    ///
    /// Called once, before anything else; it stays put and resident.
    pub(super) unsafe fn initialise(&self) {
        let kind = nt::_EVENT_TYPE::SynchronizationEvent;
        // SAFETY: resident, stays put, and initialised this once (caller).
        unsafe { nt::KeInitializeEvent(self.event(), kind, nt::TRUE) };
    }

    const fn event(&self) -> *mut nt::KEVENT {
        self.free.get().cast()
    }

    /// Whether the current thread holds it. At most `DISPATCH_LEVEL`.
    pub(super) fn is_this_threads(&self) -> bool {
        let holder = self.holder.load(Ordering::Relaxed);
        holder != 0 && holder == current_thread()
    }

    /// Calls `locked` with the lock held. `PASSIVE_LEVEL`, not by the thread that holds it.
    pub(super) fn with<R>(&self, locked: impl FnOnce() -> R) -> R {
        // SAFETY: at most APC_LEVEL (caller); left in `Held::drop`.
        unsafe { nt::KeEnterCriticalRegion() };
        // SAFETY: PASSIVE_LEVEL (caller); initialised, and stays during the wait.
        unsafe { wait_for(self.event()) };
        let _held = Held::new(self);
        locked()
    }

    /// Calls `locked` with the lock held, unless somebody holds it. `PASSIVE_LEVEL`.
    pub(super) fn try_with<R>(&self, locked: impl FnOnce() -> R) -> Option<R> {
        let mut at_once = nt::LARGE_INTEGER { QuadPart: 0 };
        let reason = nt::_KWAIT_REASON::Executive;
        let (event, timeout) = (self.event().cast(), &raw mut at_once);
        // SAFETY: at most APC_LEVEL (caller); left below, or in `Held::drop`.
        unsafe { nt::KeEnterCriticalRegion() };
        // SAFETY: initialised, and stays; a timeout of 0 does not wait.
        let status =
            unsafe { nt::KeWaitForSingleObject(event, reason, KERNEL_MODE, nt::FALSE, timeout) };
        if status != nt::STATUS_SUCCESS {
            // SAFETY: entered above.
            unsafe { nt::KeLeaveCriticalRegion() };
            return None;
        }
        let _held = Held::new(self);
        Some(locked())
    }
}

/// The lock, held until this is dropped: also by a panic that unwinds, off Windows.
struct Held<'a>(&'a WaitLock);

impl<'a> Held<'a> {
    fn new(lock: &'a WaitLock) -> Self {
        lock.holder.store(current_thread(), Ordering::Relaxed);
        Self(lock)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.holder.store(0, Ordering::Relaxed);
        // SAFETY: initialised, and held by this thread, which keeps it where it is.
        unsafe { nt::KeSetEvent(self.0.event(), 0, nt::FALSE) };
        // SAFETY: entered before the lock was waited for.
        unsafe { nt::KeLeaveCriticalRegion() };
    }
}
