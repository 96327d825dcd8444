//! A work item of the kernel's, and the state that the kernel does not tell.

use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
use core::ptr::{self, NonNull};
use core::sync::atomic::Ordering;

use super::{FunctionDevice, current_thread};
use crate::nt::{self, AtomicU8, AtomicUsize};

/// A work item of the kernel's, and what is known of it: idle, queued, running, and whether it is
/// to run again.
///
/// The kernel offers no call that waits for a work item, so its state is kept here and has its own
/// wait.
///
/// # Invariants
///
/// The item is on the kernel's queue, or on its way there, in `QUEUED` only; its routine runs from
/// then on until it leaves `RUNNING` or `AGAIN`. Whoever makes it `IDLE` touches this no more,
/// save that it signals `ended` when it found `WAITED`, for which the waiter stays.
pub(super) struct WorkQueue {
    item: nt::PIO_WORKITEM,
    state: AtomicU8,
    /// The thread that runs, 0 when none does. Only the thread itself can find its own number
    /// here, which it wrote itself.
    thread: AtomicUsize,
    /// Signalled once for each `WAITED`.
    ended: UnsafeCell<MaybeUninit<nt::KEVENT>>,
}

const IDLE: u8 = 0;
const QUEUED: u8 = 1;
const RUNNING: u8 = 2;
/// Running, and asked to run once more.
const AGAIN: u8 = 3;
/// Added to the others but `IDLE`: somebody waits for the end of a run.
const WAITED: u8 = 4;

impl WorkQueue {
    /// A queue for work on behalf of `device`; `None` when there is no memory for the item.
    ///
    /// IRQL: at most `DISPATCH_LEVEL`. [`initialise`](Self::initialise) follows.
    pub(super) fn new(device: FunctionDevice) -> Option<Self> {
        // SAFETY: a device object of this driver's (`FunctionDevice::new`).
        let item = unsafe { nt::IoAllocateWorkItem(device.as_ptr()) };
        (!item.is_null()).then_some(Self {
            item,
            state: AtomicU8::new(IDLE),
            thread: AtomicUsize::new(0),
            ended: UnsafeCell::new(MaybeUninit::zeroed()),
        })
    }

    /// The rest of making one, once it is where it stays.
    ///
    /// # Safety
    ///
    /// Called once, before anything else; it stays put and resident.
    pub(super) unsafe fn initialise(&self) {
        let event = self.ended.get().cast();
        let kind = nt::_EVENT_TYPE::SynchronizationEvent;
        // SAFETY: resident, stays put, and initialised this once (caller).
        unsafe { nt::KeInitializeEvent(event, kind, nt::FALSE) };
    }

    /// Asks for a run that begins from now on. Returns `false` when one was asked for already.
    ///
    /// IRQL: at most `DISPATCH_LEVEL`.
    ///
    /// # Safety
    ///
    /// `context` is what `routine` takes, and stays until this is idle.
    pub(super) unsafe fn request(
        &self,
        routine: nt::PIO_WORKITEM_ROUTINE,
        context: nt::PVOID,
    ) -> bool {
        let before = self.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, |state| {
            match state & !WAITED {
                IDLE => Some(QUEUED),
                RUNNING => Some(AGAIN | state & WAITED),
                _ => None,
            }
        });
        if before == Ok(IDLE) {
            // SAFETY: it was idle, so it is not queued, and this alone made it QUEUED.
            unsafe { queue(self.item, routine, context) };
        }
        before.is_ok()
    }

    /// The item's routine has been called. What is returned ends the run when it is dropped: also
    /// when a panic unwinds, off Windows.
    ///
    /// # Safety
    ///
    /// Called by `routine`, which is the item's, with its `context`. Nothing of the memory may be
    /// touched after the end.
    pub(super) unsafe fn begin(
        &self,
        routine: nt::PIO_WORKITEM_ROUTINE,
        context: nt::PVOID,
    ) -> RunOf {
        // QUEUED to RUNNING, and whether it is waited for stays as it is.
        self.state.fetch_add(RUNNING - QUEUED, Ordering::AcqRel);
        self.thread.store(current_thread(), Ordering::Relaxed);
        RunOf { queue: NonNull::from(self), routine, context }
    }

    /// The item's routine is through: queues the item again when it was asked for meanwhile.
    ///
    /// Takes a pointer, because the memory may go while this is on its way back.
    ///
    /// # Safety
    ///
    /// Called once after each [`begin`](Self::begin), with the same. Nothing may be touched
    /// afterwards.
    unsafe fn end(this: NonNull<Self>, routine: nt::PIO_WORKITEM_ROUTINE, context: nt::PVOID) {
        let this = this.as_ptr();
        // SAFETY: there until it is idle, below.
        let item = unsafe { (*this).item };
        // SAFETY: as above.
        let ended = unsafe { &raw mut (*this).ended };
        // SAFETY: as above.
        let thread = unsafe { &(*this).thread };
        thread.store(0, Ordering::Relaxed);
        // SAFETY: as above, and a cell may go while there is a reference to it.
        let state = unsafe { &(*this).state };
        let before = state.fetch_update(Ordering::AcqRel, Ordering::Acquire, |state| {
            Some(if state & !WAITED == AGAIN { QUEUED } else { IDLE })
        });
        let before = before.unwrap_or_else(|state| state);
        if before & WAITED != 0 {
            // SAFETY: initialised, and there while the waiter waits, which ends with this call.
            // Nothing of an event is touched after a wait on it has been satisfied.
            unsafe { nt::KeSetEvent(ended.cast(), 0, nt::FALSE) };
        }
        if before & !WAITED == AGAIN {
            // Signalled before, because once queued the run may be over at any time.
            // SAFETY: QUEUED since just now, and not on the queue, since its routine runs; routine
            // and context go together (caller).
            unsafe { queue(item, routine, context) };
        }
    }

    /// Waits for the end of the run that is queued or in progress. Returns `false` when there is
    /// none; a run that begins later sees what this thread did before.
    ///
    /// # Safety
    ///
    /// `PASSIVE_LEVEL`, by one thread at a time, not inside the run.
    unsafe fn wait_for_a_run(&self) -> bool {
        // Written also when it is idle: a run that begins later then reads what this wrote, or later,
        // and with it sees that the half was closed before. A mere load would not order the two.
        let before = self.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, |state| {
            Some(if state == IDLE { IDLE } else { state | WAITED })
        });
        if before == Ok(IDLE) {
            return false;
        }
        // SAFETY: initialised; PASSIVE_LEVEL (caller), so waiting is allowed.
        unsafe { wait_for(self.ended.get().cast()) };
        true
    }

    /// Waits until all that was asked for before has been done.
    ///
    /// # Safety
    ///
    /// As for [`wait_for_a_run`](Self::wait_for_a_run).
    pub(super) unsafe fn wait(&self) {
        // The first run to end may have begun before something was asked for; the next cannot.
        for _ in 0..2 {
            // SAFETY: as the caller promises.
            if unsafe { !self.wait_for_a_run() } {
                break;
            }
        }
    }

    /// Waits until it is idle.
    ///
    /// # Safety
    ///
    /// As for [`wait_for_a_run`](Self::wait_for_a_run); nobody asks for a run any more.
    pub(super) unsafe fn wait_until_idle(&self) {
        // SAFETY: as the caller promises.
        while unsafe { self.wait_for_a_run() } {}
    }

    pub(super) fn is_this_threads(&self) -> bool {
        let thread = self.thread.load(Ordering::Relaxed);
        thread != 0 && thread == current_thread()
    }

    /// Frees the item.
    ///
    /// # Safety
    ///
    /// At most `DISPATCH_LEVEL`. Idle, and nobody uses it any more. Once.
    pub(super) unsafe fn free(&self) {
        // The routine may still be returning: the documentation lets it free its own item, so nothing
        // of the item is used after it.
        // SAFETY: allocated by `new`, not queued, freed this once (caller).
        unsafe { nt::IoFreeWorkItem(self.item) };
    }
}

/// A run of a work item, which ends when this is dropped.
pub(super) struct RunOf {
    queue: NonNull<WorkQueue>,
    routine: nt::PIO_WORKITEM_ROUTINE,
    context: nt::PVOID,
}

impl Drop for RunOf {
    fn drop(&mut self) {
        // SAFETY: once for the `begin` that made this, with the same; whoever began touches nothing
        // afterwards.
        unsafe { WorkQueue::end(self.queue, self.routine, self.context) };
    }
}

/// `IoQueueWorkItem`. IRQL: at most `DISPATCH_LEVEL`.
///
/// # Safety
///
/// `item` is allocated and not queued; `routine` and `context` go together and stay until the
/// routine is through.
unsafe fn queue(item: nt::PIO_WORKITEM, routine: nt::PIO_WORKITEM_ROUTINE, context: nt::PVOID) {
    let queue = nt::_WORK_QUEUE_TYPE::DelayedWorkQueue;
    // SAFETY: as the caller promises.
    unsafe { nt::IoQueueWorkItem(item, routine, queue, context) };
}

/// `KernelMode`, as the type that waits take.
pub(crate) const KERNEL_MODE: nt::KPROCESSOR_MODE = 0;

const _: () = assert!(nt::_MODE::KernelMode == KERNEL_MODE as i32);

/// `KeWaitForSingleObject`, in the kernel's own interest and for as long as it takes.
///
/// # Safety
///
/// `PASSIVE_LEVEL`; `event` is initialised and stays during the wait.
pub(crate) unsafe fn wait_for(event: *mut nt::KEVENT) {
    let reason = nt::_KWAIT_REASON::Executive;
    // SAFETY: initialised, and waiting is allowed here (caller). A wait in kernel mode that is not
    // alertable and has no timeout ends when the event is signalled, and not otherwise.
    let _satisfied = unsafe {
        nt::KeWaitForSingleObject(event.cast(), reason, KERNEL_MODE, nt::FALSE, ptr::null_mut())
    };
}
