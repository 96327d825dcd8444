//! Time that passes at any IRQL, so that no experiment waits for ever.

use core::hint::spin_loop;
use core::ptr;

use wdk_sys::{LARGE_INTEGER, ntddk::KeQueryPerformanceCounter};
use wdm_support::pause;

/// Spins until `done`, for so many milliseconds at most, and says whether it came to that. Any IRQL.
pub(crate) fn spin_until(milliseconds: u32, done: impl Fn() -> bool) -> bool {
    let mut frequency = LARGE_INTEGER::default();
    // SAFETY: the variable lives through the call.
    let begun = unsafe { KeQueryPerformanceCounter(&raw mut frequency) };
    // SAFETY: every member is the same 64 bits.
    let begun = unsafe { begun.QuadPart };
    // SAFETY: as above.
    let patience = unsafe { frequency.QuadPart } / 1_000 * i64::from(milliseconds);
    loop {
        if done() {
            return true;
        }
        // SAFETY: the frequency is not asked for.
        let now = unsafe { KeQueryPerformanceCounter(ptr::null_mut()) };
        // SAFETY: every member is the same 64 bits.
        if unsafe { now.QuadPart } - begun > patience {
            return done();
        }
        spin_loop();
    }
}

/// Spins for so many milliseconds. Any IRQL.
pub(crate) fn spin(milliseconds: u32) {
    spin_until(milliseconds, || false);
}

/// Spins until `done`, for some ten microseconds, and says whether it came to that. Any IRQL.
pub(crate) fn spin_briefly_until(done: impl Fn() -> bool) -> bool {
    const TURNS: u32 = 1_000;
    (0..TURNS).any(|_| {
        spin_loop();
        done()
    })
}

/// Waits until `done`, for five seconds at most, and says whether it came to that. `PASSIVE_LEVEL`.
pub(crate) fn wait_until(done: impl Fn() -> bool) -> bool {
    const MILLISECONDS: u32 = 5_000;
    (0..MILLISECONDS).any(|_| {
        let is_done = done();
        if !is_done {
            pause(1);
        }
        is_done
    }) || done()
}
