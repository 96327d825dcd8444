//! The ways to connect.

use core::fmt;
use core::sync::atomic::{AtomicUsize, Ordering};

use wdk_sys::{NTSTATUS, STATUS_DEVICE_CONFIGURATION_ERROR};
use wdm_interrupt::{
    ConnectionKind, Dpc, DpcImportance, EachMessage, FullySpecified, InPlace,
    InterruptRegistration, MessageBased, MessageRegistration, PassiveFullySpecified,
    PassiveInterruptRegistration, PassiveLineBased, ProcessorNumber, SharedDpc, ThreadedDpc,
    WorkItem,
};
use wdm_support::{Presence, Registers, Start};

use crate::device::Model;
use crate::isr::{Counts, Half, HasIsr, Isr, Large};

/// A way to connect, chosen by the service of its name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Facet {
    /// All messages, or the line, with a DPC.
    Dpc,
    /// The same, with a threaded DPC.
    Threaded,
    /// The same, with a work item.
    Work,
    /// The same, with a DPC of high importance for the last processor of four.
    Importance,
    /// The same, with a handler that is too large for the stack.
    InPlace,
    /// The same, reported inactive and active.
    Power,
    /// A handler for each message, or the line, with one DPC for all of them.
    Shared,
    /// One interrupt by its vector.
    Vector,
    /// All interrupts by their vectors.
    Several,
    /// A line that is served at `PASSIVE_LEVEL`.
    Passive,
    /// The same by its vector.
    PassiveVector,
}

/// All of them. `cargo xtask test` looks for these rows.
const FACETS: [(&str, Facet); 11] = [
    ("dpc", Facet::Dpc),
    ("threaded", Facet::Threaded),
    ("work", Facet::Work),
    ("importance", Facet::Importance),
    ("inplace", Facet::InPlace),
    ("power", Facet::Power),
    ("shared", Facet::Shared),
    ("vector", Facet::Vector),
    ("several", Facet::Several),
    ("passive", Facet::Passive),
    ("passive_vector", Facet::PassiveVector),
];

/// The one that was chosen, by its place in the table.
static CHOSEN: AtomicUsize = AtomicUsize::new(0);

/// The most vectors that are connected.
const MOST: usize = 8;

impl Facet {
    /// Chooses the one of this name, in UTF-16; `false` if there is none.
    pub(crate) fn choose(name: &[u16]) -> bool {
        let same = |(one, _): &(&str, Self)| one.encode_utf16().eq(name.iter().copied());
        let found = FACETS.iter().position(same);
        if let Some(index) = found {
            CHOSEN.store(index, Ordering::Relaxed);
        }
        found.is_some()
    }

    /// The one that was chosen.
    pub(crate) fn chosen() -> Self {
        FACETS[CHOSEN.load(Ordering::Relaxed)].1
    }

    /// Connects a service routine in this way.
    pub(crate) fn connect(
        self,
        start: &Start<'_>,
        registers: &Registers,
    ) -> Result<Connected, NTSTATUS> {
        let model = Model::behind(registers)?;
        let interrupts = &start.interrupts;
        let first = interrupts.iter().next().ok_or(STATUS_DEVICE_CONFIGURATION_ERROR)?;
        let mut all = [first; MOST];
        let count = interrupts.iter().take(MOST).zip(&mut all).fold(0, |count, (one, place)| {
            *place = one;
            count + 1
        });
        // Of several messages, the first alone is connected by its vector.
        let messages = match self {
            Self::Vector => interrupts.message_count().min(1),
            _ => interrupts.message_count(),
        };
        // SAFETY: the registration that has it is ended before the registers are dropped.
        let isr = Isr::new(unsafe { registers.share() }, model, messages);
        let line_or_messages = || MessageBased::new(start.physical).fall_back_to_line();
        let work = || WorkItem::new(start.function, Half);
        let connected = match self {
            Self::Dpc | Self::Power => {
                line_or_messages().deferred(Dpc::new(Half)).connect(isr).map(Connected::Dpc)
            }
            Self::Importance => {
                let last = ProcessorNumber { group: 0, number: 3 };
                let dpc = Dpc::new(Half).importance(DpcImportance::High).target(last);
                line_or_messages().deferred(dpc).connect(isr).map(Connected::Dpc)
            }
            Self::Vector => FullySpecified::new(start.physical, first)
                .deferred(Dpc::new(Half))
                .connect(isr)
                .map(Connected::Dpc),
            Self::Several => FullySpecified::several(start.physical, &all[..count])
                .deferred(Dpc::new(Half))
                .connect(isr)
                .map(Connected::Dpc),
            Self::Threaded => line_or_messages()
                .deferred(ThreadedDpc::new(Half))
                .connect(isr)
                .map(Connected::Threaded),
            Self::Work => line_or_messages().deferred(work()).connect(isr).map(Connected::Work),
            Self::Passive => PassiveLineBased::new(start.physical)
                .deferred(work())
                .connect(isr)
                .map(Connected::Passive),
            Self::PassiveVector => PassiveFullySpecified::new(start.physical, first)
                .deferred(work())
                .connect(isr)
                .map(Connected::Passive),
            Self::Shared => {
                let request = EachMessage::new(start.physical, messages)
                    .fall_back_to_line()
                    .deferred(SharedDpc::new(Half));
                let connected = request.connect(|_message| {
                    // SAFETY: the registration that has it is ended before the registers are dropped.
                    Isr::new(unsafe { registers.share() }, model, messages)
                });
                return connected.map(Connected::Shared).map_err(|error| {
                    wdk::println!("facets: {error}");
                    error.status()
                });
            }
            Self::InPlace => {
                let make = |place: *mut Large| {
                    // SAFETY: the library's memory for it, zeroed.
                    unsafe { Large::write(place, isr) };
                };
                // SAFETY: a service routine's part and zeroes are a complete value.
                let make = unsafe { InPlace::new(make) };
                let connected = line_or_messages().deferred(Dpc::new(Half)).connect_in_place(make);
                return connected.map(Connected::Large).map_err(|error| {
                    wdk::println!("facets: {error}");
                    error.status()
                });
            }
        };
        connected.map_err(|error| {
            wdk::println!("facets: {error}");
            error.status()
        })
    }
}

impl fmt::Display for Facet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = FACETS.iter().find(|(_, facet)| facet == self);
        f.write_str(name.map_or("", |(name, _)| name))
    }
}

/// A service routine that is connected.
#[derive(Debug)]
pub(crate) enum Connected {
    Dpc(InterruptRegistration<Isr, Dpc<Half>>),
    Threaded(InterruptRegistration<Isr, ThreadedDpc<Half>>),
    Work(InterruptRegistration<Isr, WorkItem<Half>>),
    Large(InterruptRegistration<Large, Dpc<Half>>),
    Passive(PassiveInterruptRegistration<Isr, WorkItem<Half>>),
    Shared(MessageRegistration<Isr, SharedDpc<Half>>),
}

/// The registrations have the same methods, whatever they are of.
macro_rules! each {
    ($connected:expr, $registration:ident => $does:expr) => {
        match $connected {
            Connected::Dpc($registration) => $does,
            Connected::Threaded($registration) => $does,
            Connected::Work($registration) => $does,
            Connected::Large($registration) => $does,
            Connected::Passive($registration) => $does,
            Connected::Shared($registration) => $does,
        }
    };
    ($connected:expr, $registration:ident => $does:expr, shared => $shared:expr) => {
        match $connected {
            Connected::Dpc($registration) => $does,
            Connected::Threaded($registration) => $does,
            Connected::Work($registration) => $does,
            Connected::Large($registration) => $does,
            Connected::Passive($registration) => $does,
            Connected::Shared($registration) => $shared,
        }
    };
}

impl Connected {
    /// What it is connected to.
    pub(crate) fn kind(&self) -> Kind {
        Kind(each!(self, registration => registration.kind()))
    }

    /// What was counted. `PASSIVE_LEVEL`.
    pub(crate) fn counts(&self) -> Counts {
        each!(
            self,
            registration => registration.synchronize(|handler| handler.isr().counts()),
            shared => registration.messages().fold(Counts::default(), |counts, message| {
                counts.with(message.synchronize(|handler| handler.isr().counts()))
            })
        )
    }

    /// Silences the device and reports its interrupts inactive. `PASSIVE_LEVEL`.
    pub(crate) fn report_inactive(&self) {
        each!(self, registration => registration.report_inactive());
    }

    /// Reports the interrupts active and enables the device. `PASSIVE_LEVEL`.
    pub(crate) fn report_active(&self) {
        each!(self, registration => registration.report_active());
    }

    /// Disconnects; how many interrupts were served. `PASSIVE_LEVEL`.
    pub(crate) fn disconnect(self, presence: Presence) -> u64 {
        let gone = presence == Presence::Gone;
        // What is too large for the stack stays where it is.
        if let Self::Large(registration) = self {
            let halves = if gone {
                registration.disconnect_removed_in_place()
            } else {
                registration.disconnect_in_place()
            };
            return halves.map_or(0, |mut halves| halves.handler_mut().isr().counts().claimed);
        }
        each!(
            self,
            registration => {
                let halves =
                    if gone { registration.disconnect_removed() } else { registration.disconnect() };
                halves.map_or(0, |(mut handler, Half)| handler.isr().counts().claimed)
            },
            shared => {
                let halves =
                    if gone { registration.disconnect_removed() } else { registration.disconnect() };
                halves.map_or(0, |halves| {
                    let (Half, handlers) = halves.into_inner();
                    handlers.map(|(mut handler, ())| handler.isr().counts().claimed).sum()
                })
            }
        )
    }
}

/// What a registration is connected to, in words.
#[derive(Debug)]
pub(crate) struct Kind(ConnectionKind);

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ConnectionKind::LineBased => f.write_str("by line"),
            ConnectionKind::FullySpecified { vectors } => write!(f, "by {vectors} vectors"),
            ConnectionKind::MessageBased { messages } => write!(f, "by {messages} messages"),
            _ => f.write_str("in another way"),
        }
    }
}
