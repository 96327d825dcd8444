//! The system's own threads: workers, DPC threads, and those that serve passive interrupts. Each
//! is a thread of the host, on a processor that drivers do not know of.

use std::{
    any::Any,
    boxed::Box,
    collections::{BTreeMap, VecDeque},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    vec::Vec,
};

use super::{
    machine::Inner,
    mutex::{Mutex, MutexGuard},
    processor::{Role, bind, current, stand_in, try_current},
    schedule::{Place, Turn},
};
use crate::nt::PIO_WORKITEM;

/// How many system threads run at once. More have to wait for one to be through.
pub(super) const SYSTEM_THREADS: usize = 32;

/// What a system thread is started for.
#[derive(Clone, Copy)]
pub(super) enum Task {
    /// A work item's routine.
    Work(PIO_WORKITEM),
    /// The service routines of a passive interrupt.
    Passive(u32),
    /// The threaded DPCs of a processor.
    Dpcs(usize),
    /// What a processor is asked for while no thread is it.
    StandIn(usize),
}

// SAFETY: a work item is known by its address only.
unsafe impl Send for Task {}

/// Something that one thread at a time does, and does again if it is asked for meanwhile.
#[derive(Clone, Copy, Default)]
struct Repeated {
    running: bool,
    wanted: bool,
}

/// All system threads of a machine.
#[derive(Default)]
pub(super) struct Threads {
    state: Mutex<State>,
    /// Whether `State::panic` has something.
    broken: AtomicBool,
}

#[derive(Default)]
struct State {
    /// The processors that are nobody's, of those that drivers do not know of.
    free: Vec<usize>,
    running: usize,
    waiting: VecDeque<Task>,
    /// Work that is held back, see `Machine::hold_work_items`.
    held: Option<Vec<Task>>,
    /// By vector.
    passive: BTreeMap<u32, Repeated>,
    /// By processor.
    dpcs: BTreeMap<usize, Repeated>,
    /// By processor.
    stand_ins: BTreeMap<usize, Repeated>,
    panic: Option<Box<dyn Any + Send>>,
}

impl Threads {
    pub(super) fn new(processors: usize) -> Self {
        let free = (processors..processors + SYSTEM_THREADS).rev().collect();
        let state = State { free, ..State::default() };
        Self { state: Mutex::new(state), broken: AtomicBool::new(false) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Takes a processor that drivers do not know of.
    pub(super) fn take_processor(&self) -> Option<usize> {
        self.state().free.pop()
    }

    pub(super) fn give_processor_back(&self, processor: usize) {
        self.state().free.push(processor);
    }

    /// Whether no system thread runs, nor will.
    pub(super) fn are_idle(&self) -> bool {
        let state = self.state();
        state.running == 0 && state.waiting.is_empty()
    }

    /// The panic that a system thread ended with, to be passed on.
    pub(super) fn take_panic(&self) -> Option<Box<dyn Any + Send>> {
        if !self.broken.load(Ordering::Acquire) {
            return None;
        }
        let mut state = self.state();
        self.broken.store(false, Ordering::Release);
        state.panic.take()
    }

    /// Whether a thread serves this passive interrupt.
    pub(super) fn serves(&self, vector: u32) -> bool {
        self.state().passive.get(&vector).is_some_and(|it| it.running)
    }

    /// Has a passive interrupt served. One that is being served is masked, so another then waits.
    pub(super) fn raise_passive(&self, inner: &Arc<Inner>, vector: u32) {
        let mut state = self.state();
        let line = state.passive.entry(vector).or_default();
        if line.running {
            line.wanted = true;
        } else {
            line.running = true;
            start(state, inner, Task::Passive(vector));
        }
    }

    /// Has the threaded DPCs of `processor` run, or keeps in mind that they are to.
    pub(super) fn request_dpcs(&self, inner: &Arc<Inner>, processor: usize, held_back: bool) {
        let mut state = self.state();
        let thread = state.dpcs.entry(processor).or_default();
        thread.wanted = true;
        if !thread.running && !held_back {
            thread.running = true;
            start(state, inner, Task::Dpcs(processor));
        }
    }

    /// Has all threaded DPCs run that were held back.
    pub(super) fn release_dpcs(&self, inner: &Arc<Inner>) {
        let state = self.state();
        let wanted = state.dpcs.iter().filter(|(_, thread)| thread.wanted);
        let wanted: Vec<_> = wanted.map(|(processor, _)| *processor).collect();
        drop(state);
        for processor in wanted {
            self.request_dpcs(inner, processor, false);
        }
    }

    /// Has done what `processor` is asked for, as long as no thread is that processor.
    pub(super) fn stand_in(&self, inner: &Arc<Inner>, processor: usize) {
        let mut state = self.state();
        let thread = state.stand_ins.entry(processor).or_default();
        if thread.running {
            thread.wanted = true;
        } else {
            thread.running = true;
            start(state, inner, Task::StandIn(processor));
        }
    }

    pub(super) fn queue_work(&self, inner: &Arc<Inner>, item: PIO_WORKITEM) {
        let mut state = self.state();
        if let Some(held) = &mut state.held {
            held.push(Task::Work(item));
        } else {
            start(state, inner, Task::Work(item));
        }
    }

    pub(super) fn hold_work(&self, inner: &Arc<Inner>, hold: bool) {
        let mut state = self.state();
        if hold {
            state.held.get_or_insert_default();
            return;
        }
        let tasks = state.held.take();
        drop(state);
        for task in tasks.into_iter().flatten() {
            start(self.state(), inner, task);
        }
    }

    /// What a system thread does: one task, and then those that wait for a thread.
    fn live(&self, inner: &Arc<Inner>, processor: usize, mut task: Task, turn: Option<&Turn>) {
        loop {
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                let stands_in = matches!(task, Task::StandIn(_));
                let _bound = (!stands_in).then(|| bind(inner, processor, role(task)));
                self.run(inner, task);
                // What was asked of this processor last is done before the thread is gone.
                if let Some(current) = try_current() {
                    current.poll();
                }
            }));
            if let (Err(panic), Some(turn)) = (&outcome, turn) {
                turn.note_panic(&**panic);
            }
            let mut state = self.state();
            if let Err(panic) = outcome {
                state.panic.get_or_insert(panic);
                self.broken.store(true, Ordering::Release);
            }
            let Some(next) = state.waiting.pop_front() else {
                state.free.push(processor);
                state.running -= 1;
                return;
            };
            task = next;
        }
    }

    fn run(&self, inner: &Arc<Inner>, task: Task) {
        match task {
            Task::StandIn(processor) => {
                let again = |state: &mut State| more(state.stand_ins.get_mut(&processor));
                self.repeat(again, || {
                    if let Some(_bound) = stand_in(inner, processor) {
                        current().deliver();
                    }
                });
            }
            Task::Work(item) => inner.executive().run_work_item(item),
            Task::Passive(vector) => {
                let again = |state: &mut State| more(state.passive.get_mut(&vector));
                self.repeat(again, || {
                    current().serve(vector);
                });
            }
            Task::Dpcs(processor) => {
                let again = |state: &mut State| {
                    let thread = state.dpcs.get_mut(&processor);
                    if !inner.shared().holds_dpcs() {
                        return more(thread);
                    }
                    // What is wanted stays so until it is let go, or flushed.
                    if let Some(thread) = thread {
                        thread.running = false;
                    }
                    false
                };
                if let Some(thread) = self.state().dpcs.get_mut(&processor) {
                    thread.wanted = false;
                }
                self.repeat(again, || inner.executive().retire_threaded_dpcs(processor));
            }
        }
    }

    /// Does it as long as there is more; also after it panicked, and then the panic goes on.
    fn repeat(&self, again: impl Fn(&mut State) -> bool, act: impl Fn()) {
        let mut outcome = Ok(());
        loop {
            let done = catch_unwind(AssertUnwindSafe(&act));
            outcome = outcome.and(done);
            if !again(&mut self.state()) {
                break;
            }
        }
        if let Err(panic) = outcome {
            std::panic::resume_unwind(panic);
        }
    }
}

/// Starts a thread for `task`, or leaves it to the next that is through with its own.
fn start(mut state: MutexGuard<'_, State>, inner: &Arc<Inner>, task: Task) {
    let Some(processor) = state.free.pop() else {
        state.waiting.push_back(task);
        return;
    };
    state.running += 1;
    drop(state);
    let place = inner.place(role(task));
    let inner = Arc::clone(inner);
    let thread = thread::Builder::new().name("a system thread".into());
    let thread = thread.spawn(move || {
        let turn = place.map(Place::begin);
        inner.shared().threads.live(&inner, processor, task, turn.as_ref());
    });
    drop(thread.expect("the host has no more threads"));
}

/// Takes the wish for more, and if there is none, says that nobody is at it any more.
fn more(repeated: Option<&mut Repeated>) -> bool {
    repeated.is_some_and(|repeated| {
        let wanted = std::mem::take(&mut repeated.wanted);
        repeated.running = wanted;
        wanted
    })
}

const fn role(task: Task) -> Role {
    match task {
        Task::Work(_) => Role::Worker,
        Task::Passive(vector) => Role::Passive(vector),
        Task::Dpcs(processor) => Role::Dpcs(processor),
        Task::StandIn(processor) => Role::Idle(processor),
    }
}
