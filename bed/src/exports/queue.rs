//! Cancel-safe queues.

use wdm_interrupt_model::nt::{
    IO_CSQ, IO_CSQ_ACQUIRE_LOCK, IO_CSQ_COMPLETE_CANCELED_IRP, IO_CSQ_INSERT_IRP,
    IO_CSQ_IRP_CONTEXT, IO_CSQ_PEEK_NEXT_IRP, IO_CSQ_RELEASE_LOCK, IO_CSQ_REMOVE_IRP, NTSTATUS,
    PIO_CSQ, PIRP, PVOID, STATUS_SUCCESS,
};

use crate::io::queue;

super::exports! {
    can_fail(status) fn IoCsqInitialize(
        csq: PIO_CSQ,
        insert: Option<IO_CSQ_INSERT_IRP>,
        remove: Option<IO_CSQ_REMOVE_IRP>,
        peek: Option<IO_CSQ_PEEK_NEXT_IRP>,
        acquire: Option<IO_CSQ_ACQUIRE_LOCK>,
        release: Option<IO_CSQ_RELEASE_LOCK>,
        cancelled: Option<IO_CSQ_COMPLETE_CANCELED_IRP>,
    ) -> NTSTATUS {
        let value = IO_CSQ {
            Type: queue::kind(false),
            CsqInsertIrp: insert,
            CsqRemoveIrp: remove,
            CsqPeekNextIrp: peek,
            CsqAcquireLock: acquire,
            CsqReleaseLock: release,
            CsqCompleteCanceledIrp: cancelled,
            ReservePointer: core::ptr::null_mut(),
        };
        // SAFETY: the driver gives memory for the queue.
        unsafe { csq.write(value) };
        STATUS_SUCCESS
    }

    can_fail(status) fn IoCsqInitializeEx(
        csq: PIO_CSQ,
        insert: Option<IO_CSQ_INSERT_IRP>,
        remove: Option<IO_CSQ_REMOVE_IRP>,
        peek: Option<IO_CSQ_PEEK_NEXT_IRP>,
        acquire: Option<IO_CSQ_ACQUIRE_LOCK>,
        release: Option<IO_CSQ_RELEASE_LOCK>,
        cancelled: Option<IO_CSQ_COMPLETE_CANCELED_IRP>,
    ) -> NTSTATUS {
        // The insert routine has another type, which the queue's type tells.
        let value = IO_CSQ {
            Type: queue::kind(true),
            CsqInsertIrp: insert,
            CsqRemoveIrp: remove,
            CsqPeekNextIrp: peek,
            CsqAcquireLock: acquire,
            CsqReleaseLock: release,
            CsqCompleteCanceledIrp: cancelled,
            ReservePointer: core::ptr::null_mut(),
        };
        // SAFETY: the driver gives memory for the queue.
        unsafe { csq.write(value) };
        STATUS_SUCCESS
    }

    fn IoCsqInsertIrp(csq: PIO_CSQ, irp: PIRP, context: *mut IO_CSQ_IRP_CONTEXT) {
        // SAFETY: the driver's promise: an initialised queue, its own IRP.
        unsafe { queue::insert(csq, irp, context, core::ptr::null_mut()) };
    }

    fn IoCsqInsertIrpEx(
        csq: PIO_CSQ,
        irp: PIRP,
        context: *mut IO_CSQ_IRP_CONTEXT,
        insert_context: PVOID,
    ) -> NTSTATUS {
        // SAFETY: the driver's promise: an initialised queue, its own IRP.
        unsafe { queue::insert(csq, irp, context, insert_context) }
    }

    fn IoCsqRemoveIrp(csq: PIO_CSQ, context: *mut IO_CSQ_IRP_CONTEXT) -> PIRP {
        // SAFETY: the driver's promise: an initialised queue.
        unsafe { queue::remove(csq, context) }
    }

    fn IoCsqRemoveNextIrp(csq: PIO_CSQ, peek_context: PVOID) -> PIRP {
        // SAFETY: the driver's promise: an initialised queue.
        unsafe { queue::remove_next(csq, peek_context) }
    }
}
