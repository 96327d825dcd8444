//! The deferred half that a work item runs.

#[expect(dead_code, reason = "the diary is for other tests")]
mod common;
#[path = "common/counter.rs"]
mod counter;
#[path = "common/gate.rs"]
mod gate;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use common::physical_device;
use counter::{Census, Counter, Doing, function_device, shared};
use gate::{Gate, OnDrop, spin_until};
use wdm_interrupt::{
    ConnectErrorKind, Interrupt, InterruptHandler, InterruptRegistration, Irql, LineBased,
    MessageBased, Serviced, Work, WorkHandler, WorkItem,
};
use wdm_interrupt_model::executive::{Call, Fault};
use wdm_interrupt_model::hal::Event;
use wdm_interrupt_model::host::{Delivery, Device, Machine};
use wdm_interrupt_model::nt;

type Working<F> = InterruptRegistration<Counter, WorkItem<Doing<F>>>;

fn connect<F>(device: &Device, work: F) -> Working<F>
where
    F: Fn(&Work<'_, Counter>) + Send + Sync + 'static,
{
    LineBased::new(physical_device(device))
        .deferred(WorkItem::new(function_device(device), Doing(work)))
        .connect(Counter::default())
        .unwrap()
}

/// How many DPCs have returned.
fn dpcs(machine: &Machine) -> usize {
    machine.events().iter().filter(|event| matches!(event, Event::DpcLeft { .. })).count()
}

#[test]
fn work_runs_at_passive_level_and_may_wait_and_synchronizes_at_the_synchronize_irql() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line_at(7, false, false).build();
    let gate = Gate::new();
    let seen: &Mutex<Vec<_>> = shared();
    let here = std::thread::current().id();
    let registration = connect(&device, move |work| {
        assert_ne!(std::thread::current().id(), here);
        gate.pass();
        let inside = work.synchronize(|handler| (handler.take(), Irql::current()));
        seen.lock().unwrap().push((inside, Irql::current()));
    });
    assert_eq!(device.raise_line(), Delivery::Claimed);
    assert_eq!(*seen.lock().unwrap(), []);
    gate.open();
    machine.settle();
    assert_eq!(*seen.lock().unwrap(), [((1, Irql::from_raw(7)), Irql::PASSIVE)]);
    drop(registration);
}

#[test]
fn the_isr_asks_for_work_by_way_of_a_dpc() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let census: &Census = shared();
    let registration = connect(&device, |_| drop(census.enter()));
    machine.hold_dpcs(true);
    device.raise_line();
    machine.settle();
    assert_eq!((census.runs(), dpcs(&machine)), (0, 0));
    // So asking again is asking for the same.
    assert!(!registration.queue_deferred());
    machine.hold_dpcs(false);
    machine.settle();
    assert_eq!((census.runs(), dpcs(&machine)), (1, 1));
    assert!(registration.queue_deferred());
    drop(registration);
    assert_eq!(census.runs(), 2);
}

#[test]
fn work_that_is_asked_for_before_it_runs_is_done_once() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let (census, taken): (&Census, &AtomicU32) = (shared(), shared());
    let registration = connect(&device, |work| {
        let _inside = census.enter();
        taken.fetch_add(work.synchronize(Counter::take), Ordering::SeqCst);
    });
    machine.hold_work_items(true);
    for _ in 0..4 {
        device.raise_line();
    }
    machine.hold_work_items(false);
    machine.settle();
    assert_eq!((census.runs(), taken.load(Ordering::SeqCst)), (1, 4));
    drop(registration);
}

#[test]
fn work_is_done_one_at_a_time_and_once_more_for_what_is_asked_meanwhile() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let (census, taken): (&Census, &AtomicU32) = (shared(), shared());
    let gate = Gate::new();
    let registration = connect(&device, move |work| {
        let _inside = census.enter();
        taken.fetch_add(work.synchronize(Counter::take), Ordering::SeqCst);
        gate.pass();
    });
    device.raise_line();
    machine.wait_until(|| taken.load(Ordering::SeqCst) == 1);
    for _ in 0..3 {
        assert_eq!(device.raise_line(), Delivery::Claimed);
    }
    gate.open();
    machine.settle();
    assert_eq!((census.most(), census.runs(), taken.load(Ordering::SeqCst)), (1, 2, 4));
    drop(registration);
}

#[test]
fn what_an_early_isr_asks_for_waits_until_the_connection_is_complete() {
    struct Enabled(bool);
    impl InterruptHandler<WorkItem<Late>> for Enabled {
        fn service(&mut self, interrupt: &Interrupt<'_, WorkItem<Late>>) -> Serviced {
            interrupt.queue_deferred();
            Serviced::Claimed
        }
        fn enable(&mut self) {
            self.0 = true;
        }
    }
    #[derive(Default)]
    struct Late(Mutex<Vec<bool>>);
    impl WorkHandler<Enabled> for Late {
        fn run(&self, work: &Work<'_, Enabled>) {
            self.0.lock().unwrap().push(work.synchronize(|handler| handler.0));
        }
    }

    let machine = Machine::new(2).enter();
    machine.dpc_elsewhere_during_connect(true);
    let device = machine.device().messages(2).build();
    let registration = MessageBased::new(physical_device(&device))
        .deferred(WorkItem::new(function_device(&device), Late::default()))
        .connect(Enabled(false))
        .unwrap();
    machine.settle();
    assert_eq!(*registration.deferred().0.lock().unwrap(), [true]);
    assert!(dpcs(&machine) >= 2, "parked, and queued again");
    drop(registration);
}

#[test]
fn the_teardown_completes_what_was_claimed() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let taken: &AtomicU32 = shared();
    let registration = connect(&device, |work| {
        taken.fetch_add(work.synchronize(Counter::take), Ordering::SeqCst);
    });
    machine.hold_dpcs(true);
    machine.hold_work_items(true);
    device.raise_line();
    device.raise_line();
    machine.scope(|scope| {
        let ended: &AtomicBool = shared();
        scope.spawn_system_thread(|| {
            // The teardown flushes the DPC, and then waits for the work that it asked for.
            machine.wait_until(|| dpcs(&machine) == 1);
            assert!(!ended.load(Ordering::SeqCst));
            machine.hold_work_items(false);
        });
        let (handler, _half) = registration.disconnect().unwrap();
        ended.store(true, Ordering::SeqCst);
        assert_eq!((taken.load(Ordering::SeqCst), handler.events), (2, 0));
        assert!(!handler.enabled);
    });
}

#[test]
fn the_teardown_waits_for_work_that_is_being_done_and_for_what_is_asked_meanwhile() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let (census, taken): (&Census, &AtomicU32) = (shared(), shared());
    let gate = Gate::new();
    let registration = connect(&device, move |work| {
        let _inside = census.enter();
        taken.fetch_add(work.synchronize(Counter::take), Ordering::SeqCst);
        gate.pass();
    });
    device.raise_line();
    machine.wait_until(|| census.inside() == 1);
    device.raise_line();
    machine.scope(|scope| {
        scope.spawn_system_thread(|| {
            std::thread::sleep(Duration::from_millis(20));
            gate.open();
        });
        let (handler, _half) = registration.disconnect().unwrap();
        assert_eq!((census.inside(), census.runs()), (0, 2));
        assert_eq!((taken.load(Ordering::SeqCst), handler.events), (2, 0));
    });
}

#[test]
fn what_ran_before_does_not_shorten_the_wait_for_what_is_asked_during_a_run() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let (census, taken): (&Census, &AtomicU32) = (shared(), shared());
    let (first, third) = (Gate::new(), Gate::new());
    let registration = connect(&device, move |work| {
        let _inside = census.enter();
        taken.fetch_add(work.synchronize(Counter::take), Ordering::SeqCst);
        match census.runs() {
            1 => first.pass(),
            3 => third.pass(),
            _ => {}
        }
    });
    // Nobody waits for these two, the second of which is asked for during the first.
    device.raise_line();
    machine.wait_until(|| census.inside() == 1);
    device.raise_line();
    first.open();
    machine.settle();
    assert_eq!(census.runs(), 2);
    // The teardown has to wait for these two.
    device.raise_line();
    machine.wait_until(|| census.runs() == 3);
    device.raise_line();
    machine.scope(|scope| {
        scope.spawn_system_thread(|| {
            std::thread::sleep(Duration::from_millis(20));
            machine.hold_work_items(true);
            third.open();
            machine.wait_until(|| census.inside() == 0);
            // Were the teardown through by now, it would let the fourth run in no more.
            std::thread::sleep(Duration::from_millis(20));
            machine.hold_work_items(false);
        });
        let (handler, _half) = registration.disconnect().unwrap();
        assert_eq!((census.inside(), census.runs()), (0, 4));
        assert_eq!((taken.load(Ordering::SeqCst), handler.events), (4, 0));
    });
}

#[test]
fn work_that_is_asked_for_after_the_deferred_half_has_ended_is_not_done() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let census: &Census = shared();
    for held in [false, true] {
        let registration = connect(&device, |_| drop(census.enter()));
        machine.hold_dpcs(held);
        machine.interrupt_during_disconnect(true);
        let (handler, _half) = registration.disconnect().unwrap();
        machine.interrupt_during_disconnect(false);
        assert_eq!((handler.events, census.runs()), (1, 0));
    }
    let queued = |event: &&Event| matches!(event, Event::DpcQueued { .. });
    assert_eq!(machine.events().iter().filter(queued).count(), 2);
}

#[test]
fn while_work_is_asked_for_or_done_the_function_device_is_referenced() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let gate = Gate::new();
    let registration = connect(&device, move |_| gate.pass());
    assert_eq!(device.references(), 0);
    device.raise_line();
    assert_eq!(device.references(), 1);
    gate.open();
    machine.settle();
    assert_eq!(device.references(), 0);
    drop(registration);
}

#[test]
fn without_memory_for_the_work_item_both_halves_come_back() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    for call in [Call::IoAllocateWorkItem, Call::ExAllocatePool2] {
        machine.fail(call, 0, nt::STATUS_INSUFFICIENT_RESOURCES);
        let work = |_: &Work<'_, Counter>| ();
        let error = LineBased::new(physical_device(&device))
            .deferred(WorkItem::new(function_device(&device), Doing(work)))
            .connect(Counter { events: 7, enabled: false })
            .unwrap_err();
        assert_eq!(error.kind(), ConnectErrorKind::NoPool, "{call:?}");
        assert_eq!(error.status(), nt::STATUS_INSUFFICIENT_RESOURCES);
        let (handler, Doing(_work)) = error.into_halves();
        assert_eq!((handler.events, handler.enabled), (7, false));
        assert!(machine.left_behind().is_empty(), "{:?}", machine.left_behind());
    }
    let connected = |event: &Event| matches!(event, Event::Connected { .. });
    assert!(!machine.events().iter().any(connected));
}

#[test]
fn a_connect_that_fails_late_gives_both_halves_back_and_does_no_work() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let census: &Census = shared();
    for held in [false, true] {
        machine.hold_dpcs(held);
        machine.interrupt_during_connect(true);
        let fault = Fault::StatusAfterService(nt::STATUS_NOT_FOUND);
        machine.fail(Call::IoConnectInterruptEx, 0, fault);
        let error = LineBased::new(physical_device(&device))
            .deferred(WorkItem::new(
                function_device(&device),
                Doing(|_: &Work<'_, Counter>| {
                    drop(census.enter());
                }),
            ))
            .connect(Counter::default())
            .unwrap_err();
        let (handler, _half) = error.into_halves();
        assert_eq!((handler.events, handler.enabled, census.runs()), (1, false, 0));
        assert!(machine.left_behind().is_empty());
    }
}

#[test]
fn connecting_and_disconnecting_under_interrupts_leaves_nothing() {
    let machine = Machine::new(2).enter();
    let device = machine.device().line().build();
    let done = AtomicBool::new(false);
    machine.scope(|scope| {
        scope.spawn(1, || {
            while !done.load(Ordering::SeqCst) {
                device.raise_line();
            }
        });
        let _done = OnDrop(|| done.store(true, Ordering::SeqCst));
        for _ in 0..60 {
            let (census, taken): (&Census, &AtomicU32) = (shared(), shared());
            let registration = connect(&device, |work| {
                let _inside = census.enter();
                taken.fetch_add(work.synchronize(Counter::take), Ordering::SeqCst);
            });
            spin_until(|| census.runs() > 0);
            let (_handler, _half) = registration.disconnect().unwrap();
            assert_eq!((census.inside(), census.most()), (0, 1));
        }
    });
    machine.leave();
}

#[test]
fn a_disconnect_ends_though_the_device_does_not_stop_interrupting() {
    let machine = Machine::new(2).enter();
    let device = machine.device().line().build();
    let census: &Census = shared();
    let registration = connect(&device, |_| {
        let _inside = census.enter();
        // Long enough for the device to ask for the next run.
        std::thread::sleep(Duration::from_micros(200));
    });
    machine.scope(|scope| {
        scope.spawn(1, || while device.raise_line() != Delivery::NotConnected {});
        spin_until(|| census.runs() > 20);
        let (handler, _half) = registration.disconnect().unwrap();
        assert_eq!(census.inside(), 0);
        assert!(!handler.enabled);
    });
}

#[test]
fn work_that_panics_is_over_and_can_be_asked_for_again() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let runs: &AtomicU32 = shared();
    let registration = connect(&device, move |_work| {
        assert_ne!(runs.fetch_add(1, Ordering::Relaxed), 0, "the first run fails its test");
    });
    let first = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        device.raise_line();
        machine.settle();
    }));
    assert!(first.is_err());
    device.raise_line();
    machine.settle();
    assert_eq!(runs.load(Ordering::Relaxed), 2);
    drop(registration);
}
