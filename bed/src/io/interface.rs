//! Device interfaces: the names by which a device can be opened.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use wdm_interrupt_model::nt::{
    GUID, NTSTATUS, PDEVICE_OBJECT, STATUS_OBJECT_NAME_NOT_FOUND, STATUS_SUCCESS,
};

use crate::sync::Lock;

/// What enabling an enabled interface returns; it counts as success.
const STATUS_OBJECT_NAME_EXISTS: NTSTATUS = 0x4000_0000;

/// One interface of one device.
#[derive(Debug, Clone, Copy)]
struct Interface {
    pdo: usize,
    enabled: bool,
}

static INTERFACES: Lock<BTreeMap<String, Interface>> = Lock::new(BTreeMap::new());

/// What `IoRegisterDeviceInterface` registers; the name is the symbolic link's.
pub(crate) fn register(pdo: PDEVICE_OBJECT, class: &GUID, reference: &str) -> String {
    let [a, b, tail @ ..] = class.Data4;
    let node = u64::from_be_bytes([0, 0, tail[0], tail[1], tail[2], tail[3], tail[4], tail[5]]);
    let mut name = format!(
        r"\??\PCI#{:08x}#{{{:08x}-{:04x}-{:04x}-{a:02x}{b:02x}-{node:012x}}}",
        pdo.addr(),
        class.Data1,
        class.Data2,
        class.Data3,
    );
    if !reference.is_empty() {
        name.push('\\');
        name.push_str(reference);
    }
    let fresh = Interface { pdo: pdo.addr(), enabled: false };
    INTERFACES.lock().entry(name.clone()).or_insert(fresh);
    name
}

/// What `IoSetDeviceInterfaceState` does.
pub(crate) fn set_state(name: &str, enabled: bool) -> NTSTATUS {
    let mut interfaces = INTERFACES.lock();
    let Some(interface) = interfaces.get_mut(name) else { return STATUS_OBJECT_NAME_NOT_FOUND };
    if interface.enabled == enabled {
        return if enabled { STATUS_OBJECT_NAME_EXISTS } else { STATUS_OBJECT_NAME_NOT_FOUND };
    }
    interface.enabled = enabled;
    STATUS_SUCCESS
}

/// The enabled interfaces of a device.
pub(crate) fn enabled(pdo: PDEVICE_OBJECT) -> Vec<String> {
    INTERFACES
        .lock()
        .iter()
        .filter(|(_, interface)| interface.pdo == pdo.addr() && interface.enabled)
        .map(|(name, _)| name.clone())
        .collect()
}

/// How many interfaces are still enabled.
pub(crate) fn left() -> usize {
    INTERFACES.lock().values().filter(|interface| interface.enabled).count()
}
