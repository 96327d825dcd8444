//! The device's registers, mapped.

use core::ptr::NonNull;
use core::sync::atomic::{Ordering, fence};

use edu_device::{Bus, Register};
use wdk_sys::{
    LARGE_INTEGER, NTSTATUS, PAGE_NOCACHE, PAGE_READWRITE, STATUS_DEVICE_CONFIGURATION_ERROR,
    STATUS_INSUFFICIENT_RESOURCES,
    ntddk::{MmMapIoSpaceEx, MmUnmapIoSpace},
};

/// The registers, mapped; unmapped when dropped.
///
/// # Invariants
///
/// `base` is a mapping of `Register::LENGTH` bytes made by `MmMapIoSpaceEx`.
#[derive(Debug)]
pub(crate) struct Mapping {
    base: NonNull<u32>,
}

// SAFETY: the mapping is in system space, which is the same in every thread.
unsafe impl Send for Mapping {}

impl Mapping {
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
    pub(crate) unsafe fn new(start: LARGE_INTEGER, length: u32) -> Result<Self, NTSTATUS> {
        if length < Register::LENGTH {
            return Err(STATUS_DEVICE_CONFIGURATION_ERROR);
        }
        let length = Register::LENGTH.into();
        // SAFETY: the range is the device's (caller); uncached, as registers have to be.
        let base = unsafe { MmMapIoSpaceEx(start, length, PAGE_READWRITE | PAGE_NOCACHE) };
        // INVARIANT: just mapped.
        NonNull::new(base.cast()).map(|base| Self { base }).ok_or(STATUS_INSUFFICIENT_RESOURCES)
    }

    const fn place(&self, register: Register) -> NonNull<u32> {
        // SAFETY: every register lies within LENGTH.
        unsafe { self.base.byte_add(register as usize) }
    }
}

impl Bus for Mapping {
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
    /// No fence makes the write arrive: the bus may post it until the next read.
    fn write(&self, register: Register, value: u32) {
        let register = self.place(register);
        fence(Ordering::Release);
        // SAFETY: within the mapping.
        unsafe { register.write_volatile(value) };
        fence(Ordering::SeqCst);
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped with this length (invariant), and nobody has the registers any more.
        unsafe { MmUnmapIoSpace(self.base.as_ptr().cast(), Register::LENGTH.into()) };
    }
}
