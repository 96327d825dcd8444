//! Plug and play: the device starts, stops, starts again with other resources, and goes.
//!
//! See [Plug and Play Minor IRPs][page].
//!
//! [page]: https://learn.microsoft.com/windows-hardware/drivers/kernel/plug-and-play-minor-irps

use edu_device::{Completion, EduInterrupt, Hold, Registers, ResetError};
use wdk_sys::{
    _DEVICE_POWER_STATE, CM_PARTIAL_RESOURCE_DESCRIPTOR, CM_RESOURCE_LIST, CmResourceTypeMemory,
    IRP_MN_CANCEL_REMOVE_DEVICE, IRP_MN_CANCEL_STOP_DEVICE, IRP_MN_QUERY_REMOVE_DEVICE,
    IRP_MN_QUERY_STOP_DEVICE, IRP_MN_REMOVE_DEVICE, IRP_MN_START_DEVICE, IRP_MN_STOP_DEVICE,
    IRP_MN_SURPRISE_REMOVAL, LARGE_INTEGER, NT_SUCCESS, NTSTATUS, PDEVICE_OBJECT, PIRP,
    STATUS_DEVICE_BUSY, STATUS_DEVICE_CONFIGURATION_ERROR, STATUS_DEVICE_NOT_READY,
    STATUS_DEVICE_REMOVED, STATUS_INSUFFICIENT_RESOURCES, STATUS_NO_SUCH_DEVICE, STATUS_SUCCESS,
};
use wdm_interrupt::{
    ConnectionKind, Dpc, InterruptResource, InterruptResources, MessageBased, NullDevice,
    PhysicalDevice,
};

use crate::device::{Device, Presence};
use crate::irp::Irp;
use crate::power::set_power_state;
use crate::registers::Mapping;
use crate::sync::pause;

/// `IRP_MJ_PNP`. `PASSIVE_LEVEL`.
///
/// # Safety
///
/// For the I/O manager only.
pub(crate) unsafe extern "C" fn pnp(object: PDEVICE_OBJECT, irp: PIRP) -> NTSTATUS {
    // SAFETY: the I/O manager calls with a device of this driver, which the IRP keeps.
    let device = unsafe { Device::of(object) };
    // SAFETY: the argument of a dispatch routine.
    let irp = match unsafe { Irp::receive(irp, &device.removal) } {
        Ok(irp) => irp,
        Err(status) => return status,
    };
    match irp.minor() {
        IRP_MN_START_DEVICE => start(device, irp),
        IRP_MN_QUERY_STOP_DEVICE => query(device, irp, Hold::STOP),
        IRP_MN_CANCEL_STOP_DEVICE => cancel(device, irp, Hold::STOP),
        IRP_MN_STOP_DEVICE => stop(device, irp),
        IRP_MN_QUERY_REMOVE_DEVICE => query(device, irp, Hold::REMOVE),
        IRP_MN_CANCEL_REMOVE_DEVICE => cancel(device, irp, Hold::REMOVE),
        IRP_MN_SURPRISE_REMOVAL => surprise_removal(device, irp),
        IRP_MN_REMOVE_DEVICE => {
            let status = remove(device, irp);
            wdk::println!("edu: removed");
            // SAFETY: `remove` has released the hardware and waited for the remove lock.
            unsafe { Device::delete(object) };
            status
        }
        // What a function driver has nothing to say to, goes down with its status untouched.
        _ => irp.forward(device.lower()),
    }
}

/// START, the first time or after a STOP: the lower drivers first, then this one.
fn start(device: &Device, mut irp: Irp<'_>) -> NTSTATUS {
    let mut status = irp.forward_and_wait(device.lower());
    if NT_SUCCESS(status) {
        // SAFETY: a START that the lower drivers have completed.
        status = match unsafe { begin(device, &irp) } {
            Ok(()) => STATUS_SUCCESS,
            Err(status) => {
                wdk::println!("edu: not started: {status:#010x}");
                status
            }
        };
    }
    irp.complete(status, 0)
}

/// Takes the assigned resources into use.
///
/// # Safety
///
/// `irp` is a START of `device` that the lower drivers have completed.
unsafe fn begin(device: &Device, irp: &Irp<'_>) -> Result<(), NTSTATUS> {
    // The lower drivers have powered the device.
    set_power_state(irp.stack().DeviceObject, _DEVICE_POWER_STATE::PowerDeviceD0);

    // The PnP manager stops a device before it starts it again; an old connection would name
    // resources that are no longer the device's.
    device.queue.hold(Hold::STOP);
    device.release_hardware(Presence::Present);

    // SAFETY: the member that a START has.
    let lists = unsafe { irp.stack().Parameters.StartDevice };
    let (raw, translated) = (lists.AllocatedResources, lists.AllocatedResourcesTranslated);
    // SAFETY: the PnP manager's lists, complete and unchanged as long as the IRP is here.
    let interrupts = unsafe { InterruptResources::from_start_device(raw, translated) };
    let interrupts = interrupts.map_err(|error| {
        wdk::println!("edu: {error}");
        error.status()
    })?;
    for interrupt in interrupts.iter() {
        describe(&interrupt);
    }
    // SAFETY: as above.
    let (start, length) =
        unsafe { first_memory(translated) }.ok_or(STATUS_DEVICE_CONFIGURATION_ERROR)?;
    // SAFETY: BAR 0 of the device, which has it until STOP or REMOVE; both end this mapping first.
    let registers = Registers::new(unsafe { Mapping::new(start, length) }?);
    registers.reset(pause).map_err(|error| match error {
        ResetError::NoSuchDevice => STATUS_NO_SUCH_DEVICE,
        ResetError::Busy => STATUS_DEVICE_NOT_READY,
    })?;

    let messages = interrupts.iter().filter(InterruptResource::is_message).count();
    let handler = EduInterrupt::new(registers, messages);
    let handler = handler.map_err(|_| STATUS_INSUFFICIENT_RESOURCES)?;
    // SAFETY:
    // - AddDevice was given this PDO, and the device is started (caller);
    // - STOP, SURPRISE_REMOVAL and REMOVE end the registration before they go down, so the
    //   resources are assigned and the image is loaded as long as it exists.
    let physical = unsafe { PhysicalDevice::new(device.physical) };
    let physical = physical.map_err(NullDevice::status)?;
    // SAFETY: STOP and REMOVE end the registration, and with it the deferred half, before the
    // device is deleted.
    let completion = Completion::new(unsafe { device.reference() });
    let registration = MessageBased::new(physical)
        .fall_back_to_line()
        .deferred(Dpc::new(completion))
        .connect(handler)
        .map_err(|error| {
            wdk::println!("edu: {error}");
            error.status()
        })?;
    match registration.kind() {
        ConnectionKind::MessageBased { messages } => {
            wdk::println!("edu: connected by message ({messages} of them)");
        }
        _ => wdk::println!("edu: connected by line"),
    }

    // Nothing was connected, so what is replaced is None.
    device.hardware.with(|hardware| *hardware = Some(registration));
    device.queue.open();
    // A device that was asleep when it was stopped is awake after a START.
    device.queue.release(Hold::SLEEP);
    device.queue.release(Hold::STOP);
    // Programs come as soon as it is enabled, so everything else is ready by then.
    if let Err(status) = device.interface.enable(true) {
        device.queue.hold(Hold::STOP);
        device.queue.refuse(STATUS_DEVICE_NOT_READY);
        device.release_hardware(Presence::Present);
        return Err(status);
    }
    device.serve();
    Ok(())
}

/// `QUERY_STOP`, `QUERY_REMOVE`: nothing new is begun, and the device finishes what it computes.
fn query(device: &Device, mut irp: Irp<'_>, hold: Hold) -> NTSTATUS {
    device.queue.hold(hold);
    if !device.queue.drain() {
        device.queue.release(hold);
        device.serve();
        return irp.complete(STATUS_DEVICE_BUSY, 0);
    }
    irp.set_status(STATUS_SUCCESS);
    irp.forward(device.lower())
}

/// `CANCEL_STOP`, `CANCEL_REMOVE`: on as before, the lower drivers first.
fn cancel(device: &Device, mut irp: Irp<'_>, hold: Hold) -> NTSTATUS {
    irp.set_status(STATUS_SUCCESS);
    let status = irp.forward_and_wait(device.lower());
    // These come also when no query came before: releasing what is not held does nothing, and a
    // device that is not started is not served.
    device.queue.release(hold);
    device.serve();
    irp.complete(status, 0)
}

/// STOP: gives the resources back. What waits in the queue goes on waiting.
fn stop(device: &Device, mut irp: Irp<'_>) -> NTSTATUS {
    device.queue.hold(Hold::STOP);
    // A driver whose clients must not notice that resources are rebalanced leaves this line out:
    // with the hold alone, what arrives until the next START waits, as what was there before does.
    device.queue.refuse(STATUS_DEVICE_NOT_READY);
    device.release_hardware(Presence::Present);
    wdk::println!("edu: stopped");
    irp.set_status(STATUS_SUCCESS);
    irp.forward(device.lower())
}

/// `SURPRISE_REMOVAL`: the device is gone. It is not touched, and nothing is begun or accepted.
fn surprise_removal(device: &Device, mut irp: Irp<'_>) -> NTSTATUS {
    retire(device, Presence::Gone);
    wdk::println!("edu: removed by surprise");
    irp.set_status(STATUS_SUCCESS);
    irp.forward(device.lower())
}

/// REMOVE: the last IRP. The caller deletes the device.
fn remove(device: &Device, mut irp: Irp<'_>) -> NTSTATUS {
    retire(device, Presence::Present);
    irp.set_status(STATUS_SUCCESS);
    irp.forward_and_drain(device.lower())
}

/// Ends what the device does for good, and completes every request. After a surprise removal
/// REMOVE finds nothing left to do.
fn retire(device: &Device, presence: Presence) {
    device.queue.hold(Hold::REMOVE);
    device.queue.refuse(STATUS_DEVICE_REMOVED);
    // An interface that was never enabled cannot be disabled, which is as good.
    let _was_enabled = device.interface.enable(false);
    device.release_hardware(presence);
    device.queue.fail_all(STATUS_DEVICE_REMOVED);
}

/// Prints an assigned interrupt.
fn describe(interrupt: &InterruptResource) {
    let kind = if interrupt.is_message() { "message" } else { "line" };
    let (vector, irql) = (interrupt.vector(), interrupt.irql());
    wdk::println!("edu: assigned a {kind}: vector {vector:#x}, {irql}");
}

/// The first range of device memory in a list: of this device, which has no other, BAR 0.
///
/// Of a device with several, memory descriptors have to be counted: they come in the order of its
/// BARs. One of 4 GiB or more comes as `CmResourceTypeMemoryLarge`, and counts, too.
///
/// # Safety
///
/// `list` is NULL, or a complete `CM_RESOURCE_LIST`.
unsafe fn first_memory(list: *const CM_RESOURCE_LIST) -> Option<(LARGE_INTEGER, u32)> {
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
            return Some((memory.Start, memory.Length));
        }
    }
    None
}
