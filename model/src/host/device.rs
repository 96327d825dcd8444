//! Devices that interrupt.

use std::{fmt, sync::atomic::Ordering, vec::Vec};

use super::{
    DeviceBuilder,
    builder::Wish,
    mutex::{Mutex, MutexGuard},
    processor::{current, notify},
    resources::{Promised, ResourceList},
};
use crate::{
    executive::Assigned,
    nt::{CM_RESOURCE_LIST, DEVICE_OBJECT},
    report::Rule,
};

/// What became of an interrupt that a device raised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// A service routine claimed it.
    Claimed,
    /// Service routines ran, and none claimed it.
    Unclaimed,
    /// It waits for the IRQL to go down, or for the processor that it was sent to, or a system
    /// thread serves it, at `PASSIVE_LEVEL`: [`settle`](super::Machine::settle) waits for that.
    Pending,
    /// Nothing is connected to its vector.
    NotConnected,
}

/// What a device has at the moment.
struct Resources {
    interrupts: Vec<Assigned>,
    /// The vectors of those that are messages.
    messages: Vec<u32>,
    raw: ResourceList,
    translated: ResourceList,
}

impl Resources {
    fn none() -> Self {
        Self {
            interrupts: Vec::new(),
            messages: Vec::new(),
            raw: ResourceList::raw(&[]),
            translated: ResourceList::translated(&[]),
        }
    }
}

/// A device of a [`Machine`](super::Machine), which raises interrupts when a test tells it to.
pub struct Device {
    description: DeviceBuilder,
    object: *mut DEVICE_OBJECT,
    function: *mut DEVICE_OBJECT,
    resources: Mutex<Resources>,
}

// SAFETY: the device objects are this device's own, and are used as addresses only.
unsafe impl Send for Device {}
// SAFETY: as above.
unsafe impl Sync for Device {}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Device").field("interrupts", &self.interrupts()).finish_non_exhaustive()
    }
}

impl Device {
    pub(super) fn new(description: DeviceBuilder) -> Self {
        let objects = &description.machine.inner().shared().objects;
        let (object, function) = (objects.create(), objects.create());
        let resources = Mutex::new(Resources::none());
        let device = Self { description, object, function, resources };
        device.start();
        device
    }

    fn resources(&self) -> MutexGuard<'_, Resources> {
        self.resources.lock()
    }

    /// Its physical device object.
    #[must_use]
    pub const fn physical_device_object(&self) -> *mut DEVICE_OBJECT {
        self.object
    }

    /// The device object that its driver has attached, for what a driver allocates with it.
    #[must_use]
    pub const fn function_device_object(&self) -> *mut DEVICE_OBJECT {
        self.function
    }

    /// How many references there are to its [function device
    /// object](Self::function_device_object), by work items that are queued or run.
    #[must_use]
    pub fn references(&self) -> usize {
        self.description.machine.inner().shared().objects.references(self.function)
    }

    /// What is assigned to it, in the order of its resource lists.
    #[must_use]
    pub fn interrupts(&self) -> Vec<Assigned> {
        self.resources().interrupts.clone()
    }

    /// Its raw resource list, valid until it is stopped or started again.
    #[must_use]
    pub fn raw_resources(&self) -> *const CM_RESOURCE_LIST {
        self.resources().raw.pointer()
    }

    /// Its translated resource list, valid until it is stopped or started again.
    #[must_use]
    pub fn translated_resources(&self) -> *const CM_RESOURCE_LIST {
        self.resources().translated.pointer()
    }

    /// The bytes of its raw resource list.
    #[must_use]
    pub fn raw_resource_bytes(&self) -> Vec<u8> {
        self.resources().raw.bytes()
    }

    /// The bytes of its translated resource list.
    #[must_use]
    pub fn translated_resource_bytes(&self) -> Vec<u8> {
        self.resources().translated.bytes()
    }

    /// Raises its first line once: it is silent again as soon as it was served.
    ///
    /// # Panics
    ///
    /// If it has none, or as the service routine does.
    pub fn raise_line(&self) -> Delivery {
        Self::raise_vector(self.line_vector())
    }

    fn line_vector(&self) -> u32 {
        let interrupts = self.interrupts();
        let line = interrupts.iter().find(|it| !it.is_message());
        line.expect("the device has no line").vector()
    }

    /// Asserts its first line, which then interrupts until [`deassert_line`](Self::deassert_line).
    /// A service routine that does not see to that makes a storm, and so does who disconnects
    /// meanwhile: both are broken rules. If nothing is connected, the interrupt comes when
    /// something is.
    ///
    /// # Panics
    ///
    /// If it has no line, or as the service routine does.
    pub fn assert_line(&self) -> Delivery {
        let vector = self.line_vector();
        self.description.machine.inner().shared().assert_line(vector, true);
        Self::raise_vector(vector)
    }

    /// Deasserts its first line: what a service routine makes the device do.
    ///
    /// # Panics
    ///
    /// If it has no line.
    pub fn deassert_line(&self) {
        let vector = self.line_vector();
        self.description.machine.inner().shared().assert_line(vector, false);
    }

    /// Raises a message.
    ///
    /// # Panics
    ///
    /// If it has not so many, or as the service routine does.
    pub fn raise_message(&self, number: usize) -> Delivery {
        let vector = self.resources().messages.get(number).copied();
        Self::raise_vector(vector.expect("the device has no such message"))
    }

    /// Raises an interrupt, by its place in [`interrupts`](Self::interrupts).
    ///
    /// # Panics
    ///
    /// If it has not so many, or as the service routine does.
    pub fn raise(&self, index: usize) -> Delivery {
        let vector = self.resources().interrupts[index].vector();
        Self::raise_vector(vector)
    }

    /// Raises an interrupt on another processor, which serves it when it makes its next kernel
    /// call. If no thread is that processor, this one serves it in its name, if it is at
    /// `PASSIVE_LEVEL`, or else when it is again.
    ///
    /// # Panics
    ///
    /// If there is no such interrupt or no such processor, or as the service routine does.
    pub fn raise_on(&self, processor: usize, index: usize) -> Delivery {
        let current = current();
        let vector = self.resources().interrupts[index].vector();
        let executive = current.inner.executive();
        current.give_others_a_turn();
        if processor == current.processor() || executive.is_passive(vector) {
            return Self::raise_vector(vector);
        }
        if executive.connected(vector) == 0 {
            return Delivery::NotConnected;
        }
        require_active(vector);
        current.shared().processors[processor].raise(vector);
        notify(&current.inner, processor);
        current.poll();
        Delivery::Pending
    }

    fn raise_vector(vector: u32) -> Delivery {
        let current = current();
        current.give_others_a_turn();
        if current.inner.executive().connected(vector) == 0 {
            return Delivery::NotConnected;
        }
        require_active(vector);
        match current.raise(vector) {
            Some(true) => Delivery::Claimed,
            Some(false) => Delivery::Unclaimed,
            None => Delivery::Pending,
        }
    }

    /// Whether the driver reports an interrupt active, as it is right after it was connected; by
    /// its place in [`interrupts`](Self::interrupts). None if it is not connected.
    ///
    /// # Panics
    ///
    /// If it has not so many.
    #[must_use]
    pub fn is_active(&self, index: usize) -> Option<bool> {
        let vector = self.resources().interrupts[index].vector();
        self.description.machine.executive().is_active(vector)
    }

    /// Takes its interrupts away, as after STOP or REMOVE. They must be disconnected by then.
    pub fn stop(&self) {
        *self.resources() = Resources::none();
        self.description.machine.executive().unassign(self.object);
    }

    /// Assigns interrupts again, with other vectors, as at the START after a STOP.
    ///
    /// # Panics
    ///
    /// If vectors are used up.
    pub fn start(&self) {
        let builder = &self.description;
        let affinity = all_processors(builder.machine.inner().shared().known);
        let mut promised = Vec::new();
        for wish in &builder.wishes {
            let (first, count) = self.grant(*wish, affinity);
            promised.push(Promised { first, count });
        }
        let mut interrupts: Vec<_> = promised
            .iter()
            .flat_map(|promised| {
                (0..promised.count).map(|offset| successor(promised.first, offset))
            })
            .collect();
        if let Some(wanted) = builder.assigned_messages {
            let messages = interrupts.iter().filter(|it| it.is_message()).count();
            for _ in messages..wanted {
                interrupts.push(self.grant(Wish::Messages { irql: 5, count: 1 }, affinity).0);
            }
            let mut kept = 0;
            interrupts.retain(|it| {
                kept += usize::from(it.is_message());
                !it.is_message() || kept <= wanted
            });
        }
        builder.machine.executive().assign(self.object, interrupts.clone());
        let messages = interrupts.iter().filter(|it| it.is_message()).map(Assigned::vector);
        let messages = messages.collect();
        *self.resources() = Resources {
            interrupts,
            messages,
            raw: ResourceList::raw(&promised),
            translated: ResourceList::translated(&promised),
        };
    }

    fn grant(&self, wish: Wish, affinity: u64) -> (Assigned, u16) {
        let group = self.description.group;
        match wish {
            Wish::SharedWith { line } => (line, 1),
            Wish::Line { irql, latched, shared } => {
                let vector = self.vectors(irql, 1);
                let gsi = vector;
                (Assigned::Line { vector, irql, latched, shared, gsi, affinity, group }, 1)
            }
            Wish::Messages { irql, count } => {
                let vector = self.vectors(irql, u32::from(count));
                let (address, data) = (0xFEE0_0000, vector);
                (Assigned::Message { vector, irql, address, data, affinity, group }, count)
            }
        }
    }

    /// Successive vectors of an IRQL.
    fn vectors(&self, irql: u8, count: u32) -> u32 {
        assert!(irql == 0 || (3..=12).contains(&irql), "IRQL {irql} is no device's");
        let shared = self.description.machine.inner().shared();
        let mut vectors = shared.vectors.lock();
        if self.description.has_many_messages() {
            vectors.one_of_many(irql)
        } else {
            vectors.successive(irql, count)
        }
    }
}

/// Its driver may have said that there would be no interrupt.
fn require_active(vector: u32) {
    let current = current();
    let executive = current.inner.executive();
    let required = current.shared().adversary.silence_while_inactive.load(Ordering::Relaxed);
    if required && executive.is_active(vector) == Some(false) {
        executive.hal().blame_device(
            Rule::InactiveInterrupt,
            vector,
            format_args!("vector {vector:#x} interrupts, and was reported inactive"),
        );
    }
}

const fn all_processors(count: usize) -> u64 {
    u64::MAX >> (64 - count)
}

/// The message `offset` after `first`.
const fn successor(first: Assigned, offset: u16) -> Assigned {
    match first {
        Assigned::Line { .. } => first,
        Assigned::Message { vector, irql, address, data, affinity, group } => Assigned::Message {
            vector: vector + offset as u32,
            irql,
            address,
            data: data + offset as u32,
            affinity,
            group,
        },
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        let objects = &self.description.machine.inner().shared().objects;
        for object in [self.object, self.function] {
            objects.delete(object);
        }
    }
}
