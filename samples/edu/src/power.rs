//! Power: the device sleeps and wakes up with the system.
//!
//! The driver is the device's power policy owner: when the system goes to sleep it sends the
//! device to D3, when the system wakes up to D0. Down, it silences the device first and then tells
//! the lower drivers; up, it is the other way round.
//!
//! The dispatch routine runs at `PASSIVE_LEVEL`, the completion routines at up to `DISPATCH_LEVEL`:
//! falling asleep may wait for the device, waking up may not.
//!
//! # The interrupt
//!
//! A device in D3 does not interrupt, and its registers cannot be asked whether it did. The system
//! is told. It may still call the service routine for others on the line, which then knows that
//! its device is asleep and leaves the registers alone.
//!
//! - on the way down, `report_inactive`: the library has the handler silence the device, and then
//!   reports the interrupt inactive. After that the lower drivers take the power away.
//! - on the way up, when they have given it back, `report_active`: the library reports the interrupt
//!   active, and then has the handler let the device interrupt. What the device has lost in D3 is
//!   written before.
//!
//! See [`IoReportInterruptInactive`][report]. A device may be stopped and removed in either state.
//!
//! Since Windows Vista power IRPs are passed down by `IoCallDriver` as all others, and
//! `PoStartNextPowerIrp` is not needed.
//!
//! See [Power Management for Windows Drivers][page].
//!
//! [report]: https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/nf-wdm-ioreportinterruptinactive
//! [page]: https://learn.microsoft.com/windows-hardware/drivers/kernel/introduction-to-power-management

use core::ptr::{self, NonNull};

use edu_device::{EduInterrupt, Hold, Woken};
use wdk_sys::{
    _DEVICE_POWER_STATE, _IO_STATUS_BLOCK, _POWER_STATE_TYPE, _SYSTEM_POWER_STATE,
    DEVICE_POWER_STATE, IRP_MN_QUERY_POWER, IRP_MN_SET_POWER, NT_SUCCESS, NTSTATUS, PDEVICE_OBJECT,
    PIRP, POWER_STATE, PVOID, STATUS_MORE_PROCESSING_REQUIRED, STATUS_SUCCESS, UCHAR,
    ntddk::{KeFlushQueuedDpcs, PoRequestPowerIrp, PoSetPowerState},
};

use crate::device::Device;
use crate::irp::{Irp, current_stack_location, io_status};

/// `IRP_MJ_POWER`. `PASSIVE_LEVEL`, because the device object says `DO_POWER_PAGABLE` and not
/// `DO_POWER_INRUSH`.
///
/// # Safety
///
/// For the I/O manager only.
pub(crate) unsafe extern "C" fn power(object: PDEVICE_OBJECT, irp: PIRP) -> NTSTATUS {
    // SAFETY: the I/O manager calls with a device of this driver, which the IRP keeps.
    let device = unsafe { Device::of(object) };
    // SAFETY: the argument of a dispatch routine.
    let mut irp = match unsafe { Irp::receive(irp, &device.removal) } {
        Ok(irp) => irp,
        Err(status) => return status,
    };
    match irp.minor() {
        IRP_MN_SET_POWER => {
            // SAFETY: the member that a SET_POWER has.
            let wanted = unsafe { irp.stack().Parameters.Power };
            if wanted.Type == _POWER_STATE_TYPE::SystemPowerState {
                // SAFETY: the lower drivers first; the routine takes the IRP back.
                return unsafe {
                    irp.forward_then(device.lower(), Some(system_forwarded), ptr::null_mut())
                };
            }
            // SAFETY: the member that goes with DevicePowerState.
            let state = unsafe { wanted.State.DeviceState };
            if state == _DEVICE_POWER_STATE::PowerDeviceD0 {
                // SAFETY: the lower drivers first; the routine takes the IRP back.
                unsafe { irp.forward_then(device.lower(), Some(powered_up), ptr::null_mut()) }
            } else {
                sleep(device);
                set_power_state(object, state);
                irp.set_status(STATUS_SUCCESS);
                irp.forward(device.lower())
            }
        }
        IRP_MN_QUERY_POWER => {
            irp.set_status(STATUS_SUCCESS);
            irp.forward(device.lower())
        }
        _ => irp.forward(device.lower()),
    }
}

/// Lets the device finish what it computes, and silences it. What waits goes on waiting.
fn sleep(device: &Device) {
    device.queue.hold(Hold::SLEEP);
    let finished = device.queue.drain();
    let silenced = device.hardware.with(|hardware| {
        hardware.as_ref().map(|registration| {
            registration.report_inactive();
            registration.synchronize(EduInterrupt::sleep);
        })
    });
    if silenced.is_some() {
        wdk::println!("edu: asleep");
    }
    if !finished {
        // A deferred half that has taken a result at the last moment ends first; the handler, now
        // asleep, gives no other.
        // SAFETY: PASSIVE_LEVEL.
        unsafe { KeFlushQueuedDpcs() };
        device.queue.disown();
    }
}

/// Has the device interrupt again, and begins what waits. IRQL: at most `DISPATCH_LEVEL`.
fn wake(device: &Device) {
    let woken = device.hardware.with(|hardware| {
        hardware.as_ref().map(|registration| {
            if !registration.synchronize(EduInterrupt::wake) {
                return Woken::WasAwake;
            }
            registration.report_active();
            registration.synchronize(EduInterrupt::take_stock)
        })
    });
    // A device that would not finish before it slept, and is still busy, would ignore what it is
    // told now: the deferred half throws its result away when it comes, and then begins the next.
    if woken == Some(Woken::AtRest) {
        device.queue.abandon();
    }
    device.queue.release(Hold::SLEEP);
    if woken.is_some() {
        wdk::println!("edu: awake");
        device.serve();
    }
}

/// Completion routine of a `SET_POWER` to D0, at up to `DISPATCH_LEVEL`: the lower drivers have
/// powered the device.
unsafe extern "C" fn powered_up(object: PDEVICE_OBJECT, irp: PIRP, _context: PVOID) -> NTSTATUS {
    // SAFETY: a device of this driver, which the IRP's remove lock keeps.
    let device = unsafe { Device::of(object) };
    // SAFETY: never NULL.
    let raw = unsafe { NonNull::new_unchecked(irp) };
    // SAFETY: the lower drivers have completed it, so it is this driver's to look at.
    if NT_SUCCESS(unsafe { io_status(raw) }) {
        set_power_state(object, _DEVICE_POWER_STATE::PowerDeviceD0);
        wake(device);
    }
    // This driver is done with the IRP. The I/O manager goes on completing it, for this status is
    // also STATUS_CONTINUE_COMPLETION.
    // SAFETY: acquired with this tag when the IRP came.
    unsafe { device.removal.release(irp.cast()) };
    STATUS_SUCCESS
}

/// Completion routine of a system `SET_POWER`, at up to `DISPATCH_LEVEL`: the lower drivers know,
/// now the device follows.
///
/// The function driver must not fail the system's `SET_POWER`: what does not work is told to the
/// debugger, and the system goes its way.
unsafe extern "C" fn system_forwarded(
    object: PDEVICE_OBJECT,
    irp: PIRP,
    _context: PVOID,
) -> NTSTATUS {
    // SAFETY: a device of this driver, which the IRP's remove lock keeps.
    let device = unsafe { Device::of(object) };
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
    // Without `DeviceState` of IRP_MN_QUERY_CAPABILITIES, which says for each system state how much
    // power the device may have in it at most: D3 is allowed in all, and this device need not wake
    // the system.
    let state = if system == _SYSTEM_POWER_STATE::PowerSystemWorking {
        _DEVICE_POWER_STATE::PowerDeviceD0
    } else {
        _DEVICE_POWER_STATE::PowerDeviceD3
    };
    #[expect(clippy::cast_possible_truncation, reason = "minor functions are bytes")]
    let minor = IRP_MN_SET_POWER as UCHAR;
    let state = POWER_STATE { DeviceState: state };
    let context = irp.into_raw().as_ptr().cast();
    // SAFETY: the PDO of this device; the routine gets the IRP, which has just been given away.
    let requested = unsafe {
        PoRequestPowerIrp(
            device.physical,
            minor,
            state,
            Some(device_followed),
            context,
            ptr::null_mut(),
        )
    };
    if !NT_SUCCESS(requested) {
        // SAFETY: the routine is not called then, so the IRP is this driver's again.
        let irp = unsafe { Irp::from_raw(raw, &device.removal) };
        // There was no memory for the device's IRP. To silence the device here would want waiting
        // for what it computes, which this IRQL forbids, and to power it is its bus driver's. So it
        // stays as it is: on the way down it loses its power while it may be computing, on the way
        // up it goes on sleeping, until the next time.
        wdk::println!("edu: the device does not follow the system: {requested:#010x}");
        irp.complete(STATUS_SUCCESS, 0);
    }
    STATUS_MORE_PROCESSING_REQUIRED
}

/// The device has followed the system: the system's IRP, in `context`, can be completed.
unsafe extern "C" fn device_followed(
    _physical: PDEVICE_OBJECT,
    _minor: UCHAR,
    _state: POWER_STATE,
    context: PVOID,
    io_status: *mut _IO_STATUS_BLOCK,
) {
    // SAFETY: `system_forwarded` gives the IRP.
    let raw = unsafe { NonNull::new_unchecked(context.cast()) };
    // SAFETY: the IRP has been this driver's all the time.
    let stack = unsafe { current_stack_location(raw) };
    // SAFETY: as above.
    let object = unsafe { (*stack.as_ptr()).DeviceObject };
    // SAFETY: a device of this driver, which the IRP's remove lock keeps.
    let device = unsafe { Device::of(object) };
    // SAFETY: given away by `system_forwarded` to this routine.
    let irp = unsafe { Irp::from_raw(raw, &device.removal) };
    // SAFETY: the power manager's block of the device's IRP, valid during this call.
    let status = unsafe { (*io_status).__bindgen_anon_1 };
    // SAFETY: any bytes are a status.
    let status = unsafe { status.Status };
    if !NT_SUCCESS(status) {
        wdk::println!("edu: the device has not followed the system: {status:#010x}");
    }
    irp.complete(STATUS_SUCCESS, 0);
}

/// Tells the power manager what state the device is in. IRQL: at most `DISPATCH_LEVEL`.
pub(crate) fn set_power_state(object: PDEVICE_OBJECT, state: DEVICE_POWER_STATE) {
    let kind = _POWER_STATE_TYPE::DevicePowerState;
    // SAFETY: a device of this driver.
    let _previous = unsafe { PoSetPowerState(object, kind, POWER_STATE { DeviceState: state }) };
}
