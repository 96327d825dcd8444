//! What a program needs to talk to `edu.sys`, the sample driver for QEMU's edu device.
//!
//! A program finds the device by its interface, [`DEVICE_INTERFACE`], opens it, and sends
//! `DeviceIoControl` with one of three codes. All are `METHOD_BUFFERED`.
//!
//! | code | access | input | output |
//! |---|---|---|---|
//! | [`FACTORIAL`] | read and write | [`FactorialRequest`], 4 bytes | [`FactorialReply`], 8 bytes |
//! | [`RAISE`] | write | [`RaiseRequest`], 4 bytes | none |
//! | [`STATISTICS`] | read | none | [`Statistics`], 96 bytes |
//!
//! Numbers have the machine's byte order, which on every Windows machine is little-endian. Buffers
//! may be longer than needed; what is beyond is neither read nor written.
//!
//! [`FACTORIAL`] pends until the device has computed and interrupted. Any number of requests may
//! be outstanding; the device computes one at a time, in the order of arrival. A request can be
//! cancelled, and is when its file is closed. What was accepted outlives a stop of the device for
//! other resources, and a sleep: it is computed afterwards.
//!
//! [`RAISE`] is complete once the bits have been written to the device, and says nothing about
//! the interrupt, which comes on its own. [`Statistics::status_seen`] tells when it has come.
//!
//! # Failures
//!
//! A request that fails changes nothing, and no byte of its output is written.
//!
//! | status | when |
//! |---|---|
//! | `STATUS_INVALID_DEVICE_REQUEST` | the code is none of the three |
//! | `STATUS_INVALID_BUFFER_SIZE` | the input is shorter than the request |
//! | `STATUS_BUFFER_TOO_SMALL` | the output has no room for the reply |
//! | `STATUS_INVALID_PARAMETER` | a number above 12, or bits that [`RAISE`] refuses |
//! | `STATUS_DEVICE_NOT_READY` | the device is not started, stopped, or asleep ([`RAISE`]) |
//! | `STATUS_DEVICE_REMOVED` | the device is gone; also for what was pending when it went |
//! | `STATUS_DELETE_PENDING` | the driver is being detached, or, on opening, may be soon |
//! | `STATUS_CANCELLED` | the request was cancelled, or its file closed |
//!
//! The first four are [`BadRequest`].

#![no_std]
#![forbid(unsafe_code)]

mod request;
mod statistics;

pub use request::{BadRequest, FactorialReply, FactorialRequest, RaiseRequest, Request};
pub use statistics::{Connection, Statistics};

/// The class of the device interface that the driver registers and enables at START.
///
/// `{E405C0F4-2E44-41CA-9BA9-0F88FD728799}`
pub const DEVICE_INTERFACE: Guid = Guid {
    data1: 0xE405_C0F4,
    data2: 0x2E44,
    data3: 0x41CA,
    data4: [0x9B, 0xA9, 0x0F, 0x88, 0xFD, 0x72, 0x87, 0x99],
};

/// Computes a factorial on the device: [`FactorialRequest`] in, [`FactorialReply`] out.
pub const FACTORIAL: u32 = ctl_code(0x800, FILE_READ_ACCESS | FILE_WRITE_ACCESS);

/// Raises bits in the device's interrupt status, for tests: [`RaiseRequest`] in, nothing out.
pub const RAISE: u32 = ctl_code(0x801, FILE_WRITE_ACCESS);

/// Reads the driver's counters: nothing in, [`Statistics`] out.
pub const STATISTICS: u32 = ctl_code(0x802, FILE_READ_ACCESS);

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
