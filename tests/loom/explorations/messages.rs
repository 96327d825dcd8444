//! A handler a message, in parallel.

use std::sync::Arc;

use loom::thread::JoinHandle;
use wdm_interrupt::{Dpc, EachMessage, MessageBased, MessageRegistration, SharedDpc};
use wdm_interrupt_model::exploration::Exploration;
use wdm_interrupt_model::machine::{Delivery, Machine, Wiring, spawn};

use crate::device::{Hardware, physical_device};
use crate::halves::{Half, Handler};

/// Two messages, each with a device's worth of registers behind it.
fn two() -> [Arc<Hardware>; 2] {
    [0, 1].map(|_message| Hardware::silent())
}

/// Each message interrupts once.
fn interrupt(hardware: &[Arc<Hardware>; 2]) -> [JoinHandle<Delivery>; 2] {
    [0, 1].map(|message| {
        let device = Arc::clone(&hardware[message]);
        spawn(move || device.interrupt_on(message))
    })
}

fn with_a_dpc_each(hardware: &[Arc<Hardware>; 2]) -> MessageRegistration<Handler, Dpc<Half>> {
    let request = EachMessage::new(physical_device(), 2);
    let connected = request.connect_with_deferred(|message| {
        let hardware = &hardware[message.index()];
        (Handler::new(hardware), Dpc::new(Half::new(hardware)))
    });
    connected.expect("connects")
}

fn with_a_shared_dpc(
    hardware: &[Arc<Hardware>; 2],
) -> MessageRegistration<Handler, SharedDpc<Half>> {
    let half = SharedDpc::new(Half::new(&hardware[0]));
    let request = EachMessage::new(physical_device(), 2).deferred(half);
    request.connect(|message| Handler::new(&hardware[message.index()])).expect("connects")
}

/// The end of an orderly teardown: everything that was claimed has been completed.
fn end(hardware: &[Arc<Hardware>; 2], isrs: [JoinHandle<Delivery>; 2]) {
    for device in hardware {
        device.torn_down();
    }
    for isr in isrs {
        isr.join().expect("no panic goes on");
    }
    for device in hardware {
        device.assert_silent();
        device.assert_all_completed();
    }
}

/// The end of a removal, during which the device went on: nothing is lost.
fn end_removed(hardware: &[Arc<Hardware>; 2], isrs: [JoinHandle<Delivery>; 2]) {
    for device in hardware {
        device.torn_down();
    }
    for isr in isrs {
        isr.join().expect("no panic goes on");
    }
    for device in hardware {
        device.assert_nothing_lost();
    }
}

const THREADS: &str = "driver, ISR, another message's ISR, DPC";

#[test]
fn each_message_has_its_own_dpc() {
    Exploration { threads: THREADS, preemptions: Some(2) }.run(|| {
        let machine = Machine::start(Wiring::messages(2)).with_dpc_processor();
        let hardware = two();
        let isrs = interrupt(&hardware);
        drop(with_a_dpc_each(&hardware));
        end(&hardware, isrs);
        machine.stop();
    });
}

#[test]
fn all_messages_share_a_dpc() {
    Exploration { threads: THREADS, preemptions: Some(2) }.run(|| {
        let machine = Machine::start(Wiring::messages(2)).with_dpc_processor();
        let hardware = two();
        let isrs = interrupt(&hardware);
        drop(with_a_shared_dpc(&hardware));
        end(&hardware, isrs);
        machine.stop();
    });
}

#[test]
fn messages_with_a_dpc_each_go_on_while_the_device_is_removed() {
    Exploration { threads: THREADS, preemptions: Some(2) }.run(|| {
        let machine = Machine::start(Wiring::messages(2)).with_dpc_processor();
        let hardware = two();
        let registration = with_a_dpc_each(&hardware);
        let isrs = interrupt(&hardware);
        drop(registration.disconnect_removed().expect("disconnects"));
        end_removed(&hardware, isrs);
        machine.stop();
    });
}

#[test]
fn messages_that_share_a_dpc_go_on_while_the_device_is_removed() {
    Exploration { threads: THREADS, preemptions: Some(2) }.run(|| {
        let machine = Machine::start(Wiring::messages(2)).with_dpc_processor();
        let hardware = two();
        let registration = with_a_shared_dpc(&hardware);
        let isrs = interrupt(&hardware);
        drop(registration.disconnect_removed().expect("disconnects"));
        end_removed(&hardware, isrs);
        machine.stop();
    });
}

#[test]
fn messages_under_one_lock_whose_connect_fails_late() {
    Exploration { threads: THREADS, preemptions: Some(2) }.run(|| {
        let machine = Machine::start(Wiring::messages(2).failing()).with_dpc_processor();
        let hardware = Hardware::enabled_by_firmware();
        let isrs = [0, 1].map(|message| {
            let device = Arc::clone(&hardware);
            spawn(move || device.interrupt_on(message))
        });
        let half = Dpc::new(Half::new(&hardware));
        let request = MessageBased::new(physical_device()).deferred(half);
        let error = request.connect(Handler::new(&hardware)).expect_err("it fails");
        hardware.torn_down();
        drop(error.into_halves());
        for isr in isrs {
            isr.join().expect("no panic goes on");
        }
        hardware.assert_nothing_lost();
        machine.stop();
    });
}
