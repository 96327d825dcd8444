//! Locks of the bed itself: held with interrupts off, so that code of any IRQL may take them.

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, Ordering};

use lock_api::{GuardNoSend, RawMutex};
use x86_64::instructions::interrupts;

/// A spin lock that keeps interrupts off its processor while held.
///
/// # Invariants
///
/// `interrupts_were_on` is only touched by the holder.
#[derive(Debug)]
pub(crate) struct InterruptsOff {
    held: AtomicBool,
    interrupts_were_on: UnsafeCell<bool>,
}

// SAFETY: `interrupts_were_on` is accessed by the holder of the lock only.
unsafe impl Sync for InterruptsOff {}

// SAFETY: `held` goes from false to true in one atomic step, for one processor at a time.
unsafe impl RawMutex for InterruptsOff {
    const INIT: Self =
        Self { held: AtomicBool::new(false), interrupts_were_on: UnsafeCell::new(false) };
    type GuardMarker = GuardNoSend;

    fn lock(&self) {
        while !self.try_lock() {
            core::hint::spin_loop();
        }
    }

    fn try_lock(&self) -> bool {
        let were_on = interrupts::are_enabled();
        interrupts::disable();
        let taken =
            self.held.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_ok();
        if taken {
            // SAFETY: this processor holds the lock.
            unsafe { *self.interrupts_were_on.get() = were_on };
        } else if were_on {
            interrupts::enable();
        }
        taken
    }

    unsafe fn unlock(&self) {
        // SAFETY: this processor still holds the lock.
        let were_on = unsafe { *self.interrupts_were_on.get() };
        self.held.store(false, Ordering::Release);
        if were_on {
            interrupts::enable();
        }
    }
}

/// A value behind such a lock.
pub(crate) type Lock<T> = lock_api::Mutex<InterruptsOff, T>;
