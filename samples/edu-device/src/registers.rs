//! The device's registers, as QEMU's `docs/specs/edu.rst` has them.

use core::error::Error;
use core::fmt;

/// Interrupt status: a factorial is complete.
pub const FACTORIAL_COMPLETE: u32 = 1 << 0;

/// The registers that the driver uses, each by its offset in bytes. They have 32 bits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Register {
    /// Reads as 0x010000ed.
    Identification = 0x00,
    /// Reads as the complement of what was written.
    Liveness = 0x04,
    /// Written, begins to compute; read, has the result.
    Factorial = 0x08,
    /// Bit 0: computing (read only). Bit 7: interrupts when it has computed.
    Status = 0x20,
    /// The bits that have been raised and not acknowledged.
    InterruptStatus = 0x24,
    /// Raises the bits written.
    InterruptRaise = 0x60,
    /// Takes back the bits written.
    InterruptAcknowledge = 0x64,
}

impl Register {
    /// All registers lie within so many bytes, of a BAR that is much longer.
    pub const LENGTH: u32 = 0x100;

    /// What the identification reads as.
    pub const IDENTIFICATION: u32 = 0x0100_00ED;
    /// The device is computing.
    pub const STATUS_BUSY: u32 = 1 << 0;
    /// The device interrupts when it has computed.
    pub const STATUS_INTERRUPT: u32 = 1 << 7;
}

/// Where the registers are: mapped, in the driver.
///
/// Every register of a device that is gone, or asleep, reads as all ones, and writes go nowhere.
/// Writes arrive in their order; the last may not have arrived until the next read has returned.
pub trait Bus: Send + 'static {
    /// What is in a register. Any IRQL.
    fn read(&self, register: Register) -> u32;

    /// Writes to a register. Any IRQL.
    fn write(&self, register: Register, value: u32);
}

/// The registers. The interrupt handler owns them, so they are there as long as the service routine
/// can run.
#[derive(Debug)]
pub struct Registers<B> {
    bus: B,
}

/// Why a device is not used.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ResetError {
    /// It does not answer as it should.
    NoSuchDevice,
    /// It does not come to rest.
    Busy,
}

impl fmt::Display for ResetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoSuchDevice => "what is there does not answer as the edu device",
            Self::Busy => "the device does not come to rest",
        })
    }
}

impl Error for ResetError {}

impl<B: Bus> Registers<B> {
    /// The registers behind `bus`.
    pub const fn new(bus: B) -> Self {
        Self { bus }
    }

    /// Makes sure that this is the device, and that it is quiet: not computing, and nothing
    /// raised. It may have been left in the middle of something. `pause` waits for so many
    /// milliseconds.
    ///
    /// # Errors
    ///
    /// It is another device, or stays busy.
    pub fn reset(&self, pause: impl Fn(u32)) -> Result<(), ResetError> {
        const PATTERN: u32 = 0x5A5A_A5A5;
        /// Milliseconds between two looks, and looks.
        const PAUSE: u32 = 1;
        const LOOKS: u32 = 20;

        self.bus.write(Register::Liveness, PATTERN);
        if !self.is_present() || self.bus.read(Register::Liveness) != !PATTERN {
            return Err(ResetError::NoSuchDevice);
        }
        self.silence();
        for _ in 0..LOOKS {
            if !self.is_busy() {
                self.acknowledge(self.raised());
                return Ok(());
            }
            pause(PAUSE);
        }
        Err(ResetError::Busy)
    }

    /// Lets the device interrupt when it has computed.
    pub(crate) fn unmask(&self) {
        self.bus.write(Register::Status, Register::STATUS_INTERRUPT);
    }

    /// Keeps the device from interrupting when it has computed.
    pub(crate) fn silence(&self) {
        self.bus.write(Register::Status, 0);
    }

    /// The interrupts that have been raised and not acknowledged.
    pub(crate) fn raised(&self) -> u32 {
        self.bus.read(Register::InterruptStatus)
    }

    /// Acknowledges `interrupts`. The line is released when none is left.
    pub(crate) fn acknowledge(&self, interrupts: u32) {
        self.bus.write(Register::InterruptAcknowledge, interrupts);
    }

    /// Waits until all that has been written has arrived: a read overtakes no write.
    pub(crate) fn flush(&self) {
        let _raised = self.raised();
    }

    /// Raises `interrupts`.
    pub(crate) fn raise(&self, interrupts: u32) {
        self.bus.write(Register::InterruptRaise, interrupts);
    }

    /// Begins to compute the factorial of `number`. A device that is busy ignores it.
    pub(crate) fn compute(&self, number: u32) {
        self.bus.write(Register::Factorial, number);
    }

    /// Whether the device is there and awake.
    pub(crate) fn is_present(&self) -> bool {
        self.bus.read(Register::Identification) == Register::IDENTIFICATION
    }

    /// Whether the device is computing, or gone.
    pub(crate) fn is_busy(&self) -> bool {
        self.bus.read(Register::Status) & Register::STATUS_BUSY != 0
    }

    /// What the device has computed.
    pub(crate) fn factorial(&self) -> u32 {
        self.bus.read(Register::Factorial)
    }
}
