//! The registration of a passive-level ISR.

use core::ffi::c_void;
use core::fmt;
use core::mem::ManuallyDrop;
use core::ptr::NonNull;
use core::sync::atomic::Ordering;

use super::PassiveHalf;
use super::block::{PassiveBlock, PassiveWay};
use super::handler::PassiveInterruptHandler;
use super::sealed::Parts;
use crate::connection::Connection;
use crate::deferred::{NoDeferred, WorkHandler, WorkItem, assert_may_queue_work};
use crate::error::{DisconnectError, DisconnectErrorKind};
use crate::nt;
use crate::registration::{BorrowedRegistration, ConnectionKind};
use crate::resource::InterruptResource;
use crate::table::MessageTable;
use crate::teardown::{Hardware, tear_down};

/// A connected passive-level ISR, with the handler and the deferred half that belong to it.
///
/// Made by [`PassiveLineBased`](crate::PassiveLineBased),
/// [`PassiveFullySpecified`](crate::PassiveFullySpecified) or
/// [`ExperimentalPassiveMessageBased`](crate::ExperimentalPassiveMessageBased). Dropping it
/// disconnects, in the order of [`InterruptRegistration`](crate::InterruptRegistration#teardown),
/// where the waits are for the work item.
///
/// # Examples
///
/// ```
#[doc = include_str!("../examples/passive.txt")]
/// /// The device extension of a driver.
/// struct Extension {
///     /// `None` until START, and after STOP.
///     interrupt: Option<PassiveInterruptRegistration<Handler>>,
/// }
///
/// let registration = PassiveLineBased::new(device).connect(Handler::default())?;
/// let mut extension = Extension { interrupt: Some(registration) };
/// model.raise_line();
/// # machine.settle();
///
/// // In IRP_MN_STOP_DEVICE.
/// if let Some(registration) = extension.interrupt.take() {
///     let (handler, ()) = registration.disconnect()?;
///     assert_eq!(handler.events, 1);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Invariants
///
/// The block is connected, published and open, and nobody else will tear it down.
#[repr(transparent)]
pub struct PassiveInterruptRegistration<H, D = NoDeferred>
where
    H: PassiveInterruptHandler<D>,
    D: PassiveHalf<H>,
{
    pub(super) block: NonNull<PassiveBlock<H, D>>,
}

// SAFETY:
// - through `&self` the handler is reached under the lock, which makes `&mut H` of it for one thread
//   at a time: `H: Send` is what that takes, as for a mutex;
// - the deferred half is `Send + Sync`, or there is none;
// - what else is read does not change once published.
unsafe impl<H: PassiveInterruptHandler<D>, D: PassiveHalf<H>> Send
    for PassiveInterruptRegistration<H, D>
{
}

// SAFETY: as above.
unsafe impl<H: PassiveInterruptHandler<D>, D: PassiveHalf<H>> Sync
    for PassiveInterruptRegistration<H, D>
{
}

impl<H: PassiveInterruptHandler<D>, D: PassiveHalf<H>> PassiveInterruptRegistration<H, D> {
    const fn block(&self) -> &PassiveBlock<H, D> {
        // SAFETY: the block lives until the teardown, which takes the registration by value.
        unsafe { self.block.as_ref() }
    }

    const fn way(&self) -> PassiveWay<'_, H> {
        // SAFETY: connected and published (invariant).
        unsafe { self.block().way() }
    }

    const fn connection(&self) -> Option<&Connection> {
        // SAFETY: written before the registration was made, and taken by the teardown.
        unsafe { self.block().connection() }
    }

    /// Calls `with_handler` with the handler, under the interrupt's lock, and returns what it
    /// returns: `KeSynchronizeExecution`.
    ///
    /// The ISR cannot run meanwhile. `with_handler` may wait, allocate, and send I/O requests. The
    /// lock covers everything that this registration connected. A thread that holds it cannot be
    /// suspended.
    ///
    /// IRQL: `PASSIVE_LEVEL`. See [`KeSynchronizeExecution`][page].
    ///
    /// # Panics
    ///
    /// Above `PASSIVE_LEVEL`; and inside itself, where it would wait for ever: in the ISR, or in
    /// `with_handler`.
    ///
    /// [page]: https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/nf-wdm-kesynchronizeexecution
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../examples/passive.txt")]
    /// let registration = PassiveLineBased::new(device).connect(Handler::default())?;
    /// model.raise_line();
    /// # machine.settle();
    /// let events = registration.synchronize(|handler| std::mem::take(&mut handler.events));
    /// assert_eq!(events, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn synchronize<R>(&self, with_handler: impl FnOnce(&mut H) -> R) -> R {
        self.way().synchronize(with_handler)
    }

    /// As [`synchronize`](Self::synchronize), unless the ISR or somebody else has the handler:
    /// then `None`, at once.
    ///
    /// IRQL: `PASSIVE_LEVEL`.
    ///
    /// # Panics
    ///
    /// As [`synchronize`](Self::synchronize).
    ///
    /// # Examples
    ///
    /// What a caller who must not wait for the bus does:
    ///
    /// ```
    #[doc = include_str!("../examples/passive.txt")]
    /// let registration = PassiveLineBased::new(device).connect(Handler::default())?;
    /// match registration.try_synchronize(|handler| handler.events) {
    ///     Some(events) => println!("{events} events"),
    ///     None => println!("the device is busy"),
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn try_synchronize<R>(&self, with_handler: impl FnOnce(&mut H) -> R) -> Option<R> {
        self.way().try_synchronize(with_handler)
    }

    /// What the ISR is connected to. Any IRQL.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../examples/passive.txt")]
    /// let registration = PassiveLineBased::new(device).connect(Handler::default())?;
    /// assert_eq!(registration.kind(), ConnectionKind::LineBased);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn kind(&self) -> ConnectionKind {
        match self.message_table() {
            Some(table) => ConnectionKind::MessageBased { messages: table.count() },
            None if self.block().interrupt.resource.is_some() => {
                ConnectionKind::FullySpecified { vectors: 1 }
            }
            None => ConnectionKind::LineBased,
        }
    }

    /// The messages that are connected; `None` on a line or a vector. Any IRQL.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../examples/passive.txt")]
    /// let registration = PassiveLineBased::new(device).connect(Handler::default())?;
    /// assert!(registration.message_table().is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn message_table(&self) -> Option<MessageTable<'_>> {
        let messages = self.block().interrupt.messages.load(Ordering::Relaxed);
        // SAFETY: of an allowed form, or there were no registration; the number was read from it.
        unsafe { self.connection()?.table(messages) }
    }

    /// The resource of a fully specified connection. Any IRQL.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../examples/passive.txt")]
    /// let line = resources.iter().next().ok_or("no interrupt is assigned")?;
    /// let registration = PassiveFullySpecified::new(device, line).connect(Handler::default())?;
    /// assert_eq!(registration.resource(), Some(line));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn resource(&self) -> Option<InterruptResource> {
        self.block().interrupt.resource
    }

    /// The interrupt object, for a debugger or a routine in C to look at. Any IRQL.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../examples/passive.txt")]
    /// let registration = PassiveLineBased::new(device).connect(Handler::default())?;
    /// // For `!object` in the debugger.
    /// println!("interrupt object {:p}", registration.interrupt_object());
    /// # assert!(!registration.interrupt_object().is_null());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn interrupt_object(&self) -> *mut nt::KINTERRUPT {
        // SAFETY: published, and not written again.
        unsafe { *self.block().core.object.get() }.as_ptr()
    }

    /// Silences the device and reports its interrupt inactive, as
    /// [`InterruptRegistration::report_inactive`](crate::InterruptRegistration::report_inactive).
    ///
    /// IRQL: `PASSIVE_LEVEL`, since the handler's lock is waited for.
    ///
    /// # Panics
    ///
    /// As [`synchronize`](Self::synchronize).
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../examples/passive.txt")]
    /// let registration = PassiveLineBased::new(device).connect(Handler::default())?;
    /// // Before the device leaves D0.
    /// registration.report_inactive();
    /// assert!(!registration.synchronize(|handler| handler.enabled));
    /// # assert_eq!(model.is_active(0), Some(false));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn report_inactive(&self) {
        self.way().report::<D>(true);
        self.report(false);
    }

    /// Reports the interrupt active and enables the device, as
    /// [`InterruptRegistration::report_active`](crate::InterruptRegistration::report_active).
    ///
    /// IRQL: `PASSIVE_LEVEL`.
    ///
    /// # Panics
    ///
    /// As [`synchronize`](Self::synchronize).
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../examples/passive.txt")]
    /// let registration = PassiveLineBased::new(device).connect(Handler::default())?;
    /// registration.report_inactive();
    /// // When the device is in D0 again.
    /// registration.report_active();
    /// assert!(registration.synchronize(|handler| handler.enabled));
    /// # assert_eq!(model.is_active(0), Some(true));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn report_active(&self) {
        self.way().assert_may_synchronize();
        self.report(true);
        self.way().report::<D>(false);
    }

    fn report(&self, active: bool) {
        if let Some(connection) = self.connection() {
            // SAFETY: PASSIVE_LEVEL, which the callers have asserted.
            unsafe { connection.report(active) };
        }
    }

    /// Silences the device, disconnects the ISR, and hands both halves back.
    ///
    /// When this returns, neither the ISR nor the deferred half runs or will run.
    ///
    /// IRQL: `PASSIVE_LEVEL`.
    ///
    /// # Errors
    ///
    /// Above `PASSIVE_LEVEL`, or inside its own ISR, synchronised closure or deferred half: nothing
    /// has happened, and the error has the registration.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../examples/passive.txt")]
    /// let work = WorkItem::new(function, Recovery::default());
    /// let request = PassiveLineBased::new(device).deferred(work);
    /// let registration = request.connect(Handler::default())?;
    /// model.raise_line();
    /// # machine.settle();
    ///
    /// // In IRP_MN_STOP_DEVICE or IRP_MN_REMOVE_DEVICE, before it is passed down.
    /// let (handler, recovery) = registration.disconnect()?;
    /// assert_eq!(handler.events, 0);
    /// assert_eq!(recovery.recovered.into_inner(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn disconnect(self) -> Result<(H, D::Inner), DisconnectError<Self>> {
        self.end(Hardware::Present)
    }

    /// As [`disconnect`](Self::disconnect), for a device that is gone: does not call
    /// [`disable`](PassiveInterruptHandler::disable).
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
    #[doc = include_str!("../examples/passive.txt")]
    /// let registration = PassiveLineBased::new(device).connect(Handler::default())?;
    ///
    /// // In IRP_MN_SURPRISE_REMOVAL.
    /// let (handler, ()) = registration.disconnect_removed()?;
    /// // `disable` was not called.
    /// assert!(handler.enabled);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn disconnect_removed(self) -> Result<(H, D::Inner), DisconnectError<Self>> {
        self.end(Hardware::Removed)
    }

    /// Why the registration cannot end here and now, if so.
    fn obstacle(&self) -> Option<DisconnectErrorKind> {
        let block = self.block();
        DisconnectErrorKind::here(|| {
            block.core.lock.is_this_threads() || block.deferred.is_inside()
        })
    }

    fn end(self, hardware: Hardware) -> Result<(H, D::Inner), DisconnectError<Self>> {
        if let Some(kind) = self.obstacle() {
            return Err(DisconnectError::new(self, kind));
        }
        let this = ManuallyDrop::new(self);
        // SAFETY: `this` is neither dropped nor used again; no obstacle.
        Ok(unsafe { this.tear_down(hardware) })
    }

    /// # Safety
    ///
    /// At `PASSIVE_LEVEL`, not inside itself. The registration is not used again, and not dropped.
    unsafe fn tear_down(&self, hardware: Hardware) -> (H, D::Inner) {
        // SAFETY: connected, published and open (invariant); as the caller promises.
        unsafe { tear_down(self.block(), hardware) };
        // SAFETY: nothing of the kernel's has it any more.
        unsafe { PassiveBlock::free(self.block) }
    }

    /// Gives the registration away as a pointer, for a device extension in C or a `void*` context.
    /// Any IRQL.
    ///
    /// It stays connected, until [`from_raw`](Self::from_raw) takes it back and it is ended.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../examples/passive.txt")]
    /// /// A device extension that C declares.
    /// #[repr(C)]
    /// struct Extension {
    ///     interrupt: *mut core::ffi::c_void,
    /// }
    ///
    /// let registration = PassiveLineBased::new(device).connect(Handler::default())?;
    /// let extension = Extension { interrupt: registration.into_raw().as_ptr() };
    /// # let raw = core::ptr::NonNull::new(extension.interrupt).ok_or("NULL")?;
    /// # // SAFETY: of a registration of this type, taken back this once.
    /// # drop(unsafe { PassiveInterruptRegistration::<Handler>::from_raw(raw) });
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
    #[doc = include_str!("../examples/passive.txt")]
    /// let raw = PassiveLineBased::new(device).connect(Handler::default())?.into_raw();
    ///
    /// // SAFETY: of a registration of this type, taken back this once; nothing borrows it.
    /// let registration = unsafe { PassiveInterruptRegistration::<Handler>::from_raw(raw) };
    /// let (_handler, ()) = registration.disconnect()?;
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
    #[doc = include_str!("../examples/passive.txt")]
    /// let raw = PassiveLineBased::new(device).connect(Handler::default())?.into_raw();
    ///
    /// // SAFETY: of a registration of this type, which is not taken back meanwhile.
    /// let registration = unsafe { PassiveInterruptRegistration::<Handler>::borrow_raw(raw) };
    /// assert_eq!(registration.synchronize(|handler| handler.events), 0);
    /// # // SAFETY: as above, taken back this once, and nothing borrows it any more.
    /// # drop(unsafe { PassiveInterruptRegistration::<Handler>::from_raw(raw) });
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const unsafe fn borrow_raw<'a>(raw: NonNull<c_void>) -> BorrowedRegistration<'a, Self> {
        // SAFETY: as the caller promises.
        BorrowedRegistration::new(unsafe { Self::from_raw(raw) })
    }
}

impl<H, T> PassiveInterruptRegistration<H, WorkItem<T>>
where
    H: PassiveInterruptHandler<WorkItem<T>>,
    T: WorkHandler<H>,
{
    /// What was handed in as the deferred half. Any IRQL.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../examples/passive.txt")]
    /// let work = WorkItem::new(function, Recovery::default());
    /// let request = PassiveLineBased::new(device).deferred(work);
    /// let registration = request.connect(Handler::default())?;
    /// model.raise_line();
    /// # machine.settle();
    /// assert_eq!(registration.deferred().recovered.load(Ordering::Relaxed), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn deferred(&self) -> &T {
        self.block().deferred.inner()
    }

    /// Queues the deferred half. Returns `false` when it is queued already.
    ///
    /// IRQL: at most `DISPATCH_LEVEL`.
    ///
    /// # Panics
    ///
    /// Above `DISPATCH_LEVEL`.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../examples/passive.txt")]
    /// let work = WorkItem::new(function, Recovery::default());
    /// let request = PassiveLineBased::new(device).deferred(work);
    /// let registration = request.connect(Handler::default())?;
    /// // Work that did not come by an interrupt.
    /// registration.synchronize(|handler| handler.events += 1);
    /// registration.queue_deferred();
    /// # machine.settle();
    /// assert_eq!(registration.deferred().recovered.load(Ordering::Relaxed), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    #[expect(clippy::must_use_candidate, reason = "queued already is as good as queued")]
    pub fn queue_deferred(&self) -> bool {
        assert_may_queue_work();
        self.block().deferred.request()
    }
}

impl<H: PassiveInterruptHandler<D>, D: PassiveHalf<H>> Drop for PassiveInterruptRegistration<H, D> {
    /// [Disconnects](PassiveInterruptRegistration::disconnect) and drops both halves.
    ///
    /// # Panics
    ///
    /// Above `PASSIVE_LEVEL`, and inside its own ISR, synchronised closure or deferred half. There
    /// is no safe way to go on: it would wait for itself.
    fn drop(&mut self) {
        if let Some(kind) = self.obstacle() {
            kind.dropped("a PassiveInterruptRegistration");
        }
        // SAFETY: dropped once, so this is the one teardown; no obstacle.
        drop(unsafe { self.tear_down(Hardware::Present) });
    }
}

impl<H: PassiveInterruptHandler<D>, D: PassiveHalf<H>> fmt::Debug
    for PassiveInterruptRegistration<H, D>
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PassiveInterruptRegistration")
            .field("kind", &self.kind())
            .finish_non_exhaustive()
    }
}
