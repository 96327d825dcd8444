//! The one block of nonpaged pool that a registration is.
//!
//! Everything that the kernel or an interrupt routine reaches lies in it: the handler, its lock,
//! the deferred half with its DPC. It is complete before `IoConnectInterruptEx` is called, because
//! the ISR may run before that call returns; and it stays where it is until the teardown is
//! through.

use core::alloc::Layout;
use core::cell::UnsafeCell;
use core::fmt;
use core::mem::{ManuallyDrop, MaybeUninit};
use core::ptr::{self, NonNull};

use crate::connection::Connected;
use crate::deferred::sealed::Parts;
use crate::deferred::{DeferredHalf, Home, NoDeferred};
use crate::handler::{Interrupt, InterruptHandler, MessageId, Serviced, Source};
use crate::irql::Irql;
use crate::link::{Guarded, Way};
use crate::teardown::Body;
use crate::{nt, pool, routine};

/// A registration's memory.
///
/// # Invariants
///
/// From before the connect until after the disconnect there is no `&mut` to it, since the ISR and
/// the DPC have it at any time. What they share lies in cells, each with a rule of its own.
#[repr(C)]
pub(crate) struct Block<H, D: DeferredHalf<H>> {
    guarded: Guarded<H>,
    interrupt: InterruptState,
    /// Written while connecting, taken by the teardown, and read in between.
    connected: UnsafeCell<MaybeUninit<Connected>>,
    deferred: D::Parts,
}

/// What of a block is neither half.
struct InterruptState {
    /// The interrupt's spin lock, the kernel's to touch. It begins as 0, which is all that
    /// `KeInitializeSpinLock` writes.
    lock: UnsafeCell<nt::KSPIN_LOCK>,
    /// How many messages the ISR takes for such: all, until it is known how many there are. Touched
    /// only by the holder of the interrupt's lock; by anyone while not connected.
    taken: UnsafeCell<u32>,
    /// How many messages there are. Written once, by `connect`, before anybody reads it.
    messages: UnsafeCell<u32>,
}

// SAFETY: the block stays where it is until the halves have been taken out, and the handler is
// touched by the holder of the interrupt's lock only.
unsafe impl<H, D: DeferredHalf<H>> Home<H, D::Parts> for Block<H, D> {
    fn guarded(&self) -> &Guarded<H> {
        &self.guarded
    }

    fn parts(&self) -> &D::Parts {
        &self.deferred
    }
}

impl<H, D: DeferredHalf<H>> Block<H, D> {
    /// Refuses at compile time what pool cannot align.
    const ALIGNED: () = assert!(
        align_of::<Self>() <= pool::ALIGNMENT,
        "the handler or its deferred half has a larger alignment than pool gives (16 bytes)"
    );

    /// Allocates a block with both halves in it.
    ///
    /// IRQL: `PASSIVE_LEVEL`.
    ///
    /// # Errors
    ///
    /// No memory: both come back.
    pub(crate) fn allocate_with(handler: H, deferred: D) -> Result<Halves<H, D>, (H, D)> {
        let block = match Self::begin(deferred) {
            Ok(block) => block,
            Err(deferred) => return Err((handler, deferred)),
        };
        let make = |place: *mut H| {
            // SAFETY: in the block, valid for writing.
            unsafe { place.write(handler) };
        };
        // SAFETY: all but the handler is there, nobody else has the block, and this writes it.
        Ok(unsafe { Self::complete(block, make) })
    }

    /// Allocates a block with both halves in it, the handler made in place by `make`.
    ///
    /// IRQL: `PASSIVE_LEVEL`.
    ///
    /// # Errors
    ///
    /// No memory: both come back, and `make` has not been called.
    ///
    /// # Safety
    ///
    /// `make` writes a handler to where it is told.
    pub(crate) unsafe fn allocate<F: FnOnce(*mut H)>(
        make: F,
        deferred: D,
    ) -> Result<Halves<H, D>, (F, D)> {
        let block = match Self::begin(deferred) {
            Ok(block) => block,
            Err(deferred) => return Err((make, deferred)),
        };
        // SAFETY: all but the handler is there, nobody else has the block, and `make` writes it.
        Ok(unsafe { Self::complete(block, make) })
    }

    /// The last step of allocating.
    ///
    /// # Safety
    ///
    /// `block` comes from [`begin`](Self::begin), and `make` writes a handler to where it is told.
    unsafe fn complete(block: NonNull<Self>, make: impl FnOnce(*mut H)) -> Halves<H, D> {
        // SAFETY: within the memory.
        let guarded = unsafe { &raw mut (*block.as_ptr()).guarded };
        // SAFETY: fresh memory, zeroed, aligned as `ALIGNED` checked; `make` writes a handler
        // (caller).
        unsafe { Guarded::lay_out(guarded, make) };
        // INVARIANT: all has been written, or begins as zeroes, but what is not known yet; nobody
        // else has the block.
        Halves { block }
    }

    /// Allocates a block with all in it but the handler.
    fn begin(deferred: D) -> Result<NonNull<Self>, D> {
        const { Self::ALIGNED };
        let Some(memory) = pool::allocate(Layout::new::<Self>()) else {
            return Err(deferred);
        };
        // The memory is zeroes, and much of what is in it begins as such: the lock among it.
        let memory = memory.cast::<Self>();
        let block = memory.as_ptr();
        // SAFETY: within the memory.
        let taken = unsafe { &raw mut (*block).interrupt.taken };
        // SAFETY: fresh memory, aligned as `ALIGNED` checked.
        unsafe { taken.write(UnsafeCell::new(u32::MAX)) };
        // SAFETY: within the memory.
        let parts = unsafe { &raw mut (*block).deferred };
        // SAFETY: as above, hence not null.
        let parts = unsafe { NonNull::new_unchecked(parts) };
        // SAFETY: fresh memory, zeroed, aligned, resident, and it stays put; the parts are this
        // block's, which is complete before it is connected; PASSIVE_LEVEL (caller).
        match unsafe { deferred.lay_out(parts, memory) } {
            Ok(()) => Ok(memory),
            Err(deferred) => {
                // SAFETY: allocated above, and nobody has it.
                unsafe { pool::free(memory) };
                Err(deferred)
            }
        }
    }

    /// The DPC of the deferred half, or null when there is none.
    pub(crate) fn dpc(&self) -> *mut nt::KDPC {
        self.deferred.dpc()
    }

    pub(crate) const fn deferred(&self) -> &D::Parts {
        &self.deferred
    }

    /// The interrupt's lock, for the parameter block.
    pub(crate) const fn lock(&self) -> *mut nt::KSPIN_LOCK {
        self.interrupt.lock.get()
    }

    /// Stores what the kernel returned.
    ///
    /// # Safety
    ///
    /// While connecting, once: nobody else reads or writes it.
    pub(crate) const unsafe fn set_connected(&self, connected: Connected) {
        // SAFETY: the connecting thread's alone (caller).
        let place = unsafe { &mut *self.connected.get() };
        place.write(connected);
    }

    /// What the kernel returned.
    ///
    /// # Safety
    ///
    /// Between connecting and the teardown, when it does not change.
    pub(crate) const unsafe fn connected(&self) -> &Connected {
        // SAFETY: nobody writes it (caller).
        let connected = unsafe { &*self.connected.get() };
        // SAFETY: written while connecting.
        unsafe { connected.assume_init_ref() }
    }

    /// How many messages there are; `u32::MAX` on a line or a vector.
    ///
    /// # Safety
    ///
    /// Published.
    pub(crate) const unsafe fn messages(&self) -> u32 {
        // SAFETY: nobody writes it any more (caller).
        unsafe { *self.interrupt.messages.get() }
    }

    /// The way to the handler.
    ///
    /// # Safety
    ///
    /// Connected and published, and both during the borrow.
    pub(crate) const unsafe fn way(&self) -> Way<'_, H> {
        // SAFETY: published and connected (caller), and the lock guards the handler.
        unsafe { Way::new(&self.guarded) }
    }
}

impl<H: InterruptHandler<D>, D: DeferredHalf<H>> Block<H, D> {
    /// Publishes what ISR and synchronising need, and has the handler enable the device, all of it
    /// under the interrupt's lock. From then on the ISR refuses a message from `messages` on.
    ///
    /// The kernel has chosen the IRQL of the lock, and says so nowhere for a line: it is the
    /// current one while the lock is held.
    ///
    /// # Errors
    ///
    /// That IRQL, if it is no device's. Then the handler stayed out of it: the kernel has connected
    /// something else than was asked for.
    ///
    /// # Safety
    ///
    /// - `PASSIVE_LEVEL`; `object` is connected with the block's lock, and stays so during the
    ///   call;
    /// - called once, before the deferred half may run and before a registration exists.
    pub(crate) unsafe fn publish(
        &self,
        object: NonNull<nt::_KINTERRUPT>,
        messages: u32,
    ) -> Result<(), Irql> {
        // SAFETY: once, and before anybody reads it (caller).
        unsafe { self.guarded.set_object(object) };
        // SAFETY: likewise.
        unsafe { *self.interrupt.messages.get() = messages };
        let this = ptr::from_ref(self).cast_mut();
        // SAFETY: connected, and PASSIVE_LEVEL is at most any synchronize IRQL (caller).
        unsafe { routine::synchronize(object, this, Self::publish_under_the_lock) };
        // SAFETY: written just now, by nobody else, and not again.
        let irql = unsafe { self.guarded.synchronize_irql() };
        if irql.is_a_devices() { Ok(()) } else { Err(irql) }
    }

    /// What of [`publish`](Self::publish) is done by the lock's holder.
    fn publish_under_the_lock(this: *mut Self) {
        // SAFETY: the block that `publish` has, complete and in place.
        let block = unsafe { &*this };
        let irql = Irql::current();
        // SAFETY: once, and before anybody reads it (`publish`).
        unsafe { block.guarded.set_synchronize_irql(irql) };
        if irql.is_a_devices() {
            // SAFETY: written by `publish`, and not again.
            let messages = unsafe { *block.interrupt.messages.get() };
            // SAFETY: the lock is held here.
            unsafe { *block.interrupt.taken.get() = messages };
            // SAFETY: the lock is held, and only its holder touches the handler.
            let handler = unsafe { &mut *block.guarded.handler() };
            handler.enable();
        }
    }

    /// The ISR: calls the handler, if the message can be one.
    ///
    /// # Safety
    ///
    /// Called by the kernel as an ISR of this block's connection, that is with the block's lock
    /// held.
    pub(crate) unsafe fn service_message(&self, message: nt::ULONG) -> Serviced {
        // SAFETY: the lock is held (caller).
        if message >= unsafe { *self.interrupt.taken.get() } {
            return Serviced::NotMine;
        }
        // SAFETY: as the caller promises.
        unsafe { self.service(Source::Message(MessageId::from_raw(message))) }
    }

    /// The ISR: calls the handler.
    ///
    /// # Safety
    ///
    /// As for [`service_message`](Self::service_message).
    pub(crate) unsafe fn service(&self, source: Source) -> Serviced {
        // SAFETY: the DPC, if `D` has one, is initialised and lies in the block, which outlives
        // the ISR.
        let interrupt = unsafe { Interrupt::new(source, self.dpc()) };
        // SAFETY: the lock is held (caller), and only its holder touches the handler.
        let handler = unsafe { &mut *self.guarded.handler() };
        handler.service(&interrupt)
    }
}

impl<H: InterruptHandler<D>, D: DeferredHalf<H>> Body for Block<H, D> {
    const DEFERS: bool = <D::Parts as Parts<D::Inner>>::DEFERS;

    unsafe fn disable(&self) {
        // SAFETY: connected and published (caller).
        let way = unsafe { self.way() };
        // SAFETY: PASSIVE_LEVEL (caller).
        unsafe { way.disable() };
    }

    unsafe fn flush(&self) {
        // SAFETY: PASSIVE_LEVEL (caller).
        unsafe { nt::KeFlushQueuedDpcs() };
        // SAFETY: as the caller promises.
        unsafe { self.deferred.wait() };
    }

    fn close(&self) {
        self.deferred.close();
    }

    unsafe fn disconnect(&self) {
        // SAFETY: nobody writes it any more (caller).
        let connected = unsafe { &*self.connected.get() };
        // SAFETY: written while connecting (caller), and taken once (caller).
        let connected = unsafe { connected.assume_init_read() };
        // SAFETY: PASSIVE_LEVEL, and nobody uses the interrupt object any more (caller).
        unsafe { connected.disconnect() };
    }

    unsafe fn remove(&self) {
        // SAFETY: as the caller promises.
        unsafe { self.deferred.remove() };
        // SAFETY: PASSIVE_LEVEL (caller).
        unsafe { nt::KeFlushQueuedDpcs() };
    }
}

/// A handler and its deferred half in the memory of a registration that is not connected: not yet,
/// because [connecting in place](crate::LineBased::connect_in_place) failed, or not any more.
///
/// For handlers that are too large for the kernel stack. Dropping it drops both halves where they
/// are and frees the memory, which panics above `DISPATCH_LEVEL`.
///
/// # Examples
///
/// ```
#[doc = include_str!("examples/handler.txt")]
#[doc = include_str!("examples/line.txt")]
/// let registration = LineBased::new(device).connect(Handler::default())?;
/// model.raise_line();
///
/// // In IRP_MN_STOP_DEVICE.
/// let mut halves: Halves<Handler> = registration.disconnect_in_place()?;
/// assert_eq!(std::mem::take(&mut halves.handler_mut().events), 1);
/// // Dropped where they are.
/// drop(halves);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Invariants
///
/// The block is complete and nobody else's: not connected, its deferred half neither queued nor
/// running.
pub struct Halves<H, D: DeferredHalf<H> = NoDeferred> {
    block: NonNull<Block<H, D>>,
}

// SAFETY: it owns a handler and what was handed in as the deferred half, which are `Send`.
unsafe impl<H: Send, D: DeferredHalf<H, Inner: Send>> Send for Halves<H, D> {}

// SAFETY: it lends both as shared.
unsafe impl<H: Sync, D: DeferredHalf<H, Inner: Sync>> Sync for Halves<H, D> {}

impl<H, D: DeferredHalf<H>> Halves<H, D> {
    /// # Safety
    ///
    /// The invariant.
    pub(crate) const unsafe fn from_block(block: NonNull<Block<H, D>>) -> Self {
        // INVARIANT: the caller vouches for it.
        Self { block }
    }

    /// Gives the block away, to be connected.
    pub(crate) const fn into_block(self) -> NonNull<Block<H, D>> {
        let block = self.block;
        core::mem::forget(self);
        block
    }

    const fn block(&self) -> &Block<H, D> {
        // SAFETY: complete and there (invariant).
        unsafe { self.block.as_ref() }
    }

    /// The handler. Any IRQL.
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
    #[must_use]
    pub const fn handler(&self) -> &H {
        // SAFETY: nobody else has it (invariant), and `self` is borrowed.
        unsafe { &*self.block().guarded.handler() }
    }

    /// The handler, to change. Any IRQL.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("examples/handler.txt")]
    #[doc = include_str!("examples/line.txt")]
    /// let registration = LineBased::new(device).connect(Handler::default())?;
    /// model.raise_line();
    /// let mut halves = registration.disconnect_in_place()?;
    /// assert_eq!(std::mem::take(&mut halves.handler_mut().events), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn handler_mut(&mut self) -> &mut H {
        // SAFETY: nobody else has it (invariant), and `self` is borrowed.
        unsafe { &mut *self.block().guarded.handler() }
    }

    /// The deferred half. Any IRQL.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("examples/handler.txt")]
    #[doc = include_str!("examples/line.txt")]
    /// let half = Dpc::new(Completion::default());
    /// let registration = LineBased::new(device).deferred(half).connect(Handler::default())?;
    /// model.raise_line();
    /// let halves = registration.disconnect_in_place()?;
    /// assert_eq!(halves.deferred().completed.load(Ordering::Relaxed), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn deferred(&self) -> &D::Inner {
        self.block().deferred.inner()
    }

    /// Moves both out, and frees the memory. IRQL: `PASSIVE_LEVEL`.
    ///
    /// # Panics
    ///
    /// Above `DISPATCH_LEVEL`.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("examples/handler.txt")]
    #[doc = include_str!("examples/line.txt")]
    /// let half = Dpc::new(Completion::default());
    /// let registration = LineBased::new(device).deferred(half).connect(Handler::default())?;
    /// model.raise_line();
    /// let (handler, completion) = registration.disconnect_in_place()?.into_inner();
    /// assert_eq!((handler.events, completion.completed.into_inner()), (0, 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use = "the handler and the deferred half are in it"]
    pub fn into_inner(self) -> (H, D::Inner) {
        // A panic would drop `self`, which panics for the same reason.
        let this = ManuallyDrop::new(self);
        pool::assert_may_free();
        // SAFETY: just asserted.
        unsafe { ManuallyDrop::into_inner(this).take() }
    }

    /// As [`into_inner`](Self::into_inner), where the IRQL is known.
    ///
    /// # Safety
    ///
    /// At most `DISPATCH_LEVEL`.
    pub(crate) unsafe fn take(self) -> (H, D::Inner) {
        let block = self.into_block();
        // SAFETY: complete and there (invariant).
        let handler = unsafe { block.as_ref() }.guarded.handler();
        // SAFETY: nobody else's (invariant), and read once.
        let handler = unsafe { ptr::read(handler) };
        // SAFETY: as above.
        let deferred = unsafe { take_deferred(block) };
        // SAFETY: allocated by `allocate`; both halves are out.
        unsafe { pool::free(block) };
        (handler, deferred)
    }
}

/// # Safety
///
/// As [`Parts::take`].
unsafe fn take_deferred<H, D: DeferredHalf<H>>(block: NonNull<Block<H, D>>) -> D::Inner {
    // SAFETY: within the block.
    let parts = unsafe { &raw mut (*block.as_ptr()).deferred };
    // SAFETY: not null, being within the block.
    let parts = unsafe { NonNull::new_unchecked(parts) };
    // SAFETY: as the caller promises.
    unsafe { D::Parts::take(parts) }
}

impl<H, D: DeferredHalf<H>> Drop for Halves<H, D> {
    fn drop(&mut self) {
        pool::assert_may_free();
        // SAFETY: complete and nobody else's (invariant); dropped once, where it is.
        unsafe { self.block().guarded.handler().drop_in_place() };
        // SAFETY: as above.
        drop(unsafe { take_deferred(self.block) });
        // SAFETY: allocated by `allocate`, and nobody uses it any more.
        unsafe { pool::free(self.block) };
    }
}

impl<H, D: DeferredHalf<H>> fmt::Debug for Halves<H, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Halves").finish_non_exhaustive()
    }
}
