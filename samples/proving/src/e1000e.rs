//! QEMU's e1000e: five causes of interrupts, and a message for each.

use wdk_sys::{NTSTATUS, STATUS_NO_SUCH_DEVICE};
use wdm_support::{Registers, Start, Window};

/// Registers, by their offsets. See Intel's datasheet of the 82574, 10.2.4.
mod offset {
    pub(super) const STATUS: u32 = 0x08;
    pub(super) const CAUSE: u32 = 0xC0;
    pub(super) const CAUSE_SET: u32 = 0xC8;
    pub(super) const MASK_SET: u32 = 0xD0;
    pub(super) const MASK_CLEAR: u32 = 0xD8;
    pub(super) const AUTO_CLEAR: u32 = 0xDC;
    pub(super) const VECTORS: u32 = 0xE4;
    pub(super) const LENGTH: u32 = 0x100;
}

/// How many causes there are, and messages.
pub(crate) const CAUSES: u32 = 5;

/// The bit of cause 0 in the registers; the others follow.
const FIRST: u32 = 20;

/// All causes in the registers.
const ALL: u32 = ((1 << CAUSES) - 1) << FIRST;

/// The registers of an e1000e.
#[derive(Debug)]
pub(crate) struct E1000e(Registers);

/// The same registers, for interrupt handlers.
#[derive(Debug)]
pub(crate) struct Shared(Window);

impl E1000e {
    /// Maps the registers and makes sure that the device is quiet.
    pub(crate) fn map(start: &Start<'_>) -> Result<Self, NTSTATUS> {
        let registers = start.registers(offset::LENGTH)?;
        if registers.read(offset::STATUS) == u32::MAX {
            return Err(STATUS_NO_SUCH_DEVICE);
        }
        registers.write(offset::MASK_CLEAR, u32::MAX);
        registers.write(offset::AUTO_CLEAR, 0);
        registers.write(offset::CAUSE, u32::MAX);
        let _arrived = registers.read(offset::STATUS);
        Ok(Self(registers))
    }

    /// The registers, for interrupt handlers.
    ///
    /// # Safety
    ///
    /// They are gone before this is dropped.
    pub(crate) const unsafe fn share(&self) -> Shared {
        // SAFETY: as the caller says.
        Shared(unsafe { self.0.share() })
    }

    /// Raises a cause: its message is sent.
    pub(crate) fn raise(&self, cause: u32) {
        self.0.write(offset::CAUSE_SET, 1 << (FIRST + cause));
    }

    /// Raises every cause at once.
    pub(crate) fn raise_all(&self) {
        self.0.write(offset::CAUSE_SET, ALL);
    }
}

impl Shared {
    /// Raises a cause.
    pub(crate) fn raise(&self, cause: u32) {
        self.0.write(offset::CAUSE_SET, 1 << (FIRST + cause));
    }

    /// Whether a cause is raised, which is then taken back.
    pub(crate) fn take(&self, cause: u32) -> bool {
        let bit = 1 << (FIRST + cause);
        let raised = self.0.read(offset::CAUSE);
        let is_raised = raised != u32::MAX && raised & bit != 0;
        if is_raised {
            self.0.write(offset::CAUSE, bit);
        }
        is_raised
    }

    /// Lets every cause interrupt, by the message of its number.
    pub(crate) fn enable(&self) {
        const VALID: u32 = 1 << 3;
        let vectors = (0..CAUSES).fold(0, |all, cause| all | (cause | VALID) << (4 * cause));
        self.0.write(offset::VECTORS, vectors);
        self.0.write(offset::MASK_SET, ALL);
    }

    /// Keeps every cause from interrupting.
    pub(crate) fn silence(&self) {
        self.0.write(offset::MASK_CLEAR, u32::MAX);
        let _arrived = self.0.read(offset::STATUS);
    }
}
