//! The executive's own locks.

use core::{
    cell::UnsafeCell,
    ops::{Deref, DerefMut},
    sync::atomic::{AtomicBool, Ordering},
};

use crate::hal::{Hal, InterruptState};

/// A value behind a spin lock that keeps interrupts off its holder.
pub(super) struct Locked<T> {
    taken: AtomicBool,
    inside: UnsafeCell<T>,
}

// SAFETY: `inside` is reached through a `LockGuard` only, of which there is one at a time.
unsafe impl<T: Send> Sync for Locked<T> {}

impl<T> Locked<T> {
    pub(super) const fn new(inside: T) -> Self {
        Self { taken: AtomicBool::new(false), inside: UnsafeCell::new(inside) }
    }

    pub(super) fn lock<'a, H: Hal>(&'a self, hal: &'a H) -> LockGuard<'a, T, H> {
        let interrupts = hal.interrupts_off();
        while self.taken.swap(true, Ordering::Acquire) {
            while self.taken.load(Ordering::Relaxed) {
                hal.pause();
            }
        }
        // INVARIANT: `taken` was false and is true now.
        LockGuard { locked: self, hal, interrupts }
    }
}

/// # Invariants
///
/// `locked.taken` is true, and this guard is the one that made it so.
pub(super) struct LockGuard<'a, T, H: Hal> {
    locked: &'a Locked<T>,
    hal: &'a H,
    interrupts: InterruptState,
}

impl<T, H: Hal> Deref for LockGuard<'_, T, H> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: by the invariant, nobody else has a guard, and `&self` is shared.
        unsafe { &*self.locked.inside.get() }
    }
}

impl<T, H: Hal> DerefMut for LockGuard<'_, T, H> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: by the invariant, nobody else has a guard, and `&mut self` is exclusive.
        unsafe { &mut *self.locked.inside.get() }
    }
}

impl<T, H: Hal> Drop for LockGuard<'_, T, H> {
    fn drop(&mut self) {
        self.locked.taken.store(false, Ordering::Release);
        self.hal.interrupts_restore(self.interrupts);
    }
}

/// Lets one through at a time, at `PASSIVE_LEVEL` with interrupts on, so that the HAL can be called.
pub(super) struct Turnstile {
    taken: AtomicBool,
}

impl Turnstile {
    pub(super) const fn new() -> Self {
        Self { taken: AtomicBool::new(false) }
    }

    pub(super) fn pass<'a, H: Hal>(&'a self, hal: &H) -> Passing<'a> {
        while self.taken.swap(true, Ordering::Acquire) {
            hal.relax();
        }
        Passing { turnstile: self }
    }
}

pub(super) struct Passing<'a> {
    turnstile: &'a Turnstile,
}

impl Drop for Passing<'_> {
    fn drop(&mut self) {
        self.turnstile.taken.store(false, Ordering::Release);
    }
}
