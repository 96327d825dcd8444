//! The work item, which the ISR queues itself.

use std::sync::Mutex;
use std::time::Duration;

use wdm_interrupt::{Irql, PassiveLineBased, Work, WorkItem};
use wdm_interrupt_model::executive::{Call, Fault};
use wdm_interrupt_model::hal::Event;
use wdm_interrupt_model::host::{Delivery, Machine};
use wdm_interrupt_model::nt;

use crate::common::physical_device;
use crate::counter::{Census, function_device, shared};
use crate::gate::Gate;
use crate::{Counter, Working, at_irql, panic_of};

/// Does something that work items are queued in, and holds them back until it would be through if it did not wait.
fn while_work_is_held<R>(machine: &Machine, act: impl FnOnce() -> R) -> R {
    machine.hold_work_items(true);
    machine.scope(|scope| {
        scope.spawn_system_thread(|| {
            let queued = |event: &Event| matches!(event, Event::WorkItemQueued { .. });
            machine.wait_until(|| machine.events().iter().any(queued));
            std::thread::sleep(Duration::from_millis(20));
            machine.hold_work_items(false);
        });
        act()
    })
}

#[test]
fn the_isr_queues_work_which_synchronizes_and_may_wait() {
    let machine = Machine::new(1).enter();
    let device = machine.device().passive_line().build();
    let (gate, census, taken): (_, &Census, &Mutex<Vec<_>>) = (Gate::new(), shared(), shared());
    let registration = PassiveLineBased::new(physical_device(&device))
        .deferred(WorkItem::new(
            function_device(&device),
            Working(move |work: &Work<'_, Counter>| {
                let _inside = census.enter();
                let events = work.synchronize(|handler| std::mem::take(&mut handler.events));
                taken.lock().unwrap().push((events, Irql::current()));
                gate.pass();
            }),
        ))
        .connect(Counter::default())
        .unwrap();
    device.raise_line();
    machine.wait_until(|| taken.lock().unwrap().len() == 1);
    assert_eq!(device.references(), 1);
    // While it is done it is asked for again, by two interrupts and a thread.
    for events in 1..=2 {
        device.raise_line();
        machine.wait_until(|| registration.synchronize(|handler| handler.events) == events);
    }
    assert!(!registration.queue_deferred());
    gate.open();
    machine.settle();
    assert_eq!(*taken.lock().unwrap(), [(1, Irql::PASSIVE), (2, Irql::PASSIVE)]);
    assert_eq!((census.most(), census.runs()), (1, 2));

    // The teardown completes what was claimed.
    device.raise_line();
    machine.wait_until(|| census.runs() == 3 || registration.synchronize(|it| it.events) == 1);
    let (handler, _work) = registration.disconnect().unwrap();
    assert_eq!((handler.events, census.runs(), census.inside()), (0, 3, 0));
    assert_eq!(taken.lock().unwrap().len(), 3);
}

#[test]
fn work_that_an_early_passive_isr_asks_for_waits_and_what_a_late_one_asks_for_is_not_done() {
    let machine = Machine::new(1).enter();
    let device = machine.device().passive_line().build();
    let taken: &Mutex<Vec<_>> = shared();
    let work = Working(|work: &Work<'_, Counter>| {
        let events = work.synchronize(|handler| std::mem::take(&mut handler.events));
        taken.lock().unwrap().push(events);
    });
    machine.interrupt_during_connect(true);
    machine.interrupt_during_disconnect(true);
    let registration = PassiveLineBased::new(physical_device(&device))
        .deferred(WorkItem::new(function_device(&device), work))
        .connect(Counter::default())
        .unwrap();
    machine.settle();
    assert_eq!(*taken.lock().unwrap(), [1]);
    let (handler, _work) = registration.disconnect().unwrap();
    assert_eq!((handler.events, taken.lock().unwrap().len()), (1, 1));
}

#[test]
fn the_teardown_waits_for_work_that_a_late_passive_isr_asked_for_to_be_over() {
    let machine = Machine::new(1).enter();
    let device = machine.device().passive_line().build();
    let census: &Census = shared();
    let registration = PassiveLineBased::new(physical_device(&device))
        .deferred(WorkItem::new(
            function_device(&device),
            Working(|_: &Work<'_, Counter>| drop(census.enter())),
        ))
        .connect(Counter::default())
        .unwrap();
    machine.interrupt_during_disconnect(true);
    let (handler, _work) = while_work_is_held(&machine, || registration.disconnect().unwrap());
    // The kernel lets go of the device when the routine has returned, which nobody waits for.
    machine.settle();
    assert_eq!((handler.events, census.runs(), device.references()), (1, 0, 0));
}

#[test]
fn a_connect_in_vain_waits_for_work_that_an_early_passive_isr_asked_for_to_be_over() {
    let machine = Machine::new(1).enter();
    let device = machine.device().passive_line().build();
    let census: &Census = shared();
    let request = PassiveLineBased::new(physical_device(&device)).deferred(WorkItem::new(
        function_device(&device),
        Working(|_: &Work<'_, Counter>| drop(census.enter())),
    ));
    machine.interrupt_during_connect(true);
    let fault = Fault::StatusAfterService(nt::STATUS_NOT_FOUND);
    machine.fail(Call::IoConnectInterruptEx, 0, fault);
    let error = while_work_is_held(&machine, || request.connect(Counter::default()).unwrap_err());
    let (handler, _work) = error.into_halves();
    // The kernel lets go of the device when the routine has returned, which nobody waits for.
    machine.settle();
    assert_eq!((handler.events, census.runs(), device.references()), (1, 0, 0));
}

#[test]
fn queueing_work_above_dispatch_level_panics() {
    let machine = Machine::new(1).enter();
    let device = machine.device().passive_line().build();
    let census: &Census = shared();
    let registration = PassiveLineBased::new(physical_device(&device))
        .deferred(WorkItem::new(
            function_device(&device),
            Working(|_: &Work<'_, Counter>| drop(census.enter())),
        ))
        .connect(Counter::default())
        .unwrap();
    assert!(at_irql(Irql::DISPATCH, || registration.queue_deferred()));
    machine.settle();
    let message = panic_of(|| _ = at_irql(Irql::from_raw(3), || registration.queue_deferred()));
    assert!(message.contains("up to DISPATCH_LEVEL"), "{message}");
    assert_eq!((census.runs(), machine.violations()), (1, vec![]));
    drop(registration);
}

#[test]
fn connecting_and_disconnecting_under_interrupts_leaves_nothing() {
    let machine = Machine::new(1).enter();
    let device = machine.device().passive_line().build();
    for _ in 0..50 {
        let census: &Census = shared();
        let work = Working(|work: &Work<'_, Counter>| {
            let _inside = census.enter();
            work.synchronize(|handler| handler.events = 0);
        });
        let registration = PassiveLineBased::new(physical_device(&device))
            .deferred(WorkItem::new(function_device(&device), work))
            .connect(Counter::default())
            .unwrap();
        machine.scope(|scope| {
            scope.spawn_system_thread(|| while device.raise_line() != Delivery::NotConnected {});
            machine.wait_until(|| census.runs() > 2);
            registration.disconnect().unwrap();
            assert_eq!((census.inside(), census.most()), (0, 1));
        });
    }
    machine.leave();
}
