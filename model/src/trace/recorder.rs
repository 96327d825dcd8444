//! Where a HAL keeps what it is told.

use alloc::boxed::Box;
use core::{
    cell::UnsafeCell,
    fmt,
    mem::MaybeUninit,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
};

use super::Record;

/// Keeps records, from any processor at any IRQL: it takes no lock and allocates nothing once it
/// is made. What comes when it is full is counted, not kept.
///
/// ```
/// use wdm_interrupt_model::{
///     hal::Event,
///     trace::{Record, Recorder},
/// };
///
/// let recorder = Recorder::new(1);
/// for time in [10, 20] {
///     let event = Event::FlushEntered;
///     recorder.record(Record { time, processor: 0, context: 0, irql: 0, event });
/// }
/// let times: Vec<u64> = recorder.records().map(|record| record.time).collect();
/// assert_eq!((times, recorder.lost()), (vec![10], 1));
/// ```
pub struct Recorder {
    slots: Box<[Slot]>,
    /// How many records there were, those without a slot included.
    count: AtomicUsize,
}

/// Room for a record.
///
/// # Invariants
///
/// Whoever counted [`Recorder::count`] up to this slot, and nobody else, writes `record`, once and
/// before `written` becomes true.
struct Slot {
    written: AtomicBool,
    record: UnsafeCell<MaybeUninit<Record>>,
}

// SAFETY: by the invariant, `record` has one writer, and who reads it has seen `written`, after
// which nobody writes.
unsafe impl Sync for Slot {}

impl Recorder {
    /// A recorder with room for so many records.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        let empty = || Slot {
            written: AtomicBool::new(false),
            record: UnsafeCell::new(MaybeUninit::uninit()),
        };
        Self { slots: (0..capacity).map(|_| empty()).collect(), count: AtomicUsize::new(0) }
    }

    /// Keeps a record, or counts it as lost.
    pub fn record(&self, record: Record) {
        // INVARIANT: no two calls get the same number, so the slot is this call's own.
        let index = self.count.fetch_add(1, Ordering::Relaxed);
        let Some(slot) = self.slots.get(index) else {
            return;
        };
        // SAFETY: by the invariant of the slot, nobody else writes, and nobody reads yet.
        unsafe { (*slot.record.get()).write(record) };
        slot.written.store(true, Ordering::Release);
    }

    /// The records so far, in the order in which they were begun. Those of one processor are in the
    /// order of its time; those of several may be out of it by as long as recording takes.
    pub fn records(&self) -> impl Iterator<Item = Record> {
        self.slots.iter().filter(|slot| slot.written.load(Ordering::Acquire)).map(|slot| {
            // SAFETY: `written` is true, so by the invariant nobody writes any more.
            let record = unsafe { &*slot.record.get() };
            // SAFETY: it was written before `written` became true.
            unsafe { record.assume_init() }
        })
    }

    /// How many records came when there was no more room.
    pub fn lost(&self) -> u64 {
        self.count.load(Ordering::Relaxed).saturating_sub(self.slots.len()) as u64
    }
}

/// As a [`Trace`](super::Trace) has its records.
#[cfg(feature = "serde")]
impl serde::Serialize for Recorder {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeSeq as _;

        // Another processor may be recording, and then there are more by and by.
        let count = self.records().count();
        let mut sequence = serializer.serialize_seq(Some(count))?;
        for record in self.records().take(count) {
            sequence.serialize_element(&record)?;
        }
        sequence.end()
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder")
            .field("capacity", &self.slots.len())
            .field("count", &self.count)
            .finish()
    }
}
