//! Device objects: made, stacked, taken apart. A deleted one is poisoned and kept, so that using it is
//! noticed.

use alloc::alloc::{Layout, alloc_zeroed};
use alloc::collections::BTreeMap;

use wdm_interrupt_model::nt::{
    DEVICE_OBJECT, DO_DEVICE_INITIALIZING, DO_EXCLUSIVE, IO_TYPE_DEVICE, PDEVICE_OBJECT,
    PDRIVER_OBJECT,
};

use crate::sync::Lock;
use crate::verify::{Rule, broken};

/// What the bed knows of a device object.
#[derive(Debug, Clone, Copy)]
struct Known {
    driver: usize,
    /// The device it is attached to.
    below: usize,
    /// Work items and open handles that keep the object.
    references: usize,
    deleted: bool,
}

static DEVICES: Lock<BTreeMap<usize, Known>> = Lock::new(BTreeMap::new());

/// What `IoCreateDevice` makes.
///
/// # Safety
///
/// `driver` is a driver object.
pub(crate) unsafe fn create(
    driver: PDRIVER_OBJECT,
    extension: usize,
    kind: u32,
    characteristics: u32,
    exclusive: bool,
) -> Option<PDEVICE_OBJECT> {
    let header = size_of::<DEVICE_OBJECT>();
    let layout = Layout::from_size_align(header + extension, 16).ok()?;
    // SAFETY: the layout has at least the object's size.
    let memory = unsafe { alloc_zeroed(layout) };
    if memory.is_null() {
        return None;
    }
    let device = memory.cast::<DEVICE_OBJECT>();
    // SAFETY: the allocation is zeroed and large enough, and nobody else has it.
    let object = unsafe { &mut *device };
    object.Type = IO_TYPE_DEVICE as i16;
    object.Size = (header + extension) as u16;
    object.DriverObject = driver;
    object.Flags = DO_DEVICE_INITIALIZING | if exclusive { DO_EXCLUSIVE } else { 0 };
    object.DeviceType = kind;
    object.Characteristics = characteristics;
    object.StackSize = 1;
    if extension > 0 {
        // SAFETY: the extension follows the object in the same allocation.
        object.DeviceExtension = unsafe { memory.add(header) }.cast();
    }
    // SAFETY: the caller vouches for the driver object; the list is its own.
    let driver_object = unsafe { &mut *driver };
    object.NextDevice = driver_object.DeviceObject;
    driver_object.DeviceObject = device;
    DEVICES.lock().insert(
        device.addr(),
        Known { driver: driver.addr(), below: 0, references: 0, deleted: false },
    );
    Some(device)
}

/// Checks that an address is a device object that exists.
pub(crate) fn check(device: PDEVICE_OBJECT, call: &str) {
    let known = DEVICES.lock().get(&device.addr()).copied();
    match known {
        Some(known) if !known.deleted || known.references > 0 => {}
        Some(_) => broken(Rule::DeviceObject, call, format_args!("{device:p} was deleted")),
        None => broken(Rule::DeviceObject, call, format_args!("{device:p} is no device object")),
    }
}

/// What `IoDeleteDevice` does.
///
/// # Safety
///
/// Nobody uses the object any more but who has a reference.
pub(crate) unsafe fn delete(device: PDEVICE_OBJECT) {
    const CALL: &str = "IoDeleteDevice";
    check(device, CALL);
    // SAFETY: the object exists.
    let object = unsafe { &mut *device };
    if !object.AttachedDevice.is_null() {
        broken(Rule::DeviceObject, CALL, format_args!("another device is still attached to it"));
    }
    let mut devices = DEVICES.lock();
    let known = devices.entry(device.addr()).and_modify(|known| known.deleted = true);
    let known = *known.or_insert(Known { driver: 0, below: 0, references: 0, deleted: true });
    drop(devices);
    if known.below != 0 {
        broken(Rule::DeviceObject, CALL, format_args!("it is still attached to a lower device"));
    }
    let driver = object.DriverObject;
    // SAFETY: driver objects stay for ever; the list is walked by the one who removes.
    let mut link = unsafe { &raw mut (*driver).DeviceObject };
    loop {
        // SAFETY: `link` is the list's head or a member of a device object on it.
        let next = unsafe { *link };
        if next == device {
            // SAFETY: as above.
            unsafe { *link = object.NextDevice };
            break;
        }
        if next.is_null() {
            break;
        }
        // SAFETY: `next` is a device object on the list.
        link = unsafe { &raw mut (*next).NextDevice };
    }
    if known.references == 0 {
        poison(device);
    }
}

const fn poison(device: PDEVICE_OBJECT) {
    // SAFETY: the object's own memory, which is never given back, and no one else's any more.
    unsafe {
        core::ptr::write_bytes(device.cast::<u8>(), 0xdd, size_of::<DEVICE_OBJECT>());
    }
}

/// Keeps a device object for as long as something may still use it; false if it is none.
pub(crate) fn reference(device: PDEVICE_OBJECT) -> bool {
    match DEVICES.lock().get_mut(&device.addr()) {
        Some(known) if !known.deleted || known.references > 0 => {
            known.references += 1;
            true
        }
        _ => false,
    }
}

/// Undoes [`reference`].
pub(crate) fn dereference(device: PDEVICE_OBJECT) {
    let mut devices = DEVICES.lock();
    let Some(known) = devices.get_mut(&device.addr()) else { return };
    known.references = known.references.saturating_sub(1);
    let gone = known.deleted && known.references == 0;
    drop(devices);
    if gone {
        poison(device);
    }
}

/// The device at the top of the stack that `device` is in.
///
/// # Safety
///
/// `device` is a device object that stays, and so do those attached to it.
pub(crate) unsafe fn top(device: PDEVICE_OBJECT) -> PDEVICE_OBJECT {
    let mut top = device;
    loop {
        // SAFETY: the caller vouches for the stack's objects.
        let above = unsafe { (*top).AttachedDevice };
        if above.is_null() {
            return top;
        }
        top = above;
    }
}

/// What `IoAttachDeviceToDeviceStack` does: the device is put on top; the one that was there is returned.
///
/// # Safety
///
/// As for [`top`].
pub(crate) unsafe fn attach(device: PDEVICE_OBJECT, stack: PDEVICE_OBJECT) -> PDEVICE_OBJECT {
    check(device, "IoAttachDeviceToDeviceStack");
    check(stack, "IoAttachDeviceToDeviceStack");
    // SAFETY: the caller vouches for the stack.
    let below = unsafe { top(stack) };
    // SAFETY: `below` exists.
    let lower = unsafe { &mut *below };
    // SAFETY: `device` exists and is another object than `below`.
    let object = unsafe { &mut *device };
    lower.AttachedDevice = device;
    object.StackSize = lower.StackSize + 1;
    object.AlignmentRequirement = lower.AlignmentRequirement;
    if let Some(known) = DEVICES.lock().get_mut(&device.addr()) {
        known.below = below.addr();
    }
    below
}

/// What `IoDetachDevice` does, given the lower device.
///
/// # Safety
///
/// `below` is a device object.
pub(crate) unsafe fn detach(below: PDEVICE_OBJECT) {
    check(below, "IoDetachDevice");
    // SAFETY: the caller vouches for it.
    let lower = unsafe { &mut *below };
    if lower.AttachedDevice.is_null() {
        broken(Rule::DeviceObject, "IoDetachDevice", format_args!("nothing is attached to it"));
    }
    if let Some(known) = DEVICES.lock().get_mut(&lower.AttachedDevice.addr()) {
        known.below = 0;
    }
    lower.AttachedDevice = core::ptr::null_mut();
}

/// How many device objects a driver has.
pub(crate) fn count(driver: PDRIVER_OBJECT) -> usize {
    DEVICES
        .lock()
        .values()
        .filter(|known| known.driver == driver.addr() && (!known.deleted || known.references > 0))
        .count()
}
