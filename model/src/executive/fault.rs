//! Faults that a test asks for.

use super::Executive;
use crate::{
    hal::Hal,
    nt::{NTSTATUS, ULONG},
};

/// A call that can be made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Call {
    /// Which then returns NULL.
    ExAllocatePool2,
    /// Which then returns NULL.
    IoAllocateWorkItem,
    /// Which then does what the [`Fault`] says.
    IoConnectInterruptEx,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// It fails with this status at once.
    Status(NTSTATUS),
    /// It fails with this status after interrupts were live, so service routines may have run
    /// and DPCs may be queued ([`Hal::connected`] is called as usual).
    StatusAfterService(NTSTATUS),
    /// It fails with this status at this of its interrupts, by their order in the resource list:
    /// those before it were live. Otherwise as [`StatusAfterService`](Self::StatusAfterService).
    StatusAt {
        /// How many interrupts were live.
        interrupt: usize,
        /// The status.
        status: NTSTATUS,
    },
    /// It succeeds, connects nothing and writes nothing.
    WritesNothing,
    /// It succeeds, connects nothing and stores NULL.
    StoresNull,
    /// It succeeds and returns this Version, which disconnecting must then be given.
    Version(ULONG),
    /// It succeeds with a message table that says to have this many entries. Those for which there
    /// is no message are zero.
    MessageCount(ULONG),
}

impl From<NTSTATUS> for Fault {
    fn from(status: NTSTATUS) -> Self {
        Self::Status(status)
    }
}

/// A fault that waits for its call.
pub(super) struct Injected {
    call: Call,
    remaining: usize,
    fault: Fault,
}

impl<H: Hal> Executive<H> {
    /// Makes a call go wrong, once: the next one if `nth` is 0, the one after it if it is 1.
    pub fn fail(&self, call: Call, nth: usize, fault: impl Into<Fault>) {
        let injected = Injected { call, remaining: nth, fault: fault.into() };
        self.faults.lock(&self.hal).push(injected);
    }

    /// What is to go wrong in this call.
    pub(super) fn fault(&self, call: Call) -> Option<Fault> {
        let mut faults = self.faults.lock(&self.hal);
        let mut due = None;
        faults.retain_mut(|injected| {
            if injected.call != call {
                return true;
            }
            if injected.remaining > 0 {
                injected.remaining -= 1;
                return true;
            }
            // Of two that are due at once the first has its turn, the other the next call.
            if due.is_some() {
                return true;
            }
            due = Some(injected.fault);
            false
        });
        due
    }
}
