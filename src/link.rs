//! The way to a handler from outside its ISR: `KeSynchronizeExecution` with its interrupt.

use core::cell::UnsafeCell;
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

impl Link {
    /// Learns the IRQL of a connected interrupt from the kernel, which chose it: inside a
    /// synchronised routine it is the current one.
    ///
    /// The handler stays out of it, since its lock need not be held: the kernel may have connected
    /// something else than was asked for.
    ///
    /// # Safety
    ///
    /// `PASSIVE_LEVEL`; `object` is connected, and stays so during the call.
    pub(crate) unsafe fn measure(object: NonNull<nt::_KINTERRUPT>) -> Self {
        let read_irql = |_nothing: *mut ()| Irql::current();
        // SAFETY: connected, and PASSIVE_LEVEL is at most any synchronize IRQL (caller).
        let synchronize_irql = unsafe { routine::synchronize(object, ptr::null_mut(), read_irql) };
        Self { object, synchronize_irql }
    }
}

/// A [`Link`] as it lies in the registration's memory, and whether the interrupt has been reported
/// inactive.
pub(crate) struct LinkCell {
    /// Written once, by `connect`, before anybody can read it: the registration does not exist
    /// yet, and the deferred half parks until it is opened, which is after.
    link: UnsafeCell<MaybeUninit<Link>>,
    /// Touched under the interrupt's lock only.
    inactive: UnsafeCell<bool>,
}

impl LinkCell {
    pub(crate) const fn new() -> Self {
        Self { link: UnsafeCell::new(MaybeUninit::uninit()), inactive: UnsafeCell::new(false) }
    }

    /// Stores what is known once connected.
    ///
    /// # Safety
    ///
    /// Called once, before the deferred half may run and before a registration exists.
    pub(crate) unsafe fn publish(&self, link: Link) {
        // SAFETY: nobody reads it yet (caller), nobody else writes it.
        unsafe { (*self.link.get()).write(link) };
    }

    /// What was published. It does not change afterwards.
    ///
    /// # Safety
    ///
    /// [`publish`](Self::publish) happened before.
    pub(crate) const unsafe fn get(&self) -> Link {
        // SAFETY: written before (caller), and never again.
        let link = unsafe { &*self.link.get() };
        // SAFETY: it is initialised, as above.
        unsafe { link.assume_init_read() }
    }
}

/// The way to one handler.
///
/// # Invariants
///
/// - The link has been published, and its interrupt stays connected during `'a`.
/// - The handler is touched by the holder of that interrupt's lock only.
pub(crate) struct Way<'a, H> {
    handler: &'a UnsafeCell<H>,
    link: &'a LinkCell,
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
    pub(crate) const unsafe fn new(handler: &'a UnsafeCell<H>, link: &'a LinkCell) -> Self {
        // INVARIANT: the caller vouches for both.
        Self { handler, link }
    }

    pub(crate) const fn link(self) -> Link {
        // SAFETY: published (invariant).
        unsafe { self.link.get() }
    }

    /// Calls `with_handler` under the interrupt's lock.
    ///
    /// # Panics
    ///
    /// Above the synchronize IRQL.
    #[inline]
    #[track_caller]
    pub(crate) fn synchronize<R>(self, with_handler: impl FnOnce(&mut H) -> R) -> R {
        let irql = Irql::current();
        let synchronize_irql = self.link().synchronize_irql;
        if irql > synchronize_irql {
            synchronized_from_above(irql, synchronize_irql);
        }
        // SAFETY: the IRQL was just checked.
        unsafe { self.synchronize_from_below(with_handler) }
    }

    /// As [`synchronize`](Self::synchronize), where the IRQL is known.
    ///
    /// # Safety
    ///
    /// The IRQL is at most the synchronize IRQL.
    #[inline]
    unsafe fn synchronize_from_below<R>(self, with_handler: impl FnOnce(&mut H) -> R) -> R {
        let with_handler = |handler: *mut H| {
            // SAFETY: valid, and the interrupt's lock, which guards it (invariant), is held here.
            with_handler(unsafe { &mut *handler })
        };
        // SAFETY: connected (invariant); the IRQL is low enough (caller).
        unsafe { routine::synchronize(self.link().object, self.handler.get(), with_handler) }
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
        // SAFETY: PASSIVE_LEVEL (caller) is below any synchronize IRQL.
        unsafe { self.synchronize_from_below(H::enable) };
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
        let inactive = &self.link.inactive;
        let with_handler = move |handler: &mut H| {
            // SAFETY: the interrupt's lock is held here.
            if unsafe { !*inactive.get() } {
                handler.disable();
            }
        };
        // SAFETY: PASSIVE_LEVEL (caller) is below any synchronize IRQL.
        unsafe { self.synchronize_from_below(with_handler) };
    }

    /// Notes that the interrupt is about to be reported inactive, after `disable`, or has been
    /// reported active, before `enable`; nothing, when it is so already.
    #[track_caller]
    pub(crate) fn report<D>(self, now_inactive: bool)
    where
        H: InterruptHandler<D>,
    {
        let inactive = &self.link.inactive;
        self.synchronize(|handler| {
            // SAFETY: the interrupt's lock is held here.
            let was_inactive = unsafe { inactive.get().replace(now_inactive) };
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
