//! Work items.

use wdm_interrupt_model::nt::{
    PDEVICE_OBJECT, PIO_WORKITEM, PIO_WORKITEM_ROUTINE, PVOID, WORK_QUEUE_TYPE,
};

use crate::kernel::EXECUTIVE;

super::exports! {
    can_fail(itself) fn IoAllocateWorkItem(device: PDEVICE_OBJECT) -> PIO_WORKITEM {
        EXECUTIVE.io_allocate_work_item(device)
    }

    fn IoFreeWorkItem(item: PIO_WORKITEM) {
        EXECUTIVE.io_free_work_item(item);
    }

    fn IoQueueWorkItem(
        item: PIO_WORKITEM,
        routine: PIO_WORKITEM_ROUTINE,
        queue: WORK_QUEUE_TYPE,
        context: PVOID,
    ) {
        // SAFETY: the driver's promise: the routine can be called with this context, in another thread.
        unsafe { EXECUTIVE.io_queue_work_item(item, routine, queue, context) }
    }
}
