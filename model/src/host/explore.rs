//! Trying a test under many schedules.

mod failure;

use std::{
    boxed::Box,
    env,
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    string::{String, ToString},
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::Duration,
    vec::Vec,
};

pub use self::failure::Failure;
use super::{
    Machine,
    chooser::Strategy,
    schedule::{Mark, Schedule, Stuck, message_of},
};
use crate::trace::Record;

/// The seed to run instead of those that a test names.
const ONE_SEED: &str = "WDM_INTERRUPT_SEED";
/// How many seeds to run instead of as many as a test names.
const SO_MANY_SEEDS: &str = "WDM_INTERRUPT_SEEDS";
/// After so long without a step, the thread that has the baton will not give it back.
const PATIENCE: Duration = Duration::from_mins(1);

/// Runs a test again and again, each time with a machine of its own whose processors interleave
/// as a seed says.
///
/// Of all threads of such a machine (processors, system threads, and what runs on processors that
/// no thread is) exactly one runs at a time. Another may take over at each *scheduling point*:
///
/// - every kernel call, as it begins and as it returns;
/// - every change of the IRQL, and every turn of a wait or of a spin loop of the kernel's;
/// - before each routine that the kernel calls, and when a device interrupts;
/// - [`point`](super::point), and every access to a fake device's [`Registers`](super::Registers).
///
/// What was raised or queued for a processor is let in there too. The same seed is always the same
/// schedule, whatever the computer does meanwhile. Time goes on by a microsecond a step, and when
/// everyone waits, up to when the first wait times out: no test ever sleeps.
///
/// Half of the seeds (the odd ones) draw a priority for each thread and let the highest one run,
/// apart from a few places, also drawn, where it falls behind all others; the other half draws
/// anew at each point. The first finds what needs a thread to be late by much, the second what
/// needs many small steps of several.
///
/// A run fails if the test panics, or a thread of its machine does: a broken rule is a panic. It
/// also fails if nobody can go on, and if it takes [too many steps](Self::steps); then the report
/// says who waits where. The message names the seed, and the variable that
/// [replays](#a-seed-that-fails) it.
///
/// # Example
///
/// A counter that is guarded on one side only: some seeds lose a count. With a lock on both sides,
/// `run` would let the test pass for all of them.
///
/// ```
/// use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
/// use wdm_interrupt_model::host::{self, Explore};
///
/// fn count(counter: &AtomicU32) {
///     let seen = counter.load(Relaxed);
///     // Where an interrupt may come, or another processor.
///     host::point();
///     counter.store(seen + 1, Relaxed);
/// }
///
/// let failure = Explore::seeds(0..100).processors(2).find(|machine| {
///     let counter = AtomicU32::new(0);
///     machine.scope(|threads| {
///         threads.spawn(1, || count(&counter));
///         count(&counter);
///     });
///     assert_eq!(counter.into_inner(), 2, "a count was lost");
/// });
/// let failure = failure.expect_err("a seed finds it");
/// assert!(failure.to_string().contains("a count was lost"));
/// assert!(failure.to_string().contains(&format!("WDM_INTERRUPT_SEED={}", failure.seed())));
/// ```
///
/// # A seed that fails
///
/// - `WDM_INTERRUPT_SEED=17 cargo test the_test` runs that seed alone, in each test that explores.
/// - `WDM_INTERRUPT_SEEDS=100000 cargo test` runs more seeds than the tests name, from the same
///   first one on.
///
/// # What a test must not do
///
/// - Depend on anything but the seed: the time, addresses, the order of a `HashMap`. Under
///   [`twice`](Self::twice) that is found out.
/// - Hold a lock of the host's, such as [`std::sync::Mutex`], at a scheduling point: who waits for
///   it there does not hand the baton on. That is reported within two minutes.
/// - Wait for another thread otherwise than by [`Machine::wait_until`], the end of a
///   [scope](Machine::scope), or the kernel.
#[derive(Clone, Debug)]
pub struct Explore {
    seeds: Range<u64>,
    processors: usize,
    strategy: Strategy,
    steps: u64,
    twice: bool,
}

impl Explore {
    /// These seeds, on a machine with two processors.
    #[must_use]
    pub const fn seeds(seeds: Range<u64>) -> Self {
        Self { seeds, processors: 2, strategy: Strategy::Both, steps: 100_000, twice: false }
    }

    /// A machine with this many processors, 64 at most.
    #[must_use]
    pub const fn processors(mut self, processors: usize) -> Self {
        self.processors = processors;
        self
    }

    /// With any seed, who goes on is drawn anew at each scheduling point.
    #[must_use]
    pub const fn uniformly(mut self) -> Self {
        self.strategy = Strategy::Uniform;
        self
    }

    /// With any seed, the thread of the highest priority goes on, and at so many places the one
    /// that runs falls behind all others. Otherwise, odd seeds have two such places.
    ///
    /// This is *probabilistic concurrency testing*. What goes wrong because of `changes + 1` steps
    /// that come in one particular order is found by each seed with a probability of at least
    /// 1/(8·*n*·*k*^`changes`), where *n* is the number of threads and *k* the number of steps,
    /// rounded up to a power of two and at most 4,096; as far as no thread waits in a loop of its
    /// own.
    #[must_use]
    pub const fn by_priorities(mut self, changes: usize) -> Self {
        self.strategy = Strategy::Priorities { changes };
        self
    }

    /// After so many steps a run is given up: 100,000, unless something else is said.
    #[must_use]
    pub const fn steps(mut self, steps: u64) -> Self {
        self.steps = steps;
        self
    }

    /// Runs each seed twice. It fails if the second time is not like the first.
    #[must_use]
    pub const fn twice(mut self) -> Self {
        self.twice = true;
        self
    }

    /// Runs `test` with each seed, as processor 0 of a new machine, which must leave nothing behind;
    /// gives what it returned, by seed. The seeds are others if the environment
    /// [says so](#a-seed-that-fails).
    ///
    /// # Panics
    ///
    /// With the first [`Failure`].
    #[track_caller]
    pub fn run<R: Send + 'static>(
        mut self,
        test: impl Fn(&Machine) -> R + Send + Sync + 'static,
    ) -> Vec<R> {
        if let Some(seed) = variable(ONE_SEED) {
            self.seeds = seed..seed + 1;
        } else if let Some(count) = variable(SO_MANY_SEEDS) {
            self.seeds.end = self.seeds.start + count;
        }
        match self.find(test) {
            Ok(results) => results,
            Err(failure) => panic!("{failure}"),
        }
    }

    /// As [`run`](Self::run), for a test that is to find something. The variables of the environment
    /// are not looked at.
    ///
    /// # Errors
    ///
    /// The first seed that fails, and how.
    pub fn find<R: Send + 'static>(
        self,
        test: impl Fn(&Machine) -> R + Send + Sync + 'static,
    ) -> Result<Vec<R>, Box<Failure>> {
        let test = Arc::new(test);
        let mut results = Vec::new();
        for seed in self.seeds.clone() {
            let first = self.run_one(seed, &test)?;
            if self.twice {
                let second = self.run_one(seed, &test)?;
                if let Some(difference) = first.difference(&second) {
                    return Err(Box::new(failure_of(seed, difference, &second, None)));
                }
            }
            results.push(first.result);
        }
        Ok(results)
    }

    fn run_one<R: Send + 'static>(
        &self,
        seed: u64,
        test: &Arc<impl Fn(&Machine) -> R + Send + Sync + 'static>,
    ) -> Result<Run<R>, Box<Failure>> {
        let (stuck, ended) = mpsc::channel();
        let schedule = Schedule::new(seed, self.strategy, self.steps, stuck);
        let machine = Machine::scheduled(self.processors, schedule);
        let test = Arc::clone(test);
        let on_thread = machine.clone();
        let name = thread::current().name().unwrap_or("a test").to_string();
        let thread = thread::Builder::new().name(name).spawn(move || {
            let turn = on_thread.inner().first_place().begin();
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                let entered = on_thread.enter();
                let result = test(&entered);
                entered.leave();
                result
            }));
            if let Err(panic) = &outcome {
                turn.note_panic(&**panic);
            }
            outcome
        });
        let thread = thread.expect("the host has no more threads");
        let stuck = await_end(&machine, &ended);
        let message = if let Some(Stuck { report }) = stuck {
            let panic = schedule_of(&machine).first_panic().and_then(|(_, message)| message);
            match panic {
                Some(panic) => std::format!("{panic}\n\nAnd then {report}"),
                None => report,
            }
        } else {
            match thread.join().unwrap_or_else(|panic| resume_unwind(panic)) {
                Ok(result) => return Ok(Run::of(&machine, result)),
                Err(panic) => message_of(&*panic),
            }
        };
        let began = schedule_of(&machine).first_panic().map(|(mark, _)| mark);
        Err(Box::new(failure_of(seed, message, &Run::of(&machine, ()), began)))
    }
}

/// Waits until the test has ended, or it is known that it will not.
fn await_end(machine: &Machine, ended: &mpsc::Receiver<Stuck>) -> Option<Stuck> {
    let mut steps = 0;
    loop {
        match ended.recv_timeout(PATIENCE) {
            Ok(stuck) => return Some(stuck),
            Err(RecvTimeoutError::Disconnected) => return None,
            Err(RecvTimeoutError::Timeout) => {}
        }
        let now = schedule_of(machine).steps();
        if now == steps {
            let report = std::format!(
                "for {PATIENCE:?} no thread has come to a scheduling point: one waits for a lock \
                 of the host's that another holds at a scheduling point, or it runs for ever"
            );
            return Some(Stuck { report });
        }
        steps = now;
    }
}

/// The schedule of a machine that was made with one.
fn schedule_of(machine: &Machine) -> &Schedule {
    machine.inner().shared().schedule.as_ref().expect("made with a schedule")
}

/// What a run was like.
struct Run<R> {
    result: R,
    steps: u64,
    fingerprint: u64,
    records: Vec<Record>,
}

impl<R> Run<R> {
    fn of(machine: &Machine, result: R) -> Self {
        let schedule = schedule_of(machine);
        let records = failure::numbered(machine.trace().records);
        Self { result, steps: schedule.steps(), fingerprint: schedule.fingerprint(), records }
    }

    /// How another run was different, if it was.
    fn difference(&self, other: &Self) -> Option<String> {
        let different = self.records.iter().zip(&other.records).position(|(one, two)| one != two);
        let same_length = self.records.len() == other.records.len();
        if different.is_none()
            && same_length
            && (self.steps, self.fingerprint) == (other.steps, other.fingerprint)
        {
            return None;
        }
        let place = different.map_or_else(
            || "between its events".to_string(),
            |index| std::format!("from event {} on", index + 1),
        );
        Some(std::format!(
            "the second run of the seed was not like the first, {place}: the test depends on \
             something else, such as the time, an address, or the order of a HashMap"
        ))
    }
}

/// The failure of a run that began to go wrong there, or is not like it was before.
fn failure_of<R>(seed: u64, message: String, run: &Run<R>, began: Option<Mark>) -> Failure {
    let end = Mark { step: run.steps, events: run.records.len() };
    let Mark { step, events } = began.unwrap_or(end).min(end);
    let records = run.records[..events].to_vec();
    // The test harness calls a test's thread by the test's name.
    let test = thread::current().name().filter(|name| *name != "main").map(ToString::to_string);
    Failure { seed, steps: step, message, records, test }
}

/// The number in a variable of the environment.
fn variable(name: &str) -> Option<u64> {
    let value = env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name} is no number: {value}")))
}
