//! The way to a handler from outside its ISR: `KeSynchronizeExecution` with its interrupt.

use core::cell::UnsafeCell;
use core::fmt;
use core::mem::MaybeUninit;
use core::ptr::{self, NonNull};

use crate::handler::InterruptHandler;
use crate::irql::Irql;
use crate::{nt, routine};

/// What synchronising needs, known once connected.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    pub(crate) object: NonNull<nt::_KINTERRUPT>,
    pub(crate) synchronize_irql: Irql,
}

/// A handler as it lies in a registration's memory, and behind it what taking its lock needs.
///
/// Valid in zeroed memory, save for the handler: no object yet, `PASSIVE_LEVEL`, and not reported
/// inactive.
#[repr(C)]
pub struct Guarded<H> {
    /// Touched only by the holder of the interrupt's lock; by anyone while not connected. First, so
    /// that an ISR finds it where its memory begins.
    handler: UnsafeCell<H>,
    /// Written once, by `connect`, before anybody can read it: the registration does not exist
    /// yet, and the deferred half parks until it is opened, which is after. As is the IRQL.
    object: UnsafeCell<MaybeUninit<NonNull<nt::_KINTERRUPT>>>,
    synchronize_irql: UnsafeCell<Irql>,
    /// Whether the interrupt has been reported inactive. Touched under its lock only.
    inactive: UnsafeCell<bool>,
}

impl<H> Guarded<H> {
    /// Writes a handler to zeroed memory, in which nothing else needs to be written.
    ///
    /// # Safety
    ///
    /// `place` is valid for writing and zeroed; `make` writes a handler to where it is told.
    pub(crate) unsafe fn lay_out(place: *mut Self, make: impl FnOnce(*mut H)) {
        // SAFETY: within the place.
        let handler = unsafe { &raw mut (*place).handler };
        make(handler.cast());
    }

    /// Where the handler is.
    pub(crate) const fn handler(&self) -> *mut H {
        self.handler.get()
    }

    /// Stores the interrupt object.
    ///
    /// # Safety
    ///
    /// Called once, before the deferred half may run and before a registration exists.
    pub(crate) const unsafe fn set_object(&self, object: NonNull<nt::_KINTERRUPT>) {
        // SAFETY: nobody reads it yet (caller), nobody else writes it.
        let place = unsafe { &mut *self.object.get() };
        place.write(object);
    }

    /// Stores the IRQL at which the lock is held.
    ///
    /// # Safety
    ///
    /// As for [`set_object`](Self::set_object).
    pub(crate) const unsafe fn set_synchronize_irql(&self, irql: Irql) {
        // SAFETY: nobody reads it yet (caller), nobody else writes it.
        unsafe { *self.synchronize_irql.get() = irql };
    }

    /// The IRQL at which the lock is held: `PASSIVE_LEVEL` until it is stored.
    ///
    /// # Safety
    ///
    /// Nobody stores it meanwhile.
    pub(crate) const unsafe fn synchronize_irql(&self) -> Irql {
        // SAFETY: nobody writes it (caller).
        unsafe { *self.synchronize_irql.get() }
    }
}

impl<H> fmt::Debug for Guarded<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guarded").finish_non_exhaustive()
    }
}

/// Learns the IRQL of a connected interrupt from the kernel, which chose it: inside a synchronised
/// routine it is the current one.
///
/// The handler stays out of it, since its lock need not be held: the kernel may have connected
/// something else than was asked for.
///
/// # Safety
///
/// `PASSIVE_LEVEL`; `object` is connected, and stays so during the call.
pub(crate) unsafe fn measure_irql(object: NonNull<nt::_KINTERRUPT>) -> Irql {
    let mut measured = Irql::PASSIVE;
    let measure = |place: *mut Irql| {
        // SAFETY: `measured`.
        unsafe { place.write(Irql::current()) };
    };
    // SAFETY: connected, and PASSIVE_LEVEL is at most any synchronize IRQL (caller).
    unsafe { routine::synchronize(object, &raw mut measured, measure) };
    measured
}

/// The way to one handler.
///
/// # Invariants
///
/// - Object and IRQL have been stored, and the interrupt stays connected during `'a`.
/// - The handler is touched by the holder of that interrupt's lock only.
pub(crate) struct Way<'a, H> {
    guarded: &'a Guarded<H>,
}

impl<H> Clone for Way<'_, H> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<H> Copy for Way<'_, H> {}

impl<'a, H> Way<'a, H> {
    /// # Safety
    ///
    /// The invariants.
    pub(crate) const unsafe fn new(guarded: &'a Guarded<H>) -> Self {
        // INVARIANT: the caller vouches for both.
        Self { guarded }
    }

    pub(crate) const fn link(self) -> Link {
        // SAFETY: nobody writes it any more (invariant).
        let object = unsafe { &*self.guarded.object.get() };
        // SAFETY: stored (invariant).
        let object = unsafe { object.assume_init_read() };
        // SAFETY: nobody stores it any more (invariant).
        let synchronize_irql = unsafe { self.guarded.synchronize_irql() };
        Link { object, synchronize_irql }
    }

    /// Calls `with_handler` under the interrupt's lock.
    ///
    /// # Panics
    ///
    /// Above the synchronize IRQL.
    #[inline]
    #[track_caller]
    pub(crate) fn synchronize<R>(self, with_handler: impl FnOnce(&mut H) -> R) -> R {
        self.synchronize_guarded(|guarded| {
            // SAFETY: valid, and the interrupt's lock, which guards it (invariant), is held here.
            with_handler(unsafe { &mut *guarded.handler() })
        })
    }

    /// The same with all that the lock guards.
    #[inline]
    #[track_caller]
    fn synchronize_guarded<R>(self, with_guarded: impl FnOnce(&Guarded<H>) -> R) -> R {
        let irql = Irql::current();
        let synchronize_irql = self.link().synchronize_irql;
        if irql > synchronize_irql {
            synchronized_from_above(irql, synchronize_irql);
        }
        // SAFETY: the IRQL was just checked.
        unsafe { self.synchronize_from_below(with_guarded) }
    }

    /// The same where the IRQL is known.
    ///
    /// # Safety
    ///
    /// The IRQL is at most the synchronize IRQL.
    #[inline]
    unsafe fn synchronize_from_below<R>(self, with_guarded: impl FnOnce(&Guarded<H>) -> R) -> R {
        let guarded = ptr::from_ref(self.guarded).cast_mut();
        let with_guarded = |guarded: *mut Guarded<H>| {
            // SAFETY: `self.guarded`.
            with_guarded(unsafe { &*guarded })
        };
        // SAFETY: connected (invariant); the IRQL is low enough (caller).
        unsafe { routine::synchronize(self.link().object, guarded, with_guarded) }
    }

    /// Calls the handler's `enable`, before anybody can have reported the interrupt inactive.
    ///
    /// # Safety
    ///
    /// `PASSIVE_LEVEL`.
    pub(crate) unsafe fn enable<D>(self)
    where
        H: InterruptHandler<D>,
    {
        let enable = |guarded: &Guarded<H>| {
            // SAFETY: valid, and the interrupt's lock, which guards it (invariant), is held here.
            H::enable(unsafe { &mut *guarded.handler() });
        };
        // SAFETY: PASSIVE_LEVEL (caller) is below any synchronize IRQL.
        unsafe { self.synchronize_from_below(enable) };
    }

    /// Calls the handler's `disable`, unless the interrupt has been reported inactive.
    ///
    /// # Safety
    ///
    /// `PASSIVE_LEVEL`.
    pub(crate) unsafe fn disable<D>(self)
    where
        H: InterruptHandler<D>,
    {
        let disable = |guarded: &Guarded<H>| {
            // SAFETY: the interrupt's lock is held here.
            if unsafe { !*guarded.inactive.get() } {
                // SAFETY: valid, and the lock guards it (invariant).
                H::disable(unsafe { &mut *guarded.handler() });
            }
        };
        // SAFETY: PASSIVE_LEVEL (caller) is below any synchronize IRQL.
        unsafe { self.synchronize_from_below(disable) };
    }

    /// Notes that the interrupt is about to be reported inactive, after `disable`, or has been
    /// reported active, before `enable`; nothing, when it is so already.
    #[track_caller]
    pub(crate) fn report<D>(self, now_inactive: bool)
    where
        H: InterruptHandler<D>,
    {
        self.synchronize_guarded(|guarded| {
            // SAFETY: the interrupt's lock is held here.
            let was_inactive = unsafe { guarded.inactive.get().replace(now_inactive) };
            // SAFETY: valid, and the lock guards it (invariant).
            let handler = unsafe { &mut *guarded.handler() };
            match (was_inactive, now_inactive) {
                (false, true) => handler.disable(),
                (true, false) => handler.enable(),
                _ => {}
            }
        });
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
