//! A spin lock, an event and a remove lock, each with the type that keeps it from being misused.

use core::cell::UnsafeCell;
use core::fmt;

use wdk_sys::{
    _EVENT_TYPE, _KWAIT_REASON, _MODE, BOOLEAN, IO_REMOVE_LOCK, KEVENT, KIRQL, KSPIN_LOCK,
    LARGE_INTEGER, NT_SUCCESS, NTSTATUS, PVOID, STATUS_SUCCESS,
    ntddk::{
        IoAcquireRemoveLockEx, IoInitializeRemoveLockEx, IoReleaseRemoveLockAndWaitEx,
        IoReleaseRemoveLockEx, KeAcquireSpinLockRaiseToDpc, KeClearEvent, KeDelayExecutionThread,
        KeInitializeEvent, KeReleaseSpinLock, KeSetEvent, KeWaitForSingleObject,
    },
};

/// `FALSE` of `ntdef.h`.
pub(crate) const FALSE: BOOLEAN = 0;

/// A millisecond as the kernel's waits take it: in units of 100 ns, negative for "from now on".
const HUNDRED_NS_FROM_NOW: i64 = -10_000;

/// On whose behalf the kernel waits. The parameters are narrower than the enumeration.
#[expect(clippy::cast_possible_truncation, reason = "KernelMode is 0")]
const KERNEL_MODE: i8 = _MODE::KernelMode as i8;

/// A value that is reached only with its spin lock held, at `DISPATCH_LEVEL`.
pub(crate) struct SpinLock<T> {
    lock: UnsafeCell<KSPIN_LOCK>,
    value: UnsafeCell<T>,
}

// SAFETY: the lock gives the value to one processor at a time; `T: Send` is what that takes.
unsafe impl<T: Send> Sync for SpinLock<T> {}

impl<T> SpinLock<T> {
    /// A free lock: `KeInitializeSpinLock`, which is inline, stores a zero.
    pub(crate) const fn new(value: T) -> Self {
        Self { lock: UnsafeCell::new(0), value: UnsafeCell::new(value) }
    }

    /// Calls `f` with the value, at `DISPATCH_LEVEL`, and returns what it returns.
    ///
    /// IRQL: at most `DISPATCH_LEVEL`. The lock is not recursive. `f` must not drop what needs
    /// `PASSIVE_LEVEL` to be dropped: hand it out instead.
    pub(crate) fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        // SAFETY: all that this driver allocates is resident; released below.
        let irql = unsafe { self.acquire() };
        // SAFETY: the lock is held, so this is the only reference.
        let result = f(unsafe { self.value() });
        // SAFETY: acquired above; the reference has ended.
        unsafe { self.release(irql) };
        result
    }

    /// Acquires the lock, for a caller that cannot give a closure. Returns the IRQL to release at.
    ///
    /// # Safety
    ///
    /// The lock is in resident memory, is not held by the caller, and is released on this processor
    /// with the IRQL returned. IRQL: at most `DISPATCH_LEVEL`.
    pub(crate) unsafe fn acquire(&self) -> KIRQL {
        // SAFETY: an initialised spin lock; the rest says the caller.
        unsafe { KeAcquireSpinLockRaiseToDpc(self.lock.get()) }
    }

    /// # Safety
    ///
    /// Ends what `acquire` began, which returned `irql`, on the same processor.
    pub(crate) unsafe fn release(&self, irql: KIRQL) {
        // SAFETY: the caller holds the lock.
        unsafe { KeReleaseSpinLock(self.lock.get(), irql) };
    }

    /// # Safety
    ///
    /// The lock is held by the caller as long as the reference lives, and this is the only one.
    #[expect(clippy::mut_from_ref, reason = "the lock makes it exclusive, as the caller promises")]
    pub(crate) unsafe fn value(&self) -> &mut T {
        // SAFETY: the caller holds the lock and has no other reference.
        unsafe { &mut *self.value.get() }
    }
}

impl<T> fmt::Debug for SpinLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpinLock").finish_non_exhaustive()
    }
}

/// An event that stays signalled until it is cleared: `NotificationEvent`.
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
    pub(crate) unsafe fn initialize(&self, signalled: bool) {
        let kind = _EVENT_TYPE::NotificationEvent;
        // SAFETY: nobody uses it yet, and it stays where it is (caller).
        unsafe { KeInitializeEvent(self.0.get(), kind, signalled.into()) };
    }

    /// Signals it. IRQL: at most `DISPATCH_LEVEL`.
    pub(crate) fn set(&self) {
        // SAFETY: initialised. Without Wait this is legal at DISPATCH_LEVEL.
        unsafe { KeSetEvent(self.0.get(), 0, FALSE) };
    }

    /// Takes the signal back. IRQL: at most `DISPATCH_LEVEL`.
    pub(crate) fn clear(&self) {
        // SAFETY: initialised.
        unsafe { KeClearEvent(self.0.get()) };
    }

    /// Waits for the signal. `PASSIVE_LEVEL`.
    pub(crate) fn wait(&self) {
        self.wait_until(None);
    }

    /// Waits for the signal, but no longer than that. Whether it came. `PASSIVE_LEVEL`.
    pub(crate) fn wait_at_most(&self, milliseconds: u32) -> bool {
        let timeout = i64::from(milliseconds) * HUNDRED_NS_FROM_NOW;
        self.wait_until(Some(LARGE_INTEGER { QuadPart: timeout }))
    }

    fn wait_until(&self, mut timeout: Option<LARGE_INTEGER>) -> bool {
        let timeout = timeout.as_mut().map_or(core::ptr::null_mut(), core::ptr::from_mut);
        let reason = _KWAIT_REASON::Executive;
        // SAFETY: initialised; `timeout` is null or lives through the call.
        let status = unsafe {
            KeWaitForSingleObject(self.0.get().cast(), reason, KERNEL_MODE, FALSE, timeout)
        };
        // STATUS_TIMEOUT is a success, too.
        status == STATUS_SUCCESS
    }
}

/// Waits that long, or up to a tick of the clock longer. `PASSIVE_LEVEL`, at which a wait keeps
/// nobody off the processor, as a stall does.
pub(crate) fn pause(milliseconds: u32) {
    let mut interval = LARGE_INTEGER { QuadPart: i64::from(milliseconds) * HUNDRED_NS_FROM_NOW };
    // SAFETY: the interval lives through the call.
    let _waited = unsafe { KeDelayExecutionThread(KERNEL_MODE, FALSE, &raw mut interval) };
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event").finish_non_exhaustive()
    }
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
    const TAG: u32 = u32::from_ne_bytes(*b"uedE");

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

impl RemoveLock {
    /// Acquires the lock until the guard is dropped, for a routine that has given its IRP away.
    ///
    /// # Errors
    ///
    /// `STATUS_DELETE_PENDING`: the device is being deleted.
    pub(crate) fn guard(&self) -> Result<RemoveGuard<'_>, NTSTATUS> {
        self.acquire(self.tag())?;
        Ok(RemoveGuard { lock: self })
    }

    /// The tag of a guard: the lock's own address, which is no IRP's.
    const fn tag(&self) -> PVOID {
        self.0.get().cast()
    }
}

/// Keeps the device in place until it is dropped.
#[derive(Debug)]
pub(crate) struct RemoveGuard<'a> {
    lock: &'a RemoveLock,
}

impl Drop for RemoveGuard<'_> {
    fn drop(&mut self) {
        // SAFETY: acquired with this tag when the guard was made.
        unsafe { self.lock.release(self.lock.tag()) };
    }
}

impl fmt::Debug for RemoveLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoveLock").finish_non_exhaustive()
    }
}
