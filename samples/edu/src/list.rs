//! A list of IRPs, linked through the `Tail.Overlay.ListEntry` that each has for its driver.

use core::ptr::{self, NonNull};

use wdk_sys::{IRP, LIST_ENTRY};

/// IRPs in the order in which they came.
///
/// Unlike the lists of `ntdef.h` it is no ring through its head, so it may move.
///
/// # Invariants
///
/// Each IRP in it is this driver's, and its list entry nobody else's.
#[derive(Debug)]
pub(crate) struct IrpList {
    first: *mut LIST_ENTRY,
    last: *mut LIST_ENTRY,
}

// SAFETY: IRPs are not tied to a thread.
unsafe impl Send for IrpList {}

impl IrpList {
    /// An empty list.
    pub(crate) const fn new() -> Self {
        Self { first: ptr::null_mut(), last: ptr::null_mut() }
    }

    /// The first IRP.
    pub(crate) const fn first(&self) -> Option<NonNull<IRP>> {
        irp_of(self.first)
    }

    /// The IRP that follows `irp`.
    ///
    /// # Safety
    ///
    /// `irp` is in the list.
    #[expect(clippy::unused_self, reason = "the list is what lends its entries")]
    pub(crate) const unsafe fn after(&self, irp: NonNull<IRP>) -> Option<NonNull<IRP>> {
        // SAFETY: an entry of this list (caller).
        irp_of(unsafe { entry_of(irp).read() }.Flink)
    }

    /// Appends `irp`.
    ///
    /// # Safety
    ///
    /// The IRP is this driver's as long as it is in the list, and is in no other.
    pub(crate) const unsafe fn append(&mut self, irp: NonNull<IRP>) {
        let entry = entry_of(irp);
        let links = LIST_ENTRY { Flink: ptr::null_mut(), Blink: self.last };
        // SAFETY: the driver's to write (caller).
        unsafe { entry.write(links) };
        // SAFETY: an entry of this list, if not null.
        match unsafe { self.last.as_mut() } {
            Some(last) => last.Flink = entry,
            None => self.first = entry,
        }
        self.last = entry;
    }

    /// Takes `irp` out.
    ///
    /// # Safety
    ///
    /// It is in the list.
    pub(crate) const unsafe fn remove(&mut self, irp: NonNull<IRP>) {
        // SAFETY: an entry of this list (caller).
        let LIST_ENTRY { Flink: next, Blink: previous } = unsafe { entry_of(irp).read() };
        // SAFETY: an entry of this list, if not null.
        match unsafe { previous.as_mut() } {
            Some(previous) => previous.Flink = next,
            None => self.first = next,
        }
        // SAFETY: as above.
        match unsafe { next.as_mut() } {
            Some(next) => next.Blink = previous,
            None => self.last = previous,
        }
    }
}

const OFFSET: usize = core::mem::offset_of!(IRP, Tail.Overlay.__bindgen_anon_2.ListEntry);

/// Where an IRP has its list entry.
const fn entry_of(irp: NonNull<IRP>) -> *mut LIST_ENTRY {
    irp.as_ptr().wrapping_byte_add(OFFSET).cast()
}

/// `CONTAINING_RECORD`: the IRP that has this list entry, if it is not null.
const fn irp_of(entry: *mut LIST_ENTRY) -> Option<NonNull<IRP>> {
    if entry.is_null() {
        return None;
    }
    NonNull::new(entry.wrapping_byte_sub(OFFSET).cast())
}
