//! The deferred half: what the ISR leaves for later, at `DISPATCH_LEVEL`.

use core::cell::UnsafeCell;
use core::fmt;

use crate::block::Core;
use crate::nt;

/// The work that an ISR defers, run by a DPC at `DISPATCH_LEVEL`.
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
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no deferred half for the handler `{H}`",
    note = "implement `DeferredHandler<{H}>` for it"
)]
pub trait DeferredHandler<H>: Send + Sync + 'static {
    /// Does what the ISR deferred. `DISPATCH_LEVEL`; can run on two processors at once.
    ///
    /// Runs only while the interrupt is connected: a DPC that an early ISR queues while
    /// connecting waits until the connection is complete, and once the teardown has refused
    /// deferred work this is not called any more.
    fn run(&self, deferred: &Deferred<'_, H>);
}

/// The kinds of deferred half: [`NoDeferred`] and [`Dpc`]. Sealed.
///
/// They are names for use in types; there are no values of them.
pub trait DeferredKind: sealed::Sealed {
    /// What the driver hands in when connecting, and gets back when the registration ends.
    type Inner;
}

/// A kind of deferred half that can serve the handler `H`. Sealed.
///
/// [`NoDeferred`] serves any, [`Dpc<T>`](Dpc) those that `T` is a [`DeferredHandler`] for. Nobody
/// else can implement it, not even for a handler of their own:
///
/// ```compile_fail,E0277
/// struct Handler;
/// impl wdm_interrupt::DeferredHalf<Handler> for wdm_interrupt::Dpc<()> {}
/// ```
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
#[derive(Clone, Copy, Debug)]
pub enum NoDeferred {}

/// A deferred half that one DPC of the registration runs: a `T`, which is a [`DeferredHandler`].
#[derive(Debug)]
pub struct Dpc<T>(core::marker::PhantomData<T>, core::convert::Infallible);

impl DeferredKind for NoDeferred {
    type Inner = ();
}

impl<H> sealed::Laid<H> for NoDeferred {
    type Parts = ();
}

impl<T> DeferredKind for Dpc<T> {
    type Inner = T;
}

impl<H, T: DeferredHandler<H>> sealed::Laid<H> for Dpc<T> {
    type Parts = DpcParts<T>;
}

/// A DPC and what it runs, as they lie in the registration's block.
pub struct DpcParts<T> {
    dpc: UnsafeCell<nt::KDPC>,
    handler: T,
}

impl<T> fmt::Debug for DpcParts<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DpcParts").finish_non_exhaustive()
    }
}

pub(crate) mod sealed {
    use crate::nt;

    pub trait Sealed {}

    /// How a kind of deferred half is laid out in the block of a registration for `H`.
    ///
    /// It is a trait of its own, which nobody outside can name, because `DeferredHalf<H>` for a
    /// handler `H` of theirs could otherwise be implemented there, with other parts.
    pub trait Laid<H>: super::DeferredKind {
        type Parts: Parts<H, Self::Inner>;
    }

    /// What of a deferred half lies in the registration's block.
    pub trait Parts<H, T>: Sized {
        fn new(inner: T) -> Self;
        fn into_inner(self) -> T;
        /// The DPC, or null when there is none, which is so for `NoDeferred` only.
        fn dpc(&self) -> *mut nt::KDPC;
        /// What was handed in.
        fn inner(&self) -> &T;
        /// User code of the deferred half.
        fn run(&self, deferred: &super::Deferred<'_, H>);
    }
}

impl sealed::Sealed for NoDeferred {}
impl<T> sealed::Sealed for Dpc<T> {}

impl<H> sealed::Parts<H, ()> for () {
    fn new((): ()) -> Self {}

    fn into_inner(self) {}

    fn dpc(&self) -> *mut nt::KDPC {
        core::ptr::null_mut()
    }

    fn inner(&self) -> &Self {
        self
    }

    fn run(&self, _deferred: &Deferred<'_, H>) {}
}

impl<H, T: DeferredHandler<H>> sealed::Parts<H, T> for DpcParts<T> {
    fn new(handler: T) -> Self {
        Self { dpc: UnsafeCell::new(nt::KDPC::default()), handler }
    }

    fn into_inner(self) -> T {
        self.handler
    }

    fn dpc(&self) -> *mut nt::KDPC {
        self.dpc.get()
    }

    fn inner(&self) -> &T {
        &self.handler
    }

    fn run(&self, deferred: &Deferred<'_, H>) {
        self.handler.run(deferred);
    }
}

/// What a deferred half is given: the way to the ISR's state.
///
/// Borrowed from the registration's memory, for the length of one [`run`](DeferredHandler::run).
///
/// # Invariants
///
/// The core has been published, and its interrupt stays connected during `'a`.
pub struct Deferred<'a, H> {
    core: &'a Core<H>,
}

impl<'a, H> Deferred<'a, H> {
    /// # Safety
    ///
    /// `core` has been published, and its interrupt stays connected during `'a`.
    pub(crate) const unsafe fn new(core: &'a Core<H>) -> Self {
        // INVARIANT: the caller vouches for it.
        Self { core }
    }

    /// Calls `with_handler` with the handler, under the interrupt's lock and at its synchronize
    /// IRQL, and returns what it returns: `KeSynchronizeExecution`.
    ///
    /// See [`InterruptRegistration::synchronize`](crate::InterruptRegistration::synchronize).
    ///
    /// # Panics
    ///
    /// Above the synchronize IRQL: `KeSynchronizeExecution` would lower the IRQL there.
    #[track_caller]
    pub fn synchronize<R>(&self, with_handler: impl FnOnce(&mut H) -> R) -> R {
        // SAFETY: published and connected (invariant).
        unsafe { self.core.synchronize(with_handler) }
    }
}

impl<H> fmt::Debug for Deferred<'_, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deferred").finish_non_exhaustive()
    }
}
