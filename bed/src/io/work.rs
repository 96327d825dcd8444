//! Work items: routines that run at `PASSIVE_LEVEL` on whichever processor is idle, and keep their
//! device object until they are through.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;

use wdm_interrupt_model::nt::{IO_WORKITEM_ROUTINE, IO_WORKITEM_ROUTINE_EX, PDEVICE_OBJECT, PVOID};

use super::device;
use crate::sync::Lock;
use crate::verify::{Rule, broken};
use crate::{irql, smp};

/// What `IoAllocateWorkItem` returns. Its inside is nobody's but the bed's.
#[derive(Debug)]
pub(crate) struct WorkItem {
    device: PDEVICE_OBJECT,
}

/// Whether each item that exists is queued.
static ITEMS: Lock<BTreeMap<usize, bool>> = Lock::new(BTreeMap::new());

/// The routine of a queued item.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Routine {
    /// Of `IoQueueWorkItem`.
    Plain(IO_WORKITEM_ROUTINE),
    /// Of `IoQueueWorkItemEx`.
    Extended(IO_WORKITEM_ROUTINE_EX),
}

/// What `IoAllocateWorkItem` does.
pub(crate) fn allocate(device: PDEVICE_OBJECT) -> *mut WorkItem {
    device::check(device, "IoAllocateWorkItem");
    let item = Box::into_raw(Box::new(WorkItem { device }));
    ITEMS.lock().insert(item.addr(), false);
    item
}

/// What `IoFreeWorkItem` does.
///
/// # Safety
///
/// Nobody uses the item any more.
pub(crate) unsafe fn free(item: *mut WorkItem) {
    if ITEMS.lock().remove(&item.addr()) != Some(false) {
        broken(
            Rule::LeftBehind,
            "IoFreeWorkItem",
            format_args!("the work item {item:p} is queued, or is none"),
        );
    }
    // SAFETY: the item was made by `allocate` and is forgotten now.
    drop(unsafe { Box::from_raw(item) });
}

/// What `IoQueueWorkItem` does.
///
/// # Safety
///
/// The routine is the driver's for this item, and the context what it takes.
pub(crate) unsafe fn queue(item: *mut WorkItem, routine: Routine, context: PVOID) {
    crate::verify::at_most(2, "IoQueueWorkItem");
    if ITEMS.lock().insert(item.addr(), true) != Some(false) {
        broken(
            Rule::LeftBehind,
            "IoQueueWorkItem",
            format_args!("the work item {item:p} is queued already, or is none"),
        );
    }
    // SAFETY: the item exists.
    let object = unsafe { (*item).device };
    device::reference(object);
    let (object, item, context) = (object.addr(), item.addr(), context.addr());
    smp::queue_work(move || {
        ITEMS.lock().insert(item, false);
        let object = object as PDEVICE_OBJECT;
        let context = context as PVOID;
        match routine {
            // SAFETY: the driver queued this routine with this context.
            Routine::Plain(routine) => unsafe { routine(object, context) },
            // SAFETY: as above.
            Routine::Extended(routine) => unsafe {
                routine(object.cast(), context, item as PVOID);
            },
        }
        if irql::current() != 0 {
            broken(Rule::DispatchState, "a work item's routine", format_args!("IRQL was raised"));
        }
        device::dereference(object);
    });
}

/// How many items exist.
pub(crate) fn left() -> usize {
    ITEMS.lock().len()
}
