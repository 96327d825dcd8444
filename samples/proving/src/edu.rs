//! QEMU's edu device: one interrupt, with a status of 32 bits that a driver can raise.

use wdk_sys::{NTSTATUS, STATUS_NO_SUCH_DEVICE};
use wdm_support::{Registers, Start, Window};

/// Registers, by their offsets.
mod offset {
    pub(super) const IDENTIFICATION: u32 = 0x00;
    pub(super) const LIVENESS: u32 = 0x04;
    pub(super) const STATUS: u32 = 0x24;
    pub(super) const RAISE: u32 = 0x60;
    pub(super) const ACKNOWLEDGE: u32 = 0x64;
    pub(super) const LENGTH: u32 = 0x100;
}

/// The first of the bits that only a driver raises; the three above it are such, too.
pub(crate) const BIT: u32 = 1 << 4;

/// The registers of an edu device.
#[derive(Debug)]
pub(crate) struct Edu(Registers);

/// The same registers, for an interrupt handler or another processor.
#[derive(Debug)]
pub(crate) struct Shared(Window);

impl Edu {
    /// Maps the registers and makes sure that nothing is raised.
    pub(crate) fn map(start: &Start<'_>) -> Result<Self, NTSTATUS> {
        const EDU: u32 = 0xED;
        let registers = start.registers(offset::LENGTH)?;
        if registers.read(offset::IDENTIFICATION) & 0xFF != EDU {
            return Err(STATUS_NO_SUCH_DEVICE);
        }
        registers.write(offset::ACKNOWLEDGE, u32::MAX);
        Ok(Self(registers))
    }

    /// The registers, for others than their owner.
    ///
    /// # Safety
    ///
    /// They are gone before this is dropped.
    pub(crate) const unsafe fn share(&self) -> Shared {
        // SAFETY: as the caller says.
        Shared(unsafe { self.0.share() })
    }

    /// Raises bits of the interrupt status: the device interrupts.
    pub(crate) fn raise(&self, bits: u32) {
        self.0.write(offset::RAISE, bits);
    }

    /// What is raised.
    pub(crate) fn status(&self) -> u32 {
        self.0.read(offset::STATUS)
    }

    /// Takes everything back that is raised.
    pub(crate) fn acknowledge_all(&self) {
        self.0.write(offset::ACKNOWLEDGE, u32::MAX);
    }
}

impl Shared {
    /// What is raised.
    pub(crate) fn status(&self) -> u32 {
        self.0.read(offset::STATUS)
    }

    /// What is raised, taken back; `None` if nothing is, or the device is gone.
    pub(crate) fn take(&self) -> Option<u32> {
        let raised = self.status();
        if raised == 0 || raised == u32::MAX {
            return None;
        }
        self.0.write(offset::ACKNOWLEDGE, raised);
        Some(raised)
    }

    /// Raises bits of the interrupt status.
    pub(crate) fn raise(&self, bits: u32) {
        self.0.write(offset::RAISE, bits);
    }

    /// Tells whoever looks at the device from elsewhere a number: the register has its complement.
    pub(crate) fn tell(&self, number: u32) {
        self.0.write(offset::LIVENESS, number);
    }

    /// Silences the device: what is raised is taken back, and has been when this returns.
    pub(crate) fn silence(&self) {
        self.0.write(offset::ACKNOWLEDGE, u32::MAX);
        let _arrived = self.status();
    }
}
