//! The kernel's calls that the library makes, written in `loom`'s primitives, so that `loom` can
//! explore every order in which the threads of a test make them.
//!
//! It is no second model of the kernel: it does what the library can tell apart, and nothing else, because each
//! step that two threads can contend for multiplies what is to be explored.
//!
//! # Why it is fair
//!
//! **Processors are threads.** An ISR, a DPC, a work item and the thread that connects and
//! disconnects are each a thread of `loom`'s, and all run at once. An interrupt that is taken by the processor
//! whose thread it interrupts is the special case in which that thread stands still meanwhile, and what
//! the IRQL keeps out is among what the locks keep out. So every order that a real machine can produce is explored,
//! and some that it cannot.
//!
//! **Calls order no more than the contract says.** Each has the locks that it needs to keep its promise, and no
//! common one, because a lock that two calls share makes what came before the one visible after the other,
//! and would hide a mistake in the library's own orderings:
//!
//! | | orders |
//! |---|---|
//! | connecting, and an interrupt | the connect before each ISR that it lets in |
//! | an ISR, `KeSynchronizeExecution` | each holder of an interrupt's lock before the next (I1, S1) |
//! | `IoDisconnectInterruptEx` | each ISR before its return: it waits for those that run |
//! | `KeInsertQueueDpc`, a DPC, `KeFlushQueuedDpcs`, `KeRemoveQueueDpc` | all of these: the queues' lock (D1, D2) |
//! | `IoQueueWorkItem`, the item's routine | the one before the other |
//! | `KeSetEvent`, `KeWaitForSingleObject` | the one before the other, for each event |
//! | the pool | nothing |
//!
//! **What is freed stays.** No address is used twice, and memory keeps its bytes until the execution is over, so
//! that a use after the free is a use of known memory: each call and each atomic is asked whether the
//! memory is still there.
//!
//! What breaks the contract panics, which fails the exploration.

#![expect(
    clippy::missing_panics_doc,
    reason = "whatever breaks the contract panics, and is meant to"
)]

pub mod atomic;
mod dpc;
mod event;
pub mod exploration;
pub mod host;
mod interrupt;
pub mod machine;
mod pool;
mod thread;
mod work;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::OnceLock;

pub use model::nt;

use self::dpc::Dpcs;
use self::event::Events;
use self::interrupt::Interrupts;
use self::machine::Wiring;
use self::pool::Pool;
use self::work::WorkItems;

/// All of a kernel, for one execution.
///
/// What is in a cell of the standard library's is only touched between two steps that `loom` sees,
/// which nobody can come between.
#[derive(Debug)]
struct Kernel {
    wiring: Wiring,
    interrupts: Interrupts,
    dpcs: Dpcs,
    work: WorkItems,
    events: Events,
    pool: Pool,
}

std::thread_local! {
    /// The kernel of the execution that this thread explores: `loom` runs all its threads in one.
    static KERNEL: RefCell<Option<Rc<Kernel>>> = const { RefCell::new(None) };
}

/// The kernel of this execution.
fn kernel() -> Rc<Kernel> {
    KERNEL.with_borrow(Clone::clone).expect("a machine has been started")
}

/// Whether the step of this name is taken out of the library, which the test that takes them out one
/// after the other says in the environment.
///
/// The library itself never asks: only copies of it do, into which that test has written it.
#[must_use]
pub fn takes_out(step: &str) -> bool {
    static STEP: OnceLock<Option<String>> = OnceLock::new();
    STEP.get_or_init(|| std::env::var("LOOM_TAKES_OUT").ok()).as_deref() == Some(step)
}
