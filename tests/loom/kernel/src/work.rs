//! Work items: a queue, and threads that take from it.

use std::collections::VecDeque;
use std::ops::Range;
use std::ptr;

use loom::sync::{Condvar, Mutex, MutexGuard};

use crate::nt::{DEVICE_OBJECT, PIO_WORKITEM, PIO_WORKITEM_ROUTINE, PVOID};
use crate::thread;

/// The queue.
#[derive(Debug)]
pub(crate) struct WorkItems {
    state: Mutex<State>,
    queued: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// The items, by their number: whether each is there still.
    items: Vec<bool>,
    queue: VecDeque<Request>,
    idle: usize,
    halted: bool,
}

#[derive(Clone, Copy, Debug)]
struct Request {
    item: PIO_WORKITEM,
    routine: PIO_WORKITEM_ROUTINE,
    context: PVOID,
}

/// The number of an item. Its address means nothing else.
fn number_of(item: PIO_WORKITEM) -> usize {
    item.addr() / align_of::<usize>() - 1
}

impl WorkItems {
    pub(crate) fn new() -> Self {
        Self { state: Mutex::new(State::default()), queued: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic goes on")
    }

    /// `IoAllocateWorkItem`.
    pub(crate) fn allocate(&self) -> PIO_WORKITEM {
        let mut state = self.lock();
        state.items.push(true);
        ptr::without_provenance_mut(state.items.len() * align_of::<usize>())
    }

    /// `IoFreeWorkItem`.
    pub(crate) fn free(&self, item: PIO_WORKITEM) {
        let mut state = self.lock();
        let queued = state.queue.iter().any(|request| request.item == item);
        assert!(!queued, "IoFreeWorkItem: the item is queued");
        let there = core::mem::replace(&mut state.items[number_of(item)], false);
        assert!(there, "IoFreeWorkItem: freed twice");
    }

    /// `IoQueueWorkItem`.
    pub(crate) fn queue(&self, item: PIO_WORKITEM, routine: PIO_WORKITEM_ROUTINE, context: PVOID) {
        assert!(thread::irql() <= thread::DISPATCH, "IoQueueWorkItem above DISPATCH_LEVEL");
        let mut state = self.lock();
        assert!(state.items[number_of(item)], "IoQueueWorkItem: the item has been freed");
        let queued = state.queue.iter().any(|request| request.item == item);
        assert!(!queued, "IoQueueWorkItem: the item is queued already");
        state.queue.push_back(Request { item, routine, context });
        if state.idle > 0 {
            self.queued.notify_one();
        }
    }

    /// Takes items from the queue and runs them, until the machine is halted.
    pub(crate) fn work(&self, device: *mut DEVICE_OBJECT) {
        let mut state = self.lock();
        loop {
            if let Some(Request { routine, context, .. }) = state.queue.pop_front() {
                drop(state);
                let routine = routine.expect("a routine");
                // SAFETY: it is called with the context that it was queued with.
                unsafe { routine(device, context) };
                state = self.lock();
            } else if state.halted {
                return;
            } else {
                state.idle += 1;
                state = self.queued.wait(state).expect("no panic goes on");
                state.idle -= 1;
            }
        }
    }

    /// Nothing is queued any more.
    pub(crate) fn halt(&self) {
        let mut state = self.lock();
        state.halted = true;
        if state.idle > 0 {
            self.queued.notify_all();
        }
    }

    /// Panics when an item is queued whose context lies in `range`. A routine that runs may free what it is
    /// in, as long as it touches nothing of it afterwards.
    pub(crate) fn assert_none_in(&self, range: &Range<usize>) {
        let queued = |request: &Request| range.contains(&request.context.addr());
        assert!(
            !self.lock().queue.iter().any(queued),
            "freed: a block of pool whose work item is queued"
        );
    }

    /// Panics when an item has not been freed.
    pub(crate) fn assert_empty(&self) {
        let state = self.lock();
        assert!(state.queue.is_empty(), "left behind: a work item in the queue");
        assert!(!state.items.contains(&true), "left behind: a work item");
    }
}
