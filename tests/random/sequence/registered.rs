//! A registration of whichever type, owned or given away as a pointer.

use core::ffi::c_void;
use core::marker::PhantomData;
use core::ptr::NonNull;

use wdm_interrupt::{
    BorrowedRegistration, ConnectionKind, DisconnectError, DisconnectErrorKind, Dpc,
    InterruptRegistration, Irql, MessageHalves, MessageRegistration, NoDeferred,
    PassiveInterruptRegistration, SharedDpc, ThreadedDpc, WorkItem,
};

use super::driver::{Completion, Isr};

/// The handlers that a registration that has ended gave back, or a connect that failed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Returned {
    pub(super) handlers: usize,
    /// What they had claimed and nobody took.
    pub(super) events: u32,
}

impl Returned {
    pub(super) fn of<'a>(handlers: impl IntoIterator<Item = &'a Isr>) -> Self {
        handlers.into_iter().fold(Self::default(), |Self { handlers, events }, isr| Self {
            handlers: handlers + 1,
            events: events + isr.events,
        })
    }
}

/// What all types of registration have.
pub(super) trait Registration: Sized + 'static {
    fn kind(&self) -> ConnectionKind;
    fn synchronize_each(&self, with_handler: &mut dyn FnMut(&mut Isr));
    fn report(&self, active: bool);
    fn queue_deferred(&self);
    fn end(self, removed: bool) -> Result<Returned, DisconnectError<Self>>;
    fn into_raw(self) -> NonNull<c_void>;
    /// # Safety
    ///
    /// As the registration's.
    unsafe fn from_raw(raw: NonNull<c_void>) -> Self;
    /// # Safety
    ///
    /// As the registration's.
    unsafe fn borrow_raw<'a>(raw: NonNull<c_void>) -> BorrowedRegistration<'a, Self>;
}

macro_rules! registration {
    (
        $type:ty, |$it:ident, $call:ident| $each:expr, |$halves:ident| $returned:expr,
        |$queued:ident| $queue:block
    ) => {
        impl Registration for $type {
            fn kind(&self) -> ConnectionKind {
                self.kind()
            }

            fn synchronize_each(&self, $call: &mut dyn FnMut(&mut Isr)) {
                let $it = self;
                $each;
            }

            fn report(&self, active: bool) {
                if active { self.report_active() } else { self.report_inactive() }
            }

            fn queue_deferred(&self) {
                let $queued = self;
                $queue
            }

            fn end(self, removed: bool) -> Result<Returned, DisconnectError<Self>> {
                let halves = if removed { self.disconnect_removed() } else { self.disconnect() };
                halves.map(|$halves| $returned)
            }

            fn into_raw(self) -> NonNull<c_void> {
                self.into_raw()
            }

            unsafe fn from_raw(raw: NonNull<c_void>) -> Self {
                // SAFETY: as the caller promises.
                unsafe { Self::from_raw(raw) }
            }

            unsafe fn borrow_raw<'a>(raw: NonNull<c_void>) -> BorrowedRegistration<'a, Self> {
                // SAFETY: as the caller promises.
                unsafe { Self::borrow_raw(raw) }
            }
        }
    };
}

macro_rules! one_handler {
    ($type:ty, |$queued:ident| $queue:block) => {
        registration!(
            $type,
            |it, call| it.synchronize(call),
            |halves| Returned::of([&halves.0]),
            |$queued| $queue
        );
    };
}

macro_rules! each_handler {
    ($half:ty, |$queued:ident| $queue:block) => {
        registration!(
            MessageRegistration<Isr, $half>,
            |it, call| it.messages().for_each(|message| message.synchronize(&mut *call)),
            |halves| of_messages(&halves),
            |$queued| $queue
        );
    };
}

one_handler!(InterruptRegistration<Isr>, |_it| {});
one_handler!(InterruptRegistration<Isr, Dpc<Completion>>, |it| { it.queue_deferred(); });
one_handler!(InterruptRegistration<Isr, ThreadedDpc<Completion>>, |it| { it.queue_deferred(); });
one_handler!(InterruptRegistration<Isr, WorkItem<Completion>>, |it| { it.queue_deferred(); });
one_handler!(PassiveInterruptRegistration<Isr>, |_it| {});
one_handler!(PassiveInterruptRegistration<Isr, WorkItem<Completion>>, |it| { it.queue_deferred(); });
each_handler!(NoDeferred, |_it| {});
each_handler!(SharedDpc<Completion>, |it| {
    it.queue_deferred();
});
each_handler!(Dpc<Completion>, |it| {
    for message in it.messages() {
        message.queue_deferred();
    }
});
each_handler!(ThreadedDpc<Completion>, |it| {
    for message in it.messages() {
        message.queue_deferred();
    }
});

/// The handlers of all messages.
pub(super) fn of_messages<D>(halves: &MessageHalves<Isr, D>) -> Returned
where
    D: wdm_interrupt::MessageHalf<Isr>,
{
    Returned::of((0..halves.count()).filter_map(|index| halves.handler(index)))
}

/// A registration of a type that only it knows.
pub(super) trait Registered {
    fn kind(&self) -> ConnectionKind;
    fn synchronize_each(&self, with_handler: &mut dyn FnMut(&mut Isr));
    fn report(&self, active: bool);
    fn queue_deferred(&self);
    /// Disconnects, which is refused above `PASSIVE_LEVEL`.
    fn end(self: Box<Self>, removed: bool) -> Result<Returned, Box<dyn Registered>>;
    fn into_raw(self: Box<Self>) -> Box<dyn Registered>;
    fn into_owned(self: Box<Self>) -> Box<dyn Registered>;
}

/// Who has a registration.
pub(super) enum Kept<R: Registration> {
    Owned(R),
    Raw(Raw<R>),
}

/// A registration that was given away. Here it is taken back when this is dropped, as a driver in C
/// would have to.
pub(super) struct Raw<R: Registration> {
    pointer: NonNull<c_void>,
    registration: PhantomData<R>,
}

impl<R: Registration> Raw<R> {
    fn new(registration: R) -> Self {
        // INVARIANT: of a registration of this type.
        Self { pointer: registration.into_raw(), registration: PhantomData }
    }

    fn borrow(&self) -> BorrowedRegistration<'_, R> {
        // SAFETY: of a registration of this type (invariant), which is taken back by value.
        unsafe { R::borrow_raw(self.pointer) }
    }

    fn into_owned(self) -> R {
        let raw = core::mem::ManuallyDrop::new(self);
        // SAFETY: as above; this is not dropped, so it is taken back once.
        unsafe { R::from_raw(raw.pointer) }
    }
}

impl<R: Registration> Drop for Raw<R> {
    fn drop(&mut self) {
        // SAFETY: of a registration of this type (invariant), taken back once.
        drop(unsafe { R::from_raw(self.pointer) });
    }
}

impl<R: Registration> Kept<R> {
    fn with<T>(&self, act: impl FnOnce(&R) -> T) -> T {
        match self {
            Self::Owned(registration) => act(registration),
            Self::Raw(raw) => act(&raw.borrow()),
        }
    }

    fn owned(self) -> R {
        match self {
            Self::Owned(registration) => registration,
            Self::Raw(raw) => raw.into_owned(),
        }
    }
}

impl<R: Registration> Registered for Kept<R> {
    fn kind(&self) -> ConnectionKind {
        self.with(R::kind)
    }

    fn synchronize_each(&self, with_handler: &mut dyn FnMut(&mut Isr)) {
        self.with(|registration| registration.synchronize_each(with_handler));
    }

    fn report(&self, active: bool) {
        self.with(|registration| registration.report(active));
    }

    fn queue_deferred(&self) {
        self.with(R::queue_deferred);
    }

    fn end(self: Box<Self>, removed: bool) -> Result<Returned, Box<dyn Registered>> {
        let ended = self.owned().end(removed);
        ended.map_err(|error| -> Box<dyn Registered> {
            assert_eq!(error.kind(), DisconnectErrorKind::RaisedIrql(Irql::current()));
            Box::new(Self::Owned(error.into_registration()))
        })
    }

    fn into_raw(self: Box<Self>) -> Box<dyn Registered> {
        Box::new(Self::Raw(Raw::new(self.owned())))
    }

    fn into_owned(self: Box<Self>) -> Box<dyn Registered> {
        Box::new(Self::Owned(self.owned()))
    }
}
