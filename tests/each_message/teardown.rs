//! Taking a registration for all messages apart.

use std::panic::{AssertUnwindSafe, catch_unwind};

use wdm_interrupt::{DisconnectErrorKind, Irql};
use wdm_interrupt_model::hal::Event;
use wdm_interrupt_model::host::{Delivery, Machine};

use super::common::Diary;
use super::common::Happened::{self, DeferredDropped, Disable, Enable, HandlerDropped, Run};
use super::{at_irql, connect, connect_with_deferred, diaries, services};

/// What a diary says but for the ISR.
fn history(diary: &Diary) -> Vec<Happened> {
    let isr = |happened: &Happened| matches!(happened, Happened::Service(_));
    diary.read().into_iter().filter(|happened| !isr(happened)).collect()
}

/// Where an event is in the machine's history: the first, and the last.
fn places(machine: &Machine, is_it: impl Fn(&Event) -> bool) -> (usize, usize) {
    let events = machine.events();
    let first = events.iter().position(&is_it).expect("it did not happen");
    let last = events.iter().rposition(&is_it).expect("it did not happen");
    (first, last)
}

#[test]
fn what_was_claimed_is_completed_while_connected() {
    let machine = Machine::new(1).enter();
    let device = machine.device().messages(3).build();
    let diaries = diaries(3);
    let registration = connect_with_deferred(&device, &diaries).unwrap();
    machine.hold_dpcs(true);
    for number in [0, 1, 2, 1] {
        device.raise_message(number);
    }
    let halves = registration.disconnect().unwrap();
    for (index, claimed) in [1, 2, 1].into_iter().enumerate() {
        assert_eq!(halves.handler(index).unwrap().events, 0);
        assert_eq!(*halves.deferred(index).unwrap().taken.lock().unwrap(), claimed);
        // `disable` comes first, and once more when the deferred half has ended.
        assert_eq!(history(&diaries[index]), [Enable, Disable, Run, Disable]);
    }
    // All DPCs end, and nobody synchronises any more, before the first message is disconnected.
    let (disconnected, _) = places(&machine, |event| matches!(event, Event::Disconnected { .. }));
    let (_, synchronized) =
        places(&machine, |event| matches!(event, Event::SynchronizeEntered { .. }));
    let (_, deferred) = places(&machine, |event| matches!(event, Event::DpcLeft { .. }));
    assert!(deferred < synchronized && synchronized < disconnected, "{:?}", machine.events());
}

#[test]
fn a_stray_message_during_the_disconnect_queues_a_dpc_that_runs_no_user_code() {
    let machine = Machine::new(1).enter();
    let device = machine.device().messages(3).build();
    for held in [true, false] {
        let diaries = diaries(3);
        let registration = connect_with_deferred(&device, &diaries).unwrap();
        machine.interrupt_during_disconnect(true);
        machine.hold_dpcs(held);
        let ((), handlers) = registration.disconnect().unwrap().into_inner();
        for (handler, completion) in handlers {
            assert_eq!((handler.events, *completion.taken.lock().unwrap()), (1, 0));
        }
        assert!(diaries.iter().all(|diary| services(diary) == 1 && diary.count(Run) == 0));
        assert!(machine.left_behind().is_empty());
    }
    assert!(machine.events().iter().any(|event| matches!(event, Event::DpcQueued { .. })));
    assert!(machine.events().iter().any(|event| matches!(event, Event::DpcEntered { .. })));
}

#[test]
fn removed_hardware_is_not_touched_but_what_was_claimed_is_completed() {
    let machine = Machine::new(1).enter();
    let device = machine.device().messages(2).build();
    let diaries = diaries(2);
    let registration = connect_with_deferred(&device, &diaries).unwrap();
    machine.hold_dpcs(true);
    device.raise_message(1);
    let halves = registration.disconnect_removed().unwrap();
    assert_eq!(*halves.deferred(1).unwrap().taken.lock().unwrap(), 1);
    assert!(diaries.iter().all(|diary| diary.count(Disable) == 0));
}

#[test]
fn dropping_disables_disconnects_and_drops_every_half_once() {
    let machine = Machine::new(1).enter();
    let device = machine.device().messages(3).build();
    let diaries = diaries(3);
    drop(connect_with_deferred(&device, &diaries).unwrap());
    for diary in &diaries {
        assert_eq!(diary.read(), [Enable, Disable, Disable, HandlerDropped, DeferredDropped]);
    }
    assert_eq!(device.raise_message(0), Delivery::NotConnected);
    assert!(machine.left_behind().is_empty());
}

#[test]
fn without_a_deferred_half_every_handler_is_disabled_once() {
    let machine = Machine::new(1).enter();
    let device = machine.device().messages(3).build();
    let diaries = diaries(3);
    drop(connect(&device, &diaries).unwrap());
    assert!(diaries.iter().all(|diary| diary.read() == [Enable, Disable, HandlerDropped]));
}

#[test]
fn handlers_that_nobody_takes_out_are_dropped_where_they_are() {
    let machine = Machine::new(1).enter();
    let device = machine.device().messages(4).build();
    let diaries = diaries(4);
    let mut halves = connect_with_deferred(&device, &diaries).unwrap().disconnect().unwrap();
    halves.handler_mut(1).unwrap().events = 77;
    assert!(halves.handler(4).is_none() && halves.handler_mut(4).is_none());

    let ((), mut handlers) = halves.into_inner();
    assert_eq!((handlers.len(), handlers.size_hint()), (4, (4, Some(4))));
    let first = handlers.next().unwrap();
    let (second, completion) = handlers.next().unwrap();
    assert_eq!((second.events, handlers.len()), (77, 2));
    drop(handlers);
    let dropped = |diary: &Diary| (diary.count(HandlerDropped), diary.count(DeferredDropped));
    assert_eq!(diaries.iter().map(dropped).collect::<Vec<_>>(), [(0, 0), (0, 0), (1, 1), (1, 1)]);
    // The memory is gone, and those that were taken out are not in it.
    assert!(machine.left_behind().is_empty());
    drop((first, second, completion));
    assert!(diaries.iter().all(|diary| dropped(diary) == (1, 1)));
}

#[test]
fn disconnecting_at_raised_irql_gives_the_registration_back_and_dropping_panics() {
    let machine = Machine::new(1).enter();
    let device = machine.device().messages(2).build();
    let diaries = diaries(2);
    let registration = connect(&device, &diaries).unwrap();
    let registration = at_irql(Irql::DISPATCH, || {
        let error = registration.disconnect().unwrap_err();
        assert_eq!(error.kind(), DisconnectErrorKind::RaisedIrql(Irql::DISPATCH));
        error.into_registration()
    });
    assert_eq!(device.raise_message(0), Delivery::Claimed);

    machine.expect_leftovers();
    let panic = at_irql(Irql::DISPATCH, || {
        catch_unwind(AssertUnwindSafe(|| drop(registration))).unwrap_err()
    });
    let message = panic.downcast_ref::<String>().unwrap();
    assert!(message.contains("a MessageRegistration was dropped"), "{message}");
    assert!(message.contains("DISPATCH_LEVEL"), "{message}");
    assert!(diaries.iter().all(|diary| history(diary) == [Enable]));
    assert_eq!(device.raise_message(1), Delivery::Claimed);
}

#[test]
fn connecting_and_disconnecting_many_times_leaves_nothing() {
    let machine = Machine::new(2).enter();
    let device = machine.device().messages(3).build();
    for round in 0..500 {
        let diaries = diaries(3);
        let registration = connect_with_deferred(&device, &diaries).unwrap();
        device.raise_message(round % 3);
        drop(registration.disconnect().unwrap());
        assert_eq!(diaries[round % 3].count(Run), 1);
    }
    machine.leave();
}
