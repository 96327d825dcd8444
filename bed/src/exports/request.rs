//! Requests: passing down, completing, cancelling; remove locks.

use wdm_interrupt_model::nt::{
    BOOLEAN, IO_REMOVE_LOCK, KIRQL, NTSTATUS, PDEVICE_OBJECT, PIRP, PVOID,
};

use crate::io::{irp, remove_lock};
use crate::kernel::cancel_lock;

super::exports! {
    fn IofCallDriver(device: PDEVICE_OBJECT, irp: PIRP) -> NTSTATUS {
        // SAFETY: the driver's promise: it has the IRP.
        unsafe { irp::call(device, irp) }
    }

    can_fail(no) fn IoForwardIrpSynchronously(device: PDEVICE_OBJECT, irp: PIRP) -> BOOLEAN {
        // SAFETY: the driver's promise: it has the IRP.
        u8::from(unsafe { irp::forward_and_wait(device, irp) })
    }

    fn IofCompleteRequest(irp: PIRP, _boost: i8) {
        // SAFETY: the driver's promise: it has the IRP and gives it up.
        unsafe { irp::finish(irp) }
    }

    can_fail(null) fn IoAllocateIrp(stack_size: i8, _charge_quota: BOOLEAN) -> PIRP {
        irp::allocate(stack_size, None)
    }

    fn IoFreeIrp(irp: PIRP) {
        irp::free(irp);
    }

    fn IoCancelIrp(irp: PIRP) -> BOOLEAN {
        // SAFETY: the driver's promise: the IRP stays.
        u8::from(unsafe { irp::cancel(irp) })
    }

    fn IoAcquireCancelSpinLock(irql: *mut KIRQL) {
        let before = cancel_lock::acquire();
        // SAFETY: the driver gives memory for the IRQL.
        unsafe { irql.write(before) };
    }

    fn IoReleaseCancelSpinLock(irql: KIRQL) {
        cancel_lock::release(irql);
    }

    fn IoInitializeRemoveLockEx(
        lock: *mut IO_REMOVE_LOCK,
        _tag: u32,
        _minutes: u32,
        _mark: u32,
        _size: u32,
    ) {
        // SAFETY: the driver's promise: memory of a remove lock.
        unsafe { remove_lock::initialise(lock) }
    }

    can_fail(status) fn IoAcquireRemoveLockEx(
        lock: *mut IO_REMOVE_LOCK,
        tag: PVOID,
        _file: *const u8,
        _line: u32,
        _size: u32,
    ) -> NTSTATUS {
        crate::verify::at_most(2, "IoAcquireRemoveLockEx");
        // SAFETY: the driver's promise: an initialised lock.
        unsafe { remove_lock::acquire(lock, tag.addr()) }
    }

    fn IoReleaseRemoveLockEx(lock: *mut IO_REMOVE_LOCK, tag: PVOID, _size: u32) {
        crate::verify::at_most(2, "IoReleaseRemoveLockEx");
        // SAFETY: the driver's promise: an initialised lock.
        unsafe { remove_lock::release(lock, tag.addr()) }
    }

    fn IoReleaseRemoveLockAndWaitEx(lock: *mut IO_REMOVE_LOCK, tag: PVOID, _size: u32) {
        // SAFETY: the driver's promise: an initialised lock.
        unsafe { remove_lock::release_and_wait(lock, tag.addr()) }
    }
}
