//! Connecting that failed, with all halves.

use core::fmt;

use super::MessageHalf;
use super::halves::MessageHalves;
use crate::deferred::NoDeferred;
use crate::error::ConnectErrorKind;
use crate::nt;

/// A failed connect of [`EachMessage`](crate::EachMessage), with all halves in it.
///
/// Dropping it drops them, at the IRQL of the moment.
///
/// # Examples
///
/// ```
#[doc = include_str!("../examples/handler.txt")]
#[doc = include_str!("../examples/messages.txt")]
/// // One handler, and a device with two messages.
/// let connected = EachMessage::new(device, 1).connect(|_message| Handler::default());
/// let Err(ConnectEachError::NotConnected { kind, halves }) = connected else {
///     unreachable!("there are too many messages");
/// };
/// assert_eq!(kind, ConnectErrorKind::TooManyMessages { handlers: 1, messages: 2 });
/// assert_eq!(halves.count(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub enum ConnectEachError<H, D: MessageHalf<H> = NoDeferred> {
    /// It failed before there was memory: no handler has been made.
    NotMade {
        /// Why it failed.
        kind: ConnectErrorKind,
        /// What all would have shared as deferred half.
        deferred: D::SharedInner,
    },
    /// The handlers were made and could not be connected.
    NotConnected {
        /// Why it failed.
        kind: ConnectErrorKind,
        /// All halves.
        halves: MessageHalves<H, D>,
    },
}

impl<H, D: MessageHalf<H>> ConnectEachError<H, D> {
    /// Why it failed. Any IRQL.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../examples/handler.txt")]
    #[doc = include_str!("../examples/messages.txt")]
    /// // A driver that forgot to count.
    /// let error = EachMessage::new(device, 0).connect(|_message| Handler::default()).unwrap_err();
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
    #[doc = include_str!("../examples/handler.txt")]
    #[doc = include_str!("../examples/line.txt")]
    /// let error = EachMessage::new(device, 1).connect(|_message| Handler::default()).unwrap_err();
    /// assert_eq!(error.status(), 0xC000_0225_u32.cast_signed()); // STATUS_NOT_FOUND
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn status(&self) -> nt::NTSTATUS {
        self.kind().status()
    }
}

impl<H, D: MessageHalf<H>> fmt::Display for ConnectEachError<H, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind().fmt(f)
    }
}

impl<H, D: MessageHalf<H>> fmt::Debug for ConnectEachError<H, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectEachError").field("kind", &self.kind()).finish_non_exhaustive()
    }
}

impl<H, D: MessageHalf<H>> core::error::Error for ConnectEachError<H, D> {}
