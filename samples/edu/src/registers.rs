//! The device's registers, in its memory BAR 0.
//!
//! See [EDU device][page] of QEMU for what they do.
//!
//! [page]: https://www.qemu.org/docs/master/specs/edu.html

use core::ptr::NonNull;
use core::sync::atomic::{Ordering, fence};

use wdk_sys::{
    LARGE_INTEGER, NTSTATUS, PAGE_NOCACHE, PAGE_READWRITE, STATUS_DEVICE_CONFIGURATION_ERROR,
    STATUS_DEVICE_NOT_READY, STATUS_INSUFFICIENT_RESOURCES, STATUS_NO_SUCH_DEVICE,
    ntddk::{MmMapIoSpaceEx, MmUnmapIoSpace},
};

use crate::sync::pause;

/// Interrupt status: a factorial is complete.
pub(crate) const FACTORIAL_COMPLETE: u32 = 1 << 0;

/// The registers that this driver uses, by their offset.
#[derive(Clone, Copy, Debug)]
enum Register {
    /// Reads as 0x010000ed.
    Identification = 0x00,
    /// Reads as the complement of what was written.
    Liveness = 0x04,
    /// Written, begins to compute; read, has the result.
    Factorial = 0x08,
    /// `STATUS_BUSY` (read only), `STATUS_INTERRUPT`.
    Status = 0x20,
    /// The bits that have been raised and not acknowledged.
    InterruptStatus = 0x24,
    /// Raises the bits written.
    InterruptRaise = 0x60,
    /// Takes back the bits written.
    InterruptAcknowledge = 0x64,
}

const STATUS_BUSY: u32 = 1 << 0;
/// The device interrupts when it has computed.
const STATUS_INTERRUPT: u32 = 1 << 7;

/// The registers, mapped; unmapped when dropped.
///
/// The interrupt handler owns them, so they are there as long as the service routine can run.
///
/// Every register of a device that is gone, or asleep, reads as all ones, and writes go nowhere.
///
/// # Invariants
///
/// `base` is a mapping of `LENGTH` bytes made by `MmMapIoSpaceEx`.
#[derive(Debug)]
pub(crate) struct Registers {
    base: NonNull<u32>,
}

// SAFETY: the mapping is in system space, which is the same in every thread.
unsafe impl Send for Registers {}

impl Registers {
    /// Bytes that are mapped: the registers, of a BAR that is much longer.
    const LENGTH: u32 = 0x100;

    /// Maps the registers. IRQL: at most `DISPATCH_LEVEL`.
    ///
    /// # Errors
    ///
    /// `STATUS_DEVICE_CONFIGURATION_ERROR` if the BAR is too short, and
    /// `STATUS_INSUFFICIENT_RESOURCES` if there is no room to map it.
    ///
    /// # Safety
    ///
    /// The `length` bytes of device memory at the physical address `start` are assigned to the
    /// device, and stay so until this is dropped.
    pub(crate) unsafe fn map(start: LARGE_INTEGER, length: u32) -> Result<Self, NTSTATUS> {
        if length < Self::LENGTH {
            return Err(STATUS_DEVICE_CONFIGURATION_ERROR);
        }
        // SAFETY: the range is the device's (caller); uncached, as registers have to be.
        let base =
            unsafe { MmMapIoSpaceEx(start, Self::LENGTH.into(), PAGE_READWRITE | PAGE_NOCACHE) };
        // INVARIANT: just mapped.
        NonNull::new(base.cast()).map(|base| Self { base }).ok_or(STATUS_INSUFFICIENT_RESOURCES)
    }

    /// Makes sure that this is the device, and that it is quiet: not computing, and nothing
    /// raised. It may have been left in the middle of something. `PASSIVE_LEVEL`.
    ///
    /// # Errors
    ///
    /// `STATUS_NO_SUCH_DEVICE` if it does not answer as it should, `STATUS_DEVICE_NOT_READY` if it
    /// does not come to rest.
    pub(crate) fn reset(&self) -> Result<(), NTSTATUS> {
        const PATTERN: u32 = 0x5A5A_A5A5;
        /// Milliseconds between two looks, and looks.
        const PAUSE: u32 = 1;
        const LOOKS: u32 = 20;

        self.write(Register::Liveness, PATTERN);
        if !self.is_present() || self.read(Register::Liveness) != !PATTERN {
            return Err(STATUS_NO_SUCH_DEVICE);
        }
        self.silence();
        for _ in 0..LOOKS {
            if !self.is_busy() {
                self.acknowledge(self.raised());
                return Ok(());
            }
            pause(PAUSE);
        }
        Err(STATUS_DEVICE_NOT_READY)
    }

    /// Lets the device interrupt when it has computed.
    pub(crate) fn unmask(&self) {
        self.write(Register::Status, STATUS_INTERRUPT);
    }

    /// Keeps the device from interrupting when it has computed.
    pub(crate) fn silence(&self) {
        self.write(Register::Status, 0);
    }

    /// The interrupts that have been raised and not acknowledged.
    pub(crate) fn raised(&self) -> u32 {
        self.read(Register::InterruptStatus)
    }

    /// Acknowledges `interrupts`. The line is released when none is left.
    pub(crate) fn acknowledge(&self, interrupts: u32) {
        self.write(Register::InterruptAcknowledge, interrupts);
    }

    /// Waits until all that has been written has arrived: a read overtakes no write.
    pub(crate) fn flush(&self) {
        let _raised = self.read(Register::InterruptStatus);
    }

    /// Raises `interrupts`.
    pub(crate) fn raise(&self, interrupts: u32) {
        self.write(Register::InterruptRaise, interrupts);
    }

    /// Begins to compute the factorial of `number`. A device that is busy ignores it.
    pub(crate) fn compute(&self, number: u32) {
        self.write(Register::Factorial, number);
    }

    /// Whether the device is there and awake.
    pub(crate) fn is_present(&self) -> bool {
        const IDENTIFICATION: u32 = 0x0100_00ED;
        self.read(Register::Identification) == IDENTIFICATION
    }

    /// Whether the device is computing, or gone.
    pub(crate) fn is_busy(&self) -> bool {
        self.read(Register::Status) & STATUS_BUSY != 0
    }

    /// What the device has computed.
    pub(crate) fn factorial(&self) -> u32 {
        self.read(Register::Factorial)
    }

    /// `READ_REGISTER_ULONG`, which on x64 is inline in `wdm.h` and so not to be imported.
    ///
    /// A volatile access keeps its place among other volatile ones only. The fence keeps ordinary
    /// reads that follow, of memory that the device has written, behind it.
    fn read(&self, register: Register) -> u32 {
        let register = self.place(register);
        // SAFETY: within the mapping; reading changes nothing in this device.
        let value = unsafe { register.read_volatile() };
        fence(Ordering::Acquire);
        value
    }

    /// `WRITE_REGISTER_ULONG`, which is inline, too, and ends with the same fence.
    ///
    /// The fence before it keeps ordinary writes that precede, of memory that the device will
    /// read, ahead of it; on x64 it costs nothing. That fences between processors also order
    /// uncached accesses is so on x64, for which this driver is built; for another architecture
    /// these two functions are to be looked at again.
    ///
    /// No fence makes the write arrive: the bus may post it until the next read, see
    /// [`flush`](Self::flush).
    fn write(&self, register: Register, value: u32) {
        let register = self.place(register);
        fence(Ordering::Release);
        // SAFETY: within the mapping.
        unsafe { register.write_volatile(value) };
        fence(Ordering::SeqCst);
    }

    const fn place(&self, register: Register) -> NonNull<u32> {
        // SAFETY: every register lies within LENGTH.
        unsafe { self.base.byte_add(register as usize) }
    }
}

impl Drop for Registers {
    fn drop(&mut self) {
        // SAFETY: mapped with this length (invariant), and nobody has the registers any more.
        unsafe { MmUnmapIoSpace(self.base.as_ptr().cast(), Self::LENGTH.into()) };
    }
}
