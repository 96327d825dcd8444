//! IRPs, device objects, and what a driver does while it has them.

use core::ptr;
use core::sync::atomic::Ordering;

use wdk_sys::{
    _EVENT_TYPE, _KWAIT_REASON, DO_DEVICE_INITIALIZING, IO_REMOVE_LOCK, KEVENT, KSPIN_LOCK,
    PDEVICE_OBJECT, PIRP, SL_PENDING_RETURNED, STATUS_UNSUCCESSFUL,
    ntddk::{
        IoAllocateIrp, IoDeleteDevice, IoFreeIrp, IoInitializeRemoveLockEx, IoReleaseRemoveLockEx,
        IofCallDriver, IofCompleteRequest, KeAcquireSpinLockRaiseToDpc, KeInitializeEvent,
        KeWaitForSingleObject,
    },
};

use super::raise_to_dispatch_level;
use crate::device::{Device, FALSE, KERNEL_MODE, TRUE, stack_location};

/// Breaks `DeviceInitializing`.
pub(super) fn leaves_its_device_initializing(device: &Device) {
    let object = device.object.load(Ordering::Relaxed);
    // SAFETY: breaks the rule: AddDevice clears it.
    unsafe { (*object).Flags |= DO_DEVICE_INITIALIZING };
}

/// Breaks `Wait`.
pub(super) fn waits_at_dispatch_level(_: &Device) {
    let mut event = KEVENT::default();
    // SAFETY: memory of an event, which is here.
    unsafe { KeInitializeEvent(&raw mut event, _EVENT_TYPE::NotificationEvent, TRUE) };
    raise_to_dispatch_level();
    // SAFETY: breaks the rule: at APC_LEVEL at most.
    let _status = unsafe {
        KeWaitForSingleObject(
            (&raw mut event).cast(),
            _KWAIT_REASON::Executive,
            KERNEL_MODE,
            FALSE,
            ptr::null_mut(),
        )
    };
}

/// Breaks `Deadlock`.
pub(super) fn acquires_a_lock_twice(_: &Device) {
    let mut lock: KSPIN_LOCK = 0;
    // SAFETY: an initialised lock, which is here.
    let _before = unsafe { KeAcquireSpinLockRaiseToDpc(&raw mut lock) };
    // SAFETY: breaks the rule: this processor holds it.
    let _before = unsafe { KeAcquireSpinLockRaiseToDpc(&raw mut lock) };
}

/// Breaks `IrpCompletion`.
pub(super) fn completes_twice(device: &Device) {
    // SAFETY: breaks the rule: it was just completed.
    unsafe { IofCompleteRequest(device.irp.load(Ordering::Relaxed), 0) };
}

/// Breaks `DispatchState`.
pub(super) fn returns_at_raised_irql(_: &Device) {
    raise_to_dispatch_level();
}

/// Breaks `DeviceObject`.
pub(super) fn deletes_an_attached_device(device: &Device) {
    // SAFETY: breaks the rule: it is attached to the lower device.
    unsafe { IoDeleteDevice(device.object.load(Ordering::Relaxed)) };
}

/// Breaks `IrpPending`.
pub(super) fn marks_pending_and_returns_success(device: &Device) {
    #[expect(clippy::cast_possible_truncation, reason = "bit 0")]
    const PENDING_RETURNED: u8 = SL_PENDING_RETURNED as u8;

    let stack = stack_location(device.irp.load(Ordering::Relaxed));
    // SAFETY: breaks the rule: the dispatch routine does not return STATUS_PENDING.
    unsafe { (*stack).Control |= PENDING_RETURNED };
}

/// Sets a cancel routine in the START.
fn set_cancel_routine(device: &Device) -> PIRP {
    const unsafe extern "C" fn nothing(_: PDEVICE_OBJECT, _: PIRP) {}

    let irp = device.irp.load(Ordering::Relaxed);
    // SAFETY: the IRP is this driver's.
    unsafe { (*irp).CancelRoutine = Some(nothing) };
    irp
}

/// Breaks `IrpCancel`: it is still set at the end of START.
pub(super) fn completes_with_a_cancel_routine(device: &Device) {
    set_cancel_routine(device);
}

/// Breaks `IrpCancel`.
pub(super) fn passes_down_with_a_cancel_routine(device: &Device) {
    let irp = set_cancel_routine(device);
    // SAFETY: breaks the rule: the routine is still set.
    let _status = unsafe { IofCallDriver(device.physical.load(Ordering::Relaxed), irp) };
}

/// Breaks `IrpStack`.
pub(super) fn sends_an_irp_without_stack_locations(device: &Device) {
    // SAFETY: legal at this IRQL.
    let irp = unsafe { IoAllocateIrp(0, 0) };
    // SAFETY: breaks the rule: the IRP has no location for that driver.
    let _status = unsafe { IofCallDriver(device.physical.load(Ordering::Relaxed), irp) };
}

/// Breaks `IrpFreed`.
pub(super) fn frees_an_irp_twice(_: &Device) {
    // SAFETY: legal at this IRQL.
    let irp = unsafe { IoAllocateIrp(1, 0) };
    // SAFETY: just made, and given to nobody.
    unsafe { IoFreeIrp(irp) };
    // SAFETY: breaks the rule: it is gone.
    unsafe { IoFreeIrp(irp) };
}

/// Breaks `IrpFreed`.
pub(super) fn writes_to_an_irp_that_it_freed(_: &Device) {
    // SAFETY: legal at this IRQL.
    let irp = unsafe { IoAllocateIrp(1, 0) };
    // SAFETY: just made, and given to nobody.
    unsafe { IoFreeIrp(irp) };
    // SAFETY: breaks the rule: it is gone.
    unsafe { irp.cast::<u8>().write_volatile(1) };
}

/// Breaks `RemoveLock`.
pub(super) fn releases_a_remove_lock_that_it_does_not_hold(_: &Device) {
    #[expect(clippy::cast_possible_truncation, reason = "32 bytes")]
    const SIZE: u32 = size_of::<IO_REMOVE_LOCK>() as u32;

    let mut lock = IO_REMOVE_LOCK::default();
    // SAFETY: memory of a remove lock, which is here.
    unsafe { IoInitializeRemoveLockEx(&raw mut lock, 1, 0, 0, SIZE) };
    // SAFETY: breaks the rule: it was not acquired.
    unsafe { IoReleaseRemoveLockEx(&raw mut lock, ptr::null_mut(), SIZE) };
}

/// Breaks `PnpStatus`: REMOVE must succeed.
pub(super) fn fails_its_removal(device: &Device) {
    device.outcome.store(STATUS_UNSUCCESSFUL, Ordering::Relaxed);
}

/// A bug check.
pub(super) fn panics(_: &Device) {
    panic!("on purpose");
}
