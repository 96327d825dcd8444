//! A device, what is connected to it, and what an interrupt does.

use wdm_interrupt::ConnectionKind;

use crate::sequence::driver::Counts;
use crate::sequence::operation::{Half, Kind, Operation, Request};

#[derive(Clone, Debug)]
pub(super) struct Device {
    pub(super) kind: Kind,
    pub(super) is_started: bool,
    pub(super) is_gone: bool,
    /// A bit for each interrupt that has a reason.
    pub(super) status: u32,
    pub(super) foreign: Option<Foreign>,
    pub(super) connection: Option<Connection>,
}

/// The other driver's connection to the line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Foreign {
    pub(super) is_first: bool,
    pub(super) is_pending: bool,
}

#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is of another matter")]
pub(crate) struct Connection {
    pub(crate) kind: ConnectionKind,
    pub(super) request: Request,
    pub(super) half: Half,
    /// The interrupts whose ISR is the handler.
    pub(super) wired: Vec<usize>,
    pub(super) handlers: usize,
    pub(super) is_active: bool,
    pub(super) is_raw: bool,
    pub(crate) counts: Counts,
    pub(super) dpc_is_queued: bool,
    pub(super) work_is_queued: bool,
}

impl Device {
    pub(super) fn wired(&self, index: usize) -> Option<&Connection> {
        self.connection.as_ref().filter(|connection| connection.wired.contains(&index))
    }

    /// The ISRs on a vector are called, in the order in which they were connected, until one claims
    /// the level.
    pub(super) fn interrupt(&mut self, index: usize) -> bool {
        let foreign_is_first = self.foreign.is_some_and(|foreign| foreign.is_first);
        foreign_is_first && self.interrupt_foreign()
            || self.interrupt_ours(index)
            || self.interrupt_foreign()
    }

    fn interrupt_foreign(&mut self) -> bool {
        self.foreign.as_mut().is_some_and(|foreign| std::mem::take(&mut foreign.is_pending))
    }

    fn interrupt_ours(&mut self, index: usize) -> bool {
        let Some(connection) = &mut self.connection else { return false };
        if !connection.wired.contains(&index) || !connection.is_active {
            return false;
        }
        connection.counts.calls += 1;
        // Who serves lines looks at all that his device has; who knows which it is, at that.
        let line_based = !self.kind.has_messages()
            && !matches!(
                connection.request,
                Request::FullySpecified(_) | Request::SeveralFullySpecified
            );
        let about = if line_based { u32::MAX } else { 1 << index };
        if self.is_gone || self.status & about == 0 {
            return false;
        }
        self.status &= !about;
        connection.counts.claimed += 1;
        connection.queue();
        true
    }

    pub(super) fn pend(&mut self, index: usize) {
        self.status |= 1 << index.min(self.kind.assigned() - 1);
    }
}

impl Connection {
    /// What the deferred half has still to take.
    pub(crate) const fn pending(&self) -> u32 {
        self.counts.claimed - self.counts.taken
    }

    pub(super) const fn take_all(&mut self) {
        self.counts.taken = self.counts.claimed;
    }

    const fn queue(&mut self) {
        match self.half {
            Half::None => {}
            Half::WorkItem if self.request.is_passive() => self.work_is_queued = true,
            _ => self.dpc_is_queued = true,
        }
    }

    /// `disable`, unless it was called when the interrupt was reported inactive.
    pub(super) fn disable(&mut self) {
        if self.is_active {
            self.counts.disables += few(self.handlers);
        }
    }

    pub(super) fn enable(&mut self) {
        self.counts.enables += few(self.handlers);
    }

    /// What an operation does to nothing but the connection.
    pub(super) fn effect(&mut self, operation: Operation) {
        match operation {
            Operation::Defer(_) => {
                self.counts.claimed += few(self.handlers);
                self.queue();
            }
            Operation::IntoRaw(_) => self.is_raw = true,
            Operation::FromRaw(_) => self.is_raw = false,
            Operation::ReportInactive(_) => {
                self.disable();
                self.is_active = false;
            }
            Operation::ReportActive(_) if !self.is_active => {
                self.is_active = true;
                self.enable();
            }
            _ => {}
        }
    }
}

fn few(count: usize) -> u32 {
    u32::try_from(count).expect("there are few")
}
