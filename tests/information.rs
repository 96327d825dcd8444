//! What a registration tells of its connection.

#[expect(dead_code, reason = "these tests need a part of it")]
mod common;

use common::{Diary, Handler, physical_device};
use wdm_interrupt::{
    ConnectionKind, EachMessage, ExperimentalPassiveMessageBased, FullySpecified, InterruptMode,
    InterruptPolarity, InterruptResource, InterruptResources, Irql, LineBased, MessageBased,
    MessageEntry, MessageTable, PassiveFullySpecified, PassiveInterrupt, PassiveInterruptHandler,
    PassiveLineBased, Serviced,
};
use wdm_interrupt_model::executive::{Assigned, Call, Fault};
use wdm_interrupt_model::host::{Device, Machine};

/// A passive-level handler that does nothing.
struct Quiet;

impl PassiveInterruptHandler for Quiet {
    fn service(&mut self, _interrupt: &PassiveInterrupt<'_>) -> Serviced {
        Serviced::NotMine
    }
}

fn handler() -> Handler {
    Handler::new(&Diary::default())
}

fn resources(device: &Device) -> Vec<InterruptResource> {
    // SAFETY: the model's lists are complete and stay until the device is stopped.
    let resources = unsafe {
        InterruptResources::from_start_device(device.raw_resources(), device.translated_resources())
    };
    resources.unwrap().iter().collect()
}

/// Checks an entry against what the model assigned.
fn assert_is(entry: MessageEntry, assigned: &Assigned) {
    let Assigned::Message { vector, irql, address, data, affinity, .. } = *assigned else {
        panic!("{assigned:?} is no message");
    };
    assert_eq!((entry.vector, entry.irql), (vector, Irql::from_raw(irql)));
    assert_eq!((entry.address, entry.data, entry.affinity), (address, data, affinity));
    assert_eq!(entry.mode, InterruptMode::Latched);
    assert_eq!(entry.polarity, InterruptPolarity::ActiveHigh);
}

fn assert_is_all(table: MessageTable<'_>, device: &Device) {
    let assigned = device.interrupts();
    assert_eq!((table.len(), table.iter().count()), (assigned.len(), assigned.len()));
    assert!(!table.is_empty());
    for (entry, assigned) in table.iter().zip(&assigned) {
        assert_is(entry, assigned);
    }
    let highest = assigned.iter().map(Assigned::irql).max().unwrap();
    assert_eq!(table.unified_irql(), Irql::from_raw(highest));
    for index in [table.len(), 1 << 32, usize::MAX] {
        assert_eq!(table.get(index), None);
    }
}

#[test]
fn the_message_table_says_what_was_assigned() {
    let machine = Machine::new(2).enter();
    let device = machine.device().messages_at(&[4, 9, 6]).msi(4).build();
    let registration = MessageBased::new(physical_device(&device)).connect(handler()).unwrap();
    assert_eq!(registration.kind(), ConnectionKind::MessageBased { messages: 7 });
    assert_is_all(registration.message_table().unwrap(), &device);
    assert_eq!(registration.resources().count(), 0);
    drop(registration);
}

#[test]
fn each_message_has_its_own_entry() {
    let machine = Machine::new(2).enter();
    let device = machine.device().messages_at(&[4, 9, 6]).build();
    let registration =
        EachMessage::new(physical_device(&device), 3).connect(|_| handler()).unwrap();
    assert_eq!(registration.kind(), ConnectionKind::MessageBased { messages: 3 });
    assert_is_all(registration.message_table().unwrap(), &device);
    let mut objects = Vec::new();
    for (message, assigned) in registration.messages().zip(&device.interrupts()) {
        let entry = message.entry().unwrap();
        assert_is(entry, assigned);
        assert_eq!(message.synchronize_irql(), entry.irql);
        objects.push(message.interrupt_object());
    }
    objects.sort_unstable();
    objects.dedup();
    assert_eq!(objects.len(), 3);
    drop(registration);
}

#[test]
fn the_table_is_that_of_this_start() {
    let machine = Machine::new(1).enter();
    let device = machine.device().messages(3).build();
    let mut before = Vec::new();
    for _ in 0..3 {
        let registration = MessageBased::new(physical_device(&device)).connect(handler()).unwrap();
        let table = registration.message_table().unwrap();
        assert_is_all(table, &device);
        let now: Vec<_> = table.iter().map(|message| message.vector).collect();
        assert_ne!(now, before);
        before = now;
        drop(registration);
        device.stop();
        device.start();
    }
}

#[test]
fn a_table_that_is_longer_than_there_are_messages_can_be_read() {
    let machine = Machine::new(1).enter();
    let device = machine.device().messages(2).build();
    machine.fail(Call::IoConnectInterruptEx, 0, Fault::MessageCount(4));
    let registration = MessageBased::new(physical_device(&device)).connect(handler()).unwrap();
    let table = registration.message_table().unwrap();
    assert_eq!(table.len(), 4);
    assert_is(table.get(1).unwrap(), &device.interrupts()[1]);
    let empty = table.get(3).unwrap();
    assert_eq!((empty.vector, empty.irql, empty.affinity), (0, Irql::PASSIVE, 0));
    assert_eq!(empty.mode, InterruptMode::LevelSensitive);
    assert_eq!(empty.polarity, InterruptPolarity::Unknown);
    drop(registration);
}

#[test]
fn a_line_has_neither_table_nor_resources() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line_at(7, false, false).build();
    let by_line = LineBased::new(physical_device(&device)).connect(handler()).unwrap();
    assert_eq!(by_line.kind(), ConnectionKind::LineBased);
    assert!(by_line.message_table().is_none());
    assert_eq!(by_line.resources().count(), 0);
    assert_eq!(by_line.synchronize_irql(), Irql::from_raw(7));
    drop(by_line);

    let fallen_back =
        MessageBased::new(physical_device(&device)).fall_back_to_line().connect(handler()).unwrap();
    assert_eq!(fallen_back.kind(), ConnectionKind::LineBased);
    assert!(fallen_back.message_table().is_none());
    drop(fallen_back);
}

#[test]
fn vectors_have_the_resources_that_were_asked_for() {
    let machine = Machine::new(2).enter();
    let device = machine.device().line_at(5, true, true).messages_at(&[8, 6]).build();
    let mut asked = resources(&device);
    let one = FullySpecified::new(physical_device(&device), asked[0]).connect(handler()).unwrap();
    assert_eq!(one.kind(), ConnectionKind::FullySpecified { vectors: 1 });
    assert_eq!(one.resources().collect::<Vec<_>>(), asked[..1]);
    assert!(one.message_table().is_none());
    drop(one);

    asked.reverse();
    let all = FullySpecified::several(physical_device(&device), &asked).connect(handler()).unwrap();
    assert_eq!(all.kind(), ConnectionKind::FullySpecified { vectors: 3 });
    // They are copies: the request's own may be gone.
    let expected = asked.clone();
    drop(asked);
    assert_eq!(all.resources().collect::<Vec<_>>(), expected);
    for (resource, assigned) in all.resources().zip(device.interrupts().iter().rev()) {
        assert_eq!(resource.vector(), assigned.vector());
        assert_eq!(resource.irql(), Irql::from_raw(assigned.irql()));
        assert_eq!(resource.affinity(), assigned.affinity());
        assert_eq!(resource.is_message(), assigned.is_message());
        assert_eq!(resource.is_shared(), assigned.shared());
        assert_eq!(resource.mode() == InterruptMode::Latched, assigned.latched());
    }
    drop(all);
}

#[test]
fn passive_registrations_tell_the_same() {
    let machine = Machine::new(1).enter();
    let device = machine.device().passive_line().build();
    let by_line = PassiveLineBased::new(physical_device(&device)).connect(Quiet).unwrap();
    assert_eq!((by_line.kind(), by_line.resource()), (ConnectionKind::LineBased, None));
    assert!(by_line.message_table().is_none());
    assert!(!by_line.interrupt_object().is_null());
    drop(by_line);

    let asked = resources(&device)[0];
    let by_vector =
        PassiveFullySpecified::new(physical_device(&device), asked).connect(Quiet).unwrap();
    assert_eq!(by_vector.kind(), ConnectionKind::FullySpecified { vectors: 1 });
    assert_eq!(by_vector.resource(), Some(asked));
    drop(by_vector);

    let device = machine.device().messages(2).build();
    let messages =
        ExperimentalPassiveMessageBased::new(physical_device(&device)).connect(Quiet).unwrap();
    assert_eq!(messages.kind(), ConnectionKind::MessageBased { messages: 2 });
    let vectors: Vec<_> = messages.message_table().unwrap().iter().map(|it| it.vector).collect();
    assert_eq!(vectors, device.interrupts().iter().map(Assigned::vector).collect::<Vec<_>>());
    drop(messages);
}

#[test]
fn the_interrupt_object_is_the_one_that_the_kernel_knows() {
    use wdm_interrupt_model::host::kernel;

    let machine = Machine::new(1).enter();
    let device = machine.device().messages_at(&[4, 9]).build();
    let registration = MessageBased::new(physical_device(&device)).connect(handler()).unwrap();
    let object = registration.interrupt_object();
    // What a routine in C would do; the model reports what is no interrupt object.
    // SAFETY: connected; released below.
    let old = unsafe { kernel::KeAcquireInterruptSpinLock(object) };
    assert_eq!(Irql::current(), registration.synchronize_irql());
    // SAFETY: acquired above, and this is what it returned.
    unsafe { kernel::KeReleaseInterruptSpinLock(object, old) };
    assert_eq!(Irql::current(), Irql::PASSIVE);
    drop(registration);
}

#[test]
fn all_of_it_can_be_printed() {
    let machine = Machine::new(1).enter();
    let device = machine.device().messages_at(&[4, 9]).build();
    let registration = MessageBased::new(physical_device(&device)).connect(handler()).unwrap();
    let shown = format!("{registration:?}");
    assert!(shown.contains("MessageBased { messages: 2 }"), "{shown}");
    let table = format!("{:?}", registration.message_table().unwrap());
    assert_eq!(table.matches("vector:").count(), 2, "{table}");
    drop(registration);
}
