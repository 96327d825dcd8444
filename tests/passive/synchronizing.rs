//! The lock, which is waited for.

use std::sync::Mutex;

use wdm_interrupt::{
    Irql, PassiveInterrupt, PassiveInterruptHandler, PassiveInterruptRegistration, Serviced,
};
use wdm_interrupt_model::host::{Delivery, Machine};

use crate::counter::{Census, shared};
use crate::gate::Gate;
use crate::{Counter, at_irql, connect, isr, panic_of};

#[test]
fn synchronize_keeps_the_isr_out_and_may_wait() {
    let machine = Machine::new(1).enter();
    let device = machine.device().passive_line().build();
    let registration = connect(&device, Counter::default());
    registration.synchronize(|handler| {
        assert_eq!(Irql::current(), Irql::PASSIVE);
        assert_eq!(device.raise_line(), Delivery::Pending);
        // Waits, for longer than the ISR would take.
        std::thread::sleep(std::time::Duration::from_millis(20));
        machine.poll();
        assert_eq!(handler.events, 0);
    });
    machine.settle();
    assert_eq!(registration.synchronize(|handler| handler.events), 1);
    drop(registration);
}

#[test]
fn try_synchronize_does_not_wait_for_the_isr() {
    let machine = Machine::new(1).enter();
    let device = machine.device().passive_line().build();
    let (gate, census): (_, &Census) = (Gate::new(), shared());
    let registration = connect(
        &device,
        isr(move |_| {
            let _inside = census.enter();
            gate.pass();
            Serviced::Claimed
        }),
    );
    assert_eq!(registration.try_synchronize(|handler| handler.switches.len()), Some(1));
    device.raise_line();
    machine.wait_until(|| census.inside() == 1);
    assert_eq!(registration.try_synchronize(|_| ()), None);
    gate.open();
    machine.settle();
    assert_eq!(registration.try_synchronize(|_| ()), Some(()));
    drop(registration);
}

#[test]
fn synchronizing_above_passive_level_panics() {
    let machine = Machine::new(1).enter();
    let device = machine.device().passive_line().build();
    let registration = connect(&device, Counter::default());
    for irql in [Irql::APC, Irql::DISPATCH, Irql::from_raw(9)] {
        let calls: [&dyn Fn(); 4] = [
            &|| registration.synchronize(|_| ()),
            &|| _ = registration.try_synchronize(|_| ()),
            &|| registration.report_inactive(),
            &|| registration.report_active(),
        ];
        for call in calls {
            let message = panic_of(|| at_irql(irql, call));
            assert!(message.contains(&format!("synchronised with at {irql}")), "{message}");
        }
    }
    assert_eq!(machine.violations(), []);
    assert_eq!(device.is_active(0), Some(true));
    drop(registration);
}

#[test]
fn synchronizing_inside_itself_panics_instead_of_waiting_for_ever() {
    let machine = Machine::new(1).enter();
    let device = machine.device().passive_line().build();
    let registration = connect(&device, Counter::default());
    let message = panic_of(|| registration.synchronize(|_| registration.synchronize(|_| ())));
    assert!(message.contains("would wait for itself"), "{message}");
    let message = panic_of(|| {
        registration.synchronize(|_| registration.try_synchronize(|_| ()));
    });
    assert!(message.contains("would wait for itself"), "{message}");
    // Neither has left the lock behind.
    assert_eq!(registration.synchronize(|handler| handler.events), 0);
    drop(registration);
}

#[test]
fn synchronizing_inside_the_isr_panics_instead_of_waiting_for_ever() {
    type Slot = Mutex<Option<&'static PassiveInterruptRegistration<Inward>>>;
    struct Inward(&'static Slot);
    impl PassiveInterruptHandler for Inward {
        fn service(&mut self, _interrupt: &PassiveInterrupt<'_>) -> Serviced {
            let registration = self.0.lock().unwrap().take();
            registration.map_or(Serviced::NotMine, |registration| {
                registration.synchronize(|_| Serviced::Claimed)
            })
        }
    }

    let machine = Machine::new(1).enter();
    machine.expect_leftovers();
    let device = machine.device().passive_line().build();
    let slot: &Slot = shared();
    let registration = Box::leak(Box::new(connect(&device, Inward(slot))));
    *slot.lock().unwrap() = Some(registration);
    device.raise_line();
    let message = panic_of(|| machine.settle());
    assert!(message.contains("inside its own ISR"), "{message}");
}

#[test]
fn two_passive_lines_have_one_lock() {
    let machine = Machine::new(1).enter();
    let device = machine.device().passive_line().passive_line().build();
    let census: &Census = shared();
    let registration = connect(
        &device,
        isr(|_| {
            let _inside = census.enter();
            std::thread::sleep(std::time::Duration::from_millis(5));
            Serviced::Claimed
        }),
    );
    registration.synchronize(|_| {
        device.raise(0);
        device.raise(1);
        std::thread::sleep(std::time::Duration::from_millis(20));
        assert_eq!(census.runs(), 0);
    });
    machine.settle();
    assert_eq!((census.most(), census.runs()), (1, 2));
    drop(registration);
}
