//! The interrupt service routine as a driver writes it, and what it is given.

use core::fmt;
use core::marker::PhantomData;

use crate::deferred::{DeferredHalf, Dpc, NoDeferred};
use crate::nt;

/// What an ISR owns, and the routine itself.
///
/// The value is the state that a C driver would protect with `KeSynchronizeExecution`. The
/// registration owns it; the ISR gets it as `&mut self` under the interrupt's lock, and everyone
/// else gets at it under the same lock only, through
/// [`synchronize`](crate::InterruptRegistration::synchronize). It usually contains the mapping of
/// the device's registers, so that they stay mapped until the ISR is gone.
///
/// `D` is the deferred half that the ISR may queue: [`NoDeferred`] or [`Dpc`].
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
pub trait InterruptHandler<D: DeferredHalf<Self> = NoDeferred>: Sized + Send + 'static {
    /// Services the device: the ISR.
    ///
    /// It may run before `connect` returns, before [`enable`](Self::enable), and after
    /// [`disable`](Self::disable): on a shared line another device's interrupt is enough. It never
    /// runs concurrently with itself or with anything else that has the handler.
    fn service(&mut self, interrupt: &Interrupt<'_, D>) -> Serviced;

    /// Lets the device interrupt. Called once by `connect`, when the ISR is connected. A driver may
    /// call it as well, by `synchronize`, when its device wakes up.
    fn enable(&mut self) {}

    /// Silences the device, before the ISR is disconnected: on a level-sensitive line it would
    /// otherwise interrupt for ever. Read a register back, so that the write has arrived when this
    /// returns.
    ///
    /// With a deferred half it is called again when that can run no more, because it may have
    /// enabled the device meanwhile. Not called when [`enable`](Self::enable) was not, nor by
    /// [`disconnect_removed`](crate::InterruptRegistration::disconnect_removed).
    fn disable(&mut self) {}
}

/// Whether it was the handler's device that interrupted: the ISR's `BOOLEAN`.
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
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct MessageId(u32);

impl MessageId {
    pub(crate) const fn from_raw(raw: u32) -> Self {
        Self(raw)
    }

    /// The number. Smaller than the connection's message count once that is known, that is once
    /// `connect` has returned.
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
pub struct Interrupt<'a, D = NoDeferred> {
    message: Option<MessageId>,
    /// Null when there is no deferred half.
    dpc: *mut nt::KDPC,
    half: PhantomData<fn() -> D>,
    service: PhantomData<&'a ()>,
}

impl<D> Interrupt<'_, D> {
    /// # Safety
    ///
    /// If `D` is a `Dpc`, then `dpc` is an initialised KDPC that outlives `'a`.
    pub(crate) const unsafe fn new(message: Option<MessageId>, dpc: *mut nt::KDPC) -> Self {
        Self { message, dpc, half: PhantomData, service: PhantomData }
    }

    /// The message that came, if the connection is message-based.
    ///
    /// `None` on a line: a message-based request that was allowed to fall back serves the line
    /// when no message was assigned, and the same handler sees it here. `None` also on a fully
    /// specified connection, which is one vector.
    #[must_use]
    pub const fn message(&self) -> Option<MessageId> {
        self.message
    }
}

impl<T> Interrupt<'_, Dpc<T>> {
    /// Queues the deferred half: `KeInsertQueueDpc`.
    ///
    /// Returns `false` when it is queued already. It then runs once for both requests, which is
    /// why what the ISR hands over belongs into the handler's own state, where it adds up, and
    /// not into a request.
    ///
    /// See [`KeInsertQueueDpc`][page].
    ///
    /// [page]: https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/nf-wdm-keinsertqueuedpc
    #[expect(clippy::must_use_candidate, reason = "queued already is as good as queued")]
    pub fn queue_deferred(&self) -> bool {
        let (first, second) = (core::ptr::null_mut(), core::ptr::null_mut());
        // SAFETY: the DPC is initialised and outlives this value (`new`); any IRQL is legal.
        let inserted = unsafe { nt::KeInsertQueueDpc(self.dpc, first, second) };
        inserted != nt::FALSE
    }
}

impl<D> fmt::Debug for Interrupt<'_, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Interrupt").field("message", &self.message).finish_non_exhaustive()
    }
}
