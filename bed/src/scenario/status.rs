//! Names of statuses, for what people read.

use core::fmt;

use wdm_interrupt_model::nt::{self, NTSTATUS};

/// A status by its name, where the scenarios know it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Status(pub(crate) NTSTATUS);

macro_rules! names {
    ($($name:ident),* $(,)?) => {
        const NAMES: &[(NTSTATUS, &str)] = &[$((nt::$name, stringify!($name))),*];
    };
}

names!(
    STATUS_SUCCESS,
    STATUS_PENDING,
    STATUS_CANCELLED,
    STATUS_INVALID_DEVICE_REQUEST,
    STATUS_INVALID_PARAMETER,
    STATUS_INVALID_PARAMETER_1,
    STATUS_INVALID_PARAMETER_10,
    STATUS_INVALID_BUFFER_SIZE,
    STATUS_BUFFER_TOO_SMALL,
    STATUS_DEVICE_NOT_READY,
    STATUS_DEVICE_REMOVED,
    STATUS_DELETE_PENDING,
    STATUS_NOT_FOUND,
    STATUS_NOT_SUPPORTED,
    STATUS_INSUFFICIENT_RESOURCES,
    STATUS_DEVICE_CONFIGURATION_ERROR,
    STATUS_DEVICE_DOES_NOT_EXIST,
    STATUS_INTERNAL_ERROR,
);

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.iter().find(|(status, _)| *status == self.0) {
            Some((_, name)) => f.write_str(name),
            None => write!(f, "status {:#010x}", self.0),
        }
    }
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
