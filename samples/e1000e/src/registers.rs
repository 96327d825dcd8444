//! The registers that interrupts are about, in memory BAR 0. See Intel's datasheet of the 82574, 10.2.4.

use wdk_sys::{NTSTATUS, STATUS_NO_SUCH_DEVICE};
use wdm_support::{Start, Window};

/// Offsets.
mod offset {
    /// Device Status: read only.
    pub(super) const STATUS: u32 = 0x08;
    /// Interrupt Cause Read: what is raised. Writing clears the bits written.
    pub(super) const CAUSE: u32 = 0xC0;
    /// Interrupt Cause Set.
    pub(super) const CAUSE_SET: u32 = 0xC8;
    /// Interrupt Mask Set: causes that may interrupt. What is written is added.
    pub(super) const MASK_SET: u32 = 0xD0;
    /// Interrupt Mask Clear: causes that may not.
    pub(super) const MASK_CLEAR: u32 = 0xD8;
    /// Extended Interrupt Auto Clear: causes that their message clears.
    pub(super) const AUTO_CLEAR: u32 = 0xDC;
    /// Interrupt Vector Allocation: which cause is sent as which message.
    pub(super) const VECTORS: u32 = 0xE4;
}

/// The bit of cause 0 in the registers; the others follow.
const FIRST_CAUSE: u32 = 20;

/// All of the registers, which the driver owns.
#[derive(Debug)]
pub(crate) struct Registers(wdm_support::Registers);

impl Registers {
    /// Bytes that are mapped, of a BAR that is much longer.
    const LENGTH: u32 = 0x100;

    pub(crate) fn map(start: &Start<'_>) -> Result<Self, NTSTATUS> {
        start.registers(Self::LENGTH).map(Self)
    }

    /// Makes sure that the device is there, and that it is quiet.
    pub(crate) fn reset(&self) -> Result<(), NTSTATUS> {
        if self.0.read(offset::STATUS) == u32::MAX {
            return Err(STATUS_NO_SUCH_DEVICE);
        }
        self.0.write(offset::MASK_CLEAR, u32::MAX);
        // A cause that its message clears would not be seen by the service routine, and on QEMU's
        // device its mask would be cleared with it.
        self.0.write(offset::AUTO_CLEAR, 0);
        self.0.write(offset::CAUSE, u32::MAX);
        // The mask has arrived when this is read.
        let _raised = self.0.read(offset::CAUSE);
        Ok(())
    }

    /// Raises causes, bit 0 for cause 0.
    pub(crate) fn raise(&self, causes: u32) {
        self.0.write(offset::CAUSE_SET, causes << FIRST_CAUSE);
    }

    /// The registers for the handler of a message.
    ///
    /// # Safety
    ///
    /// It is gone before this is dropped.
    pub(crate) const unsafe fn share(&self) -> Causes {
        // SAFETY: as the caller says.
        Causes(unsafe { self.0.share() })
    }
}

/// What the handler of a message does with the registers: it touches its own causes only, since those of
/// other messages belong to handlers that may be running on other processors. Each write is of bits that
/// are set or cleared, so none undoes another's.
#[derive(Debug)]
pub(crate) struct Causes(Window);

impl Causes {
    /// What is raised, bit 0 for cause 0, or `None` of a device that is gone.
    ///
    /// If the device interrupts by its line, reading clears what is raised.
    pub(crate) fn raised(&self) -> Option<u32> {
        let raised = self.0.read(offset::CAUSE);
        // Some of these bits are reserved and zero.
        (raised != u32::MAX).then_some(raised >> FIRST_CAUSE)
    }

    /// Clears what is raised of `causes`.
    pub(crate) fn acknowledge(&self, causes: u32) {
        self.0.write(offset::CAUSE, causes << FIRST_CAUSE);
    }

    /// Lets `causes` interrupt, with cause `c` sent as message `message_of(c)`.
    pub(crate) fn unmask(&self, causes: u32, message_of: impl Fn(usize) -> usize) {
        /// Bits of a cause in the allocation: its message, and that it has one.
        const WIDTH: usize = 4;
        const VALID: u32 = 1 << 3;
        // The same whichever handler writes it, so all of it can be written.
        let allocation = (0..e1000e_interface::CAUSES).fold(0, |allocation, cause| {
            #[expect(clippy::cast_possible_truncation, reason = "five messages at most")]
            let message = message_of(cause) as u32;
            allocation | (message | VALID) << (WIDTH * cause)
        });
        self.0.write(offset::VECTORS, allocation);
        self.0.write(offset::MASK_SET, causes << FIRST_CAUSE);
    }

    /// Keeps `causes` from interrupting, and clears what is raised of them.
    pub(crate) fn silence(&self, causes: u32) {
        self.0.write(offset::MASK_CLEAR, causes << FIRST_CAUSE);
        self.acknowledge(causes);
        // Reading another register makes the writes arrive; this one would be cleared by it.
        let _status = self.0.read(offset::STATUS);
    }
}
