//! The requests: how they lie in their buffers, and what is wrong with a bad one.

use core::fmt;

use crate::{CAUSES, COUNTS, Counts, RAISE};

/// A request that has passed every check that needs no device.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Request {
    /// [`RAISE`]
    Raise(RaiseRequest),
    /// [`COUNTS`]
    Counts,
}

impl Request {
    /// Reads a request out of what `DeviceIoControl` was called with.
    ///
    /// # Errors
    ///
    /// [`BadRequest`] says what is wrong. The code is looked at first, then the input's length,
    /// the output's length, and at last the values.
    pub fn decode(code: u32, input: &[u8], output_length: usize) -> Result<Self, BadRequest> {
        match code {
            RAISE => {
                let causes = input.first_chunk().ok_or(BadRequest::InputTooShort)?;
                RaiseRequest::new(u32::from_ne_bytes(*causes)).map(Self::Raise)
            }
            COUNTS if output_length < Counts::SIZE => Err(BadRequest::OutputTooShort),
            COUNTS => Ok(Self::Counts),
            _ => Err(BadRequest::UnknownCode),
        }
    }
}

/// Causes to be raised in the device.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct RaiseRequest {
    causes: u32,
}

impl RaiseRequest {
    /// Bytes in the input buffer.
    pub const SIZE: usize = 4;

    /// Every cause that there is.
    pub const ALL: u32 = (1 << CAUSES) - 1;

    /// A request to raise the causes whose bits are set, bit 0 for cause 0.
    ///
    /// # Errors
    ///
    /// [`BadRequest::OutOfRange`] if there is a bit beyond [`ALL`](Self::ALL), or none at all.
    pub const fn new(causes: u32) -> Result<Self, BadRequest> {
        if causes != 0 && causes & !Self::ALL == 0 {
            Ok(Self { causes })
        } else {
            Err(BadRequest::OutOfRange)
        }
    }

    /// The causes, bit 0 for cause 0.
    #[must_use]
    pub const fn causes(self) -> u32 {
        self.causes
    }

    /// The input buffer.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; Self::SIZE] {
        self.causes.to_ne_bytes()
    }
}

/// What is wrong with a request.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum BadRequest {
    /// The code is none of the driver's.
    UnknownCode,
    /// The input buffer is shorter than the request.
    InputTooShort,
    /// The output buffer is shorter than the reply.
    OutputTooShort,
    /// A value that is not allowed.
    OutOfRange,
}

impl BadRequest {
    /// The NTSTATUS with which the driver completes such a request.
    #[must_use]
    pub const fn status(self) -> i32 {
        let status: u32 = match self {
            // STATUS_INVALID_DEVICE_REQUEST
            Self::UnknownCode => 0xC000_0010,
            // STATUS_INVALID_BUFFER_SIZE
            Self::InputTooShort => 0xC000_0206,
            // STATUS_BUFFER_TOO_SMALL
            Self::OutputTooShort => 0xC000_0023,
            // STATUS_INVALID_PARAMETER
            Self::OutOfRange => 0xC000_000D,
        };
        status.cast_signed()
    }
}

impl fmt::Display for BadRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownCode => "the IOCTL code is none of e1000e.sys",
            Self::InputTooShort => "the input buffer is shorter than the request",
            Self::OutputTooShort => "the output buffer has no room for the reply",
            Self::OutOfRange => "no cause, or one that the device does not have",
        })
    }
}

impl core::error::Error for BadRequest {}
