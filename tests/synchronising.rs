//! Sharing state between ISR, deferred half and threads.

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU32, Ordering};

use common::Happened::{Enable, Run, Service};
use common::{Completion, Diary, Handler, physical_device};
use wdm_interrupt::{
    Deferred, DeferredHandler, Dpc, Interrupt, InterruptHandler, Irql, LineBased, MessageBased,
    Serviced,
};
use wdm_interrupt_model::hal::Event;
use wdm_interrupt_model::host::{Delivery, Machine, kernel};

#[test]
fn synchronize_runs_under_the_lock_at_the_synchronize_irql_and_returns_the_result() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let registration =
        LineBased::new(physical_device(&device)).connect(Handler::new(&Diary::default())).unwrap();
    let (inside, delivery) = registration.synchronize(|handler| {
        handler.events = 41;
        (Irql::current(), device.raise_line())
    });
    assert_eq!(inside, registration.synchronize_irql());
    // The interrupt had to wait for the lock, and came when it was released.
    assert_eq!(delivery, Delivery::Pending);
    assert_eq!(registration.synchronize(|handler| handler.events), 42);
    assert_eq!(Irql::current(), Irql::PASSIVE);
    drop(registration);
}

#[test]
fn synchronize_from_above_its_irql_panics_and_the_irql_is_not_lowered() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line_at(5, false, false).build();
    let registration =
        LineBased::new(physical_device(&device)).connect(Handler::new(&Diary::default())).unwrap();
    // SAFETY: raises, and lowers below.
    let old = unsafe { kernel::KfRaiseIrql(6) };
    let panic = catch_unwind(AssertUnwindSafe(|| registration.synchronize(|_| ()))).unwrap_err();
    assert_eq!(Irql::current(), Irql::from_raw(6));
    // SAFETY: lowers to what it was.
    unsafe { kernel::KeLowerIrql(old) };
    let message = panic.downcast_ref::<String>().unwrap();
    assert!(
        message.contains("at IRQL 6, above the interrupt's synchronize IRQL IRQL 5"),
        "{message}"
    );
    assert_eq!(machine.violations(), []);
    drop(registration);
}

#[test]
fn synchronize_at_its_irql_is_allowed() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line_at(5, false, false).build();
    let registration =
        LineBased::new(physical_device(&device)).connect(Handler::new(&Diary::default())).unwrap();
    for irql in [1, 2, 4, 5] {
        // SAFETY: raises, and lowers below.
        let old = unsafe { kernel::KfRaiseIrql(irql) };
        assert_eq!(registration.synchronize(|_| Irql::current()), Irql::from_raw(5));
        // SAFETY: lowers to what it was.
        unsafe { kernel::KeLowerIrql(old) };
    }
    drop(registration);
}

#[test]
fn the_deferred_half_takes_what_the_isr_left() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let diary = Diary::default();
    let registration = LineBased::new(physical_device(&device))
        .deferred(Dpc::new(Completion::new(&diary)))
        .connect(Handler::new(&diary))
        .unwrap();
    device.raise_line();
    assert_eq!(diary.read(), [Enable, Service(None), Run]);
    assert_eq!(*registration.deferred().taken.lock().unwrap(), 1);

    // Requests coalesce, what they are about adds up.
    machine.hold_dpcs(true);
    for _ in 0..3 {
        device.raise_line();
    }
    assert!(!registration.queue_deferred());
    machine.hold_dpcs(false);
    assert_eq!(diary.count(Run), 2);
    assert_eq!(*registration.deferred().taken.lock().unwrap(), 4);
    assert!(registration.queue_deferred());
    drop(registration);
}

#[test]
fn a_dpc_of_an_early_isr_waits_until_the_connection_is_complete() {
    let machine = Machine::new(2).enter();
    let device = machine.device().messages(2).build();
    let diary = Diary::default();
    machine.dpc_elsewhere_during_connect(true);
    let registration = MessageBased::new(physical_device(&device))
        .deferred(Dpc::new(Completion::new(&diary)))
        .connect(Handler::new(&diary))
        .unwrap();
    machine.wait_until(|| diary.count(Run) > 0);
    // The DPC was run by the kernel before `connect` had returned, and parked; user code ran
    // after `enable`, and found what both early ISRs had left.
    let history = diary.read();
    let enabled = history.iter().position(|&happened| happened == Enable);
    let run = history.iter().position(|&happened| happened == Run);
    assert!(enabled < run, "{history:?}");
    assert_eq!(*registration.deferred().taken.lock().unwrap(), 2);
    let dpcs = machine.events().iter().filter(|e| matches!(e, Event::DpcEntered { .. })).count();
    assert!(dpcs >= 2, "parked, and queued again");
    drop(registration);
}

#[test]
fn state_is_never_reached_twice_at_once() {
    const ROUNDS: u32 = 300;
    static INSIDE: AtomicU32 = AtomicU32::new(0);

    struct Exclusive {
        sum: u32,
    }
    impl Exclusive {
        /// Adds one, and panics if anybody else is here.
        fn visit(&mut self) {
            assert_eq!(INSIDE.fetch_add(1, Ordering::Relaxed), 0);
            let sum = self.sum;
            std::thread::yield_now();
            self.sum = sum + 1;
            assert_eq!(INSIDE.fetch_sub(1, Ordering::Relaxed), 1);
        }
    }
    impl InterruptHandler<Dpc<Visitor>> for Exclusive {
        fn service(&mut self, interrupt: &Interrupt<'_, Dpc<Visitor>>) -> Serviced {
            self.visit();
            interrupt.queue_deferred();
            Serviced::Claimed
        }
    }
    struct Visitor {
        runs: AtomicU32,
    }
    impl DeferredHandler<Exclusive> for Visitor {
        fn run(&self, deferred: &Deferred<'_, Exclusive>) {
            deferred.synchronize(Exclusive::visit);
            self.runs.fetch_add(1, Ordering::Relaxed);
        }
    }

    let machine = Machine::new(4).enter();
    let device = machine.device().messages(4).build();
    let registration = MessageBased::new(physical_device(&device))
        .deferred(Dpc::new(Visitor { runs: AtomicU32::new(0) }))
        .connect(Exclusive { sum: 0 })
        .unwrap();
    machine.scope(|scope| {
        for processor in 1..4 {
            let (device, registration) = (&device, &registration);
            scope.spawn(processor, move || {
                for _ in 0..ROUNDS {
                    assert_eq!(device.raise_message(processor), Delivery::Claimed);
                    registration.synchronize(Exclusive::visit);
                }
            });
        }
    });
    let (handler, visitor) = registration.disconnect().unwrap();
    let runs = visitor.runs.load(Ordering::Relaxed);
    assert_eq!(handler.sum, 3 * 2 * ROUNDS + runs);
}

/// A handler without state, so that one's address is as good as another's.
struct Stateless;

static STATELESS_SERVED: AtomicU32 = AtomicU32::new(0);

impl InterruptHandler for Stateless {
    fn service(&mut self, _interrupt: &Interrupt<'_>) -> Serviced {
        STATELESS_SERVED.fetch_add(1, Ordering::Relaxed);
        Serviced::Claimed
    }
}

#[test]
fn two_zero_sized_handlers_of_one_type_are_two_registrations() {
    let machine = Machine::new(1).enter();
    let (first_device, second_device) =
        (machine.device().line().build(), machine.device().line().build());
    let connect = |device| LineBased::new(physical_device(device)).connect(Stateless).unwrap();
    let (first, second) = (connect(&first_device), connect(&second_device));
    assert_ne!(first.interrupt_object(), second.interrupt_object());
    // Each has a lock of its own: were they one, this would wait for itself.
    first.synchronize(|_| second.synchronize(|_| ()));
    drop(first);
    assert_eq!(first_device.raise_line(), Delivery::NotConnected);
    assert_eq!(second_device.raise_line(), Delivery::Claimed);
    assert_eq!(STATELESS_SERVED.load(Ordering::Relaxed), 1);
    drop(second);
}
