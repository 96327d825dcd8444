//! The deferred half that a work item runs, at `PASSIVE_LEVEL`.

use core::fmt;
use core::ptr::{self, NonNull};

use super::life::{Life, LiveDpc};
use super::work_queue::WorkQueue;
use super::{DeferredKind, Home, sealed};
use crate::irql::Irql;
use crate::link::Way;
use crate::passive::{self, PassiveCore, PassiveWay};
use crate::{nt, routine};

/// The work that an ISR defers to `PASSIVE_LEVEL`, run by a [`WorkItem`].
///
/// It may wait, touch pageable memory, and call what a thread of the system may call. The
/// registration owns the value. It runs in one thread at a time; what is queued while it runs makes
/// it run once more. [`deferred`](crate::InterruptRegistration::deferred) lends it to any thread
/// meanwhile, hence `Sync`.
///
/// While the registration is torn down this can still run after the handler's
/// [`disable`](crate::InterruptHandler::disable): it completes what was claimed before. The
/// teardown waits for it, so whoever ends the registration must hold nothing that this waits for,
/// such as a mutex or a remove lock.
///
/// # Examples
///
/// ```
/// use wdm_interrupt::{Work, WorkHandler};
///
/// struct Handler {
///     faults: u32,
/// }
///
/// struct Recovery;
///
/// impl WorkHandler<Handler> for Recovery {
///     fn run(&self, work: &Work<'_, Handler>) {
///         let _faults = work.synchronize(|handler| core::mem::take(&mut handler.faults));
///         // Reset the device here, wait for it, write the event log.
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no work for the handler `{H}`",
    note = "implement `WorkHandler<{H}>` for it"
)]
pub trait WorkHandler<H>: Send + Sync + 'static {
    /// Does what the ISR deferred, at `PASSIVE_LEVEL` in a system worker thread.
    ///
    /// Runs only while the interrupt is connected: what an early ISR queues waits until the
    /// connection is complete, and once the teardown has refused deferred work this is not called
    /// any more, save for a run that had been let in before.
    ///
    /// A worker thread is borrowed from the system, so it should come back soon.
    ///
    /// # Examples
    ///
    /// ```
    /// use wdm_interrupt::{Work, WorkHandler};
    ///
    /// struct Log;
    ///
    /// impl WorkHandler<Vec<u32>> for Log {
    ///     fn run(&self, work: &Work<'_, Vec<u32>>) {
    ///         let events = work.synchronize(std::mem::take);
    ///         println!("{} events", events.len());
    ///     }
    /// }
    /// ```
    fn run(&self, work: &Work<'_, H>);
}

/// A deferred half that a work item runs at `PASSIVE_LEVEL`: a `T`, which is a [`WorkHandler`].
///
/// Above `DISPATCH_LEVEL` no work item can be queued, so the ISR queues a DPC of the registration's,
/// and that the work item. A passive-level ISR queues it directly.
///
/// See [System worker threads][page].
///
/// [page]: https://learn.microsoft.com/windows-hardware/drivers/kernel/system-worker-threads
///
/// # Examples
///
/// ```
#[doc = include_str!("../examples/handler.txt")]
#[doc = include_str!("../examples/messages.txt")]
/// let half = WorkItem::new(function, Completion::default());
/// let registration = MessageBased::new(device).deferred(half).connect(Handler::default())?;
/// model.raise_message(0);
/// # machine.settle();
/// assert_eq!(registration.deferred().completed.load(Ordering::Relaxed), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct WorkItem<T> {
    device: FunctionDevice,
    handler: T,
}

/// The driver's own device object, which a work item keeps from going away while it runs.
///
/// See [`IoAllocateWorkItem`][page].
///
/// [page]: https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/nf-wdm-ioallocateworkitem
///
/// # Examples
///
/// Of the device object that `IoCreateDevice` made in `AddDevice`:
///
/// ```
#[doc = include_str!("../examples/passive.txt")]
/// # let device_object = model.function_device_object();
/// // SAFETY: the driver's own, deleted in IRP_MN_REMOVE_DEVICE when no registration is left.
/// let function = unsafe { FunctionDevice::new(device_object) }?;
///
/// let work = WorkItem::new(function, Recovery::default());
/// let registration = PassiveLineBased::new(device).deferred(work).connect(Handler::default())?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct FunctionDevice(NonNull<nt::DEVICE_OBJECT>);

// SAFETY: a device object is not tied to a thread.
unsafe impl Send for FunctionDevice {}

// SAFETY: as above, and nothing is changed through it.
unsafe impl Sync for FunctionDevice {}

impl FunctionDevice {
    /// Takes the device object that the driver made with `IoCreateDevice` for the device. Any IRQL.
    ///
    /// # Errors
    ///
    /// `device` is NULL.
    ///
    /// # Safety
    ///
    /// `device` is a device object of this driver, and is deleted only after the value, its
    /// copies, and all registrations made with them are gone, and what such a registration or a
    /// failed connect has handed back as [`Halves`](crate::Halves). The reference that a queued work
    /// item holds on it keeps the driver's image loaded until the item's routine has returned.
    ///
    /// # Examples
    ///
    /// ```
    /// use wdm_interrupt::{FunctionDevice, NullDevice};
    ///
    /// // SAFETY: NULL is refused.
    /// let nothing = unsafe { FunctionDevice::new(core::ptr::null_mut()) };
    /// assert_eq!(nothing.err(), Some(NullDevice));
    /// ```
    pub const unsafe fn new(device: *mut nt::DEVICE_OBJECT) -> Result<Self, crate::NullDevice> {
        match NonNull::new(device) {
            Some(device) => Ok(Self(device)),
            None => Err(crate::NullDevice),
        }
    }

    pub(super) const fn as_ptr(self) -> *mut nt::DEVICE_OBJECT {
        self.0.as_ptr()
    }
}

impl<T> WorkItem<T> {
    /// A deferred half that `handler` is, run on behalf of `device`. Any IRQL.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../examples/handler.txt")]
    #[doc = include_str!("../examples/line.txt")]
    /// let half = WorkItem::new(function, Completion::default());
    /// let registration = LineBased::new(device).deferred(half).connect(Handler::default())?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn new(device: FunctionDevice, handler: T) -> Self {
        Self { device, handler }
    }
}

impl<T> sealed::Sealed for WorkItem<T> {}
impl<T> sealed::Queued for WorkItem<T> {}

impl<T> DeferredKind for WorkItem<T> {
    type Inner = T;

    fn into_inner(self) -> T {
        self.handler
    }
}

/// What a [`WorkHandler`] is given: the way to the ISR's state.
///
/// # Examples
///
/// ```
#[doc = include_str!("../examples/handler.txt")]
#[doc = include_str!("../examples/line.txt")]
/// struct Recovery {
///     resets: AtomicU32,
/// }
///
/// impl WorkHandler<Faults> for Recovery {
///     fn run(&self, work: &Work<'_, Faults>) {
///         assert_eq!(Irql::current(), Irql::PASSIVE);
///         if work.synchronize(|faults| std::mem::take(&mut faults.seen)) > 0 {
///             // Reset the device here, and wait for it.
///             self.resets.fetch_add(1, Ordering::Relaxed);
///         }
///     }
/// }
/// # struct Faults { seen: u32 }
/// # impl InterruptHandler<WorkItem<Recovery>> for Faults {
/// #     fn service(&mut self, interrupt: &Interrupt<'_, WorkItem<Recovery>>) -> Serviced {
/// #         self.seen += 1;
/// #         interrupt.queue_deferred();
/// #         Serviced::Claimed
/// #     }
/// # }
///
/// let half = WorkItem::new(function, Recovery { resets: 0.into() });
/// let registration = LineBased::new(device).deferred(half).connect(Faults { seen: 0 })?;
/// model.raise_line();
/// # machine.settle();
/// assert_eq!(registration.deferred().resets.load(Ordering::Relaxed), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Work<'a, H> {
    way: AnyWay<'a, H>,
}

enum AnyWay<'a, H> {
    Device(Way<'a, H>),
    Passive(PassiveWay<'a, H>),
}

impl<'a, H> Work<'a, H> {
    pub(crate) const fn device(way: Way<'a, H>) -> Self {
        Self { way: AnyWay::Device(way) }
    }

    pub(crate) const fn passive(way: PassiveWay<'a, H>) -> Self {
        Self { way: AnyWay::Passive(way) }
    }

    /// Calls `with_handler` with the handler, under the interrupt's lock, and returns what it
    /// returns.
    ///
    /// Of an [`InterruptHandler`](crate::InterruptHandler) it runs at the interrupt's synchronize
    /// IRQL, see [`InterruptRegistration::synchronize`](crate::InterruptRegistration::synchronize);
    /// of a [`PassiveInterruptHandler`](crate::PassiveInterruptHandler) at `PASSIVE_LEVEL`, see
    /// [`PassiveInterruptRegistration::synchronize`](crate::PassiveInterruptRegistration::synchronize).
    ///
    /// # Panics
    ///
    /// Above the synchronize IRQL.
    ///
    /// # Examples
    ///
    /// ```
    /// use wdm_interrupt::{Work, WorkHandler};
    ///
    /// struct Count;
    ///
    /// impl WorkHandler<u32> for Count {
    ///     fn run(&self, work: &Work<'_, u32>) {
    ///         let _count = work.synchronize(|count| *count);
    ///     }
    /// }
    /// ```
    #[track_caller]
    pub fn synchronize<R>(&self, with_handler: impl FnOnce(&mut H) -> R) -> R {
        match self.way {
            AnyWay::Device(way) => way.synchronize(with_handler),
            AnyWay::Passive(way) => way.synchronize(with_handler),
        }
    }
}

impl<H> fmt::Debug for Work<'_, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Work").finish_non_exhaustive()
    }
}

/// Panics where no work item can be queued.
#[track_caller]
pub(crate) fn assert_may_queue_work() {
    let irql = Irql::current();
    assert!(
        irql <= Irql::DISPATCH,
        "a work item was queued at {irql}; that is possible up to DISPATCH_LEVEL only"
    );
}

/// A DPC, the work item that it queues, and what that runs, as they lie in the registration's
/// memory.
pub struct WorkParts<T> {
    dpc: LiveDpc,
    queue: WorkQueue,
    handler: T,
}

impl<T> fmt::Debug for WorkParts<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkParts").finish_non_exhaustive()
    }
}

impl<H, T: WorkHandler<H>> sealed::Laid<H> for WorkItem<T> {
    type Parts = WorkParts<T>;

    unsafe fn lay_out<C: Home<H, WorkParts<T>>>(
        self,
        place: NonNull<WorkParts<T>>,
        home: NonNull<C>,
    ) -> Result<(), Self> {
        let Some(queue) = WorkQueue::new(self.device) else {
            return Err(self);
        };
        let at = place.as_ptr();
        // SAFETY: within the place.
        let inner = unsafe { &raw mut (*at).handler };
        // SAFETY: valid for writing (caller).
        unsafe { inner.write(self.handler) };
        // SAFETY: within the place.
        let work = unsafe { &raw mut (*at).queue };
        // SAFETY: valid for writing (caller).
        unsafe { work.write(queue) };
        // SAFETY: within the place.
        let dpc = unsafe { &raw mut (*at).dpc };
        // SAFETY: valid for writing and zeroed (caller).
        unsafe { LiveDpc::lay_out(dpc) };
        // SAFETY: complete: all of it has been written, but for the KDPC, which is zeroes.
        let parts = unsafe { place.as_ref() };
        // SAFETY: it stays put from here on (caller).
        unsafe { parts.queue.initialise() };
        let routine = Some(routine::work_dpc::<H, T, C> as _);
        // SAFETY: the KDPC is resident, stays put (caller), and is initialised this once; the
        // routine takes the home of these parts as its context.
        unsafe { nt::KeInitializeDpc(parts.dpc.as_ptr(), routine, home.as_ptr().cast()) };
        Ok(())
    }
}

impl<T> WorkParts<T> {
    /// The DPC's routine: queues the work item, unless it is too early or too late.
    ///
    /// # Safety
    ///
    /// Called by the DPC's routine, with the home of these parts.
    pub(crate) unsafe fn request<H, C: Home<H, Self>>(home: &C)
    where
        T: WorkHandler<H>,
    {
        let parts = home.parts();
        if parts.dpc.may_run() {
            let context = ptr::from_ref(home).cast_mut().cast();
            // SAFETY: the routine takes the home of these parts as its context, and it stays until
            // it is idle. DISPATCH_LEVEL, since a DPC runs this (caller).
            unsafe { parts.queue.request(Some(routine::work::<H, T, C>), context) };
        }
    }

    /// The work item's routine.
    ///
    /// # Safety
    ///
    /// Called by that routine, with its context. The home may be gone when this returns.
    pub(crate) unsafe fn run<H, C: Home<H, Self>>(home: NonNull<C>)
    where
        T: WorkHandler<H>,
    {
        // SAFETY: there until the queue is idle, which is at the `end`.
        let this = unsafe { home.as_ref() };
        let parts = this.parts();
        let routine = Some(routine::work::<H, T, C> as _);
        // SAFETY: called by the routine, with it and its context; nothing is touched after the run.
        let _run = unsafe { WorkQueue::begin(&parts.queue, routine, home.as_ptr().cast()) };
        if parts.dpc.may_run() {
            // SAFETY: opened after publishing, and the teardown does not disconnect before it has
            // closed the life and waited for the run that was let in before; a run that begins
            // after that wait sees that it is closed. Touched under the lock only (`Home`).
            let way = unsafe { Way::new(this.guarded()) };
            parts.handler.run(&Work::device(way));
        }
    }
}

impl<T> sealed::Parts<T> for WorkParts<T> {
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
        self.queue.is_this_threads()
    }

    unsafe fn wait(&self) {
        // SAFETY: as the caller promises.
        unsafe { self.queue.wait() };
    }

    unsafe fn remove(&self) {
        // SAFETY: initialised when it was laid out; closed, or never opened (caller).
        unsafe { self.dpc.remove() };
        // SAFETY: as the caller promises. No DPC asks for a run any more: closed before the last
        // flush.
        unsafe { self.queue.wait_until_idle() };
    }

    unsafe fn take(place: NonNull<Self>) -> T {
        // SAFETY: laid out, used by nobody, and read once (caller).
        let Self { queue, handler, .. } = unsafe { place.read() };
        // SAFETY: idle since `remove`, and freed once.
        unsafe { queue.free() };
        handler
    }
}

/// A work item that a passive-level ISR queues, and what it runs, as they lie in the registration's
/// memory.
pub struct PassiveWorkParts<H, T> {
    life: Life,
    queue: WorkQueue,
    core: NonNull<PassiveCore<H>>,
    handler: T,
}

impl<H, T> fmt::Debug for PassiveWorkParts<H, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PassiveWorkParts").finish_non_exhaustive()
    }
}

impl<H, T: WorkHandler<H>> passive::sealed::Laid<H> for WorkItem<T> {
    type Parts = PassiveWorkParts<H, T>;

    unsafe fn lay_out(
        self,
        place: NonNull<PassiveWorkParts<H, T>>,
        core: NonNull<PassiveCore<H>>,
    ) -> Result<(), Self> {
        let Some(queue) = WorkQueue::new(self.device) else {
            return Err(self);
        };
        let parts = PassiveWorkParts { life: Life::new(), queue, core, handler: self.handler };
        // SAFETY: valid for writing (caller).
        unsafe { place.write(parts) };
        // SAFETY: just written.
        let parts = unsafe { place.as_ref() };
        // SAFETY: it stays put from here on (caller).
        unsafe { parts.queue.initialise() };
        Ok(())
    }
}

impl<H, T: WorkHandler<H>> PassiveWorkParts<H, T> {
    /// The work item's routine.
    ///
    /// # Safety
    ///
    /// Called by that routine, with its context. The parts may be gone when this returns.
    pub(crate) unsafe fn run(parts: NonNull<Self>) {
        // SAFETY: there until the queue is idle, which is at the `end`.
        let this = unsafe { parts.as_ref() };
        let routine = Some(routine::passive_work::<H, T> as _);
        // SAFETY: called by the routine, with it and its context; nothing is touched after the run.
        let _run = unsafe { WorkQueue::begin(&this.queue, routine, parts.as_ptr().cast()) };
        if this.life.may_run() {
            // SAFETY: it lies in the same memory.
            let core = unsafe { this.core.as_ref() };
            // SAFETY: opened after publishing, and the teardown does not disconnect before it has
            // closed the life and waited for the run that was let in before; a run that begins
            // after that wait sees that it is closed.
            let way = unsafe { PassiveWay::new(core) };
            this.handler.run(&Work::passive(way));
        }
    }
}

impl<H, T: WorkHandler<H>> passive::sealed::Parts<T> for PassiveWorkParts<H, T> {
    const DEFERS: bool = true;

    fn inner(&self) -> &T {
        &self.handler
    }

    fn request(&self) -> bool {
        let context = ptr::from_ref(self).cast_mut().cast();
        // SAFETY: the routine takes these parts as its context, and they stay until it is idle;
        // the callers see to the IRQL.
        unsafe { self.queue.request(Some(routine::passive_work::<H, T>), context) }
    }

    unsafe fn open(&self) {
        if self.life.open() {
            self.request();
        }
    }

    fn close(&self) {
        self.life.close();
    }

    fn is_inside(&self) -> bool {
        self.queue.is_this_threads()
    }

    unsafe fn wait(&self) {
        // SAFETY: as the caller promises.
        unsafe { self.queue.wait() };
    }

    unsafe fn wait_until_idle(&self) {
        // SAFETY: as the caller promises.
        unsafe { self.queue.wait_until_idle() };
    }

    unsafe fn take(place: NonNull<Self>) -> T {
        // SAFETY: laid out, used by nobody, and read once (caller).
        let Self { queue, handler, .. } = unsafe { place.read() };
        // SAFETY: idle, and freed once.
        unsafe { queue.free() };
        handler
    }
}
