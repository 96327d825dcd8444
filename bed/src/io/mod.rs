//! The I/O manager: driver and device objects, requests and their completion, queues, locks.

pub(crate) mod device;
pub(crate) mod driver;
pub(crate) mod interface;
pub(crate) mod irp;
pub(crate) mod queue;
pub(crate) mod remove_lock;
pub(crate) mod text;

use alloc::boxed::Box;

/// A zeroed object that drivers see, at an address that stays.
///
/// # Safety
///
/// Zero bytes are a valid `T`.
#[expect(clippy::unnecessary_box_returns, reason = "the address is what the drivers get")]
pub(crate) unsafe fn zeroed<T>() -> Box<T> {
    // SAFETY: the caller says that zero is a value of the type.
    unsafe { Box::new_zeroed().assume_init() }
}
