//! Counts a driver's instructions one by one, by the processor's trap flag: after each instruction comes a
//! debug exception, which looks where it was. For one region at a time, on one processor.

use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering};

use crate::image;

/// What a region came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Count {
    /// Instructions of the driver's image.
    pub(crate) own: u64,
    /// Instructions of the kernel's, which the driver called or which called it.
    pub(crate) others: u64,
    /// Bytes of stack between the driver's first instruction and the lowest that it went. What the
    /// kernel uses in between is in it, where the kernel calls the driver back.
    pub(crate) stack: u64,
}

static OWN: AtomicU64 = AtomicU64::new(0);
static OTHERS: AtomicU64 = AtomicU64::new(0);
/// Where the instruction lies that is executed now.
static AT: AtomicU64 = AtomicU64::new(0);
/// The stack pointer at the first instruction of the driver's, 0 before it.
static FIRST: AtomicU64 = AtomicU64::new(0);
static LOWEST: AtomicU64 = AtomicU64::new(0);

/// The flag that has the processor stop after each instruction.
const TRAP_FLAG: u64 = 1 << 8;

/// Begins a region. What interrupts it is not counted.
pub(crate) fn begin() {
    for counter in [&OWN, &OTHERS, &AT, &FIRST] {
        counter.store(0, Ordering::Relaxed);
    }
    LOWEST.store(u64::MAX, Ordering::Relaxed);
    // SAFETY: the debug exception is served by `step`, which changes nothing that runs; the stack is the
    // routine's own, which has no red zone.
    unsafe { asm!("pushfq", "or qword ptr [rsp], {flag}", "popfq", flag = const TRAP_FLAG) };
}

/// Ends the region.
pub(crate) fn end() -> Count {
    // SAFETY: only the flag is changed that `begin` set.
    unsafe {
        asm!("pushfq", "and qword ptr [rsp], {mask}", "popfq", mask = const !(TRAP_FLAG as i32));
    };
    let (first, lowest) = (FIRST.load(Ordering::Relaxed), LOWEST.load(Ordering::Relaxed));
    Count {
        own: OWN.load(Ordering::Relaxed),
        others: OTHERS.load(Ordering::Relaxed),
        stack: first.saturating_sub(lowest),
    }
}

/// An instruction has been executed, and the next lies at `next`. Called in the debug exception.
pub(crate) fn step(next: u64, stack: u64) {
    // The exception is one of this processor's, with interrupts off, so nobody else counts.
    let add_one = |counter: &AtomicU64| {
        counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    };
    match AT.load(Ordering::Relaxed) {
        0 => {}
        at if image::contains(at as usize) => add_one(&OWN),
        _ => add_one(&OTHERS),
    }
    AT.store(next, Ordering::Relaxed);
    if image::contains(next as usize) {
        if FIRST.load(Ordering::Relaxed) == 0 {
            FIRST.store(stack, Ordering::Relaxed);
        }
        LOWEST.fetch_min(stack, Ordering::Relaxed);
    }
}
