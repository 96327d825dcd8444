//! Events, mutexes, waiting, time.

use core::sync::atomic::{AtomicI32, Ordering};

use wdm_interrupt_model::nt::{
    BOOLEAN, DISPATCHER_TYPE, FAST_MUTEX, KEVENT, KMUTANT, LARGE_INTEGER, NTSTATUS, PVOID,
    STATUS_SUCCESS,
};

use crate::kernel::EXECUTIVE;
use crate::kernel::event;
use crate::verify::{Rule, at_most, broken};
use crate::{irql, smp, threads, time};

/// The value of a driver's timeout, if it gives one.
///
/// # Safety
///
/// `timeout` is NULL or points to a timeout.
unsafe fn timeout(timeout: *const LARGE_INTEGER) -> Option<i64> {
    // SAFETY: the caller vouches for the pointer.
    let timeout = unsafe { timeout.as_ref() }?;
    // SAFETY: all members are the same 64 bits.
    Some(unsafe { timeout.QuadPart })
}

/// What stands for the current thread.
fn thread() -> PVOID {
    core::ptr::without_provenance_mut(threads::current().number())
}

super::exports! {
    fn KeInitializeEvent(event: *mut KEVENT, kind: i32, state: BOOLEAN) {
        // SAFETY: the driver gives memory for the event.
        unsafe { EXECUTIVE.ke_initialize_event(event, kind, state) }
    }

    fn KeSetEvent(event: *mut KEVENT, increment: i32, wait: BOOLEAN) -> i32 {
        // SAFETY: the driver's promise: an initialised event.
        unsafe { EXECUTIVE.ke_set_event(event, increment, wait) }
    }

    fn KeClearEvent(event: *mut KEVENT) {
        // SAFETY: the driver's promise: an initialised event.
        unsafe { EXECUTIVE.ke_clear_event(event) };
    }

    fn KeResetEvent(event: *mut KEVENT) -> i32 {
        // SAFETY: the driver's promise: an initialised event.
        unsafe { event::reset(event) }
    }

    fn KeReadStateEvent(event: *mut KEVENT) -> i32 {
        // SAFETY: the driver's promise: an initialised event.
        unsafe { EXECUTIVE.ke_read_state_event(event) }
    }

    can_fail(itself) fn KeWaitForSingleObject(
        object: PVOID,
        reason: i32,
        mode: i8,
        alertable: BOOLEAN,
        limit: *mut LARGE_INTEGER,
    ) -> NTSTATUS {
        // SAFETY: the driver's promise: an object that can be waited for.
        if unsafe { event::is_event(object) } {
            // SAFETY: the driver's promise: an initialised event, and NULL or a timeout.
            return unsafe {
                EXECUTIVE.ke_wait_for_single_object(object, reason, mode, alertable, limit)
            };
        }
        // SAFETY: the driver's promise: NULL or a timeout.
        let limit = unsafe { timeout(limit) };
        // SAFETY: the driver's promise: an object that can be waited for.
        unsafe { event::wait_for(object, limit) }
    }

    fn KeInitializeMutex(mutex: *mut KMUTANT, _level: u32) {
        // SAFETY: the driver gives memory for the mutex.
        let header = unsafe { &raw mut (*mutex).Header };
        // SAFETY: as above.
        unsafe { event::initialise_header(header, DISPATCHER_TYPE::MutantObject, 1) };
    }

    fn KeReleaseMutex(mutex: *mut KMUTANT, _wait: BOOLEAN) -> i32 {
        // SAFETY: the driver's promise: a mutex that it holds.
        unsafe { event::release(mutex.cast(), 1) }
    }

    fn KeInitializeSemaphore(semaphore: PVOID, count: i32, _limit: i32) {
        let header = semaphore.cast();
        // SAFETY: the driver gives memory for the semaphore.
        unsafe { event::initialise_header(header, DISPATCHER_TYPE::SemaphoreObject, count) };
    }

    fn KeReleaseSemaphore(semaphore: PVOID, _increment: i32, count: i32, _wait: BOOLEAN) -> i32 {
        // SAFETY: the driver's promise: an initialised semaphore.
        unsafe { event::release(semaphore, count) }
    }

    fn ExInitializeFastMutex(mutex: *mut FAST_MUTEX) {
        // SAFETY: the driver gives memory for the mutex.
        let object = unsafe { &mut *mutex };
        object.Count = 1;
        object.Owner = core::ptr::null_mut();
        object.Contention = 0;
        // SAFETY: the event is a member of the mutex.
        unsafe {
            event::initialise(&raw mut object.Event, DISPATCHER_TYPE::EventSynchronizationObject, false);
        }
    }

    fn ExAcquireFastMutex(mutex: *mut FAST_MUTEX) {
        const CALL: &str = "ExAcquireFastMutex";
        at_most(1, CALL);
        let before = irql::current();
        if before == 0 {
            EXECUTIVE.kf_raise_irql(1);
        }
        // SAFETY: the driver's promise: a fast mutex; drivers initialise it inline, so its count is the lock.
        let count = unsafe { &raw mut (*mutex).Count };
        // SAFETY: as above; while others can reach it, the member is only accessed atomically.
        let count = unsafe { AtomicI32::from_ptr(count) };
        // SAFETY: the owner is only compared with the current thread.
        if unsafe { (*mutex).Owner } == thread() {
            broken(Rule::Wait, CALL, format_args!("this thread has it already"));
        }
        let taken = Ordering::AcqRel;
        while count.compare_exchange(1, 0, taken, Ordering::Relaxed).is_err() {
            smp::relax_passive();
        }
        // SAFETY: this thread has the mutex.
        unsafe { (*mutex).Owner = thread() };
        // SAFETY: as above.
        unsafe { (*mutex).OldIrql = u32::from(before) };
    }

    fn ExReleaseFastMutex(mutex: *mut FAST_MUTEX) {
        // SAFETY: the driver's promise: it has the mutex.
        let before = unsafe { (*mutex).OldIrql } as u8;
        // SAFETY: as above.
        unsafe { (*mutex).Owner = core::ptr::null_mut() };
        // SAFETY: as above; the count is the lock.
        let count = unsafe { &raw mut (*mutex).Count };
        // SAFETY: as above; while others can reach it, the member is only accessed atomically.
        let count = unsafe { AtomicI32::from_ptr(count) };
        count.store(1, Ordering::Release);
        if before == 0 {
            EXECUTIVE.ke_lower_irql(0);
        }
    }

    fn KeEnterCriticalRegion() {}
    fn KeLeaveCriticalRegion() {}

    fn PsGetCurrentThread() -> PVOID {
        thread()
    }

    fn KeGetCurrentThread() -> PVOID {
        thread()
    }

    fn PsGetCurrentThreadId() -> PVOID {
        thread()
    }

    fn KeDelayExecutionThread(
        _mode: i8,
        _alertable: BOOLEAN,
        interval: *const LARGE_INTEGER,
    ) -> NTSTATUS {
        at_most(1, "KeDelayExecutionThread");
        // SAFETY: the driver's promise: an interval.
        let interval = unsafe { timeout(interval) };
        let end = event::deadline(interval.unwrap_or_default());
        while time::now() < end {
            smp::nap();
        }
        STATUS_SUCCESS
    }

    fn KeStallExecutionProcessor(microseconds: u32) {
        time::stall(u64::from(microseconds));
    }

    fn KeQueryPerformanceCounter(frequency: *mut i64) -> i64 {
        if !frequency.is_null() {
            // SAFETY: the driver gives NULL or memory for it.
            unsafe { frequency.write(time::frequency() as i64) };
        }
        time::now() as i64
    }

    fn KeQueryInterruptTime() -> u64 {
        time::hundreds_of_nanoseconds()
    }

    fn KeQueryTimeIncrement() -> u32 {
        156_250
    }
}
