//! The queues that DPCs wait in, one of each kind a processor.

use alloc::{collections::VecDeque, vec::Vec};
use core::ops::Range;

use crate::nt::{KDPC, PKDPC, PVOID};

/// How many DPCs of a kind can be queued on a processor at once.
pub(super) const CAPACITY: usize = 128;

pub(super) type DeferredRoutine =
    crate::nt_fn_pointer!(fn(dpc: *mut KDPC, context: PVOID, first: PVOID, second: PVOID));

/// The two kinds of DPCs, once they are queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Runs at `DISPATCH_LEVEL`.
    Dispatch,
    /// Runs at `PASSIVE_LEVEL` in a thread.
    Threaded,
}

/// A DPC in a queue, with what its KDPC said when it was queued.
#[derive(Clone, Copy)]
pub(super) struct Queued {
    pub(super) dpc: PKDPC,
    pub(super) routine: DeferredRoutine,
    pub(super) context: PVOID,
    pub(super) first: PVOID,
    pub(super) second: PVOID,
    pub(super) sequence: u64,
}

// SAFETY: the pointers are the driver's, and it promised that they may be used on any processor.
unsafe impl Send for Queued {}

/// A DPC whose routine is being called.
#[derive(Clone, Copy)]
pub(super) struct Running {
    pub(super) dpc: usize,
    pub(super) sequence: u64,
    /// The processor on which it is: for a threaded one that of its thread.
    pub(super) on: usize,
}

/// One processor's DPCs of one kind.
pub(super) struct Queue {
    /// Its capacity is there from the start: queueing allocates nothing.
    pub(super) waiting: VecDeque<Queued>,
    pub(super) running: Option<Running>,
}

impl Queue {
    fn new() -> Self {
        Self { waiting: VecDeque::with_capacity(CAPACITY), running: None }
    }

    fn owes(&self, sequence: u64) -> bool {
        self.running.is_some_and(|running| running.sequence < sequence)
            || self.waiting.iter().any(|queued| queued.sequence < sequence)
    }
}

/// All processors' DPCs.
pub(super) struct DpcQueues {
    dispatch: Vec<Queue>,
    threaded: Vec<Queue>,
    pub(super) next_sequence: u64,
}

impl DpcQueues {
    pub(super) fn new(processors: usize) -> Self {
        let queues = || (0..processors).map(|_| Queue::new()).collect();
        Self { dispatch: queues(), threaded: queues(), next_sequence: 0 }
    }

    pub(super) fn queue(&mut self, kind: Kind, processor: usize) -> &mut Queue {
        match kind {
            Kind::Dispatch => &mut self.dispatch[processor],
            Kind::Threaded => &mut self.threaded[processor],
        }
    }

    fn all(&self) -> impl Iterator<Item = &Queue> {
        self.dispatch.iter().chain(&self.threaded)
    }

    pub(super) fn is_queued(&self, dpc: PKDPC) -> bool {
        self.all().flat_map(|queue| &queue.waiting).any(|queued| queued.dpc == dpc)
    }

    pub(super) fn queued(&self) -> usize {
        self.all().map(|queue| queue.waiting.len()).sum()
    }

    /// Takes a DPC off its queue; false if it is in none.
    pub(super) fn remove(&mut self, dpc: PKDPC) -> bool {
        for queue in self.dispatch.iter_mut().chain(&mut self.threaded) {
            if let Some(index) = queue.waiting.iter().position(|queued| queued.dpc == dpc) {
                queue.waiting.remove(index);
                return true;
            }
        }
        false
    }

    /// Whether a threaded DPC runs in the thread whose processor is `processor`.
    pub(super) fn runs_threaded(&self, processor: usize) -> bool {
        self.threaded.iter().filter_map(|queue| queue.running).any(|it| it.on == processor)
    }

    /// A KDPC in this range of memory that is queued or running.
    pub(super) fn in_use(&self, range: &Range<usize>) -> Option<(usize, &'static str)> {
        self.all().find_map(|queue| {
            let queued = queue.waiting.iter().map(|queued| (queued.dpc.addr(), "queued"));
            let running = queue.running.iter().map(|running| (running.dpc, "running"));
            queued.chain(running).find(|(address, _)| range.contains(address))
        })
    }

    /// Whether a processor has a DPC that was queued before `sequence` and is not finished.
    pub(super) fn owes(&self, kind: Kind, processor: usize, sequence: u64) -> bool {
        match kind {
            Kind::Dispatch => self.dispatch[processor].owes(sequence),
            Kind::Threaded => self.threaded[processor].owes(sequence),
        }
    }
}
