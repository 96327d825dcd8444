//! The deferred half that a threaded DPC runs.

use core::fmt;
use core::ptr::NonNull;
use core::sync::atomic::Ordering;

use super::dpc::Settings;
use super::life::LiveDpc;
use super::{
    Deferred, DeferredHandler, DeferredKind, DpcImportance, Home, ProcessorNumber, current_thread,
    sealed,
};
use crate::link::Way;
use crate::nt::{AtomicU8, AtomicUsize};
use crate::{nt, routine};

/// A deferred half that a threaded DPC runs: a `T`, which is a [`DeferredHandler`].
///
/// The system runs it at `PASSIVE_LEVEL` in a thread of its own, where ordinary DPCs can interrupt
/// it, or at `DISPATCH_LEVEL` when threaded DPCs are switched off. It therefore keeps to the rules
/// of `DISPATCH_LEVEL` in both cases: no waiting, no paging.
///
/// Unlike a [`Dpc`](super::Dpc) it runs on one processor at a time: what is queued while it runs
/// makes it run once more when it is through.
///
/// No registration may end inside it, this one or another: the teardown calls `KeFlushQueuedDpcs`,
/// which a DPC must not. See [Introduction to threaded DPCs][page].
///
/// [page]: https://learn.microsoft.com/windows-hardware/drivers/kernel/introduction-to-threaded-dpcs
///
/// # Examples
///
/// ```
#[doc = include_str!("../examples/handler.txt")]
#[doc = include_str!("../examples/line.txt")]
/// let half = ThreadedDpc::new(Completion::default());
/// let registration = LineBased::new(device).deferred(half).connect(Handler::default())?;
/// model.raise_line();
/// # machine.settle();
/// assert_eq!(registration.deferred().completed.load(Ordering::Relaxed), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct ThreadedDpc<T> {
    handler: T,
    settings: Settings,
}

impl<T> ThreadedDpc<T> {
    /// A deferred half that `handler` is. Any IRQL.
    ///
    /// # Examples
    ///
    /// ```
    /// use wdm_interrupt::{DeferredKind, ThreadedDpc};
    ///
    /// let half = ThreadedDpc::new("completion");
    /// assert_eq!(half.into_inner(), "completion");
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
    #[doc = include_str!("../examples/line.txt")]
    /// let half = ThreadedDpc::new(Completion::default()).importance(DpcImportance::High);
    /// let registration = LineBased::new(device).deferred(half).connect(Handler::default())?;
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
    #[doc = include_str!("../examples/line.txt")]
    /// let half = ThreadedDpc::new(Completion::default())
    ///     .target(ProcessorNumber { group: 0, number: 0 });
    /// let registration = LineBased::new(device).deferred(half).connect(Handler::default())?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn target(mut self, processor: ProcessorNumber) -> Self {
        self.settings.target = Some(processor);
        self
    }
}

impl<T> sealed::Sealed for ThreadedDpc<T> {}
impl<T> sealed::Queued for ThreadedDpc<T> {}

impl<T> DeferredKind for ThreadedDpc<T> {
    type Inner = T;

    fn into_inner(self) -> T {
        self.handler
    }
}

/// Whose turn it is: one processor runs, the others leave a mark.
///
/// The turn is what makes the question "does this thread run it?" one with an answer, and that
/// question is asked because at `PASSIVE_LEVEL` no IRQL tells that a registration is dropped inside
/// its own deferred half.
#[derive(Debug)]
struct Turn {
    state: AtomicU8,
    /// The thread that runs, 0 when none does. Only the thread itself can find its own number
    /// here, which it wrote itself.
    thread: AtomicUsize,
}

const IDLE: u8 = 0;
const RUNNING: u8 = 1;
/// Running, and asked to run once more.
const AGAIN: u8 = 2;

impl Turn {
    #[cfg_attr(
        not(wdm_interrupt_loom),
        expect(clippy::missing_const_for_fn, reason = "an atomic of loom's is not made in one")
    )]
    fn new() -> Self {
        Self { state: AtomicU8::new(IDLE), thread: AtomicUsize::new(0) }
    }

    /// Runs `run` in turn: now, and again for every request that came meanwhile; or not at all,
    /// when somebody else is at it, who is asked instead.
    fn take(&self, run: impl Fn()) {
        // One step decides, so that a request either finds somebody who will see its mark, or
        // runs itself.
        let before = self.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, |state| {
            Some(if state == IDLE { RUNNING } else { AGAIN })
        });
        if before != Ok(IDLE) {
            return;
        }
        loop {
            self.thread.store(current_thread(), Ordering::Relaxed);
            let unwound = Unwound(self);
            run();
            core::mem::forget(unwound);
            // Before the turn is given up, since the next one writes it then.
            self.thread.store(0, Ordering::Relaxed);
            let through =
                self.state.compare_exchange(RUNNING, IDLE, Ordering::AcqRel, Ordering::Acquire);
            if through.is_ok() {
                return;
            }
            // A mark has come, so the turn stays here. Marks that come until now are for the run
            // that begins now.
            self.state.swap(RUNNING, Ordering::AcqRel);
        }
    }

    fn is_this_threads(&self) -> bool {
        let thread = self.thread.load(Ordering::Relaxed);
        thread != 0 && thread == current_thread()
    }
}

/// Gives a turn up when its run panics and unwinds, off Windows.
struct Unwound<'a>(&'a Turn);

impl Drop for Unwound<'_> {
    fn drop(&mut self) {
        self.0.thread.store(0, Ordering::Relaxed);
        self.0.state.store(IDLE, Ordering::Release);
    }
}

/// A threaded DPC and what it runs, as they lie in the registration's memory.
pub struct ThreadedParts<T> {
    dpc: LiveDpc,
    turn: Turn,
    handler: T,
}

impl<T> fmt::Debug for ThreadedParts<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThreadedParts").finish_non_exhaustive()
    }
}

impl<H, T: DeferredHandler<H>> sealed::Laid<H> for ThreadedDpc<T> {
    type Parts = ThreadedParts<T>;

    unsafe fn lay_out<C: Home<H, ThreadedParts<T>>>(
        self,
        place: NonNull<ThreadedParts<T>>,
        home: NonNull<C>,
    ) -> Result<(), Self> {
        let Self { handler, settings } = self;
        let at = place.as_ptr();
        // SAFETY: within the place.
        let inner = unsafe { &raw mut (*at).handler };
        // SAFETY: valid for writing (caller).
        unsafe { inner.write(handler) };
        // SAFETY: within the place.
        let turn = unsafe { &raw mut (*at).turn };
        // SAFETY: valid for writing (caller).
        unsafe { turn.write(Turn::new()) };
        // SAFETY: within the place.
        let dpc = unsafe { &raw mut (*at).dpc };
        // SAFETY: valid for writing and zeroed (caller).
        unsafe { LiveDpc::lay_out(dpc) };
        // SAFETY: complete: all of it has been written, but for the KDPC, which is zeroes.
        let dpc = unsafe { place.as_ref() }.dpc.as_ptr();
        let routine = Some(routine::threaded_dpc::<H, T, C> as _);
        // SAFETY: the KDPC is resident, stays put (caller), and is initialised this once; the
        // routine takes the home of these parts as its context.
        unsafe { nt::KeInitializeThreadedDpc(dpc, routine, home.as_ptr().cast()) };
        // SAFETY: just initialised.
        unsafe { settings.apply(dpc) };
        Ok(())
    }
}

impl<T> ThreadedParts<T> {
    /// The DPC's routine: runs the deferred half, unless it is too early or too late.
    ///
    /// # Safety
    ///
    /// Called by the DPC's routine, with the home of these parts.
    pub(crate) unsafe fn run<H>(home: &impl Home<H, Self>)
    where
        T: DeferredHandler<H>,
    {
        let parts = home.parts();
        if parts.dpc.may_run() {
            parts.turn.take(|| {
                // SAFETY: opened after publishing, and the teardown does not disconnect before it
                // has closed the life and waited for those let in before. A run for another's
                // mark is inside the DPC of the one that runs it, which is waited for as well.
                // Touched under the lock only (`Home`).
                let way = unsafe { Way::new(home.guarded()) };
                parts.handler.run(&Deferred::new(way));
            });
        }
    }
}

impl<T> sealed::Parts<T> for ThreadedParts<T> {
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
        self.turn.is_this_threads()
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
