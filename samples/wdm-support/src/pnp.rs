//! Plug and play: the device starts, stops, starts again with other resources, and goes.

use wdk_sys::{
    _DEVICE_POWER_STATE, CM_PARTIAL_RESOURCE_DESCRIPTOR, CM_RESOURCE_LIST, CmResourceTypeMemory,
    IRP_MN_CANCEL_REMOVE_DEVICE, IRP_MN_CANCEL_STOP_DEVICE, IRP_MN_QUERY_REMOVE_DEVICE,
    IRP_MN_QUERY_STOP_DEVICE, IRP_MN_REMOVE_DEVICE, IRP_MN_START_DEVICE, IRP_MN_STOP_DEVICE,
    IRP_MN_SURPRISE_REMOVAL, NT_SUCCESS, NTSTATUS, PDEVICE_OBJECT, PIRP, STATUS_SUCCESS,
};
use wdm_interrupt::{FunctionDevice, InterruptResources, NullDevice, PhysicalDevice};

use crate::device::Device;
use crate::function::{Function, Presence, Start};
use crate::irp::Irp;
use crate::power::set_power_state;

/// `IRP_MJ_PNP`. `PASSIVE_LEVEL`.
///
/// # Safety
///
/// For the I/O manager only.
pub(crate) unsafe extern "C" fn pnp<F: Function>(object: PDEVICE_OBJECT, irp: PIRP) -> NTSTATUS {
    // SAFETY: the I/O manager calls with a device of this driver, which the IRP keeps.
    let device = unsafe { Device::<F>::of(object) };
    // SAFETY: the argument of a dispatch routine.
    let mut irp = match unsafe { Irp::receive(irp, &device.removal) } {
        Ok(irp) => irp,
        Err(status) => return status,
    };
    match irp.minor() {
        IRP_MN_START_DEVICE => start(device, irp),
        IRP_MN_QUERY_STOP_DEVICE
        | IRP_MN_QUERY_REMOVE_DEVICE
        | IRP_MN_CANCEL_STOP_DEVICE
        | IRP_MN_CANCEL_REMOVE_DEVICE => {
            irp.set_status(STATUS_SUCCESS);
            irp.forward(device.lower())
        }
        IRP_MN_STOP_DEVICE => {
            device.end(Presence::Present, false);
            irp.set_status(STATUS_SUCCESS);
            irp.forward(device.lower())
        }
        IRP_MN_SURPRISE_REMOVAL => {
            device.end(Presence::Gone, true);
            irp.set_status(STATUS_SUCCESS);
            irp.forward(device.lower())
        }
        IRP_MN_REMOVE_DEVICE => {
            // After a surprise removal there is nothing left to end.
            device.end(Presence::Present, true);
            irp.set_status(STATUS_SUCCESS);
            let status = irp.forward_and_drain(device.lower());
            // SAFETY: the function is gone, and the remove lock has been waited for.
            unsafe { Device::<F>::delete(object) };
            status
        }
        // What a function driver has nothing to say to, goes down with its status untouched.
        _ => irp.forward(device.lower()),
    }
}

/// START, the first time or after a STOP: the lower drivers first, then this one.
fn start<F: Function>(device: &Device<F>, mut irp: Irp<'_>) -> NTSTATUS {
    let mut status = irp.forward_and_wait(device.lower());
    if NT_SUCCESS(status) {
        // The lower drivers have powered the device.
        set_power_state(device.object, _DEVICE_POWER_STATE::PowerDeviceD0);
        status = match device.begin(|| {
            // SAFETY: a START that the lower drivers have completed.
            unsafe { function(device, &irp) }
        }) {
            Ok(()) => STATUS_SUCCESS,
            Err(status) => {
                wdk::println!("{}: not started: {status:#010x}", F::NAME);
                status
            }
        };
    }
    irp.complete(status, 0)
}

/// Has the driver make a function of the assigned resources.
///
/// # Safety
///
/// `irp` is a START of `device` that the lower drivers have completed.
unsafe fn function<F: Function>(device: &Device<F>, irp: &Irp<'_>) -> Result<F, NTSTATUS> {
    // SAFETY: the member that a START has.
    let lists = unsafe { irp.stack().Parameters.StartDevice };
    let (raw, translated) = (lists.AllocatedResources, lists.AllocatedResourcesTranslated);
    // SAFETY: the PnP manager's lists, complete and unchanged as long as the IRP is here.
    let interrupts = unsafe { InterruptResources::from_start_device(raw, translated) };
    let interrupts = interrupts.map_err(|error| {
        wdk::println!("{}: {error}", F::NAME);
        error.status()
    })?;
    // SAFETY:
    // - AddDevice was given this PDO, and the device is started (caller);
    // - STOP, SURPRISE_REMOVAL and REMOVE end the function, and with it every registration (it
    //   promises), before they go down, so the resources are assigned and the image is loaded as
    //   long as one exists.
    let physical = unsafe { PhysicalDevice::new(device.physical) };
    // SAFETY: deleted when the function has gone, as above.
    let own = unsafe { FunctionDevice::new(device.object) };
    F::start(&Start {
        physical: physical.map_err(NullDevice::status)?,
        function: own.map_err(NullDevice::status)?,
        interrupts,
        // SAFETY: as above.
        memory: unsafe { first_memory(translated) },
    })
}

/// Where the first range of device memory in a list begins, and its length: of a PCI device, BAR 0.
///
/// # Safety
///
/// `list` is NULL, or a complete `CM_RESOURCE_LIST`.
unsafe fn first_memory(list: *const CM_RESOURCE_LIST) -> Option<(i64, u32)> {
    if list.is_null() {
        return None;
    }
    // SAFETY: not NULL, so valid (caller).
    let lists = unsafe { (*list).Count };
    // A PCI device has one full descriptor.
    if lists == 0 {
        return None;
    }
    // No reference to the list or a part of it: the descriptors go on behind the end of the types,
    // which a pointer made from a reference may not.
    // SAFETY: as above; there is a full descriptor.
    let partial = unsafe { &raw const (*list).List[0].PartialResourceList };
    // SAFETY: as above.
    let count = unsafe { (*partial).Count };
    // SAFETY: as above.
    let first = unsafe { &raw const (*partial).PartialDescriptors };
    let first: *const CM_PARTIAL_RESOURCE_DESCRIPTOR = first.cast();
    for index in 0..count as usize {
        // SAFETY: there are `Count` of them (caller), though the type says one.
        let descriptor = unsafe { first.add(index) };
        // SAFETY: as above.
        let descriptor = unsafe { descriptor.read() };
        if u32::from(descriptor.Type) == CmResourceTypeMemory {
            // SAFETY: the member that a memory descriptor has.
            let memory = unsafe { descriptor.u.Memory };
            // SAFETY: any bytes are a number.
            return Some((unsafe { memory.Start.QuadPart }, memory.Length));
        }
    }
    None
}
