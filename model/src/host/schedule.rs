//! A schedule: of all threads of a machine one runs at a time, and at every point the seed says
//! which.
//!
//! A thread that runs has the baton. At a scheduling point it hands it to the thread that the
//! [`Chooser`] names, possibly itself, and sleeps until it is given back. So nothing happens at the
//! same time, and what happens depends on the seed only.
//!
//! A thread that waits tells so, and is then left out until another has made a step, for without
//! that its condition cannot have changed. If all wait and nobody's time is up, time goes on to when
//! the first one's is; if there is none whose time will ever be up, nobody can run any more.

mod place;
mod report;

use std::{
    string::String,
    sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc::Sender,
    },
    thread::{self, Thread},
    vec::Vec,
};

pub(super) use self::{
    place::{Place, Turn, message_of, this_task},
    report::{Doing, Whereabouts},
};
use super::{
    chooser::{Chooser, Strategy},
    mutex::{Mutex, MutexGuard},
    processor::Role,
};

/// The number of a thread, in the order in which they were started. The test's own is 0.
pub(super) type TaskId = usize;

/// How long a step takes, in units of 100 ns: as long as a driver's few lines may.
const STEP: u64 = 10;
/// When it is as a run begins, in units of 100 ns since the beginning of 1601: some time in 2020.
const BEGINNING: u64 = 132_500_000_000_000_000;
/// So often all who wait look again although nothing has changed that they could see, in case one
/// of them has changed something when it looked.
const ROUNDS: u32 = 2;
/// So many steps the threads have to come to an end after one has panicked.
const AFTERMATH: u64 = 10_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    /// It can go on.
    Ready,
    /// It looked for what it waits for after so many changes, and waits until that time at most.
    Waiting { seen: u64, until: Option<u64> },
    /// It will not come back.
    Ended,
}

struct Task {
    /// The thread, once it is there.
    thread: Option<Thread>,
    status: Status,
    place: Whereabouts,
    /// When it was first seen to unwind, if it does.
    panicked_at: Option<Mark>,
    /// What the panic says, if that is known.
    message: Option<String>,
}

/// A moment of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Mark {
    pub(super) step: u64,
    /// How many events there were.
    pub(super) events: usize,
}

/// Why a run does not go on.
#[derive(Debug)]
pub(super) struct Stuck {
    /// What to tell a person.
    pub(super) report: String,
}

/// The schedule of one run. See the [module](self).
pub(super) struct Schedule {
    /// Who has the baton.
    running: AtomicUsize,
    state: Mutex<State>,
}

struct State {
    tasks: Vec<Task>,
    chooser: Chooser,
    /// Room for those who can go on.
    candidates: Vec<TaskId>,
    steps: u64,
    limit: u64,
    time: u64,
    /// How often something may have changed that others wait for.
    changes: u64,
    /// How often since then all who wait have looked again.
    rounds: u32,
    /// Of all choices so far.
    fingerprint: u64,
    /// The steps and the fingerprint when the test had ended. Threads may still be on their way out.
    over: Option<(u64, u64)>,
    /// Where to tell that nobody can go on.
    stuck: Option<Sender<Stuck>>,
}

impl Schedule {
    /// A schedule whose one thread is the test's own, which has the baton.
    pub(super) fn new(seed: u64, strategy: Strategy, limit: u64, stuck: Sender<Stuck>) -> Self {
        let state = State {
            tasks: Vec::new(),
            chooser: Chooser::new(seed, strategy),
            candidates: Vec::new(),
            steps: 0,
            limit,
            time: BEGINNING,
            changes: 0,
            rounds: 0,
            fingerprint: 0xCBF2_9CE4_8422_2325,
            over: None,
            stuck: Some(stuck),
        };
        let schedule = Self { running: AtomicUsize::new(0), state: Mutex::new(state) };
        schedule.join(Role::Processor(0));
        schedule
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// A thread will be there, which the one that runs is about to start.
    fn join(&self, role: Role) -> TaskId {
        let mut state = self.state();
        let place = Whereabouts::beginning(role);
        let status = Status::Ready;
        state.tasks.push(Task { thread: None, status, place, panicked_at: None, message: None });
        state.chooser.join();
        state.changed();
        state.tasks.len() - 1
    }

    fn begin(&self, task: TaskId) {
        self.state().tasks[task].thread = Some(thread::current());
        self.await_turn(task);
    }

    fn await_turn(&self, task: TaskId) {
        while self.running.load(Ordering::Acquire) != task {
            thread::park();
        }
    }

    /// Another thread may come here, and `task` goes on afterwards.
    ///
    /// Here and in [`wait`](Self::wait), `panicked` is how many events there are, if it unwinds.
    pub(super) fn point(&self, task: TaskId, place: Whereabouts, panicked: Option<usize>) {
        let mut state = self.state();
        state.changed();
        state.note_panic(task, panicked);
        state.tasks[task].status = Status::Ready;
        self.hand_over(state, task, place);
    }

    /// `task` has looked for what it waits for, and it is not there: others go on, and it looks
    /// again, at this time at the latest.
    pub(super) fn wait(
        &self,
        task: TaskId,
        place: Whereabouts,
        panicked: Option<usize>,
        until: Option<u64>,
    ) {
        let mut state = self.state();
        state.note_panic(task, panicked);
        state.tasks[task].status = Status::Waiting { seen: state.changes, until };
        self.hand_over(state, task, place);
    }

    /// What others may wait for has changed.
    pub(super) fn change(&self) {
        self.state().changed();
    }

    fn hand_over(&self, mut state: MutexGuard<'_, State>, task: TaskId, place: Whereabouts) {
        state.tasks[task].place = place;
        let next = match state.next(task) {
            Ok(next) => next,
            Err(report) => {
                let stuck = state.stuck.take();
                drop(state);
                freeze(stuck, report);
            }
        };
        if next == task {
            return;
        }
        self.running.store(next, Ordering::Release);
        let thread = state.tasks[next].thread.clone();
        drop(state);
        // One that has not begun will find that it is its turn.
        if let Some(thread) = thread {
            thread.unpark();
        }
        self.await_turn(task);
    }

    fn end(&self, task: TaskId) {
        let mut state = self.state();
        state.tasks[task].status = Status::Ended;
        state.changed();
        if task == 0 {
            // The test is over. Nobody is told of threads that do not come to an end after it.
            state.stuck = None;
            state.over = Some((state.steps, state.fingerprint));
        }
        if state.tasks.iter().all(|task| task.status == Status::Ended) {
            return;
        }
        let next = state.next(task);
        let stuck = state.stuck.take();
        match next {
            Ok(next) => {
                state.stuck = stuck;
                self.running.store(next, Ordering::Release);
                let thread = state.tasks[next].thread.clone();
                drop(state);
                if let Some(thread) = thread {
                    thread.unpark();
                }
            }
            Err(report) => {
                drop(state);
                tell(stuck, report);
            }
        }
    }

    pub(super) fn is_ended(&self, task: TaskId) -> bool {
        self.state().tasks[task].status == Status::Ended
    }

    /// In units of 100 ns since the beginning of 1601.
    pub(super) fn time(&self) -> u64 {
        self.state().time
    }

    /// In nanoseconds, since the run began.
    pub(super) fn nanoseconds(&self) -> u64 {
        (self.time() - BEGINNING) * 100
    }

    /// One of `0..count`, by the seed.
    pub(super) fn choose(&self, count: usize) -> usize {
        self.state().chooser.below(count)
    }

    /// How many steps there were until the test ended, or have been so far.
    pub(super) fn steps(&self) -> u64 {
        let state = self.state();
        state.over.map_or(state.steps, |(steps, _)| steps)
    }

    /// A number that is another if the schedule was another.
    pub(super) fn fingerprint(&self) -> u64 {
        let state = self.state();
        state.over.map_or(state.fingerprint, |(_, fingerprint)| fingerprint)
    }

    /// `task` is about to panic, or has panicked, and this is what it says.
    pub(super) fn note_message(&self, task: TaskId, message: String) {
        self.state().tasks[task].message.get_or_insert(message);
    }

    /// When the first panic began that nobody has caught since, and what it says, if that is known.
    pub(super) fn first_panic(&self) -> Option<(Mark, Option<String>)> {
        let state = self.state();
        let panics = state.tasks.iter().filter_map(|task| Some((task.panicked_at?, &task.message)));
        panics.min_by_key(|(mark, _)| *mark).map(|(mark, message)| (mark, message.clone()))
    }
}

impl State {
    /// What others may wait for has changed.
    const fn changed(&mut self) {
        self.changes += 1;
        self.rounds = 0;
    }

    /// Whether `task` unwinds, and then how many events there are: when that began, if it is not
    /// known. One that does not unwind any more has been caught.
    fn note_panic(&mut self, task: TaskId, panicked: Option<usize>) {
        let step = self.steps;
        let task = &mut self.tasks[task];
        let now = panicked.map(|events| Mark { step, events });
        task.panicked_at = now.map(|now| task.panicked_at.unwrap_or(now));
        if now.is_none() {
            task.message = None;
        }
    }

    /// Who goes on after `current`; or why nobody does.
    fn next(&mut self, current: TaskId) -> Result<TaskId, String> {
        self.steps += 1;
        self.time += STEP;
        let panics = self.tasks.iter().filter_map(|task| task.panicked_at);
        let end = panics.map(|panic| panic.step + AFTERMATH).chain([self.limit]).min();
        if Some(self.steps) > end {
            return Err(self.report(format_args!(
                "after {} steps the run has not come to an end",
                self.steps - 1
            )));
        }
        loop {
            let (changes, time) = (self.changes, self.time);
            let can_go_on = |task: &Task| match task.status {
                Status::Ready => true,
                Status::Waiting { seen, until } => {
                    seen < changes || until.is_some_and(|until| until <= time)
                }
                Status::Ended => false,
            };
            let tasks = self.tasks.iter().enumerate();
            self.candidates.clear();
            self.candidates.extend(tasks.filter(|(_, task)| can_go_on(task)).map(|(id, _)| id));
            if !self.candidates.is_empty() {
                let next = self.chooser.choose(self.steps, current, &self.candidates);
                // FNV-1a, a thread at a time.
                self.fingerprint = (self.fingerprint ^ next as u64).wrapping_mul(0x100_0000_01B3);
                return Ok(next);
            }
            if self.rounds < ROUNDS {
                self.rounds += 1;
                self.changes += 1;
                continue;
            }
            let earliest = self.tasks.iter().filter_map(|task| match task.status {
                Status::Waiting { until, .. } => until,
                Status::Ready | Status::Ended => None,
            });
            let Some(earliest) = earliest.min() else {
                return Err(self.report(format_args!("nobody can go on")));
            };
            self.time = earliest;
        }
    }
}

/// The end of a run that cannot end otherwise: this thread and all others that have not ended sleep
/// for good, with all that they have.
fn freeze(stuck: Option<Sender<Stuck>>, report: String) -> ! {
    tell(stuck, report);
    loop {
        thread::park();
    }
}

fn tell(stuck: Option<Sender<Stuck>>, report: String) {
    if let Some(stuck) = stuck {
        // Nobody listens any more if the run was given up already.
        drop(stuck.send(Stuck { report }));
    }
}
