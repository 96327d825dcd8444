//! What was assigned to devices, and what they connected.

use alloc::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    vec::Vec,
};

use super::{
    Executive,
    breach::Breach,
    chain::VECTORS,
    object::{Object, token_parts},
    pool::{Residence, poison_of},
    table::MessageTable,
};
use crate::{
    hal::{Hal, Source},
    nt::{DEVICE_OBJECT, KAFFINITY, ULONG},
    report::{Object as Reported, Rule},
};

/// An interrupt that the PnP manager assigned to a device.
///
/// A vector's low byte is its IRQL times 16 and a number up to 15, as on x64, and device IRQLs are 3
/// to 12. An IRQL of 0 makes an interrupt that is served at `PASSIVE_LEVEL`. From 256 on vectors are
/// messages of devices that have many, and cannot be shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Assigned {
    /// A line.
    Line {
        /// Its vector.
        vector: u32,
        /// Its device IRQL.
        irql: u8,
        /// Edge-triggered; otherwise level-triggered.
        latched: bool,
        /// Whether other devices may have it too.
        shared: bool,
        /// The pin, as a global system interrupt.
        gsi: u32,
        /// The processors it goes to.
        affinity: KAFFINITY,
        /// The processor group that `affinity` is of.
        group: u16,
    },
    /// A message.
    Message {
        /// Its vector.
        vector: u32,
        /// Its device IRQL.
        irql: u8,
        /// Where the device writes.
        address: u64,
        /// What it writes there.
        data: u32,
        /// The processors it goes to.
        affinity: KAFFINITY,
        /// The processor group that `affinity` is of.
        group: u16,
    },
}

impl Assigned {
    /// Its vector.
    #[must_use]
    pub const fn vector(&self) -> u32 {
        let (Self::Line { vector, .. } | Self::Message { vector, .. }) = self;
        *vector
    }

    /// Its device IRQL.
    #[must_use]
    pub const fn irql(&self) -> u8 {
        let (Self::Line { irql, .. } | Self::Message { irql, .. }) = self;
        *irql
    }

    /// The processors it goes to.
    #[must_use]
    pub const fn affinity(&self) -> KAFFINITY {
        let (Self::Line { affinity, .. } | Self::Message { affinity, .. }) = self;
        *affinity
    }

    /// The processor group of its affinity.
    #[must_use]
    pub const fn group(&self) -> u16 {
        let (Self::Line { group, .. } | Self::Message { group, .. }) = self;
        *group
    }

    /// Whether it is a message.
    #[must_use]
    pub const fn is_message(&self) -> bool {
        matches!(self, Self::Message { .. })
    }

    /// Whether it is edge-triggered, as messages are.
    #[must_use]
    pub const fn latched(&self) -> bool {
        match self {
            Self::Line { latched, .. } => *latched,
            Self::Message { .. } => true,
        }
    }

    /// Whether other devices may have it too.
    #[must_use]
    pub const fn shared(&self) -> bool {
        matches!(self, Self::Line { shared: true, .. })
    }

    /// Where it comes from.
    #[must_use]
    pub const fn source(&self) -> Source {
        match *self {
            Self::Line { gsi, latched, .. } => Source::Line { gsi, latched },
            Self::Message { address, data, .. } => Source::Message { address, data },
        }
    }
}

/// A successful `IoConnectInterruptEx`.
pub(super) struct Connection {
    /// As the call returned it.
    pub(super) version: ULONG,
    pub(super) device: usize,
    pub(super) objects: Vec<Arc<Object>>,
    pub(super) table: Option<MessageTable>,
}

impl Connection {
    /// What reports say of it; `context` is what it is known by.
    pub(super) fn report(&self, context: usize) -> Reported {
        match (&self.table, &self.objects[..]) {
            (None, [object, ..]) => object.report(),
            _ => Reported::MessageTable { address: context },
        }
    }
}

/// How many message tables that are no more are remembered. Interrupt objects need not be: their
/// addresses say what they were.
const REMEMBERED: usize = 64;

/// The devices and their connections.
pub(super) struct Registry {
    /// By physical device object. A device that had its resources taken away has none, and stays.
    pub(super) assigned: BTreeMap<usize, Vec<Assigned>>,
    /// By connection context: an interrupt object or a message table.
    pub(super) connections: BTreeMap<usize, Connection>,
    /// Where message tables were.
    past: VecDeque<usize>,
}

impl Registry {
    pub(super) const fn new() -> Self {
        Self { assigned: BTreeMap::new(), connections: BTreeMap::new(), past: VecDeque::new() }
    }

    pub(super) fn remember(&mut self, context: usize, connection: &Connection) {
        if connection.table.is_none() {
            return;
        }
        if self.past.len() == REMEMBERED {
            self.past.pop_front();
        }
        self.past.push_back(context);
    }

    pub(super) fn objects(&self) -> impl Iterator<Item = &Arc<Object>> {
        self.connections.values().flat_map(|connection| &connection.objects)
    }
}

impl<H: Hal> Executive<H> {
    /// The PnP manager gives a device its interrupts, all of them and in the order of its resource
    /// list. A device that has none is made known by an empty list.
    ///
    /// # Panics
    ///
    /// If there is no such vector, or it is not of that IRQL.
    pub fn assign(&self, pdo: *mut DEVICE_OBJECT, interrupts: Vec<Assigned>) {
        for interrupt in &interrupts {
            assert!((interrupt.vector() as usize) < VECTORS, "{interrupt:?}: no such vector");
            assert_eq!(
                interrupt.vector() >> 4 & 0xF,
                u32::from(interrupt.irql()),
                "{interrupt:?}: the vector is not of this IRQL"
            );
        }
        if let Some(highest) = interrupts.iter().map(Assigned::vector).max() {
            self.make_room(highest);
        }
        let before = self.registry.lock(&self.hal).assigned.insert(pdo.addr(), interrupts);
        drop(before);
    }

    /// The PnP manager takes a device's interrupts away: STOP or REMOVE was completed.
    pub fn unassign(&self, pdo: *mut DEVICE_OBJECT) {
        let mut registry = self.registry.lock(&self.hal);
        let connected =
            registry.connections.values().filter(|connection| connection.device == pdo.addr());
        let connected = connected.count();
        let before = registry.assigned.insert(pdo.addr(), Vec::new());
        drop(registry);
        drop(before);
        if connected > 0 {
            self.violate(
                Breach::new(Rule::ResourcesInUse, "the PnP manager")
                    .of(&[Reported::Device { address: pdo.addr() }]),
                format_args!("{connected} connections of device {pdo:p} are still there"),
            );
        }
    }

    /// Reports a value that is passed as an interrupt object, or as a connection context, and is none.
    pub(super) fn refuse_context(&self, value: usize, name: &str, call: &str) -> ! {
        let breach = Breach::new(Rule::InterruptObject, call);
        let live = self.live_object(value);
        let was_table = self.registry.lock(&self.hal).past.contains(&value);
        if value == 0 {
            self.violate(breach, format_args!("{name} is NULL"));
        } else if let Some(object) = live {
            self.violate(
                breach.of(&[object]),
                format_args!("{name} {value:#x} is an interrupt object of a message table"),
            );
        } else if let Some((vector, _)) = token_parts(value) {
            let object = Reported::FreedInterrupt { address: value, vector: vector.into() };
            self.violate(breach.of(&[object]), format_args!("{name} is a {object}"));
        } else if was_table {
            let object = Reported::FreedMessageTable { address: value };
            self.violate(breach.of(&[object]), format_args!("{name} is a {object}"));
        } else if let Some(poison) = poison_of(value) {
            self.violate(breach, format_args!("{name} is {value:#x}: {poison}"));
        } else if let Residence::Freed(extent) = self.residence(value) {
            self.violate(
                breach.of(&[extent.freed()]),
                format_args!("{name} {value:#x} is freed pool"),
            );
        }
        self.violate(
            breach,
            format_args!("{name} {value:#x} is nothing that IoConnectInterruptEx returned"),
        )
    }

    fn live_object(&self, token: usize) -> Option<Reported> {
        self.dispatch.lock(&self.hal).chains.by_token(token).map(|object| object.report())
    }
}
