//! What can go wrong, what it means, and what to do next.

use core::{error, fmt};

use crate::block::Halves;
use crate::deferred::{DeferredHalf, NoDeferred};
#[cfg(doc)]
use crate::handler::InterruptHandler;
use crate::irql::Irql;
use crate::nt;
use crate::request::InPlace;

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
#[doc = include_str!("examples/handler.txt")]
#[doc = include_str!("examples/line.txt")]
/// /// START of a device that must have messages.
/// fn start(device: PhysicalDevice) -> Result<InterruptRegistration<Handler>, NTSTATUS> {
///     MessageBased::new(device).connect(Handler::default()).map_err(|error| {
///         // For the log, which says what to do; the handler goes with the error.
///         eprintln!("{error}");
///         error.status()
///     })
/// }
/// assert!(start(device).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ConnectError<H, T = ()> {
    kind: ConnectErrorKind,
    handler: H,
    deferred: T,
}

/// Why a connect failed. Its [`Display`](fmt::Display) says what to do about it.
///
/// # Examples
///
/// ```
#[doc = include_str!("examples/handler.txt")]
#[doc = include_str!("examples/messages.txt")]
/// // A driver that knows lines only, and a device that was given messages.
/// let error = LineBased::new(device).connect(Handler::default()).unwrap_err();
/// let refused = 0xC000_0010_u32.cast_signed(); // STATUS_INVALID_DEVICE_REQUEST
/// assert_eq!(error.kind(), ConnectErrorKind::Refused(refused));
/// // It says what to do about it.
/// let advice = error.kind().to_string();
/// assert!(advice.ends_with("use MessageBased, or remove MSISupported from the INF"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ConnectErrorKind {
    /// `connect` was called above `PASSIVE_LEVEL`. The kernel was not called.
    RaisedIrql(Irql),
    /// There was no nonpaged pool for the registration, or for its work item. The kernel was not
    /// called.
    NoPool,
    /// The request lists no vectors. The kernel was not called.
    NoVectors,
    /// More messages are connected than there are handlers. The connection was undone.
    TooManyMessages {
        /// How many handlers there are.
        handlers: u32,
        /// How many messages the kernel connected.
        messages: u32,
    },
    /// The interrupt is none at `PASSIVE_LEVEL`, which a passive-level handler must have. The
    /// kernel was not called, or its connection was undone.
    NotPassive(Irql),
    /// The interrupt's IRQL is no device IRQL: at `PASSIVE_LEVEL` it is a passive-level interrupt,
    /// which this handler cannot serve. The kernel was not called, or its connection was undone.
    NoDeviceIrql(Irql),
    /// `IoConnectInterruptEx` failed with this `NTSTATUS`.
    Refused(nt::NTSTATUS),
    /// `IoConnectInterruptEx` reported a success and returned no connection.
    NothingConnected,
    /// No message is assigned; the kernel fell back to the line, which the request did not
    /// allow. The connection was undone. Or none was promised, and the kernel was not called.
    NoMessages,
    /// `IoConnectInterruptEx` returned a Version that does not go with the request, or an
    /// incomplete message table. The connection was undone.
    Unexpected {
        /// The Version that was returned.
        version: u32,
    },
}

impl ConnectErrorKind {
    /// The `NTSTATUS` to return to the PnP manager. Any IRQL.
    ///
    /// # Examples
    ///
    /// ```
    /// use wdm_interrupt::ConnectErrorKind;
    ///
    /// let no_memory = 0xC000_009A_u32.cast_signed(); // STATUS_INSUFFICIENT_RESOURCES
    /// assert_eq!(ConnectErrorKind::NoPool.status(), no_memory);
    /// ```
    #[must_use]
    pub const fn status(self) -> nt::NTSTATUS {
        match self {
            Self::RaisedIrql(_) => nt::STATUS_INVALID_DEVICE_STATE,
            Self::NoPool => nt::STATUS_INSUFFICIENT_RESOURCES,
            Self::NoDeviceIrql(_)
            | Self::NotPassive(_)
            | Self::NoVectors
            | Self::TooManyMessages { .. } => nt::STATUS_INVALID_PARAMETER,
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
                 DISPATCH_LEVEL only, under a spin lock, and a passive-level interrupt has none; \
                 use PassiveLineBased or PassiveFullySpecified"
            ),
            Self::NoVectors => f.write_str(
                "the request lists no vectors, because the device got no interrupt; pass what \
                 InterruptResources finds, and connect nothing when it finds none",
            ),
            Self::TooManyMessages { handlers, messages } => write!(
                f,
                "{messages} messages are connected, and {handlers} handlers were announced; count \
                 the messages with InterruptResources at every START"
            ),
            Self::NotPassive(irql) => write!(
                f,
                "the interrupt's IRQL is {irql}; a PassiveInterruptHandler serves interrupts at \
                 PASSIVE_LEVEL only; use LineBased or FullySpecified"
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
                "no interrupt message is assigned to the device, at most a line; call \
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

    /// Why it failed. Any IRQL.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("examples/handler.txt")]
    #[doc = include_str!("examples/line.txt")]
    /// let error = MessageBased::new(device).connect(Handler::default()).unwrap_err();
    /// assert_eq!(error.kind(), ConnectErrorKind::NoMessages);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn kind(&self) -> ConnectErrorKind {
        self.kind
    }

    /// The `NTSTATUS` to return to the PnP manager. Any IRQL.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("examples/handler.txt")]
    #[doc = include_str!("examples/line.txt")]
    /// /// What the dispatch routine completes `IRP_MN_START_DEVICE` with.
    /// fn start(device: PhysicalDevice) -> Result<InterruptRegistration<Handler>, NTSTATUS> {
    ///     MessageBased::new(device).connect(Handler::default()).map_err(|error| error.status())
    /// }
    /// let not_found = 0xC000_0225_u32.cast_signed(); // STATUS_NOT_FOUND
    /// assert_eq!(start(device).err(), Some(not_found));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn status(&self) -> nt::NTSTATUS {
        self.kind.status()
    }

    /// The handler and the deferred half, as they were handed in (and perhaps called since). Any
    /// IRQL.
    ///
    /// # Examples
    ///
    /// A second try with the same handler:
    ///
    /// ```
    #[doc = include_str!("examples/handler.txt")]
    #[doc = include_str!("examples/line.txt")]
    /// let (handler, ()) = match MessageBased::new(device).connect(Handler::default()) {
    ///     Err(error) => error.into_halves(),
    ///     Ok(_) => unreachable!("the device has a line only"),
    /// };
    /// let registration = LineBased::new(device).connect(handler)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
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

/// A failed [`connect_in_place`](crate::LineBased::connect_in_place), with both halves in it.
///
/// Dropping it drops what is in it, at the IRQL of the moment.
///
/// # Examples
///
/// ```
#[doc = include_str!("examples/handler.txt")]
#[doc = include_str!("examples/line.txt")]
/// // SAFETY: it writes a handler.
/// let make = unsafe { InPlace::new(|place: *mut Handler| place.write(Handler::default())) };
/// match MessageBased::new(device).connect_in_place(make) {
///     Ok(_) => unreachable!("the device has a line only"),
///     Err(InPlaceError::NotMade { .. }) => unreachable!("there is memory"),
///     Err(InPlaceError::NotConnected { kind, halves }) => {
///         assert_eq!(kind, ConnectErrorKind::NoMessages);
///         assert_eq!(halves.handler().events, 0);
///     }
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub enum InPlaceError<F, H, D: DeferredHalf<H> = NoDeferred> {
    /// It failed before there was memory: the handler has not been made.
    NotMade {
        /// Why it failed.
        kind: ConnectErrorKind,
        /// What would have made the handler.
        make: InPlace<H, F>,
        /// The deferred half.
        deferred: D::Inner,
    },
    /// The handler was made and could not be connected.
    NotConnected {
        /// Why it failed.
        kind: ConnectErrorKind,
        /// Both halves, where they were made.
        halves: Halves<H, D>,
    },
}

impl<F, H, D: DeferredHalf<H>> InPlaceError<F, H, D> {
    /// Why it failed. Any IRQL.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("examples/handler.txt")]
    #[doc = include_str!("examples/line.txt")]
    /// // SAFETY: it writes a handler.
    /// let make = unsafe { InPlace::new(|place: *mut Handler| place.write(Handler::default())) };
    /// let error = MessageBased::new(device).connect_in_place(make).unwrap_err();
    /// assert_eq!(error.kind(), ConnectErrorKind::NoMessages);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn kind(&self) -> ConnectErrorKind {
        match self {
            Self::NotMade { kind, .. } | Self::NotConnected { kind, .. } => *kind,
        }
    }

    /// The `NTSTATUS` to return to the PnP manager. Any IRQL.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("examples/handler.txt")]
    #[doc = include_str!("examples/line.txt")]
    /// // SAFETY: it writes a handler.
    /// let make = unsafe { InPlace::new(|place: *mut Handler| place.write(Handler::default())) };
    /// let error = MessageBased::new(device).connect_in_place(make).unwrap_err();
    /// assert_eq!(error.status(), error.kind().status());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn status(&self) -> nt::NTSTATUS {
        self.kind().status()
    }
}

impl<F, H, D: DeferredHalf<H>> fmt::Display for InPlaceError<F, H, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind().fmt(f)
    }
}

impl<F, H, D: DeferredHalf<H>> fmt::Debug for InPlaceError<F, H, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InPlaceError").field("kind", &self.kind()).finish_non_exhaustive()
    }
}

impl<F, H, D: DeferredHalf<H>> error::Error for InPlaceError<F, H, D> {}

/// A disconnect where it is not possible, with the registration in it, as it was.
///
/// Dropping the error drops the registration, which is as impossible there: take it out with
/// [`into_registration`](Self::into_registration) and keep it for later.
///
/// # Examples
///
/// ```
#[doc = include_str!("examples/handler.txt")]
#[doc = include_str!("examples/line.txt")]
/// let registration = LineBased::new(device).connect(Handler::default())?;
/// // With a spin lock held, which is a mistake.
/// let Err(error) = at_dispatch_level(|| registration.disconnect()) else {
///     unreachable!("that is possible at PASSIVE_LEVEL only");
/// };
/// assert_eq!(error.kind(), DisconnectErrorKind::RaisedIrql(Irql::DISPATCH));
/// // Where it is possible.
/// let (_handler, ()) = error.into_registration().disconnect()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "the registration is in it, and dropping it here panics"]
pub struct DisconnectError<R> {
    registration: R,
    kind: DisconnectErrorKind,
}

/// Why a disconnect is not possible.
///
/// # Examples
///
/// ```
/// use wdm_interrupt::{DisconnectErrorKind, Irql};
///
/// let kind = DisconnectErrorKind::RaisedIrql(Irql::DISPATCH);
/// assert_eq!(
///     kind.to_string(),
///     "an interrupt can be disconnected at PASSIVE_LEVEL only, and this was DISPATCH_LEVEL; \
///      disconnect in the PnP dispatch routine, not in an ISR, in a DPC, or with a fast mutex or \
///      spin lock held",
/// );
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum DisconnectErrorKind {
    /// Above `PASSIVE_LEVEL`, at this IRQL.
    RaisedIrql(Irql),
    /// At `PASSIVE_LEVEL`, but inside what it would wait for: the registration's own threaded DPC,
    /// work item or passive-level ISR, or a closure that it synchronises.
    InsideItself,
}

impl DisconnectErrorKind {
    /// What forbids the teardown here, if anything does.
    pub(crate) fn here(is_inside: impl FnOnce() -> bool) -> Option<Self> {
        let irql = Irql::current();
        if irql != Irql::PASSIVE {
            Some(Self::RaisedIrql(irql))
        } else if is_inside() {
            Some(Self::InsideItself)
        } else {
            None
        }
    }

    /// Panics because `what` was dropped where it cannot end.
    #[cold]
    #[track_caller]
    pub(crate) fn dropped(self, what: &str) -> ! {
        panic!("{what} was dropped, which disconnects its ISR: {self}")
    }
}

impl fmt::Display for DisconnectErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::RaisedIrql(irql) => write!(
                f,
                "an interrupt can be disconnected at PASSIVE_LEVEL only, and this was {irql}; \
                 disconnect in the PnP dispatch routine, not in an ISR, in a DPC, or with a fast \
                 mutex or spin lock held"
            ),
            Self::InsideItself => f.write_str(
                "an interrupt cannot be disconnected inside its own deferred half, passive-level \
                 ISR or synchronised closure, which the disconnect waits for; disconnect in the \
                 PnP dispatch routine",
            ),
        }
    }
}

impl error::Error for DisconnectErrorKind {}

impl<R> DisconnectError<R> {
    pub(crate) const fn new(registration: R, kind: DisconnectErrorKind) -> Self {
        Self { registration, kind }
    }

    /// Why it is not possible. Any IRQL.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("examples/handler.txt")]
    #[doc = include_str!("examples/line.txt")]
    /// let registration = LineBased::new(device).connect(Handler::default())?;
    /// let Err(error) = at_dispatch_level(|| registration.disconnect()) else {
    ///     unreachable!("that is possible at PASSIVE_LEVEL only");
    /// };
    /// assert!(matches!(error.kind(), DisconnectErrorKind::RaisedIrql(_)));
    /// # drop(error);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn kind(&self) -> DisconnectErrorKind {
        self.kind
    }

    /// The registration, connected as before. Any IRQL.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("examples/handler.txt")]
    #[doc = include_str!("examples/line.txt")]
    /// let registration = LineBased::new(device).connect(Handler::default())?;
    /// let Err(error) = at_dispatch_level(|| registration.disconnect()) else {
    ///     unreachable!("that is possible at PASSIVE_LEVEL only");
    /// };
    /// let registration = error.into_registration();
    /// model.raise_line();
    /// assert_eq!(registration.synchronize(|handler| handler.events), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use = "dropping a registration where it cannot end panics"]
    pub fn into_registration(self) -> R {
        self.registration
    }
}

impl<R> fmt::Display for DisconnectError<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(f)
    }
}

impl<R> fmt::Debug for DisconnectError<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DisconnectError").field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl<R> error::Error for DisconnectError<R> {}
