//! The HAL's side of a machine.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
    vec::Vec,
};

use super::{
    machine::Inner,
    processor::{Requests, bind, current},
};
use crate::{
    hal::{Event, Hal, InterruptState, Source},
    report::{Report, Rule},
};

/// No more events than this are kept.
const EVENTS: usize = 1 << 16;
/// For so long a processor may be waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the threads of a machine share, apart from the executive.
pub(super) struct Shared {
    pub(super) processors: Vec<Requests>,
    /// A bit for each processor that a thread is for good.
    bound: AtomicU64,
    pub(super) adversary: Adversary,
    events: Mutex<Vec<Event>>,
    pub(super) violations: Mutex<Vec<Rule>>,
    /// How many vectors of each IRQL are given to devices.
    pub(super) vectors: Mutex<[u32; 16]>,
    /// The vectors whose line is asserted.
    asserted: [AtomicU64; 4],
}

/// What a machine does that the contract allows and that drivers forget.
#[derive(Debug, Default)]
pub(super) struct Adversary {
    pub(super) hold_dpcs: AtomicBool,
    pub(super) interrupt_during_connect: AtomicBool,
    pub(super) dpc_elsewhere_during_connect: AtomicBool,
    pub(super) interrupt_during_disconnect: AtomicBool,
}

impl Shared {
    pub(super) fn new(processors: usize) -> Self {
        Self {
            processors: (0..processors).map(|_| Requests::default()).collect(),
            bound: AtomicU64::new(0),
            adversary: Adversary::default(),
            events: Mutex::default(),
            violations: Mutex::default(),
            vectors: Mutex::default(),
            asserted: Default::default(),
        }
    }

    pub(super) fn assert_line(&self, vector: u32, asserted: bool) {
        let (word, bit) = (&self.asserted[vector as usize / 64], 1 << (vector % 64));
        if asserted {
            word.fetch_or(bit, Ordering::AcqRel);
        } else {
            word.fetch_and(!bit, Ordering::AcqRel);
        }
    }

    pub(super) fn is_asserted(&self, vector: u32) -> bool {
        self.asserted[vector as usize / 64].load(Ordering::Acquire) & (1 << (vector % 64)) != 0
    }

    pub(super) fn holds_dpcs(&self) -> bool {
        self.adversary.hold_dpcs.load(Ordering::Relaxed)
    }

    pub(super) fn is_bound(&self, processor: usize) -> bool {
        self.bound.load(Ordering::Acquire) & (1 << processor) != 0
    }

    pub(super) fn set_bound(&self, processor: usize, bound: bool) {
        if bound {
            self.bound.fetch_or(1 << processor, Ordering::AcqRel);
        } else {
            self.bound.fetch_and(!(1 << processor), Ordering::AcqRel);
        }
    }

    pub(super) fn events(&self) -> Vec<Event> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).clone()
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
        }
    }

    fn flush_dispatch(&self, processor: usize) {
        current().flush(processor);
    }

    fn relax(&self) {
        current().poll();
        thread::yield_now();
    }

    fn pause(&self) {
        thread::yield_now();
    }

    fn unmask(&self, vector: u32, _source: Source) {
        if self.shared.is_asserted(vector) {
            self.shared.processors[self.processor()].raise(vector);
        }
    }

    fn mask(&self, _vector: u32, _source: Source) {}

    fn connected(&self, vectors: &[u32]) {
        let adversary = &self.shared.adversary;
        if adversary.dpc_elsewhere_during_connect.load(Ordering::Relaxed) {
            interrupt_elsewhere(&current().inner, vectors);
        } else if adversary.interrupt_during_connect.load(Ordering::Relaxed) {
            interrupt_here(vectors);
        }
    }

    fn disconnecting(&self, vectors: &[u32]) {
        let current = current();
        for vector in vectors {
            let alone = current.inner.executive().connected(*vector) == 1;
            if alone && self.shared.is_asserted(*vector) {
                self.storm(
                    "IoDisconnectInterruptEx",
                    format_args!("the line of vector {vector:#x} is still asserted"),
                );
            }
        }
        if self.shared.adversary.interrupt_during_disconnect.load(Ordering::Relaxed) {
            interrupt_here(vectors);
        }
    }

    fn violation(&self, report: &Report<'_>) -> ! {
        let mut violations = self.shared.violations.lock().unwrap_or_else(PoisonError::into_inner);
        violations.push(report.rule);
        drop(violations);
        if thread::panicking() {
            // The panic below cannot be caught any more, so this says what happened.
            std::eprintln!("{report}");
        }
        panic!("{report}");
    }

    fn trace(&self, event: &Event) {
        let mut events = self.shared.events.lock().unwrap_or_else(PoisonError::into_inner);
        if events.len() < EVENTS {
            events.push(*event);
        }
    }
}

impl HostHal {
    pub(super) fn storm(&self, call: &str, detail: fmt::Arguments<'_>) -> ! {
        let (processor, irql) = (self.processor(), self.irql());
        self.violation(&Report { rule: Rule::Storm, call, processor, irql, detail })
    }
}

fn interrupt_here(vectors: &[u32]) {
    let current = current();
    for vector in vectors {
        current.interrupt(*vector);
    }
}

/// Serves `vectors` on another processor, DPCs included, and waits until it is done.
fn interrupt_elsewhere(inner: &Arc<Inner>, vectors: &[u32]) {
    let here = current().processor();
    let shared = inner.shared();
    let free = (0..shared.processors.len())
        .rev()
        .find(|processor| *processor != here && !shared.is_bound(*processor));
    let Some(processor) = free else {
        panic!("dpc_elsewhere_during_connect needs a processor that no thread is");
    };
    let outcome = thread::scope(|scope| {
        let elsewhere = scope.spawn(|| {
            let _bound = bind(inner, processor);
            interrupt_here(vectors);
        });
        elsewhere.join()
    });
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

/// Waits for `done`, letting in what comes.
pub(super) fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < PATIENCE, "waited {PATIENCE:?} for {what}");
        current().poll();
        thread::yield_now();
    }
}
