//! What the WDM function drivers among the samples share: all that a driver of a PCI device has to be
//! whatever its device does.
//!
//! A driver has a type of its own for what it makes of a device between START and STOP, which is a
//! [`Function`]. [`fill`] fills in the driver object with routines that make it, ask it, and take it
//! apart.
//!
//! | module | idea |
//! |---|---|
//! | `function` | what a driver has to say, and what it is given |
//! | `device` | `AddDevice`, the device extension, deleting a device |
//! | `pnp`, `power`, `requests` | the IRPs, one module for each kind |
//! | `registers` | registers, mapped |
//! | `irp`, `sync` | what `wdm.h` has inline, and locks and events with types |
//!
//! # What guards what
//!
//! - The device extension: the remove lock, which every IRP holds.
//! - The [`Function`]: a lock that is waited for. Whoever uses the function holds it, and so does who
//!   takes it apart; so an IOCTL and a STOP come one after the other.

#![no_std]

mod device;
mod function;
mod irp;
mod pnp;
mod power;
mod registers;
mod requests;
mod sync;

use wdk_sys::{
    DRIVER_OBJECT, IRP_MJ_CLEANUP, IRP_MJ_CLOSE, IRP_MJ_CREATE, IRP_MJ_DEVICE_CONTROL, IRP_MJ_PNP,
    IRP_MJ_POWER, IRP_MJ_SYSTEM_CONTROL, NTSTATUS, PDRIVER_DISPATCH, PDRIVER_OBJECT,
    STATUS_INVALID_PARAMETER, STATUS_SUCCESS, ntddk::KeGetCurrentProcessorNumberEx,
};

pub use function::{Control, Function, Presence, Start};
pub use registers::{Registers, Window};
pub use sync::pause;

/// Fills in the driver object of a driver whose devices are `F`. `PASSIVE_LEVEL`.
///
/// Returns what `DriverEntry` returns.
///
/// # Safety
///
/// Called by `DriverEntry`, with its argument. `F` is the only function of the driver.
pub unsafe fn fill<F: Function>(driver: PDRIVER_OBJECT) -> NTSTATUS {
    // SAFETY: the I/O manager gives DriverEntry its driver object for itself.
    let Some(driver) = (unsafe { driver.as_mut() }) else {
        return STATUS_INVALID_PARAMETER;
    };
    // SAFETY: the extension was made together with the object.
    let Some(extension) = (unsafe { driver.DriverExtension.as_mut() }) else {
        return STATUS_INVALID_PARAMETER;
    };
    extension.AddDevice = Some(device::add_device::<F>);
    driver.DriverUnload = Some(unload::<F>);
    // What is not in this table the I/O manager fails with STATUS_INVALID_DEVICE_REQUEST.
    let table: [(u32, PDRIVER_DISPATCH); 7] = [
        (IRP_MJ_CREATE, Some(requests::succeed::<F>)),
        (IRP_MJ_CLEANUP, Some(requests::succeed::<F>)),
        (IRP_MJ_CLOSE, Some(requests::succeed::<F>)),
        (IRP_MJ_DEVICE_CONTROL, Some(requests::device_control::<F>)),
        (IRP_MJ_PNP, Some(pnp::pnp::<F>)),
        (IRP_MJ_POWER, Some(power::power::<F>)),
        (IRP_MJ_SYSTEM_CONTROL, Some(requests::pass_on::<F>)),
    ];
    for (major, dispatch) in table {
        driver.MajorFunction[major as usize] = dispatch;
    }
    wdk::println!("{}: driver loaded", F::NAME);
    STATUS_SUCCESS
}

/// The last call into the image. Every device has been removed before, so nothing is left to do.
unsafe extern "C" fn unload<F: Function>(_driver: *mut DRIVER_OBJECT) {
    wdk::println!("{}: driver unloaded", F::NAME);
}

/// The number of the processor that this runs on, in all groups. Any IRQL.
#[must_use]
pub fn current_processor() -> u32 {
    // SAFETY: the number in its group is not asked for.
    unsafe { KeGetCurrentProcessorNumberEx(core::ptr::null_mut()) }
}
