//! What programs ask for: open, the three IOCTLs, close.
//!
//! The public side of it is in the crate `edu-interface`.

use edu_device::{Counters, Hold};
use edu_interface::{Connection, Request, Statistics};
use wdk_sys::{
    NTSTATUS, PDEVICE_OBJECT, PIRP, STATUS_DELETE_PENDING, STATUS_DEVICE_NOT_READY,
    STATUS_DEVICE_REMOVED, STATUS_PENDING, STATUS_SUCCESS,
};
use wdm_interrupt::ConnectionKind;

use crate::device::{Device, Registration};
use crate::irp::Irp;

/// `IRP_MJ_CREATE`: opens the device, unless it is gone, or about to be. It may be stopped.
///
/// # Safety
///
/// For the I/O manager only.
pub(crate) unsafe extern "C" fn create(object: PDEVICE_OBJECT, irp: PIRP) -> NTSTATUS {
    // SAFETY: as this routine's.
    unsafe {
        dispatch(object, irp, |device, irp| match device.queue.admit() {
            Err(STATUS_DEVICE_REMOVED) => irp.complete(STATUS_DEVICE_REMOVED, 0),
            // A file opened now would be in the way of a removal that was just agreed to.
            Ok(()) | Err(_) if device.queue.is_held(Hold::REMOVE) => {
                irp.complete(STATUS_DELETE_PENDING, 0)
            }
            Ok(()) | Err(_) => irp.complete(STATUS_SUCCESS, 0),
        })
    }
}

/// `IRP_MJ_CLEANUP`: the last handle of a file is closed. Nobody waits for its requests any more.
///
/// # Safety
///
/// For the I/O manager only.
pub(crate) unsafe extern "C" fn cleanup(object: PDEVICE_OBJECT, irp: PIRP) -> NTSTATUS {
    // SAFETY: as this routine's.
    unsafe {
        dispatch(object, irp, |device, irp| {
            device.queue.cancel_of_file(irp.file());
            irp.complete(STATUS_SUCCESS, 0)
        })
    }
}

/// `IRP_MJ_CLOSE`: the file object goes.
///
/// # Safety
///
/// For the I/O manager only.
pub(crate) unsafe extern "C" fn close(object: PDEVICE_OBJECT, irp: PIRP) -> NTSTATUS {
    // SAFETY: as this routine's.
    unsafe { dispatch(object, irp, |_, irp| irp.complete(STATUS_SUCCESS, 0)) }
}

/// `IRP_MJ_SYSTEM_CONTROL`: WMI, of which this driver has none.
///
/// # Safety
///
/// For the I/O manager only.
pub(crate) unsafe extern "C" fn system_control(object: PDEVICE_OBJECT, irp: PIRP) -> NTSTATUS {
    // SAFETY: as this routine's.
    unsafe { dispatch(object, irp, |device, irp| irp.forward(device.lower())) }
}

/// `IRP_MJ_DEVICE_CONTROL`.
///
/// # Safety
///
/// For the I/O manager only.
pub(crate) unsafe extern "C" fn device_control(object: PDEVICE_OBJECT, irp: PIRP) -> NTSTATUS {
    // SAFETY: as this routine's.
    unsafe { dispatch(object, irp, control) }
}

/// What all dispatch routines here begin with.
///
/// # Safety
///
/// The arguments of a dispatch routine.
unsafe fn dispatch(
    object: PDEVICE_OBJECT,
    irp: PIRP,
    serve: impl FnOnce(&Device, Irp<'_>) -> NTSTATUS,
) -> NTSTATUS {
    // SAFETY: the I/O manager calls with a device of this driver, which the IRP keeps.
    let device = unsafe { Device::of(object) };
    // SAFETY: the argument of a dispatch routine.
    match unsafe { Irp::receive(irp, &device.removal) } {
        Ok(irp) => serve(device, irp),
        Err(status) => status,
    }
}

/// An IOCTL: first what is wrong with it in any case, then what the device says.
fn control(device: &Device, irp: Irp<'_>) -> NTSTATUS {
    // SAFETY: the member that a DEVICE_CONTROL has.
    let parameters = unsafe { irp.stack().Parameters.DeviceIoControl };
    // A code of another method is an unknown one, and its input is not looked at; but only with
    // METHOD_BUFFERED is there a system buffer of this length.
    let length = match parameters.IoControlCode & METHOD_MASK {
        METHOD_BUFFERED => parameters.InputBufferLength,
        _ => 0,
    };
    // SAFETY: the system buffer of a METHOD_BUFFERED request has its input's length.
    let input = unsafe { irp.input(length) };
    let output_length = parameters.OutputBufferLength as usize;
    match Request::decode(parameters.IoControlCode, input, output_length) {
        Err(bad) => irp.complete(bad.status(), 0),
        Ok(Request::Factorial(request)) => {
            // Answered at once what is refused anyhow.
            if let Err(status) = device.queue.admit() {
                return irp.complete(status, 0);
            }
            // Once queued the IRP can be completed at any time, and the remove lock it holds be
            // released: this routine needs its own as long as it uses the device.
            let _present = match device.removal.guard() {
                Ok(guard) => guard,
                Err(status) => return irp.complete(status, 0),
            };
            match device.queue.insert(irp, request, &device.removal) {
                Ok(()) => device.serve(),
                Err((mut irp, status)) => {
                    // A STOP has come in between. Whether IoCsqInsertIrpEx has marked an IRP
                    // pending that it refuses is nowhere said. Marked it is right in either case,
                    // if the status returned is the one below, and not the IRP's.
                    irp.mark_pending();
                    irp.complete(status, 0);
                }
            }
            STATUS_PENDING
        }
        Ok(Request::Raise(request)) => {
            let raised = with_hardware(device, |registration| {
                registration.synchronize(|handler| handler.raise(request.bits()))
            });
            match raised {
                Ok(true) => irp.complete(STATUS_SUCCESS, 0),
                // Asleep.
                Ok(false) => irp.complete(STATUS_DEVICE_NOT_READY, 0),
                Err(status) => irp.complete(status, 0),
            }
        }
        Ok(Request::Statistics) => match statistics(device) {
            // SAFETY: METHOD_BUFFERED, and `decode` has found room for it.
            Ok(statistics) => unsafe { irp.complete_with(&statistics.to_bytes()) },
            Err(status) => irp.complete(status, 0),
        },
    }
}

const METHOD_MASK: u32 = 3;
const METHOD_BUFFERED: u32 = 0;

/// Calls `f` with the registration, which nobody disconnects meanwhile. `f` runs at
/// `DISPATCH_LEVEL`.
///
/// # Errors
///
/// The device is not started: `STATUS_DEVICE_NOT_READY`, or `STATUS_DEVICE_REMOVED`.
fn with_hardware<R>(device: &Device, f: impl FnOnce(&Registration) -> R) -> Result<R, NTSTATUS> {
    device.queue.admit()?;
    device.hardware.with(|hardware| hardware.as_ref().map(f)).ok_or(STATUS_DEVICE_NOT_READY)
}

fn statistics(device: &Device) -> Result<Statistics, NTSTATUS> {
    let requests = device.queue.counters();
    with_hardware(device, |registration| {
        let connection = match registration.kind() {
            ConnectionKind::MessageBased { messages } => Connection::Messages(messages),
            _ => Connection::Line,
        };
        registration.synchronize(|handler| {
            let interrupt = handler.counters();
            Statistics {
                connection,
                claimed: interrupt.claimed,
                not_mine: interrupt.not_mine,
                line: interrupt.line,
                messages: by_message(interrupt),
                deferred_runs: interrupt.deferred_runs,
                computed: requests.computed,
                cancelled: requests.cancelled,
                status_seen: interrupt.status_seen,
                pending: requests.pending,
            }
        })
    })
}

/// The reply has room for a few messages; the last stands for all that follow.
fn by_message(counters: &Counters) -> [u64; Statistics::MESSAGES] {
    let mut reply = [0; Statistics::MESSAGES];
    for (index, count) in counters.messages.iter().enumerate() {
        reply[index.min(Statistics::MESSAGES - 1)] += count;
    }
    reply
}
