//! What programs ask for: open, IOCTLs that are answered at once, close.

use wdk_sys::{NTSTATUS, PDEVICE_OBJECT, PIRP, STATUS_SUCCESS};

use crate::device::Device;
use crate::function::{Control, Function};
use crate::irp::Irp;

/// `IRP_MJ_CREATE`, `IRP_MJ_CLEANUP`, `IRP_MJ_CLOSE`: nothing is kept for a file.
///
/// # Safety
///
/// For the I/O manager only.
pub(crate) unsafe extern "C" fn succeed<F: Function>(
    object: PDEVICE_OBJECT,
    irp: PIRP,
) -> NTSTATUS {
    // SAFETY: as this routine's.
    unsafe { dispatch::<F>(object, irp, |_, irp| irp.complete(STATUS_SUCCESS, 0)) }
}

/// `IRP_MJ_SYSTEM_CONTROL`: WMI, of which there is none here.
///
/// # Safety
///
/// For the I/O manager only.
pub(crate) unsafe extern "C" fn pass_on<F: Function>(
    object: PDEVICE_OBJECT,
    irp: PIRP,
) -> NTSTATUS {
    // SAFETY: as this routine's.
    unsafe { dispatch::<F>(object, irp, |device, irp| irp.forward(device.lower())) }
}

/// `IRP_MJ_DEVICE_CONTROL`. From programs it comes at `PASSIVE_LEVEL`.
///
/// # Safety
///
/// For the I/O manager only.
pub(crate) unsafe extern "C" fn device_control<F: Function>(
    object: PDEVICE_OBJECT,
    irp: PIRP,
) -> NTSTATUS {
    // SAFETY: as this routine's.
    unsafe { dispatch::<F>(object, irp, control) }
}

/// Has the function answer, and completes the IRP when nobody holds the function any more.
fn control<F: Function>(device: &Device<F>, mut irp: Irp<'_>) -> NTSTATUS {
    // SAFETY: called for such a request only.
    let mut request = unsafe { Control::new(&mut irp) };
    let answer = F::control_at_once(&mut request)
        .unwrap_or_else(|| device.with(|function| F::control(function, &mut request)));
    let written = request.written();
    match answer {
        Ok(()) => irp.complete(STATUS_SUCCESS, written),
        Err(status) => irp.complete(status, 0),
    }
}

/// Serves an IRP under the remove lock.
///
/// # Safety
///
/// The arguments are those of a dispatch routine.
unsafe fn dispatch<F: Function>(
    object: PDEVICE_OBJECT,
    irp: PIRP,
    serve: impl FnOnce(&Device<F>, Irp<'_>) -> NTSTATUS,
) -> NTSTATUS {
    // SAFETY: the I/O manager calls with a device of this driver, which the IRP keeps.
    let device = unsafe { Device::<F>::of(object) };
    // SAFETY: the argument of a dispatch routine.
    match unsafe { Irp::receive(irp, &device.removal) } {
        Ok(irp) => serve(device, irp),
        Err(status) => status,
    }
}
