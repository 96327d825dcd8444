//! What a program needs to talk to `e1000e.sys`, the sample driver for an Intel 82574, the network
//! controller that QEMU calls e1000e.
//!
//! The driver moves no packets. It shows a device with several messages: the controller has five
//! causes of interrupts, and five MSI-X messages that they can be given to. A program has causes
//! raised, and reads what came of it.
//!
//! A program finds the device by its interface, [`DEVICE_INTERFACE`], opens it, and sends
//! `DeviceIoControl` with one of two codes. Both are `METHOD_BUFFERED`.
//!
//! | code | access | input | output |
//! |---|---|---|---|
//! | [`RAISE`] | write | [`RaiseRequest`], 4 bytes | none |
//! | [`COUNTS`] | read | none | [`Counts`], 208 bytes |
//!
//! Numbers have the machine's byte order, which on every Windows machine is little-endian. Buffers
//! may be longer than needed; what is beyond is neither read nor written.
//!
//! # Which cause comes by which message
//!
//! The causes are numbered 0 to 4: receive queue 0 and 1, transmit queue 0 and 1, and other. Given
//! `n` messages, the driver has cause `c` sent as message `c % n`, which is what [`message_of`] says;
//! given a line, all come by it. So with five messages each cause has its own.
//!
//! [`RAISE`] is complete once the causes are set in the device, and says nothing about the
//! interrupts, which come on their own. [`Counts`] tells when they have come. A cause that is raised
//! again before its service routine has run is one interrupt, not two.
//!
//! # Failures
//!
//! A request that fails changes nothing, and no byte of its output is written.
//!
//! | status | when |
//! |---|---|
//! | `STATUS_INVALID_DEVICE_REQUEST` | the code is none of the two |
//! | `STATUS_INVALID_BUFFER_SIZE` | the input is shorter than the request |
//! | `STATUS_BUFFER_TOO_SMALL` | the output has no room for the reply |
//! | `STATUS_INVALID_PARAMETER` | [`RAISE`] of no cause, or of one that there is not |
//! | `STATUS_DEVICE_NOT_READY` | the device is not started, or stopped, or asleep |
//! | `STATUS_DEVICE_REMOVED` | the device is gone |
//!
//! The first four are [`BadRequest`].

#![no_std]
#![forbid(unsafe_code)]

mod counts;
mod request;

pub use counts::{Connection, Counts, MessageCounts};
pub use request::{BadRequest, RaiseRequest, Request};

/// How many causes of interrupts the device has, and how many messages at most.
pub const CAUSES: usize = 5;

/// The message that a cause comes by, of a device that was given `messages` of them.
///
/// # Panics
///
/// If `messages` is 0.
#[must_use]
pub const fn message_of(cause: usize, messages: usize) -> usize {
    cause % messages
}

/// The class of the device interface that the driver registers and enables at START.
///
/// `{B59C0D0E-5B6B-4E53-8B43-82574E1000E5}`
pub const DEVICE_INTERFACE: Guid = Guid {
    data1: 0xB59C_0D0E,
    data2: 0x5B6B,
    data3: 0x4E53,
    data4: [0x8B, 0x43, 0x82, 0x57, 0x4E, 0x10, 0x00, 0xE5],
};

/// Raises causes of interrupts in the device: [`RaiseRequest`] in, nothing out.
pub const RAISE: u32 = ctl_code(0x800, FILE_WRITE_ACCESS);

/// Reads what the driver has counted: nothing in, [`Counts`] out.
pub const COUNTS: u32 = ctl_code(0x801, FILE_READ_ACCESS);

/// A GUID, with the layout of the Windows type.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[repr(C)]
pub struct Guid {
    /// The first eight hexadecimal digits.
    pub data1: u32,
    /// The first group of four.
    pub data2: u16,
    /// The second group of four.
    pub data3: u16,
    /// The third group of four, and the last twelve digits.
    pub data4: [u8; 8],
}

/// `FILE_DEVICE_UNKNOWN`: the type of the driver's device objects.
const FILE_DEVICE_UNKNOWN: u32 = 0x22;
const METHOD_BUFFERED: u32 = 0;
/// The I/O manager lets the code through only on a handle that was opened for reading.
const FILE_READ_ACCESS: u32 = 1;
/// The same for writing.
const FILE_WRITE_ACCESS: u32 = 2;

/// `CTL_CODE` of `devioctl.h`, for this driver's device type and method.
const fn ctl_code(function: u32, access: u32) -> u32 {
    FILE_DEVICE_UNKNOWN << 16 | access << 14 | function << 2 | METHOD_BUFFERED
}
