//! The lock of what threads share.

use std::{
    cell::UnsafeCell,
    ops::{Deref, DerefMut},
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

/// A value behind a lock that is held for a few lines each.
///
/// The standard library's would do, but part of it is compiled code, of which `ThreadSanitizer`
/// sees nothing: it would then report races that there are not. And a panic does not poison this.
#[derive(Debug, Default)]
pub(super) struct Mutex<T> {
    taken: AtomicBool,
    inside: UnsafeCell<T>,
}

// SAFETY: `inside` is reached through a guard only, of which there is one at a time.
unsafe impl<T: Send> Sync for Mutex<T> {}

impl<T> Mutex<T> {
    pub(super) const fn new(inside: T) -> Self {
        Self { taken: AtomicBool::new(false), inside: UnsafeCell::new(inside) }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, T> {
        loop {
            match self.try_lock() {
                Some(guard) => return guard,
                None => thread::yield_now(),
            }
        }
    }

    pub(super) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        let taken = self.taken.swap(true, Ordering::Acquire);
        // INVARIANT: `taken` was false and is true now.
        (!taken).then(|| MutexGuard { mutex: self })
    }
}

/// # Invariants
///
/// `mutex.taken` is true, and this guard is the one that made it so.
pub(super) struct MutexGuard<'a, T> {
    mutex: &'a Mutex<T>,
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: by the invariant, nobody else has a guard, and `&self` is shared.
        unsafe { &*self.mutex.inside.get() }
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: by the invariant, nobody else has a guard, and `&mut self` is exclusive.
        unsafe { &mut *self.mutex.inside.get() }
    }
}

impl<T> Drop for MutexGuard<'_, T> {
    fn drop(&mut self) {
        self.mutex.taken.store(false, Ordering::Release);
    }
}
