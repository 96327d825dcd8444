//! The executive: what the kernel's interrupt calls do, and the verifier that watches them.
//!
//! [`Executive`] has a method for each kernel call, in snake case and with the kernel's own types,
//! and a few for the platform it runs on: [`assign`](Executive::assign) is the PnP manager's,
//! [`interrupt`](Executive::interrupt) and [`retire_dpcs`](Executive::retire_dpcs) are the
//! HAL's. Each rule of the kernel's contract that a kernel can see broken is checked, and a breach
//! ends in [`Hal::violation`].
//!
//! Its own locks are spin locks with interrupts off, held for a few lines each and never while a
//! driver's code runs. A service routine can thus call what is legal for it.

mod breach;
mod chain;
mod connect;
mod connection;
mod disconnect;
mod dpc;
mod dpc_queue;
mod event;
mod fault;
mod held;
mod irql;
mod leftovers;
mod legal;
mod lock;
mod locked;
mod object;
mod pool;
mod power;
mod region;
mod request;
mod retire;
mod service;
mod synchronize;
mod table;
mod work;

use alloc::{vec, vec::Vec};
use core::{
    fmt,
    sync::atomic::{AtomicBool, AtomicUsize},
};

use self::{
    breach::Breach, dpc_queue::DpcQueues, held::HeldLocks, locked::Turnstile, work::WorkItems,
};
use self::{chain::Chains, connection::Registry, fault::Faults, locked::Locked, pool::Pool};
pub use self::{
    connection::Assigned,
    fault::{CANNOT_FAIL, Call, FallibleCall, Fault, UnknownCall},
    leftovers::{Leftovers, PoolLeft},
    pool::PoolUse,
};
use crate::{
    hal::Hal,
    nt::{NTSTATUS, ULONG, ULONG_PTR},
    report::Rule,
};

/// The kernel, as far as interrupts go. See the [module](self).
pub struct Executive<H: Hal> {
    hal: H,
    /// What service routines and all that they may call needs. Nothing is allocated under it.
    dispatch: Locked<Dispatch>,
    registry: Locked<Registry>,
    pool: Locked<Pool>,
    faults: Locked<Faults>,
    work: Locked<WorkItems>,
    /// The addresses of the events that threads wait for.
    waits: Locked<Vec<usize>>,
    /// Held while a vector is wired or unwired, so that only the first unmasks and the last masks.
    wiring: Turnstile,
    next_object: AtomicUsize,
    ignores_passive_lock: AtomicBool,
}

struct Dispatch {
    chains: Chains,
    dpcs: DpcQueues,
    held: HeldLocks,
    /// How many critical regions each processor's thread is in.
    regions: Vec<usize>,
}

impl<H: Hal> Executive<H> {
    /// An executive for the processors of `hal`, with nothing assigned and nothing connected.
    ///
    /// # Panics
    ///
    /// If there is no processor, or more than 64.
    #[must_use]
    pub fn new(hal: H) -> Self {
        let processors = hal.processors();
        assert!((1..=64).contains(&processors), "between 1 and 64 processors");
        let contexts = hal.contexts();
        Self {
            hal,
            dispatch: Locked::new(Dispatch {
                chains: Chains::new(),
                dpcs: DpcQueues::new(contexts),
                held: HeldLocks::new(contexts),
                regions: vec![0; contexts],
            }),
            registry: Locked::new(Registry::new()),
            pool: Locked::new(Pool::new()),
            faults: Locked::new(Faults::new()),
            work: Locked::new(WorkItems::new()),
            waits: Locked::new(Vec::new()),
            wiring: Turnstile::new(),
            next_object: AtomicUsize::new(1),
            ignores_passive_lock: AtomicBool::new(false),
        }
    }

    /// The HAL it stands on.
    pub const fn hal(&self) -> &H {
        &self.hal
    }

    /// `KeBugCheckEx`: ends in [`Hal::violation`] as [`Rule::BugCheck`].
    pub fn ke_bug_check_ex(&self, code: ULONG, parameters: [ULONG_PTR; 4]) -> ! {
        let breach = Breach::new(Rule::BugCheck, "KeBugCheckEx").stops(code, parameters);
        self.violate(breach, format_args!("the driver brings the system down with {code:#x}"))
    }
}

impl<H: Hal> fmt::Debug for Executive<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Executive")
            .field("processors", &self.hal.processors())
            .finish_non_exhaustive()
    }
}

/// A kernel call's failure.
type Refused<T> = Result<T, NTSTATUS>;
