//! A meeting: routines that come to it wait there, for a while, until enough are there at once.

use core::sync::atomic::{AtomicUsize, Ordering};

use crate::clock::spin_until;

/// Who is there, and the most who ever were at once.
#[derive(Debug)]
pub(crate) struct Meeting {
    there: AtomicUsize,
    most: AtomicUsize,
}

impl Meeting {
    /// How long one waits for others, in milliseconds.
    const PATIENCE: u32 = 5_000;

    /// A meeting to which nobody has come.
    pub(crate) const fn new() -> Self {
        Self { there: AtomicUsize::new(0), most: AtomicUsize::new(0) }
    }

    /// Comes, waits until `enough` are there at once or have been, and goes. Any IRQL.
    pub(crate) fn attend(&self, enough: usize) {
        let there = self.there.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(there, Ordering::SeqCst);
        spin_until(Self::PATIENCE, || self.most() >= enough);
        self.there.fetch_sub(1, Ordering::SeqCst);
    }

    /// How many are there.
    pub(crate) fn there(&self) -> usize {
        self.there.load(Ordering::SeqCst)
    }

    /// The most who ever were there at once.
    pub(crate) fn most(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }
}
