//! The registration of an ISR: it owns what the ISR uses, and takes it apart in the right order.

use core::ffi::c_void;
use core::fmt;
use core::marker::PhantomData;
use core::mem::ManuallyDrop;
use core::ops::Deref;
use core::ptr::NonNull;

use crate::block::{Block, Halves};
use crate::connection::{Connected, Connection};
use crate::deferred::sealed::Parts;
use crate::deferred::{self, DeferredHalf, NoDeferred, sealed};
use crate::error::{DisconnectError, DisconnectErrorKind};
use crate::handler::InterruptHandler;
use crate::irql::Irql;
use crate::nt;
use crate::resource::InterruptResource;
use crate::table::MessageTable;
use crate::teardown::{Hardware, tear_down};

/// A connected ISR, with the handler and the deferred half that belong to it.
///
/// Made by the `connect` of a request ([`LineBased`](crate::LineBased),
/// [`FullySpecified`](crate::FullySpecified), [`MessageBased`](crate::MessageBased)). Dropping it
/// disconnects. It is one pointer, to memory that does not move.
///
/// # Teardown
///
/// [`disconnect`](Self::disconnect), [`disconnect_removed`](Self::disconnect_removed) and `Drop`
/// do the same, in this order:
///
/// 1. the handler's [`disable`](InterruptHandler::disable), under the interrupt's lock (not when
///    the hardware is gone);
/// 2. `KeFlushQueuedDpcs` (and a wait for the work item, if there is one), still connected, so that
///    what was claimed is completed by a deferred half that can still synchronise;
/// 3. deferred work is refused from here on;
/// 4. the same wait again: after it no user code of the deferred half runs or can begin; then
///    `disable` once more, since the deferred half may have enabled the device again;
/// 5. `IoDisconnectInterruptEx`, after which the ISR runs no more;
/// 6. `KeRemoveQueueDpc` and a last flush, for a DPC that an ISR on a shared line queued between 3
///    and 5: it does nothing, but it uses the registration's memory;
/// 7. the halves are handed back or dropped, the memory is freed.
///
/// Without a deferred half 2, 3, 4 and 6 fall away. What the ISR claims after 2 (a message that
/// was on its way when the device was silenced) stays in the handler that is handed back. See
/// [Removing an ISR][page].
///
/// # Forgetting a registration
///
/// [`core::mem::forget`] leaves the ISR connected and its memory allocated for ever. That is sound
/// as long as the driver's image stays loaded and the resources stay assigned, as
/// [`PhysicalDevice::new`](crate::PhysicalDevice::new) demands; a driver that forgets a
/// registration can never unload.
///
/// [page]: https://learn.microsoft.com/windows-hardware/drivers/kernel/removing-an-isr
///
/// # Examples
///
/// ```
#[doc = include_str!("examples/handler.txt")]
#[doc = include_str!("examples/line.txt")]
/// /// The device extension of a driver.
/// struct Extension {
///     /// `None` until START, and after STOP.
///     interrupt: Option<InterruptRegistration<Handler>>,
/// }
///
/// impl Extension {
///     fn events(&self) -> u32 {
///         let interrupt = self.interrupt.as_ref();
///         interrupt.map_or(0, |interrupt| interrupt.synchronize(|handler| handler.events))
///     }
/// }
///
/// let registration = LineBased::new(device).connect(Handler::default())?;
/// let mut extension = Extension { interrupt: Some(registration) };
/// model.raise_line();
/// assert_eq!(extension.events(), 1);
///
/// // In IRP_MN_STOP_DEVICE or IRP_MN_REMOVE_DEVICE.
/// drop(extension.interrupt.take());
/// assert_eq!(extension.events(), 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Invariants
///
/// The block is connected, published and open, and nobody else will tear it down.
#[repr(transparent)]
pub struct InterruptRegistration<H, D = NoDeferred>
where
    H: InterruptHandler<D>,
    D: DeferredHalf<H>,
{
    block: NonNull<Block<H, D>>,
}

// SAFETY:
// - through `&self` the handler is reached under the interrupt's lock, which makes `&mut H` of it
//   for one thread at a time: `H: Send` is what that takes, as for a mutex;
// - the deferred half is `Send + Sync`, or there is none;
// - what else is read, connection, object and IRQL, does not change once published;
// - whoever owns the registration may tear it down on any thread and then owns both halves,
//   which are `Send`.
unsafe impl<H: InterruptHandler<D>, D: DeferredHalf<H>> Send for InterruptRegistration<H, D> {}

// SAFETY: as above.
unsafe impl<H: InterruptHandler<D>, D: DeferredHalf<H>> Sync for InterruptRegistration<H, D> {}

/// What a registration is connected to.
///
/// # Examples
///
/// ```
/// use wdm_interrupt::ConnectionKind;
///
/// fn queues(kind: ConnectionKind) -> u32 {
///     match kind {
///         ConnectionKind::MessageBased { messages } => messages,
///         _ => 1,
///     }
/// }
/// assert_eq!(queues(ConnectionKind::LineBased), 1);
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ConnectionKind {
    /// `CONNECT_LINE_BASED`: the device's lines, asked for or fallen back to.
    LineBased,
    /// `CONNECT_FULLY_SPECIFIED` (or its `GROUP` variant).
    FullySpecified {
        /// How many vectors there are, at least one.
        vectors: usize,
    },
    /// `CONNECT_MESSAGE_BASED`: the device's messages.
    MessageBased {
        /// How many there are, at least one.
        messages: u32,
    },
}

impl<H: InterruptHandler<D>, D: DeferredHalf<H>> InterruptRegistration<H, D> {
    /// Takes over a connection: the last step of connecting.
    ///
    /// # Safety
    ///
    /// The invariant.
    pub(crate) const unsafe fn new(block: NonNull<Block<H, D>>) -> Self {
        // INVARIANT: the caller vouches for it.
        Self { block }
    }

    const fn block(&self) -> &Block<H, D> {
        // SAFETY: the block lives until the teardown, which takes the registration by value.
        unsafe { self.block.as_ref() }
    }

    /// What the kernel returned.
    const fn connected(&self) -> &Connected {
        // SAFETY: written before the registration was made, and taken by the teardown.
        unsafe { self.block().connected() }
    }

    fn first(&self) -> Option<&Connection> {
        self.connected().first()
    }

    /// Calls `with_handler` with the handler, under the interrupt's lock and at its synchronize
    /// IRQL, and returns what it returns: `KeSynchronizeExecution`.
    ///
    /// The ISR cannot run meanwhile, on any processor, so be short. What a
    /// [handler](InterruptHandler) must not do, `with_handler` must not do either. The lock covers
    /// everything that this registration connected: the line, or all messages.
    ///
    /// The lock is not recursive: synchronising again from inside `with_handler`, or from a
    /// handler's method, deadlocks; so do two threads that nest two registrations in opposite
    /// order.
    ///
    /// What `with_handler` owns or replaces is dropped under the lock as well. To free memory,
    /// return it from the closure and drop it outside.
    ///
    /// The handler cannot leave the closure:
    ///
    /// ```compile_fail
    /// # use wdm_interrupt::{InterruptHandler, InterruptRegistration};
    /// fn leak<H: InterruptHandler>(registration: &InterruptRegistration<H>) -> &mut H {
    ///     registration.synchronize(|handler| handler)
    /// }
    /// ```
    ///
    /// IRQL: at most [`synchronize_irql`](Self::synchronize_irql). See
    /// [`KeSynchronizeExecution`][page].
    ///
    /// # Panics
    ///
    /// Above the synchronize IRQL: `KeSynchronizeExecution` would lower the IRQL there.
    ///
    /// [page]: https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/nf-wdm-kesynchronizeexecution
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("examples/handler.txt")]
    #[doc = include_str!("examples/line.txt")]
    /// let registration = LineBased::new(device).connect(Handler::default())?;
    /// model.raise_line();
    /// let events = registration.synchronize(|handler| std::mem::take(&mut handler.events));
    /// assert_eq!(events, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn synchronize<R>(&self, with_handler: impl FnOnce(&mut H) -> R) -> R {
        // SAFETY: published and connected (invariant).
        unsafe { self.block().way() }.synchronize(with_handler)
    }

    /// What the ISR is connected to. Any IRQL.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("examples/handler.txt")]
    #[doc = include_str!("examples/line.txt")]
    /// let request = MessageBased::new(device).fall_back_to_line();
    /// let registration = request.connect(Handler::default())?;
    /// // The device has a line only.
    /// assert_eq!(registration.kind(), ConnectionKind::LineBased);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn kind(&self) -> ConnectionKind {
        let vectors = self.resources().count();
        match self.message_table() {
            Some(table) => ConnectionKind::MessageBased { messages: table.count() },
            None if vectors > 0 => ConnectionKind::FullySpecified { vectors },
            None => ConnectionKind::LineBased,
        }
    }

    /// The IRQL at which the ISR runs, and to which [`synchronize`](Self::synchronize) raises.
    /// Any IRQL.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("examples/handler.txt")]
    #[doc = include_str!("examples/messages.txt")]
    /// let registration = MessageBased::new(device).connect(Handler::default())?;
    /// // One lock for all messages, at the highest IRQL of them.
    /// let table = registration.message_table().ok_or("there are no messages")?;
    /// assert_eq!(registration.synchronize_irql(), table.unified_irql());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn synchronize_irql(&self) -> Irql {
        // SAFETY: published and connected (invariant).
        unsafe { self.block().way() }.link().synchronize_irql
    }

    /// The messages that are connected; `None` on a line or a vector. Any IRQL.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("examples/handler.txt")]
    #[doc = include_str!("examples/messages.txt")]
    /// let registration = MessageBased::new(device).connect(Handler::default())?;
    /// let table = registration.message_table().ok_or("there are no messages")?;
    /// let vectors: Vec<_> = table.iter().map(|message| message.vector).collect();
    /// assert_eq!(vectors.len(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn message_table(&self) -> Option<MessageTable<'_>> {
        // SAFETY: published (invariant).
        let messages = unsafe { self.block().messages() };
        // SAFETY: of an allowed form, or there were no registration; the number was read from it.
        unsafe { self.first()?.table(messages) }
    }

    /// The resources of a [fully specified](crate::FullySpecified) connection: vector, IRQL,
    /// affinity and mode of each; none for the others, where the system takes them from what it
    /// assigned. Any IRQL.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("examples/handler.txt")]
    #[doc = include_str!("examples/line.txt")]
    /// let line = resources.iter().next().ok_or("no interrupt is assigned")?;
    /// let registration = FullySpecified::new(device, line).connect(Handler::default())?;
    /// assert!(registration.resources().eq([line]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn resources(&self) -> impl Iterator<Item = InterruptResource> {
        self.connected().resources()
    }

    /// The interrupt object, for a debugger or a routine in C to look at: the line's, or the first
    /// message's or vector's. Any IRQL.
    ///
    /// It is gone when the registration is. What a driver would use it for, the registration does.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("examples/handler.txt")]
    #[doc = include_str!("examples/line.txt")]
    /// let registration = LineBased::new(device).connect(Handler::default())?;
    /// // For `!object` in the debugger.
    /// println!("interrupt object {:p}", registration.interrupt_object());
    /// # assert!(!registration.interrupt_object().is_null());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn interrupt_object(&self) -> *mut nt::KINTERRUPT {
        // SAFETY: published and connected (invariant).
        unsafe { self.block().way() }.link().object.as_ptr()
    }

    /// Silences the device and reports its interrupt inactive: the handler's
    /// [`disable`](InterruptHandler::disable), then `IoReportInterruptInactive`.
    ///
    /// For leaving D0, while the registers still answer. The registration stays connected, and the
    /// ISR may still run for another device on a shared line. The teardown then leaves the device
    /// alone, as it does not answer. Repeated, it does not call the handler again; what the deferred half or a driver
    /// enables behind its back stays enabled.
    ///
    /// A deferred half that is queued already may still run, and look for the registers: a driver
    /// that cannot have that waits for its own requests first.
    ///
    /// IRQL: at most `DISPATCH_LEVEL`. See [`IoReportInterruptInactive`][page].
    ///
    /// # Panics
    ///
    /// Above `DISPATCH_LEVEL`.
    ///
    /// [page]: https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/nf-wdm-ioreportinterruptinactive
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("examples/handler.txt")]
    #[doc = include_str!("examples/line.txt")]
    /// let registration = LineBased::new(device).connect(Handler::default())?;
    /// // Before the device leaves D0.
    /// registration.report_inactive();
    /// assert!(!registration.synchronize(|handler| handler.enabled));
    /// # assert_eq!(model.is_active(0), Some(false));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn report_inactive(&self) {
        assert_may_report();
        // SAFETY: published and connected (invariant).
        unsafe { self.block().way() }.report::<D>(true);
        self.report(false);
    }

    /// Reports the interrupt active and enables the device: `IoReportInterruptActive`, then the
    /// handler's [`enable`](InterruptHandler::enable).
    ///
    /// For D0 entry, once the registers answer. It is active right after `connect`; repeated,
    /// it does not call the handler again. Not to be called by two threads at once, one for each direction: the last word
    /// could be either's.
    ///
    /// IRQL: at most `DISPATCH_LEVEL`. See [`IoReportInterruptActive`][page].
    ///
    /// # Panics
    ///
    /// Above `DISPATCH_LEVEL`.
    ///
    /// [page]: https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/nf-wdm-ioreportinterruptactive
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("examples/handler.txt")]
    #[doc = include_str!("examples/line.txt")]
    /// let registration = LineBased::new(device).connect(Handler::default())?;
    /// registration.report_inactive();
    /// // When the device is in D0 again.
    /// registration.report_active();
    /// assert!(registration.synchronize(|handler| handler.enabled));
    /// # assert_eq!(model.is_active(0), Some(true));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn report_active(&self) {
        assert_may_report();
        self.report(true);
        // SAFETY: published and connected (invariant).
        unsafe { self.block().way() }.report::<D>(false);
    }

    fn report(&self, active: bool) {
        for connection in self.connected().connections() {
            // SAFETY: at most DISPATCH_LEVEL, which the callers have asserted.
            unsafe { connection.report(active) };
        }
    }

    /// Silences the device, disconnects the ISR, and hands both halves back.
    ///
    /// When this returns, neither the ISR nor the deferred half runs or will run. What was claimed
    /// before the call has been completed by the deferred half.
    ///
    /// IRQL: `PASSIVE_LEVEL`. The order is in the [type's documentation](Self#teardown).
    ///
    /// Afterwards there is nothing left to synchronise with, or to disconnect again:
    ///
    /// ```compile_fail,E0382
    /// # use wdm_interrupt::{DisconnectError, InterruptHandler, InterruptRegistration};
    /// fn twice<H: InterruptHandler>(
    ///     registration: InterruptRegistration<H>,
    /// ) -> Result<(), DisconnectError<InterruptRegistration<H>>> {
    ///     registration.disconnect()?;
    ///     registration.disconnect()?;
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// Above `PASSIVE_LEVEL`, or inside its own deferred half: nothing has happened, and the error
    /// has the registration.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("examples/handler.txt")]
    #[doc = include_str!("examples/line.txt")]
    /// let half = Dpc::new(Completion::default());
    /// let registration = LineBased::new(device).deferred(half).connect(Handler::default())?;
    /// model.raise_line();
    ///
    /// // In IRP_MN_STOP_DEVICE or IRP_MN_REMOVE_DEVICE, before it is passed down.
    /// let (handler, completion) = registration.disconnect()?;
    /// assert_eq!(handler.events, 0);
    /// assert_eq!(completion.completed.into_inner(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn disconnect(self) -> Result<(H, D::Inner), DisconnectError<Self>> {
        let ended = self.end(Hardware::Present);
        // SAFETY: ended at PASSIVE_LEVEL.
        ended.map(|halves| unsafe { halves.take() })
    }

    /// As [`disconnect`](Self::disconnect), for a device that is gone: does not call
    /// [`disable`](InterruptHandler::disable).
    ///
    /// The deferred half still runs for what was claimed, and must survive registers that read as
    /// all ones, as it must at any time.
    ///
    /// For `IRP_MN_SURPRISE_REMOVAL`, and `IRP_MN_REMOVE_DEVICE` without a stop before it when the
    /// device no longer answers. See [Handling surprise removal][page].
    ///
    /// IRQL: `PASSIVE_LEVEL`.
    ///
    /// # Errors
    ///
    /// As [`disconnect`](Self::disconnect).
    ///
    /// [page]: https://learn.microsoft.com/windows-hardware/drivers/kernel/handling-an-irp-mn-surprise-removal-request
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("examples/handler.txt")]
    #[doc = include_str!("examples/line.txt")]
    /// let registration = LineBased::new(device).connect(Handler::default())?;
    ///
    /// // In IRP_MN_SURPRISE_REMOVAL.
    /// let (handler, ()) = registration.disconnect_removed()?;
    /// // `disable` was not called.
    /// assert!(handler.enabled);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn disconnect_removed(self) -> Result<(H, D::Inner), DisconnectError<Self>> {
        let ended = self.end(Hardware::Removed);
        // SAFETY: ended at PASSIVE_LEVEL.
        ended.map(|halves| unsafe { halves.take() })
    }

    /// As [`disconnect`](Self::disconnect), and leaves both halves in their memory: for a handler
    /// that is too large for the kernel stack.
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
    #[doc = include_str!("examples/handler.txt")]
    #[doc = include_str!("examples/line.txt")]
    /// let registration = LineBased::new(device).connect(Handler::default())?;
    /// model.raise_line();
    /// let halves = registration.disconnect_in_place()?;
    /// assert_eq!(halves.handler().events, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn disconnect_in_place(self) -> Result<Halves<H, D>, DisconnectError<Self>> {
        self.end(Hardware::Present)
    }

    /// As [`disconnect_in_place`](Self::disconnect_in_place), for a device that is gone.
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
    #[doc = include_str!("examples/handler.txt")]
    #[doc = include_str!("examples/line.txt")]
    /// let registration = LineBased::new(device).connect(Handler::default())?;
    /// let halves = registration.disconnect_removed_in_place()?;
    /// assert!(halves.handler().enabled);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn disconnect_removed_in_place(self) -> Result<Halves<H, D>, DisconnectError<Self>> {
        self.end(Hardware::Removed)
    }

    /// Why the registration cannot end here and now, if so.
    fn obstacle(&self) -> Option<DisconnectErrorKind> {
        DisconnectErrorKind::here(|| self.block().deferred().is_inside())
    }

    fn end(self, hardware: Hardware) -> Result<Halves<H, D>, DisconnectError<Self>> {
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
    unsafe fn tear_down(&self, hardware: Hardware) -> Halves<H, D> {
        // SAFETY: connected, published and open (invariant); as the caller promises.
        unsafe { tear_down(self.block(), hardware) };
        // SAFETY: nothing of the kernel's has it any more, and the registration is not used again.
        unsafe { Halves::from_block(self.block) }
    }

    /// Gives the registration away as a pointer, for a device extension in C or a `void*` context.
    /// Any IRQL.
    ///
    /// It stays connected. Until [`from_raw`](Self::from_raw) takes it back it is as
    /// [forgotten](Self#forgetting-a-registration).
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("examples/handler.txt")]
    #[doc = include_str!("examples/line.txt")]
    /// /// A device extension that C declares.
    /// #[repr(C)]
    /// struct Extension {
    ///     interrupt: *mut core::ffi::c_void,
    /// }
    ///
    /// let registration = LineBased::new(device).connect(Handler::default())?;
    /// let extension = Extension { interrupt: registration.into_raw().as_ptr() };
    /// model.raise_line();
    /// # let raw = core::ptr::NonNull::new(extension.interrupt).ok_or("NULL")?;
    /// # // SAFETY: of a registration of this type, taken back this once.
    /// # let registration = unsafe { InterruptRegistration::<Handler>::from_raw(raw) };
    /// # assert_eq!(registration.disconnect()?.0.events, 1);
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
    #[doc = include_str!("examples/handler.txt")]
    #[doc = include_str!("examples/line.txt")]
    /// let raw = LineBased::new(device).connect(Handler::default())?.into_raw();
    ///
    /// // SAFETY: of a registration of this type, taken back this once; nothing borrows it.
    /// let registration = unsafe { InterruptRegistration::<Handler>::from_raw(raw) };
    /// let (_handler, ()) = registration.disconnect()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use = "dropping the registration disconnects"]
    pub const unsafe fn from_raw(raw: NonNull<c_void>) -> Self {
        // INVARIANT: it held when the registration was given away, and nobody else takes it.
        Self { block: raw.cast() }
    }

    /// Borrows what [`into_raw`](Self::into_raw) gave away, to synchronise with or to ask. Any
    /// IRQL.
    ///
    /// # Safety
    ///
    /// - `raw` comes from `into_raw` of a registration of this type, with the same `H` and `D`;
    /// - it is not taken back during `'a`.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("examples/handler.txt")]
    #[doc = include_str!("examples/line.txt")]
    /// let raw = LineBased::new(device).connect(Handler::default())?.into_raw();
    /// model.raise_line();
    ///
    /// // SAFETY: of a registration of this type, which is not taken back meanwhile.
    /// let registration = unsafe { InterruptRegistration::<Handler>::borrow_raw(raw) };
    /// assert_eq!(registration.synchronize(|handler| handler.events), 1);
    /// # // SAFETY: as above, taken back this once, and nothing borrows it any more.
    /// # drop(unsafe { InterruptRegistration::<Handler>::from_raw(raw) });
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const unsafe fn borrow_raw<'a>(raw: NonNull<c_void>) -> BorrowedRegistration<'a, Self> {
        // SAFETY: as the caller promises.
        BorrowedRegistration::new(unsafe { Self::from_raw(raw) })
    }
}

/// A registration that was [given away](InterruptRegistration::into_raw) as a pointer, borrowed.
///
/// Dropping it leaves the registration as it is.
///
/// # Examples
///
/// ```
#[doc = include_str!("examples/handler.txt")]
#[doc = include_str!("examples/line.txt")]
/// /// What a callback gets as its context.
/// type Borrowed<'a> = BorrowedRegistration<'a, InterruptRegistration<Handler>>;
///
/// fn events(interrupt: &Borrowed<'_>) -> u32 {
///     interrupt.synchronize(|handler| handler.events)
/// }
/// let raw = LineBased::new(device).connect(Handler::default())?.into_raw();
/// // SAFETY: of a registration of this type, which is not taken back meanwhile.
/// let interrupt: Borrowed<'_> = unsafe { InterruptRegistration::borrow_raw(raw) };
/// assert_eq!(events(&interrupt), 0);
/// # // SAFETY: as above, taken back this once, and nothing borrows it any more.
/// # drop(unsafe { InterruptRegistration::<Handler>::from_raw(raw) });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct BorrowedRegistration<'a, R> {
    registration: ManuallyDrop<R>,
    borrow: PhantomData<&'a R>,
}

impl<R> BorrowedRegistration<'_, R> {
    /// `registration` is not this value's to drop.
    pub(crate) const fn new(registration: R) -> Self {
        Self { registration: ManuallyDrop::new(registration), borrow: PhantomData }
    }
}

impl<R> Deref for BorrowedRegistration<'_, R> {
    type Target = R;

    fn deref(&self) -> &R {
        &self.registration
    }
}

impl<R: fmt::Debug> fmt::Debug for BorrowedRegistration<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BorrowedRegistration").field(&**self).finish()
    }
}

#[track_caller]
pub(crate) fn assert_may_report() {
    let irql = Irql::current();
    assert!(
        irql <= Irql::DISPATCH,
        "an interrupt was reported active or inactive at {irql}; that is possible up to \
         DISPATCH_LEVEL only"
    );
}

impl<H: InterruptHandler<D>, D: DeferredHalf<H> + sealed::Queued> InterruptRegistration<H, D> {
    /// What was handed in as the deferred half. Any IRQL.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("examples/handler.txt")]
    #[doc = include_str!("examples/line.txt")]
    /// let half = Dpc::new(Completion::default());
    /// let registration = LineBased::new(device).deferred(half).connect(Handler::default())?;
    /// model.raise_line();
    /// assert_eq!(registration.deferred().completed.load(Ordering::Relaxed), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn deferred(&self) -> &D::Inner {
        self.block().deferred().inner()
    }

    /// Queues the deferred half, as [`Interrupt::queue_deferred`](crate::Interrupt::queue_deferred)
    /// does in the ISR. Any IRQL.
    ///
    /// For work that comes from elsewhere, such as a cancelled request. Returns `false` when it is
    /// queued already.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("examples/handler.txt")]
    #[doc = include_str!("examples/line.txt")]
    /// let half = Dpc::new(Completion::default());
    /// let registration = LineBased::new(device).deferred(half).connect(Handler::default())?;
    /// // Work that did not come by an interrupt.
    /// registration.synchronize(|handler| handler.events += 1);
    /// registration.queue_deferred();
    /// # machine.poll();
    /// assert_eq!(registration.deferred().completed.load(Ordering::Relaxed), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[expect(clippy::must_use_candidate, reason = "queued already is as good as queued")]
    pub fn queue_deferred(&self) -> bool {
        // SAFETY: the DPC is initialised and lies in the block, which lives at least as long as
        // this borrow.
        unsafe { deferred::queue(self.block().dpc()) }
    }
}

impl<H: InterruptHandler<D>, D: DeferredHalf<H>> Drop for InterruptRegistration<H, D> {
    /// [Disconnects](InterruptRegistration::disconnect) and drops both halves.
    ///
    /// # Panics
    ///
    /// Above `PASSIVE_LEVEL`, so also inside its own ISR or DPC, and inside its own threaded DPC or
    /// work item. There is no safe way to go on: the memory cannot be freed while the ISR is
    /// connected, and the ISR cannot be disconnected here.
    fn drop(&mut self) {
        if let Some(kind) = self.obstacle() {
            kind.dropped("an InterruptRegistration");
        }
        // SAFETY: dropped once, so this is the one teardown; no obstacle.
        drop(unsafe { self.tear_down(Hardware::Present) });
    }
}

impl<H: InterruptHandler<D>, D: DeferredHalf<H>> fmt::Debug for InterruptRegistration<H, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InterruptRegistration")
            .field("kind", &self.kind())
            .field("synchronize_irql", &self.synchronize_irql())
            .finish_non_exhaustive()
    }
}
