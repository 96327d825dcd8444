//! Devices that interrupt.

use std::{
    boxed::Box,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    vec::Vec,
};

use super::{
    Machine,
    processor::current,
    resources::{Promised, ResourceList},
};
use crate::{
    executive::Assigned,
    nt::{CM_RESOURCE_LIST, DEVICE_OBJECT},
};

/// What became of an interrupt that a device raised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// A service routine claimed it.
    Claimed,
    /// Service routines ran, and none claimed it.
    Unclaimed,
    /// It waits for the IRQL to go down, or for the processor that it was sent to.
    Pending,
    /// Nothing is connected to its vector.
    NotConnected,
}

/// One interrupt that a device is to have.
#[derive(Clone, Copy, Debug)]
enum Wish {
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
    machine: Machine,
    wishes: Vec<Wish>,
    assigned_messages: Option<usize>,
    group: u16,
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

    /// The device, started: its interrupts are assigned. Without any wish it has none.
    ///
    /// # Panics
    ///
    /// If an IRQL is none of 3 to 12 (or 0, for a passive line), or vectors are used up.
    #[must_use]
    pub fn build(self) -> Device {
        // The size of a DEVICE_OBJECT and all zeroes: what is in it is the I/O manager's business.
        let object = Box::<DEVICE_OBJECT>::new_zeroed();
        let object = Box::into_raw(object).cast::<DEVICE_OBJECT>();
        let resources = Mutex::new(Resources::none());
        let device = Device { description: self, object, resources };
        device.start();
        device
    }
}

/// What a device has at the moment.
struct Resources {
    interrupts: Vec<Assigned>,
    raw: ResourceList,
    translated: ResourceList,
}

impl Resources {
    fn none() -> Self {
        Self {
            interrupts: Vec::new(),
            raw: ResourceList::raw(&[]),
            translated: ResourceList::translated(&[]),
        }
    }
}

/// A device of a [`Machine`], which raises interrupts when a test tells it to.
pub struct Device {
    description: DeviceBuilder,
    object: *mut DEVICE_OBJECT,
    resources: Mutex<Resources>,
}

// SAFETY: `object` is this device's own, and is used as an address only.
unsafe impl Send for Device {}
// SAFETY: as above.
unsafe impl Sync for Device {}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Device").field("interrupts", &self.interrupts()).finish_non_exhaustive()
    }
}

impl Device {
    fn resources(&self) -> MutexGuard<'_, Resources> {
        self.resources.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its physical device object.
    #[must_use]
    pub const fn physical_device_object(&self) -> *mut DEVICE_OBJECT {
        self.object
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
        let interrupts = self.interrupts();
        let message = interrupts.iter().filter(|it| it.is_message()).nth(number);
        Self::raise_vector(message.expect("the device has no such message").vector())
    }

    /// Raises an interrupt, by its place in [`interrupts`](Self::interrupts).
    ///
    /// # Panics
    ///
    /// If it has not so many, or as the service routine does.
    pub fn raise(&self, index: usize) -> Delivery {
        Self::raise_vector(self.interrupts()[index].vector())
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
        let vector = self.interrupts()[index].vector();
        if processor == current.processor() {
            return Self::raise_vector(vector);
        }
        if current.inner.executive().connected(vector) == 0 {
            return Delivery::NotConnected;
        }
        current.shared().processors[processor].raise(vector);
        current.poll();
        Delivery::Pending
    }

    fn raise_vector(vector: u32) -> Delivery {
        let current = current();
        if current.inner.executive().connected(vector) == 0 {
            return Delivery::NotConnected;
        }
        match current.interrupt(vector) {
            Some(true) => Delivery::Claimed,
            Some(false) => Delivery::Unclaimed,
            None => {
                current.shared().processors[current.processor()].raise(vector);
                Delivery::Pending
            }
        }
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
        let affinity = all_processors(builder.machine.inner().shared().processors.len());
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
        *self.resources() = Resources {
            interrupts,
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
        let mut used = shared.vectors.lock().unwrap_or_else(PoisonError::into_inner);
        let next = &mut used[usize::from(irql)];
        // Round the 16 of this IRQL, so that a device that starts again gets others.
        if *next + count > 16 {
            assert!(count <= 16, "an IRQL has 16 vectors, not {count}");
            *next = 0;
        }
        let first = *next;
        *next += count;
        u32::from(irql) * 16 + first
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
        // SAFETY: made by `Box::into_raw` in `build`; a device object has no destructor.
        drop(unsafe { Box::from_raw(self.object.cast::<core::mem::MaybeUninit<DEVICE_OBJECT>>()) });
    }
}
