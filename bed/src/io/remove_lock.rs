//! Remove locks: how many are in the driver, and a wait until nobody is. The bed also keeps who.

use alloc::collections::BTreeMap;
use core::sync::atomic::{AtomicI32, AtomicU8, Ordering};

use wdm_interrupt_model::nt::{
    DISPATCHER_TYPE, IO_REMOVE_LOCK, NTSTATUS, STATUS_DELETE_PENDING, STATUS_SUCCESS,
};

use crate::kernel::event;
use crate::sync::Lock;
use crate::verify::{Rule, broken};

/// How often each lock is held with each tag.
static HELD: Lock<BTreeMap<(usize, usize), usize>> = Lock::new(BTreeMap::new());

fn count(lock: *mut IO_REMOVE_LOCK) -> &'static AtomicI32 {
    // SAFETY: the caller of every routine here has the lock.
    let member = unsafe { &raw mut (*lock).Common.IoCount };
    // SAFETY: as above; the member is only accessed atomically.
    unsafe { AtomicI32::from_ptr(member) }
}

fn removed(lock: *mut IO_REMOVE_LOCK) -> &'static AtomicU8 {
    // SAFETY: as above.
    let member = unsafe { &raw mut (*lock).Common.Removed };
    // SAFETY: as above.
    unsafe { AtomicU8::from_ptr(member) }
}

/// What `IoInitializeRemoveLockEx` does.
///
/// # Safety
///
/// `lock` is resident memory of a remove lock's size.
pub(crate) unsafe fn initialise(lock: *mut IO_REMOVE_LOCK) {
    removed(lock).store(0, Ordering::Relaxed);
    count(lock).store(1, Ordering::Relaxed);
    // SAFETY: the event is a member of the lock.
    let event = unsafe { &raw mut (*lock).Common.RemoveEvent };
    // SAFETY: as above.
    unsafe { event::initialise(event, DISPATCHER_TYPE::EventSynchronizationObject, false) };
    HELD.lock().retain(|(held, _), _| *held != lock.addr());
}

/// What `IoAcquireRemoveLockEx` does.
///
/// # Safety
///
/// The lock was initialised.
pub(crate) unsafe fn acquire(lock: *mut IO_REMOVE_LOCK, tag: usize) -> NTSTATUS {
    count(lock).fetch_add(1, Ordering::AcqRel);
    if removed(lock).load(Ordering::Acquire) == 0 {
        *HELD.lock().entry((lock.addr(), tag)).or_default() += 1;
        return STATUS_SUCCESS;
    }
    // SAFETY: the caller vouches for the lock.
    unsafe { leave(lock, "IoAcquireRemoveLockEx") };
    STATUS_DELETE_PENDING
}

/// Counts one down; the last one wakes who waits.
///
/// # Safety
///
/// The lock was initialised.
unsafe fn leave(lock: *mut IO_REMOVE_LOCK, call: &str) -> bool {
    let before = count(lock).fetch_sub(1, Ordering::AcqRel);
    if before <= 0 {
        broken(Rule::RemoveLock, call, format_args!("the lock {lock:p} is not held"));
    }
    if before == 1 {
        // SAFETY: the event is a member of the lock.
        let event = unsafe { &raw mut (*lock).Common.RemoveEvent };
        // SAFETY: the event was initialised with the lock.
        unsafe { event::set(event) };
    }
    before == 1
}

/// What `IoReleaseRemoveLockEx` does.
///
/// # Safety
///
/// The lock was initialised.
pub(crate) unsafe fn release(lock: *mut IO_REMOVE_LOCK, tag: usize) {
    let call = "IoReleaseRemoveLockEx";
    untag(lock, tag, call);
    // SAFETY: the caller vouches for the lock.
    unsafe { leave(lock, call) };
}

fn untag(lock: *mut IO_REMOVE_LOCK, tag: usize, call: &str) {
    let mut held = HELD.lock();
    let known = match held.get_mut(&(lock.addr(), tag)) {
        Some(count) if *count > 1 => {
            *count -= 1;
            true
        }
        Some(_) => held.remove(&(lock.addr(), tag)).is_some(),
        None => false,
    };
    drop(held);
    if !known {
        broken(
            Rule::RemoveLock,
            call,
            format_args!("the lock {lock:p} is not held with the tag {tag:#x}"),
        );
    }
}

/// What `IoReleaseRemoveLockAndWaitEx` does.
///
/// # Safety
///
/// The lock was initialised; `PASSIVE_LEVEL`.
pub(crate) unsafe fn release_and_wait(lock: *mut IO_REMOVE_LOCK, tag: usize) {
    const CALL: &str = "IoReleaseRemoveLockAndWaitEx";
    crate::verify::at_most(0, CALL);
    untag(lock, tag, CALL);
    removed(lock).store(1, Ordering::Release);
    // SAFETY: the caller vouches for the lock.
    let own = unsafe { leave(lock, CALL) };
    if own {
        broken(Rule::RemoveLock, CALL, format_args!("the lock {lock:p} was held once too little"));
    }
    // SAFETY: as above.
    if !unsafe { leave(lock, CALL) } {
        // SAFETY: the event is a member of the lock.
        let event = unsafe { &raw mut (*lock).Common.RemoveEvent };
        // SAFETY: the event was initialised with the lock.
        unsafe { event::wait(event, None) };
    }
}

/// How many holds are left, of any lock.
pub(crate) fn left() -> usize {
    HELD.lock().values().sum()
}
