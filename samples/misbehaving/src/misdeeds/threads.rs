//! Threads: waiting, work items, threaded DPCs, passive-level interrupts.
//!
//! Some are no misdeeds where they are allowed: a passive-level service routine may wait.

use core::ptr;
use core::sync::atomic::{AtomicBool, Ordering};

use wdk_sys::{
    _EVENT_TYPE, _KWAIT_REASON, _WORK_QUEUE_TYPE, FAST_MUTEX, KDPC, KEVENT, LARGE_INTEGER,
    PDEVICE_OBJECT, PKDEFERRED_ROUTINE, PKDPC, PVOID,
    ntddk::{
        ExAcquireFastMutex, IoAllocateWorkItem, IoFreeWorkItem, IoQueueWorkItem,
        KeAcquireInterruptSpinLock, KeDelayExecutionThread, KeFlushQueuedDpcs, KeGetCurrentIrql,
        KeInitializeDpc, KeInitializeEvent, KeInitializeMutex, KeInitializeThreadedDpc,
        KeInsertQueueDpc, KeSetEvent, KeWaitForSingleObject,
    },
};

use super::raise_to_dispatch_level;
use crate::device::{Device, FALSE, KERNEL_MODE};

/// A millisecond, relative, in units of 100 ns.
const MILLISECOND: LARGE_INTEGER = LARGE_INTEGER { QuadPart: -10_000 };

/// Breaks `Irql`: it is a wait.
pub(super) fn delays_at_dispatch_level(_: &Device) {
    let mut pause = MILLISECOND;
    raise_to_dispatch_level();
    // SAFETY: breaks the rule: at APC_LEVEL at most.
    let _status = unsafe { KeDelayExecutionThread(KERNEL_MODE, FALSE, &raw mut pause) };
}

/// Waits for an object; `timeout` may be NULL.
fn wait(object: PVOID, timeout: *mut LARGE_INTEGER) {
    // SAFETY: an initialised object, which the caller keeps; some misdeeds call it where waiting is not
    // allowed.
    let _status = unsafe {
        KeWaitForSingleObject(object, _KWAIT_REASON::Executive, KERNEL_MODE, FALSE, timeout)
    };
}

/// Breaks `Wait`, with a mutex.
pub(super) fn waits_for_a_mutex_at_dispatch_level(_: &Device) {
    let mut mutex = wdk_sys::KMUTEX::default();
    // SAFETY: memory of a mutex, which is here.
    unsafe { KeInitializeMutex(&raw mut mutex, 0) };
    raise_to_dispatch_level();
    wait((&raw mut mutex).cast(), ptr::null_mut());
}

/// Breaks `Wait`: it would wait for ever.
pub(super) fn acquires_a_fast_mutex_twice(_: &Device) {
    let mut mutex = FAST_MUTEX { Count: 1, ..FAST_MUTEX::default() };
    for _ in 0..2 {
        // SAFETY: an initialised mutex, which is here; breaks the rule the second time.
        unsafe { ExAcquireFastMutex(&raw mut mutex) };
    }
}

/// Breaks `IrqlWait`, unless the interrupt is a passive-level one.
pub(super) fn waits_in_its_service_routine(_: &Device) {
    let (mut event, mut pause) = (KEVENT::default(), MILLISECOND);
    // SAFETY: memory of an event, which is here.
    unsafe { KeInitializeEvent(&raw mut event, _EVENT_TYPE::NotificationEvent, FALSE) };
    wait((&raw mut event).cast(), &raw mut pause);
}

/// Sets the event that is its context.
unsafe extern "C" fn set(_: PDEVICE_OBJECT, event: PVOID) {
    // SAFETY: who queued this waits for the event, and keeps it until then.
    let _before = unsafe { KeSetEvent(event.cast(), 0, FALSE) };
}

/// Breaks `IrqlDispatch`, unless the interrupt is a passive-level one: another thread has to run.
pub(super) fn waits_for_a_work_item_in_its_service_routine(device: &Device) {
    let mut event = KEVENT::default();
    // SAFETY: memory of an event, which is here.
    unsafe { KeInitializeEvent(&raw mut event, _EVENT_TYPE::NotificationEvent, FALSE) };
    // SAFETY: the driver's own device object.
    let item = unsafe { IoAllocateWorkItem(device.object.load(Ordering::Relaxed)) };
    let queue = _WORK_QUEUE_TYPE::DelayedWorkQueue;
    // SAFETY: the event stays until it is set, since it is waited for.
    unsafe { IoQueueWorkItem(item, Some(set), queue, (&raw mut event).cast()) };
    wait((&raw mut event).cast(), ptr::null_mut());
    // SAFETY: its routine has begun, so it is not queued any more.
    unsafe { IoFreeWorkItem(item) };
    wdk::println!("misbehaving: a work item ran while the service routine waited");
}

/// Breaks `WorkItemState`.
pub(super) fn frees_a_queued_work_item(device: &Device) {
    const unsafe extern "C" fn nothing(_: PDEVICE_OBJECT, _: PVOID) {}

    // Another processor may be so quick that the routine has begun, which makes it legal.
    for _ in 0..1_000 {
        // SAFETY: the driver's own device object.
        let item = unsafe { IoAllocateWorkItem(device.object.load(Ordering::Relaxed)) };
        let queue = _WORK_QUEUE_TYPE::DelayedWorkQueue;
        // SAFETY: the driver's own item, which is not queued.
        unsafe { IoQueueWorkItem(item, Some(nothing), queue, ptr::null_mut()) };
        // SAFETY: breaks the rule, unless the routine has begun.
        unsafe { IoFreeWorkItem(item) };
    }
}

/// Breaks `LeftBehind`.
pub(super) fn leaves_a_work_item_behind(device: &Device) {
    // SAFETY: the driver's own device object.
    let _forgotten = unsafe { IoAllocateWorkItem(device.object.load(Ordering::Relaxed)) };
}

/// Breaks `PassiveInterruptLock`, if the interrupt is a passive-level one.
pub(super) fn acquires_the_spin_lock_of_its_interrupt(device: &Device) {
    let interrupt = device.interrupt.load(Ordering::Relaxed);
    // SAFETY: connected; the lock of a passive-level interrupt is no spin lock.
    let _before = unsafe { KeAcquireInterruptSpinLock(interrupt) };
}

/// Has a threaded DPC run, and waits until it has.
fn run_threaded(routine: PKDEFERRED_ROUTINE) {
    let mut dpc = KDPC::default();
    // SAFETY: memory of a KDPC, which is here until it has run.
    unsafe { KeInitializeThreadedDpc(&raw mut dpc, routine, ptr::null_mut()) };
    // SAFETY: initialised.
    let _new = unsafe { KeInsertQueueDpc(&raw mut dpc, ptr::null_mut(), ptr::null_mut()) };
    // SAFETY: PASSIVE_LEVEL.
    unsafe { KeFlushQueuedDpcs() };
}

/// No misdeed: tells at what IRQL it runs, and whether another DPC runs meanwhile.
pub(super) fn runs_a_threaded_dpc(_: &Device) {
    static RAN: AtomicBool = AtomicBool::new(false);

    unsafe extern "C" fn other(_: PKDPC, _: PVOID, _: PVOID, _: PVOID) {
        RAN.store(true, Ordering::Relaxed);
    }

    unsafe extern "C" fn tell(_: PKDPC, _: PVOID, _: PVOID, _: PVOID) {
        let mut dpc = KDPC::default();
        // SAFETY: legal at any IRQL.
        let irql = unsafe { KeGetCurrentIrql() };
        wdk::println!("misbehaving: a threaded DPC runs at IRQL {irql}");
        if irql != 0 {
            return;
        }
        // SAFETY: memory of a KDPC, which is here until it has run.
        unsafe { KeInitializeDpc(&raw mut dpc, Some(other), ptr::null_mut()) };
        // SAFETY: initialised.
        let _new = unsafe { KeInsertQueueDpc(&raw mut dpc, ptr::null_mut(), ptr::null_mut()) };
        while !RAN.load(Ordering::Relaxed) {
            core::hint::spin_loop();
        }
        wdk::println!("misbehaving: a DPC ran meanwhile");
    }

    run_threaded(Some(tell));
}

/// Breaks `FlushInDpc`.
pub(super) fn flushes_dpcs_in_a_threaded_dpc(_: &Device) {
    unsafe extern "C" fn flush(_: PKDPC, _: PVOID, _: PVOID, _: PVOID) {
        // SAFETY: breaks the rule: it waits for itself.
        unsafe { KeFlushQueuedDpcs() };
    }

    run_threaded(Some(flush));
}

/// Breaks `IrqlWait`: a threaded DPC is under the rules of DPCs.
pub(super) fn waits_in_a_threaded_dpc(_: &Device) {
    unsafe extern "C" fn delay(_: PKDPC, _: PVOID, _: PVOID, _: PVOID) {
        let (mut event, mut pause) = (KEVENT::default(), MILLISECOND);
        // SAFETY: memory of an event, which is here.
        unsafe { KeInitializeEvent(&raw mut event, _EVENT_TYPE::NotificationEvent, FALSE) };
        wait((&raw mut event).cast(), &raw mut pause);
    }

    run_threaded(Some(delay));
}
