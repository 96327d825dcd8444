//! What can be waited for: mutexes and semaphores, and the bed's own events; drivers' events are the model's.
//! A thread that waits looks again and again, and lets others run meanwhile.

use core::sync::atomic::{AtomicI32, Ordering};

use wdm_interrupt_model::nt::{
    APC_LEVEL, DISPATCH_LEVEL, DISPATCHER_HEADER, DISPATCHER_TYPE, KEVENT, NTSTATUS, PVOID,
    STATUS_SUCCESS, STATUS_TIMEOUT,
};

use crate::verify::{Rule, at_most, broken};
use crate::{irql, smp, time};

/// The kind of an object, and its state, which are all that the bed uses of it.
struct Waitable {
    kind: u8,
    state: &'static AtomicI32,
}

impl Waitable {
    /// # Safety
    ///
    /// `object` begins with an initialised dispatcher header and stays while it is used.
    unsafe fn new(object: PVOID) -> Self {
        let header = object.cast::<DISPATCHER_HEADER>();
        // SAFETY: the caller vouches for the header; the kind never changes.
        let kind = unsafe { *header.cast::<u8>() };
        // SAFETY: the caller vouches for the header.
        let state = unsafe { &raw mut (*header).SignalState };
        // SAFETY: as above; the state is only accessed atomically.
        let state = unsafe { AtomicI32::from_ptr(state) };
        Self { kind, state }
    }

    /// Takes what a satisfied wait takes; false if there is nothing to take.
    fn take(&self) -> bool {
        if self.kind == DISPATCHER_TYPE::EventNotificationObject {
            return self.state.load(Ordering::Acquire) > 0;
        }
        self.state
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |state| {
                (state > 0).then(|| state - 1)
            })
            .is_ok()
    }
}

/// What `KeInitializeEvent` does.
///
/// # Safety
///
/// `event` is memory of an event's size.
pub(crate) unsafe fn initialise(event: *mut KEVENT, kind: u8, signalled: bool) {
    // SAFETY: the caller vouches for the memory.
    let header = unsafe { &raw mut (*event).Header };
    // SAFETY: as above.
    unsafe { initialise_header(header, kind, i32::from(signalled)) };
}

/// Initialises the part that every object to wait for begins with.
///
/// # Safety
///
/// `header` is memory of a header's size.
pub(crate) unsafe fn initialise_header(header: *mut DISPATCHER_HEADER, kind: u8, state: i32) {
    // SAFETY: the caller vouches for the memory; only its address is taken.
    let list = unsafe { &raw mut (*header).WaitListHead };
    let value = DISPATCHER_HEADER {
        Lock: i32::from(kind),
        SignalState: state,
        WaitListHead: wdm_interrupt_model::nt::LIST_ENTRY { Flink: list, Blink: list },
    };
    // SAFETY: the caller vouches for the memory.
    unsafe { header.write(value) };
}

/// What `KeSetEvent` does; returns whether it was set already.
///
/// # Safety
///
/// The event was initialised.
pub(crate) unsafe fn set(event: *mut KEVENT) -> i32 {
    at_most(DISPATCH_LEVEL as u8, "KeSetEvent");
    // SAFETY: the caller vouches for the event.
    unsafe { Waitable::new(event.cast()) }.state.swap(1, Ordering::AcqRel)
}

/// What `KeResetEvent` does; returns whether it was set.
///
/// # Safety
///
/// The event was initialised.
pub(crate) unsafe fn reset(event: *mut KEVENT) -> i32 {
    at_most(DISPATCH_LEVEL as u8, "KeResetEvent");
    // SAFETY: the caller vouches for the event.
    unsafe { Waitable::new(event.cast()) }.state.swap(0, Ordering::AcqRel)
}

/// Whether an object that can be waited for is an event.
///
/// # Safety
///
/// The object begins with a dispatcher header.
pub(crate) const unsafe fn is_event(object: PVOID) -> bool {
    // SAFETY: the kind is the header's first byte.
    let kind = unsafe { object.cast::<u8>().read() };
    matches!(
        kind,
        DISPATCHER_TYPE::EventNotificationObject | DISPATCHER_TYPE::EventSynchronizationObject
    )
}

/// Gives back what waits take: a mutex, or so many of a semaphore; returns the state before.
///
/// # Safety
///
/// The object was initialised.
pub(crate) unsafe fn release(object: PVOID, count: i32) -> i32 {
    // SAFETY: the caller vouches for the object.
    unsafe { Waitable::new(object) }.state.fetch_add(count, Ordering::AcqRel)
}

/// A timeout in the kernel's terms as a time stamp: relative if negative, 100 ns each.
pub(crate) fn deadline(timeout: i64) -> u64 {
    let hundreds = timeout.unsigned_abs();
    time::now() + time::microseconds(hundreds.div_ceil(10))
}

/// What `KeWaitForSingleObject` does.
///
/// # Safety
///
/// The object begins with an initialised dispatcher header and stays until this returns.
pub(crate) unsafe fn wait_for(object: PVOID, timeout: Option<i64>) -> NTSTATUS {
    const CALL: &str = "KeWaitForSingleObject";
    // SAFETY: the caller vouches for the object.
    let object = unsafe { Waitable::new(object) };
    if timeout == Some(0) {
        at_most(DISPATCH_LEVEL as u8, CALL);
        return if object.take() { STATUS_SUCCESS } else { STATUS_TIMEOUT };
    }
    if u32::from(irql::current()) > APC_LEVEL {
        broken(Rule::Wait, CALL, format_args!("the timeout is {timeout:?}"));
    }
    let end = timeout.map(deadline);
    loop {
        if object.take() {
            return STATUS_SUCCESS;
        }
        if end.is_some_and(|end| time::now() >= end) {
            return STATUS_TIMEOUT;
        }
        smp::relax_passive();
    }
}

/// Waits for an event.
///
/// # Safety
///
/// As for [`wait_for`].
pub(crate) unsafe fn wait(event: *mut KEVENT, timeout: Option<i64>) -> NTSTATUS {
    // SAFETY: the caller vouches for the event.
    unsafe { wait_for(event.cast(), timeout) }
}
