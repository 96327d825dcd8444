//! Registers of 32 bits, mapped.

use core::ops::Deref;
use core::ptr::NonNull;
use core::sync::atomic::{Ordering, fence};

use wdk_sys::{
    LARGE_INTEGER, NTSTATUS, PAGE_NOCACHE, PAGE_READWRITE, STATUS_INSUFFICIENT_RESOURCES,
    ntddk::{MmMapIoSpaceEx, MmUnmapIoSpace},
};

/// A device's registers, mapped; unmapped when dropped.
///
/// # Invariants
///
/// The window is a mapping made by `MmMapIoSpaceEx`.
#[derive(Debug)]
pub struct Registers(Window);

/// Registers that are there, for whoever has it.
///
/// Every register of a device that is gone reads as all ones, and writes go nowhere.
///
/// # Invariants
///
/// `length` bytes from `base` on are mapped as long as this exists.
#[derive(Debug)]
pub struct Window {
    base: NonNull<u32>,
    length: u32,
}

// SAFETY: the mapping is in system space, which is the same in every thread.
unsafe impl Send for Window {}

// SAFETY: as above; several processors may reach for registers at once.
unsafe impl Sync for Window {}

impl Registers {
    /// Maps registers. IRQL: at most `DISPATCH_LEVEL`.
    ///
    /// # Safety
    ///
    /// The `length` bytes of device memory at the physical address `start` are assigned to the
    /// device, and stay so until this is dropped.
    pub(crate) unsafe fn map(start: i64, length: u32) -> Result<Self, NTSTATUS> {
        let start = LARGE_INTEGER { QuadPart: start };
        // SAFETY: the range is the device's (caller); uncached, as registers have to be.
        let base = unsafe { MmMapIoSpaceEx(start, length.into(), PAGE_READWRITE | PAGE_NOCACHE) };
        let base = NonNull::new(base.cast()).ok_or(STATUS_INSUFFICIENT_RESOURCES)?;
        // INVARIANT: just mapped.
        Ok(Self(Window { base, length }))
    }

    /// The registers, for interrupt handlers that are not their only users.
    ///
    /// # Safety
    ///
    /// The window is gone before the registers are dropped.
    #[must_use]
    pub const unsafe fn share(&self) -> Window {
        // INVARIANT: as the caller says.
        Window { base: self.0.base, length: self.0.length }
    }
}

impl Deref for Registers {
    type Target = Window;

    fn deref(&self) -> &Window {
        &self.0
    }
}

impl Drop for Registers {
    fn drop(&mut self) {
        // SAFETY: mapped with this length (invariant), and nobody has the registers any more.
        unsafe { MmUnmapIoSpace(self.0.base.as_ptr().cast(), self.0.length.into()) };
    }
}

impl Window {
    /// Where the first register is. Any IRQL.
    #[must_use]
    pub const fn base(&self) -> NonNull<u32> {
        self.base
    }

    /// Reads the register at `offset`, in bytes: `READ_REGISTER_ULONG`, which is inline in `wdm.h`.
    ///
    /// The fence keeps ordinary reads that follow, of memory that the device has written, behind
    /// it. Any IRQL.
    ///
    /// # Panics
    ///
    /// If no register is there.
    #[must_use]
    pub fn read(&self, offset: u32) -> u32 {
        let register = self.place(offset);
        // SAFETY: within the mapping.
        let value = unsafe { register.read_volatile() };
        fence(Ordering::Acquire);
        value
    }

    /// Writes the register at `offset`, in bytes: `WRITE_REGISTER_ULONG`.
    ///
    /// The bus may post the write until the next read. Any IRQL.
    ///
    /// # Panics
    ///
    /// If no register is there.
    pub fn write(&self, offset: u32, value: u32) {
        let register = self.place(offset);
        fence(Ordering::Release);
        // SAFETY: within the mapping.
        unsafe { register.write_volatile(value) };
        fence(Ordering::SeqCst);
    }

    fn place(&self, offset: u32) -> NonNull<u32> {
        assert!(offset.is_multiple_of(4) && offset < self.length, "there is no such register");
        // SAFETY: within the mapping (invariant, and the check above).
        unsafe { self.base.byte_add(offset as usize) }
    }
}
