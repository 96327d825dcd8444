//! Deferred halves that DPCs run: where, how soon, at which IRQL, and how many at once.

#[expect(dead_code, reason = "the diary is for other tests")]
mod common;
#[expect(dead_code, reason = "no work items here")]
#[path = "common/counter.rs"]
mod counter;
#[expect(dead_code, reason = "no DPC may wait for a gate")]
#[path = "common/gate.rs"]
mod gate;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use common::physical_device;
use counter::{Census, Counter, Doing, shared};
use gate::spin_until;
use wdm_interrupt::{
    Deferred, DeferredHalf, DeferredHandler, Dpc, DpcImportance, Interrupt, InterruptHandler,
    InterruptRegistration, Irql, LineBased, ProcessorNumber, Serviced, ThreadedDpc,
};
use wdm_interrupt_model::hal::Event;
use wdm_interrupt_model::host::{Delivery, Device, Machine};

fn connect<D: DeferredHalf<Counter>>(
    device: &Device,
    deferred: D,
) -> InterruptRegistration<Counter, D>
where
    Counter: InterruptHandler<D>,
{
    LineBased::new(physical_device(device)).deferred(deferred).connect(Counter::default()).unwrap()
}

/// The processors that DPCs ran for, in order.
fn processors(machine: &Machine) -> Vec<usize> {
    let entered = |event: &Event| match *event {
        Event::DpcEntered { processor, .. } => Some(processor),
        _ => None,
    };
    machine.events().iter().filter_map(entered).collect()
}

/// How many DPCs have returned.
fn returned(machine: &Machine) -> usize {
    machine.events().iter().filter(|event| matches!(event, Event::DpcLeft { .. })).count()
}

const fn nothing(_deferred: &Deferred<'_, Counter>) {}

#[test]
fn a_dpc_runs_on_its_target_processor_and_without_one_where_the_isr_ran() {
    let machine = Machine::new(3).enter();
    let device = machine.device().line().build();
    let target = ProcessorNumber { group: 0, number: 2 };

    let registration = connect(&device, Dpc::new(Doing(nothing)));
    device.raise_on(1, 0);
    drop(registration);
    let registration = connect(&device, Dpc::new(Doing(nothing)).target(target));
    device.raise_on(1, 0);
    drop(registration);
    let registration = connect(&device, ThreadedDpc::new(Doing(nothing)));
    device.raise_on(1, 0);
    drop(registration);
    let registration = connect(&device, ThreadedDpc::new(Doing(nothing)).target(target));
    device.raise_on(1, 0);
    drop(registration);

    assert_eq!(processors(&machine), [1, 2, 1, 2]);
}

#[test]
fn a_target_that_does_not_exist_is_as_if_none_had_been_named() {
    let machine = Machine::new(2).enter();
    let device = machine.device().line().build();
    for (group, number) in [(0, 2), (0, 255), (1, 0), (u16::MAX, 1)] {
        let dpc = Dpc::new(Doing(nothing)).target(ProcessorNumber { group, number });
        let registration = connect(&device, dpc);
        device.raise_on(1, 0);
        drop(registration);
        let dpc = ThreadedDpc::new(Doing(nothing)).target(ProcessorNumber { group, number });
        let registration = connect(&device, dpc);
        device.raise_on(1, 0);
        drop(registration);
    }
    assert_eq!(processors(&machine), [1; 8]);
}

#[test]
fn only_a_dpc_of_low_importance_may_wait_and_it_is_not_lost() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    machine.delay_low_importance(true);
    let importances = [
        (DpcImportance::Low, 0),
        (DpcImportance::Medium, 1),
        (DpcImportance::MediumHigh, 1),
        (DpcImportance::High, 1),
    ];
    for (importance, at_once) in importances {
        let census: &Census = shared();
        let half = Doing(|_: &Deferred<'_, Counter>| drop(census.enter()));
        let registration = connect(&device, Dpc::new(half).importance(importance));
        device.raise_line();
        assert_eq!(census.runs(), at_once, "{importance:?}");
        // The teardown completes what was claimed, however unimportant.
        registration.disconnect().unwrap();
        assert_eq!(census.runs(), 1, "{importance:?}");
    }
}

#[test]
fn a_dpc_of_high_importance_goes_first() {
    fn order(first: DpcImportance, second: DpcImportance) -> Vec<&'static str> {
        let machine = Machine::new(1).enter();
        let devices = [machine.device().line().build(), machine.device().line().build()];
        let order: &Mutex<Vec<_>> = shared();
        let half = |name| Doing(move |_: &Deferred<'_, Counter>| order.lock().unwrap().push(name));
        let registrations = [
            connect(&devices[0], Dpc::new(half("first")).importance(first)),
            connect(&devices[1], Dpc::new(half("second")).importance(second)),
        ];
        machine.hold_dpcs(true);
        assert!(registrations[0].queue_deferred());
        assert!(registrations[1].queue_deferred());
        machine.hold_dpcs(false);
        drop(registrations);
        order.lock().unwrap().clone()
    }

    assert_eq!(order(DpcImportance::Medium, DpcImportance::Medium), ["first", "second"]);
    assert_eq!(order(DpcImportance::Medium, DpcImportance::High), ["second", "first"]);
}

#[test]
fn a_threaded_dpc_runs_at_passive_level_and_at_dispatch_level_where_that_is_turned_off() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line_at(7, false, false).build();
    for (turned_off, expected) in [(false, Irql::PASSIVE), (true, Irql::DISPATCH)] {
        machine.threaded_dpcs_at_dispatch_level(turned_off);
        let seen: &Mutex<Vec<_>> = shared();
        let half = Doing(|deferred: &Deferred<'_, Counter>| {
            let before = Irql::current();
            let (events, inside) =
                deferred.synchronize(|handler| (handler.take(), Irql::current()));
            seen.lock().unwrap().push((events, before, inside, Irql::current()));
        });
        let registration = connect(&device, ThreadedDpc::new(half));
        assert_eq!(device.raise_line(), Delivery::Claimed);
        machine.settle();
        let expected = (1, expected, Irql::from_raw(7), expected);
        assert_eq!(*seen.lock().unwrap(), [expected]);
        drop(registration);
    }
}

/// Has a deferred half asked for three times on another processor while it runs on one. How many
/// of it ran at once, and how often it ran in all.
fn asked_for_while_it_runs<D>(machine: &Machine, make: impl FnOnce(Probe) -> D) -> (u32, u32)
where
    D: DeferredHalf<Counter>,
    Counter: InterruptHandler<D>,
{
    let device = machine.device().line().build();
    let census: &Census = shared();
    let go_on: &AtomicBool = shared();
    let registration = connect(
        &device,
        make(Doing(Box::new(|_| {
            let _inside = census.enter();
            spin_until(|| census.most() == 2 || go_on.load(Ordering::SeqCst));
        }))),
    );
    let before = returned(machine);
    machine.scope(|scope| {
        scope.spawn(1, || assert_eq!(device.raise_line(), Delivery::Claimed));
        spin_until(|| census.inside() == 1);
        for answered in 1..=3 {
            assert_eq!(device.raise_line(), Delivery::Claimed);
            spin_until(|| returned(machine) >= before + answered);
        }
        go_on.store(true, Ordering::SeqCst);
    });
    machine.settle();
    drop(registration);
    (census.most(), census.runs())
}

type Probe = Doing<Box<dyn Fn(&Deferred<'_, Counter>) + Send + Sync>>;

#[test]
fn a_dpc_runs_on_two_processors_at_once() {
    let machine = Machine::new(2).enter();
    assert_eq!(asked_for_while_it_runs(&machine, Dpc::new), (2, 4));
}

#[test]
fn a_threaded_dpc_runs_one_at_a_time_and_once_more_for_what_is_asked_meanwhile() {
    for at_dispatch_level in [false, true] {
        let machine = Machine::new(2).enter();
        machine.threaded_dpcs_at_dispatch_level(at_dispatch_level);
        assert_eq!(asked_for_while_it_runs(&machine, ThreadedDpc::new), (1, 2));
    }
}

#[test]
fn a_threaded_dpc_of_an_early_isr_waits_until_the_connection_is_complete() {
    /// Its `enable`, the last step of connecting, takes until the early DPC is through.
    struct Slow {
        machine: Machine,
        enabled: bool,
    }
    impl InterruptHandler<ThreadedDpc<Late>> for Slow {
        fn service(&mut self, interrupt: &Interrupt<'_, ThreadedDpc<Late>>) -> Serviced {
            interrupt.queue_deferred();
            Serviced::Claimed
        }
        fn enable(&mut self) {
            spin_until(|| returned(&self.machine) == 1);
            self.enabled = true;
        }
    }
    #[derive(Default)]
    struct Late(Mutex<Vec<bool>>);
    impl DeferredHandler<Slow> for Late {
        fn run(&self, deferred: &Deferred<'_, Slow>) {
            self.0.lock().unwrap().push(deferred.synchronize(|handler| handler.enabled));
        }
    }

    for at_dispatch_level in [false, true] {
        let machine = Machine::new(1).enter();
        machine.threaded_dpcs_at_dispatch_level(at_dispatch_level);
        machine.interrupt_during_connect(true);
        let device = machine.device().line().build();
        let registration = LineBased::new(physical_device(&device))
            .deferred(ThreadedDpc::new(Late::default()))
            .connect(Slow { machine: Machine::clone(&machine), enabled: false })
            .unwrap();
        machine.settle();
        assert_eq!(*registration.deferred().0.lock().unwrap(), [true]);
        assert_eq!(returned(&machine), 2, "parked, and queued again");
        drop(registration);
    }
}

#[test]
fn a_threaded_dpc_completes_what_was_claimed_and_nothing_that_comes_later() {
    for at_dispatch_level in [false, true] {
        let machine = Machine::new(1).enter();
        machine.threaded_dpcs_at_dispatch_level(at_dispatch_level);
        let device = machine.device().line().build();
        let taken: &AtomicU32 = shared();
        let half = Doing(|deferred: &Deferred<'_, Counter>| {
            taken.fetch_add(deferred.synchronize(Counter::take), Ordering::SeqCst);
        });
        let registration = connect(&device, ThreadedDpc::new(half));
        machine.hold_dpcs(true);
        device.raise_line();
        device.raise_line();
        machine.interrupt_during_disconnect(true);
        let (handler, _half) = registration.disconnect().unwrap();
        assert_eq!((taken.load(Ordering::SeqCst), handler.events), (2, 1));
    }
}

#[test]
fn threaded_dpcs_under_load_leave_nothing() {
    for at_dispatch_level in [false, true] {
        let machine = Machine::new(2).enter();
        machine.threaded_dpcs_at_dispatch_level(at_dispatch_level);
        let device = machine.device().line().build();
        for _ in 0..40 {
            let census: &Census = shared();
            let taken: &AtomicU32 = shared();
            let half = Doing(|deferred: &Deferred<'_, Counter>| {
                let _inside = census.enter();
                taken.fetch_add(deferred.synchronize(Counter::take), Ordering::SeqCst);
            });
            let registration = connect(&device, ThreadedDpc::new(half));
            machine.scope(|scope| {
                let claimed: &AtomicU32 = shared();
                scope.spawn(1, || {
                    while device.raise_line() != Delivery::NotConnected {
                        claimed.fetch_add(1, Ordering::SeqCst);
                    }
                });
                spin_until(|| claimed.load(Ordering::SeqCst) > 2);
                // What comes in after the deferred half has ended stays with the handler.
                let (handler, _half) = registration.disconnect().unwrap();
                assert_eq!(census.most(), 1);
                assert!(taken.load(Ordering::SeqCst) + handler.events > 2);
            });
        }
        machine.leave();
    }
}

#[test]
fn a_threaded_dpc_that_panics_is_over_and_can_be_queued_again() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let runs: &AtomicU32 = shared();
    let half = Doing(move |_: &Deferred<'_, Counter>| {
        assert_ne!(runs.fetch_add(1, Ordering::Relaxed), 0, "the first run fails its test");
    });
    let registration = connect(&device, ThreadedDpc::new(half));
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
