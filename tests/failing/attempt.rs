//! An attempt to connect: what came of it, whatever the version.

use std::mem::MaybeUninit;

use wdm_interrupt::{
    ConnectEachError, ConnectError, ConnectErrorKind, DeferredHalf, DisconnectError, Halves,
    InPlace, InPlaceError, InterruptHandler, InterruptRegistration, MessageHalf, MessageHalves,
    MessageRegistration, PassiveHalf, PassiveInterruptHandler, PassiveInterruptRegistration,
};

use crate::halves::{Half, Handler, Inner};

/// What came of it.
pub(crate) enum Attempt {
    Connected(Box<dyn Connected>),
    Failed(Failed),
}

/// An error.
pub(crate) struct Failed {
    pub(crate) kind: ConnectErrorKind,
    pub(crate) status: i32,
    pub(crate) text: String,
    /// Whether what comes back is still in the registration's memory.
    pub(crate) in_place: bool,
    /// Moves out what comes back.
    pub(crate) back: Box<dyn FnOnce() -> Back>,
}

/// What comes back.
pub(crate) struct Back {
    pub(crate) handlers: Vec<Handler>,
    pub(crate) halves: Vec<Half>,
}

/// A registration.
pub(crate) trait Connected {
    /// How often the handlers serviced an interrupt, as they know themselves.
    fn services(&self) -> u32;
    /// Reports the interrupt inactive and active again.
    fn report(&self);
    /// Disconnects.
    fn disconnect(self: Box<Self>) -> Back;
}

fn ended<T, R>(ended: Result<T, DisconnectError<R>>) -> T {
    ended.unwrap_or_else(|error| panic!("it was not disconnected: {error}"))
}

fn one(handler: Handler, half: impl Inner) -> Back {
    Back { handlers: vec![handler], halves: half.into_half().into_iter().collect() }
}

/// Of `connect` of one handler.
pub(crate) fn exclusive<D>(
    result: Result<InterruptRegistration<Handler, D>, ConnectError<Handler, D::Inner>>,
) -> Attempt
where
    Handler: InterruptHandler<D>,
    D: DeferredHalf<Handler, Inner: Inner> + 'static,
{
    struct Moved<R>(R);
    impl<D> Connected for Moved<InterruptRegistration<Handler, D>>
    where
        Handler: InterruptHandler<D>,
        D: DeferredHalf<Handler, Inner: Inner>,
    {
        fn services(&self) -> u32 {
            self.0.synchronize(|handler| handler.services)
        }

        fn report(&self) {
            self.0.report_inactive();
            self.0.report_active();
        }

        fn disconnect(self: Box<Self>) -> Back {
            let (handler, half) = ended(self.0.disconnect());
            one(handler, half)
        }
    }
    match result {
        Ok(registration) => Attempt::Connected(Box::new(Moved(registration))),
        Err(error) => failed(error),
    }
}

fn failed<T: Inner>(error: ConnectError<Handler, T>) -> Attempt {
    Attempt::Failed(Failed {
        kind: error.kind(),
        status: error.status(),
        text: error.to_string(),
        in_place: false,
        back: Box::new(|| {
            let (handler, half) = error.into_halves();
            one(handler, half)
        }),
    })
}

/// What makes a handler in place.
pub(crate) fn recipe(handler: Handler) -> InPlace<Handler, impl FnOnce(*mut Handler)> {
    let make = |place: *mut Handler| {
        // SAFETY: the place is valid for writing.
        unsafe { place.write(handler) };
    };
    // SAFETY: it writes a handler.
    unsafe { InPlace::new(make) }
}

/// Of `connect_in_place`.
pub(crate) fn in_place<D, F>(
    result: Result<InterruptRegistration<Handler, D>, InPlaceError<F, Handler, D>>,
) -> Attempt
where
    Handler: InterruptHandler<D>,
    D: DeferredHalf<Handler, Inner: Inner> + 'static,
    F: FnOnce(*mut Handler) + 'static,
{
    struct Placed<R>(R);
    impl<D> Connected for Placed<InterruptRegistration<Handler, D>>
    where
        Handler: InterruptHandler<D>,
        D: DeferredHalf<Handler, Inner: Inner>,
    {
        fn services(&self) -> u32 {
            self.0.synchronize(|handler| handler.services)
        }

        fn report(&self) {
            self.0.report_inactive();
            self.0.report_active();
        }

        fn disconnect(self: Box<Self>) -> Back {
            moved_out(ended(self.0.disconnect_in_place()))
        }
    }
    fn moved_out<D: DeferredHalf<Handler, Inner: Inner>>(halves: Halves<Handler, D>) -> Back {
        let (handler, half) = halves.into_inner();
        one(handler, half)
    }

    let error = match result {
        Ok(registration) => return Attempt::Connected(Box::new(Placed(registration))),
        Err(error) => error,
    };
    let (kind, status, text) = (error.kind(), error.status(), error.to_string());
    let (in_place, back): (bool, Box<dyn FnOnce() -> Back>) = match error {
        InPlaceError::NotMade { make, deferred, .. } => {
            let back = || {
                let mut place = MaybeUninit::uninit();
                make.into_inner()(place.as_mut_ptr());
                // SAFETY: the recipe has written a handler.
                one(unsafe { place.assume_init() }, deferred)
            };
            (false, Box::new(back))
        }
        InPlaceError::NotConnected { halves, .. } => (true, Box::new(|| moved_out(halves))),
    };
    Attempt::Failed(Failed { kind, status, text, in_place, back })
}

impl<D> Connected for PassiveInterruptRegistration<Handler, D>
where
    Handler: PassiveInterruptHandler<D>,
    D: PassiveHalf<Handler, Inner: Inner>,
{
    fn services(&self) -> u32 {
        self.synchronize(|handler| handler.services)
    }

    fn report(&self) {
        self.report_inactive();
        self.report_active();
    }

    fn disconnect(self: Box<Self>) -> Back {
        let (handler, half) = ended((*self).disconnect());
        one(handler, half)
    }
}

/// Of a passive-level `connect`.
pub(crate) fn passive<D>(
    result: Result<PassiveInterruptRegistration<Handler, D>, ConnectError<Handler, D::Inner>>,
) -> Attempt
where
    Handler: PassiveInterruptHandler<D>,
    D: PassiveHalf<Handler, Inner: Inner> + 'static,
{
    match result {
        Ok(registration) => Attempt::Connected(Box::new(registration)),
        Err(error) => failed(error),
    }
}

impl<D: Each> Connected for MessageRegistration<Handler, D>
where
    Handler: InterruptHandler<D>,
{
    fn services(&self) -> u32 {
        let messages = self.messages();
        messages.map(|message| message.synchronize(|handler| handler.services)).sum()
    }

    fn report(&self) {
        self.report_inactive();
        self.report_active();
    }

    fn disconnect(self: Box<Self>) -> Back {
        D::moved_out(ended((*self).disconnect()))
    }
}

/// Of a `connect` of a handler for each message.
pub(crate) fn each<D>(
    result: Result<MessageRegistration<Handler, D>, ConnectEachError<Handler, D>>,
) -> Attempt
where
    Handler: InterruptHandler<D>,
    D: Each + 'static,
{
    let error = match result {
        Ok(registration) => return Attempt::Connected(Box::new(registration)),
        Err(error) => error,
    };
    let (kind, status, text) = (error.kind(), error.status(), error.to_string());
    let (in_place, back): (bool, Box<dyn FnOnce() -> Back>) = match error {
        error @ ConnectEachError::NotMade { .. } => (false, Box::new(|| D::not_made(error))),
        ConnectEachError::NotConnected { halves, .. } => (true, Box::new(|| D::moved_out(halves))),
    };
    Attempt::Failed(Failed { kind, status, text, in_place, back })
}

/// A kind of deferred half for handlers of messages. What comes back is of types that cannot be named
/// outside of the library, so each kind takes its own apart.
pub(crate) trait Each: MessageHalf<Handler> {
    fn moved_out(halves: MessageHalves<Handler, Self>) -> Back
    where
        Self: Sized;

    fn not_made(error: ConnectEachError<Handler, Self>) -> Back
    where
        Self: Sized;
}

macro_rules! each {
    ($($kind:ty)*) => { $(
        impl Each for $kind {
            fn moved_out(halves: MessageHalves<Handler, Self>) -> Back {
                let (shared, cells) = halves.into_inner();
                let mut back = Back {
                    handlers: Vec::new(),
                    halves: shared.into_half().into_iter().collect(),
                };
                for (handler, own) in cells {
                    back.handlers.push(handler);
                    back.halves.extend(own.into_half());
                }
                back
            }

            fn not_made(error: ConnectEachError<Handler, Self>) -> Back {
                let ConnectEachError::NotMade { deferred, .. } = error else {
                    unreachable!("the handlers were made");
                };
                Back { handlers: Vec::new(), halves: deferred.into_half().into_iter().collect() }
            }
        }
    )* };
}

each!(
    wdm_interrupt::NoDeferred
    wdm_interrupt::Dpc<Half>
    wdm_interrupt::ThreadedDpc<Half>
    wdm_interrupt::SharedDpc<Half>
);
