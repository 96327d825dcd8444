//! Work items.

use std::ptr;

use wdm_interrupt_model::{
    Rule,
    host::{Machine, kernel},
    nt,
    report::Object,
};

use super::super::{
    broken::{breaks, stop},
    raw::{self, WorkItem},
};

const QUEUE: &str = "IoQueueWorkItem";

fn named(item: &WorkItem<'_>) -> [Object; 1] {
    [Object::WorkItem { address: item.item.addr() }]
}

fn routine() -> u64 {
    raw::work_routine as *const () as usize as u64
}

#[test]
fn work_item_state_queued_or_freed_while_queued() {
    let machine = Machine::new(1).enter();
    machine.hold_work_items(true);
    let device = machine.device().build();
    let item = WorkItem::new(&device, |_| ());
    let address = item.item.addr() as u64;
    item.queue();
    let delayed = u64::from(nt::_WORK_QUEUE_TYPE::DelayedWorkQueue.cast_unsigned());
    breaks(&machine, Rule::WorkItemState, || item.queue()).is(
        QUEUE,
        0,
        stop(0xE4, [0x1, address, delayed, 0]),
        &named(&item),
    );
    breaks(&machine, Rule::WorkItemState, || item.free()).is(
        "IoFreeWorkItem",
        0,
        stop(0xE4, [0x2, address, routine(), 0]),
        &named(&item),
    );
    machine.hold_work_items(false);
    machine.settle();
    item.free();
    let again = breaks(&machine, Rule::WorkItemState, || item.free());
    again.is("IoFreeWorkItem", 0, None, &named(&item));
    let freed = breaks(&machine, Rule::WorkItemState, || item.queue());
    freed.is(QUEUE, 0, None, &named(&item));
}

#[test]
fn work_item_state_no_such_queue_and_no_routine() {
    let machine = Machine::new(1).enter();
    let device = machine.device().build();
    let item = WorkItem::new(&device, |_| ());
    let address = item.item.addr() as u64;
    let maximum = nt::_WORK_QUEUE_TYPE::MaximumWorkQueue;
    breaks(&machine, Rule::WorkItemState, || {
        // SAFETY: the breach.
        unsafe {
            kernel::IoQueueWorkItem(item.item, Some(raw::work_routine), maximum, ptr::null_mut());
        }
    })
    .is(
        QUEUE,
        0,
        stop(0xE4, [0x6, address, maximum.cast_unsigned().into(), 0]),
        &named(&item),
    );
    let critical = nt::_WORK_QUEUE_TYPE::CriticalWorkQueue;
    breaks(&machine, Rule::WorkItemState, || {
        // SAFETY: the breach.
        unsafe { kernel::IoQueueWorkItem(item.item, None, critical, ptr::null_mut()) };
    })
    .is(
        QUEUE,
        0,
        stop(0xE4, [0x7, address, critical.cast_unsigned().into(), 0]),
        &named(&item),
    );
    item.free();
}

#[test]
fn work_item_state_returned_at_raised_irql() {
    let machine = Machine::new(1).enter();
    let device = machine.device().build();
    for irql in [1, 2] {
        let item = WorkItem::new(&device, |_| std::mem::forget(raw::raised(irql)));
        let report = breaks(&machine, Rule::WorkItemState, || {
            item.queue();
            machine.settle();
        });
        // The bug check is for DISPATCH_LEVEL and above.
        let parameters = [routine(), 2, item.context().addr() as u64, item.item.addr() as u64];
        let stopped = if irql == 2 { stop(0xE1, parameters) } else { None };
        report.is("a work item's routine", irql, stopped, &named(&item));
        item.free();
    }
}

#[test]
fn work_item_device_something_else() {
    let machine = Machine::new(1).enter();
    for device in [ptr::null_mut(), ptr::without_provenance_mut(0x1000)] {
        breaks(&machine, Rule::WorkItemDevice, || {
            // SAFETY: the breach.
            unsafe { kernel::IoAllocateWorkItem(device) };
        })
        .is("IoAllocateWorkItem", 0, None, &[Object::Device { address: device.addr() }]);
    }
}
