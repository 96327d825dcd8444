//! Which spin locks each processor holds, and which it waits for.

use alloc::{vec, vec::Vec};
use core::ops::Range;

/// How many locks a processor can hold at once.
pub(super) const DEPTH: usize = 16;

/// A lock that a processor holds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Held {
    pub(super) address: usize,
    /// The IRQL below which the processor must not go meanwhile.
    pub(super) irql: u8,
}

/// The locks that each processor holds, in the order of acquiring.
pub(super) struct HeldLocks {
    processors: Vec<([Held; DEPTH], usize)>,
    /// The lock that each processor waits for, or 0.
    pub(super) waiting: Vec<usize>,
}

impl HeldLocks {
    pub(super) fn new(processors: usize) -> Self {
        Self {
            processors: vec![([Held::default(); DEPTH], 0); processors],
            waiting: vec![0; processors],
        }
    }

    fn of(&self, processor: usize) -> &[Held] {
        let (locks, count) = &self.processors[processor];
        &locks[..*count]
    }

    pub(super) fn holds(&self, processor: usize, address: usize) -> bool {
        self.of(processor).iter().any(|held| held.address == address)
    }

    pub(super) fn count(&self, processor: usize) -> usize {
        self.processors[processor].1
    }

    pub(super) fn total(&self) -> usize {
        self.processors.iter().map(|(_, count)| count).sum()
    }

    /// The IRQL that the processor must not go below.
    pub(super) fn lowest_irql(&self, processor: usize) -> u8 {
        self.of(processor).iter().map(|held| held.irql).max().unwrap_or(0)
    }

    pub(super) fn any_in(&self, range: &Range<usize>) -> Option<usize> {
        (0..self.processors.len())
            .flat_map(|processor| self.of(processor))
            .map(|held| held.address)
            .find(|address| range.contains(address))
    }

    /// Whether the lock that `processor` waits for is held by one that waits for one that is held
    /// by one … that waits for one that `processor` holds.
    pub(super) fn is_deadlocked(&self, processor: usize) -> bool {
        let mut waiter = processor;
        for _ in 0..self.processors.len() {
            let lock = self.waiting[waiter];
            let mut others = 0..self.processors.len();
            let Some(owner) = others.find(|other| lock != 0 && self.holds(*other, lock)) else {
                return false;
            };
            if owner == processor {
                return true;
            }
            waiter = owner;
        }
        false
    }

    /// Whether any processor holds the lock.
    pub(super) fn is_held(&self, address: usize) -> bool {
        (0..self.processors.len()).any(|processor| self.holds(processor, address))
    }

    pub(super) fn push(&mut self, processor: usize, held: Held) -> bool {
        let (locks, count) = &mut self.processors[processor];
        let Some(slot) = locks.get_mut(*count) else {
            return false;
        };
        *slot = held;
        *count += 1;
        true
    }

    /// Forgets a lock; false if the processor does not hold it.
    pub(super) fn remove(&mut self, processor: usize, address: usize) -> bool {
        let (locks, count) = &mut self.processors[processor];
        let Some(index) = locks[..*count].iter().position(|held| held.address == address) else {
            return false;
        };
        locks.copy_within(index + 1..*count, index);
        *count -= 1;
        true
    }
}
