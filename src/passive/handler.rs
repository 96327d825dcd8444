//! The passive-level interrupt service routine as a driver writes it, and what it is given.

use core::fmt;
use core::marker::PhantomData;

use crate::deferred::{NoDeferred, WorkItem, assert_may_queue_work};
use crate::handler::{MessageId, Serviced};

/// What a passive-level ISR owns, and the routine itself.
///
/// As an [`InterruptHandler`](crate::InterruptHandler), but all of it runs at `PASSIVE_LEVEL`, in a
/// thread of the system, with the registration's lock held: it may wait, allocate and touch
/// pageable memory. It has no DPC; `D` is [`NoDeferred`] or a [`WorkItem`](crate::WorkItem).
///
/// See [Using passive-level interrupt service routines][page].
///
/// [page]: https://learn.microsoft.com/windows-hardware/drivers/kernel/using-passive-level-interrupt-handling-routines
///
/// # Examples
///
/// A device behind an I²C bus:
///
/// ```
/// use wdm_interrupt::{PassiveInterrupt, PassiveInterruptHandler, Serviced};
/// # struct Bus;
/// # impl Bus {
/// #     fn read(&self, _: u8) -> Result<u8, ()> { Ok(1) }
/// #     fn write(&self, _: u8, _: u8) -> Result<(), ()> { Ok(()) }
/// # }
///
/// struct Handler {
///     /// Sends I/O requests and waits for them.
///     bus: Bus,
///     events: u32,
/// }
///
/// impl PassiveInterruptHandler for Handler {
///     fn service(&mut self, _interrupt: &PassiveInterrupt<'_>) -> Serviced {
///         const STATUS: u8 = 0x10;
///         let Ok(status @ 1..) = self.bus.read(STATUS) else {
///             return Serviced::NotMine;
///         };
///         self.events += 1;
///         // Writing it back acknowledges.
///         self.bus.write(STATUS, status).is_ok().into()
///     }
/// }
/// ```
pub trait PassiveInterruptHandler<D = NoDeferred>: Sized + Send + 'static {
    /// Services the device: the ISR. `PASSIVE_LEVEL`.
    ///
    /// It may run before `connect` returns, before [`enable`](Self::enable), and after
    /// [`disable`](Self::disable). It never runs concurrently with itself or with anything else that
    /// has the handler, and a level-sensitive line stays masked until it returns.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../examples/passive.txt")]
    /// struct Log {
    ///     entries: Vec<u32>,
    /// }
    ///
    /// impl PassiveInterruptHandler for Log {
    ///     fn service(&mut self, _interrupt: &PassiveInterrupt<'_>) -> Serviced {
    ///         // It may allocate.
    ///         self.entries.push(0);
    ///         Serviced::Claimed
    ///     }
    /// }
    ///
    /// let registration = PassiveLineBased::new(device).connect(Log { entries: Vec::new() })?;
    /// model.raise_line();
    /// # machine.settle();
    /// assert_eq!(registration.synchronize(|log| log.entries.len()), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    fn service(&mut self, interrupt: &PassiveInterrupt<'_, D>) -> Serviced;

    /// Lets the device interrupt. Called once by `connect`, when the ISR is connected, and by
    /// [`report_active`](crate::PassiveInterruptRegistration::report_active).
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../examples/passive.txt")]
    /// let registration = PassiveLineBased::new(device).connect(Handler::default())?;
    /// assert!(registration.synchronize(|handler| handler.enabled));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    fn enable(&mut self) {}

    /// Silences the device, before the ISR is disconnected, and once more when the deferred half
    /// has ended. Not called for hardware that is gone.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../examples/passive.txt")]
    /// let registration = PassiveLineBased::new(device).connect(Handler::default())?;
    /// let (handler, ()) = registration.disconnect()?;
    /// assert!(!handler.enabled);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    fn disable(&mut self) {}
}

/// What a passive-level ISR is told, and how it queues its deferred half.
///
/// # Examples
///
/// ```
/// use wdm_interrupt::{PassiveInterrupt, PassiveInterruptHandler, Serviced, WorkItem};
///
/// struct Handler {
///     events: u32,
/// }
/// struct Recovery;
///
/// impl PassiveInterruptHandler<WorkItem<Recovery>> for Handler {
///     fn service(&mut self, interrupt: &PassiveInterrupt<'_, WorkItem<Recovery>>) -> Serviced {
///         self.events += 1;
///         interrupt.queue_deferred();
///         Serviced::Claimed
///     }
/// }
/// ```
pub struct PassiveInterrupt<'a, D = NoDeferred> {
    pub(super) message: Option<MessageId>,
    pub(super) request: &'a dyn Fn() -> bool,
    pub(super) half: PhantomData<fn() -> D>,
}

impl<D> PassiveInterrupt<'_, D> {
    /// The message that came, on an [experimental](crate::ExperimentalPassiveMessageBased) connection;
    /// `None` on a line or a vector.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../examples/passive.txt")]
    /// # let model = machine.device().messages(2).build();
    /// # // SAFETY: the device is started while the example lasts.
    /// # let device = unsafe { PhysicalDevice::new(model.physical_device_object()) }?;
    /// struct Counts([u32; 2]);
    ///
    /// impl PassiveInterruptHandler for Counts {
    ///     fn service(&mut self, interrupt: &PassiveInterrupt<'_>) -> Serviced {
    ///         self.0[interrupt.message().map_or(0, MessageId::index)] += 1;
    ///         Serviced::Claimed
    ///     }
    /// }
    ///
    /// let registration = ExperimentalPassiveMessageBased::new(device).connect(Counts([0; 2]))?;
    /// model.raise_message(1);
    /// # machine.settle();
    /// assert_eq!(registration.synchronize(|counts| counts.0), [0, 1]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn message(&self) -> Option<MessageId> {
        self.message
    }
}

impl<T> PassiveInterrupt<'_, WorkItem<T>> {
    /// Queues the deferred half: `IoQueueWorkItem`. Returns `false` when it is queued already.
    ///
    /// See [`IoQueueWorkItem`][page].
    ///
    /// [page]: https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/nf-wdm-ioqueueworkitem
    ///
    /// # Panics
    ///
    /// Above `DISPATCH_LEVEL`, as inside another interrupt's `synchronize`.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../examples/passive.txt")]
    /// struct Queue(Vec<u32>);
    /// struct Log;
    ///
    /// impl PassiveInterruptHandler<WorkItem<Log>> for Queue {
    ///     fn service(&mut self, interrupt: &PassiveInterrupt<'_, WorkItem<Log>>) -> Serviced {
    ///         self.0.push(0);
    ///         interrupt.queue_deferred();
    ///         Serviced::Claimed
    ///     }
    /// }
    ///
    /// impl WorkHandler<Queue> for Log {
    ///     fn run(&self, work: &Work<'_, Queue>) {
    ///         for event in work.synchronize(|queue| std::mem::take(&mut queue.0)) {
    ///             println!("event {event}");
    ///         }
    ///     }
    /// }
    ///
    /// let work = WorkItem::new(function, Log);
    /// let registration = PassiveLineBased::new(device).deferred(work).connect(Queue(Vec::new()))?;
    /// model.raise_line();
    /// # machine.settle();
    /// assert!(registration.synchronize(|queue| queue.0.is_empty()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[expect(clippy::must_use_candidate, reason = "queued already is as good as queued")]
    #[track_caller]
    pub fn queue_deferred(&self) -> bool {
        assert_may_queue_work();
        (self.request)()
    }
}

impl<D> fmt::Debug for PassiveInterrupt<'_, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PassiveInterrupt").field("message", &self.message).finish_non_exhaustive()
    }
}
