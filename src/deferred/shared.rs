//! The deferred half that the handlers of all messages share.

use core::fmt;
use core::marker::PhantomData;
use core::ptr::NonNull;

use super::dpc::Settings;
use super::life::LiveDpc;
use super::{Deferred, DeferredKind, DpcImportance, ProcessorNumber, sealed};
use crate::link::{Guarded, Way};
use crate::messages::MessageBlock;
use crate::{nt, routine};

/// The work that the handlers of all messages defer, run by a [`SharedDpc`] at `DISPATCH_LEVEL`.
///
/// As a [`DeferredHandler`](super::DeferredHandler), but for a registration with
/// [one handler a message](crate::EachMessage).
///
/// # Examples
///
/// ```
/// use wdm_interrupt::{SharedDeferred, SharedDeferredHandler};
///
/// struct Queue(Vec<u32>);
/// struct Completion;
///
/// impl SharedDeferredHandler<Queue> for Completion {
///     fn run(&self, deferred: &SharedDeferred<'_, Queue>) {
///         for queue in deferred.iter() {
///             let _done = queue.synchronize(|queue| core::mem::take(&mut queue.0));
///         }
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no deferred half for handlers `{H}` of all messages",
    note = "implement `SharedDeferredHandler<{H}>` for it"
)]
pub trait SharedDeferredHandler<H>: Send + Sync + 'static {
    /// Does what the ISRs deferred, at `DISPATCH_LEVEL`; can run on two processors at once.
    ///
    /// # Examples
    ///
    /// ```
    /// use wdm_interrupt::{SharedDeferred, SharedDeferredHandler};
    ///
    /// struct Sum;
    ///
    /// impl SharedDeferredHandler<u32> for Sum {
    ///     fn run(&self, deferred: &SharedDeferred<'_, u32>) {
    ///         let _sum: u32 = deferred.iter().map(|each| each.synchronize(|count| *count)).sum();
    ///     }
    /// }
    /// ```
    fn run(&self, deferred: &SharedDeferred<'_, H>);
}

/// One deferred half for the handlers of all messages, run by one DPC: a `T`, which is a
/// [`SharedDeferredHandler`].
///
/// # Examples
///
/// ```
#[doc = include_str!("../examples/handler.txt")]
#[doc = include_str!("../examples/messages.txt")]
/// let registration = EachMessage::new(device, 2)
///     .deferred(SharedDpc::new(Completion::default()))
///     .connect(|_message| Handler::default())?;
/// model.raise_message(0);
/// model.raise_message(1);
/// assert_eq!(registration.deferred().completed.load(Ordering::Relaxed), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct SharedDpc<T> {
    handler: T,
    settings: Settings,
}

impl<T> SharedDpc<T> {
    /// A deferred half that `handler` is. Any IRQL.
    ///
    /// # Examples
    ///
    /// ```
    /// use wdm_interrupt::{DeferredKind, SharedDpc};
    ///
    /// assert_eq!(SharedDpc::new("completion").into_inner(), "completion");
    /// ```
    pub const fn new(handler: T) -> Self {
        Self { handler, settings: Settings::DEFAULT }
    }

    /// Sets how soon it is run: `KeSetImportanceDpc`. Any IRQL.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../examples/handler.txt")]
    #[doc = include_str!("../examples/messages.txt")]
    /// let half = SharedDpc::new(Completion::default()).importance(DpcImportance::High);
    /// let request = EachMessage::new(device, 2).deferred(half);
    /// let registration = request.connect(|_message| Handler::default())?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn importance(mut self, importance: DpcImportance) -> Self {
        self.settings.importance = importance;
        self
    }

    /// Sets the processor that runs it: `KeSetTargetProcessorDpcEx`. A processor that does not
    /// exist is as if none had been named. Any IRQL.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../examples/handler.txt")]
    #[doc = include_str!("../examples/messages.txt")]
    /// let half = SharedDpc::new(Completion::default())
    ///     .target(ProcessorNumber { group: 0, number: 0 });
    /// let request = EachMessage::new(device, 2).deferred(half);
    /// let registration = request.connect(|_message| Handler::default())?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn target(mut self, processor: ProcessorNumber) -> Self {
        self.settings.target = Some(processor);
        self
    }
}

impl<T> sealed::Sealed for SharedDpc<T> {}
impl<T> sealed::Queued for SharedDpc<T> {}

impl<T> DeferredKind for SharedDpc<T> {
    type Inner = T;

    fn into_inner(self) -> T {
        self.handler
    }
}

/// What a [`SharedDeferredHandler`] is given: the way to the handlers' states.
///
/// # Examples
///
/// ```
/// use wdm_interrupt::{SharedDeferred, SharedDeferredHandler};
/// # use std::sync::atomic::{AtomicU32, Ordering};
///
/// struct Sum {
///     taken: AtomicU32,
/// }
///
/// impl SharedDeferredHandler<u32> for Sum {
///     fn run(&self, deferred: &SharedDeferred<'_, u32>) {
///         for counter in deferred.iter() {
///             let events = counter.synchronize(|counter| std::mem::take(counter));
///             self.taken.fetch_add(events, Ordering::Relaxed);
///         }
///     }
/// }
/// ```
pub struct SharedDeferred<'a, H> {
    all: AllGuarded<'a, H>,
}

impl<H> SharedDeferred<'_, H> {
    /// How many handlers there are: one a connected message, or one for the line.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../examples/handler.txt")]
    #[doc = include_str!("../examples/messages.txt")]
    /// struct Count {
    ///     handlers: AtomicU32,
    /// }
    ///
    /// impl SharedDeferredHandler<Queue> for Count {
    ///     fn run(&self, deferred: &SharedDeferred<'_, Queue>) {
    ///         self.handlers.store(deferred.count() as u32, Ordering::Relaxed);
    ///     }
    /// }
    /// # struct Queue;
    /// # impl InterruptHandler<SharedDpc<Count>> for Queue {
    /// #     fn service(&mut self, interrupt: &Interrupt<'_, SharedDpc<Count>>) -> Serviced {
    /// #         interrupt.queue_deferred();
    /// #         Serviced::Claimed
    /// #     }
    /// # }
    ///
    /// let half = SharedDpc::new(Count { handlers: 0.into() });
    /// let request = EachMessage::new(device, 2).deferred(half);
    /// let registration = request.connect(|_message| Queue)?;
    /// model.raise_message(0);
    /// assert_eq!(registration.deferred().handlers.load(Ordering::Relaxed), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn count(&self) -> usize {
        self.all.count
    }

    /// The way to the handler of message `index`, or of the line with index 0; `None` past the
    /// last one.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../examples/handler.txt")]
    #[doc = include_str!("../examples/messages.txt")]
    /// struct Receive {
    ///     received: AtomicU32,
    /// }
    ///
    /// impl SharedDeferredHandler<Queue> for Receive {
    ///     fn run(&self, deferred: &SharedDeferred<'_, Queue>) {
    ///         // The device receives by its second message.
    ///         if let Some(queue) = deferred.get(1) {
    ///             let bytes = queue.synchronize(|queue| std::mem::take(&mut queue.bytes));
    ///             self.received.fetch_add(bytes, Ordering::Relaxed);
    ///         }
    ///     }
    /// }
    /// # struct Queue { bytes: u32 }
    /// # impl InterruptHandler<SharedDpc<Receive>> for Queue {
    /// #     fn service(&mut self, interrupt: &Interrupt<'_, SharedDpc<Receive>>) -> Serviced {
    /// #         self.bytes += 64;
    /// #         interrupt.queue_deferred();
    /// #         Serviced::Claimed
    /// #     }
    /// # }
    ///
    /// let half = SharedDpc::new(Receive { received: 0.into() });
    /// let request = EachMessage::new(device, 2).deferred(half);
    /// let registration = request.connect(|_message| Queue { bytes: 0 })?;
    /// model.raise_message(1);
    /// assert_eq!(registration.deferred().received.load(Ordering::Relaxed), 64);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn get(&self, index: usize) -> Option<Deferred<'_, H>> {
        self.all.way(index).map(Deferred::new)
    }

    /// The ways to all handlers, in the messages' order.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../examples/handler.txt")]
    #[doc = include_str!("../examples/messages.txt")]
    /// struct Receive {
    ///     received: AtomicU32,
    /// }
    ///
    /// impl SharedDeferredHandler<Queue> for Receive {
    ///     fn run(&self, deferred: &SharedDeferred<'_, Queue>) {
    ///         for queue in deferred.iter() {
    ///             let bytes = queue.synchronize(|queue| std::mem::take(&mut queue.bytes));
    ///             self.received.fetch_add(bytes, Ordering::Relaxed);
    ///         }
    ///     }
    /// }
    /// # struct Queue { bytes: u32 }
    /// # impl InterruptHandler<SharedDpc<Receive>> for Queue {
    /// #     fn service(&mut self, interrupt: &Interrupt<'_, SharedDpc<Receive>>) -> Serviced {
    /// #         self.bytes += 64;
    /// #         interrupt.queue_deferred();
    /// #         Serviced::Claimed
    /// #     }
    /// # }
    ///
    /// let half = SharedDpc::new(Receive { received: 0.into() });
    /// let request = EachMessage::new(device, 2).deferred(half);
    /// let registration = request.connect(|_message| Queue { bytes: 0 })?;
    /// model.raise_message(0);
    /// model.raise_message(1);
    /// assert_eq!(registration.deferred().received.load(Ordering::Relaxed), 128);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn iter(&self) -> impl Iterator<Item = Deferred<'_, H>> {
        (0..self.count()).filter_map(|index| self.get(index))
    }
}

impl<H> fmt::Debug for SharedDeferred<'_, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedDeferred").field("count", &self.count()).finish_non_exhaustive()
    }
}

/// The ways to the handlers of all messages.
///
/// # Invariants
///
/// - `count` of them lie from `first` on, `stride` bytes from one to the next, during `'a`.
/// - Object and IRQL of each have been stored, and the interrupts stay connected during `'a`.
/// - A handler is touched by the holder of its interrupt's lock only.
pub(crate) struct AllGuarded<'a, H> {
    first: NonNull<Guarded<H>>,
    stride: usize,
    count: usize,
    memory: PhantomData<&'a Guarded<H>>,
}

impl<'a, H> AllGuarded<'a, H> {
    /// # Safety
    ///
    /// The invariants.
    pub(crate) const unsafe fn new(
        first: NonNull<Guarded<H>>,
        stride: usize,
        count: usize,
    ) -> Self {
        // INVARIANT: the caller vouches for them.
        Self { first, stride, count, memory: PhantomData }
    }

    /// The way to handler `index`.
    const fn way(&self, index: usize) -> Option<Way<'a, H>> {
        if index >= self.count {
            return None;
        }
        // SAFETY: within the handlers (invariant, and the check above).
        let guarded = unsafe { self.first.byte_add(index * self.stride) };
        // SAFETY: it lies there and stays (invariant).
        let guarded = unsafe { guarded.as_ref() };
        // SAFETY: stored, connected, and touched under the lock only (invariant).
        Some(unsafe { Way::new(guarded) })
    }
}

/// A DPC and what it runs, as they lie in the memory of a registration for all messages.
pub struct SharedParts<T> {
    dpc: LiveDpc,
    handler: T,
}

impl<T> fmt::Debug for SharedParts<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedParts").finish_non_exhaustive()
    }
}

impl<T> SharedParts<T> {
    /// Lays it out in `place`, not open yet.
    ///
    /// # Safety
    ///
    /// `place` is valid for writing, zeroed, resident, and stays put until it has been taken out. It
    /// is that of the shared parts in `block`, which is complete before anything is queued.
    pub(crate) unsafe fn lay_out<H>(
        half: SharedDpc<T>,
        place: NonNull<Self>,
        block: NonNull<MessageBlock<H, SharedDpc<T>>>,
    ) where
        T: SharedDeferredHandler<H>,
    {
        let SharedDpc { handler, settings } = half;
        let at = place.as_ptr();
        // SAFETY: within the place.
        let inner = unsafe { &raw mut (*at).handler };
        // SAFETY: valid for writing (caller).
        unsafe { inner.write(handler) };
        // SAFETY: within the place.
        let dpc = unsafe { &raw mut (*at).dpc };
        // SAFETY: valid for writing and zeroed (caller).
        unsafe { LiveDpc::lay_out(dpc) };
        // SAFETY: complete: all of it has been written, but for the KDPC, which is zeroes.
        let dpc = unsafe { place.as_ref() }.dpc.as_ptr();
        let routine = Some(routine::shared_dpc::<H, T> as _);
        // SAFETY: the KDPC is resident, stays put (caller), and is initialised this once; the
        // routine takes the block of these parts as its context.
        unsafe { nt::KeInitializeDpc(dpc, routine, block.as_ptr().cast()) };
        // SAFETY: just initialised.
        unsafe { settings.apply(dpc) };
    }

    /// The DPC's routine: runs the deferred half with what `all` returns, unless it is too early or
    /// too late. `all` is called only when it has been opened, and the teardown waits for it.
    pub(crate) fn run<'a, H>(&self, all: impl FnOnce() -> AllGuarded<'a, H>)
    where
        H: 'a,
        T: SharedDeferredHandler<H>,
    {
        if self.dpc.may_run() {
            self.handler.run(&SharedDeferred { all: all() });
        }
    }
}

impl<T> sealed::Parts<T> for SharedParts<T> {
    const DEFERS: bool = true;

    fn dpc(&self) -> *mut nt::KDPC {
        self.dpc.as_ptr()
    }

    fn inner(&self) -> &T {
        &self.handler
    }

    unsafe fn open(&self) {
        // SAFETY: initialised when it was laid out.
        unsafe { self.dpc.open() };
    }

    fn close(&self) {
        self.dpc.close();
    }

    fn is_inside(&self) -> bool {
        // A DPC is never at PASSIVE_LEVEL.
        false
    }

    unsafe fn remove(&self) {
        // SAFETY: initialised when it was laid out; closed, or never opened (caller).
        unsafe { self.dpc.remove() };
    }

    unsafe fn take(place: NonNull<Self>) -> T {
        // SAFETY: laid out, used by nobody, and read once (caller).
        unsafe { place.read() }.handler
    }
}
