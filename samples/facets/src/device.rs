//! The devices: how each is made to interrupt, and asked whether it did.

use wdk_sys::{NTSTATUS, STATUS_NO_SUCH_DEVICE};
use wdm_support::Window;

/// A device, behind registers that are there as long as this is used.
#[derive(Debug)]
pub(crate) struct Device<'a> {
    registers: &'a Window,
    model: Model,
}

/// What device it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Model {
    /// One interrupt, with a status of 32 bits that a driver can raise.
    Edu,
    /// Intel's 82574: five causes of interrupts, each of which can have a message.
    E1000e,
}

/// Registers of edu, by their offsets.
mod edu {
    pub(super) const IDENTIFICATION: u32 = 0x00;
    pub(super) const STATUS: u32 = 0x24;
    pub(super) const RAISE: u32 = 0x60;
    pub(super) const ACKNOWLEDGE: u32 = 0x64;
    /// A bit that only a driver raises.
    pub(super) const BIT: u32 = 1 << 4;
}

/// Registers of e1000e.
mod e1000e {
    pub(super) const STATUS: u32 = 0x08;
    pub(super) const CAUSE: u32 = 0xC0;
    pub(super) const CAUSE_SET: u32 = 0xC8;
    pub(super) const MASK_SET: u32 = 0xD0;
    pub(super) const MASK_CLEAR: u32 = 0xD8;
    pub(super) const VECTORS: u32 = 0xE4;
    /// The causes, and where they begin in these registers.
    pub(super) const CAUSES: u32 = 5;
    pub(super) const FIRST: u32 = 20;
    pub(super) const ALL: u32 = ((1 << CAUSES) - 1) << FIRST;
}

impl Model {
    /// Which one is behind `registers`.
    pub(crate) fn behind(registers: &Window) -> Result<Self, NTSTATUS> {
        /// The low byte; above it are the versions.
        const EDU: u32 = 0xED;
        match registers.read(edu::IDENTIFICATION) {
            u32::MAX => Err(STATUS_NO_SUCH_DEVICE),
            identification if identification & 0xFF == EDU => Ok(Self::Edu),
            _ => Ok(Self::E1000e),
        }
    }
}

impl<'a> Device<'a> {
    /// Bytes of registers.
    pub(crate) const LENGTH: u32 = 0x100;

    /// The device behind `registers`.
    pub(crate) fn behind(registers: &'a Window) -> Result<Self, NTSTATUS> {
        Model::behind(registers).map(|model| Self { registers, model })
    }

    /// The device of that model behind `registers`.
    pub(crate) const fn new(registers: &'a Window, model: Model) -> Self {
        Self { registers, model }
    }

    /// How many interrupts it can raise.
    pub(crate) const fn sources(&self) -> u32 {
        match self.model {
            Model::Edu => 1,
            Model::E1000e => e1000e::CAUSES,
        }
    }

    /// Raises an interrupt.
    pub(crate) fn raise(&self, source: u32) {
        match self.model {
            Model::Edu => self.registers.write(edu::RAISE, edu::BIT),
            Model::E1000e => self.registers.write(e1000e::CAUSE_SET, 1 << (e1000e::FIRST + source)),
        }
    }

    /// Whether it has raised an interrupt, which is acknowledged.
    pub(crate) fn acknowledge(&self, by_message: bool) -> bool {
        let status = match self.model {
            Model::Edu => edu::STATUS,
            Model::E1000e => e1000e::CAUSE,
        };
        let raised = self.registers.read(status);
        // All ones: it is gone.
        if raised == u32::MAX {
            return false;
        }
        match self.model {
            Model::Edu => {
                if raised != 0 {
                    self.registers.write(edu::ACKNOWLEDGE, raised);
                }
                raised != 0
            }
            Model::E1000e => {
                // On a line, reading has acknowledged it.
                if by_message {
                    self.registers.write(e1000e::CAUSE, raised & e1000e::ALL);
                }
                raised & e1000e::ALL != 0
            }
        }
    }

    /// Lets it interrupt, by so many messages or one line.
    pub(crate) fn enable(&self, vectors: u32) {
        match self.model {
            // It interrupts whenever a driver raises something.
            Model::Edu => {}
            Model::E1000e => {
                const VALID: u32 = 1 << 3;
                let allocation = (0..e1000e::CAUSES).fold(0, |allocation, cause| {
                    allocation | ((cause % vectors) | VALID) << (4 * cause)
                });
                self.registers.write(e1000e::VECTORS, allocation);
                self.registers.write(e1000e::MASK_SET, e1000e::ALL);
            }
        }
    }

    /// Silences it.
    pub(crate) fn disable(&self, by_message: bool) {
        if self.model == Model::E1000e {
            self.registers.write(e1000e::MASK_CLEAR, u32::MAX);
        }
        self.acknowledge(by_message);
        // A read makes the writes arrive.
        let _status = self.registers.read(e1000e::STATUS);
    }
}
