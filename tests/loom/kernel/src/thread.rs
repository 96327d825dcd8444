//! Threads: each has a number and an IRQL.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};

/// `PASSIVE_LEVEL`.
pub(crate) const PASSIVE: u8 = 0;
/// `DISPATCH_LEVEL`.
pub(crate) const DISPATCH: u8 = 2;

/// What the kernel knows of a thread.
struct Thread {
    number: usize,
    irql: Cell<u8>,
}

loom::thread_local! {
    static THREAD: Thread = {
        // One thread of the system runs all of `loom`'s, so this orders nothing between them.
        static NEXT: AtomicUsize = AtomicUsize::new(1);
        Thread { number: NEXT.fetch_add(1, Ordering::Relaxed), irql: Cell::new(PASSIVE) }
    };
}

/// The number of this thread, which is not 0.
pub(crate) fn number() -> usize {
    THREAD.with(|thread| thread.number)
}

/// The IRQL that this thread runs at.
pub(crate) fn irql() -> u8 {
    THREAD.with(|thread| thread.irql.get())
}

/// Does `what` at `irql`.
pub(crate) fn at<R>(irql: u8, what: impl FnOnce() -> R) -> R {
    let before = THREAD.with(|thread| thread.irql.replace(irql));
    let result = what();
    THREAD.with(|thread| thread.irql.set(before));
    result
}
