//! What the ISR is given, and when the device is enabled and silenced.

use std::sync::Mutex;

use wdm_interrupt::{
    ConnectionKind, ExperimentalPassiveMessageBased, Irql, MessageId, PassiveFullySpecified,
    Serviced,
};
use wdm_interrupt_model::host::{Delivery, Machine};

use crate::common::physical_device;
use crate::counter::{Census, shared};
use crate::gate::Gate;
use crate::{connect, isr, resource};

#[test]
fn a_line_and_a_fully_specified_interrupt_are_served_at_passive_level_where_the_isr_may_wait() {
    let machine = Machine::new(1).enter();
    let device = machine.device().passive_line().build();
    let resource = resource(&device);
    let here = std::thread::current().id();
    for fully_specified in [false, true] {
        let (gate, seen): (_, &Mutex<Vec<_>>) = (Gate::new(), shared());
        let handler = isr(move |interrupt| {
            gate.pass();
            assert_ne!(std::thread::current().id(), here);
            seen.lock().unwrap().push((Irql::current(), interrupt.message()));
            Serviced::Claimed
        });
        let (registration, kind) = if fully_specified {
            let request = PassiveFullySpecified::new(physical_device(&device), resource);
            let kind = ConnectionKind::FullySpecified { vectors: 1 };
            (request.connect(handler).unwrap(), kind)
        } else {
            (connect(&device, handler), ConnectionKind::LineBased)
        };
        assert_eq!(registration.kind(), kind);
        assert_eq!(registration.resource(), fully_specified.then_some(resource));
        assert_eq!(device.raise_line(), Delivery::Pending);
        assert_eq!(*seen.lock().unwrap(), []);
        gate.open();
        machine.settle();
        assert_eq!(*seen.lock().unwrap(), [(Irql::PASSIVE, None)]);
        let (handler, ()) = registration.disconnect().unwrap();
        assert_eq!(handler.switches, ["enable", "disable"]);
        assert_eq!(device.raise_line(), Delivery::NotConnected);
    }
}

#[test]
fn experimental_passive_messages_come_with_their_numbers_under_one_lock() {
    let machine = Machine::new(1).enter();
    let device = machine.device().messages(3).build();
    let (census, seen): (&Census, &Mutex<Vec<_>>) = (shared(), shared());
    let registration = ExperimentalPassiveMessageBased::new(physical_device(&device))
        .connect(isr(|interrupt| {
            let _inside = census.enter();
            let message = interrupt.message().map(MessageId::index);
            seen.lock().unwrap().push((Irql::current(), message));
            std::thread::sleep(std::time::Duration::from_millis(2));
            Serviced::Claimed
        }))
        .unwrap();
    assert_eq!(registration.kind(), ConnectionKind::MessageBased { messages: 3 });
    assert_eq!(registration.message_table().unwrap().len(), 3);
    for message in [2, 0, 1] {
        device.raise_message(message);
    }
    machine.settle();
    let mut seen = seen.lock().unwrap().clone();
    seen.sort_unstable();
    assert_eq!(seen, [0, 1, 2].map(|message| (Irql::PASSIVE, Some(message))));
    assert_eq!(census.most(), 1);
    drop(registration);
}

#[test]
fn it_is_reported_inactive_after_disable_and_active_before_enable() {
    let machine = Machine::new(1).enter();
    let device = machine.device().passive_line().build();
    let registration = connect(&device, isr(|_| Serviced::Claimed));
    machine.require_silence_while_inactive(true);
    assert_eq!(device.is_active(0), Some(true));
    for _ in 0..2 {
        registration.report_inactive();
        assert_eq!(device.is_active(0), Some(false));
    }
    for _ in 0..2 {
        registration.report_active();
        assert_eq!(device.is_active(0), Some(true));
    }
    device.raise_line();
    machine.settle();
    registration.report_inactive();
    // It does not answer, so the teardown leaves it alone.
    let (handler, ()) = registration.disconnect().unwrap();
    assert_eq!(handler.switches, ["enable", "disable", "enable", "disable"]);
}

#[test]
fn removed_hardware_is_not_touched() {
    let machine = Machine::new(1).enter();
    let device = machine.device().passive_line().build();
    let registration = connect(&device, isr(|_| Serviced::Claimed));
    let (handler, ()) = registration.disconnect_removed().unwrap();
    assert_eq!(handler.switches, ["enable"]);
}

#[test]
fn a_passive_message_past_the_table_is_not_serviced() {
    let machine = Machine::new(1).enter();
    let device = machine.device().messages(3).build();
    machine.fail(
        wdm_interrupt_model::executive::Call::IoConnectInterruptEx,
        0,
        wdm_interrupt_model::executive::Fault::MessageCount(2),
    );
    let seen: &Mutex<Vec<_>> = shared();
    let registration = ExperimentalPassiveMessageBased::new(physical_device(&device))
        .connect(isr(|interrupt| {
            seen.lock().unwrap().push(interrupt.message().map(MessageId::index));
            Serviced::Claimed
        }))
        .unwrap();
    for message in [1, 2] {
        device.raise_message(message);
    }
    machine.settle();
    assert_eq!(*seen.lock().unwrap(), [Some(1)]);
    drop(registration);
}
