//! The interrupt service routine as a driver writes it, and what it is given.

use core::fmt;
use core::marker::PhantomData;

use crate::deferred::{self, NoDeferred, sealed};
use crate::nt;

/// What an ISR owns, and the routine itself.
///
/// The value is the state that a C driver would protect with `KeSynchronizeExecution`. The
/// registration owns it; the ISR gets it as `&mut self` under the interrupt's lock, and everyone
/// else gets at it under the same lock only, through
/// [`synchronize`](crate::InterruptRegistration::synchronize). It usually contains the mapping of
/// the device's registers, so that they stay mapped until the ISR is gone.
///
/// `D` is the deferred half that the ISR may queue, by default none: [`Dpc`](crate::Dpc),
/// [`ThreadedDpc`](crate::ThreadedDpc), [`WorkItem`](crate::WorkItem) or, with one handler a
/// message, [`SharedDpc`](crate::SharedDpc).
///
/// # What a handler may do
///
/// All three methods run at the interrupt's synchronize IRQL, above `DISPATCH_LEVEL`, with the
/// interrupt's lock held. They must be short; they must not wait, allocate, free, touch pageable
/// memory, panic, or call kernel routines that are not allowed at that IRQL. See
/// [Writing an ISR][page].
///
/// Keep the value small: it is moved into nonpaged pool by way of the kernel stack. Large or
/// intrusive state belongs behind a pointer.
///
/// It lives as long as the registration, so it owns what it has:
///
/// ```compile_fail,E0478
/// use wdm_interrupt::{Interrupt, InterruptHandler, Serviced};
///
/// struct Handler<'a>(&'a mut u32);
///
/// impl<'a> InterruptHandler for Handler<'a> {
///     fn service(&mut self, _interrupt: &Interrupt<'_>) -> Serviced {
///         *self.0 += 1;
///         Serviced::Claimed
///     }
/// }
/// ```
///
/// Pool aligns to 16 bytes, and a value that needs more is refused when it is connected:
///
/// ```compile_fail,E0080
/// use wdm_interrupt::{Interrupt, InterruptHandler, LineBased, PhysicalDevice, Serviced};
///
/// #[repr(align(32))]
/// struct Handler(u8);
///
/// impl InterruptHandler for Handler {
///     fn service(&mut self, _interrupt: &Interrupt<'_>) -> Serviced {
///         Serviced::NotMine
///     }
/// }
///
/// # fn connect(device: PhysicalDevice) {
/// LineBased::new(device).connect(Handler(0)).unwrap();
/// # }
/// # let _: fn(PhysicalDevice) = connect;
/// ```
///
/// Registers of a device that has been pulled out read as all ones. That happens before any IRP
/// tells the driver, so a handler must take it for "not mine".
///
/// [page]: https://learn.microsoft.com/windows-hardware/drivers/kernel/writing-an-isr
///
/// # Examples
///
/// ```
/// use wdm_interrupt::{Interrupt, InterruptHandler, Serviced};
/// # struct Registers;
/// # impl Registers {
/// #     fn status(&self) -> u32 { 1 }
/// #     fn acknowledge(&self, _: u32) {}
/// #     fn unmask(&self) {}
/// #     fn mask(&self) {}
/// # }
///
/// struct Handler {
///     registers: Registers,
///     events: u32,
/// }
///
/// impl InterruptHandler for Handler {
///     fn service(&mut self, _interrupt: &Interrupt<'_>) -> Serviced {
///         let status = self.registers.status();
///         if status == 0 || status == u32::MAX {
///             return Serviced::NotMine;
///         }
///         self.registers.acknowledge(status);
///         self.events |= status;
///         Serviced::Claimed
///     }
///
///     fn enable(&mut self) {
///         self.registers.unmask();
///     }
///
///     fn disable(&mut self) {
///         self.registers.mask();
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no interrupt handler whose deferred half is `{D}`",
    note = "with `.deferred(half)` the handler implements `InterruptHandler<Dpc<Half>>`, without it \
            `InterruptHandler`"
)]
pub trait InterruptHandler<D = NoDeferred>: Sized + Send + 'static {
    /// Services the device: the ISR.
    ///
    /// It may run before `connect` returns, before [`enable`](Self::enable), and after
    /// [`disable`](Self::disable): on a shared line another device's interrupt is enough. It never
    /// runs concurrently with itself or with anything else that has the handler.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("examples/handler.txt")]
    #[doc = include_str!("examples/line.txt")]
    /// struct Uart {
    ///     status: u32,
    /// }
    ///
    /// impl InterruptHandler for Uart {
    ///     fn service(&mut self, _interrupt: &Interrupt<'_>) -> Serviced {
    ///         // Whether the device has an event; reading it acknowledges.
    ///         let status = std::mem::take(&mut self.status);
    ///         Serviced::from(status != 0)
    ///     }
    /// }
    ///
    /// let registration = LineBased::new(device).connect(Uart { status: 1 })?;
    /// # use wdm_interrupt_model::host::Delivery;
    /// assert_eq!(model.raise_line(), Delivery::Claimed);
    /// assert_eq!(model.raise_line(), Delivery::Unclaimed);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    fn service(&mut self, interrupt: &Interrupt<'_, D>) -> Serviced;

    /// Lets the device interrupt. Called once by `connect`, when the ISR is connected, and by
    /// [`report_active`](crate::InterruptRegistration::report_active). A driver may call it as well,
    /// by `synchronize`.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("examples/handler.txt")]
    #[doc = include_str!("examples/line.txt")]
    /// let registration = LineBased::new(device).connect(Handler { events: 0, enabled: false })?;
    /// assert!(registration.synchronize(|handler| handler.enabled));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    fn enable(&mut self) {}

    /// Silences the device, before the ISR is disconnected: on a level-sensitive line it would
    /// otherwise interrupt for ever. Read a register back, so that the write has arrived when this
    /// returns.
    ///
    /// With a deferred half it is called again when that can run no more, because it may have
    /// enabled the device meanwhile. Called by
    /// [`report_inactive`](crate::InterruptRegistration::report_inactive), too, and then not at the
    /// teardown of what is still inactive. Not called when [`enable`](Self::enable) was not, nor by
    /// [`disconnect_removed`](crate::InterruptRegistration::disconnect_removed).
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("examples/handler.txt")]
    #[doc = include_str!("examples/line.txt")]
    /// let registration = LineBased::new(device).connect(Handler::default())?;
    /// let (handler, ()) = registration.disconnect()?;
    /// assert!(!handler.enabled);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    fn disable(&mut self) {}
}

/// Whether it was the handler's device that interrupted: the ISR's `BOOLEAN`.
///
/// See [`KSERVICE_ROUTINE`][page].
///
/// [page]: https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/nc-wdm-kservice_routine
///
/// # Examples
///
/// ```
/// use wdm_interrupt::Serviced;
///
/// /// What a status register says of a device whose events are in the low byte.
/// fn serviced(status: u32) -> Serviced {
///     if status != u32::MAX && status & 0xFF != 0 {
///         Serviced::Claimed
///     } else {
///         Serviced::NotMine
///     }
/// }
/// assert_eq!(serviced(1), Serviced::Claimed);
/// // A device that is gone.
/// assert_eq!(serviced(u32::MAX), Serviced::NotMine);
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[must_use = "the kernel asks the next ISR on the line when the interrupt was not this device's"]
pub enum Serviced {
    /// `FALSE`: the device did not interrupt, or is not there any more.
    NotMine,
    /// `TRUE`: the device interrupted and was serviced.
    Claimed,
}

impl From<bool> for Serviced {
    /// `true` is [`Claimed`](Self::Claimed).
    fn from(claimed: bool) -> Self {
        if claimed { Self::Claimed } else { Self::NotMine }
    }
}

/// The number of an interrupt message: an index into the connection's message table.
///
/// # Examples
///
/// Handlers that are made one a message:
///
/// ```
#[doc = include_str!("examples/handler.txt")]
#[doc = include_str!("examples/messages.txt")]
/// let registration = EachMessage::new(device, resources.message_count())
///     .connect(|message| Handler { events: 10 * message.index() as u32, enabled: false })?;
/// let second = registration.message(1).ok_or("there is one message only")?;
/// assert_eq!(second.synchronize(|handler| handler.events), 10);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct MessageId(u32);

impl MessageId {
    pub(crate) const fn from_raw(raw: u32) -> Self {
        Self(raw)
    }

    /// The number. Smaller than the connection's message count once that is known, that is once
    /// `connect` has returned.
    ///
    /// # Examples
    ///
    /// ```
    /// use wdm_interrupt::{Interrupt, InterruptHandler, MessageId, Serviced};
    ///
    /// struct Handler {
    ///     counts: [u32; 8],
    /// }
    ///
    /// impl InterruptHandler for Handler {
    ///     fn service(&mut self, interrupt: &Interrupt<'_>) -> Serviced {
    ///         let index = interrupt.message().map_or(0, MessageId::index);
    ///         let Some(count) = self.counts.get_mut(index) else {
    ///             return Serviced::NotMine;
    ///         };
    ///         *count += 1;
    ///         Serviced::Claimed
    ///     }
    /// }
    /// ```
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "message {}", self.0)
    }
}

/// What an ISR is told, and the calls that are legal in it.
///
/// Lives only while [`service`](InterruptHandler::service) runs, on its processor.
///
/// # Examples
///
/// ```
/// use wdm_interrupt::{Interrupt, InterruptHandler, Serviced};
///
/// struct Handler {
///     counts: [u32; 2],
/// }
///
/// impl InterruptHandler for Handler {
///     fn service(&mut self, interrupt: &Interrupt<'_>) -> Serviced {
///         // One handler for all messages, and for the line when there are none.
///         let index = interrupt.message().map_or(0, |message| message.index());
///         let Some(count) = self.counts.get_mut(index) else {
///             return Serviced::NotMine;
///         };
///         *count += 1;
///         Serviced::Claimed
///     }
/// }
/// ```
pub struct Interrupt<'a, D = NoDeferred> {
    source: Source,
    /// Null when there is no deferred half.
    dpc: *mut nt::KDPC,
    half: PhantomData<fn() -> D>,
    service: PhantomData<&'a ()>,
}

/// What of a connection interrupted.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Source {
    Line,
    Message(MessageId),
    /// One of several vectors, by its place in the request.
    Vector(u32),
}

impl<D> Interrupt<'_, D> {
    /// # Safety
    ///
    /// If `D` is a kind with a DPC, then `dpc` is an initialised KDPC that outlives `'a`.
    pub(crate) const unsafe fn new(source: Source, dpc: *mut nt::KDPC) -> Self {
        Self { source, dpc, half: PhantomData, service: PhantomData }
    }

    /// The message that came, if the connection is message-based.
    ///
    /// `None` on a line: a message-based request that was allowed to fall back serves the line
    /// when no message was assigned, and the same handler sees it here. `None` also on a fully
    /// specified connection, which goes by vectors.
    ///
    /// # Examples
    ///
    /// One handler for all messages, and for the line when there are none:
    ///
    /// ```
    #[doc = include_str!("examples/handler.txt")]
    #[doc = include_str!("examples/messages.txt")]
    /// struct Counts([u32; 2]);
    ///
    /// impl InterruptHandler for Counts {
    ///     fn service(&mut self, interrupt: &Interrupt<'_>) -> Serviced {
    ///         let index = interrupt.message().map_or(0, MessageId::index);
    ///         let Some(count) = self.0.get_mut(index) else {
    ///             return Serviced::NotMine;
    ///         };
    ///         *count += 1;
    ///         Serviced::Claimed
    ///     }
    /// }
    ///
    /// let registration = MessageBased::new(device).fall_back_to_line().connect(Counts([0; 2]))?;
    /// model.raise_message(1);
    /// assert_eq!(registration.synchronize(|counts| counts.0), [0, 1]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn message(&self) -> Option<MessageId> {
        match self.source {
            Source::Message(message) => Some(message),
            Source::Line | Source::Vector(_) => None,
        }
    }

    /// Which of several vectors it was that interrupted, as an index into what the request
    /// [listed](crate::FullySpecified::several); `None` on other connections.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("examples/handler.txt")]
    #[doc = include_str!("examples/messages.txt")]
    /// struct Last(Option<usize>);
    ///
    /// impl InterruptHandler for Last {
    ///     fn service(&mut self, interrupt: &Interrupt<'_>) -> Serviced {
    ///         self.0 = interrupt.vector_index();
    ///         Serviced::Claimed
    ///     }
    /// }
    ///
    /// let interrupts: Vec<_> = resources.iter().collect();
    /// let registration = FullySpecified::several(device, &interrupts).connect(Last(None))?;
    /// model.raise(1);
    /// assert_eq!(registration.synchronize(|last| last.0), Some(1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn vector_index(&self) -> Option<usize> {
        match self.source {
            Source::Vector(index) => Some(index as usize),
            Source::Line | Source::Message(_) => None,
        }
    }
}

impl<D: sealed::Queued> Interrupt<'_, D> {
    /// Queues the deferred half: `KeInsertQueueDpc`.
    ///
    /// Returns `false` when it is queued already. It then runs once for both requests, which is
    /// why what the ISR hands over belongs into the handler's own state, where it adds up, and
    /// not into a request.
    ///
    /// See [`KeInsertQueueDpc`][page].
    ///
    /// [page]: https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/nf-wdm-keinsertqueuedpc
    ///
    /// # Examples
    ///
    /// ```
    /// use wdm_interrupt::{Dpc, Interrupt, InterruptHandler, Serviced};
    ///
    /// struct Handler {
    ///     events: u32,
    /// }
    /// struct Completion;
    ///
    /// impl InterruptHandler<Dpc<Completion>> for Handler {
    ///     fn service(&mut self, interrupt: &Interrupt<'_, Dpc<Completion>>) -> Serviced {
    ///         self.events += 1;
    ///         interrupt.queue_deferred();
    ///         Serviced::Claimed
    ///     }
    /// }
    /// ```
    #[expect(clippy::must_use_candidate, reason = "queued already is as good as queued")]
    pub fn queue_deferred(&self) -> bool {
        // SAFETY: the DPC is initialised and outlives this value (`new`); any IRQL is legal.
        unsafe { deferred::queue(self.dpc) }
    }
}

impl<D> fmt::Debug for Interrupt<'_, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Interrupt").field("source", &self.source).finish_non_exhaustive()
    }
}
