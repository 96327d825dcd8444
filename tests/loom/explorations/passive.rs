//! A passive-level line: ISRs in threads, a lock that is waited for, and a work item.

use loom::sync::Arc;
use wdm_interrupt::{PassiveInterruptRegistration, PassiveLineBased, WorkItem};
use wdm_interrupt_model::exploration::Exploration;
use wdm_interrupt_model::machine::{Delivery, Machine, Wiring, spawn};

use crate::device::{Hardware, physical_device};
use crate::halves::{Half, Handler};
use crate::work::work_item;

fn connected(
    hardware: &std::sync::Arc<Hardware>,
) -> PassiveInterruptRegistration<Handler, WorkItem<Half>> {
    let request = PassiveLineBased::new(physical_device()).deferred(work_item(hardware));
    request.connect(Handler::new(hardware)).expect("connects")
}

#[test]
fn isr_work_item_and_drop() {
    Exploration { threads: "driver, ISR, worker", preemptions: Some(2) }.run(|| {
        let machine = Machine::start(Wiring::PASSIVE).with_worker();
        let hardware = Hardware::silent();
        let device = std::sync::Arc::clone(&hardware);
        let isr = spawn(move || device.interrupt());
        drop(connected(&hardware));
        hardware.torn_down();
        hardware.assert_silent();
        isr.join().expect("no panic goes on");
        hardware.assert_all_completed();
        machine.stop();
    });
}

#[test]
fn synchronize_try_synchronize_and_an_isr() {
    Exploration { threads: "driver, synchronize, ISR, worker", preemptions: Some(1) }.run(|| {
        let machine = Machine::start(Wiring::PASSIVE).with_worker();
        let hardware = Hardware::silent();
        let registration = Arc::new(connected(&hardware));
        let device = std::sync::Arc::clone(&hardware);
        let isr = spawn(move || device.interrupt());
        let shared = Arc::clone(&registration);
        let other = spawn(move || shared.synchronize(Handler::complete));
        registration.try_synchronize(Handler::complete);
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
fn a_device_that_goes_on_interrupting_while_it_is_removed() {
    Exploration { threads: "driver, ISR, worker", preemptions: Some(3) }.run(|| {
        let machine = Machine::start(Wiring::PASSIVE).with_worker();
        let hardware = Hardware::silent();
        let device = std::sync::Arc::clone(&hardware);
        let registration = connected(&hardware);
        let isr = spawn(move || device.interrupt());
        let halves = registration.disconnect_removed().expect("disconnects");
        hardware.torn_down();
        drop(halves);
        let delivery = isr.join().expect("no panic goes on");
        assert_ne!(delivery, Delivery::NotMine);
        hardware.assert_nothing_lost();
        machine.stop();
    });
}
