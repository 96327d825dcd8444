//! `KeSynchronizeExecution`, and the locks.

use std::{
    cell::Cell,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use wdm_interrupt_model::host::{Delivery, Machine, kernel};

use super::raw::{self, Service, at};

#[test]
fn the_routine_runs_at_the_synchronize_irql_and_interrupts_wait() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line_at(7, false, false).build();
    let calls = Cell::new(0);
    let service = Service::new(|_| {
        calls.set(calls.get() + 1);
        true
    });
    let connection = raw::line(&device, &service);
    for irql in [0, 2, 7] {
        calls.set(0);
        at(irql, || {
            let result = raw::synchronize(connection.object(), || {
                assert_eq!(raw::irql(), 7);
                assert_eq!(device.raise_line(), Delivery::Pending);
                assert_eq!(calls.get(), 0);
            });
            assert_eq!(result, 1);
            assert_eq!(raw::irql(), irql);
        });
        assert_eq!(calls.get(), 1);
    }
    connection.disconnect();
}

#[test]
fn the_interrupts_lock_does_the_same_by_hand() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let service = Service::new(|_| true);
    let connection = raw::line(&device, &service);
    // SAFETY: connected.
    let before = unsafe { kernel::KeAcquireInterruptSpinLock(connection.object()) };
    assert_eq!((before, raw::irql()), (0, 9));
    assert_eq!(device.raise_line(), Delivery::Pending);
    // SAFETY: acquired above.
    unsafe { kernel::KeReleaseInterruptSpinLock(connection.object(), before) };
    assert_eq!(raw::irql(), 0);
    connection.disconnect();
}

#[test]
fn a_service_routine_and_a_synchronize_routine_never_run_at_once() {
    const ROUNDS: usize = 2000;
    let machine = Machine::new(2).enter();
    let device = machine.device().line().build();
    // Not atomic as a whole: two at once would lose counts.
    let count = AtomicUsize::new(0);
    let add = || count.store(count.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    let service = Service::new(|_| {
        add();
        true
    });
    let connection = raw::line(&device, &service);
    let object = connection.object().expose_provenance();
    machine.scope(|scope| {
        scope.spawn(1, || {
            for _ in 0..ROUNDS {
                device.raise_line();
            }
        });
        for _ in 0..ROUNDS {
            raw::synchronize(std::ptr::with_exposed_provenance_mut(object), add);
        }
    });
    assert_eq!(count.load(Ordering::Relaxed), 2 * ROUNDS);
    connection.disconnect();
}

#[test]
fn a_routine_that_unwinds_leaves_the_lock_free() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let service = Service::new(|_| true);
    let connection = raw::line(&device, &service);
    let panic = std::panic::catch_unwind(|| {
        raw::synchronize(connection.object(), || panic!("the test's own"));
    });
    assert!(panic.is_err());
    assert_eq!(raw::irql(), 0);
    assert_eq!(raw::synchronize(connection.object(), || ()), 1);
    connection.disconnect();
}

#[test]
fn a_spin_lock_is_held_at_dispatch_level_and_is_not_zero() {
    let machine = Machine::new(1).enter();
    let lock = Cell::new(0_u64);
    // SAFETY: the lock is in place.
    let before = unsafe { kernel::KeAcquireSpinLockRaiseToDpc(lock.as_ptr()) };
    assert_eq!((before, raw::irql()), (0, 2));
    assert_ne!(lock.get(), 0);
    // SAFETY: acquired above.
    unsafe { kernel::KeReleaseSpinLock(lock.as_ptr(), before) };
    assert_eq!((lock.get(), raw::irql()), (0, 0));
    machine.leave();
}

#[test]
fn a_passive_interrupt_is_synchronised_with_at_passive_level() {
    let machine = Machine::new(1).enter();
    let device = machine.device().passive_line().build();
    let calls = AtomicUsize::new(0);
    let service = Service::new(|_| {
        calls.fetch_add(1, Ordering::SeqCst);
        true
    });
    let connection = raw::line(&device, &service);
    raw::synchronize(connection.object(), || {
        assert_eq!(raw::irql(), 0);
        assert_eq!(device.raise_line(), Delivery::Pending);
        thread::sleep(Duration::from_millis(20));
        assert_eq!(calls.load(Ordering::SeqCst), 0);
    });
    machine.settle();
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    connection.disconnect();
}
