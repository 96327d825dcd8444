//! The deferred half: what the ISR leaves for later.
//!
//! The kinds are a file each. What they have in common, and what a registration must know of them,
//! is here: a kind is laid out in the registration's memory as its [`Parts`](sealed::Parts).

mod dpc;
mod life;
mod shared;
mod threaded;
mod work;
mod work_queue;

use core::fmt;
use core::ptr::{self, NonNull};

pub(crate) use self::dpc::DpcParts;
pub use self::dpc::{Dpc, DpcImportance, ProcessorNumber};
pub(crate) use self::sealed::Home;
pub(crate) use self::shared::{AllGuarded, SharedParts};
pub use self::shared::{SharedDeferred, SharedDeferredHandler, SharedDpc};
pub use self::threaded::ThreadedDpc;
pub(crate) use self::threaded::ThreadedParts;
pub use self::work::{FunctionDevice, Work, WorkHandler, WorkItem};
pub(crate) use self::work::{PassiveWorkParts, WorkParts, assert_may_queue_work};
pub(crate) use self::work_queue::{KERNEL_MODE, wait_for};
use crate::link::Way;
use crate::nt;

/// The work that an ISR defers, run by a DPC ([`Dpc`], [`ThreadedDpc`]) under the rules of
/// `DISPATCH_LEVEL`.
///
/// The registration owns the value, beside the handler `H`. The kernel can run one DPC on two
/// processors at the same time, because once it runs it can be queued again. Therefore [`run`]
/// has `&self`, and the trait asks for `Send + Sync`: state of its own needs a lock or atomics.
/// The ISR's state is reached through [`Deferred::synchronize`].
///
/// While the registration is torn down, this can still run after the handler's
/// [`disable`](crate::InterruptHandler::disable): it completes what was claimed before. It may even
/// enable the device again, as one that unmasks when it has caught up does, because `disable` is
/// then called once more. When the hardware is gone its registers read as all ones, here as in the
/// ISR.
///
/// Requests coalesce. What the ISR wants done belongs into the handler's state, and `run` takes
/// it from there until nothing is left.
///
/// See [Introduction to DPCs][page].
///
/// [`run`]: Self::run
/// [page]: https://learn.microsoft.com/windows-hardware/drivers/kernel/introduction-to-dpcs
///
/// # Examples
///
/// ```
/// use wdm_interrupt::{Deferred, DeferredHandler, Dpc, Interrupt, InterruptHandler, Serviced};
/// use core::sync::atomic::{AtomicU32, Ordering};
///
/// struct Handler {
///     events: u32,
/// }
///
/// impl InterruptHandler<Dpc<Completion>> for Handler {
///     fn service(&mut self, interrupt: &Interrupt<'_, Dpc<Completion>>) -> Serviced {
///         self.events += 1;
///         interrupt.queue_deferred();
///         Serviced::Claimed
///     }
/// }
///
/// struct Completion {
///     completed: AtomicU32,
/// }
///
/// impl DeferredHandler<Handler> for Completion {
///     fn run(&self, deferred: &Deferred<'_, Handler>) {
///         let events = deferred.synchronize(|handler| core::mem::take(&mut handler.events));
///         self.completed.fetch_add(events, Ordering::Relaxed);
///     }
/// }
/// ```
///
/// It can run on two processors at once, so a cell does not do for its state:
///
/// ```compile_fail,E0277
/// use core::cell::Cell;
/// use wdm_interrupt::{Deferred, DeferredHandler};
///
/// struct Completion {
///     completed: Cell<u32>,
/// }
///
/// impl<H> DeferredHandler<H> for Completion {
///     fn run(&self, _deferred: &Deferred<'_, H>) {
///         self.completed.set(self.completed.get() + 1);
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no deferred half for the handler `{H}`",
    note = "implement `DeferredHandler<{H}>` for it"
)]
pub trait DeferredHandler<H>: Send + Sync + 'static {
    /// Does what the ISR deferred. `DISPATCH_LEVEL`, or at `PASSIVE_LEVEL` under the same rules in
    /// a [`ThreadedDpc`].
    ///
    /// Runs only while the interrupt is connected: a DPC that an early ISR queues while
    /// connecting waits until the connection is complete, and once the teardown has refused
    /// deferred work this is not called any more, save for a run that had been let in before.
    ///
    /// # Examples
    ///
    /// ```
    /// use wdm_interrupt::{Deferred, DeferredHandler};
    ///
    /// struct Queue(Vec<u32>);
    /// struct Completion;
    ///
    /// impl DeferredHandler<Queue> for Completion {
    ///     fn run(&self, deferred: &Deferred<'_, Queue>) {
    ///         // One at a time, so that the lock is held shortly; until nothing is left.
    ///         while let Some(_request) = deferred.synchronize(|queue| queue.0.pop()) {
    ///             // Complete it here.
    ///         }
    ///     }
    /// }
    /// ```
    fn run(&self, deferred: &Deferred<'_, H>);
}

/// The kinds of deferred half: [`NoDeferred`], [`Dpc`], [`ThreadedDpc`], [`WorkItem`] and
/// [`SharedDpc`]. Sealed.
///
/// # Examples
///
/// ```
/// use wdm_interrupt::{DeferredKind, Dpc};
///
/// let half: Dpc<&str> = Dpc::new("what runs later");
/// assert_eq!(half.into_inner(), "what runs later");
/// ```
pub trait DeferredKind: sealed::Sealed {
    /// What the driver gets back when the registration ends, or was not made.
    type Inner;

    /// Takes it out again.
    ///
    /// # Examples
    ///
    /// ```
    /// use wdm_interrupt::{DeferredKind, NoDeferred};
    ///
    /// let () = NoDeferred.into_inner();
    /// ```
    fn into_inner(self) -> Self::Inner;
}

/// A kind of deferred half that can serve the handler `H`. Sealed.
///
/// [`NoDeferred`] serves any, [`Dpc<T>`](Dpc) and [`ThreadedDpc<T>`](ThreadedDpc) those that `T` is
/// a [`DeferredHandler`] for, [`WorkItem<T>`](WorkItem) those that `T` is a [`WorkHandler`] for.
/// Nobody else can implement it, not even for a handler of their own:
///
/// ```compile_fail,E0277
/// struct Handler;
/// impl wdm_interrupt::DeferredHalf<Handler> for wdm_interrupt::Dpc<()> {}
/// ```
///
/// # Examples
///
/// For code that is generic over a driver's registrations:
///
/// ```
/// use wdm_interrupt::{DeferredHalf, InterruptHandler, InterruptRegistration};
///
/// fn report<H, D>(registration: &InterruptRegistration<H, D>) -> String
/// where
///     H: InterruptHandler<D>,
///     D: DeferredHalf<H>,
/// {
///     format!("{:?} at {}", registration.kind(), registration.synchronize_irql())
/// }
#[doc = include_str!("examples/handler.txt")]
#[doc = include_str!("examples/line.txt")]
/// let half = Dpc::new(Completion::default());
/// let registration = LineBased::new(device).deferred(half).connect(Handler::default())?;
/// assert_eq!(report(&registration), "LineBased at IRQL 9");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the deferred half of the handler `{H}`",
    note = "in a `Dpc<T>` or `ThreadedDpc<T>`, `T` implements `DeferredHandler<{H}>`; in a \
            `WorkItem<T>`, `WorkHandler<{H}>`"
)]
pub trait DeferredHalf<H>: sealed::Laid<H> {}

impl<H, D: sealed::Laid<H>> DeferredHalf<H> for D {}

/// No deferred half: the ISR does it all, and cannot queue anything.
///
/// ```compile_fail,E0599
/// use wdm_interrupt::{Interrupt, InterruptHandler, Serviced};
///
/// struct Handler;
///
/// impl InterruptHandler for Handler {
///     fn service(&mut self, interrupt: &Interrupt<'_>) -> Serviced {
///         interrupt.queue_deferred();
///         Serviced::Claimed
///     }
/// }
/// ```
///
/// # Examples
///
/// It is what a handler without a word about it has:
///
/// ```
/// use wdm_interrupt::{Interrupt, InterruptHandler, NoDeferred, Serviced};
///
/// struct Handler;
///
/// impl InterruptHandler<NoDeferred> for Handler {
///     fn service(&mut self, _interrupt: &Interrupt<'_, NoDeferred>) -> Serviced {
///         Serviced::NotMine
///     }
/// }
///
/// fn takes(_handler: impl InterruptHandler) {}
/// takes(Handler);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct NoDeferred;

pub(crate) mod sealed {
    use core::ptr::NonNull;

    use super::DeferredKind;
    use crate::link::Guarded;
    use crate::nt;

    pub trait Sealed {}

    /// A kind whose DPC an ISR can queue.
    pub trait Queued: Sealed {}

    /// What a handler and its deferred half lie in together, and what the half's routines get as
    /// their context.
    ///
    /// # Safety
    ///
    /// Both are the same each time, and stay where they are until the half has been taken out. The
    /// handler is touched by the holder of the lock that goes with it only, once that is connected.
    /// The parts are opened after object and IRQL of this handler have been stored.
    pub unsafe trait Home<H, P> {
        fn guarded(&self) -> &Guarded<H>;

        fn parts(&self) -> &P;
    }

    /// How a kind of deferred half is laid out in the memory of a registration for `H`.
    ///
    /// It is a trait of its own, which nobody outside can name, because `DeferredHalf<H>` for a
    /// handler `H` of theirs could otherwise be implemented there, with other parts.
    pub trait Laid<H>: DeferredKind {
        type Parts: Parts<Self::Inner>;

        /// Lays it out in `place`, not open yet; gives it back when the kernel has no memory for
        /// its part of it.
        ///
        /// # Safety
        ///
        /// `PASSIVE_LEVEL`. `place` is valid for writing, zeroed, resident, and stays put until
        /// [`Parts::take`]. It is that of the parts in `home`, which is complete before anything is
        /// queued.
        unsafe fn lay_out<C: Home<H, Self::Parts>>(
            self,
            place: NonNull<Self::Parts>,
            home: NonNull<C>,
        ) -> Result<(), Self>
        where
            Self: Sized;
    }

    /// What of a deferred half lies in the registration's memory.
    pub trait Parts<T>: Sized {
        /// Whether there is a deferred half at all.
        const DEFERS: bool;

        /// The DPC that an ISR queues; null when there is none.
        fn dpc(&self) -> *mut nt::KDPC;

        /// What was handed in.
        fn inner(&self) -> &T;

        /// Lets user code run from here on; what came earlier is queued again.
        ///
        /// # Safety
        ///
        /// Object and IRQL of the handler have been stored, the interrupt is connected, and both stay
        /// so until [`close`](Self::close) and a flush after it.
        unsafe fn open(&self);

        /// Lets no user code run from here on, save what has been let in already.
        fn close(&self);

        /// Whether the current thread is running this half's user code, at `PASSIVE_LEVEL`.
        fn is_inside(&self) -> bool;

        /// Waits for what the DPC handed on, after the DPC itself has been flushed: at least all
        /// that was queued before.
        ///
        /// # Safety
        ///
        /// `PASSIVE_LEVEL`, by one thread at a time, not inside this half.
        unsafe fn wait(&self) {}

        /// Takes what is queued off the queue, and waits for what the DPC handed on to end. A flush
        /// of the DPCs must follow.
        ///
        /// # Safety
        ///
        /// `PASSIVE_LEVEL`, by one thread at a time, not inside this half. Closed, or never
        /// opened; nobody queues it any more.
        unsafe fn remove(&self);

        /// Takes out what was handed in, and releases what the rest holds.
        ///
        /// # Safety
        ///
        /// At most `DISPATCH_LEVEL`. `place` was laid out, and nobody uses it any more: not
        /// queued, not running. Once.
        unsafe fn take(place: NonNull<Self>) -> T;
    }
}

impl sealed::Sealed for NoDeferred {}

impl DeferredKind for NoDeferred {
    type Inner = ();

    fn into_inner(self) {}
}

impl<H> sealed::Laid<H> for NoDeferred {
    type Parts = ();

    unsafe fn lay_out<C: Home<H, ()>>(
        self,
        _place: NonNull<()>,
        _home: NonNull<C>,
    ) -> Result<(), Self> {
        Ok(())
    }
}

impl sealed::Parts<()> for () {
    const DEFERS: bool = false;

    fn dpc(&self) -> *mut nt::KDPC {
        core::ptr::null_mut()
    }

    fn inner(&self) -> &Self {
        self
    }

    unsafe fn open(&self) {}

    fn close(&self) {}

    fn is_inside(&self) -> bool {
        false
    }

    unsafe fn remove(&self) {}

    unsafe fn take(_place: NonNull<Self>) -> Self {}
}

/// What a deferred half is given: the way to the ISR's state.
///
/// Borrowed from the registration's memory, for the length of one [`run`](DeferredHandler::run).
///
/// # Examples
///
/// ```
#[doc = include_str!("examples/handler.txt")]
#[doc = include_str!("examples/line.txt")]
/// struct Receive {
///     received: AtomicU32,
/// }
///
/// impl DeferredHandler<Queue> for Receive {
///     fn run(&self, deferred: &Deferred<'_, Queue>) {
///         let bytes = deferred.synchronize(|queue| std::mem::take(&mut queue.bytes));
///         self.received.fetch_add(bytes, Ordering::Relaxed);
///     }
/// }
/// # struct Queue { bytes: u32 }
/// # impl InterruptHandler<Dpc<Receive>> for Queue {
/// #     fn service(&mut self, interrupt: &Interrupt<'_, Dpc<Receive>>) -> Serviced {
/// #         self.bytes += 64;
/// #         interrupt.queue_deferred();
/// #         Serviced::Claimed
/// #     }
/// # }
///
/// let half = Dpc::new(Receive { received: AtomicU32::new(0) });
/// let registration = LineBased::new(device).deferred(half).connect(Queue { bytes: 0 })?;
/// model.raise_line();
/// assert_eq!(registration.deferred().received.load(Ordering::Relaxed), 64);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Deferred<'a, H> {
    way: Way<'a, H>,
}

impl<'a, H> Deferred<'a, H> {
    pub(crate) const fn new(way: Way<'a, H>) -> Self {
        Self { way }
    }

    /// Calls `with_handler` with the handler, under the interrupt's lock and at its synchronize
    /// IRQL, and returns what it returns: `KeSynchronizeExecution`.
    ///
    /// See [`InterruptRegistration::synchronize`](crate::InterruptRegistration::synchronize).
    ///
    /// # Panics
    ///
    /// Above the synchronize IRQL: `KeSynchronizeExecution` would lower the IRQL there.
    ///
    /// # Examples
    ///
    /// ```
    /// use wdm_interrupt::{Deferred, DeferredHandler};
    ///
    /// struct Handler {
    ///     ready: Option<u32>,
    /// }
    /// struct Completion;
    ///
    /// impl DeferredHandler<Handler> for Completion {
    ///     fn run(&self, deferred: &Deferred<'_, Handler>) {
    ///         if let Some(_result) = deferred.synchronize(|handler| handler.ready.take()) {
    ///             // Complete the IRP that waits for it.
    ///         }
    ///     }
    /// }
    /// ```
    #[track_caller]
    pub fn synchronize<R>(&self, with_handler: impl FnOnce(&mut H) -> R) -> R {
        self.way.synchronize(with_handler)
    }
}

impl<H> fmt::Debug for Deferred<'_, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deferred").finish_non_exhaustive()
    }
}

/// `KeInsertQueueDpc`, without arguments, which would be lost when it is queued already. Returns
/// `false` then.
///
/// Any IRQL. On the ISR's path, hence inline.
///
/// # Safety
///
/// `dpc` is initialised, and stays until it has run or been removed.
#[inline]
pub(crate) unsafe fn queue(dpc: *mut nt::KDPC) -> bool {
    // SAFETY: as the caller promises.
    let inserted = unsafe { nt::KeInsertQueueDpc(dpc, ptr::null_mut(), ptr::null_mut()) };
    inserted != nt::FALSE
}

/// The number of the current thread, to tell it from others; IRQL: at most `DISPATCH_LEVEL`.
pub(crate) fn current_thread() -> usize {
    // SAFETY: the call reads the current thread's own number.
    unsafe { nt::PsGetCurrentThreadId() }.addr()
}
