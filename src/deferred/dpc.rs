//! The deferred half that a DPC runs.

use core::fmt;
use core::ptr::NonNull;

use super::life::LiveDpc;
use super::{Deferred, DeferredHandler, DeferredKind, Home, sealed};
use crate::link::Way;
use crate::{nt, routine};

/// A deferred half that a DPC runs at `DISPATCH_LEVEL`: a `T`, which is a [`DeferredHandler`].
///
/// See [DPC objects and DPCs][page].
///
/// [page]: https://learn.microsoft.com/windows-hardware/drivers/kernel/dpc-objects-and-dpcs
///
/// # Examples
///
/// ```
#[doc = include_str!("../examples/handler.txt")]
#[doc = include_str!("../examples/line.txt")]
/// let half = Dpc::new(Completion::default())
///     .importance(DpcImportance::High)
///     .target(ProcessorNumber { group: 0, number: 0 });
/// let registration = LineBased::new(device).deferred(half).connect(Handler::default())?;
/// model.raise_line();
/// assert_eq!(registration.deferred().completed.load(Ordering::Relaxed), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Dpc<T> {
    handler: T,
    settings: Settings,
}

/// Where in a processor's queue a DPC goes, and how soon it is run: `KDPC_IMPORTANCE`.
///
/// See [`KeSetImportanceDpc`][page].
///
/// [page]: https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/nf-wdm-kesetimportancedpc
///
/// # Examples
///
/// ```
#[doc = include_str!("../examples/handler.txt")]
#[doc = include_str!("../examples/line.txt")]
/// assert_eq!(DpcImportance::default(), DpcImportance::Medium);
///
/// // What nobody waits for.
/// let half = Dpc::new(Completion::default()).importance(DpcImportance::Low);
/// let registration = LineBased::new(device).deferred(half).connect(Handler::default())?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum DpcImportance {
    /// At the end of the queue; the processor may take its time.
    Low,
    /// At the end of the queue. What a DPC is unless told otherwise.
    #[default]
    Medium,
    /// At the end of the queue, and on another processor it begins at once as well.
    MediumHigh,
    /// At the front of the queue.
    High,
}

/// A processor, as `PROCESSOR_NUMBER` names it: by its group and its number in the group.
///
/// # Examples
///
/// ```
/// use wdm_interrupt::ProcessorNumber;
///
/// assert_eq!(ProcessorNumber::default(), ProcessorNumber { group: 0, number: 0 });
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct ProcessorNumber {
    /// The processor group.
    pub group: u16,
    /// The number in the group, from 0.
    pub number: u8,
}

impl<T> Dpc<T> {
    /// A deferred half that `handler` is. Any IRQL.
    ///
    /// # Examples
    ///
    /// ```
    /// use wdm_interrupt::{DeferredKind, Dpc};
    ///
    /// let half = Dpc::new("completion");
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
    /// let half = Dpc::new(Completion::default()).importance(DpcImportance::High);
    /// let registration = LineBased::new(device).deferred(half).connect(Handler::default())?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn importance(mut self, importance: DpcImportance) -> Self {
        self.settings.importance = importance;
        self
    }

    /// Sets the processor that runs it: `KeSetTargetProcessorDpcEx`. Unless told otherwise it is
    /// the one that queued it, that is the ISR's. Any IRQL.
    ///
    /// A processor that does not exist is as if none had been named.
    ///
    /// See [`KeSetTargetProcessorDpcEx`][page].
    ///
    /// [page]: https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/nf-wdm-kesettargetprocessordpcex
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../examples/handler.txt")]
    #[doc = include_str!("../examples/line.txt")]
    /// let half = Dpc::new(Completion::default()).target(ProcessorNumber { group: 0, number: 0 });
    /// let registration = LineBased::new(device).deferred(half).connect(Handler::default())?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn target(mut self, processor: ProcessorNumber) -> Self {
        self.settings.target = Some(processor);
        self
    }
}

impl<T> sealed::Sealed for Dpc<T> {}
impl<T> sealed::Queued for Dpc<T> {}

impl<T> DeferredKind for Dpc<T> {
    type Inner = T;

    fn into_inner(self) -> T {
        self.handler
    }
}

/// What a DPC is told once, before it is queued.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub(super) importance: DpcImportance,
    pub(super) target: Option<ProcessorNumber>,
}

impl Settings {
    pub(super) const DEFAULT: Self = Self { importance: DpcImportance::Medium, target: None };

    /// Tells it to `dpc`.
    ///
    /// # Safety
    ///
    /// `dpc` is initialised, and not queued yet.
    pub(super) unsafe fn apply(self, dpc: *mut nt::KDPC) {
        let importance = match self.importance {
            DpcImportance::Low => Some(nt::_KDPC_IMPORTANCE::LowImportance),
            // What a DPC is unless told otherwise.
            DpcImportance::Medium => None,
            DpcImportance::MediumHigh => Some(nt::_KDPC_IMPORTANCE::MediumHighImportance),
            DpcImportance::High => Some(nt::_KDPC_IMPORTANCE::HighImportance),
        };
        if let Some(importance) = importance {
            // SAFETY: initialised and not queued (caller).
            unsafe { nt::KeSetImportanceDpc(dpc, importance) };
        }
        if let Some(ProcessorNumber { group, number }) = self.target {
            let mut processor =
                nt::PROCESSOR_NUMBER { Group: group, Number: number, ..Default::default() };
            // A processor that is not there leaves the DPC as it was, which is documented above.
            // SAFETY: initialised and not queued (caller); the number is only read.
            let _status = unsafe { nt::KeSetTargetProcessorDpcEx(dpc, &raw mut processor) };
        }
    }
}

/// A DPC and what it runs, as they lie in the registration's memory.
pub struct DpcParts<T> {
    dpc: LiveDpc,
    handler: T,
}

impl<T> fmt::Debug for DpcParts<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DpcParts").finish_non_exhaustive()
    }
}

impl<H, T: DeferredHandler<H>> sealed::Laid<H> for Dpc<T> {
    type Parts = DpcParts<T>;

    unsafe fn lay_out<C: Home<H, DpcParts<T>>>(
        self,
        place: NonNull<DpcParts<T>>,
        home: NonNull<C>,
    ) -> Result<(), Self> {
        let Self { handler, settings } = self;
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
        let routine = Some(routine::dpc::<H, T, C> as _);
        // SAFETY: the KDPC is resident, stays put (caller), and is initialised this once; the
        // routine takes the home of these parts as its context.
        unsafe { nt::KeInitializeDpc(dpc, routine, home.as_ptr().cast()) };
        // SAFETY: just initialised.
        unsafe { settings.apply(dpc) };
        Ok(())
    }
}

impl<T> DpcParts<T> {
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
            // SAFETY: opened after publishing, and the teardown does not disconnect before it
            // has closed the life and waited for those let in before; touched under the lock only
            // (`Home`).
            let way = unsafe { Way::new(home.guarded()) };
            parts.handler.run(&Deferred::new(way));
        }
    }
}

impl<T> sealed::Parts<T> for DpcParts<T> {
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
