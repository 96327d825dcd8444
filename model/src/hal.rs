//! What the executive stands on: processors, IRQL, and the interrupt controller.
//!
//! There are two implementations: the host's, where processors are threads
//! (the `host` module, with the `std` feature), and the test bed's, on bare metal.

use crate::report::Report;

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

    /// The number of the processor that runs this.
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

    /// `KeFlushQueuedDpcs` waits for the DPCs of `processor`: a HAL that holds DPCs back on purpose
    /// may do so no longer.
    fn flush_dispatch(&self, processor: usize) {
        self.request_dispatch(processor);
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
    },
    /// A deferred routine returned.
    DpcLeft {
        /// The address of its KDPC.
        dpc: usize,
    },
}
