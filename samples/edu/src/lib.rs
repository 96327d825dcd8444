//! `edu.sys`: a WDM function driver for QEMU's edu device (`PCI\VEN_1234&DEV_11E8`).
//!
//! The device computes factorials and interrupts when one is done. The driver connects to that
//! interrupt with `wdm-interrupt`, and is otherwise what a function driver of a PCI device has to
//! be. It is meant to be copied from; README.md says which file to take what from.
//!
//! What knows the device and no IRP is in the crate `edu-device`, where it is tested on any host: the
//! service routine with its deferred half.
//!
//! | module | idea |
//! |---|---|
//! | `device` | AddDevice, the device extension, what guards what in it |
//! | `pnp`, `power`, `requests` | the IRPs, one module for each kind |
//! | `queue` | the cancel-safe queue |
//! | `registers` | the device's registers, mapped |
//! | `irp`, `list`, `sync` | what `wdm.h` has inline, and locks and events with types |

#![no_std]

extern crate alloc;

mod device;
mod irp;
mod list;
mod pnp;
mod power;
mod queue;
mod registers;
mod requests;
mod sync;

// A panic is a bug check.
extern crate wdk_panic;

use wdk_alloc::WdkAllocator;
use wdk_sys::{
    DRIVER_OBJECT, IRP_MJ_CLEANUP, IRP_MJ_CLOSE, IRP_MJ_CREATE, IRP_MJ_DEVICE_CONTROL, IRP_MJ_PNP,
    IRP_MJ_POWER, IRP_MJ_SYSTEM_CONTROL, NTSTATUS, PCUNICODE_STRING, PDRIVER_DISPATCH,
    PDRIVER_OBJECT, STATUS_INVALID_PARAMETER, STATUS_SUCCESS,
};

/// What `alloc` allocates is nonpaged pool.
///
/// Pool is aligned to 16 bytes, whatever the allocator is asked for: `#[repr(align(32))]` and more
/// must not be allocated by it.
#[global_allocator]
static ALLOCATOR: WdkAllocator = WdkAllocator;

/// Fills in the driver object. The I/O manager calls it once, after loading the image.
///
/// # Safety
///
/// For the I/O manager only: `driver` is the driver object made for this image. `PASSIVE_LEVEL`.
// SAFETY: no other item of the image has this name; it is the one that the linker makes the entry.
#[unsafe(export_name = "DriverEntry")]
pub unsafe extern "system" fn driver_entry(
    driver: PDRIVER_OBJECT,
    _registry_path: PCUNICODE_STRING,
) -> NTSTATUS {
    // SAFETY: the I/O manager gives this call its driver object for itself.
    let Some(driver) = (unsafe { driver.as_mut() }) else {
        return STATUS_INVALID_PARAMETER;
    };
    // SAFETY: the extension was made together with the object.
    let Some(extension) = (unsafe { driver.DriverExtension.as_mut() }) else {
        return STATUS_INVALID_PARAMETER;
    };
    extension.AddDevice = Some(device::add_device);
    driver.DriverUnload = Some(unload);
    // What is not in this table the I/O manager fails with STATUS_INVALID_DEVICE_REQUEST.
    let table: [(u32, PDRIVER_DISPATCH); 7] = [
        (IRP_MJ_CREATE, Some(requests::create)),
        (IRP_MJ_CLEANUP, Some(requests::cleanup)),
        (IRP_MJ_CLOSE, Some(requests::close)),
        (IRP_MJ_DEVICE_CONTROL, Some(requests::device_control)),
        (IRP_MJ_PNP, Some(pnp::pnp)),
        (IRP_MJ_POWER, Some(power::power)),
        (IRP_MJ_SYSTEM_CONTROL, Some(requests::system_control)),
    ];
    for (major, dispatch) in table {
        driver.MajorFunction[major as usize] = dispatch;
    }
    wdk::println!("edu: driver loaded");
    STATUS_SUCCESS
}

/// The last call into the image. Every device has been removed before, so nothing is left to do.
unsafe extern "C" fn unload(_driver: *mut DRIVER_OBJECT) {
    wdk::println!("edu: driver unloaded");
}
