//! Work items and system threads.

use std::{
    ptr,
    sync::{
        Barrier,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use wdm_interrupt_model::{
    executive::Call,
    host::{Machine, kernel},
    nt,
};

use super::raw::{self, Event, WorkItem, at};

#[test]
fn a_work_item_runs_at_passive_level_in_another_thread_with_its_device_object() {
    let machine = Machine::new(1).enter();
    let device = machine.device().build();
    let object = device.function_device_object().addr();
    let here = std::thread::current().id();
    let ran = AtomicBool::new(false);
    let item = WorkItem::new(&device, |device| {
        assert_eq!((raw::irql(), device.addr()), (0, object));
        assert_ne!(std::thread::current().id(), here);
        ran.store(true, Ordering::SeqCst);
    });
    at(2, || item.queue());
    machine.settle();
    assert!(ran.load(Ordering::SeqCst));
    item.free();
}

#[test]
fn a_work_item_keeps_its_device_object_until_its_routine_is_through() {
    let machine = Machine::new(1).enter();
    let device = machine.device().build();
    let go_on = Event::notification();
    let item = WorkItem::new(&device, |_| go_on.wait());
    assert_eq!(device.references(), 0);
    item.queue();
    assert_eq!(device.references(), 1);
    go_on.set();
    machine.settle();
    assert_eq!(device.references(), 0);
    item.free();
}

#[test]
fn a_work_item_may_be_queued_again_and_freed_in_its_own_routine() {
    let machine = Machine::new(1).enter();
    let device = machine.device().build();
    let (ran, itself) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let item = WorkItem::new(&device, |_| {
        let item = ptr::with_exposed_provenance::<WorkItem<'_>>(itself.load(Ordering::SeqCst));
        // SAFETY: stored before it was queued, and in place to the test's end.
        let item = unsafe { &*item };
        if ran.fetch_add(1, Ordering::SeqCst) < 3 {
            item.queue();
        } else {
            item.free();
        }
    });
    itself.store((&raw const item).expose_provenance(), Ordering::SeqCst);
    item.queue();
    machine.settle();
    assert_eq!(ran.load(Ordering::SeqCst), 4);
}

#[test]
fn work_items_that_are_held_back_run_when_they_are_let_go() {
    let machine = Machine::new(1).enter();
    machine.hold_work_items(true);
    let device = machine.device().build();
    let ran = AtomicBool::new(false);
    let item = WorkItem::new(&device, |_| ran.store(true, Ordering::SeqCst));
    item.queue();
    machine.settle();
    assert!(!ran.load(Ordering::SeqCst));
    machine.hold_work_items(false);
    machine.settle();
    assert!(ran.load(Ordering::SeqCst));
    item.free();
}

#[test]
fn more_work_than_threads_is_done_all_the_same() {
    let machine = Machine::new(1).enter();
    let device = machine.device().build();
    let ran = AtomicUsize::new(0);
    let items: Vec<_> = (0..100)
        .map(|_| {
            WorkItem::new(&device, |_| {
                ran.fetch_add(1, Ordering::SeqCst);
            })
        })
        .collect();
    for item in &items {
        item.queue();
    }
    machine.settle();
    assert_eq!(ran.load(Ordering::SeqCst), 100);
    for item in items {
        item.free();
    }
}

#[test]
fn allocating_a_work_item_can_be_made_to_fail() {
    let machine = Machine::new(1).enter();
    let device = machine.device().build();
    machine.fail(Call::IoAllocateWorkItem, 0, nt::STATUS_INSUFFICIENT_RESOURCES);
    // SAFETY: a device object.
    let item = unsafe { kernel::IoAllocateWorkItem(device.function_device_object()) };
    assert!(item.is_null());
}

#[test]
fn system_threads_run_at_passive_level_all_at_once() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let (all, calls) = (Barrier::new(8), AtomicUsize::new(0));
    let service = raw::Service::new(|_| true);
    let connection = raw::line(&device, &service);
    let object = connection.object().addr();
    machine.scope(|scope| {
        for _ in 0..8 {
            scope.spawn_system_thread(|| {
                all.wait();
                assert_eq!(raw::irql(), 0);
                for _ in 0..100 {
                    raw::synchronize(ptr::without_provenance_mut(object), || {
                        // Under the interrupt's lock nothing gets lost.
                        let before = calls.load(Ordering::Relaxed);
                        std::hint::spin_loop();
                        calls.store(before + 1, Ordering::Relaxed);
                    });
                }
            });
        }
    });
    assert_eq!(calls.load(Ordering::SeqCst), 800);
    connection.disconnect();
}
