//! A lock that is waited for, an event and a remove lock, each with the type that keeps it from being
//! misused.

use core::cell::UnsafeCell;
use core::fmt;

use wdk_sys::{
    _EVENT_TYPE, _KWAIT_REASON, _MODE, BOOLEAN, IO_REMOVE_LOCK, KEVENT, LARGE_INTEGER, NT_SUCCESS,
    NTSTATUS, PVOID,
    ntddk::{
        IoAcquireRemoveLockEx, IoInitializeRemoveLockEx, IoReleaseRemoveLockAndWaitEx,
        IoReleaseRemoveLockEx, KeDelayExecutionThread, KeEnterCriticalRegion, KeInitializeEvent,
        KeLeaveCriticalRegion, KeSetEvent, KeWaitForSingleObject,
    },
};

/// `FALSE` of `ntdef.h`.
pub(crate) const FALSE: BOOLEAN = 0;

/// On whose behalf the kernel waits. The parameters are narrower than the enumeration.
#[expect(clippy::cast_possible_truncation, reason = "KernelMode is 0")]
const KERNEL_MODE: i8 = _MODE::KernelMode as i8;

/// A value that is reached by one thread at a time, which others wait for at `PASSIVE_LEVEL`.
pub(crate) struct Mutex<T> {
    /// Signalled while nobody has the value.
    free: Event,
    value: UnsafeCell<T>,
}

// SAFETY: the lock gives the value to one thread at a time; `T: Send` is what that takes.
unsafe impl<T: Send> Sync for Mutex<T> {}

impl<T> Mutex<T> {
    /// Room for a lock round `value`.
    ///
    /// # Safety
    ///
    /// [`initialize`](Self::initialize) is called, in the lock's final place, before any other
    /// method.
    pub(crate) unsafe fn uninitialized(value: T) -> Self {
        // SAFETY: as the caller says.
        Self { free: unsafe { Event::uninitialized() }, value: UnsafeCell::new(value) }
    }

    /// Makes the lock, free.
    ///
    /// # Safety
    ///
    /// Before any other use, and the lock does not move from here on.
    pub(crate) unsafe fn initialize(&self) {
        // SAFETY: as the caller says.
        unsafe { self.free.initialize(_EVENT_TYPE::SynchronizationEvent, true) };
    }

    /// Calls `f` with the value, and returns what it returns. `PASSIVE_LEVEL`, and not inside itself:
    /// that would wait for ever.
    pub(crate) fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        // A thread that has the value must not be suspended, or everyone else waits.
        // SAFETY: left below.
        unsafe { KeEnterCriticalRegion() };
        self.free.wait();
        // SAFETY: the event gave it to this thread, so this is the only reference.
        let result = f(unsafe { &mut *self.value.get() });
        self.free.set();
        // SAFETY: entered above.
        unsafe { KeLeaveCriticalRegion() };
        result
    }
}

impl<T> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mutex").finish_non_exhaustive()
    }
}

/// An event.
pub(crate) struct Event(UnsafeCell<KEVENT>);

// SAFETY: the kernel's event routines may be called from anywhere at once.
unsafe impl Sync for Event {}

impl Event {
    /// Room for an event.
    ///
    /// # Safety
    ///
    /// [`initialize`](Self::initialize) is called, in the event's final place, before any other
    /// method: to the kernel the zeroes that are here until then are no event.
    pub(crate) unsafe fn uninitialized() -> Self {
        Self(UnsafeCell::new(KEVENT::default()))
    }

    /// Makes the event, signalled or not.
    ///
    /// # Safety
    ///
    /// Before any other use, and the event does not move from here on.
    pub(crate) unsafe fn initialize(&self, kind: wdk_sys::EVENT_TYPE, signalled: bool) {
        // SAFETY: nobody uses it yet, and it stays where it is (caller).
        unsafe { KeInitializeEvent(self.0.get(), kind, signalled.into()) };
    }

    /// Signals it. IRQL: at most `DISPATCH_LEVEL`.
    pub(crate) fn set(&self) {
        // SAFETY: initialised. Without Wait this is legal at DISPATCH_LEVEL.
        unsafe { KeSetEvent(self.0.get(), 0, FALSE) };
    }

    /// Waits for the signal. `PASSIVE_LEVEL`.
    pub(crate) fn wait(&self) {
        let reason = _KWAIT_REASON::Executive;
        let for_ever = core::ptr::null_mut();
        // SAFETY: initialised.
        let _waited = unsafe {
            KeWaitForSingleObject(self.0.get().cast(), reason, KERNEL_MODE, FALSE, for_ever)
        };
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event").finish_non_exhaustive()
    }
}

/// Waits that long, or up to a tick of the clock longer. `PASSIVE_LEVEL`, at which a wait keeps
/// nobody off the processor, as a stall does.
pub fn pause(milliseconds: u32) {
    /// A millisecond as the kernel's waits take it: in units of 100 ns, negative for "from now on".
    const MILLISECOND: i64 = -10_000;
    let mut interval = LARGE_INTEGER { QuadPart: i64::from(milliseconds) * MILLISECOND };
    // SAFETY: the interval lives through the call.
    let _waited = unsafe { KeDelayExecutionThread(KERNEL_MODE, FALSE, &raw mut interval) };
}

/// Keeps the device extension in place as long as anyone works on the device.
///
/// See [Using Remove Locks][page].
///
/// [page]: https://learn.microsoft.com/windows-hardware/drivers/kernel/using-remove-locks
pub(crate) struct RemoveLock(UnsafeCell<IO_REMOVE_LOCK>);

// SAFETY: the kernel's remove lock routines may be called from anywhere at once.
unsafe impl Sync for RemoveLock {}

/// The size says which of two structures a driver was compiled with.
#[expect(clippy::cast_possible_truncation, reason = "32 bytes")]
const REMOVE_LOCK_SIZE: u32 = size_of::<IO_REMOVE_LOCK>() as u32;

impl RemoveLock {
    const TAG: u32 = u32::from_ne_bytes(*b"SmdW");

    /// Room for a remove lock.
    ///
    /// # Safety
    ///
    /// [`initialize`](Self::initialize) is called, in the lock's final place, before any other
    /// method: to the kernel the zeroes that are here until then are no remove lock.
    pub(crate) unsafe fn uninitialized() -> Self {
        Self(UnsafeCell::new(IO_REMOVE_LOCK::default()))
    }

    /// Makes the lock.
    ///
    /// # Safety
    ///
    /// Before any other use, and the lock does not move from here on.
    pub(crate) unsafe fn initialize(&self) {
        // SAFETY: nobody uses it yet, and it stays where it is (caller).
        unsafe { IoInitializeRemoveLockEx(self.0.get(), Self::TAG, 0, 0, REMOVE_LOCK_SIZE) };
    }

    /// Acquires the lock. `tag` names the acquisition, usually by the IRP it is for.
    ///
    /// # Errors
    ///
    /// `STATUS_DELETE_PENDING`: the device is being deleted.
    pub(crate) fn acquire(&self, tag: PVOID) -> Result<(), NTSTATUS> {
        // SAFETY: initialised; the file name is for checked builds and may be empty.
        let status =
            unsafe { IoAcquireRemoveLockEx(self.0.get(), tag, c"".as_ptr(), 1, REMOVE_LOCK_SIZE) };
        if NT_SUCCESS(status) { Ok(()) } else { Err(status) }
    }

    /// Releases the lock. From here on the device can be gone.
    ///
    /// # Safety
    ///
    /// Ends one `acquire` with the same tag.
    pub(crate) unsafe fn release(&self, tag: PVOID) {
        // SAFETY: acquired with this tag (caller).
        unsafe { IoReleaseRemoveLockEx(self.0.get(), tag, REMOVE_LOCK_SIZE) };
    }

    /// Releases the lock, refuses all who want it later, and waits for all who have it.
    ///
    /// # Safety
    ///
    /// Ends one `acquire` with the same tag. Once only. `PASSIVE_LEVEL`.
    pub(crate) unsafe fn release_and_wait(&self, tag: PVOID) {
        // SAFETY: acquired with this tag, for the removal (caller).
        unsafe { IoReleaseRemoveLockAndWaitEx(self.0.get(), tag, REMOVE_LOCK_SIZE) };
    }
}

impl fmt::Debug for RemoveLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoveLock").finish_non_exhaustive()
    }
}
