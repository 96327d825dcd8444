//! Who gets which message, and what becomes of those that get none.

use std::sync::atomic::{AtomicU32, Ordering};

use wdm_interrupt::{
    ConnectEachError, ConnectErrorKind, ConnectionKind, EachMessage, Interrupt, InterruptHandler,
    Irql, Serviced,
};
use wdm_interrupt_model::executive::{Call, Fault};
use wdm_interrupt_model::hal::Event;
use wdm_interrupt_model::host::{Delivery, Machine};
use wdm_interrupt_model::nt;

use super::common::Happened::{Disable, Enable, HandlerDropped, Run, Service};
use super::common::{Diary, Handler, physical_device};
use super::{at_irql, connect, connect_with_deferred, diaries, each_message, promised, services};

#[test]
fn each_handler_gets_its_own_message() {
    let machine = Machine::new(1).enter();
    let device = machine.device().messages(5).build();
    let diaries = diaries(5);
    let registration = connect(&device, &diaries).unwrap();
    assert_eq!(registration.kind(), ConnectionKind::MessageBased { messages: 5 });
    assert_eq!(registration.count(), 5);
    for number in [3, 0, 4, 4] {
        assert_eq!(device.raise_message(number), Delivery::Claimed);
    }
    let counts: Vec<_> = diaries.iter().map(services).collect();
    assert_eq!(counts, [1, 0, 0, 1, 2]);
    for (number, diary) in diaries.iter().enumerate() {
        let own = |happened| match happened {
            Service(message) => message.is_some_and(|message| message.index() == number),
            _ => true,
        };
        assert!(diary.read().into_iter().all(own), "handler {number}: {diary:?}");
        assert_eq!(diary.count(Enable), 1);
    }
    registration.disconnect().unwrap();
}

#[test]
fn there_are_as_many_handlers_as_the_resources_promise_messages() {
    let machine = Machine::new(1).enter();
    // Four messages in one descriptor, and two in a descriptor each.
    let device = machine.device().msi(4).messages(2).line().build();
    let diaries = diaries(promised(&device).try_into().unwrap());
    assert_eq!(diaries.len(), 6);
    let registration = connect(&device, &diaries).unwrap();
    for number in 0..6 {
        assert_eq!(device.raise_message(number), Delivery::Claimed);
    }
    assert!(diaries.iter().all(|diary| services(diary) == 1));
    drop(registration);
}

#[test]
fn a_message_past_the_last_one_is_none() {
    let machine = Machine::new(1).enter();
    let device = machine.device().messages(4).assigned_messages(3).build();
    let registration = connect(&device, &diaries(4)).unwrap();
    assert_eq!(registration.message(2).unwrap().index(), 2);
    for index in [3, 4, 1 << 32, usize::MAX] {
        assert!(registration.message(index).is_none());
    }
    let indices: Vec<_> = registration.messages().map(|message| message.index()).collect();
    assert_eq!(indices, [0, 1, 2]);
    drop(registration);
}

#[test]
fn with_fewer_messages_the_surplus_handlers_are_dropped_and_never_enabled() {
    let machine = Machine::new(1).enter();
    let device = machine.device().messages(5).assigned_messages(2).build();
    let diaries = diaries(promised(&device).try_into().unwrap());
    machine.interrupt_during_connect(true);
    let registration = connect_with_deferred(&device, &diaries).unwrap();
    assert_eq!(registration.count(), 2);
    for diary in &diaries[..2] {
        assert_eq!((diary.count(Enable), diary.count(HandlerDropped)), (1, 0));
    }
    for diary in &diaries[2..] {
        assert_eq!(diary.count(HandlerDropped), 1);
        assert_eq!((diary.count(Enable), diary.count(Disable), services(diary)), (0, 0, 0));
    }
    machine.interrupt_during_connect(false);
    assert_eq!(device.raise_message(1), Delivery::Claimed);
    let halves = registration.disconnect().unwrap();
    assert_eq!(halves.count(), 2);
    drop(halves);
    assert!(diaries.iter().all(|diary| diary.count(HandlerDropped) == 1));
}

#[test]
fn a_surplus_handler_that_a_stray_message_reached_is_dropped_without_its_dpc() {
    let machine = Machine::new(1).enter();
    let device = machine.device().messages(4).build();
    let diaries = diaries(4);
    machine.hold_dpcs(true);
    machine.interrupt_during_connect(true);
    // All four are live while connecting; then the table says that there are two.
    machine.fail(Call::IoConnectInterruptEx, 0, Fault::MessageCount(2));
    let registration = connect_with_deferred(&device, &diaries).unwrap();
    assert_eq!(registration.count(), 2);
    for diary in &diaries[2..] {
        assert_eq!((services(diary), diary.count(Run), diary.count(Enable)), (1, 0, 0));
        assert_eq!(diary.count(HandlerDropped), 1);
    }
    // Those of the others were parked, and are queued again.
    assert_eq!(machine.left_behind().dpcs, 2);
    // Later ones are past the table.
    assert_eq!(device.raise_message(1), Delivery::Claimed);
    assert_eq!(device.raise_message(2), Delivery::Unclaimed);
    machine.hold_dpcs(false);
    assert!(diaries[2..].iter().all(|diary| diary.count(Run) == 0));
    drop(registration);
}

#[test]
fn more_messages_than_handlers_are_undone_and_all_handlers_come_back() {
    let machine = Machine::new(1).enter();
    let device = machine.device().messages(3).assigned_messages(5).build();
    let diaries = diaries(promised(&device).try_into().unwrap());
    // The ISRs run before the table is known, also those for which there is no handler.
    machine.interrupt_during_connect(true);
    machine.hold_dpcs(true);
    let error = connect_with_deferred(&device, &diaries).unwrap_err();
    let kind = ConnectErrorKind::TooManyMessages { handlers: 3, messages: 5 };
    assert_eq!((error.kind(), error.status()), (kind, nt::STATUS_INVALID_PARAMETER));
    assert!(error.to_string().contains("count the messages"), "{error}");
    let claimed: Vec<_> = machine
        .events()
        .iter()
        .filter_map(|event| match *event {
            Event::IsrLeft { claimed, .. } => Some(claimed),
            _ => None,
        })
        .collect();
    assert_eq!(claimed, [true, true, true, false, false]);

    let ConnectEachError::NotConnected { halves, .. } = error else { panic!("{error}") };
    let left = machine.left_behind();
    assert!(left.interrupts.is_empty() && left.dpcs == 0, "{left}");
    assert_eq!(device.raise_message(0), Delivery::NotConnected);
    assert_eq!(halves.count(), 3);
    let ((), handlers) = halves.into_inner();
    for (number, (handler, completion)) in handlers.enumerate() {
        assert_eq!((handler.events, *completion.taken.lock().unwrap()), (1, 0));
        let diary = &diaries[number];
        assert_eq!((diary.count(Enable), diary.count(Disable), diary.count(Run)), (0, 0, 0));
    }
    assert!(machine.left_behind().is_empty());
}

#[test]
fn early_messages_reach_their_handlers_before_the_table_is_known() {
    let machine = Machine::new(1).enter();
    let device = machine.device().messages(4).build();
    let diaries = diaries(4);
    machine.interrupt_during_connect(true);
    let registration = connect(&device, &diaries).unwrap();
    for (number, diary) in diaries.iter().enumerate() {
        let history = diary.read();
        let [Service(Some(message)), Enable] = history[..] else { panic!("{history:?}") };
        assert_eq!(message.index(), number);
    }
    drop(registration);
}

#[test]
fn a_failure_half_way_gives_all_handlers_back_with_what_their_isrs_did() {
    let machine = Machine::new(1).enter();
    let device = machine.device().messages(5).build();
    for held in [true, false] {
        let diaries = diaries(5);
        machine.interrupt_during_connect(true);
        machine.hold_dpcs(held);
        let status = nt::STATUS_INSUFFICIENT_RESOURCES;
        let fault = Fault::StatusAt { interrupt: 3, status };
        machine.fail(Call::IoConnectInterruptEx, 0, fault);
        let error = connect_with_deferred(&device, &diaries).unwrap_err();
        assert_eq!(error.kind(), ConnectErrorKind::Refused(status));
        // Messages 0 to 2 were live. Their DPCs were queued, and are gone.
        let left = machine.left_behind();
        assert!(left.interrupts.is_empty() && left.dpcs == 0, "{left}");
        let ConnectEachError::NotConnected { halves, .. } = error else { panic!("{error}") };
        let events: Vec<_> = (0..5).map(|index| halves.handler(index).unwrap().events).collect();
        assert_eq!(events, [1, 1, 1, 0, 0]);
        for diary in &diaries {
            assert_eq!((diary.count(Enable), diary.count(Disable), diary.count(Run)), (0, 0, 0));
        }
        drop(halves);
        assert!(machine.left_behind().is_empty());
    }
}

#[test]
fn the_line_is_served_by_the_first_handler_and_the_others_are_dropped() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let diaries = diaries(3);
    let registration = each_message(&device, &diaries)
        .fall_back_to_line()
        .connect(|message| Handler::new(&diaries[message.index()]))
        .unwrap();
    assert_eq!((registration.kind(), registration.count()), (ConnectionKind::LineBased, 1));
    assert!(registration.message_table().is_none());
    assert!(registration.message(0).unwrap().entry().is_none());
    assert!(registration.message(1).is_none());
    assert_eq!(device.raise_line(), Delivery::Claimed);
    assert_eq!(diaries[0].read(), [Enable, Service(None)]);
    for diary in &diaries[1..] {
        assert_eq!(diary.read(), [HandlerDropped]);
    }
    let events = registration.message(0).unwrap().synchronize(|handler| handler.events);
    assert_eq!(events, 1);
    drop(registration);
}

#[test]
fn all_lines_of_the_fallback_are_under_one_lock() {
    const ROUNDS: u32 = 200;
    static INSIDE: AtomicU32 = AtomicU32::new(0);
    struct Exclusive(u32);
    impl Exclusive {
        /// Adds one, and panics if anybody else is here.
        fn visit(&mut self) {
            assert_eq!(INSIDE.fetch_add(1, Ordering::Relaxed), 0);
            let before = self.0;
            std::thread::yield_now();
            self.0 = before + 1;
            assert_eq!(INSIDE.fetch_sub(1, Ordering::Relaxed), 1);
        }
    }
    impl InterruptHandler for Exclusive {
        fn service(&mut self, _interrupt: &Interrupt<'_>) -> Serviced {
            self.visit();
            Serviced::Claimed
        }
    }

    let machine = Machine::new(3).enter();
    let device = machine.device().line_at(6, false, false).line_at(9, false, false).build();
    let registration = EachMessage::new(physical_device(&device), 4)
        .fall_back_to_line()
        .connect(|_| Exclusive(0))
        .unwrap();
    // So it is at the IRQL of the highest.
    assert_eq!(registration.message(0).unwrap().synchronize_irql(), Irql::from_raw(9));
    machine.scope(|scope| {
        for (processor, line) in [(1, 0), (2, 1)] {
            let (device, registration) = (&device, &registration);
            scope.spawn(processor, move || {
                for _ in 0..ROUNDS {
                    assert_eq!(device.raise(line), Delivery::Claimed);
                    registration.message(0).unwrap().synchronize(Exclusive::visit);
                }
            });
        }
    });
    let halves = registration.disconnect().unwrap();
    assert_eq!(halves.handler(0).unwrap().0, 4 * ROUNDS);
}

#[test]
fn without_a_fallback_no_messages_is_an_error_and_all_handlers_come_back() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let diaries = diaries(2);
    machine.interrupt_during_connect(true);
    let error = connect(&device, &diaries).unwrap_err();
    assert_eq!(error.kind(), ConnectErrorKind::NoMessages);
    assert_eq!(error.status(), nt::STATUS_NOT_FOUND);
    assert_eq!(device.raise_line(), Delivery::NotConnected);
    let ConnectEachError::NotConnected { halves, .. } = error else { panic!("{error}") };
    let ((), handlers) = halves.into_inner();
    assert_eq!(handlers.len(), 2);
    // The interrupt that came meanwhile was left to the line's other devices.
    assert!(diaries.iter().all(|diary| diary.read().is_empty()));
    drop(handlers);
    assert!(machine.left_behind().is_empty());
}

#[test]
fn a_line_that_is_refused_after_the_messages_gives_all_handlers_back() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let diaries = diaries(2);
    // The first call falls back to the line, which the second asks for.
    machine.fail(Call::IoConnectInterruptEx, 1, nt::STATUS_INSUFFICIENT_RESOURCES);
    let error = each_message(&device, &diaries)
        .fall_back_to_line()
        .connect(|message| Handler::new(&diaries[message.index()]))
        .unwrap_err();
    assert_eq!(error.kind(), ConnectErrorKind::Refused(nt::STATUS_INSUFFICIENT_RESOURCES));
    let ConnectEachError::NotConnected { halves, .. } = error else { panic!("{error}") };
    assert_eq!(halves.count(), 2);
    drop(halves);
    assert!(diaries.iter().all(|diary| diary.read() == [HandlerDropped]));
    assert!(machine.left_behind().is_empty());
}

#[test]
fn a_device_that_was_promised_no_message_falls_back_to_its_line() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let diary = Diary::default();
    let registration = EachMessage::new(physical_device(&device), 0)
        .fall_back_to_line()
        .connect(|_message| Handler::new(&diary))
        .unwrap();
    assert_eq!(registration.count(), 1);
    assert_eq!(device.raise_line(), Delivery::Claimed);
    drop(registration);
}

#[test]
fn what_the_kernel_should_not_be_asked_for_fails_before_a_handler_is_made() {
    let machine = Machine::new(1).enter();
    let device = machine.device().messages(2).build();
    let never = |_| -> Handler { panic!("a handler was made") };
    let connect = |messages| EachMessage::new(physical_device(&device), messages).connect(never);

    let error = connect(0).unwrap_err();
    assert_eq!(error.kind(), ConnectErrorKind::NoMessages);
    let error = at_irql(Irql::DISPATCH, || connect(2).unwrap_err());
    assert_eq!(error.kind(), ConnectErrorKind::RaisedIrql(Irql::DISPATCH));
    machine.fail(Call::ExAllocatePool2, 0, nt::STATUS_INSUFFICIENT_RESOURCES);
    let error = connect(2).unwrap_err();
    assert_eq!(error.kind(), ConnectErrorKind::NoPool);
    assert_eq!(error.status(), nt::STATUS_INSUFFICIENT_RESOURCES);
    assert!(matches!(error, ConnectEachError::NotMade { deferred: (), .. }));
    // No number of messages is too large to be asked for.
    machine.fail(Call::ExAllocatePool2, 0, nt::STATUS_INSUFFICIENT_RESOURCES);
    assert_eq!(connect(u32::MAX).unwrap_err().kind(), ConnectErrorKind::NoPool);
    let asked = |event: &Event| matches!(event, Event::ConnectEntered { .. });
    assert!(!machine.events().iter().any(asked));
}

#[test]
fn a_version_that_neither_call_asked_for_is_undone() {
    let machine = Machine::new(1).enter();
    let messages = machine.device().messages(2).build();
    let line = machine.device().line().build();
    let nobody_asked = [
        nt::CONNECT_FULLY_SPECIFIED,
        nt::CONNECT_FULLY_SPECIFIED_GROUP,
        nt::CONNECT_MESSAGE_BASED_PASSIVE,
        77,
    ];
    let for_messages = nobody_asked.map(|version| (&messages, 0, version));
    let for_the_line = nobody_asked.map(|version| (&line, 1, version));
    let messages_for_the_line = (&line, 1, nt::CONNECT_MESSAGE_BASED);
    for (device, call, version) in
        for_messages.into_iter().chain(for_the_line).chain([messages_for_the_line])
    {
        let diary = Diary::default();
        machine.fail(Call::IoConnectInterruptEx, call, Fault::Version(version));
        let error = EachMessage::new(physical_device(device), 2)
            .fall_back_to_line()
            .connect(|_| Handler::new(&diary))
            .unwrap_err();
        let unexpected = ConnectErrorKind::Unexpected { version };
        assert_eq!(error.kind(), unexpected, "call {call}, Version {version}");
        drop(error);
        assert_eq!(diary.read(), [HandlerDropped; 2]);
        assert!(machine.left_behind().is_empty());
    }
}

#[test]
fn a_success_that_does_not_go_with_the_request_is_undone() {
    let cases = [
        (Fault::StoresNull, ConnectErrorKind::NothingConnected),
        (Fault::WritesNothing, ConnectErrorKind::NothingConnected),
        (
            Fault::MessageCount(0),
            ConnectErrorKind::Unexpected { version: nt::CONNECT_MESSAGE_BASED },
        ),
        // The entry of the third message has no interrupt object.
        (
            Fault::MessageCount(3),
            ConnectErrorKind::Unexpected { version: nt::CONNECT_MESSAGE_BASED },
        ),
        (Fault::Version(77), ConnectErrorKind::Unexpected { version: 77 }),
    ];
    let machine = Machine::new(1).enter();
    let device = machine.device().messages(2).build();
    for (fault, kind) in cases {
        let diary = Diary::default();
        machine.fail(Call::IoConnectInterruptEx, 0, fault);
        let error = EachMessage::new(physical_device(&device), 3)
            .connect(|_| Handler::new(&diary))
            .unwrap_err();
        assert_eq!(error.kind(), kind, "{fault:?}");
        drop(error);
        assert_eq!(diary.read(), [HandlerDropped; 3]);
        assert!(machine.left_behind().is_empty());
    }
}
