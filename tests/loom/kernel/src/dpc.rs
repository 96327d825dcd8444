//! Deferred procedure calls: a queue, and as many processors as a test lets take from it.

use std::collections::VecDeque;
use std::ops::Range;

use loom::sync::{Condvar, Mutex};

use crate::nt::{KDPC, PKDEFERRED_ROUTINE, PKDPC, PVOID};
use crate::{kernel, thread};

/// `Type` of a KDPC that runs in a thread.
const THREADED: u8 = 26;
/// `Type` of any other.
const ORDINARY: u8 = 19;

/// The queue, and what runs.
#[derive(Debug)]
pub(crate) struct Dpcs {
    state: Mutex<State>,
    /// Something has been queued, or nothing will be any more.
    queued: Condvar,
    /// Something has been run, or taken off the queue.
    ended: Condvar,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Request>,
    running: Vec<Request>,
    next: u64,
    /// Threads that take from the queue, and how many of them wait.
    processors: usize,
    idle: usize,
    flushers: usize,
    halted: bool,
}

/// A KDPC in the queue or running; requests are numbered, so that a flush knows which came before.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Request {
    dpc: PKDPC,
    number: u64,
}

impl Dpcs {
    pub(crate) fn new() -> Self {
        Self { state: Mutex::new(State::default()), queued: Condvar::new(), ended: Condvar::new() }
    }

    /// `KeInsertQueueDpc`.
    pub(crate) fn insert(&self, dpc: PKDPC) -> bool {
        kernel().pool.assert_there(dpc.addr(), "KeInsertQueueDpc");
        let mut state = self.state.lock().expect("no panic goes on");
        if state.queue.iter().any(|request| request.dpc == dpc) {
            return false;
        }
        let request = Request { dpc, number: state.next };
        state.next += 1;
        state.queue.push_back(request);
        if state.idle > 0 {
            self.queued.notify_one();
        }
        true
    }

    /// `KeRemoveQueueDpc`.
    pub(crate) fn remove(&self, dpc: PKDPC) -> bool {
        kernel().pool.assert_there(dpc.addr(), "KeRemoveQueueDpc");
        let mut state = self.state.lock().expect("no panic goes on");
        let before = state.queue.len();
        state.queue.retain(|request| request.dpc != dpc);
        if state.flushers > 0 {
            self.ended.notify_all();
        }
        state.queue.len() != before
    }

    /// `KeFlushQueuedDpcs`: waits for what has been queued before, and runs it if nobody else does.
    pub(crate) fn flush(&self) {
        assert_eq!(thread::irql(), thread::PASSIVE, "KeFlushQueuedDpcs above PASSIVE_LEVEL");
        let mut state = self.state.lock().expect("no panic goes on");
        let before = state.next;
        loop {
            let pending = |request: &Request| request.number < before;
            if !state.queue.iter().any(pending) && !state.running.iter().any(pending) {
                return;
            }
            if state.processors == 0 {
                state = self.run_one(state);
            } else {
                state.flushers += 1;
                state = self.ended.wait(state).expect("no panic goes on");
                state.flushers -= 1;
            }
        }
    }

    /// Takes requests from the queue and runs them, until the machine is halted.
    pub(crate) fn work(&self) {
        let mut state = self.state.lock().expect("no panic goes on");
        loop {
            if !state.queue.is_empty() {
                state = self.run_one(state);
            } else if state.halted {
                return;
            } else {
                state.idle += 1;
                state = self.queued.wait(state).expect("no panic goes on");
                state.idle -= 1;
            }
        }
    }

    /// Runs the first request, the queues unlocked meanwhile.
    fn run_one<'a>(
        &'a self,
        mut state: loom::sync::MutexGuard<'a, State>,
    ) -> loom::sync::MutexGuard<'a, State> {
        let Some(request) = state.queue.pop_front() else {
            return state;
        };
        state.running.push(request);
        drop(state);
        // SAFETY: whoever queued it keeps it there while it is queued, and it was a moment ago.
        let KDPC {
            __bindgen_anon_1: kind, DeferredRoutine: routine, DeferredContext: context, ..
        } = unsafe { request.dpc.read() };
        // SAFETY: the member has any value.
        let threaded = unsafe { kind.__bindgen_anon_1 }.Type == THREADED;
        let routine = routine.expect("a KDPC that has been initialised");
        let irql = if threaded { thread::PASSIVE } else { thread::DISPATCH };
        thread::at(irql, || {
            // SAFETY: the context is what the routine was initialised with; the caller of
            // KeInsertQueueDpc has arguments to spare.
            unsafe { routine(request.dpc, context, core::ptr::null_mut(), core::ptr::null_mut()) };
        });
        let mut state = self.state.lock().expect("no panic goes on");
        state.running.retain(|running| *running != request);
        if state.flushers > 0 {
            self.ended.notify_all();
        }
        state
    }

    /// One more thread that will take from the queue.
    pub(crate) fn add_processor(&self) {
        self.state.lock().expect("no panic goes on").processors += 1;
    }

    /// Nothing is queued any more.
    pub(crate) fn halt(&self) {
        let mut state = self.state.lock().expect("no panic goes on");
        state.halted = true;
        if state.idle > 0 {
            self.queued.notify_all();
        }
    }

    /// Panics when a KDPC in `range` is queued, or its routine is running.
    pub(crate) fn assert_none_in(&self, range: &Range<usize>) {
        let state = self.state.lock().expect("no panic goes on");
        let inside = |request: &Request| range.contains(&request.dpc.addr());
        assert!(!state.queue.iter().any(inside), "freed: a block of pool whose DPC is queued");
        assert!(!state.running.iter().any(inside), "freed: a block of pool whose DPC runs");
    }

    /// Panics when something is queued.
    pub(crate) fn assert_empty(&self) {
        let state = self.state.lock().expect("no panic goes on");
        assert!(state.queue.is_empty(), "left behind: a DPC in the queue");
    }
}

/// `KeInitializeDpc` and `KeInitializeThreadedDpc`.
///
/// # Safety
///
/// `dpc` is valid for writing.
pub(crate) unsafe fn initialize(
    dpc: PKDPC,
    routine: PKDEFERRED_ROUTINE,
    context: PVOID,
    threaded: bool,
) {
    kernel().pool.assert_there(dpc.addr(), "KeInitializeDpc");
    let mut initial =
        KDPC { DeferredRoutine: routine, DeferredContext: context, ..KDPC::default() };
    initial.__bindgen_anon_1.__bindgen_anon_1.Type = if threaded { THREADED } else { ORDINARY };
    // SAFETY: as the caller promises.
    unsafe { dpc.write(initial) };
}
