//! The registration of ISRs, one a message.

use core::ffi::c_void;
use core::fmt;
use core::mem::ManuallyDrop;
use core::ptr::NonNull;

use super::MessageHalf;
use super::block::MessageBlock;
use super::halves::MessageHalves;
use super::message::Message;
use crate::connection::Connection;
use crate::deferred::sealed::Parts;
use crate::deferred::{self, NoDeferred, SharedDeferredHandler, SharedDpc};
use crate::error::{DisconnectError, DisconnectErrorKind};
use crate::handler::InterruptHandler;
use crate::registration::{BorrowedRegistration, ConnectionKind, assert_may_report};
use crate::table::MessageTable;
use crate::teardown::{Hardware, tear_down};

/// Connected ISRs, one a message, with the handlers and deferred halves that belong to them.
///
/// Made by [`EachMessage`](crate::EachMessage). Dropping it disconnects, in the order of
/// [`InterruptRegistration`](crate::InterruptRegistration#teardown): `disable` is called for each
/// handler under its own lock. It is one pointer, to one block of memory that does not move, in
/// which the handlers lie in cache lines of their own.
///
/// # Examples
///
/// A queue of the device's for each message:
///
/// ```
#[doc = include_str!("../examples/handler.txt")]
#[doc = include_str!("../examples/messages.txt")]
/// /// The device extension of a driver.
/// struct Extension {
///     /// `None` until START, and after STOP.
///     queues: Option<MessageRegistration<Handler, Dpc<Completion>>>,
/// }
///
/// let queues = EachMessage::new(device, resources.message_count())
///     .connect_with_deferred(|_| (Handler::default(), Dpc::new(Completion::default())))?;
/// let mut extension = Extension { queues: Some(queues) };
///
/// // In IRP_MN_STOP_DEVICE.
/// drop(extension.queues.take());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Invariants
///
/// The block is connected, published and open, and nobody else will tear it down.
#[repr(transparent)]
pub struct MessageRegistration<H, D = NoDeferred>
where
    H: InterruptHandler<D>,
    D: MessageHalf<H>,
{
    pub(super) block: NonNull<MessageBlock<H, D>>,
}

// SAFETY: as for `InterruptRegistration`, with a lock for each handler.
unsafe impl<H: InterruptHandler<D>, D: MessageHalf<H>> Send for MessageRegistration<H, D> {}

// SAFETY: as above.
unsafe impl<H: InterruptHandler<D>, D: MessageHalf<H>> Sync for MessageRegistration<H, D> {}

impl<H: InterruptHandler<D>, D: MessageHalf<H>> MessageRegistration<H, D> {
    pub(super) const fn block(&self) -> &MessageBlock<H, D> {
        // SAFETY: the block lives until the teardown, which takes the registration by value.
        unsafe { self.block.as_ref() }
    }

    const fn connection(&self) -> Option<&Connection> {
        // SAFETY: written before the registration was made, and taken by the teardown.
        unsafe { self.block().connection() }
    }

    /// How many handlers are connected: one a message, or one for the line. Any IRQL.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../examples/handler.txt")]
    #[doc = include_str!("../examples/messages.txt")]
    /// // Three are promised, and two come.
    /// let registration = EachMessage::new(device, 3).connect(|_message| Handler::default())?;
    /// assert_eq!(registration.count(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn count(&self) -> usize {
        self.block().made() as usize
    }

    /// Message `index`, or the line with index 0; `None` past the last one. Any IRQL.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../examples/handler.txt")]
    #[doc = include_str!("../examples/messages.txt")]
    /// let registration = EachMessage::new(device, 2).connect(|_message| Handler::default())?;
    /// let receive = registration.message(0).ok_or("there are no messages")?;
    /// assert_eq!(receive.synchronize(|handler| handler.events), 0);
    /// assert!(registration.message(2).is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn message(&self, index: usize) -> Option<Message<'_, H, D>> {
        let index = u32::try_from(index).ok().filter(|&index| index < self.block().made())?;
        Some(Message { registration: self, index })
    }

    /// All of them, in order. Any IRQL.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../examples/handler.txt")]
    #[doc = include_str!("../examples/messages.txt")]
    /// let registration = EachMessage::new(device, 2).connect(|_message| Handler::default())?;
    /// model.raise_message(0);
    /// model.raise_message(1);
    /// for message in registration.messages() {
    ///     assert_eq!(message.synchronize(|handler| handler.events), 1);
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn messages(&self) -> impl Iterator<Item = Message<'_, H, D>> {
        (0..self.block().made()).map(|index| Message { registration: self, index })
    }

    /// What the ISRs are connected to. Any IRQL.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../examples/handler.txt")]
    #[doc = include_str!("../examples/messages.txt")]
    /// let registration = EachMessage::new(device, 2).connect(|_message| Handler::default())?;
    /// assert_eq!(registration.kind(), ConnectionKind::MessageBased { messages: 2 });
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn kind(&self) -> ConnectionKind {
        self.message_table().map_or(ConnectionKind::LineBased, |table| {
            ConnectionKind::MessageBased { messages: table.count() }
        })
    }

    /// The messages that are connected; `None` on a line. Any IRQL.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../examples/handler.txt")]
    #[doc = include_str!("../examples/messages.txt")]
    /// let registration = EachMessage::new(device, 2).connect(|_message| Handler::default())?;
    /// let table = registration.message_table().ok_or("there are no messages")?;
    /// // Each message has an IRQL of its own.
    /// assert_ne!(table.get(0).map(|it| it.irql), table.get(1).map(|it| it.irql));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn message_table(&self) -> Option<MessageTable<'_>> {
        // SAFETY: of an allowed form, or there were no registration; there are as many handlers as
        // messages were read from it.
        unsafe { self.connection()?.table(self.block().made()) }
    }

    /// Silences the device and reports its interrupts inactive: each handler's
    /// [`disable`](InterruptHandler::disable), then `IoReportInterruptInactive`.
    ///
    /// As [`InterruptRegistration::report_inactive`](crate::InterruptRegistration::report_inactive).
    /// IRQL: at most `DISPATCH_LEVEL`.
    ///
    /// # Panics
    ///
    /// Above `DISPATCH_LEVEL`.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../examples/handler.txt")]
    #[doc = include_str!("../examples/messages.txt")]
    /// let registration = EachMessage::new(device, 2).connect(|_message| Handler::default())?;
    /// // Before the device leaves D0.
    /// registration.report_inactive();
    /// for message in registration.messages() {
    ///     assert!(!message.synchronize(|handler| handler.enabled));
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn report_inactive(&self) {
        assert_may_report();
        // SAFETY: connected and published (invariant).
        unsafe { self.block().ways() }.for_each(|way| way.report::<D>(true));
        self.report(false);
    }

    /// Reports the interrupts active and enables the device: `IoReportInterruptActive`, then each
    /// handler's [`enable`](InterruptHandler::enable).
    ///
    /// As [`InterruptRegistration::report_active`](crate::InterruptRegistration::report_active).
    /// IRQL: at most `DISPATCH_LEVEL`.
    ///
    /// # Panics
    ///
    /// Above `DISPATCH_LEVEL`.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../examples/handler.txt")]
    #[doc = include_str!("../examples/messages.txt")]
    /// let registration = EachMessage::new(device, 2).connect(|_message| Handler::default())?;
    /// registration.report_inactive();
    /// // When the device is in D0 again.
    /// registration.report_active();
    /// for message in registration.messages() {
    ///     assert!(message.synchronize(|handler| handler.enabled));
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn report_active(&self) {
        assert_may_report();
        self.report(true);
        // SAFETY: connected and published (invariant).
        unsafe { self.block().ways() }.for_each(|way| way.report::<D>(false));
    }

    fn report(&self, active: bool) {
        if let Some(connection) = self.connection() {
            // SAFETY: at most DISPATCH_LEVEL, which the callers have asserted.
            unsafe { connection.report(active) };
        }
    }

    /// Silences the device, disconnects the ISRs, and hands all halves back.
    ///
    /// When this returns, neither an ISR nor a deferred half runs or will run. What was claimed
    /// before the call has been completed by the deferred halves.
    ///
    /// IRQL: `PASSIVE_LEVEL`.
    ///
    /// # Errors
    ///
    /// Above `PASSIVE_LEVEL`, or inside a deferred half of its own: nothing has happened, and the
    /// error has the registration.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../examples/handler.txt")]
    #[doc = include_str!("../examples/messages.txt")]
    /// let registration = EachMessage::new(device, 2).connect(|_message| Handler::default())?;
    /// model.raise_message(1);
    /// let halves = registration.disconnect()?;
    /// assert_eq!(halves.handler(1).map(|handler| handler.events), Some(1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn disconnect(self) -> Result<MessageHalves<H, D>, DisconnectError<Self>> {
        self.end(Hardware::Present)
    }

    /// As [`disconnect`](Self::disconnect), for a device that is gone: does not call
    /// [`disable`](InterruptHandler::disable).
    ///
    /// IRQL: `PASSIVE_LEVEL`.
    ///
    /// # Errors
    ///
    /// As [`disconnect`](Self::disconnect).
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../examples/handler.txt")]
    #[doc = include_str!("../examples/messages.txt")]
    /// let registration = EachMessage::new(device, 2).connect(|_message| Handler::default())?;
    /// // In IRP_MN_SURPRISE_REMOVAL.
    /// let halves = registration.disconnect_removed()?;
    /// // `disable` was not called.
    /// assert_eq!(halves.handler(0).map(|handler| handler.enabled), Some(true));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn disconnect_removed(self) -> Result<MessageHalves<H, D>, DisconnectError<Self>> {
        self.end(Hardware::Removed)
    }

    /// Why the registration cannot end here and now, if so.
    fn obstacle(&self) -> Option<DisconnectErrorKind> {
        DisconnectErrorKind::here(|| self.block().cells().any(|cell| cell.deferred.is_inside()))
    }

    fn end(self, hardware: Hardware) -> Result<MessageHalves<H, D>, DisconnectError<Self>> {
        if let Some(kind) = self.obstacle() {
            return Err(DisconnectError::new(self, kind));
        }
        let this = ManuallyDrop::new(self);
        // SAFETY: `this` is neither dropped nor used again; no obstacle.
        Ok(unsafe { this.tear_down(hardware) })
    }

    /// # Safety
    ///
    /// At `PASSIVE_LEVEL`, not inside its own deferred half. The registration is not used again,
    /// and not dropped.
    unsafe fn tear_down(&self, hardware: Hardware) -> MessageHalves<H, D> {
        // SAFETY: connected, published and open (invariant); as the caller promises.
        unsafe { tear_down(self.block(), hardware) };
        // INVARIANT: nothing of the kernel's has it any more.
        MessageHalves { block: self.block }
    }

    /// Gives the registration away as a pointer, for a device extension in C or a `void*` context.
    /// Any IRQL.
    ///
    /// It stays connected, until [`from_raw`](Self::from_raw) takes it back and it is ended.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../examples/handler.txt")]
    #[doc = include_str!("../examples/messages.txt")]
    /// /// A device extension that C declares.
    /// #[repr(C)]
    /// struct Extension {
    ///     queues: *mut core::ffi::c_void,
    /// }
    ///
    /// let registration = EachMessage::new(device, 2).connect(|_message| Handler::default())?;
    /// let extension = Extension { queues: registration.into_raw().as_ptr() };
    /// # let raw = core::ptr::NonNull::new(extension.queues).ok_or("NULL")?;
    /// # // SAFETY: of a registration of this type, taken back this once.
    /// # drop(unsafe { MessageRegistration::<Handler>::from_raw(raw) });
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use = "the registration stays connected for ever unless it is taken back"]
    pub const fn into_raw(self) -> NonNull<c_void> {
        let block = self.block;
        core::mem::forget(self);
        block.cast()
    }

    /// Takes back what [`into_raw`](Self::into_raw) gave away. Any IRQL.
    ///
    /// # Safety
    ///
    /// - `raw` comes from `into_raw` of a registration of this type, with the same `H` and `D`;
    /// - it is taken back once;
    /// - no [`BorrowedRegistration`] of it exists any more.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../examples/handler.txt")]
    #[doc = include_str!("../examples/messages.txt")]
    /// let registration = EachMessage::new(device, 2).connect(|_message| Handler::default())?;
    /// let raw = registration.into_raw();
    ///
    /// // SAFETY: of a registration of this type, taken back this once; nothing borrows it.
    /// let registration = unsafe { MessageRegistration::<Handler>::from_raw(raw) };
    /// let halves = registration.disconnect()?;
    /// assert_eq!(halves.count(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use = "dropping the registration disconnects"]
    pub const unsafe fn from_raw(raw: NonNull<c_void>) -> Self {
        // INVARIANT: it held when the registration was given away, and nobody else takes it.
        Self { block: raw.cast() }
    }

    /// Borrows what [`into_raw`](Self::into_raw) gave away. Any IRQL.
    ///
    /// # Safety
    ///
    /// - `raw` comes from `into_raw` of a registration of this type, with the same `H` and `D`;
    /// - it is not taken back during `'a`.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../examples/handler.txt")]
    #[doc = include_str!("../examples/messages.txt")]
    /// let registration = EachMessage::new(device, 2).connect(|_message| Handler::default())?;
    /// let raw = registration.into_raw();
    ///
    /// // SAFETY: of a registration of this type, which is not taken back meanwhile.
    /// let registration = unsafe { MessageRegistration::<Handler>::borrow_raw(raw) };
    /// assert_eq!(registration.count(), 2);
    /// # // SAFETY: as above, taken back this once, and nothing borrows it any more.
    /// # drop(unsafe { MessageRegistration::<Handler>::from_raw(raw) });
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const unsafe fn borrow_raw<'a>(raw: NonNull<c_void>) -> BorrowedRegistration<'a, Self> {
        // SAFETY: as the caller promises.
        BorrowedRegistration::new(unsafe { Self::from_raw(raw) })
    }
}

impl<H: InterruptHandler<SharedDpc<T>>, T: SharedDeferredHandler<H>>
    MessageRegistration<H, SharedDpc<T>>
{
    /// The deferred half that all messages share. Any IRQL.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../examples/handler.txt")]
    #[doc = include_str!("../examples/messages.txt")]
    /// let registration = EachMessage::new(device, 2)
    ///     .deferred(SharedDpc::new(Completion::default()))
    ///     .connect(|_message| Handler::default())?;
    /// model.raise_message(1);
    /// assert_eq!(registration.deferred().completed.load(Ordering::Relaxed), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn deferred(&self) -> &T {
        self.block().shared.inner()
    }

    /// Queues the deferred half that all messages share. Any IRQL. Returns `false` when it is
    /// queued already.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../examples/handler.txt")]
    #[doc = include_str!("../examples/messages.txt")]
    /// let registration = EachMessage::new(device, 2)
    ///     .deferred(SharedDpc::new(Completion::default()))
    ///     .connect(|_message| Handler::default())?;
    /// // Work that did not come by an interrupt.
    /// let first = registration.message(0).ok_or("there are no messages")?;
    /// first.synchronize(|handler| handler.events += 1);
    /// registration.queue_deferred();
    /// # machine.poll();
    /// assert_eq!(registration.deferred().completed.load(Ordering::Relaxed), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[expect(clippy::must_use_candidate, reason = "queued already is as good as queued")]
    pub fn queue_deferred(&self) -> bool {
        // SAFETY: the DPC is initialised and lies in the block, which lives at least as long as
        // this borrow.
        unsafe { deferred::queue(self.block().shared.dpc()) }
    }
}

impl<H: InterruptHandler<D>, D: MessageHalf<H>> Drop for MessageRegistration<H, D> {
    /// [Disconnects](MessageRegistration::disconnect) and drops all halves.
    ///
    /// # Panics
    ///
    /// Above `PASSIVE_LEVEL`, so also inside its own ISR or DPC, and inside its own threaded DPC.
    fn drop(&mut self) {
        if let Some(kind) = self.obstacle() {
            kind.dropped("a MessageRegistration");
        }
        // SAFETY: dropped once, so this is the one teardown; no obstacle.
        drop(unsafe { self.tear_down(Hardware::Present) });
    }
}

impl<H: InterruptHandler<D>, D: MessageHalf<H>> fmt::Debug for MessageRegistration<H, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageRegistration").field("kind", &self.kind()).finish_non_exhaustive()
    }
}
