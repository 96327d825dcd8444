//! Cancel-safe queues: the `IoCsq` routines, which keep cancellation and removal of an IRP apart.

use wdm_interrupt_model::nt::{
    IO_CSQ, IO_CSQ_INSERT_IRP_EX, IO_CSQ_IRP_CONTEXT, IO_TYPE_CSQ, IO_TYPE_CSQ_EX,
    IO_TYPE_CSQ_IRP_CONTEXT, NTSTATUS, PDEVICE_OBJECT, PIO_CSQ, PIRP, PVOID, STATUS_SUCCESS,
};

use super::irp;
use crate::kernel::cancel_lock;

/// Index of the member of `DriverContext` that the queue uses while it has an IRP.
const CONTEXT: usize = 3;

/// The queue's routines, all there.
#[derive(Debug, Clone, Copy)]
struct Queue {
    csq: PIO_CSQ,
    members: IO_CSQ,
}

impl Queue {
    /// Reads an initialised queue.
    ///
    /// # Safety
    ///
    /// `csq` was initialised.
    unsafe fn new(csq: PIO_CSQ) -> Self {
        // SAFETY: the caller vouches for the queue.
        Self { csq, members: unsafe { *csq } }
    }

    fn lock(&self) -> u8 {
        let mut irql = 0;
        if let Some(acquire) = self.members.CsqAcquireLock {
            // SAFETY: the driver gave the routine for this queue.
            unsafe { acquire(self.csq, &raw mut irql) };
        }
        irql
    }

    fn unlock(&self, irql: u8) {
        if let Some(release) = self.members.CsqReleaseLock {
            // SAFETY: the driver gave the routine for this queue, which is locked.
            unsafe { release(self.csq, irql) };
        }
    }

    fn insert(&self, irp: PIRP, context: PVOID) -> NTSTATUS {
        let Some(insert) = self.members.CsqInsertIrp else { return STATUS_SUCCESS };
        if self.members.Type == IO_TYPE_CSQ_EX {
            // SAFETY: a queue of this type was given a routine of this kind.
            let insert: IO_CSQ_INSERT_IRP_EX = unsafe { core::mem::transmute(insert) };
            // SAFETY: the queue is locked, the IRP is the caller's.
            return unsafe { insert(self.csq, irp, context) };
        }
        // SAFETY: the queue is locked, the IRP is the caller's.
        unsafe { insert(self.csq, irp) };
        STATUS_SUCCESS
    }

    fn remove(&self, irp: PIRP) {
        if let Some(remove) = self.members.CsqRemoveIrp {
            // SAFETY: the queue is locked, and the IRP is in it.
            unsafe { remove(self.csq, irp) };
        }
    }

    fn peek(&self, after: PIRP, context: PVOID) -> PIRP {
        self.members.CsqPeekNextIrp.map_or(core::ptr::null_mut(), |peek| {
            // SAFETY: the queue is locked; `after` is NULL or in it.
            unsafe { peek(self.csq, after, context) }
        })
    }

    fn complete_cancelled(&self, irp: PIRP) {
        if let Some(complete) = self.members.CsqCompleteCanceledIrp {
            // SAFETY: the IRP was taken from the queue and is handed to the driver.
            unsafe { complete(self.csq, irp) };
        }
    }
}

/// The member that the queue has of an IRP while the IRP is in it.
fn member<'a>(irp: PIRP) -> &'a mut PVOID {
    // SAFETY: the IRP exists; the caller has it, or has the queue locked.
    let tail = unsafe { &mut (*irp).Tail };
    // SAFETY: the overlay is the member in use outside APCs.
    let overlay = unsafe { &mut tail.Overlay };
    &mut overlay.DriverContext[CONTEXT]
}

fn driver_context(irp: PIRP) -> PVOID {
    *member(irp)
}

fn set_driver_context(irp: PIRP, value: PVOID) {
    *member(irp) = value;
}

/// Forgets the IRP's place in the queue; the queue is locked.
fn forget(irp: PIRP) {
    let context = driver_context(irp).cast::<IO_CSQ_IRP_CONTEXT>();
    // SAFETY: the member points to a queue or to a caller's context, both begin with their type.
    if unsafe { *context.cast::<u32>() } == IO_TYPE_CSQ_IRP_CONTEXT {
        // SAFETY: it is a context, as its type says.
        unsafe { (*context).Irp = core::ptr::null_mut() };
    }
    set_driver_context(irp, core::ptr::null_mut());
}

/// What `IoCsqInsertIrpEx` does.
///
/// # Safety
///
/// The queue was initialised, the IRP is the caller's, and `context` is NULL or stays until the IRP is
/// taken from the queue.
pub(crate) unsafe fn insert(
    csq: PIO_CSQ,
    irp: PIRP,
    context: *mut IO_CSQ_IRP_CONTEXT,
    insert_context: PVOID,
) -> NTSTATUS {
    // SAFETY: the caller vouches for the queue.
    let queue = unsafe { Queue::new(csq) };
    if context.is_null() {
        set_driver_context(irp, csq.cast());
    } else {
        let value = IO_CSQ_IRP_CONTEXT { Type: IO_TYPE_CSQ_IRP_CONTEXT, Irp: irp, Csq: csq };
        // SAFETY: the caller vouches for the context.
        unsafe { context.write(value) };
        set_driver_context(irp, context.cast());
    }
    let irql = queue.lock();
    let status = queue.insert(irp, insert_context);
    if status < 0 {
        forget(irp);
        queue.unlock(irql);
        return status;
    }
    // Only what is in the queue is pending: an IRP that was refused is the caller's to complete.
    irp::mark_pending(irp);
    // SAFETY: the IRP is in the queue, which is locked, so it stays.
    unsafe { irp::set_cancel_routine(irp, Some(cancelled)) };
    // SAFETY: as above.
    if unsafe { irp::is_cancelled(irp) }
        // SAFETY: as above.
        && unsafe { irp::set_cancel_routine(irp, None) }.is_some()
    {
        queue.remove(irp);
        forget(irp);
        queue.unlock(irql);
        queue.complete_cancelled(irp);
    } else {
        queue.unlock(irql);
    }
    status
}

/// The cancel routine of every IRP in a queue.
unsafe extern "win64" fn cancelled(_: PDEVICE_OBJECT, irp: PIRP) {
    // SAFETY: IoCancelIrp keeps the IRP until this returns, and saved the IRQL in it.
    cancel_lock::release(unsafe { (*irp).CancelIrql });
    let context = driver_context(irp);
    // SAFETY: the member points to a queue or to a caller's context, both begin with their type.
    let csq = if unsafe { *context.cast::<u32>() } == IO_TYPE_CSQ_IRP_CONTEXT {
        // SAFETY: it is a context, as its type says.
        unsafe { (*context.cast::<IO_CSQ_IRP_CONTEXT>()).Csq }
    } else {
        context.cast()
    };
    // SAFETY: the IRP is in this queue, so the queue was initialised.
    let queue = unsafe { Queue::new(csq) };
    let irql = queue.lock();
    queue.remove(irp);
    forget(irp);
    queue.unlock(irql);
    queue.complete_cancelled(irp);
}

/// What `IoCsqRemoveIrp` does.
///
/// # Safety
///
/// The queue was initialised, and `context` was given to [`insert`].
pub(crate) unsafe fn remove(csq: PIO_CSQ, context: *mut IO_CSQ_IRP_CONTEXT) -> PIRP {
    // SAFETY: the caller vouches for the queue.
    let queue = unsafe { Queue::new(csq) };
    let irql = queue.lock();
    // SAFETY: the caller vouches for the context, which the queue's lock guards.
    let mut irp = unsafe { (*context).Irp };
    if !irp.is_null() {
        // SAFETY: the IRP is in the queue, which is locked.
        if unsafe { irp::set_cancel_routine(irp, None) }.is_some() {
            queue.remove(irp);
            forget(irp);
        } else {
            irp = core::ptr::null_mut();
        }
    }
    queue.unlock(irql);
    irp
}

/// What `IoCsqRemoveNextIrp` does.
///
/// # Safety
///
/// The queue was initialised.
pub(crate) unsafe fn remove_next(csq: PIO_CSQ, peek_context: PVOID) -> PIRP {
    // SAFETY: the caller vouches for the queue.
    let queue = unsafe { Queue::new(csq) };
    let irql = queue.lock();
    let mut irp = queue.peek(core::ptr::null_mut(), peek_context);
    while !irp.is_null() {
        // SAFETY: the IRP is in the queue, which is locked.
        if unsafe { irp::set_cancel_routine(irp, None) }.is_some() {
            queue.remove(irp);
            forget(irp);
            break;
        }
        irp = queue.peek(irp, peek_context);
    }
    queue.unlock(irql);
    irp
}

/// The type of a queue that [`initialise`] makes.
pub(crate) const fn kind(extended: bool) -> u32 {
    if extended { IO_TYPE_CSQ_EX } else { IO_TYPE_CSQ }
}
