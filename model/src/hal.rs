//! What the executive stands on: processors, IRQL, and the interrupt controller.
//!
//! There are two implementations: the host's, where processors are threads
//! (the `host` module, with the `std` feature), and the test bed's, on bare metal.

use core::fmt;

use crate::{
    nt::{NTSTATUS, PDEVICE_OBJECT, PIO_WORKITEM},
    report::Report,
};

/// What a HAL gives the executive.
///
/// The executive calls it from any processor at any IRQL, and never while it holds a lock of its
/// own, save for [`processor`](Self::processor), [`pause`](Self::pause), [`trace`](Self::trace) of
/// what was queued, and the two that keep interrupts off.
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

    /// Told what happens, as it happens: on the way to a service routine and back, too, so it is
    /// quick where nobody wants to know. Nothing may be called from here.
    ///
    /// That something was queued is told before it can run, with interrupts off and under a lock of
    /// the executive's. A [`Recorder`](crate::trace::Recorder) keeps events without a lock of its own.
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

    /// As [`block`](Self::block), of a wait that ends at this [time](Self::time), if it has one to
    /// end at.
    fn block_until(&self, end: Option<u64>) {
        let _ = end;
        self.block();
    }

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
///
/// What is entered is left by the same thread, unless a broken rule ends it; in between it may enter
/// other things, and leave them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum Event {
    /// `IoConnectInterruptEx` was called.
    ConnectEntered {
        /// The Version that was asked for.
        version: u32,
    },
    /// `IoConnectInterruptEx` returns.
    ConnectLeft {
        /// The Version that it returns.
        version: u32,
        /// The status that it returns.
        status: NTSTATUS,
    },
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
    /// `IoDisconnectInterruptEx` was called.
    DisconnectEntered {
        /// The Version that it was given.
        version: u32,
    },
    /// `IoDisconnectInterruptEx` returns.
    DisconnectLeft,
    /// `IoReportInterruptActive`: the service routines of a vector are called again.
    ReportedActive {
        /// The vector.
        vector: u32,
    },
    /// `IoReportInterruptInactive`: the service routines of a vector are called no more.
    ReportedInactive {
        /// The vector.
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
    /// `KeSynchronizeExecution` has the interrupt's lock, and is about to call its routine.
    SynchronizeEntered {
        /// The vector of the interrupt object.
        vector: u32,
        /// The IRQL the routine is called at.
        irql: u8,
    },
    /// The routine that `KeSynchronizeExecution` called returned.
    SynchronizeLeft {
        /// The vector of the interrupt object.
        vector: u32,
    },
    /// `KeAcquireInterruptSpinLock` has the interrupt's lock.
    InterruptLockAcquired {
        /// The vector of the interrupt object.
        vector: u32,
        /// The IRQL it is held at.
        irql: u8,
    },
    /// `KeReleaseInterruptSpinLock` gives the interrupt's lock back.
    InterruptLockReleased {
        /// The vector of the interrupt object.
        vector: u32,
    },
    /// A DPC was queued.
    DpcQueued {
        /// The address of its KDPC.
        dpc: usize,
        /// The processor that is to run it.
        processor: usize,
        /// Whether it will run at `PASSIVE_LEVEL`, in a thread.
        threaded: bool,
        /// Tells this time from all other times that a DPC was queued.
        sequence: u64,
    },
    /// A DPC was found to be queued already.
    DpcCoalesced {
        /// The address of its KDPC.
        dpc: usize,
    },
    /// A DPC was taken off its queue by `KeRemoveQueueDpc`, and will not run.
    DpcRemoved {
        /// The address of its KDPC.
        dpc: usize,
    },
    /// A deferred routine is about to be called.
    DpcEntered {
        /// The address of its KDPC.
        dpc: usize,
        /// The processor in whose queue it was.
        processor: usize,
        /// Whether it runs at `PASSIVE_LEVEL`, in a thread.
        threaded: bool,
        /// That of the [`DpcQueued`](Self::DpcQueued) that it was queued by.
        sequence: u64,
    },
    /// A deferred routine returned.
    DpcLeft {
        /// The address of its KDPC.
        dpc: usize,
    },
    /// `KeFlushQueuedDpcs` begins to wait.
    FlushEntered,
    /// `KeFlushQueuedDpcs` returns.
    FlushLeft,
    /// A work item was queued.
    WorkItemQueued {
        /// The work item.
        item: usize,
    },
    /// The routine of a work item is about to be called.
    WorkItemEntered {
        /// The work item.
        item: usize,
    },
    /// The routine of a work item returned.
    WorkItemLeft {
        /// The work item.
        item: usize,
    },
    /// The processor's IRQL is another: recorded after it was raised, and before it is lowered, for
    /// then what waited comes at once. Only the HAL knows of every change, so it tells itself; the
    /// executive does not.
    Irql {
        /// What it was.
        from: u8,
        /// What it is, or is about to be.
        to: u8,
    },
    /// A driver's dispatch routine is about to be called. The executive has no I/O manager, so this
    /// is told by the HAL that has one.
    RequestEntered {
        /// The major function.
        major: u8,
        /// The minor function.
        minor: u8,
    },
    /// A driver's dispatch routine returned.
    RequestLeft {
        /// The status that it returned.
        status: NTSTATUS,
    },
}
