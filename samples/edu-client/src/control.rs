//! Single requests: sent, and their answers read.

use core::fmt;

use edu_interface::{
    BadRequest, FACTORIAL, FactorialReply, FactorialRequest, RAISE, RaiseRequest, STATISTICS,
    Statistics,
};

/// An open edu device.
pub trait Device {
    /// Why the system or the driver refused a request.
    type Error;

    /// Sends a request, waits for its end, and returns how many bytes of `output` were written.
    ///
    /// # Errors
    ///
    /// The request could not be sent, or ended with a failure.
    fn control(&self, code: u32, input: &[u8], output: &mut [u8]) -> Result<usize, Self::Error>;

    /// Whether this is how a request fails whose values are not allowed: `STATUS_INVALID_PARAMETER` in
    /// the driver, which Win32 turns into `ERROR_INVALID_PARAMETER`.
    fn is_invalid_parameter(error: &Self::Error) -> bool;
}

/// What was not as it must be.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Failure<E> {
    /// A request failed.
    Refused {
        /// Which one.
        request: &'static str,
        /// Why.
        error: E,
    },
    /// A request that must fail, with `STATUS_INVALID_PARAMETER`, did not.
    Accepted(&'static str),
    /// An answer of another length than documented.
    Length {
        /// To which request.
        request: &'static str,
        /// Bytes that were written.
        written: usize,
        /// Bytes that are documented.
        documented: usize,
    },
    /// An answer that means nothing.
    Meaningless(&'static str),
    /// The answer is for another number, or no factorial.
    Wrong {
        /// The number that was asked for.
        asked: u32,
        /// What came.
        reply: FactorialReply,
    },
    /// The driver's counters do not fit what was asked of it.
    Counted(&'static str),
    /// This program asked for something that is not allowed.
    BadRequest(BadRequest),
}

impl<E: fmt::Display> fmt::Display for Failure<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { request, error } => write!(f, "{request} failed: {error}"),
            Self::Accepted(request) => {
                write!(f, "{request} must be refused with STATUS_INVALID_PARAMETER, and was not")
            }
            Self::Length { request, written, documented } => {
                write!(f, "{request} returned {written} bytes; {documented} are documented")
            }
            Self::Meaningless(request) => write!(f, "{request} returned what means nothing"),
            Self::Wrong { asked, reply } => {
                write!(f, "{}! = {} was returned for {asked}!", reply.number, reply.factorial)
            }
            Self::Counted(what) => f.write_str(what),
            Self::BadRequest(bad) => write!(f, "this program asked for {bad}"),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> core::error::Error for Failure<E> {}

impl<E> From<BadRequest> for Failure<E> {
    fn from(bad: BadRequest) -> Self {
        Self::BadRequest(bad)
    }
}

/// Has the device compute the factorial of `number`, and checks it.
///
/// # Errors
///
/// The request failed, or the answer is not the factorial; [`Failure::BadRequest`] above
/// [`FactorialRequest::MAX`], of which nothing is sent.
pub fn factorial<D: Device>(device: &D, number: u32) -> Result<u32, Failure<D::Error>> {
    const REQUEST: &str = "FACTORIAL";
    let input = FactorialRequest::new(number)?.to_bytes();
    let mut output = [0; FactorialReply::SIZE];
    send(device, REQUEST, FACTORIAL, &input, &mut output)?;
    let reply = FactorialReply::from_bytes(&output).ok_or(Failure::Meaningless(REQUEST))?;
    if reply == (FactorialReply { number, factorial: (1..=number).product() }) {
        Ok(reply.factorial)
    } else {
        Err(Failure::Wrong { asked: number, reply })
    }
}

/// Asks for a factorial that the device cannot give, and checks that the driver refuses.
pub(crate) fn too_large_a_factorial<D: Device>(device: &D) -> Result<(), Failure<D::Error>> {
    const REQUEST: &str = "FACTORIAL of 13";
    const { assert!(FactorialRequest::MAX == 12) };
    let mut output = [0; FactorialReply::SIZE];
    match device.control(FACTORIAL, &13_u32.to_ne_bytes(), &mut output) {
        Err(error) if D::is_invalid_parameter(&error) => Ok(()),
        Err(error) => Err(Failure::Refused { request: REQUEST, error }),
        Ok(_) => Err(Failure::Accepted(REQUEST)),
    }
}

/// Raises bits in the device's interrupt status.
///
/// # Errors
///
/// The request failed; [`Failure::BadRequest`] for bits that must not be raised.
pub fn raise<D: Device>(device: &D, bits: u32) -> Result<(), Failure<D::Error>> {
    let input = RaiseRequest::new(bits)?.to_bytes();
    send(device, "RAISE", RAISE, &input, &mut [])
}

/// Reads the driver's counters.
///
/// # Errors
///
/// The request failed, or the answer cannot be read.
pub fn statistics<D: Device>(device: &D) -> Result<Statistics, Failure<D::Error>> {
    const REQUEST: &str = "STATISTICS";
    let mut output = [0; Statistics::SIZE];
    send(device, REQUEST, STATISTICS, &[], &mut output)?;
    Statistics::from_bytes(&output).ok_or(Failure::Meaningless(REQUEST))
}

/// Sends a request whose answer fills `output`.
fn send<D: Device>(
    device: &D,
    request: &'static str,
    code: u32,
    input: &[u8],
    output: &mut [u8],
) -> Result<(), Failure<D::Error>> {
    let documented = output.len();
    let written =
        device.control(code, input, output).map_err(|error| Failure::Refused { request, error })?;
    if written == documented {
        Ok(())
    } else {
        Err(Failure::Length { request, written, documented })
    }
}
