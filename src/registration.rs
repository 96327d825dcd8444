//! The registration of an ISR: it owns what the ISR uses, and takes it apart in the right order.

use core::fmt;
use core::mem::ManuallyDrop;
use core::ptr::{self, NonNull};

use crate::block::{Block, Link};
use crate::connection::Connection;
use crate::deferred::{DeferredHalf, DeferredHandler, Dpc, NoDeferred};
use crate::error::DisconnectError;
use crate::handler::InterruptHandler;
use crate::irql::Irql;
use crate::nt;

/// A connected ISR, with the handler and the deferred half that belong to it.
///
/// Made by the `connect` of a request ([`LineBased`](crate::LineBased),
/// [`FullySpecified`](crate::FullySpecified), [`MessageBased`](crate::MessageBased)). Dropping it
/// disconnects.
///
/// # Teardown
///
/// [`disconnect`](Self::disconnect), [`disconnect_removed`](Self::disconnect_removed) and `Drop`
/// do the same, in this order:
///
/// 1. the handler's [`disable`](InterruptHandler::disable), under the interrupt's lock (not when
///    the hardware is gone);
/// 2. `KeFlushQueuedDpcs`, still connected, so that what was claimed is completed by a deferred
///    half that can still synchronise;
/// 3. deferred work is refused from here on;
/// 4. `KeFlushQueuedDpcs` again: after it no user code of the deferred half runs or can begin; then
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
pub struct InterruptRegistration<H, D = NoDeferred>
where
    H: InterruptHandler<D>,
    D: DeferredHalf<H>,
{
    block: NonNull<Block<H, D>>,
    /// Taken out only by the teardown.
    connection: ManuallyDrop<Connection>,
}

// SAFETY:
// - through `&self` the handler is reached under the interrupt's lock, which makes `&mut H` of it
//   for one thread at a time: `H: Send` is what that takes, as for a mutex;
// - the deferred half is `Send + Sync`, or there is none;
// - what else is read, connection and link, does not change once published;
// - whoever owns the registration may tear it down on any thread and then owns both halves,
//   which are `Send`.
#[expect(clippy::non_send_fields_in_send_ty, reason = "that is what the argument is about")]
unsafe impl<H: InterruptHandler<D>, D: DeferredHalf<H>> Send for InterruptRegistration<H, D> {}

// SAFETY: as above.
unsafe impl<H: InterruptHandler<D>, D: DeferredHalf<H>> Sync for InterruptRegistration<H, D> {}

/// Whether the device is there to be silenced.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Hardware {
    Present,
    Removed,
}

/// What a registration is connected to.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ConnectionKind {
    /// `CONNECT_LINE_BASED`: the device's lines, asked for or fallen back to.
    LineBased,
    /// `CONNECT_FULLY_SPECIFIED` (or its `GROUP` variant): one vector.
    FullySpecified,
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
    /// - `block` is connected by `connection`, with its own lock;
    /// - the block's link has been published, and it is Running;
    /// - nothing else will tear the two down.
    pub(crate) const unsafe fn new(block: NonNull<Block<H, D>>, connection: Connection) -> Self {
        Self { block, connection: ManuallyDrop::new(connection) }
    }

    const fn block(&self) -> &Block<H, D> {
        // SAFETY: the block lives until the teardown, which takes the registration by value.
        unsafe { self.block.as_ref() }
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
    #[track_caller]
    pub fn synchronize<R>(&self, with_handler: impl FnOnce(&mut H) -> R) -> R {
        // SAFETY: published before the registration was made, and connected while it lives.
        unsafe { self.block().core().synchronize(with_handler) }
    }

    /// What the ISR is connected to. Any IRQL.
    #[must_use]
    pub fn kind(&self) -> ConnectionKind {
        match *self.connection {
            Connection::FullySpecified { .. } => ConnectionKind::FullySpecified,
            _ => self.connection.messages().map_or(ConnectionKind::LineBased, |messages| {
                ConnectionKind::MessageBased { messages }
            }),
        }
    }

    /// The IRQL at which the ISR runs, and to which [`synchronize`](Self::synchronize) raises.
    /// Any IRQL.
    #[must_use]
    pub const fn synchronize_irql(&self) -> Irql {
        // SAFETY: published before the registration was made (`new`).
        let Link { synchronize_irql, .. } = unsafe { self.block().core().link() };
        synchronize_irql
    }

    /// Silences the device, disconnects the ISR, and hands both halves back.
    ///
    /// When this returns, neither the ISR nor the deferred half runs or will run. What was claimed
    /// before the call has been completed by the deferred half.
    ///
    /// IRQL: `PASSIVE_LEVEL`. The order is in the [type's documentation](Self#teardown).
    ///
    /// # Errors
    ///
    /// Above `PASSIVE_LEVEL`: nothing has happened, and the error has the registration.
    pub fn disconnect(self) -> Result<(H, D::Inner), DisconnectError<H, D>> {
        self.end(Hardware::Present)
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
    /// Above `PASSIVE_LEVEL`: nothing has happened, and the error has the registration.
    ///
    /// [page]: https://learn.microsoft.com/windows-hardware/drivers/kernel/handling-an-irp-mn-surprise-removal-request
    pub fn disconnect_removed(self) -> Result<(H, D::Inner), DisconnectError<H, D>> {
        self.end(Hardware::Removed)
    }

    fn end(self, hardware: Hardware) -> Result<(H, D::Inner), DisconnectError<H, D>> {
        let irql = Irql::current();
        if irql != Irql::PASSIVE {
            return Err(DisconnectError::new(self, irql));
        }
        let mut this = ManuallyDrop::new(self);
        // SAFETY: `this` is not dropped, so this is the one teardown; the IRQL was just checked.
        Ok(unsafe { this.tear_down(hardware) })
    }

    /// The teardown; the numbers are those of the type's documentation.
    ///
    /// # Safety
    ///
    /// Called once, at `PASSIVE_LEVEL`; the registration is not used again.
    unsafe fn tear_down(&mut self, hardware: Hardware) -> (H, D::Inner) {
        // 1
        if hardware == Hardware::Present {
            self.synchronize(H::disable);
        }
        // SAFETY: PASSIVE_LEVEL (caller).
        let deferred_ended = unsafe { end_deferred(self.block()) };
        if deferred_ended && hardware == Hardware::Present {
            self.synchronize(H::disable);
        }
        // SAFETY: taken once, since this is called once.
        let connection = unsafe { ManuallyDrop::take(&mut self.connection) };
        // SAFETY:
        // - PASSIVE_LEVEL and once (caller);
        // - nobody is synchronising: a thread would hold a borrow of the registration, and the
        //   deferred half has been ended.
        unsafe { dismantle(self.block, connection) }
    }
}

/// Steps 2 to 4: lets the deferred half complete what was claimed, and ends it, still connected.
///
/// Returns whether there is one. Afterwards none of its user code runs or can begin.
///
/// # Safety
///
/// `PASSIVE_LEVEL`.
unsafe fn end_deferred<H: InterruptHandler<D>, D: DeferredHalf<H>>(block: &Block<H, D>) -> bool {
    if block.dpc().is_null() {
        return false;
    }
    // 2
    // SAFETY: PASSIVE_LEVEL (caller).
    unsafe { nt::KeFlushQueuedDpcs() };
    // 3
    block.life.close();
    // 4
    // SAFETY: as above.
    unsafe { nt::KeFlushQueuedDpcs() };
    true
}

/// Steps 5 to 7: from connected to nothing left.
///
/// # Safety
///
/// `PASSIVE_LEVEL`. `block` is connected by `connection`; it is Connecting still, or Closed, so that
/// its DPC runs no user code; nobody else uses it. It is gone afterwards.
pub(crate) unsafe fn dismantle<H: InterruptHandler<D>, D: DeferredHalf<H>>(
    block: NonNull<Block<H, D>>,
    connection: Connection,
) -> (H, D::Inner) {
    // 5
    // SAFETY: PASSIVE_LEVEL, and nobody synchronises or will (caller).
    unsafe { connection.disconnect() };
    // SAFETY: PASSIVE_LEVEL, no longer connected, and no user code of the DPC (caller).
    unsafe { drain(block) }
}

/// Steps 6 and 7: from not connected to nothing left.
///
/// # Safety
///
/// `PASSIVE_LEVEL`. `block` is not connected, or not any more; it is Connecting still, or Closed, so
/// that a DPC which an ISR may have queued runs no user code; nobody else uses it. It is gone
/// afterwards.
pub(crate) unsafe fn drain<H: InterruptHandler<D>, D: DeferredHalf<H>>(
    block: NonNull<Block<H, D>>,
) -> (H, D::Inner) {
    // SAFETY: the block lives until it is freed, below.
    let dpc = unsafe { block.as_ref() }.dpc();
    if !dpc.is_null() {
        // 6
        // SAFETY: initialised with the block. What is lost runs no user code (caller).
        unsafe { nt::KeRemoveQueueDpc(dpc) };
        // SAFETY: PASSIVE_LEVEL (caller).
        unsafe { nt::KeFlushQueuedDpcs() };
    }
    // 7
    // SAFETY: not connected, and the DPC is neither queued nor running, and nobody can queue it.
    unsafe { Block::free(block) }
}

impl<H: InterruptHandler<Dpc<T>>, T: DeferredHandler<H>> InterruptRegistration<H, Dpc<T>> {
    /// The deferred half. Any IRQL.
    #[must_use]
    pub fn deferred(&self) -> &T {
        self.block().deferred()
    }

    /// Queues the deferred half, as [`Interrupt::queue_deferred`](crate::Interrupt::queue_deferred)
    /// does in the ISR. Any IRQL.
    ///
    /// For work that comes from elsewhere, such as a cancelled request. Returns `false` when it is
    /// queued already.
    #[expect(clippy::must_use_candidate, reason = "queued already is as good as queued")]
    pub fn queue_deferred(&self) -> bool {
        let (first, second) = (ptr::null_mut(), ptr::null_mut());
        // SAFETY: the DPC is initialised and lies in the block, which lives at least as long as
        // this borrow.
        let inserted = unsafe { nt::KeInsertQueueDpc(self.block().dpc(), first, second) };
        inserted != nt::FALSE
    }
}

impl<H: InterruptHandler<D>, D: DeferredHalf<H>> Drop for InterruptRegistration<H, D> {
    /// [Disconnects](InterruptRegistration::disconnect) and drops both halves.
    ///
    /// # Panics
    ///
    /// Above `PASSIVE_LEVEL`, so also inside its own ISR or DPC. There is no safe way to go on: the
    /// memory cannot be freed while the ISR is connected, and the ISR cannot be disconnected here.
    fn drop(&mut self) {
        let irql = Irql::current();
        assert!(
            irql == Irql::PASSIVE,
            "an InterruptRegistration was dropped at {irql}; it disconnects its ISR, which is \
             possible at PASSIVE_LEVEL only: not in an ISR, in a DPC, or under a lock"
        );
        // SAFETY: dropped once, so this is the one teardown; the IRQL was just checked.
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
