//! What the routines of a test wait for.

use std::cell::UnsafeCell;
use std::ptr;
use std::time::{Duration, Instant};

use wdm_interrupt_model::host::kernel;
use wdm_interrupt_model::nt;

/// An event of the kernel's, at first not set. Waiting for it takes a thread that may wait, and
/// the model checks that it is in one.
#[derive(Clone, Copy)]
pub(crate) struct Gate(&'static Event);

#[derive(Default)]
struct Event(UnsafeCell<nt::KEVENT>);

// SAFETY: the kernel's calls are what is done with it.
unsafe impl Sync for Event {}

impl Gate {
    pub(crate) fn new() -> Self {
        let event: &Event = Box::leak(Box::default());
        let kind = nt::_EVENT_TYPE::NotificationEvent;
        // SAFETY: it is in place.
        unsafe { kernel::KeInitializeEvent(event.0.get(), kind, 0) };
        Self(event)
    }

    /// Lets all through, from now on.
    pub(crate) fn open(&self) {
        // SAFETY: an initialised event.
        unsafe { kernel::KeSetEvent(self.0.0.get(), 0, 0) };
    }

    /// Waits until it is open.
    pub(crate) fn pass(&self) {
        let reason = nt::_KWAIT_REASON::Executive;
        let event = self.0.0.get().cast();
        // SAFETY: an initialised event; whether this is the place to wait is for the model to say.
        let status = unsafe { kernel::KeWaitForSingleObject(event, reason, 0, 0, ptr::null_mut()) };
        assert_eq!(status, nt::STATUS_SUCCESS);
    }
}

/// Waits as a DPC or an ISR must: without a call to the kernel.
///
/// # Panics
///
/// After 20 seconds.
pub(crate) fn spin_until(mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(20), "nobody came");
        std::thread::yield_now();
    }
}

/// Does something when it is dropped, also by a failed assertion: stops the threads of a scope.
pub(crate) struct OnDrop<F: FnMut()>(pub(crate) F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}
