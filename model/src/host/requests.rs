//! What a processor is asked for, by itself or by others.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, AtomicU16, Ordering},
};

use super::mutex::Mutex;

/// A vector's IRQL: the upper half of its low byte, as on x64.
pub(super) const fn irql_of(vector: u32) -> u8 {
    (vector >> 4).to_le_bytes()[0] & 0xF
}

/// What a processor is asked for.
#[derive(Debug, Default)]
pub(super) struct Requests {
    /// Whether a thread is this processor, for good or in its name.
    pub(super) occupied: AtomicBool,
    /// Whether a thread is this processor for good.
    pub(super) bound: AtomicBool,
    /// The vectors that wait, by IRQL. Equal ones coalesce.
    pending: Mutex<BTreeSet<(u8, u32)>>,
    /// A bit for each IRQL of which a vector waits.
    levels: AtomicU16,
    /// A `DISPATCH_LEVEL` interrupt waits.
    dispatch: AtomicBool,
    /// It may not be held back, since `KeFlushQueuedDpcs` waits for it.
    flush: AtomicBool,
}

impl Requests {
    pub(super) fn raise(&self, vector: u32) {
        let irql = irql_of(vector);
        let mut pending = self.pending.lock();
        pending.insert((irql, vector));
        self.levels.fetch_or(1 << irql, Ordering::AcqRel);
    }

    pub(super) fn request_dispatch(&self) {
        self.dispatch.store(true, Ordering::Release);
    }

    /// False if that was known already.
    pub(super) fn request_flush(&self) -> bool {
        let known = self.flush.swap(true, Ordering::AcqRel);
        !self.dispatch.swap(true, Ordering::AcqRel) || !known
    }

    pub(super) fn is_wanted(&self) -> bool {
        self.dispatch.load(Ordering::Acquire) || self.levels.load(Ordering::Acquire) != 0
    }

    /// Whether something waits that a processor at `PASSIVE_LEVEL` would let in.
    pub(super) fn is_due(&self, held_back: bool) -> bool {
        let dispatch = self.dispatch.load(Ordering::Acquire);
        let held_back = held_back && !self.flush.load(Ordering::Acquire);
        dispatch && !held_back || self.levels.load(Ordering::Acquire) >> 1 != 0
    }

    /// Takes the highest vector of those whose IRQL is above `irql`.
    pub(super) fn take_above(&self, irql: u8) -> Option<u32> {
        if u32::from(self.levels.load(Ordering::Acquire)) >> (u32::from(irql) + 1) == 0 {
            return None;
        }
        let mut pending = self.pending.lock();
        let (level, vector) = *pending.last().filter(|(level, _)| *level > irql)?;
        pending.remove(&(level, vector));
        if pending.range((level, 0)..=(level, u32::MAX)).next().is_none() {
            self.levels.fetch_and(!(1 << level), Ordering::AcqRel);
        }
        Some(vector)
    }

    pub(super) fn take_dispatch(&self, held_back: bool) -> bool {
        if held_back && !self.flush.load(Ordering::Acquire) {
            return false;
        }
        let wanted = self.dispatch.swap(false, Ordering::AcqRel);
        if wanted {
            self.flush.store(false, Ordering::Release);
        }
        wanted
    }
}
