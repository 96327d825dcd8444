//! Describing devices.

use std::vec::Vec;

use super::{Device, Machine};
use crate::executive::Assigned;

/// One interrupt that a device is to have.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wish {
    Line {
        irql: u8,
        latched: bool,
        shared: bool,
    },
    SharedWith {
        line: Assigned,
    },
    /// So many messages in one descriptor, each with the next vector.
    Messages {
        irql: u8,
        count: u16,
    },
}

/// A device that is being described; see [`Machine::device`].
#[derive(Debug)]
pub struct DeviceBuilder {
    pub(super) machine: Machine,
    pub(super) wishes: Vec<Wish>,
    pub(super) assigned_messages: Option<usize>,
    pub(super) group: u16,
}

impl DeviceBuilder {
    pub(super) fn new(machine: &Machine) -> Self {
        Self { machine: machine.clone(), wishes: Vec::new(), assigned_messages: None, group: 0 }
    }

    /// A level-triggered line of its own.
    #[must_use]
    pub fn line(self) -> Self {
        self.line_at(9, false, false)
    }

    /// A level-triggered line that other devices may share.
    #[must_use]
    pub fn shareable_line(self) -> Self {
        self.line_at(9, false, true)
    }

    /// An edge-triggered line of its own.
    #[must_use]
    pub fn latched_line(self) -> Self {
        self.line_at(9, true, false)
    }

    /// A line that is served at `PASSIVE_LEVEL`, as those of GPIO controllers on slow buses are.
    #[must_use]
    pub fn passive_line(self) -> Self {
        self.line_at(0, false, false)
    }

    /// A line of this device IRQL and kind.
    #[must_use]
    pub fn line_at(mut self, irql: u8, latched: bool, shared: bool) -> Self {
        self.wishes.push(Wish::Line { irql, latched, shared });
        self
    }

    /// The first line of another device, which must be one that can be shared.
    ///
    /// # Panics
    ///
    /// If the other device has no line that can be shared.
    #[must_use]
    pub fn line_shared_with(mut self, other: &Device) -> Self {
        let line = other.interrupts().into_iter().find(Assigned::shared);
        let line = line.expect("the other device has no line that can be shared");
        self.wishes.push(Wish::SharedWith { line });
        self
    }

    /// Messages as MSI-X has them: a descriptor each. Their IRQLs differ.
    #[must_use]
    pub fn messages(mut self, count: usize) -> Self {
        let irqls = [6, 11, 4, 8].into_iter().cycle();
        let messages = irqls.take(count).map(|irql| Wish::Messages { irql, count: 1 });
        self.wishes.extend(messages);
        self
    }

    /// Messages as MSI-X has them, of these IRQLs.
    #[must_use]
    pub fn messages_at(mut self, irqls: &[u8]) -> Self {
        let messages = irqls.iter().map(|&irql| Wish::Messages { irql, count: 1 });
        self.wishes.extend(messages);
        self
    }

    /// Messages as MSI has them: one descriptor for up to 16, with successive vectors.
    #[must_use]
    pub fn msi(mut self, count: u16) -> Self {
        self.wishes.push(Wish::Messages { irql: 7, count });
        self
    }

    /// Has the kernel connect another number of messages than the resource lists promise.
    #[must_use]
    pub const fn assigned_messages(mut self, count: usize) -> Self {
        self.assigned_messages = Some(count);
        self
    }

    /// The processor group of its interrupts.
    #[must_use]
    pub const fn group(mut self, group: u16) -> Self {
        self.group = group;
        self
    }

    /// Whether it has more messages, in a descriptor each, than a few vectors of one IRQL hold.
    pub(super) fn has_many_messages(&self) -> bool {
        let single = |wish: &&Wish| matches!(wish, Wish::Messages { count: 1, .. });
        let promised = self.wishes.iter().filter(single).count();
        promised.max(self.assigned_messages.unwrap_or(0)) > 16
    }

    /// The device, started: its interrupts are assigned. Without any wish it has none.
    ///
    /// # Panics
    ///
    /// If an IRQL is none of 3 to 12 (or 0, for a passive line), or vectors are used up.
    #[must_use]
    pub fn build(self) -> Device {
        Device::new(self)
    }
}
