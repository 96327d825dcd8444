//! The requests: how they lie in their buffers, and what is wrong with a bad one.

use core::fmt;

use crate::{FACTORIAL, RAISE, STATISTICS, Statistics};

/// A request that has passed every check that needs no device.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Request {
    /// [`FACTORIAL`]
    Factorial(FactorialRequest),
    /// [`RAISE`]
    Raise(RaiseRequest),
    /// [`STATISTICS`]
    Statistics,
}

impl Request {
    /// Reads a request out of what `DeviceIoControl` was called with.
    ///
    /// # Errors
    ///
    /// [`BadRequest`] says what is wrong. The code is looked at first, then the input's length,
    /// the output's length, and at last the values.
    pub fn decode(code: u32, input: &[u8], output_length: usize) -> Result<Self, BadRequest> {
        let (input_needed, output_needed) = match code {
            FACTORIAL => (FactorialRequest::SIZE, FactorialReply::SIZE),
            RAISE => (RaiseRequest::SIZE, 0),
            STATISTICS => (0, Statistics::SIZE),
            _ => return Err(BadRequest::UnknownCode),
        };
        if input.len() < input_needed {
            return Err(BadRequest::InputTooShort);
        }
        if output_length < output_needed {
            return Err(BadRequest::OutputTooShort);
        }
        match code {
            FACTORIAL => FactorialRequest::new(word(input)).map(Self::Factorial),
            RAISE => RaiseRequest::new(word(input)).map(Self::Raise),
            _ => Ok(Self::Statistics),
        }
    }
}

/// The first four bytes as a number; 0 if there are fewer.
fn word(bytes: &[u8]) -> u32 {
    bytes.first_chunk().copied().map_or(0, u32::from_ne_bytes)
}

/// The number whose factorial is wanted.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct FactorialRequest {
    number: u32,
}

impl FactorialRequest {
    /// Bytes in the input buffer.
    pub const SIZE: usize = 4;

    /// The largest number: 12! is the last factorial that fits the device's 32 bits.
    pub const MAX: u32 = 12;

    /// A request for the factorial of `number`.
    ///
    /// # Errors
    ///
    /// [`BadRequest::OutOfRange`] above [`MAX`](Self::MAX).
    pub const fn new(number: u32) -> Result<Self, BadRequest> {
        if number <= Self::MAX { Ok(Self { number }) } else { Err(BadRequest::OutOfRange) }
    }

    /// The number.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.number
    }

    /// The input buffer.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; Self::SIZE] {
        self.number.to_ne_bytes()
    }
}

/// What the device computed.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct FactorialReply {
    /// The number that was asked for.
    pub number: u32,
    /// Its factorial.
    pub factorial: u32,
}

impl FactorialReply {
    /// Bytes in the output buffer: `number`, then `factorial`.
    pub const SIZE: usize = 8;

    /// The output buffer.
    #[must_use]
    pub fn to_bytes(self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        bytes[..4].copy_from_slice(&self.number.to_ne_bytes());
        bytes[4..].copy_from_slice(&self.factorial.to_ne_bytes());
        bytes
    }

    /// Reads an output buffer; `None` if it is too short.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..Self::SIZE)?;
        Some(Self { number: word(bytes), factorial: word(&bytes[4..]) })
    }
}

/// Bits to be raised in the device's interrupt status.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct RaiseRequest {
    bits: u32,
}

impl RaiseRequest {
    /// Bytes in the input buffer.
    pub const SIZE: usize = 4;

    /// Bits that only the device itself may raise: bit 0, a factorial is complete, and bit 8, a
    /// DMA transfer is. Raised by a program they would forge a completion.
    pub const RESERVED: u32 = 1 << 0 | 1 << 8;

    /// A request to raise `bits`.
    ///
    /// # Errors
    ///
    /// [`BadRequest::OutOfRange`] if there is a [reserved](Self::RESERVED) bit among them, or no
    /// bit at all.
    pub const fn new(bits: u32) -> Result<Self, BadRequest> {
        if bits != 0 && bits & Self::RESERVED == 0 {
            Ok(Self { bits })
        } else {
            Err(BadRequest::OutOfRange)
        }
    }

    /// The bits.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.bits
    }

    /// The input buffer.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; Self::SIZE] {
        self.bits.to_ne_bytes()
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
            Self::UnknownCode => "the IOCTL code is none of edu.sys",
            Self::InputTooShort => "the input buffer is shorter than the request",
            Self::OutputTooShort => "the output buffer has no room for the reply",
            Self::OutOfRange => "a number above 12, or status bits that must not be raised",
        })
    }
}

impl core::error::Error for BadRequest {}
