//! The bus driver: the physical device objects' own driver, at the bottom of every stack.

use core::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

use wdm_interrupt_model::nt::{
    DEVICE_CAPABILITIES, DRIVER_DISPATCH, DRIVER_OBJECT, IO_STACK_LOCATION,
    IRP_MJ_MAXIMUM_FUNCTION, IRP_MJ_PNP, IRP_MJ_POWER, IRP_MN_CANCEL_REMOVE_DEVICE,
    IRP_MN_CANCEL_STOP_DEVICE, IRP_MN_QUERY_CAPABILITIES, IRP_MN_QUERY_PNP_DEVICE_STATE,
    IRP_MN_QUERY_POWER, IRP_MN_QUERY_REMOVE_DEVICE, IRP_MN_QUERY_STOP_DEVICE, IRP_MN_READ_CONFIG,
    IRP_MN_REMOVE_DEVICE, IRP_MN_SET_POWER, IRP_MN_START_DEVICE, IRP_MN_STOP_DEVICE,
    IRP_MN_SURPRISE_REMOVAL, NTSTATUS, PDEVICE_OBJECT, PDRIVER_OBJECT, PIRP, PowerDeviceD0,
    PowerDeviceD3, STATUS_PENDING, STATUS_SUCCESS,
};

use crate::io::{driver, irp};
use crate::{smp, time};

static DRIVER: AtomicPtr<DRIVER_OBJECT> = AtomicPtr::new(core::ptr::null_mut());
/// Whether START and power requests pend, and are completed on another processor a little later.
static SLOW: AtomicBool = AtomicBool::new(false);

/// The bus driver's object.
pub(crate) fn driver() -> PDRIVER_OBJECT {
    let known = DRIVER.load(Ordering::Acquire);
    if !known.is_null() {
        return known;
    }
    let object = driver::create("pci");
    // SAFETY: the object was just made, and nobody else has it.
    let fields = unsafe { &mut *object };
    fields.MajorFunction =
        [Some(dispatch as DRIVER_DISPATCH); IRP_MJ_MAXIMUM_FUNCTION as usize + 1];
    DRIVER.store(object, Ordering::Release);
    object
}

/// Makes START and power requests pend, and complete on another processor.
pub(crate) fn be_slow(slow: bool) {
    SLOW.store(slow, Ordering::Relaxed);
}

/// What a device of the bed can do: on, and off.
pub(crate) const fn capabilities() -> DEVICE_CAPABILITIES {
    DEVICE_CAPABILITIES {
        Size: size_of::<DEVICE_CAPABILITIES>() as u16,
        Version: 1,
        _bitfield_1: 0,
        Address: u32::MAX,
        UINumber: u32::MAX,
        DeviceState: [
            0,
            PowerDeviceD0,
            PowerDeviceD3,
            PowerDeviceD3,
            PowerDeviceD3,
            PowerDeviceD3,
            PowerDeviceD3,
        ],
        SystemWake: 0,
        DeviceWake: 0,
        D1Latency: 0,
        D2Latency: 0,
        D3Latency: 0,
    }
}

unsafe extern "win64" fn dispatch(_: PDEVICE_OBJECT, irp: PIRP) -> NTSTATUS {
    // SAFETY: the IRP is with this driver, so its current location is this driver's.
    let location = unsafe { &mut *irp::current(irp) };
    let minor = u32::from(location.MinorFunction);
    let status = match u32::from(location.MajorFunction) {
        IRP_MJ_PNP => plug_and_play(minor, location, irp::status(irp)),
        IRP_MJ_POWER if minor == IRP_MN_SET_POWER || minor == IRP_MN_QUERY_POWER => STATUS_SUCCESS,
        // What a bus driver does not know keeps the status it came with.
        _ => irp::status(irp),
    };
    let can_wait = matches!(
        (u32::from(location.MajorFunction), minor),
        (IRP_MJ_PNP, IRP_MN_START_DEVICE) | (IRP_MJ_POWER, IRP_MN_SET_POWER)
    );
    if can_wait && SLOW.load(Ordering::Relaxed) {
        irp::mark_pending(irp);
        let address = irp.expose_provenance();
        smp::run_on(smp::another(), move || {
            time::stall(200);
            irp::complete(core::ptr::with_exposed_provenance_mut(address), status, 0);
        });
        return STATUS_PENDING;
    }
    irp::complete(irp, status, 0)
}

const fn plug_and_play(minor: u32, location: &IO_STACK_LOCATION, before: NTSTATUS) -> NTSTATUS {
    match minor {
        IRP_MN_START_DEVICE
        | IRP_MN_QUERY_STOP_DEVICE
        | IRP_MN_CANCEL_STOP_DEVICE
        | IRP_MN_STOP_DEVICE
        | IRP_MN_QUERY_REMOVE_DEVICE
        | IRP_MN_CANCEL_REMOVE_DEVICE
        | IRP_MN_REMOVE_DEVICE
        | IRP_MN_SURPRISE_REMOVAL
        | IRP_MN_QUERY_PNP_DEVICE_STATE
        | IRP_MN_READ_CONFIG => STATUS_SUCCESS,
        IRP_MN_QUERY_CAPABILITIES => {
            // SAFETY: the member of this minor function.
            let result = unsafe { location.Parameters.DeviceCapabilities.Capabilities };
            if !result.is_null() {
                // SAFETY: who asks gives memory for the answer.
                unsafe { result.write(capabilities()) };
            }
            STATUS_SUCCESS
        }
        _ => before,
    }
}
