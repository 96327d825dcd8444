//! Power: the device sleeps and wakes up with the system.
//!
//! The driver is the device's power policy owner: when the system goes to sleep it sends the
//! device to D3, when the system wakes up to D0. Down, the device is silenced first and the lower
//! drivers are told then; up, it is the other way round.
//!
//! The dispatch routine runs at `PASSIVE_LEVEL`, the completion routines at up to `DISPATCH_LEVEL`.
//! A function is woken up at `PASSIVE_LEVEL`, by a work item: a passive-level interrupt takes that,
//! and nobody may wait in a power IRP's dispatch routine for the lower drivers to power the device.

use core::ptr::{self, NonNull};

use wdk_sys::{
    _DEVICE_POWER_STATE, _IO_STATUS_BLOCK, _POWER_STATE_TYPE, _SYSTEM_POWER_STATE,
    _WORK_QUEUE_TYPE, DEVICE_POWER_STATE, IRP_MN_QUERY_POWER, IRP_MN_SET_POWER, NT_SUCCESS,
    NTSTATUS, PDEVICE_OBJECT, PIRP, POWER_STATE, PVOID, STATUS_MORE_PROCESSING_REQUIRED,
    STATUS_SUCCESS, UCHAR,
    ntddk::{IoQueueWorkItem, PoRequestPowerIrp, PoSetPowerState},
};

use crate::device::Device;
use crate::function::Function;
use crate::irp::{Irp, current_stack_location, io_status};

/// `IRP_MJ_POWER`. `PASSIVE_LEVEL`, because the device object says `DO_POWER_PAGABLE`.
///
/// # Safety
///
/// For the I/O manager only.
pub(crate) unsafe extern "C" fn power<F: Function>(object: PDEVICE_OBJECT, irp: PIRP) -> NTSTATUS {
    // SAFETY: the I/O manager calls with a device of this driver, which the IRP keeps.
    let device = unsafe { Device::<F>::of(object) };
    // SAFETY: the argument of a dispatch routine.
    let mut irp = match unsafe { Irp::receive(irp, &device.removal) } {
        Ok(irp) => irp,
        Err(status) => return status,
    };
    match irp.minor() {
        IRP_MN_SET_POWER => {
            // SAFETY: the member that a SET_POWER has.
            let wanted = unsafe { irp.stack().Parameters.Power };
            let routine = if wanted.Type == _POWER_STATE_TYPE::SystemPowerState {
                system_forwarded::<F>
            } else {
                // SAFETY: the member that goes with DevicePowerState.
                let state = unsafe { wanted.State.DeviceState };
                if state != _DEVICE_POWER_STATE::PowerDeviceD0 {
                    device.with(|function| function.map(F::sleep).unwrap_or_default());
                    set_power_state(object, state);
                    irp.set_status(STATUS_SUCCESS);
                    return irp.forward(device.lower());
                }
                powered_up::<F>
            };
            // SAFETY: the lower drivers first; the routine takes the IRP back.
            unsafe { irp.forward_then(device.lower(), Some(routine), ptr::null_mut()) }
        }
        IRP_MN_QUERY_POWER => {
            irp.set_status(STATUS_SUCCESS);
            irp.forward(device.lower())
        }
        _ => irp.forward(device.lower()),
    }
}

/// Completion routine of a `SET_POWER` to D0, at up to `DISPATCH_LEVEL`: the lower drivers have
/// powered the device.
unsafe extern "C" fn powered_up<F: Function>(
    object: PDEVICE_OBJECT,
    irp: PIRP,
    _context: PVOID,
) -> NTSTATUS {
    // SAFETY: a device of this driver, which the IRP's remove lock keeps.
    let device = unsafe { Device::<F>::of(object) };
    let queue = _WORK_QUEUE_TYPE::DelayedWorkQueue;
    // SAFETY: the power manager has one device IRP at a time outstanding, so the item is not
    // queued; the routine gets the IRP, which is this driver's again.
    unsafe { IoQueueWorkItem(device.waker.as_ptr(), Some(wake::<F>), queue, irp.cast()) };
    STATUS_MORE_PROCESSING_REQUIRED
}

/// Wakes the function up and completes the IRP. `PASSIVE_LEVEL`.
unsafe extern "C" fn wake<F: Function>(object: PDEVICE_OBJECT, irp: PVOID) {
    // SAFETY: a device of this driver, which the IRP's remove lock keeps.
    let device = unsafe { Device::<F>::of(object) };
    // SAFETY: `powered_up` gives the IRP.
    let raw = unsafe { NonNull::new_unchecked(irp.cast()) };
    // SAFETY: given away by `powered_up` to this routine.
    let irp = unsafe { Irp::from_raw(raw, &device.removal) };
    // SAFETY: the IRP is this driver's.
    let status = unsafe { io_status(raw) };
    if NT_SUCCESS(status) {
        set_power_state(object, _DEVICE_POWER_STATE::PowerDeviceD0);
        device.with(|function| function.map(F::wake).unwrap_or_default());
    }
    irp.complete(status, 0);
}

/// Completion routine of a system `SET_POWER`, at up to `DISPATCH_LEVEL`: the lower drivers know,
/// now the device follows.
unsafe extern "C" fn system_forwarded<F: Function>(
    object: PDEVICE_OBJECT,
    irp: PIRP,
    _context: PVOID,
) -> NTSTATUS {
    // SAFETY: a device of this driver, which the IRP's remove lock keeps.
    let device = unsafe { Device::<F>::of(object) };
    // SAFETY: never NULL.
    let raw = unsafe { NonNull::new_unchecked(irp) };
    // SAFETY: the lower drivers have completed it, and it stays this driver's, because this
    // returns STATUS_MORE_PROCESSING_REQUIRED.
    let irp = unsafe { Irp::from_raw(raw, &device.removal) };
    // SAFETY: as above.
    let status = unsafe { io_status(raw) };
    if !NT_SUCCESS(status) {
        irp.complete(status, 0);
        return STATUS_MORE_PROCESSING_REQUIRED;
    }
    // SAFETY: the member that a SET_POWER has.
    let wanted = unsafe { irp.stack().Parameters.Power };
    // SAFETY: the member that goes with SystemPowerState.
    let system = unsafe { wanted.State.SystemState };
    let state = if system == _SYSTEM_POWER_STATE::PowerSystemWorking {
        _DEVICE_POWER_STATE::PowerDeviceD0
    } else {
        _DEVICE_POWER_STATE::PowerDeviceD3
    };
    #[expect(clippy::cast_possible_truncation, reason = "minor functions are bytes")]
    let minor = IRP_MN_SET_POWER as UCHAR;
    let state = POWER_STATE { DeviceState: state };
    let followed = Some(device_followed::<F> as _);
    let context = irp.into_raw().as_ptr().cast();
    let none = ptr::null_mut();
    // SAFETY: the PDO of this device; the routine gets the IRP, which has just been given away.
    let requested =
        unsafe { PoRequestPowerIrp(device.physical, minor, state, followed, context, none) };
    if !NT_SUCCESS(requested) {
        // SAFETY: the routine is not called then, so the IRP is this driver's again.
        let irp = unsafe { Irp::from_raw(raw, &device.removal) };
        // Nobody may fail the system's SET_POWER: it goes its way without the device.
        wdk::println!("{}: the device does not follow: {requested:#010x}", F::NAME);
        irp.complete(STATUS_SUCCESS, 0);
    }
    STATUS_MORE_PROCESSING_REQUIRED
}

/// The device has followed the system: the system's IRP, in `context`, can be completed.
unsafe extern "C" fn device_followed<F: Function>(
    _physical: PDEVICE_OBJECT,
    _minor: UCHAR,
    _state: POWER_STATE,
    context: PVOID,
    _status: *mut _IO_STATUS_BLOCK,
) {
    // SAFETY: `system_forwarded` gives the IRP.
    let raw = unsafe { NonNull::new_unchecked(context.cast()) };
    // SAFETY: the IRP has been this driver's all the time.
    let stack = unsafe { current_stack_location(raw) };
    // SAFETY: as above.
    let object = unsafe { (*stack.as_ptr()).DeviceObject };
    // SAFETY: a device of this driver, which the IRP's remove lock keeps.
    let device = unsafe { Device::<F>::of(object) };
    // SAFETY: given away by `system_forwarded` to this routine.
    let irp = unsafe { Irp::from_raw(raw, &device.removal) };
    irp.complete(STATUS_SUCCESS, 0);
}

/// Tells the power manager what state the device is in. IRQL: at most `DISPATCH_LEVEL`.
pub(crate) fn set_power_state(object: PDEVICE_OBJECT, state: DEVICE_POWER_STATE) {
    let kind = _POWER_STATE_TYPE::DevicePowerState;
    // SAFETY: a device of this driver.
    let _previous = unsafe { PoSetPowerState(object, kind, POWER_STATE { DeviceState: state }) };
}
