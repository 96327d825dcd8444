//! Passive-level interrupts: an ISR that runs at `PASSIVE_LEVEL`, in a thread, and may wait.
//!
//! For devices behind a slow bus (I²C, SPI), whose registers are reached by I/O requests.

mod block;
mod handler;
mod lock;
mod registration;
mod request;

use core::ptr::NonNull;

pub(crate) use self::block::PassiveCore;
pub(crate) use self::block::{PassiveBlock, PassiveWay};
pub use self::handler::{PassiveInterrupt, PassiveInterruptHandler};
pub use self::registration::PassiveInterruptRegistration;
pub use self::request::{ExperimentalPassiveMessageBased, PassiveFullySpecified, PassiveLineBased};
use crate::deferred::NoDeferred;

/// A kind of deferred half for a passive-level handler `H`: [`NoDeferred`] or a [`WorkItem`](crate::WorkItem).
/// Sealed.
///
/// # Examples
///
/// For code that is generic over a driver's registrations:
///
/// ```
/// use wdm_interrupt::{PassiveHalf, PassiveInterruptHandler, PassiveInterruptRegistration};
///
/// fn report<H, D>(registration: &PassiveInterruptRegistration<H, D>) -> String
/// where
///     H: PassiveInterruptHandler<D>,
///     D: PassiveHalf<H>,
/// {
///     format!("{:?}", registration.kind())
/// }
#[doc = include_str!("examples/passive.txt")]
/// let registration = PassiveLineBased::new(device).connect(Handler::default())?;
/// assert_eq!(report(&registration), "LineBased");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the deferred half of the passive-level handler `{H}`",
    note = "a passive-level interrupt has no DPC; use `WorkItem<T>`, where `T` implements \
            `WorkHandler<{H}>`, or none"
)]
pub trait PassiveHalf<H>: sealed::Laid<H> {}

impl<H, D: sealed::Laid<H>> PassiveHalf<H> for D {}

pub(crate) mod sealed {
    use core::ptr::NonNull;

    use super::PassiveCore;
    use crate::deferred::DeferredKind;

    /// How a kind of deferred half is laid out in the memory of a passive-level registration.
    pub trait Laid<H>: DeferredKind {
        type Parts: Parts<Self::Inner>;

        /// Lays it out in `place`, not open yet; gives it back when the kernel has no memory for
        /// its part of it.
        ///
        /// # Safety
        ///
        /// `PASSIVE_LEVEL`. `place` is valid for writing, resident, and stays put until
        /// [`Parts::take`], and so does `core`.
        unsafe fn lay_out(
            self,
            place: NonNull<Self::Parts>,
            core: NonNull<PassiveCore<H>>,
        ) -> Result<(), Self>
        where
            Self: Sized;
    }

    /// What of a deferred half lies in the registration's memory. The methods are those of
    /// [`crate::deferred::sealed::Parts`].
    pub trait Parts<T>: Sized {
        const DEFERS: bool;

        fn inner(&self) -> &T;

        /// Queues it. At most `DISPATCH_LEVEL`, which the callers have asserted. Returns `false` when it is queued already.
        fn request(&self) -> bool;

        /// # Safety
        ///
        /// Published, connected, and both until it is closed and has been waited for.
        unsafe fn open(&self);

        fn close(&self);

        fn is_inside(&self) -> bool;

        /// # Safety
        ///
        /// `PASSIVE_LEVEL`, by one thread at a time, not inside.
        unsafe fn wait(&self);

        /// # Safety
        ///
        /// As [`wait`](Self::wait), and nobody queues it any more.
        unsafe fn wait_until_idle(&self);

        /// # Safety
        ///
        /// At most `DISPATCH_LEVEL`. Laid out, idle, used by nobody any more. Once.
        unsafe fn take(place: NonNull<Self>) -> T;
    }
}

impl<H> sealed::Laid<H> for NoDeferred {
    type Parts = ();

    unsafe fn lay_out(
        self,
        _place: NonNull<()>,
        _core: NonNull<PassiveCore<H>>,
    ) -> Result<(), Self> {
        Ok(())
    }
}

impl sealed::Parts<()> for () {
    const DEFERS: bool = false;

    fn inner(&self) -> &Self {
        self
    }

    fn request(&self) -> bool {
        false
    }

    unsafe fn open(&self) {}

    fn close(&self) {}

    fn is_inside(&self) -> bool {
        false
    }

    unsafe fn wait(&self) {}

    unsafe fn wait_until_idle(&self) {}

    unsafe fn take(_place: NonNull<Self>) -> Self {}
}
