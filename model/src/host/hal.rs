//! The HAL's side of a machine.

use std::{
    collections::BTreeSet,
    fmt,
    string::ToString,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
    vec::Vec,
};

use super::{
    log::Log,
    machine::Inner,
    mutex::Mutex,
    objects::DeviceObjects,
    processor::{Role, bind, current, notify},
    requests::Requests,
    schedule::{Doing, Place, Schedule, this_task},
    threads::{SYSTEM_THREADS, Threads},
    vectors::Vectors,
    violation::Violation,
};
use crate::{
    hal::{self, Event, Hal, InterruptState, Source},
    nt::{PDEVICE_OBJECT, PIO_WORKITEM},
    report::{Object, Report, Rule},
    trace::Record,
};

/// For so long a processor may be waited for.
const PATIENCE: Duration = Duration::from_secs(40);
/// How long a thread that waits lets others run before it looks again.
const TURN: Duration = Duration::from_micros(20);

/// What the threads of a machine share, apart from the executive.
pub(super) struct Shared {
    /// How many processors drivers know of.
    pub(super) known: usize,
    /// All processors: those that drivers know of, and then those of system threads.
    pub(super) processors: Vec<Requests>,
    pub(super) threads: Threads,
    pub(super) objects: DeviceObjects,
    /// Says which thread goes on, in a test that explores. Otherwise all do.
    pub(super) schedule: Option<Schedule>,
    clock: Clock,
    /// For so long a wait without a timeout may last, in units of 100 ns.
    patience: AtomicU64,
    pub(super) adversary: Adversary,
    pub(super) log: Log,
    pub(super) violations: Mutex<Vec<Violation>>,
    /// How many vectors of each IRQL are given to devices.
    pub(super) vectors: Mutex<Vectors>,
    /// The vectors whose line is asserted.
    asserted: Mutex<BTreeSet<u32>>,
}

/// What a machine does that the contract allows and that drivers forget.
#[derive(Debug, Default)]
pub(super) struct Adversary {
    pub(super) hold_dpcs: AtomicBool,
    pub(super) interrupt_during_connect: AtomicBool,
    pub(super) dpc_elsewhere_during_connect: AtomicBool,
    pub(super) interrupt_during_disconnect: AtomicBool,
    pub(super) threaded_dpcs_at_dispatch_level: AtomicBool,
    pub(super) delay_low_importance: AtomicBool,
    pub(super) silence_while_inactive: AtomicBool,
}

impl Shared {
    pub(super) fn new(processors: usize, schedule: Option<Schedule>) -> Self {
        Self {
            known: processors,
            processors: (0..processors + SYSTEM_THREADS).map(|_| Requests::default()).collect(),
            threads: Threads::new(processors),
            objects: DeviceObjects::default(),
            schedule,
            clock: Clock::new(),
            patience: AtomicU64::new(300_000_000),
            adversary: Adversary::default(),
            log: Log::default(),
            violations: Mutex::default(),
            vectors: Mutex::default(),
            asserted: Mutex::default(),
        }
    }

    /// Since the machine was made.
    fn nanoseconds(&self) -> u64 {
        self.schedule.as_ref().map_or_else(|| self.clock.nanoseconds(), Schedule::nanoseconds)
    }

    pub(super) fn assert_line(&self, vector: u32, asserted: bool) {
        let mut lines = self.asserted.lock();
        if asserted {
            lines.insert(vector);
        } else {
            lines.remove(&vector);
        }
    }

    pub(super) fn is_asserted(&self, vector: u32) -> bool {
        self.asserted.lock().contains(&vector)
    }

    pub(super) fn set_patience(&self, patience: Duration) {
        self.patience.store(hundreds_of_nanoseconds(patience), Ordering::Relaxed);
    }

    pub(super) fn holds_dpcs(&self) -> bool {
        self.adversary.hold_dpcs.load(Ordering::Relaxed)
    }

    /// Keeps what happened at this IRQL of a processor.
    pub(super) fn record(&self, processor: usize, irql: u8, event: Event) {
        let number = u32::try_from(processor).unwrap_or(u32::MAX);
        self.log.record(|| {
            let time = self.nanoseconds();
            Record { time, processor: number, context: number, irql, event }
        });
    }
}

/// The HAL of a [`Machine`](super::Machine).
pub struct HostHal {
    pub(super) shared: Arc<Shared>,
}

impl fmt::Debug for HostHal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostHal")
            .field("processors", &self.shared.processors.len())
            .finish_non_exhaustive()
    }
}

impl Hal for HostHal {
    fn processors(&self) -> usize {
        self.shared.known
    }

    fn contexts(&self) -> usize {
        self.shared.processors.len()
    }

    fn processor(&self) -> usize {
        current().processor()
    }

    fn irql(&self) -> u8 {
        current().irql()
    }

    fn set_irql(&self, irql: u8) {
        current().set_irql(irql);
    }

    fn interrupts_off(&self) -> InterruptState {
        // Nothing is preempted here: an interrupt comes where it is let in, and nowhere else.
        InterruptState(0)
    }

    fn interrupts_restore(&self, _state: InterruptState) {}

    fn request_dispatch(&self, processor: usize) {
        self.shared.processors[processor].request_dispatch();
        let current = current();
        if current.processor() == processor {
            current.deliver();
        } else {
            notify(&current.inner, processor);
        }
    }

    fn request_dispatch_sometime(&self, processor: usize) {
        if !self.shared.adversary.delay_low_importance.load(Ordering::Relaxed) {
            self.request_dispatch(processor);
        }
    }

    fn flush_dispatch(&self, processor: usize) {
        current().flush(processor);
    }

    fn has_dpc_threads(&self) -> bool {
        !self.shared.adversary.threaded_dpcs_at_dispatch_level.load(Ordering::Relaxed)
    }

    fn request_dpc_thread(&self, processor: usize) {
        let held_back = self.shared.holds_dpcs();
        self.shared.threads.request_dpcs(&current().inner, processor, held_back);
    }

    fn flush_dpc_thread(&self, processor: usize) {
        self.shared.threads.request_dpcs(&current().inner, processor, false);
    }

    fn relax(&self) {
        let current = current();
        current.poll();
        current.give_way(None, thread::yield_now);
    }

    fn pause(&self) {
        current().give_way(None, thread::yield_now);
    }

    fn unmask(&self, vector: u32, _source: Source) {
        if !self.shared.is_asserted(vector) {
            return;
        }
        let current = current();
        if current.inner.executive().is_passive(vector) {
            self.shared.threads.raise_passive(&current.inner, vector);
        } else {
            self.shared.processors[self.processor()].raise(vector);
        }
    }

    fn mask(&self, _vector: u32, _source: Source) {}

    fn connected(&self, vectors: &[u32]) {
        let current = current();
        if current.is_scheduled() {
            for _ in vectors {
                current.point();
            }
        }
        let adversary = &self.shared.adversary;
        if adversary.dpc_elsewhere_during_connect.load(Ordering::Relaxed) {
            interrupt_elsewhere(&current.inner, vectors);
        } else if adversary.interrupt_during_connect.load(Ordering::Relaxed) {
            interrupt_here(vectors);
        }
    }

    fn disconnecting(&self, vectors: &[u32]) {
        let current = current();
        for vector in vectors {
            let alone = current.inner.executive().connected(*vector) == 1;
            if alone && self.shared.is_asserted(*vector) {
                current.inner.executive().storm(
                    *vector,
                    "IoDisconnectInterruptEx",
                    format_args!("the line of vector {vector:#x} is still asserted"),
                );
            }
        }
        if current.is_scheduled() {
            for _ in vectors {
                current.point();
            }
        }
        if self.shared.adversary.interrupt_during_disconnect.load(Ordering::Relaxed) {
            interrupt_here(vectors);
        }
    }

    fn violation(&self, report: &Report<'_>) -> ! {
        let mut violations = self.shared.violations.lock();
        violations.push(report.into());
        drop(violations);
        if let (Some(schedule), Some(task)) = (&self.shared.schedule, this_task()) {
            schedule.note_message(task, report.to_string());
        }
        if thread::panicking() {
            // The panic below cannot be caught any more, so this says what happened.
            std::eprintln!("{report}");
        }
        panic!("{report}");
    }

    fn trace(&self, event: &Event) {
        self.shared.record(self.processor(), self.irql(), *event);
        // No lock of the executive's is held at these.
        if let Event::IsrEntered { .. }
        | Event::SynchronizeEntered { .. }
        | Event::DpcEntered { .. }
        | Event::WorkItemEntered { .. } = event
        {
            current().give_others_a_turn();
        }
    }
}

impl hal::Threads for HostHal {
    fn time(&self) -> u64 {
        self.shared.schedule.as_ref().map_or_else(|| self.shared.clock.now(), Schedule::time)
    }

    fn block(&self) {
        self.block_until(None);
    }

    fn block_until(&self, end: Option<u64>) {
        let current = current();
        current.poll();
        current.give_way(end, || thread::sleep(TURN));
    }

    fn patience(&self) -> u64 {
        self.shared.patience.load(Ordering::Relaxed)
    }

    fn thread(&self) -> impl fmt::Display {
        current().role
    }

    fn queue_work(&self, item: PIO_WORKITEM) {
        self.shared.threads.queue_work(&current().inner, item);
    }

    fn reference(&self, device: PDEVICE_OBJECT) -> bool {
        self.shared.objects.reference(device)
    }

    fn dereference(&self, device: PDEVICE_OBJECT) {
        self.shared.objects.dereference(device);
    }
}

/// The time since 1601 that never goes back.
#[derive(Debug)]
struct Clock {
    start: Instant,
    /// What it was then, in units of 100 ns.
    time: u64,
}

impl Clock {
    fn new() -> Self {
        // From 1601 to 1970 there were 89 leap days.
        let epoch = Duration::from_hours((369 * 365 + 89) * 24);
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { start: Instant::now(), time: hundreds_of_nanoseconds(since + epoch) }
    }

    fn now(&self) -> u64 {
        self.time + hundreds_of_nanoseconds(self.start.elapsed())
    }

    /// Since the machine was made.
    fn nanoseconds(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// The kernel's unit of time.
fn hundreds_of_nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos() / 100).unwrap_or(u64::MAX)
}

impl HostHal {
    /// Reports what a device does that it must not.
    pub(super) fn blame_device(&self, rule: Rule, vector: u32, detail: fmt::Arguments<'_>) -> ! {
        self.violation(&Report {
            rule,
            bug_check: None,
            call: "a device",
            processor: self.processor(),
            irql: self.irql(),
            objects: &[Object::Vector { vector }],
            detail,
        })
    }
}

/// Serves `vectors`, and waits for those that a thread serves.
fn interrupt_here(vectors: &[u32]) {
    let current = current();
    for vector in vectors {
        current.raise(*vector);
    }
    let threads = &current.shared().threads;
    wait_until("passive interrupts", || !vectors.iter().any(|vector| threads.serves(*vector)));
}

/// Serves `vectors` on another processor, DPCs included, and waits until it is done.
fn interrupt_elsewhere(inner: &Arc<Inner>, vectors: &[u32]) {
    let here = current().processor();
    let shared = inner.shared();
    let is_bound = |processor: &usize| shared.processors[*processor].bound.load(Ordering::Acquire);
    let free = (0..shared.known).rev().find(|it| *it != here && !is_bound(it));
    let Some(processor) = free else {
        panic!("dpc_elsewhere_during_connect needs a processor that no thread is");
    };
    let role = Role::Processor(processor);
    let place = inner.place(role);
    let task = place.as_ref().map(Place::task);
    let outcome = thread::scope(|scope| {
        let elsewhere = scope.spawn(|| {
            let _turn = place.map(Place::begin);
            let _bound = bind(inner, processor, role);
            interrupt_here(vectors);
        });
        while let (Some(schedule), Some(task)) = (&shared.schedule, task)
            && !schedule.is_ended(task)
        {
            current().give_way(None, || ());
        }
        elsewhere.join()
    });
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

/// Waits for `done`, letting in what comes.
pub(super) fn wait_until(what: &'static str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    let current = current();
    while !current.look(&mut done) {
        let _waiting = current.meanwhile(Doing::Waiting(what));
        current.poll();
        current.give_way(None, || {
            assert!(start.elapsed() < PATIENCE, "waited {PATIENCE:?} for {what}");
            thread::yield_now();
        });
    }
}
