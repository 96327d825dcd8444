//! Device objects and device interfaces.

use wdm_interrupt_model::nt::{
    BOOLEAN, GUID, NTSTATUS, PDEVICE_OBJECT, PDRIVER_OBJECT, POOL_FLAG_NON_PAGED, PUNICODE_STRING,
    PVOID, STATUS_INSUFFICIENT_RESOURCES, STATUS_INVALID_PARAMETER_2, STATUS_NOT_SUPPORTED,
    STATUS_SUCCESS, UNICODE_STRING,
};

use crate::io::text::Text;
use crate::io::{device, interface, text};
use crate::kernel::EXECUTIVE;
use crate::verify::at_most;

/// Tag of the strings that the I/O manager gives to drivers.
const STRING_TAG: u32 = u32::from_le_bytes(*b"IoSl");

super::exports! {
    can_fail(status) fn IoCreateDevice(
        driver: PDRIVER_OBJECT,
        extension: u32,
        _name: PUNICODE_STRING,
        kind: u32,
        characteristics: u32,
        exclusive: BOOLEAN,
        result: *mut PDEVICE_OBJECT,
    ) -> NTSTATUS {
        at_most(1, "IoCreateDevice");
        let exclusive = exclusive != 0;
        // SAFETY: the driver passes its driver object.
        let made = unsafe { device::create(driver, extension as usize, kind, characteristics, exclusive) };
        let Some(device) = made else { return STATUS_INSUFFICIENT_RESOURCES };
        // SAFETY: the driver gives memory for the pointer.
        unsafe { result.write(device) };
        STATUS_SUCCESS
    }

    fn IoDeleteDevice(device: PDEVICE_OBJECT) {
        at_most(1, "IoDeleteDevice");
        // SAFETY: the driver's promise: its own device object.
        unsafe { device::delete(device) }
    }

    can_fail(null) fn IoAttachDeviceToDeviceStack(source: PDEVICE_OBJECT, target: PDEVICE_OBJECT) -> PDEVICE_OBJECT {
        at_most(2, "IoAttachDeviceToDeviceStack");
        // SAFETY: the driver's promise: device objects; the PnP manager keeps the stack meanwhile.
        unsafe { device::attach(source, target) }
    }

    fn IoDetachDevice(target: PDEVICE_OBJECT) {
        at_most(2, "IoDetachDevice");
        // SAFETY: the driver's promise: the device that attaching returned.
        unsafe { device::detach(target) }
    }

    fn IoGetAttachedDeviceReference(device: PDEVICE_OBJECT) -> PDEVICE_OBJECT {
        // SAFETY: the driver's promise: a device object.
        let top = unsafe { device::top(device) };
        device::reference(top);
        top
    }

    fn ObfReferenceObject(object: PVOID) -> i64 {
        device::reference(object.cast());
        2
    }

    fn ObfDereferenceObject(object: PVOID) -> i64 {
        device::dereference(object.cast());
        1
    }

    can_fail(status) fn IoRegisterDeviceInterface(
        pdo: PDEVICE_OBJECT,
        class: *const GUID,
        reference: PUNICODE_STRING,
        link: PUNICODE_STRING,
    ) -> NTSTATUS {
        at_most(0, "IoRegisterDeviceInterface");
        // SAFETY: the driver's promise: NULL or a string.
        let reference = unsafe { text::read(reference) };
        // SAFETY: the driver's promise.
        let class = unsafe { *class };
        let name = Text::new(&interface::register(pdo, &class, &reference));
        let units = name.units();
        let bytes = size_of_val(units);
        let buffer = EXECUTIVE.ex_allocate_pool2(POOL_FLAG_NON_PAGED, bytes as u64, STRING_TAG);
        if buffer.is_null() {
            return STATUS_INSUFFICIENT_RESOURCES;
        }
        let buffer = buffer.cast::<u16>();
        // SAFETY: the buffer was just allocated with this many bytes.
        unsafe { core::ptr::copy_nonoverlapping(units.as_ptr(), buffer, units.len()) };
        let value = UNICODE_STRING {
            Length: bytes as u16 - 2,
            MaximumLength: bytes as u16,
            Buffer: buffer,
        };
        // SAFETY: the driver gives memory for the string.
        unsafe { link.write(value) };
        STATUS_SUCCESS
    }

    can_fail(status) fn IoSetDeviceInterfaceState(link: PUNICODE_STRING, enable: BOOLEAN) -> NTSTATUS {
        at_most(0, "IoSetDeviceInterfaceState");
        // SAFETY: the driver's promise: the string that registering gave.
        let name = unsafe { text::read(link) };
        interface::set_state(&name, enable != 0)
    }

    can_fail(status) fn IoGetDeviceProperty(
        _pdo: PDEVICE_OBJECT,
        property: i32,
        length: u32,
        buffer: PVOID,
        result: *mut u32,
    ) -> NTSTATUS {
        // DevicePropertyLegacyBusType, DevicePropertyBusNumber: the bus is PCI's first.
        let value: u32 = match property {
            13 => 5,
            14 => 0,
            _ => return STATUS_NOT_SUPPORTED,
        };
        if length < 4 {
            return STATUS_INVALID_PARAMETER_2;
        }
        // SAFETY: the driver gives a buffer of this length.
        unsafe { buffer.cast::<u32>().write_unaligned(value) };
        // SAFETY: the driver gives memory for the length.
        unsafe { result.write(4) };
        STATUS_SUCCESS
    }

    fn IoInvalidateDeviceState(_pdo: PDEVICE_OBJECT) {}
    fn IoInvalidateDeviceRelations(_pdo: PDEVICE_OBJECT, _kind: i32) {}
}
