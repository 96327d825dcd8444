//! A line: ISR, synchronising, DPC and teardown at once.

use loom::sync::Arc;
use wdm_interrupt::{Dpc, InterruptRegistration, LineBased};
use wdm_interrupt_model::exploration::Exploration;
use wdm_interrupt_model::machine::{self, Delivery, Machine, Wiring, spawn};

use crate::device::{Hardware, physical_device};
use crate::halves::{Half, Handler};

type Registration = InterruptRegistration<Handler, Dpc<Half>>;

fn connect(hardware: &std::sync::Arc<Hardware>, half: Half) -> Registration {
    let request = LineBased::new(physical_device()).deferred(Dpc::new(half));
    request.connect(Handler::new(hardware)).expect("connects")
}

fn connected(hardware: &std::sync::Arc<Hardware>) -> Registration {
    connect(hardware, Half::new(hardware))
}

#[test]
fn isr_dpc_and_disconnect() {
    Exploration { threads: "driver, ISR, DPC", preemptions: None }.run(|| {
        let machine = Machine::start(Wiring::LINE).with_dpc_processor();
        let hardware = Hardware::silent();
        let device = std::sync::Arc::clone(&hardware);
        let isr = spawn(move || device.interrupt());
        let halves = connected(&hardware).disconnect().expect("disconnects");
        hardware.torn_down();
        hardware.assert_silent();
        drop(halves);
        isr.join().expect("no panic goes on");
        hardware.assert_all_completed();
        machine.stop();
    });
}

#[test]
fn isr_synchronize_dpc_and_drop() {
    Exploration { threads: "driver, synchronize, ISR, DPC", preemptions: Some(3) }.run(|| {
        let machine = Machine::start(Wiring::LINE).with_dpc_processor();
        let hardware = Hardware::silent();
        let device = std::sync::Arc::clone(&hardware);
        let isr = spawn(move || device.interrupt());
        let registration = Arc::new(connected(&hardware));
        let shared = Arc::clone(&registration);
        // Whoever lets go of it last tears it down.
        let other = spawn(move || shared.synchronize(Handler::unmask));
        drop(registration);
        other.join().expect("no panic goes on");
        hardware.torn_down();
        hardware.assert_silent();
        isr.join().expect("no panic goes on");
        hardware.assert_all_completed();
        machine.stop();
    });
}

#[test]
fn synchronize_and_an_isr_without_a_deferred_half() {
    Exploration { threads: "driver, synchronize, ISR, ISR", preemptions: Some(3) }.run(|| {
        let machine = Machine::start(Wiring::LINE);
        let hardware = Hardware::silent();
        let isrs = [0, 1].map(|_| {
            let device = std::sync::Arc::clone(&hardware);
            spawn(move || device.interrupt())
        });
        let request = LineBased::new(physical_device());
        let registration = Arc::new(request.connect(Handler::new(&hardware)).expect("connects"));
        let shared = Arc::clone(&registration);
        let other = spawn(move || shared.synchronize(Handler::complete));
        drop(registration);
        other.join().expect("no panic goes on");
        hardware.torn_down();
        hardware.assert_silent();
        for isr in isrs {
            isr.join().expect("no panic goes on");
        }
        hardware.assert_all_completed();
        machine.stop();
    });
}

#[test]
fn an_isr_before_connect_has_returned() {
    Exploration { threads: "driver, ISR, DPC", preemptions: Some(4) }.run(|| {
        let machine = Machine::start(Wiring::LINE).with_dpc_processor();
        let hardware = Hardware::enabled_by_firmware();
        let device = std::sync::Arc::clone(&hardware);
        let isr = spawn(move || device.interrupt());
        let registration = connected(&hardware);
        isr.join().expect("no panic goes on");
        machine::flush();
        // Nothing else will queue it: what was parked has been queued again.
        hardware.assert_all_completed();
        drop(registration);
        hardware.torn_down();
        machine.stop();
    });
}

#[test]
fn a_foreign_interrupt_at_every_point() {
    Exploration { threads: "driver, foreign ISR, ISR, DPC", preemptions: Some(3) }.run(|| {
        let machine = Machine::start(Wiring::LINE).with_dpc_processor();
        let hardware = Hardware::silent();
        let foreign = spawn(|| machine::interrupt(0));
        let device = std::sync::Arc::clone(&hardware);
        let isr = spawn(move || device.interrupt());
        let registration = connected(&hardware);
        drop(registration);
        hardware.torn_down();
        hardware.assert_silent();
        foreign.join().expect("no panic goes on");
        isr.join().expect("no panic goes on");
        hardware.assert_all_completed();
        machine.stop();
    });
}

#[test]
fn a_dpc_that_unmasks_the_device_when_it_is_through() {
    Exploration { threads: "driver, ISR, DPC", preemptions: Some(4) }.run(|| {
        let machine = Machine::start(Wiring::LINE).with_dpc_processor();
        let hardware = Hardware::silent();
        let device = std::sync::Arc::clone(&hardware);
        let isr = spawn(move || device.interrupt());
        let registration = connect(&hardware, Half::that_unmasks(&hardware));
        drop(registration);
        hardware.torn_down();
        hardware.assert_silent();
        isr.join().expect("no panic goes on");
        hardware.assert_nothing_lost();
        machine.stop();
    });
}

#[test]
fn a_connect_that_fails_late() {
    Exploration { threads: "driver, ISR, DPC", preemptions: None }.run(|| {
        let machine = Machine::start(Wiring::LINE.failing()).with_dpc_processor();
        let hardware = Hardware::enabled_by_firmware();
        let device = std::sync::Arc::clone(&hardware);
        let isr = spawn(move || device.interrupt());
        let half = Dpc::new(Half::new(&hardware));
        let request = LineBased::new(physical_device()).deferred(half);
        let error = request.connect(Handler::new(&hardware)).expect_err("it fails");
        hardware.torn_down();
        drop(error.into_halves());
        isr.join().expect("no panic goes on");
        hardware.assert_nothing_lost();
        machine.stop();
    });
}

#[test]
fn two_processors_run_the_dpc_at_once() {
    Exploration { threads: "driver, ISR twice, DPC, DPC", preemptions: Some(2) }.run(|| {
        let machine = Machine::start(Wiring::LINE).with_dpc_processor().with_dpc_processor();
        let hardware = Hardware::silent();
        let device = std::sync::Arc::clone(&hardware);
        let isr = spawn(move || [device.interrupt(), device.interrupt()]);
        let registration = connected(&hardware);
        drop(registration);
        hardware.torn_down();
        hardware.assert_silent();
        isr.join().expect("no panic goes on");
        hardware.assert_all_completed();
        machine.stop();
    });
}

#[test]
fn a_device_that_goes_on_interrupting_while_it_is_removed() {
    Exploration { threads: "driver, ISR, DPC", preemptions: Some(3) }.run(|| {
        let machine = Machine::start(Wiring::LINE).with_dpc_processor();
        let hardware = Hardware::silent();
        let device = std::sync::Arc::clone(&hardware);
        let isr = spawn(move || [device.interrupt(), device.interrupt()]);
        let registration = connected(&hardware);
        let halves = registration.disconnect_removed().expect("disconnects");
        hardware.torn_down();
        drop(halves);
        let deliveries = isr.join().expect("no panic goes on");
        assert!(!deliveries.contains(&Delivery::NotMine));
        hardware.assert_nothing_lost();
        machine.stop();
    });
}

#[test]
fn what_was_claimed_before_the_teardown_is_completed() {
    Exploration { threads: "driver and ISR, DPC", preemptions: None }.run(|| {
        let machine = Machine::start(Wiring::LINE).with_dpc_processor();
        let hardware = Hardware::silent();
        let registration = connected(&hardware);
        assert_eq!(hardware.interrupt(), Delivery::Claimed);
        drop(registration);
        hardware.torn_down();
        hardware.assert_all_completed();
        machine.stop();
    });
}
