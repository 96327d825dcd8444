//! The life of a deferred half, and of the DPC that begins it.

use core::cell::UnsafeCell;
use core::sync::atomic::Ordering;

use crate::nt::{self, AtomicU8};

/// Connecting, Running, Closed: whether user code of a deferred half may run.
///
/// Only the deferred routines look at it, so that the ISR pays nothing.
///
/// An ISR may run, and queue its DPC, before `IoConnectInterruptEx` has returned, thus before
/// there is an interrupt object to synchronise with. Such a DPC *parks*: it leaves a mark and
/// returns, and the connecting thread queues it again once everything it needs is published.
#[derive(Debug)]
pub(super) struct Life(AtomicU8);

/// The connection is not published yet, and no DPC has come.
const CONNECTING: u8 = 0;
/// The connection is not published yet, and a DPC waits for it.
const PARKED: u8 = 1;
/// Connected: the deferred half runs whenever it is queued.
const RUNNING: u8 = 2;
/// Being torn down: the deferred half runs no more.
const CLOSED: u8 = 3;

impl Life {
    /// A life that begins: Connecting.
    #[cfg_attr(
        not(wdm_interrupt_loom),
        expect(clippy::missing_const_for_fn, reason = "an atomic of loom's is not made in one")
    )]
    pub(super) fn new() -> Self {
        Self(AtomicU8::new(CONNECTING))
    }

    /// Asked by a deferred routine: may user code run now?
    ///
    /// `true` also means that everything written before [`open`](Self::open) is visible. `false`
    /// means that the run is parked, or that it is not wanted any more.
    #[inline]
    pub(super) fn may_run(&self) -> bool {
        // Between connecting and the teardown every run finds this, for which a load is enough.
        self.0.load(Ordering::Acquire) == RUNNING || self.may_still_run()
    }

    /// The same, of a life that has not begun, or has ended.
    #[cold]
    fn may_still_run(&self) -> bool {
        // One step decides and leaves the mark. Were they two, `open` could come between them and
        // the parked DPC would be lost.
        // The mark is a release, because whoever finds it asks for another run: were it seen before
        // this run's own beginning, the work item would still look queued, and nobody would run it.
        let before =
            self.0.compare_exchange(CONNECTING, PARKED, Ordering::AcqRel, Ordering::Acquire);
        before == Err(RUNNING)
    }

    /// Connecting to Running; publishes what was written before.
    ///
    /// Returns whether a DPC has parked, which the caller then queues again.
    #[must_use = "a parked DPC is lost unless it is queued again"]
    pub(super) fn open(&self) -> bool {
        self.0.swap(RUNNING, Ordering::AcqRel) == PARKED
    }

    /// To Closed. A deferred routine that has already been let in may still be running.
    pub(super) fn close(&self) {
        self.0.store(CLOSED, Ordering::Release);
    }
}

/// A KDPC, and the life of the deferred half that it runs.
#[repr(C)]
pub(super) struct LiveDpc {
    life: Life,
    /// The kernel's to touch, once it is initialised.
    dpc: UnsafeCell<nt::KDPC>,
}

impl LiveDpc {
    /// Begins a life. The KDPC is left as it is, zeroed, for the kernel to initialise.
    ///
    /// # Safety
    ///
    /// `place` is valid for writing, and zeroed.
    pub(super) unsafe fn lay_out(place: *mut Self) {
        // SAFETY: within the place.
        let life = unsafe { &raw mut (*place).life };
        // SAFETY: valid for writing (caller).
        unsafe { life.write(Life::new()) };
    }

    pub(super) const fn as_ptr(&self) -> *mut nt::KDPC {
        self.dpc.get()
    }

    /// As [`Life::may_run`].
    #[inline]
    pub(super) fn may_run(&self) -> bool {
        self.life.may_run()
    }

    /// Lets user code run, and publishes what was written before. A DPC that parked is queued again.
    ///
    /// # Safety
    ///
    /// The KDPC is initialised, and stays until it has been [removed](Self::remove).
    pub(super) unsafe fn open(&self) {
        if self.life.open() {
            // SAFETY: initialised (caller). What was published is visible to it, because it was
            // opened after.
            unsafe { super::queue(self.dpc.get()) };
        }
    }

    /// As [`Life::close`].
    pub(super) fn close(&self) {
        self.life.close();
    }

    /// Takes it off the queue. It may still run until the DPCs have been flushed.
    ///
    /// # Safety
    ///
    /// The KDPC is initialised. Closed, or never opened: what is lost runs no user code.
    pub(super) unsafe fn remove(&self) {
        // SAFETY: initialised (caller).
        unsafe { nt::KeRemoveQueueDpc(self.dpc.get()) };
    }
}
