//! What the executive stands on: processors, IRQL, and the interrupt controller.
//!
//! There are two implementations: the host's, where processors are threads
//! (the `host` module, with the `std` feature), and the test bed's, on bare metal.

use core::fmt;

use crate::{
    nt::{PDEVICE_OBJECT, PIO_WORKITEM},
    report::Report,
};

/// What a HAL gives the executive.
///
/// The executive calls it from any processor at any IRQL, and never while it holds a lock of its
/// own, save for [`processor`](Self::processor), [`pause`](Self::pause) and the two that keep
/// interrupts off.
///
/// The executive allocates from the global allocator at up to `DISPATCH_LEVEL`, some of it with
/// interrupts off, and never on the way from an interrupt to a service routine and back. So an
/// allocator that takes a lock must be one that a DPC may come upon: interrupts off, or
/// `DISPATCH_LEVEL`, while its lock is held.
pub trait Hal: Sync {
    /// How many processors there are; 64 at most.
    fn processors(&self) -> usize;

    /// How many processors there are with those that drivers do not know of. A system thread that
    /// runs while other threads run in the processors' names has one of these, numbered from
    /// [`processors`](Self::processors) on.
    fn contexts(&self) -> usize {
        self.processors()
    }

    /// The number of the processor that runs this, one of the [`contexts`](Self::contexts).
    fn processor(&self) -> usize;

    /// The IRQL of the processor that runs this.
    fn irql(&self) -> u8;

    /// Sets this processor's IRQL. Lowering it delivers what became deliverable, DPCs included.
    fn set_irql(&self, irql: u8);

    /// Keeps interrupts off this processor, for the executive's own short critical sections.
    fn interrupts_off(&self) -> InterruptState;

    /// Undoes the [`interrupts_off`](Self::interrupts_off) that gave `state`.
    fn interrupts_restore(&self, state: InterruptState);

    /// Asks `processor` for a `DISPATCH_LEVEL` interrupt, in which the HAL calls
    /// [`Executive::retire_dpcs`](crate::executive::Executive::retire_dpcs) on that processor.
    fn request_dispatch(&self, processor: usize);

    /// As [`request_dispatch`](Self::request_dispatch), for a DPC of low importance: there is no
    /// hurry. It runs with the next DPC that there is more hurry for, or when it is flushed.
    fn request_dispatch_sometime(&self, processor: usize) {
        self.request_dispatch(processor);
    }

    /// `KeFlushQueuedDpcs` waits for the DPCs of `processor`: a HAL that holds DPCs back on purpose
    /// may do so no longer.
    fn flush_dispatch(&self, processor: usize) {
        self.request_dispatch(processor);
    }

    /// Whether threaded DPCs have threads. Otherwise they run at `DISPATCH_LEVEL`, as on a system
    /// where they are turned off.
    fn has_dpc_threads(&self) -> bool {
        false
    }

    /// Asks the DPC thread of `processor` to call
    /// [`Executive::retire_threaded_dpcs`](crate::executive::Executive::retire_threaded_dpcs) at
    /// `PASSIVE_LEVEL`. Called only if there [are such threads](Self::has_dpc_threads), at any IRQL.
    fn request_dpc_thread(&self, processor: usize) {
        let _ = processor;
    }

    /// `KeFlushQueuedDpcs` waits for the threaded DPCs of `processor`, as with
    /// [`flush_dispatch`](Self::flush_dispatch).
    fn flush_dpc_thread(&self, processor: usize) {
        self.request_dpc_thread(processor);
    }

    /// One turn of a spin loop of a driver's. Interrupts that the IRQL allows may come meanwhile.
    fn relax(&self);

    /// One turn of a spin loop of the executive's own, with interrupts off: nothing may come.
    fn pause(&self) {
        core::hint::spin_loop();
    }

    /// Routes an interrupt source to its vector and unmasks it: its first object is connected.
    fn unmask(&self, vector: u32, source: Source);

    /// Masks an interrupt source: its last object is disconnected.
    fn mask(&self, vector: u32, source: Source);

    /// Called in `IoConnectInterruptEx` when the service routine can be reached already, and before
    /// anything was stored or returned: the moment for an adversary's interrupt.
    fn connected(&self, vectors: &[u32]) {
        let _ = vectors;
    }

    /// Called in `IoDisconnectInterruptEx` when it was found to be legal, and before anything is
    /// taken away: the other moment for an adversary's interrupt.
    fn disconnecting(&self, vectors: &[u32]) {
        let _ = vectors;
    }

    /// A rule of the contract was broken. It does not return: the host unwinds, the bed stops.
    fn violation(&self, report: &Report<'_>) -> !;

    /// Told what happens, as it happens. Nothing may be called from here.
    fn trace(&self, event: &Event) {
        let _ = event;
    }
}

/// What a HAL that has threads gives the executive besides: waiting, and work items.
pub trait Threads: Hal {
    /// The time, in units of 100 ns since the beginning of 1601. It never goes back.
    fn time(&self) -> u64;

    /// One turn of a thread's wait, at `APC_LEVEL` at most: others run meanwhile.
    fn block(&self);

    /// For so long, in units of 100 ns, a wait without a timeout may last.
    fn patience(&self) -> u64 {
        30 * 10_000_000
    }

    /// The thread that runs this, as a report is to name it.
    fn thread(&self) -> impl fmt::Display;

    /// Has [`Executive::run_work_item`](crate::executive::Executive::run_work_item) called for
    /// `item`, soon, at `PASSIVE_LEVEL` in a thread that may block. Called at up to
    /// `DISPATCH_LEVEL`.
    fn queue_work(&self, item: PIO_WORKITEM);

    /// References a device object, which then stays; false if it is none.
    fn reference(&self, device: PDEVICE_OBJECT) -> bool;

    /// Undoes a [`reference`](Self::reference).
    fn dereference(&self, device: PDEVICE_OBJECT);
}

/// What [`Hal::interrupts_off`] found, for [`Hal::interrupts_restore`]. Only the HAL knows what
/// the number means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterruptState(pub usize);

/// Where interrupts of a vector come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A pin of an interrupt controller.
    Line {
        /// The pin, as a global system interrupt.
        gsi: u32,
        /// Edge-triggered; otherwise level-triggered.
        latched: bool,
    },
    /// A message.
    Message {
        /// Where the device writes.
        address: u64,
        /// What it writes there.
        data: u32,
    },
}

/// What happened, for [`Hal::trace`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A service routine can be reached.
    Connected {
        /// Its vector.
        vector: u32,
        /// Its IRQL.
        irql: u8,
        /// Its message number, for a message.
        message: Option<u32>,
    },
    /// A service routine can be reached no more.
    Disconnected {
        /// Its vector.
        vector: u32,
    },
    /// A service routine is about to be called.
    IsrEntered {
        /// Its vector.
        vector: u32,
        /// Its message number, for a message.
        message: Option<u32>,
        /// The IRQL it is called at.
        irql: u8,
    },
    /// A service routine returned.
    IsrLeft {
        /// Its vector.
        vector: u32,
        /// What it returned.
        claimed: bool,
    },
    /// `KeSynchronizeExecution` is about to call its routine.
    Synchronize {
        /// The vector of the interrupt object.
        vector: u32,
        /// The IRQL the routine is called at.
        irql: u8,
    },
    /// A DPC was queued.
    DpcQueued {
        /// The address of its KDPC.
        dpc: usize,
        /// The processor that is to run it.
        processor: usize,
    },
    /// A DPC was found to be queued already.
    DpcCoalesced {
        /// The address of its KDPC.
        dpc: usize,
    },
    /// A deferred routine is about to be called.
    DpcEntered {
        /// The address of its KDPC.
        dpc: usize,
        /// The processor in whose queue it was.
        processor: usize,
    },
    /// A deferred routine returned.
    DpcLeft {
        /// The address of its KDPC.
        dpc: usize,
    },
}
