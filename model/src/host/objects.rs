//! Device objects: memory that stays as long as someone refers to it.

use std::{boxed::Box, collections::BTreeMap, mem::MaybeUninit};

use super::mutex::{Mutex, MutexGuard};
use crate::nt::DEVICE_OBJECT;

/// A device object's memory, and who needs it.
struct Object {
    /// Its device is there. A device object is deleted with its device.
    exists: bool,
    references: usize,
}

/// All device objects of a machine, by address.
///
/// # Invariants
///
/// Each address is that of a `Box<MaybeUninit<DEVICE_OBJECT>>` which this owns.
#[derive(Default)]
pub(super) struct DeviceObjects {
    objects: Mutex<BTreeMap<usize, Object>>,
}

impl DeviceObjects {
    fn objects(&self) -> MutexGuard<'_, BTreeMap<usize, Object>> {
        self.objects.lock()
    }

    /// A device object of zeroes: what is in it is the I/O manager's business.
    pub(super) fn create(&self) -> *mut DEVICE_OBJECT {
        let object = Box::into_raw(Box::<DEVICE_OBJECT>::new_zeroed());
        // INVARIANT: just made.
        let address = object.expose_provenance();
        self.objects().insert(address, Object { exists: true, references: 0 });
        object.cast()
    }

    pub(super) fn delete(&self, object: *mut DEVICE_OBJECT) {
        self.change(object, |it| it.exists = false);
    }

    /// References a device object; false if it is none, or deleted.
    pub(super) fn reference(&self, object: *mut DEVICE_OBJECT) -> bool {
        let mut objects = self.objects();
        let Some(found) = objects.get_mut(&object.addr()).filter(|it| it.exists) else {
            return false;
        };
        found.references += 1;
        true
    }

    pub(super) fn dereference(&self, object: *mut DEVICE_OBJECT) {
        self.change(object, |it| it.references = it.references.saturating_sub(1));
    }

    pub(super) fn references(&self, object: *mut DEVICE_OBJECT) -> usize {
        self.objects().get(&object.addr()).map_or(0, |it| it.references)
    }

    fn change(&self, object: *mut DEVICE_OBJECT, change: impl FnOnce(&mut Object)) {
        let mut objects = self.objects();
        let Some(found) = objects.get_mut(&object.addr()) else {
            return;
        };
        change(found);
        if !found.exists && found.references == 0 {
            objects.remove(&object.addr());
            free(object.addr());
        }
    }
}

/// Frees a device object that is in no list any more.
fn free(address: usize) {
    let object = std::ptr::with_exposed_provenance_mut::<MaybeUninit<DEVICE_OBJECT>>(address);
    // SAFETY: by the invariant of `DeviceObjects`; a device object has no destructor.
    drop(unsafe { Box::from_raw(object) });
}

impl Drop for DeviceObjects {
    fn drop(&mut self) {
        let objects = std::mem::take(&mut *self.objects());
        for address in objects.into_keys() {
            free(address);
        }
    }
}
