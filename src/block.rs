//! The one block of nonpaged pool that a registration is.
//!
//! Everything that the kernel or an interrupt routine reaches lies in it: the handler, its lock,
//! the deferred half with its DPC. It is complete before `IoConnectInterruptEx` is called, because
//! the ISR may run before that call returns; and it stays where it is until the teardown frees it.

use core::cell::UnsafeCell;
use core::fmt;
use core::mem::MaybeUninit;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, Ordering};

use crate::deferred::sealed::Parts;
use crate::deferred::{Deferred, DeferredHalf};
use crate::handler::{Interrupt, InterruptHandler, MessageId, Serviced};
use crate::irql::Irql;
use crate::life::Life;
use crate::{nt, routine};

/// The pool tag of a registration, as debuggers and Driver Verifier show it: `WInt`.
const TAG: nt::ULONG = u32::from_le_bytes(*b"WInt");

/// What pool promises for a block smaller than a page: `MEMORY_ALLOCATION_ALIGNMENT`.
const POOL_ALIGNMENT: usize = 16;

/// A registration's memory.
///
/// # Invariants
///
/// From before the connect until after the disconnect there is no `&mut` to it, since the ISR and
/// the DPC have it at any time. What they share lies in cells, each with a rule of its own.
#[repr(C)]
pub(crate) struct Block<H, D: DeferredHalf<H>> {
    /// First, so that the ISR finds the handler at its service context.
    core: Core<H>,
    pub(crate) life: Life,
    deferred: D::Parts,
}

/// What ISR, deferred half and threads share, whatever the deferred half is.
#[repr(C)]
pub(crate) struct Core<H> {
    /// Touched only by the holder of the interrupt's lock; by anyone while not connected.
    handler: UnsafeCell<H>,
    /// The interrupt's spin lock, the kernel's to touch.
    lock: UnsafeCell<nt::KSPIN_LOCK>,
    /// How many messages there are; `u32::MAX` until that is known.
    ///
    /// An ISR may read it while `connect` writes it, so it is atomic; a relaxed load is a plain
    /// one.
    messages: AtomicU32,
    /// Written once, by `connect`, before anybody can read it: the registration does not exist
    /// yet, and the deferred half parks until Running, which is set after.
    link: UnsafeCell<MaybeUninit<Link>>,
}

/// What synchronising needs, known once connected.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    pub(crate) object: NonNull<nt::_KINTERRUPT>,
    pub(crate) synchronize_irql: Irql,
}

impl<H: InterruptHandler<D>, D: DeferredHalf<H>> Block<H, D> {
    /// Refuses at compile time what pool cannot align.
    const ALIGNED: () = assert!(
        align_of::<Self>() <= POOL_ALIGNMENT,
        "the handler or its deferred half has a larger alignment than pool gives (16 bytes)"
    );

    /// Allocates a block with both halves in it, Connecting.
    ///
    /// IRQL: at most `DISPATCH_LEVEL`.
    ///
    /// # Errors
    ///
    /// No memory: both come back.
    pub(crate) fn allocate(handler: H, deferred: D::Inner) -> Result<NonNull<Self>, (H, D::Inner)> {
        const { Self::ALIGNED };
        let size = size_of::<Self>() as u64;
        // SAFETY: at most DISPATCH_LEVEL; the size is not 0 and the tag has four characters.
        let memory = unsafe { nt::ExAllocatePool2(nt::POOL_FLAG_NON_PAGED, size, TAG) };
        let Some(block) = NonNull::new(memory.cast::<Self>()) else {
            return Err((handler, deferred));
        };
        let complete = Self {
            core: Core {
                handler: UnsafeCell::new(handler),
                // KeInitializeSpinLock does nothing but this.
                lock: UnsafeCell::new(0),
                messages: AtomicU32::new(u32::MAX),
                link: UnsafeCell::new(MaybeUninit::uninit()),
            },
            life: Life::new(),
            deferred: D::Parts::new(deferred),
        };
        // SAFETY: fresh memory of this size; pool aligns it to at least what `ALIGNED` checked.
        unsafe { block.write(complete) };
        // SAFETY: just written, and nobody else has it yet.
        let dpc = unsafe { block.as_ref() }.dpc();
        if !dpc.is_null() {
            let context: nt::PVOID = block.as_ptr().cast();
            // SAFETY: the KDPC lies in the block, resident, and is initialised this once; the
            // routine takes the block as its context.
            unsafe { nt::KeInitializeDpc(dpc, Some(routine::dpc::<H, D>), context) };
        }
        Ok(block)
    }

    /// Takes the halves out and frees the memory.
    ///
    /// IRQL: at most `DISPATCH_LEVEL`.
    ///
    /// # Safety
    ///
    /// `block` comes from [`allocate`](Self::allocate) and is used by nobody any more: not
    /// connected, its DPC neither queued nor running. It is gone afterwards.
    pub(crate) unsafe fn free(block: NonNull<Self>) -> (H, D::Inner) {
        // SAFETY: complete since `allocate`; read once, since the memory goes.
        let Self { core, deferred, .. } = unsafe { block.read() };
        // SAFETY: allocated with this tag, and nobody uses it.
        unsafe { nt::ExFreePoolWithTag(block.as_ptr().cast(), TAG) };
        (core.handler.into_inner(), deferred.into_inner())
    }

    /// The DPC of the deferred half, or null when there is none.
    pub(crate) fn dpc(&self) -> *mut nt::KDPC {
        self.deferred.dpc()
    }

    pub(crate) const fn core(&self) -> &Core<H> {
        &self.core
    }

    /// The ISR: calls the handler, if the message can be one.
    ///
    /// # Safety
    ///
    /// Called by the kernel as an ISR of this block's connection, that is with the block's lock
    /// held.
    pub(crate) unsafe fn service(&self, message: Option<nt::ULONG>) -> Serviced {
        if message.is_some_and(|message| message >= self.core.messages.load(Ordering::Relaxed)) {
            return Serviced::NotMine;
        }
        // SAFETY: the DPC, if `D` has one, is initialised and lies in the block, which outlives
        // the ISR.
        let interrupt = unsafe { Interrupt::new(message.map(MessageId::from_raw), self.dpc()) };
        // SAFETY: the lock is held (caller), and only its holder touches the handler.
        let handler = unsafe { &mut *self.core.handler.get() };
        handler.service(&interrupt)
    }

    /// What was handed in as the deferred half.
    pub(crate) fn deferred(&self) -> &D::Inner {
        self.deferred.inner()
    }

    /// Runs the deferred half, unless it is too early or too late.
    pub(crate) fn run_deferred(&self) {
        if self.life.may_run_deferred() {
            // SAFETY: Running is set after publishing, and the teardown does not disconnect
            // before it has closed the life and waited for those let in before.
            let deferred = unsafe { Deferred::new(&self.core) };
            self.deferred.run(&deferred);
        }
    }
}

impl<H> Core<H> {
    /// The interrupt's lock, for the parameter block.
    pub(crate) const fn lock(&self) -> *mut nt::KSPIN_LOCK {
        self.lock.get()
    }

    /// Stores what is known once connected.
    ///
    /// # Safety
    ///
    /// Called once, before the deferred half may run and before a registration exists.
    pub(crate) unsafe fn publish(&self, link: Link, messages: Option<u32>) {
        self.messages.store(messages.unwrap_or(u32::MAX), Ordering::Relaxed);
        // SAFETY: nobody reads it yet (caller), nobody else writes it.
        unsafe { (*self.link.get()).write(link) };
    }

    /// What was published. It does not change afterwards.
    ///
    /// # Safety
    ///
    /// [`publish`](Self::publish) happened before.
    pub(crate) const unsafe fn link(&self) -> Link {
        // SAFETY: written before (caller), and never again.
        let link = unsafe { &*self.link.get() };
        // SAFETY: it is initialised, as above.
        unsafe { link.assume_init_read() }
    }

    /// Calls `with_handler` under the interrupt's lock.
    ///
    /// # Safety
    ///
    /// [`publish`](Self::publish) happened before, and the interrupt stays connected during the
    /// call.
    #[track_caller]
    pub(crate) unsafe fn synchronize<R>(&self, with_handler: impl FnOnce(&mut H) -> R) -> R {
        // SAFETY: published (caller).
        let Link { object, synchronize_irql } = unsafe { self.link() };
        let irql = Irql::current();
        if irql > synchronize_irql {
            synchronized_from_above(irql, synchronize_irql);
        }
        let handler = self.handler.get();
        // SAFETY: connected with this block's lock (caller), which guards the handler; the IRQL was
        // just checked.
        unsafe { routine::synchronize(object, handler, with_handler) }
    }
}

#[cold]
#[track_caller]
fn synchronized_from_above(irql: Irql, synchronize_irql: Irql) -> ! {
    panic!(
        "synchronize was called at {irql}, above the interrupt's synchronize IRQL \
         {synchronize_irql}: KeSynchronizeExecution would lower the IRQL"
    )
}

impl<H> fmt::Debug for Core<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core").finish_non_exhaustive()
    }
}
