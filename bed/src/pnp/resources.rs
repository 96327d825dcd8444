//! Resource lists, raw and translated, as START brings them.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use wdm_interrupt_model::executive::Assigned;
use wdm_interrupt_model::nt::{
    CM_PARTIAL_RESOURCE_DESCRIPTOR, CM_RESOURCE_INTERRUPT_LATCHED,
    CM_RESOURCE_INTERRUPT_LEVEL_SENSITIVE, CM_RESOURCE_INTERRUPT_MESSAGE, CM_RESOURCE_LIST,
    CM_RESOURCE_MEMORY_PREFETCHABLE, CmResourceTypeInterrupt, CmResourceTypeMemory,
};

use super::node::Node;
use super::routes;
use crate::pci::Memory;

/// What kind of interrupt a device gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Message,
    Line,
    /// A line that is served at `PASSIVE_LEVEL`.
    PassiveLine,
    /// As many messages as asked for, whether the device has them or not: it sends none of them.
    Imagined,
    /// None at all.
    Nothing,
}

/// What a device is given at a START.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Choice {
    pub(crate) kind: Kind,
    /// That of the line, or of the first message.
    pub(crate) irql: u8,
    /// That of the line, or of the first message.
    pub(crate) processor: usize,
    /// At most so many messages; none makes a line of them.
    pub(crate) messages: usize,
}

impl Choice {
    /// As many messages as the device has.
    pub(crate) const ALL: usize = usize::MAX;

    /// Whether it comes to a line.
    pub(crate) const fn is_line(&self) -> bool {
        match self.kind {
            Kind::Line | Kind::PassiveLine => true,
            Kind::Message => self.messages == 0,
            Kind::Imagined | Kind::Nothing => false,
        }
    }
}

/// The resources of one START.
#[derive(Debug, Clone, Default)]
pub(crate) struct Resources {
    pub(crate) memory: Vec<Memory>,
    /// A line, or the messages in their order, or none.
    pub(crate) interrupts: Vec<Interrupt>,
    /// Whether the messages are one block: the raw list then has one descriptor for all.
    block: bool,
}

/// An interrupt as assigned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Interrupt {
    pub(crate) assigned: Assigned,
    pub(crate) processor: usize,
}

impl Interrupt {
    /// Its vector.
    pub(crate) const fn vector(&self) -> u32 {
        self.assigned.vector()
    }
}

impl fmt::Display for Interrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let vector = self.vector();
        let processor = self.processor;
        match self.assigned {
            Assigned::Line { irql, gsi, .. } => write!(
                f,
                "line {gsi} (level, shared), vector {vector:#x}, IRQL {irql}, processor {processor}"
            ),
            Assigned::Message { irql, address, data, .. } => write!(
                f,
                "message ({data:#x} to {address:#x}), vector {vector:#x}, IRQL {irql}, processor {processor}"
            ),
        }
    }
}

impl Resources {
    /// Takes what a device gets. `None` if there is no such interrupt for it.
    pub(crate) fn take(node: &Arc<Node>, choice: Choice) -> Option<Self> {
        let function = node.function();
        let memory = function.memory.clone();
        let interrupts = match choice.kind {
            Kind::Nothing => Vec::new(),
            Kind::Imagined => imagined(choice),
            _ if choice.is_line() => line(node, choice)?,
            _ => messages(node, choice)?,
        };
        let block = function.messages_are_a_block()
            && !matches!(choice.kind, Kind::Imagined)
            && !choice.is_line();
        Some(Self { memory, interrupts, block })
    }

    /// The raw list: what the bus needs.
    pub(crate) fn raw(&self) -> List {
        List::new(self.descriptors(false))
    }

    /// The translated list: what the system needs, and the driver connects with.
    pub(crate) fn translated(&self) -> List {
        List::new(self.descriptors(true))
    }

    fn descriptors(&self, translated: bool) -> Vec<CM_PARTIAL_RESOURCE_DESCRIPTOR> {
        let memory = self.memory.iter().map(memory_descriptor);
        // The vectors of a block are one descriptor in both lists, so that these match one to one.
        let (described, count) =
            if self.block { (1, self.interrupts.len()) } else { (self.interrupts.len(), 1) };
        let interrupts = self.interrupts.iter().take(described);
        memory
            .chain(interrupts.map(|one| interrupt_descriptor(one, count as u16, translated)))
            .collect()
    }
}

fn line(node: &Arc<Node>, choice: Choice) -> Option<Vec<Interrupt>> {
    let gsi = node.function().line()?;
    let irql = if choice.kind == Kind::PassiveLine { 0 } else { choice.irql };
    let taken = routes::take_line(node, gsi, irql, choice.processor)?;
    let assigned = Assigned::Line {
        vector: taken.vector,
        irql: (taken.vector >> 4) as u8,
        latched: false,
        shared: true,
        gsi,
        affinity: 1 << taken.processor,
        group: 0,
    };
    Some(alloc::vec![Interrupt { assigned, processor: taken.processor }])
}

/// The messages that a device gets: as many as it has and may have. By MSI these are a power of two.
fn messages(node: &Arc<Node>, choice: Choice) -> Option<Vec<Interrupt>> {
    let function = node.function();
    let count = function.messages().min(choice.messages);
    if count == 0 {
        return None;
    }
    let taken = if function.messages_are_a_block() {
        routes::take_block(node, choice.irql, choice.processor, 1 << count.ilog2())
    } else {
        routes::take_messages(node, choice.irql, choice.processor, count)
    };
    let interrupts = taken?.into_iter().map(|routes::Taken { vector, processor }| {
        let (address, data) = routes::message(vector, processor);
        let assigned = Assigned::Message {
            vector,
            irql: (vector >> 4) as u8,
            address,
            data,
            affinity: 1 << processor,
            group: 0,
        };
        Interrupt { assigned, processor }
    });
    Some(interrupts.collect())
}

/// Messages that no device sends: beyond the processor's vectors, of the IRQLs of devices in turn.
fn imagined(choice: Choice) -> Vec<Interrupt> {
    let numbers = (1_u32..)
        .flat_map(|block| (0x30..=0xcf).step_by(0x10).map(move |low: u32| block << 8 | low));
    let interrupt = |vector: u32| {
        let (address, data) = routes::message(vector, choice.processor);
        let (irql, affinity) = ((vector >> 4) as u8 & 0xf, 1 << choice.processor);
        let assigned = Assigned::Message { vector, irql, address, data, affinity, group: 0 };
        Interrupt { assigned, processor: choice.processor }
    };
    numbers.take(choice.messages).map(interrupt).collect()
}

/// `CmResourceShareDeviceExclusive` and `CmResourceShareShared`.
const EXCLUSIVE: u8 = 1;
const SHARED: u8 = 3;

fn memory_descriptor(memory: &Memory) -> CM_PARTIAL_RESOURCE_DESCRIPTOR {
    let mut descriptor = descriptor(CmResourceTypeMemory, EXCLUSIVE, 0);
    if memory.prefetchable {
        descriptor.Flags |= CM_RESOURCE_MEMORY_PREFETCHABLE as u16;
    }
    descriptor.u.Memory.Start.QuadPart = memory.start as i64;
    descriptor.u.Memory.Length = memory.length;
    descriptor
}

/// A descriptor without what its type makes of the rest.
fn descriptor(kind: u32, share: u8, flags: u32) -> CM_PARTIAL_RESOURCE_DESCRIPTOR {
    CM_PARTIAL_RESOURCE_DESCRIPTOR {
        Type: kind as u8,
        ShareDisposition: share,
        Flags: flags as u16,
        ..CM_PARTIAL_RESOURCE_DESCRIPTOR::default()
    }
}

/// The descriptor of a line, or of `count` messages whose first is `interrupt`.
fn interrupt_descriptor(
    interrupt: &Interrupt,
    count: u16,
    translated: bool,
) -> CM_PARTIAL_RESOURCE_DESCRIPTOR {
    match interrupt.assigned {
        Assigned::Line { vector, irql, gsi, affinity, .. } => {
            let flags = CM_RESOURCE_INTERRUPT_LEVEL_SENSITIVE;
            let mut descriptor = descriptor(CmResourceTypeInterrupt, SHARED, flags);
            descriptor.u.Interrupt.Level = if translated { u32::from(irql) } else { gsi };
            descriptor.u.Interrupt.Vector = if translated { vector } else { gsi };
            descriptor.u.Interrupt.Affinity = affinity;
            descriptor
        }
        Assigned::Message { vector, irql, affinity, .. } => {
            let flags = CM_RESOURCE_INTERRUPT_LATCHED | CM_RESOURCE_INTERRUPT_MESSAGE;
            let mut descriptor = descriptor(CmResourceTypeInterrupt, EXCLUSIVE, flags);
            let message = &mut descriptor.u;
            if translated {
                message.MessageInterrupt.__bindgen_anon_1.Translated.Level = u32::from(irql);
                message.MessageInterrupt.__bindgen_anon_1.Translated.Vector = vector;
                message.MessageInterrupt.__bindgen_anon_1.Translated.Affinity = affinity;
            } else {
                message.MessageInterrupt.__bindgen_anon_1.Raw.MessageCount = count;
                message.MessageInterrupt.__bindgen_anon_1.Raw.Vector = vector;
                message.MessageInterrupt.__bindgen_anon_1.Raw.Affinity = affinity;
            }
            descriptor
        }
    }
}

/// A resource list as drivers read it: a header, then the descriptors, without a gap.
#[derive(Debug, Clone)]
pub(crate) struct List(Vec<u32>);

/// `PCIBus`, of the interface types.
const PCI_BUS: u32 = 5;
/// Words of a descriptor.
const WORDS: usize = size_of::<CM_PARTIAL_RESOURCE_DESCRIPTOR>() / 4;

impl List {
    fn new(descriptors: Vec<CM_PARTIAL_RESOURCE_DESCRIPTOR>) -> Self {
        // One full descriptor for bus 0 of PCI; version and revision are 1, each half a word.
        let mut words = alloc::vec![1, PCI_BUS, 0, 0x1_0001, descriptors.len() as u32];
        for descriptor in descriptors {
            // SAFETY: a descriptor is packed and has no padding that matters, and is this long.
            words.extend(unsafe {
                core::mem::transmute::<CM_PARTIAL_RESOURCE_DESCRIPTOR, [u32; WORDS]>(descriptor)
            });
        }
        Self(words)
    }

    /// The list as START passes it, for as long as this lives.
    pub(crate) const fn as_ptr(&mut self) -> *mut CM_RESOURCE_LIST {
        self.0.as_mut_ptr().cast()
    }
}
