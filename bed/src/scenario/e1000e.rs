//! The e1000e device and its driver, as a program sees them: causes of interrupts that can be raised, and
//! what the driver has counted of the messages that they came by.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;

use e1000e_interface::{CAUSES, COUNTS, Connection, Counts, RAISE, message_of};

use super::edu::{Outcome, require};
use super::status::Status;
use crate::io::interface;
use crate::pnp::Driver;
use crate::pnp::node::Node;
use crate::pnp::requests::File;
use crate::pnp::resources::{Choice, Kind};
use crate::{memory, pci, processor, smp, time};

/// QEMU's e1000e device: an Intel 82574.
const E1000E: (u16, u16) = (0x8086, 0x10d3);

/// Every cause.
pub(crate) const ALL: u32 = (1 << CAUSES) - 1;

/// Registers, as offsets in BAR 0.
mod register {
    pub(super) const CAUSE: usize = 0xc0;
    pub(super) const CAUSE_SET: usize = 0xc8;
    pub(super) const MASK_SET: usize = 0xd0;
    pub(super) const MASK_CLEAR: usize = 0xd8;
    pub(super) const VECTORS: usize = 0xe4;
}

/// Bit of cause 0 in the registers; the others follow.
const FIRST_CAUSE: u32 = 1 << 20;

/// An e1000e device with the driver on it.
#[derive(Debug, Clone)]
pub(crate) struct E1000e {
    pub(crate) node: Arc<Node>,
}

impl E1000e {
    /// The device as QEMU has it.
    pub(crate) fn function() -> Outcome<pci::Function> {
        let mut functions = pci::functions().into_iter();
        let function = functions.find(|function| (function.vendor, function.device) == E1000E);
        function.ok_or_else(|| "QEMU has no e1000e device; add -device e1000e,romfile=".into())
    }

    /// Adds the driver to the device; it is not started.
    pub(crate) fn add(driver: &Driver) -> Outcome<Self> {
        let node = Node::new(Self::function()?);
        node.add(driver).map_err(|status| format!("AddDevice returned {}", Status(status)))?;
        Ok(Self { node })
    }

    /// Adds the driver to the device and starts it with all its messages.
    pub(crate) fn started(driver: &Driver) -> Outcome<Self> {
        let device = Self::add(driver)?;
        device.start(choice(Choice::ALL))?;
        Ok(device)
    }

    /// START, which must succeed.
    pub(crate) fn start(&self, choice: Choice) -> Outcome {
        let status = Status(self.node.start(choice, |_| ()));
        require!(status.0 >= 0, "START with {choice:?} returned {status}");
        let interfaces = interface::enabled(self.node.pdo());
        require!(!interfaces.is_empty(), "the started device has no enabled device interface");
        Ok(())
    }

    /// `QUERY_STOP`, STOP, and START with these resources.
    pub(crate) fn restart(&self, choice: Choice) -> Outcome {
        let status = Status(self.node.query_stop());
        require!(status.0 >= 0, "QUERY_STOP returned {status}");
        self.node.stop();
        self.start(choice)
    }

    /// Opens the device.
    pub(crate) fn open(&self) -> Outcome<Handle> {
        let file = File::open(self.node.top());
        file.map(Handle).map_err(|status| format!("opening the device returned {}", Status(status)))
    }

    /// How many messages it was given at the last START.
    pub(crate) fn messages(&self) -> usize {
        let interrupts = self.node.interrupts();
        interrupts.iter().filter(|one| one.assigned.is_message()).count()
    }

    /// Has the device send each of these messages for the cause of the same number, or assert its line for
    /// it, behind the driver's back.
    pub(crate) fn raise_directly(&self, messages: impl Iterator<Item = u32>) {
        const VALID: u32 = 8;
        let (mut vectors, mut causes) = (0, 0);
        for message in messages {
            vectors |= (message | VALID) << (4 * message);
            causes |= FIRST_CAUSE << message;
        }
        self.write(register::VECTORS, vectors);
        self.write(register::MASK_SET, causes);
        self.write(register::CAUSE_SET, causes);
    }

    /// Silences what [`raise_directly`](Self::raise_directly) let be raised, and takes back what of it is
    /// still raised: the driver would be interrupted by it when it wakes the device, and would not know
    /// it from what is raised then.
    pub(crate) fn silence(&self) {
        self.write(register::MASK_CLEAR, u32::MAX);
        self.write(register::CAUSE, u32::MAX);
    }

    fn write(&self, offset: usize, value: u32) {
        let register: *mut u32 =
            memory::physical(self.node.function().memory[0].start as usize + offset);
        // SAFETY: a register of the device, which decodes; the driver must cope with its interrupts.
        unsafe { register.write_volatile(value) };
    }
}

/// So many messages at most, the first of IRQL 5 and for processor 1.
pub(crate) fn choice(messages: usize) -> Choice {
    Choice { kind: Kind::Message, irql: 5, processor: 1 % processor::count(), messages }
}

/// An open e1000e device.
#[derive(Debug)]
pub(crate) struct Handle(pub(crate) File);

impl Handle {
    /// Raises causes, bit 0 for cause 0; returns the status.
    pub(crate) fn try_raise(&self, causes: u32) -> Status {
        Status(self.0.control(RAISE, &causes.to_ne_bytes(), 0).wait().status)
    }

    /// Raises causes, which must succeed.
    pub(crate) fn raise(&self, causes: u32) -> Outcome {
        let status = self.try_raise(causes);
        require!(status.0 == 0, "RAISE of {causes:#x} returned {status}");
        Ok(())
    }

    /// What the driver has counted.
    pub(crate) fn counts(&self) -> Outcome<Counts> {
        let outcome = self.0.control(COUNTS, &[], Counts::SIZE).wait();
        require!(outcome.status >= 0, "COUNTS returned {}", Status(outcome.status));
        Counts::from_bytes(&outcome.buffer)
            .ok_or_else(|| String::from("COUNTS returned something that is none"))
    }

    /// Waits until what the driver has counted is as it must be.
    pub(crate) fn wait_for(
        &self,
        what: &str,
        condition: impl Fn(&Counts) -> bool,
    ) -> Outcome<Counts> {
        let end = time::now() + time::microseconds(5_000_000);
        loop {
            let counts = self.counts()?;
            if condition(&counts) {
                return Ok(counts);
            }
            require!(time::now() < end, "{what}: not within 5 seconds; {counts:?}");
            smp::relax_passive();
        }
    }

    /// Raises every cause at once, and waits until each has been served by the message, or the line, that
    /// it must come by, and deferred halves have run.
    pub(crate) fn raise_all(&self, messages: usize) -> Outcome<Counts> {
        let before = self.counts()?;
        let connection = match messages {
            0 => Connection::Line,
            count => Connection::Messages(count as u32),
        };
        require!(
            before.connection == connection,
            "it is connected by {:?}, not {connection:?}",
            before.connection
        );
        self.raise(ALL)?;
        let counts = self.wait_for("every cause is served", |counts| {
            (0..CAUSES).all(|cause| {
                let by = message_of(cause, messages.max(1));
                let (now, before) = (&counts.messages[by], &before.messages[by]);
                now.causes >> cause & 1 == 1
                    && now.serviced > before.serviced
                    && now.deferred_runs > before.deferred_runs
            })
        })?;
        for (number, message) in counts.messages.iter().enumerate().skip(messages.max(1)) {
            require!(
                *message == e1000e_interface::MessageCounts::default(),
                "message {number}, which is not there, has {message:?}"
            );
        }
        Ok(counts)
    }
}
