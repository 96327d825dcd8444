//! Events, and waiting for them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use loom::sync::{Condvar, Mutex};

use crate::nt::NTSTATUS;
use crate::nt::{PRKEVENT, STATUS_SUCCESS, STATUS_TIMEOUT};
use crate::{kernel, thread};

/// All events, by their address. Each has a lock of its own, so that two order nothing between them.
#[derive(Debug, Default)]
pub(crate) struct Events(RefCell<BTreeMap<usize, Rc<Event>>>);

/// A synchronisation event: it lets one waiter through.
#[derive(Debug)]
struct Event {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    signalled: bool,
    waiters: usize,
}

impl Events {
    /// `KeInitializeEvent`.
    pub(crate) fn initialize(&self, event: PRKEVENT, signalled: bool) {
        kernel().pool.assert_there(event.addr(), "KeInitializeEvent");
        let state = Mutex::new(State { signalled, waiters: 0 });
        self.0.borrow_mut().insert(event.addr(), Rc::new(Event { state, changed: Condvar::new() }));
    }

    fn find(&self, event: PRKEVENT, user: &str) -> Rc<Event> {
        kernel().pool.assert_there(event.addr(), user);
        let events = self.0.borrow();
        events.get(&event.addr()).cloned().expect("an event that has been initialised")
    }

    /// `KeSetEvent`.
    pub(crate) fn set(&self, event: PRKEVENT) {
        assert!(thread::irql() <= thread::DISPATCH, "KeSetEvent above DISPATCH_LEVEL");
        let found = self.find(event, "KeSetEvent");
        let mut state = found.state.lock().expect("no panic goes on");
        // It could have gone while the lock was waited for.
        kernel().pool.assert_there(event.addr(), "KeSetEvent");
        state.signalled = true;
        if state.waiters > 0 {
            found.changed.notify_one();
        }
    }

    /// `KeWaitForSingleObject`, for ever or not at all.
    pub(crate) fn wait(&self, event: PRKEVENT, at_once: bool) -> NTSTATUS {
        assert!(at_once || thread::irql() < thread::DISPATCH, "a wait at DISPATCH_LEVEL");
        let found = self.find(event, "KeWaitForSingleObject");
        let mut state = found.state.lock().expect("no panic goes on");
        while !state.signalled {
            if at_once {
                return STATUS_TIMEOUT;
            }
            state.waiters += 1;
            state = found.changed.wait(state).expect("no panic goes on");
            state.waiters -= 1;
        }
        state.signalled = false;
        STATUS_SUCCESS
    }
}
