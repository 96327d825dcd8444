//! The machine of a test: what it has, and what happens to it.

use std::ptr;
use std::rc::Rc;

use loom::thread::JoinHandle;

use crate::dpc::Dpcs;
use crate::event::Events;
pub use crate::interrupt::Delivery;
use crate::interrupt::Interrupts;
use crate::nt::{self, DEVICE_OBJECT};
use crate::pool::Pool;
use crate::work::WorkItems;
use crate::{KERNEL, Kernel, kernel, thread};

/// What interrupts the device has, and how connecting goes.
#[derive(Clone, Copy, Debug)]
pub struct Wiring {
    /// How many messages; when there are none, there are lines.
    pub messages: u32,
    /// How many lines.
    pub lines: u32,
    /// The IRQL of all of them.
    pub irql: u8,
    /// Whether connecting fails.
    pub failure: Failure,
}

/// How connecting fails.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Failure {
    /// It does not.
    None,
    /// When everything has been connected, and ISRs may have run.
    Late,
}

impl Wiring {
    /// A line.
    pub const LINE: Self = Self { messages: 0, lines: 1, irql: 5, failure: Failure::None };
    /// A passive-level line.
    pub const PASSIVE: Self = Self { irql: thread::PASSIVE, ..Self::LINE };

    /// That many messages.
    #[must_use]
    pub const fn messages(messages: u32) -> Self {
        Self { messages, ..Self::LINE }
    }

    /// That many lines, which are connected one by one: by their vectors, which count from 0.
    #[must_use]
    pub const fn lines(lines: u32) -> Self {
        Self { lines, ..Self::LINE }
    }

    /// The resource list with its lines, raw or translated.
    #[must_use]
    pub fn resources(self) -> Vec<u8> {
        const ONE: u16 = 1;
        let count = self.lines.to_ne_bytes();
        let level = u32::from(self.irql).to_ne_bytes();
        // One full descriptor of an internal bus, version and revision 1.
        let head = [1_u32.to_ne_bytes(), [0; 4], [0; 4]].concat();
        let versions = [ONE.to_ne_bytes(), ONE.to_ne_bytes()].concat();
        let lines = (0..self.lines).flat_map(|vector: u32| {
            let share = nt::_CM_SHARE_DISPOSITION::CmResourceShareShared.to_le_bytes()[0];
            let kind = nt::CmResourceTypeInterrupt.to_le_bytes()[0];
            let flags = nt::CM_RESOURCE_INTERRUPT_LEVEL_SENSITIVE.to_le_bytes();
            let first = [kind, share, flags[0], flags[1]];
            let affinity = 1_u64.to_ne_bytes();
            [&first[..], &level, &vector.to_ne_bytes(), &affinity].concat()
        });
        head.into_iter().chain(versions).chain(count).chain(lines).collect()
    }

    /// The same, but connecting fails late.
    #[must_use]
    pub const fn failing(self) -> Self {
        Self { failure: Failure::Late, ..self }
    }

    pub(crate) fn vectors(self) -> usize {
        self.messages.max(self.lines) as usize
    }
}

/// A machine that runs, for one execution.
#[derive(Debug)]
pub struct Machine {
    processors: Vec<JoinHandle<()>>,
}

impl Machine {
    /// Starts one.
    #[must_use]
    pub fn start(wiring: Wiring) -> Self {
        let kernel = Kernel {
            wiring,
            interrupts: Interrupts::new(wiring),
            dpcs: Dpcs::new(),
            work: WorkItems::new(),
            events: Events::default(),
            pool: Pool::default(),
        };
        KERNEL.set(Some(Rc::new(kernel)));
        Self { processors: Vec::new() }
    }

    /// Adds a processor that runs DPCs. Without one, only `KeFlushQueuedDpcs` does.
    #[must_use]
    pub fn with_dpc_processor(mut self) -> Self {
        kernel().dpcs.add_processor();
        self.processors.push(loom::thread::spawn(|| kernel().dpcs.work()));
        self
    }

    /// Adds a system worker thread, which runs work items.
    #[must_use]
    pub fn with_worker(mut self) -> Self {
        self.processors.push(loom::thread::spawn(|| kernel().work.work(device())));
        self
    }

    /// Switches it off. Nothing may be left behind.
    pub fn stop(self) {
        let kernel = kernel();
        kernel.dpcs.halt();
        kernel.work.halt();
        for processor in self.processors {
            processor.join().expect("no panic goes on");
        }
        kernel.interrupts.assert_empty();
        kernel.dpcs.assert_empty();
        kernel.work.assert_empty();
        kernel.pool.assert_empty();
        drop(kernel);
        KERNEL.set(None);
    }
}

/// The device object, of which nobody asks anything.
#[must_use]
pub const fn device() -> *mut DEVICE_OBJECT {
    ptr::dangling_mut()
}

/// A processor takes an interrupt on `vector`: the ISR there is called.
#[expect(clippy::must_use_candidate, reason = "an interrupt is often sent for what it does")]
pub fn interrupt(vector: usize) -> Delivery {
    kernel().interrupts.deliver(vector)
}

/// Another thread of the system's, at `PASSIVE_LEVEL`.
pub fn spawn<R: 'static>(work: impl FnOnce() -> R + 'static) -> JoinHandle<R> {
    loom::thread::spawn(work)
}

/// `KeFlushQueuedDpcs`, for tests: all DPCs that have been queued have run.
pub fn flush() {
    kernel().dpcs.flush();
}
