//! The deferred half that the handlers of all messages share.

use core::cell::UnsafeCell;
use core::fmt;
use core::ptr::NonNull;

use super::dpc::Settings;
use super::life::Life;
use super::{Deferred, DeferredKind, DpcImportance, ProcessorNumber, sealed};
use crate::link::{LinkCell, Way};
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
    home: &'a SharedHome<H>,
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
        self.home.count
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
        // SAFETY: opened after publishing, and connected while this value exists.
        unsafe { self.home.way(index) }.map(Deferred::new)
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

/// Where the handlers of all messages lie.
///
/// # Invariants
///
/// `count` handlers lie from `handlers` on, `stride` bytes from one to the next, and as many links
/// from `links` on. They stay there until the half has been taken out, and a handler is touched by
/// the holder of its link's interrupt's lock only, once that is connected.
#[derive(Debug)]
pub struct SharedHome<H> {
    handlers: NonNull<UnsafeCell<H>>,
    stride: usize,
    links: NonNull<LinkCell>,
    count: usize,
}

impl<H> SharedHome<H> {
    /// # Safety
    ///
    /// The invariants.
    pub(crate) const unsafe fn new(
        handlers: NonNull<UnsafeCell<H>>,
        stride: usize,
        links: NonNull<LinkCell>,
        count: usize,
    ) -> Self {
        // INVARIANT: the caller vouches for them.
        Self { handlers, stride, links, count }
    }

    /// The way to handler `index`.
    ///
    /// # Safety
    ///
    /// The links have been published, and the interrupts stay connected during `'a`.
    const unsafe fn way<'a>(&self, index: usize) -> Option<Way<'a, H>> {
        if index >= self.count {
            return None;
        }
        // SAFETY: within the handlers (invariant, and the check above).
        let handler = unsafe { self.handlers.byte_add(index * self.stride) };
        // SAFETY: it lies there and stays (invariant).
        let handler = unsafe { handler.as_ref() };
        // SAFETY: within the links, likewise.
        let link = unsafe { self.links.add(index) };
        // SAFETY: it lies there and stays (invariant).
        let link = unsafe { link.as_ref() };
        // SAFETY: published and connected (caller); touched under the lock only (invariant).
        Some(unsafe { Way::new(handler, link) })
    }
}

/// A DPC and what it runs, as they lie in the memory of a registration for all messages.
pub struct SharedParts<H, T> {
    dpc: UnsafeCell<nt::KDPC>,
    life: Life,
    /// Written once more before it is opened, when it is known how many messages there are.
    home: UnsafeCell<SharedHome<H>>,
    handler: T,
}

impl<H, T> fmt::Debug for SharedParts<H, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedParts").finish_non_exhaustive()
    }
}

impl<H, T: SharedDeferredHandler<H>> SharedParts<H, T> {
    /// Lays `half` out in `place`, not open yet.
    ///
    /// # Safety
    ///
    /// `place` is valid for writing, resident, and stays put until it has been taken out; `home`
    /// is that of the handlers it goes with.
    pub(crate) unsafe fn lay_out(half: SharedDpc<T>, place: NonNull<Self>, home: SharedHome<H>) {
        let SharedDpc { handler, settings } = half;
        let dpc = UnsafeCell::new(nt::KDPC::default());
        let parts = Self { dpc, life: Life::new(), home: UnsafeCell::new(home), handler };
        // SAFETY: valid for writing (caller).
        unsafe { place.write(parts) };
        // SAFETY: just written.
        let dpc = unsafe { place.as_ref() }.dpc.get();
        let routine = Some(routine::shared_dpc::<H, T> as _);
        // SAFETY: the KDPC is resident, stays put (caller), and is initialised this once; the
        // routine takes these parts as its context.
        unsafe { nt::KeInitializeDpc(dpc, routine, place.as_ptr().cast()) };
        // SAFETY: just initialised.
        unsafe { settings.apply(dpc) };
    }

    /// Tells how many of the handlers are connected.
    ///
    /// # Safety
    ///
    /// Not opened yet; at most as many as there are.
    pub(crate) unsafe fn set_count(&self, count: usize) {
        let home = self.home.get();
        // SAFETY: nobody reads it before it is opened (caller).
        unsafe { (*home).count = count };
    }

    /// The DPC's routine: runs the deferred half, unless it is too early or too late.
    pub(crate) fn run(&self) {
        if self.life.may_run() {
            // SAFETY: not written any more, since it is open.
            let home = unsafe { &*self.home.get() };
            self.handler.run(&SharedDeferred { home });
        }
    }
}

impl<H, T: SharedDeferredHandler<H>> sealed::Parts<T> for SharedParts<H, T> {
    const DEFERS: bool = true;

    fn dpc(&self) -> *mut nt::KDPC {
        self.dpc.get()
    }

    fn inner(&self) -> &T {
        &self.handler
    }

    unsafe fn open(&self) {
        if self.life.open() {
            // SAFETY: initialised when it was laid out.
            unsafe { super::queue(self.dpc.get()) };
        }
    }

    fn close(&self) {
        self.life.close();
    }

    fn is_inside(&self) -> bool {
        // A DPC is never at PASSIVE_LEVEL.
        false
    }

    unsafe fn remove(&self) {
        // SAFETY: initialised when it was laid out. What is lost runs no user code (caller).
        unsafe { nt::KeRemoveQueueDpc(self.dpc.get()) };
    }

    unsafe fn take(place: NonNull<Self>) -> T {
        // SAFETY: laid out, used by nobody, and read once (caller).
        unsafe { place.read() }.handler
    }
}
