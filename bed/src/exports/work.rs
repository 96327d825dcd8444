//! Work items.

use wdm_interrupt_model::nt::{IO_WORKITEM_ROUTINE, IO_WORKITEM_ROUTINE_EX, PDEVICE_OBJECT, PVOID};

use crate::io::work::{self, Routine, WorkItem};

super::exports! {
    fn IoAllocateWorkItem(device: PDEVICE_OBJECT) -> *mut WorkItem {
        work::allocate(device)
    }

    fn IoFreeWorkItem(item: *mut WorkItem) {
        // SAFETY: the driver's promise: an item that it does not use any more.
        unsafe { work::free(item) }
    }

    fn IoQueueWorkItem(
        item: *mut WorkItem,
        routine: IO_WORKITEM_ROUTINE,
        _queue: i32,
        context: PVOID,
    ) {
        // SAFETY: the driver's promise: an item that is not queued, and its routine.
        unsafe { work::queue(item, Routine::Plain(routine), context) }
    }

    fn IoQueueWorkItemEx(
        item: *mut WorkItem,
        routine: IO_WORKITEM_ROUTINE_EX,
        _queue: i32,
        context: PVOID,
    ) {
        // SAFETY: the driver's promise: an item that is not queued, and its routine.
        unsafe { work::queue(item, Routine::Extended(routine), context) }
    }
}
