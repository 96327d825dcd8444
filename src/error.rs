//! What can go wrong, what it means, and what to do next.

use core::{error, fmt};

use crate::deferred::{DeferredHalf, NoDeferred};
use crate::handler::InterruptHandler;
use crate::irql::Irql;
use crate::nt;
use crate::registration::InterruptRegistration;

/// A connect that failed, with both halves in it.
///
/// Nothing is connected and nothing is allocated. `T` is what was handed in as the deferred half,
/// `()` without one. The handler may have been called: an ISR can run while the kernel is still
/// connecting. Its [`enable`](InterruptHandler::enable) and [`disable`](InterruptHandler::disable)
/// have not been.
///
/// Dropping the error, as `?` into another error does, drops both halves, at the IRQL of the
/// moment.
///
/// # Examples
///
/// ```
/// # use wdm_interrupt::{ConnectError, ConnectErrorKind};
/// fn start<H>(error: ConnectError<H>) -> i32 {
///     // The PnP manager wants the NTSTATUS, the log wants to know what to do.
///     let status = error.status();
///     let message = error.kind();
///     # let _ = message;
///     let (handler, ()) = error.into_halves();
///     # drop(handler);
///     status
/// }
/// ```
pub struct ConnectError<H, T = ()> {
    kind: ConnectErrorKind,
    handler: H,
    deferred: T,
}

/// Why a connect failed. Its [`Display`](fmt::Display) says what to do about it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ConnectErrorKind {
    /// `connect` was called above `PASSIVE_LEVEL`. The kernel was not called.
    RaisedIrql(Irql),
    /// There was no nonpaged pool for the registration. The kernel was not called.
    NoPool,
    /// The interrupt's IRQL is no device IRQL: at `PASSIVE_LEVEL` it is a passive-level interrupt,
    /// which this handler cannot serve. The kernel was not called, or its connection was undone.
    NoDeviceIrql(Irql),
    /// `IoConnectInterruptEx` failed with this `NTSTATUS`.
    Refused(nt::NTSTATUS),
    /// `IoConnectInterruptEx` reported a success and returned no connection.
    NothingConnected,
    /// No message is assigned; the kernel fell back to the line, which the request did not
    /// allow. The connection was undone.
    NoMessages,
    /// `IoConnectInterruptEx` returned a Version that does not go with the request, or an
    /// incomplete message table. The connection was undone.
    Unexpected {
        /// The Version that was returned.
        version: u32,
    },
}

impl ConnectErrorKind {
    /// The `NTSTATUS` to return to the PnP manager.
    #[must_use]
    pub const fn status(self) -> nt::NTSTATUS {
        match self {
            Self::RaisedIrql(_) => nt::STATUS_INVALID_DEVICE_STATE,
            Self::NoPool => nt::STATUS_INSUFFICIENT_RESOURCES,
            Self::NoDeviceIrql(_) => nt::STATUS_INVALID_PARAMETER,
            Self::Refused(status) => status,
            Self::NothingConnected | Self::Unexpected { .. } => nt::STATUS_UNSUCCESSFUL,
            Self::NoMessages => nt::STATUS_NOT_FOUND,
        }
    }
}

impl fmt::Display for ConnectErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::RaisedIrql(irql) => write!(
                f,
                "connect was called at {irql}; connect in IRP_MN_START_DEVICE, at PASSIVE_LEVEL \
                 and with no fast mutex or spin lock held"
            ),
            Self::NoPool => f.write_str(
                "STATUS_INSUFFICIENT_RESOURCES: no nonpaged pool for the registration; fail the \
                 start, the system may retry it",
            ),
            Self::NoDeviceIrql(irql) => write!(
                f,
                "the interrupt's IRQL is {irql}; an InterruptHandler serves interrupts above \
                 DISPATCH_LEVEL only, under a spin lock, and a passive-level interrupt has none"
            ),
            Self::Refused(status) => {
                let (name, advice) = explain(status);
                match name {
                    Some(name) => write!(f, "{name}: {advice}"),
                    None => write!(f, "IoConnectInterruptEx failed (0x{status:08X}): {advice}"),
                }
            }
            Self::NothingConnected => f.write_str(
                "IoConnectInterruptEx reported a success but returned no interrupt object; \
                 nothing is connected, fail the start",
            ),
            Self::NoMessages => f.write_str(
                "no interrupt message is assigned to the device, only a line; call \
                 fall_back_to_line to serve the line, or let the INF set MSISupported under \
                 Interrupt Management\\MessageSignaledInterruptProperties",
            ),
            Self::Unexpected { version } => write!(
                f,
                "IoConnectInterruptEx returned a connection that does not go with the request \
                 (Version {version}); it was undone, fail the start"
            ),
        }
    }
}

/// Name and advice for the failures that the documentation of `IoConnectInterruptEx` has.
const fn explain(status: nt::NTSTATUS) -> (Option<&'static str>, &'static str) {
    match status {
        nt::STATUS_INVALID_DEVICE_REQUEST => (
            Some("STATUS_INVALID_DEVICE_REQUEST"),
            "messages are assigned to the device, which a line-based request cannot serve; use \
             MessageBased, or remove MSISupported from the INF",
        ),
        nt::STATUS_INVALID_PARAMETER => (
            Some("STATUS_INVALID_PARAMETER"),
            "the kernel does not take these parameters: was PhysicalDevice made from the physical \
             device object that AddDevice got, and is the interrupt no passive-level one?",
        ),
        nt::STATUS_INVALID_PARAMETER_1 => (
            Some("STATUS_INVALID_PARAMETER_1"),
            "this system does not know the Version: CONNECT_FULLY_SPECIFIED_GROUP, which a \
             resource of another processor group needs, came with Windows 7",
        ),
        nt::STATUS_INVALID_PARAMETER_10 => (
            Some("STATUS_INVALID_PARAMETER_10"),
            "the affinity is empty or names no active processor; take the descriptor from the \
             translated resource list as it is",
        ),
        nt::STATUS_NOT_FOUND => (
            Some("STATUS_NOT_FOUND"),
            "the device has no interrupt of this kind, or not this vector, assigned; was the \
             translated resource list of this START used?",
        ),
        nt::STATUS_INSUFFICIENT_RESOURCES => (
            Some("STATUS_INSUFFICIENT_RESOURCES"),
            "the kernel had no memory for the interrupt object; fail the start, the system may \
             retry it",
        ),
        nt::STATUS_NOT_SUPPORTED => (
            Some("STATUS_NOT_SUPPORTED"),
            "this system or the device's bus does not support this kind of interrupt; try \
             another request",
        ),
        _ => (None, "not a status that its documentation has; fail the start with it"),
    }
}

impl error::Error for ConnectErrorKind {}

impl<H, T> ConnectError<H, T> {
    pub(crate) fn new(kind: ConnectErrorKind, (handler, deferred): (H, T)) -> Self {
        Self { kind, handler, deferred }
    }

    /// Why it failed.
    #[must_use]
    pub const fn kind(&self) -> ConnectErrorKind {
        self.kind
    }

    /// The `NTSTATUS` to return to the PnP manager.
    #[must_use]
    pub const fn status(&self) -> nt::NTSTATUS {
        self.kind.status()
    }

    /// The handler and the deferred half, as they were handed in (and perhaps called since).
    #[must_use = "the handler and the deferred half are in it"]
    pub fn into_halves(self) -> (H, T) {
        (self.handler, self.deferred)
    }
}

impl<H, T> fmt::Display for ConnectError<H, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(f)
    }
}

impl<H, T> fmt::Debug for ConnectError<H, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectError").field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl<H, T> error::Error for ConnectError<H, T> {}

/// A disconnect above `PASSIVE_LEVEL`, with the registration in it, as it was.
///
/// Dropping the error drops the registration, which is as impossible at that IRQL: take it out
/// with [`into_registration`](Self::into_registration) and keep it for later.
#[must_use = "the registration is in it, and dropping it here panics"]
pub struct DisconnectError<H, D = NoDeferred>
where
    H: InterruptHandler<D>,
    D: DeferredHalf<H>,
{
    registration: InterruptRegistration<H, D>,
    irql: Irql,
}

impl<H: InterruptHandler<D>, D: DeferredHalf<H>> DisconnectError<H, D> {
    pub(crate) const fn new(registration: InterruptRegistration<H, D>, irql: Irql) -> Self {
        Self { registration, irql }
    }

    /// The IRQL at which it was tried.
    #[must_use]
    pub const fn irql(&self) -> Irql {
        self.irql
    }

    /// The registration, connected as before.
    #[must_use = "dropping a registration at raised IRQL panics"]
    pub fn into_registration(self) -> InterruptRegistration<H, D> {
        self.registration
    }
}

impl<H: InterruptHandler<D>, D: DeferredHalf<H>> fmt::Display for DisconnectError<H, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "an interrupt can be disconnected at PASSIVE_LEVEL only, and this was {}; disconnect \
             in the PnP dispatch routine, with no fast mutex or spin lock held",
            self.irql
        )
    }
}

impl<H: InterruptHandler<D>, D: DeferredHalf<H>> fmt::Debug for DisconnectError<H, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DisconnectError").field("irql", &self.irql).finish_non_exhaustive()
    }
}

impl<H: InterruptHandler<D>, D: DeferredHalf<H>> error::Error for DisconnectError<H, D> {}
