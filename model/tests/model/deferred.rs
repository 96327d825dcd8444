//! Deferred procedure calls.

use std::{
    cell::{Cell, RefCell},
    ptr,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use wdm_interrupt_model::{
    host::{Machine, kernel},
    nt,
};

use super::raw::{self, Dpc, Service, at, flush};

#[test]
fn a_dpc_runs_at_dispatch_level_as_soon_as_the_irql_allows() {
    let machine = Machine::new(1).enter();
    let seen = Cell::new(None);
    let dpc = Dpc::new(|first, second| seen.set(Some((raw::irql(), first, second))));
    at(2, || {
        assert!(dpc.queue_with(7, 8));
        assert_eq!(seen.get(), None);
    });
    assert_eq!(seen.get(), Some((2, 7, 8)));
    machine.leave();
}

#[test]
fn a_dpc_of_a_service_routine_runs_when_the_interrupt_is_over() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let order = RefCell::new(Vec::new());
    let dpc = Dpc::new(|_, _| order.borrow_mut().push("dpc"));
    let service = Service::new(|_| {
        dpc.queue();
        order.borrow_mut().push("isr");
        true
    });
    let connection = raw::line(&device, &service);
    device.raise_line();
    assert_eq!(order.take(), ["isr", "dpc"]);
    at(2, || {
        device.raise_line();
        assert_eq!(order.take(), ["isr"]);
    });
    assert_eq!(order.take(), ["dpc"]);
    connection.disconnect();
}

#[test]
fn a_queued_dpc_is_not_queued_again_and_keeps_its_first_arguments() {
    let machine = Machine::new(1).enter();
    let seen = RefCell::new(Vec::new());
    let dpc = Dpc::new(|first, _| seen.borrow_mut().push(first));
    at(2, || {
        assert!(dpc.queue_with(1, 0));
        assert!(!dpc.queue_with(2, 0));
    });
    assert_eq!(seen.take(), [1]);
    assert!(dpc.queue_with(3, 0));
    assert_eq!(seen.take(), [3]);
    machine.leave();
}

#[test]
fn a_running_dpc_can_be_queued_and_run_on_another_processor_at_once() {
    let machine = Machine::new(2).enter();
    let (inside, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let dpc = Dpc::new(|_, _| {
        most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        for _ in 0..200 {
            if most.load(Ordering::SeqCst) == 2 {
                break;
            }
            thread::sleep(Duration::from_millis(10));
        }
        inside.fetch_sub(1, Ordering::SeqCst);
    });
    let dpc = &dpc;
    machine.scope(|scope| {
        scope.spawn(1, || {
            assert!(dpc.queue());
        });
        while inside.load(Ordering::SeqCst) == 0 {}
        assert!(dpc.queue());
    });
    assert_eq!(most.load(Ordering::SeqCst), 2);
}

#[test]
fn a_dpc_of_high_importance_goes_first() {
    let machine = Machine::new(1).enter();
    let order = RefCell::new(Vec::new());
    let low = Dpc::new(|_, _| order.borrow_mut().push("medium"));
    let high = Dpc::new(|_, _| order.borrow_mut().push("high"));
    // SAFETY: an initialised KDPC.
    unsafe { kernel::KeSetImportanceDpc(high.pointer(), nt::_KDPC_IMPORTANCE::HighImportance) };
    at(2, || {
        low.queue();
        high.queue();
    });
    assert_eq!(order.take(), ["high", "medium"]);
    machine.leave();
}

#[test]
fn a_removed_dpc_does_not_run() {
    let machine = Machine::new(1).enter();
    let ran = Cell::new(false);
    let dpc = Dpc::new(|_, _| ran.set(true));
    // SAFETY: an initialised KDPC.
    let remove = || unsafe { kernel::KeRemoveQueueDpc(dpc.pointer()) };
    at(2, || {
        dpc.queue();
        assert_eq!(remove(), 1);
        assert_eq!(remove(), 0);
    });
    assert!(!ran.get());
    machine.leave();
}

#[test]
fn flushing_runs_what_is_held_back_on_every_processor() {
    let machine = Machine::new(3).enter();
    machine.hold_dpcs(true);
    let ran = Cell::new(0);
    let dpcs: Vec<_> = (0..3).map(|_| Dpc::new(|_, _| ran.set(ran.get() + 1))).collect();
    for (dpc, number) in dpcs.iter().zip(0_u8..) {
        let mut number = nt::PROCESSOR_NUMBER { Group: 0, Number: number, Reserved: 0 };
        // SAFETY: an initialised KDPC and a number.
        let status = unsafe { kernel::KeSetTargetProcessorDpcEx(dpc.pointer(), &raw mut number) };
        assert_eq!(status, nt::STATUS_SUCCESS);
        dpc.queue();
    }
    assert_eq!(ran.get(), 0);
    flush();
    assert_eq!(ran.get(), 3);
}

#[test]
fn flushing_waits_for_a_dpc_that_runs_on_another_processor() {
    let machine = Machine::new(2).enter();
    let (entered, left) = (AtomicBool::new(false), AtomicBool::new(false));
    let dpc = Dpc::new(|_, _| {
        entered.store(true, Ordering::SeqCst);
        thread::sleep(Duration::from_millis(50));
        left.store(true, Ordering::SeqCst);
    });
    let dpc = &dpc;
    machine.scope(|scope| {
        scope.spawn(1, || {
            dpc.queue();
        });
        while !entered.load(Ordering::SeqCst) {
            std::hint::spin_loop();
        }
        flush();
        assert!(left.load(Ordering::SeqCst));
    });
}

#[test]
fn flushing_does_not_wait_for_later_dpcs() {
    let machine = Machine::new(1).enter();
    machine.hold_dpcs(true);
    let ran = Cell::new(0);
    // Queues itself for ever, so a flush that waited for all would never end.
    let dpc = Cell::new(ptr::null_mut());
    let again = Dpc::new(|_, _| {
        ran.set(ran.get() + 1);
        // SAFETY: set below to this very KDPC.
        unsafe { kernel::KeInsertQueueDpc(dpc.get(), ptr::null_mut(), ptr::null_mut()) };
    });
    dpc.set(again.pointer());
    again.queue();
    flush();
    assert_eq!(ran.get(), 1);
    // SAFETY: an initialised KDPC.
    unsafe { kernel::KeRemoveQueueDpc(again.pointer()) };
}

#[test]
fn held_dpcs_run_when_they_are_let_go() {
    let machine = Machine::new(1).enter();
    machine.hold_dpcs(true);
    let ran = Cell::new(false);
    let dpc = Dpc::new(|_, _| ran.set(true));
    dpc.queue();
    raw::irql();
    assert!(!ran.get());
    machine.hold_dpcs(false);
    assert!(ran.get());
}

#[test]
fn a_dpc_may_take_spin_locks_and_synchronise_with_its_interrupt() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let lock = Cell::new(0_u64);
    let connection = Cell::new(None::<raw::Connection>);
    let synchronised = Cell::new(0);
    let dpc = Dpc::new(|_, _| {
        // SAFETY: the lock is in place.
        unsafe { kernel::KeAcquireSpinLockAtDpcLevel(lock.as_ptr()) };
        let object = connection.get().expect("connected").object();
        raw::synchronize(object, || synchronised.set(raw::irql()));
        // SAFETY: acquired above.
        unsafe { kernel::KeReleaseSpinLockFromDpcLevel(lock.as_ptr()) };
    });
    let service = Service::new(|_| dpc.queue());
    connection.set(Some(raw::line(&device, &service)));
    device.raise_line();
    assert_eq!(synchronised.get(), 9);
    connection.get().expect("connected").disconnect();
}
