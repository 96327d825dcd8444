//! Driver objects: the loaded driver's, and the bus driver's that the bed plays itself.

use alloc::boxed::Box;

use wdm_interrupt_model::nt::{
    DRIVER_DISPATCH, DRIVER_EXTENSION, DRIVER_OBJECT, IO_TYPE_DRIVER, IRP_MJ_MAXIMUM_FUNCTION,
    PDEVICE_OBJECT, PDRIVER_OBJECT, PIRP, STATUS_INVALID_DEVICE_REQUEST,
};

use super::text::Text;
use super::{irp, zeroed};

/// Makes a driver object. It stays for ever: a run has few of them.
pub(crate) fn create(name: &str) -> PDRIVER_OBJECT {
    // SAFETY: the object is made of integers, pointers and optional routines.
    let mut driver: Box<DRIVER_OBJECT> = unsafe { zeroed() };
    // SAFETY: as above.
    let mut extension: Box<DRIVER_EXTENSION> = unsafe { zeroed() };
    driver.Type = IO_TYPE_DRIVER as i16;
    driver.Size = size_of::<DRIVER_OBJECT>() as i16;
    driver.DriverName = Text::new(&alloc::format!("\\Driver\\{name}")).leak();
    driver.MajorFunction =
        [Some(invalid_request as DRIVER_DISPATCH); IRP_MJ_MAXIMUM_FUNCTION as usize + 1];
    extension.ServiceKeyName = Text::new(name).leak();
    let driver = Box::into_raw(driver);
    extension.DriverObject = driver;
    // SAFETY: the object was just made, and nobody else has it.
    unsafe { (*driver).DriverExtension = Box::into_raw(extension) };
    driver
}

/// What a driver that sets no dispatch routine answers.
unsafe extern "win64" fn invalid_request(_: PDEVICE_OBJECT, irp: PIRP) -> i32 {
    irp::complete(irp, STATUS_INVALID_DEVICE_REQUEST, 0)
}
