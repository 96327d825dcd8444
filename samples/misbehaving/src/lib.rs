//! `misbehaving.sys`: breaks one rule of the kernel's contract, so that it can be seen that the test bed
//! catches it. Which one, the last part of the registry path says: the name of the service.
//!
//! `misdeeds` has them all; `device` is a driver that is sound without them, and as small as it can be.

#![no_std]

mod device;
mod misdeeds;

// A panic is a bug check.
extern crate wdk_panic;

use wdk_sys::{
    DRIVER_OBJECT, IRP_MJ_PNP, NTSTATUS, PCUNICODE_STRING, PDRIVER_OBJECT,
    STATUS_INVALID_PARAMETER, STATUS_OBJECT_NAME_NOT_FOUND, STATUS_SUCCESS,
};

/// Chooses the misdeed and fills in the driver object.
///
/// # Safety
///
/// For the I/O manager only: `driver` is the driver object made for this image, `registry_path` the
/// path of its service's key. `PASSIVE_LEVEL`.
// SAFETY: no other item of the image has this name; it is the one that the linker makes the entry.
#[unsafe(export_name = "DriverEntry")]
pub unsafe extern "system" fn driver_entry(
    driver: PDRIVER_OBJECT,
    registry_path: PCUNICODE_STRING,
) -> NTSTATUS {
    // SAFETY: the I/O manager's string, which stays until this returns.
    let Some(path) = (unsafe { registry_path.as_ref() }) else {
        return STATUS_INVALID_PARAMETER;
    };
    // SAFETY: a string has as many bytes as it says, two for each character.
    let path = unsafe { core::slice::from_raw_parts(path.Buffer, usize::from(path.Length) / 2) };
    let service = path.rsplit(|unit| *unit == u16::from(b'\\')).next().unwrap_or_default();
    let Some(name) = misdeeds::choose(service) else {
        wdk::println!("misbehaving: the name of the service is no misdeed's");
        return STATUS_OBJECT_NAME_NOT_FOUND;
    };
    wdk::println!("misbehaving: {name}");
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
    driver.MajorFunction[IRP_MJ_PNP as usize] = Some(device::pnp);
    STATUS_SUCCESS
}

/// The last call into the image.
const unsafe extern "C" fn unload(_driver: *mut DRIVER_OBJECT) {}
