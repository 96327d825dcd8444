//! The driver's queue, without IRPs: a request is the number whose factorial it asks for.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use edu_device::{Engine, Hold, Requests};
use wdm_interrupt_model::host;

/// The queue. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Queue(Arc<Mutex<State>>);

struct State {
    waiting: VecDeque<u32>,
    engine: Engine<u32>,
    completed: Vec<(u32, u32)>,
}

impl Queue {
    pub(crate) fn new() -> Self {
        let mut engine = Engine::stopped(0);
        engine.release(Hold::STOP);
        let (waiting, completed) = (VecDeque::new(), Vec::new());
        Self(Arc::new(Mutex::new(State { waiting, engine, completed })))
    }

    /// As the driver's spin lock. It is a lock of the host's, so there is no scheduling point while
    /// it is held: neither a kernel call nor a register.
    fn state(&self) -> MutexGuard<'_, State> {
        host::point();
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request arrives.
    pub(crate) fn insert(&self, number: u32) {
        self.state().waiting.push_back(number);
    }

    pub(crate) fn hold(&self, hold: Hold) {
        self.state().engine.hold(hold);
    }

    pub(crate) fn release(&self, hold: Hold) {
        self.state().engine.release(hold);
    }

    /// What the device still has in hand is thrown away when it comes.
    pub(crate) fn disown(&self) {
        self.state().engine.disown();
    }

    /// What the device had in hand is lost.
    pub(crate) fn abandon(&self) {
        self.state().engine.finish();
    }

    /// The requests that were completed, each with its result, in order.
    pub(crate) fn completed(&self) -> Vec<(u32, u32)> {
        self.state().completed.clone()
    }

    /// How many requests wait, or are being computed.
    pub(crate) fn pending(&self) -> usize {
        self.state().waiting.len()
    }
}

impl Requests for Queue {
    fn finish(&self, factorial: u32) {
        let mut state = self.state();
        if let Some(number) = state.engine.current() {
            state.waiting.retain(|waiting| *waiting != number);
            state.engine.left(number);
            state.completed.push((number, factorial));
        }
        drop(state);
        // Here the driver completes the IRP, under no lock.
        self.abandon();
    }

    fn begin(&self) -> Option<u32> {
        let mut state = self.state();
        let next = state.waiting.front().copied();
        state.engine.begin(next)
    }
}
