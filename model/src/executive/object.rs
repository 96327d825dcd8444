//! The interrupt object.

use core::{
    ptr,
    sync::atomic::{AtomicBool, AtomicU64},
};

use crate::{
    hal::Source,
    nt::{BOOLEAN, KINTERRUPT, PKINTERRUPT, PKSPIN_LOCK, PVOID, ULONG},
    report,
};

pub(super) type ServiceRoutine =
    crate::nt_fn_pointer!(fn(interrupt: *mut KINTERRUPT, context: PVOID) -> BOOLEAN);
pub(super) type MessageRoutine = crate::nt_fn_pointer!(
    fn(interrupt: *mut KINTERRUPT, context: PVOID, message: ULONG) -> BOOLEAN
);

/// The routine of an interrupt object.
#[derive(Clone, Copy)]
pub(super) enum Routine {
    Line(ServiceRoutine),
    Message(MessageRoutine, ULONG),
}

/// One service routine on one vector.
pub(super) struct Object {
    /// Never used twice.
    pub(super) id: usize,
    pub(super) vector: u32,
    pub(super) irql: u8,
    pub(super) synchronize_irql: u8,
    pub(super) latched: bool,
    pub(super) shared: bool,
    pub(super) source: Source,
    pub(super) routine: Routine,
    pub(super) context: PVOID,
    /// The lock that the driver supplied, or NULL.
    pub(super) supplied: PKSPIN_LOCK,
    /// The lock in use when none was supplied.
    pub(super) own: AtomicU64,
    /// Cleared by `IoReportInterruptInactive`.
    pub(super) active: AtomicBool,
}

// SAFETY: the pointers are the driver's, kept to be given back to it, and the driver promised that
// they may be used from any processor when it connected.
unsafe impl Send for Object {}
// SAFETY: as above; what changes is atomic.
unsafe impl Sync for Object {}

/// Interrupt objects look as if they were in the kernel's half of the address space, where nothing
/// is mapped on a host or in the bed. No address is ever used twice, so one that went stale is
/// always found out, and what a driver might do with what it points to faults: what special pool does
/// with the page of a freed allocation holds for every interrupt object, freed or not. An address
/// says which vector it was made for, also when the object has long been forgotten.
const OBJECT_BASE: usize = 0xFFFF_E000_0000_0000;
/// Where in an address the object's number begins, above its vector.
const NUMBER: u32 = 20;

impl Object {
    /// What the driver knows this object by.
    pub(super) const fn token(&self) -> usize {
        OBJECT_BASE | (self.id << NUMBER) | ((self.vector as usize) << 4)
    }

    pub(super) const fn pointer(&self) -> PKINTERRUPT {
        ptr::without_provenance_mut(self.token())
    }

    /// Whether it is served at `PASSIVE_LEVEL`, under an event instead of a spin lock.
    pub(super) const fn is_passive(&self) -> bool {
        self.irql == 0
    }

    /// What reports say of it.
    pub(super) const fn report(&self) -> report::Object {
        report::Object::Interrupt { address: self.token(), vector: self.vector }
    }

    /// The address of its service routine.
    pub(super) fn routine_address(&self) -> u64 {
        match self.routine {
            Routine::Line(routine) => routine as usize as u64,
            Routine::Message(routine, _) => routine as usize as u64,
        }
    }

    pub(super) const fn message(&self) -> Option<u32> {
        match self.routine {
            Routine::Line(_) => None,
            Routine::Message(_, number) => Some(number),
        }
    }

    /// The lock its routine runs under.
    pub(super) const fn lock_word(&self) -> *mut u64 {
        if self.supplied.is_null() { self.own.as_ptr() } else { self.supplied }
    }
}

/// The vector that a token was made for, and the object's number.
pub(super) const fn token_parts(token: usize) -> Option<(u16, usize)> {
    if token & OBJECT_BASE == OBJECT_BASE && token.trailing_zeros() >= 4 {
        let below = token & !OBJECT_BASE;
        let [low, high, ..] = (below >> 4).to_le_bytes();
        Some((u16::from_le_bytes([low, high]), below >> NUMBER))
    } else {
        None
    }
}
