//! The block of pool that a passive-level registration is, and the way to its handler.

use core::alloc::Layout;
use core::cell::UnsafeCell;
use core::marker::PhantomData;
use core::ptr::{self, NonNull};
use core::sync::atomic::Ordering;

use super::PassiveHalf;
use super::handler::{PassiveInterrupt, PassiveInterruptHandler};
use super::lock::WaitLock;
use super::sealed::Parts;
use crate::connection::Connection;
use crate::handler::{MessageId, Serviced};
use crate::irql::Irql;
use crate::nt::AtomicU32;
use crate::resource::InterruptResource;
use crate::teardown::Body;
use crate::{nt, pool, routine};

/// A passive-level handler, its lock, and what synchronising needs.
#[derive(Debug)]
pub struct PassiveCore<H> {
    /// Touched only by the holder of the lock; by anyone while not connected.
    pub(super) handler: UnsafeCell<H>,
    /// The registration's own. The kernel has an event for each interrupt object, and nobody
    /// promises that one of them covers all lines of a device.
    pub(super) lock: WaitLock,
    /// Written by `connect` before there is a registration or an open deferred half.
    pub(super) object: UnsafeCell<NonNull<nt::KINTERRUPT>>,
    /// Whether the interrupt has been reported inactive. Touched under the lock only.
    inactive: UnsafeCell<bool>,
}

impl<H> PassiveCore<H> {
    /// Calls `with_handler` under the lock, which the current thread does not hold.
    ///
    /// `PASSIVE_LEVEL`.
    pub(super) fn lock<R>(&self, with_handler: impl FnOnce(&mut H) -> R) -> R {
        self.lock.with(|| {
            // SAFETY: the lock is held, and only its holder touches the handler.
            with_handler(unsafe { &mut *self.handler.get() })
        })
    }
}

/// The way to a passive-level handler.
///
/// # Invariants
///
/// The object has been published, and stays connected during `'a`.
pub(crate) struct PassiveWay<'a, H> {
    core: &'a PassiveCore<H>,
}

impl<H> Clone for PassiveWay<'_, H> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<H> Copy for PassiveWay<'_, H> {}

impl<'a, H> PassiveWay<'a, H> {
    /// # Safety
    ///
    /// The invariant.
    pub(crate) const unsafe fn new(core: &'a PassiveCore<H>) -> Self {
        // INVARIANT: the caller vouches for it.
        Self { core }
    }

    /// Calls `with_handler` under the kernel's lock of the interrupt, and in it the registration's.
    ///
    /// # Panics
    ///
    /// Above `PASSIVE_LEVEL`, or when the current thread holds the lock.
    #[track_caller]
    pub(crate) fn synchronize<R>(self, with_handler: impl FnOnce(&mut H) -> R) -> R {
        self.assert_may_synchronize();
        // SAFETY: published (invariant), and not written again.
        let object = unsafe { *self.core.object.get() };
        let with_nothing = |_nothing: *mut ()| self.core.lock(with_handler);
        // SAFETY: connected (invariant); PASSIVE_LEVEL.
        unsafe { routine::synchronize(object, ptr::null_mut(), with_nothing) }
    }

    /// As [`synchronize`](Self::synchronize), if nobody holds the registration's lock.
    #[track_caller]
    pub(super) fn try_synchronize<R>(self, with_handler: impl FnOnce(&mut H) -> R) -> Option<R> {
        self.assert_may_synchronize();
        self.core.lock.try_with(|| {
            // SAFETY: the lock is held, and only its holder touches the handler.
            with_handler(unsafe { &mut *self.core.handler.get() })
        })
    }

    #[track_caller]
    pub(super) fn assert_may_synchronize(self) {
        let irql = Irql::current();
        assert!(
            irql == Irql::PASSIVE,
            "a passive-level interrupt was synchronised with at {irql}; its lock is waited for, \
             which is possible at PASSIVE_LEVEL only"
        );
        assert!(
            !self.core.lock.is_this_threads(),
            "a passive-level interrupt was synchronised with inside its own ISR or synchronised \
             closure, which would wait for itself"
        );
    }

    /// Calls the handler's `enable` or `disable`, unless the interrupt has been reported inactive.
    pub(super) fn switch<D>(self, switch: fn(&mut H))
    where
        H: PassiveInterruptHandler<D>,
    {
        let inactive = &self.core.inactive;
        self.synchronize(|handler| {
            // SAFETY: the lock is held here.
            if unsafe { !*inactive.get() } {
                switch(handler);
            }
        });
    }

    /// Notes that the interrupt is about to be reported inactive, after `disable`, or has been
    /// reported active, before `enable`.
    #[track_caller]
    pub(super) fn report<D>(self, now_inactive: bool)
    where
        H: PassiveInterruptHandler<D>,
    {
        let inactive = &self.core.inactive;
        self.synchronize(|handler| {
            // SAFETY: the lock is held here.
            let was_inactive = unsafe { inactive.get().replace(now_inactive) };
            match (was_inactive, now_inactive) {
                (false, true) => handler.disable(),
                (true, false) => handler.enable(),
                _ => {}
            }
        });
    }
}

/// A passive-level registration's memory, one block of nonpaged pool.
///
/// # Invariants
///
/// From before the connect until after the disconnect there is no `&mut` to it.
#[repr(C)]
pub(crate) struct PassiveBlock<H, D: PassiveHalf<H>> {
    pub(super) core: PassiveCore<H>,
    pub(super) interrupt: PassiveState,
    pub(super) deferred: D::Parts,
}

/// What of a passive-level block is neither half.
pub(super) struct PassiveState {
    /// How many messages there are; `u32::MAX` until that is known.
    pub(super) messages: AtomicU32,
    /// Written while connecting, taken by the teardown, and read in between.
    pub(super) connection: UnsafeCell<Option<Connection>>,
    pub(super) resource: Option<InterruptResource>,
}

impl<H, D: PassiveHalf<H>> PassiveBlock<H, D> {
    /// Refuses at compile time what pool cannot align.
    const ALIGNED: () = assert!(
        align_of::<Self>() <= pool::ALIGNMENT,
        "the handler or its deferred half has a larger alignment than pool gives (16 bytes)"
    );

    /// Allocates a block with both halves in it. `PASSIVE_LEVEL`.
    pub(super) fn allocate(
        handler: H,
        deferred: D,
        resource: Option<InterruptResource>,
    ) -> Result<NonNull<Self>, (H, D)> {
        const { Self::ALIGNED };
        let Some(memory) = pool::allocate(Layout::new::<Self>()) else {
            return Err((handler, deferred));
        };
        let block = memory.cast::<Self>();
        let at = block.as_ptr();
        // SAFETY: within the memory.
        let core = unsafe { &raw mut (*at).core };
        // SAFETY: within the memory.
        let interrupt = unsafe { &raw mut (*at).interrupt };
        // SAFETY: within the memory.
        let parts = unsafe { &raw mut (*at).deferred };
        // SAFETY: as above, hence not null.
        let core = unsafe { NonNull::new_unchecked(core) };
        // SAFETY: as above.
        let parts = unsafe { NonNull::new_unchecked(parts) };
        // SAFETY: fresh memory, aligned, resident, and it stays put; PASSIVE_LEVEL (caller).
        if let Err(deferred) = unsafe { deferred.lay_out(parts, core) } {
            // SAFETY: allocated above, and nobody has it.
            unsafe { pool::free(memory) };
            return Err((handler, deferred));
        }
        let complete = PassiveCore {
            handler: UnsafeCell::new(handler),
            lock: WaitLock::new(),
            object: UnsafeCell::new(NonNull::dangling()),
            inactive: UnsafeCell::new(false),
        };
        // SAFETY: fresh memory, aligned as `ALIGNED` checked.
        unsafe { core.write(complete) };
        let state = PassiveState {
            messages: AtomicU32::new(u32::MAX),
            connection: UnsafeCell::new(None),
            resource,
        };
        // SAFETY: as above.
        unsafe { interrupt.write(state) };
        // SAFETY: just written.
        let lock = unsafe { &core.as_ref().lock };
        // SAFETY: it stays put.
        unsafe { lock.initialise() };
        Ok(block)
    }

    /// Moves the halves out and frees the memory.
    ///
    /// # Safety
    ///
    /// At most `DISPATCH_LEVEL`. The block is complete, and nobody has it any more.
    pub(super) unsafe fn free(block: NonNull<Self>) -> (H, D::Inner) {
        let at = block.as_ptr();
        // SAFETY: within the block.
        let core = unsafe { &raw const (*at).core };
        // SAFETY: complete, and read once (caller).
        let core = unsafe { ptr::read(core) };
        // SAFETY: within the block.
        let parts = unsafe { &raw mut (*at).deferred };
        // SAFETY: as above, hence not null.
        let parts = unsafe { NonNull::new_unchecked(parts) };
        // SAFETY: idle and nobody's (caller).
        let deferred = unsafe { D::Parts::take(parts) };
        // SAFETY: allocated by `allocate`; both halves are out.
        unsafe { pool::free(block) };
        (core.handler.into_inner(), deferred)
    }

    /// The way to the handler.
    ///
    /// # Safety
    ///
    /// Connected and published, and both during the borrow.
    pub(super) const unsafe fn way(&self) -> PassiveWay<'_, H> {
        // SAFETY: as the caller promises.
        unsafe { PassiveWay::new(&self.core) }
    }

    /// What the kernel returned.
    ///
    /// # Safety
    ///
    /// Between connecting and the teardown, when it does not change.
    pub(super) const unsafe fn connection(&self) -> Option<&Connection> {
        // SAFETY: nobody writes it (caller).
        unsafe { &*self.interrupt.connection.get() }.as_ref()
    }
}

impl<H: PassiveInterruptHandler<D>, D: PassiveHalf<H>> PassiveBlock<H, D> {
    /// The ISR: calls the handler, under the lock.
    ///
    /// The kernel may have connected something else than was asked for, and then this is not
    /// `PASSIVE_LEVEL` and the device not ours to service; or the message may be none.
    pub(crate) fn service(&self, message: Option<nt::ULONG>) -> Serviced {
        let known = message.is_none_or(|id| id < self.interrupt.messages.load(Ordering::Relaxed));
        if !known || Irql::current() != Irql::PASSIVE {
            return Serviced::NotMine;
        }
        let request = || self.deferred.request();
        let message = message.map(MessageId::from_raw);
        let interrupt = PassiveInterrupt { message, request: &request, half: PhantomData };
        self.core.lock(|handler| handler.service(&interrupt))
    }
}

impl<H: PassiveInterruptHandler<D>, D: PassiveHalf<H>> Body for PassiveBlock<H, D> {
    const DEFERS: bool = <D::Parts as Parts<D::Inner>>::DEFERS;

    unsafe fn disable(&self) {
        // SAFETY: connected and published (caller).
        unsafe { self.way() }.switch::<D>(H::disable);
    }

    unsafe fn flush(&self) {
        // SAFETY: as the caller promises.
        unsafe { self.deferred.wait() };
    }

    fn close(&self) {
        self.deferred.close();
    }

    unsafe fn disconnect(&self) {
        // SAFETY: nobody reads it any more, and it is taken once (caller).
        let connection = unsafe { (*self.interrupt.connection.get()).take() };
        if let Some(connection) = connection {
            // SAFETY: PASSIVE_LEVEL, and nobody uses the interrupt object any more (caller).
            unsafe { connection.disconnect() };
        }
    }

    unsafe fn remove(&self) {
        // SAFETY: as the caller promises; not connected, so the ISR queues it no more.
        unsafe { self.deferred.wait_until_idle() };
    }
}
