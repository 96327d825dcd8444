//! The machine of a test: what it has, and what happens to it.

use std::ptr;
use std::rc::Rc;

use loom::thread::JoinHandle;

use crate::dpc::Dpcs;
use crate::event::Events;
pub use crate::interrupt::Delivery;
use crate::interrupt::Interrupts;
use crate::nt::DEVICE_OBJECT;
use crate::pool::Pool;
use crate::work::WorkItems;
use crate::{KERNEL, Kernel, kernel, thread};

/// What interrupts the device has, and how connecting goes.
#[derive(Clone, Copy, Debug)]
pub struct Wiring {
    /// How many messages; when there are none, there is a line.
    pub messages: u32,
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
    pub const LINE: Self = Self { messages: 0, irql: 5, failure: Failure::None };
    /// A passive-level line.
    pub const PASSIVE: Self = Self { irql: thread::PASSIVE, ..Self::LINE };

    /// That many messages.
    #[must_use]
    pub const fn messages(messages: u32) -> Self {
        Self { messages, ..Self::LINE }
    }

    /// The same, but connecting fails late.
    #[must_use]
    pub const fn failing(self) -> Self {
        Self { failure: Failure::Late, ..self }
    }

    pub(crate) fn vectors(self) -> usize {
        self.messages.max(1) as usize
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
