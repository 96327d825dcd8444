//! One handler a message, serviced in parallel.

mod block;
mod error;
mod halves;
mod message;
mod registration;
mod request;

use core::ptr::NonNull;

pub(crate) use self::block::MessageBlock;
pub use self::error::ConnectEachError;
pub use self::halves::{IntoHandlers, MessageHalves};
pub use self::message::Message;
pub use self::registration::MessageRegistration;
pub use self::request::EachMessage;
use crate::deferred::sealed::Laid;
use crate::deferred::{
    DeferredHandler, Dpc, DpcParts, Home, NoDeferred, SharedDeferredHandler, SharedDpc,
    SharedParts, ThreadedDpc, ThreadedParts,
};

/// A kind of deferred half for handlers `H` of all messages. Sealed.
///
/// [`NoDeferred`]; [`Dpc`] and [`ThreadedDpc`], one a message; or [`SharedDpc`], one for all. A
/// work item is not among them: a handler's DPC can ask the driver's own.
///
/// # Examples
///
/// For code that is generic over a driver's registrations:
///
/// ```
/// use wdm_interrupt::{InterruptHandler, MessageHalf, MessageRegistration};
///
/// /// Which messages are connected, for the log.
/// fn vectors<H, D>(registration: &MessageRegistration<H, D>) -> Vec<u32>
/// where
///     H: InterruptHandler<D>,
///     D: MessageHalf<H>,
/// {
///     let messages = registration.messages();
///     messages.filter_map(|message| Some(message.entry()?.vector)).collect()
/// }
#[doc = include_str!("examples/handler.txt")]
#[doc = include_str!("examples/messages.txt")]
/// let registration = EachMessage::new(device, 2)
///     .connect(|_message| Handler::default())?;
/// assert_eq!(vectors(&registration).len(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the deferred half of handlers `{H}` of all messages",
    note = "in a `Dpc<T>` or `ThreadedDpc<T>`, `T` implements `DeferredHandler<{H}>`; in a \
            `SharedDpc<T>`, `SharedDeferredHandler<{H}>`"
)]
pub trait MessageHalf<H>: laid::LaidEach<H> {}

impl<H, D: laid::LaidEach<H>> MessageHalf<H> for D {}

pub(crate) mod laid {
    use core::ptr::NonNull;

    use super::MessageBlock;
    use crate::deferred::Home;
    use crate::deferred::sealed::{Parts, Sealed};

    /// How a kind of deferred half is laid out in the memory of a registration for all messages.
    pub trait LaidEach<H>: Sealed + Sized {
        /// What all messages share.
        type Shared;
        type SharedInner;
        type SharedParts: Parts<Self::SharedInner>;
        /// What each message has.
        type Own;
        type OwnInner;
        type OwnParts: Parts<Self::OwnInner>;

        fn shared_inner(shared: Self::Shared) -> Self::SharedInner;

        /// # Safety
        ///
        /// `place` is valid for writing, zeroed, resident, and stays put until it has been taken
        /// out. It is that of the shared parts in `block`, which is complete before anything is
        /// queued.
        unsafe fn lay_out_shared(
            shared: Self::Shared,
            place: NonNull<Self::SharedParts>,
            block: NonNull<MessageBlock<H, Self>>,
        );

        /// # Safety
        ///
        /// As above, for the parts of one handler in `home`.
        unsafe fn lay_out_own<C: Home<H, Self::OwnParts>>(
            own: Self::Own,
            place: NonNull<Self::OwnParts>,
            home: NonNull<C>,
        );
    }
}

/// Implements `LaidEach` for a kind that each message has for itself.
macro_rules! each_its_own {
    ([$($generics:tt)*] $kind:ty, $inner:ty, $parts:ty) => {
        impl<$($generics)*> laid::LaidEach<H> for $kind {
            type Shared = NoDeferred;
            type SharedInner = ();
            type SharedParts = ();
            type Own = Self;
            type OwnInner = $inner;
            type OwnParts = $parts;

            fn shared_inner(_shared: NoDeferred) {}

            unsafe fn lay_out_shared(
                _shared: NoDeferred,
                _place: NonNull<()>,
                _block: NonNull<MessageBlock<H, Self>>,
            ) {
            }

            unsafe fn lay_out_own<C: Home<H, $parts>>(
                own: Self,
                place: NonNull<$parts>,
                home: NonNull<C>,
            ) {
                // These kinds take nothing from the kernel, so there is nothing it could refuse.
                // SAFETY: as the caller promises.
                let _laid = unsafe { Laid::<H>::lay_out(own, place, home) };
            }
        }
    };
}

each_its_own!([H] NoDeferred, (), ());
each_its_own!([H, T: DeferredHandler<H>] Dpc<T>, T, DpcParts<T>);
each_its_own!([H, T: DeferredHandler<H>] ThreadedDpc<T>, T, ThreadedParts<T>);

impl<H, T: SharedDeferredHandler<H>> laid::LaidEach<H> for SharedDpc<T> {
    type Shared = Self;
    type SharedInner = T;
    type SharedParts = SharedParts<T>;
    type Own = NoDeferred;
    type OwnInner = ();
    type OwnParts = ();

    fn shared_inner(shared: Self) -> T {
        crate::DeferredKind::into_inner(shared)
    }

    unsafe fn lay_out_shared(
        shared: Self,
        place: NonNull<SharedParts<T>>,
        block: NonNull<MessageBlock<H, Self>>,
    ) {
        // SAFETY: as the caller promises.
        unsafe { SharedParts::lay_out(shared, place, block) };
    }

    unsafe fn lay_out_own<C: Home<H, ()>>(
        _own: NoDeferred,
        _place: NonNull<()>,
        _home: NonNull<C>,
    ) {
    }
}
