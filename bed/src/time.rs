//! Time by the processor's time stamp counter, calibrated once against the PC's interval timer.

use core::sync::atomic::{AtomicU64, Ordering};

use x86_64::instructions::port::Port;

static TICKS_PER_SECOND: AtomicU64 = AtomicU64::new(1_000_000_000);

/// The interval timer's clock, in Hz.
const TIMER_HZ: u64 = 1_193_182;
/// How long the calibration takes: a hundredth of a second.
const CALIBRATION: u64 = TIMER_HZ / 100;

/// The time stamp counter.
pub(crate) fn now() -> u64 {
    // SAFETY: every x86-64 processor has RDTSC, and the bed leaves CR4.TSD clear.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// How often the counter counts in a second.
pub(crate) fn frequency() -> u64 {
    TICKS_PER_SECOND.load(Ordering::Relaxed)
}

/// The time in the kernel's unit.
pub(crate) fn hundreds_of_nanoseconds() -> u64 {
    now() / (frequency() / 10_000_000).max(1)
}

/// A distance of the counter in nanoseconds.
pub(crate) fn nanoseconds(ticks: u64) -> u64 {
    (u128::from(ticks) * 1_000_000_000 / u128::from(frequency().max(1))) as u64
}

/// The counter's distance for so many microseconds.
pub(crate) fn microseconds(count: u64) -> u64 {
    count * (frequency() / 1_000_000).max(1)
}

/// Spins for so many microseconds.
pub(crate) fn stall(count: u64) {
    let end = now() + microseconds(count);
    while now() < end {
        core::hint::spin_loop();
    }
}

/// Measures the counter against channel 2 of the interval timer.
pub(crate) fn calibrate() {
    let mut gate = Port::<u8>::new(0x61);
    let mut mode = Port::<u8>::new(0x43);
    let mut channel = Port::<u8>::new(0x42);
    // SAFETY: the speaker's control port; gate on, speaker off.
    unsafe { gate.write(1) };
    // SAFETY: channel 2, low and high byte, mode 0: the output rises at the end of the count.
    unsafe { mode.write(0b1011_0000) };
    for byte in &CALIBRATION.to_le_bytes()[..2] {
        // SAFETY: the count of channel 2.
        unsafe { channel.write(*byte) };
    }
    let start = now();
    // SAFETY: reading the speaker's control port has no effect.
    while unsafe { gate.read() } & 0x20 == 0 {
        core::hint::spin_loop();
    }
    TICKS_PER_SECOND.store((now() - start) * 100, Ordering::Relaxed);
}
