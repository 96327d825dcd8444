//! How a driver's routines return.

use std::{cell::Cell, ptr};

use wdm_interrupt_model::{
    Rule,
    host::{Machine, kernel},
};

use super::{
    super::{
        broken::{breaks, stop, verifier},
        raw::{self, Dpc, Service},
    },
    DISPATCH_LEVEL, LINE, claims, dpc, interrupt,
};

fn raise(irql: u8) {
    // SAFETY: the breach: it is not lowered.
    unsafe { kernel::KfRaiseIrql(irql) };
}

#[test]
fn isr_state_irql_changed() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line_at(5, false, false).messages_at(&[6]).build();
    let service = Service::new(|_| {
        raise(10);
        true
    });
    for (index, irql) in [(0, 5), (1, 6)] {
        let connection = raw::full(&device, index, &service);
        let vector = device.interrupts()[index].vector();
        let routine = raw::line_routine as *const () as usize as u64;
        breaks(&machine, Rule::IsrState, || {
            device.raise(index);
        })
        .is(
            "a service routine",
            10,
            verifier([0x111, routine, irql, 10]),
            &[interrupt(connection, vector)],
        );
        connection.disconnect();
    }
}

#[test]
fn isr_state_a_message_routine_that_returns_at_another_irql() {
    let machine = Machine::new(1).enter();
    let device = machine.device().messages_at(&[6]).build();
    let service = Service::new(|_| {
        raise(10);
        true
    });
    let connection = raw::messages(&device, &service);
    let entry = connection.entries()[0];
    let routine = raw::message_routine as *const () as usize as u64;
    let object = raw::Connection { context: entry.InterruptObject.cast(), ..connection };
    breaks(&machine, Rule::IsrState, || {
        device.raise_message(0);
    })
    .is(
        "a service routine",
        10,
        verifier([0x111, routine, 6, 10]),
        &[interrupt(object, entry.Vector)],
    );
    connection.disconnect();
}

#[test]
fn isr_state_and_routine_state_the_lock_was_overwritten() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let lock = Cell::new(0_u64);
    let service = Service::new(|_| {
        lock.set(0);
        true
    });
    let (_, connection) = raw::try_line(&device, &service, lock.as_ptr());
    let objects = [interrupt(connection, LINE.1)];
    breaks(&machine, Rule::IsrState, || {
        device.raise_line();
    })
    .is("a service routine", LINE.0, None, &objects);
    breaks(&machine, Rule::RoutineState, || {
        raw::synchronize(connection.object(), || lock.set(0));
    })
    .is("KeSynchronizeExecution", LINE.0, None, &objects);
    connection.disconnect();
}

#[test]
fn routine_state_irql_changed_or_no_routine() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let service = claims();
    let connection = raw::line(&device, &service);
    let objects = [interrupt(connection, LINE.1)];
    breaks(&machine, Rule::RoutineState, || {
        raw::synchronize(connection.object(), || raise(10));
    })
    .is("KeSynchronizeExecution", 10, None, &objects);
    breaks(&machine, Rule::RoutineState, || {
        // SAFETY: the breach.
        unsafe { kernel::KeSynchronizeExecution(connection.object(), None, ptr::null_mut()) };
    })
    .is("KeSynchronizeExecution", 0, None, &objects);
    connection.disconnect();
}

#[test]
fn dpc_state_returned_at_another_irql() {
    let machine = Machine::new(1).enter();
    let one = Dpc::new(|_, _| raise(7));
    breaks(&machine, Rule::DpcState, || {
        one.queue();
    })
    .is("a deferred routine", 7, None, &[dpc(&one)]);
    let threaded = Dpc::threaded(|_, _| raise(DISPATCH_LEVEL));
    breaks(&machine, Rule::DpcState, || {
        threaded.queue();
        machine.settle();
    })
    .is("a deferred routine", DISPATCH_LEVEL, None, &[dpc(&threaded)]);
}

#[test]
fn dpc_state_returned_with_a_lock_held() {
    let machine = Machine::new(1).enter();
    machine.expect_leftovers();
    let lock = Cell::new(0_u64);
    let one = Dpc::new(|_, _| {
        // SAFETY: the lock is in place.
        unsafe { kernel::KeAcquireSpinLockAtDpcLevel(lock.as_ptr()) };
    });
    breaks(&machine, Rule::DpcState, || {
        one.queue();
    })
    .is("a deferred routine", DISPATCH_LEVEL, None, &[dpc(&one)]);
}

#[test]
fn dpc_state_returned_in_a_critical_region() {
    let machine = Machine::new(1).enter();
    machine.expect_leftovers();
    let threaded = Dpc::threaded(|_, _| {
        // SAFETY: the breach: it is not left.
        unsafe { kernel::KeEnterCriticalRegion() };
    });
    let routine = raw::deferred_routine as *const () as usize as u64;
    breaks(&machine, Rule::DpcState, || {
        threaded.queue();
        machine.settle();
    })
    .is("a deferred routine", 0, stop(0xC7, [0x4, routine, 0, u64::MAX]), &[dpc(&threaded)]);
}
