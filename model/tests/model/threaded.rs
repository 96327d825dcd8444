//! Threaded DPCs, importance, and where DPCs run.

use std::{
    cell::RefCell,
    sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering},
};

use wdm_interrupt_model::{hal, host::Machine, nt};

use super::raw::{self, Dpc, at, flush};

#[test]
fn a_threaded_dpc_runs_at_passive_level_or_where_that_is_turned_off_at_dispatch_level() {
    let machine = Machine::new(1).enter();
    let (irql, ran) = (AtomicU8::new(9), AtomicUsize::new(0));
    let dpc = Dpc::threaded(|first, second| {
        assert_eq!((first, second), (7, 8));
        irql.store(raw::irql(), Ordering::SeqCst);
        ran.fetch_add(1, Ordering::SeqCst);
    });
    for (turned_off, expected) in [(false, 0), (true, 2)] {
        machine.threaded_dpcs_at_dispatch_level(turned_off);
        assert!(dpc.queue_with(7, 8));
        flush();
        assert_eq!(irql.load(Ordering::SeqCst), expected);
    }
    assert_eq!(ran.load(Ordering::SeqCst), 2);
}

#[test]
fn a_threaded_dpc_does_not_wait_for_the_irql_to_go_down() {
    let machine = Machine::new(1).enter();
    let ran = AtomicBool::new(false);
    let dpc = Dpc::threaded(|_, _| ran.store(true, Ordering::SeqCst));
    at(2, || {
        dpc.queue();
        while !ran.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
    });
    machine.settle();
}

#[test]
fn a_threaded_dpc_runs_on_two_processors_at_once() {
    let machine = Machine::new(2).enter();
    let (inside, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let dpc = Dpc::threaded(|_, _| {
        most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        machine.wait_until(|| most.load(Ordering::SeqCst) == 2);
        inside.fetch_sub(1, Ordering::SeqCst);
    });
    assert_eq!(dpc.target(0), nt::STATUS_SUCCESS);
    dpc.queue();
    machine.wait_until(|| inside.load(Ordering::SeqCst) == 1);
    assert_eq!(dpc.target(1), nt::STATUS_SUCCESS);
    assert!(dpc.queue());
    flush();
    assert_eq!((inside.load(Ordering::SeqCst), most.load(Ordering::SeqCst)), (0, 2));
}

#[test]
fn flushing_waits_for_a_threaded_dpc_to_the_end() {
    let machine = Machine::new(1).enter();
    machine.hold_dpcs(true);
    let left = AtomicBool::new(false);
    let dpc = Dpc::threaded(|_, _| {
        std::thread::sleep(std::time::Duration::from_millis(30));
        left.store(true, Ordering::SeqCst);
    });
    dpc.queue();
    raw::irql();
    assert!(!left.load(Ordering::SeqCst));
    flush();
    assert!(left.load(Ordering::SeqCst));
}

#[test]
fn threaded_dpcs_that_were_held_back_run_when_they_are_let_go() {
    let machine = Machine::new(1).enter();
    machine.hold_dpcs(true);
    let ran = AtomicUsize::new(0);
    let dpc = Dpc::threaded(|_, _| {
        ran.fetch_add(1, Ordering::SeqCst);
    });
    dpc.queue();
    assert!(!dpc.queue());
    machine.hold_dpcs(false);
    machine.settle();
    assert_eq!(ran.load(Ordering::SeqCst), 1);
}

#[test]
fn one_that_is_queued_while_another_runs_can_be_held_back_too() {
    let machine = Machine::new(1).enter();
    let (inside, go_on) = (AtomicBool::new(false), AtomicBool::new(false));
    let ran = AtomicBool::new(false);
    let first = Dpc::threaded(|_, _| {
        inside.store(true, Ordering::SeqCst);
        machine.wait_until(|| go_on.load(Ordering::SeqCst));
    });
    let second = Dpc::threaded(|_, _| ran.store(true, Ordering::SeqCst));
    first.queue();
    machine.wait_until(|| inside.load(Ordering::SeqCst));
    machine.hold_dpcs(true);
    second.queue();
    go_on.store(true, Ordering::SeqCst);
    machine.settle();
    assert!(!ran.load(Ordering::SeqCst));
    flush();
    assert!(ran.load(Ordering::SeqCst));
}

#[test]
fn a_removed_threaded_dpc_does_not_run() {
    let machine = Machine::new(1).enter();
    machine.hold_dpcs(true);
    let ran = AtomicBool::new(false);
    let dpc = Dpc::threaded(|_, _| ran.store(true, Ordering::SeqCst));
    dpc.queue();
    assert!(dpc.remove());
    assert!(!dpc.remove());
    machine.hold_dpcs(false);
    flush();
    assert!(!ran.load(Ordering::SeqCst));
}

/// The processors on which DPCs ran, in order.
fn ran_on(machine: &Machine) -> Vec<usize> {
    let events = machine.events().into_iter();
    let ran = events.filter_map(|event| match event {
        hal::Event::DpcEntered { processor, .. } => Some(processor),
        _ => None,
    });
    ran.collect()
}

#[test]
fn a_dpc_runs_on_the_processor_that_is_its_target() {
    let machine = Machine::new(3).enter();
    for dpc in [Dpc::new(|_, _| ()), Dpc::threaded(|_, _| ())] {
        for processor in [2, 0, 1] {
            assert_eq!(dpc.target(processor), nt::STATUS_SUCCESS);
            dpc.queue();
            flush();
        }
    }
    assert_eq!(ran_on(&machine), [2, 0, 1, 2, 0, 1]);
    assert_eq!(Dpc::new(|_, _| ()).target(3), nt::STATUS_INVALID_PARAMETER);
}

#[test]
fn a_dpc_of_low_importance_can_be_delayed_until_another_or_a_flush() {
    let machine = Machine::new(1).enter();
    machine.delay_low_importance(true);
    let order = RefCell::new(Vec::new());
    let low = Dpc::new(|_, _| order.borrow_mut().push("low"));
    let medium = Dpc::new(|_, _| order.borrow_mut().push("medium"));
    let high = Dpc::new(|_, _| order.borrow_mut().push("high"));
    low.importance(nt::_KDPC_IMPORTANCE::LowImportance);
    high.importance(nt::_KDPC_IMPORTANCE::HighImportance);
    low.queue();
    machine.poll();
    assert_eq!(order.take(), [""; 0]);
    at(2, || {
        medium.queue();
        high.queue();
    });
    assert_eq!(order.take(), ["high", "low", "medium"]);
    low.queue();
    assert_eq!(order.take(), [""; 0]);
    flush();
    assert_eq!(order.take(), ["low"]);
    low.queue();
    machine.delay_low_importance(false);
    assert_eq!(order.take(), ["low"]);
}
