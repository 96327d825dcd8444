//! A deferred half for each message, and one for all.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use wdm_interrupt::{
    ConnectEachError, ConnectErrorKind, Deferred, DeferredHandler, EachMessage, Interrupt,
    InterruptHandler, Irql, MessageRegistration, ProcessorNumber, Serviced, SharedDeferred,
    SharedDeferredHandler, SharedDpc, ThreadedDpc,
};
use wdm_interrupt_model::executive::{Call, Fault};
use wdm_interrupt_model::hal::Event;
use wdm_interrupt_model::host::{Delivery, Device, Machine};
use wdm_interrupt_model::nt;

use super::common::Happened::{Enable, Run};
use super::common::physical_device;
use super::{connect_with_deferred, diaries};

/// A handler that counts its interrupts, and queues its deferred half.
#[derive(Debug, Default)]
struct Counting {
    events: u32,
}

macro_rules! counts_and_queues {
    ($half:ty) => {
        impl InterruptHandler<$half> for Counting {
            fn service(&mut self, interrupt: &Interrupt<'_, $half>) -> Serviced {
                self.events += 1;
                interrupt.queue_deferred();
                Serviced::Claimed
            }
        }
    };
}

counts_and_queues!(ThreadedDpc<Taking>);
counts_and_queues!(SharedDpc<Collecting>);
counts_and_queues!(SharedDpc<Holding>);

/// A deferred half for one message, which takes its events.
#[derive(Debug, Default)]
struct Taking {
    taken: AtomicU32,
}

impl DeferredHandler<Counting> for Taking {
    fn run(&self, deferred: &Deferred<'_, Counting>) {
        let events = deferred.synchronize(|handler| std::mem::take(&mut handler.events));
        self.taken.fetch_add(events, Ordering::Relaxed);
    }
}

/// A deferred half for all messages, which takes the events of each.
#[derive(Debug, Default)]
struct Collecting {
    runs: AtomicU32,
    taken: Mutex<Vec<u32>>,
}

impl SharedDeferredHandler<Counting> for Collecting {
    fn run(&self, deferred: &SharedDeferred<'_, Counting>) {
        assert_eq!(Irql::current(), Irql::DISPATCH);
        assert!(deferred.get(deferred.count()).is_none());
        self.runs.fetch_add(1, Ordering::Relaxed);
        let mut taken = self.taken.lock().unwrap();
        taken.resize(deferred.count(), 0);
        for (message, taken) in deferred.iter().zip(&mut *taken) {
            *taken += message.synchronize(|handler| std::mem::take(&mut handler.events));
        }
    }
}

impl Collecting {
    fn taken(&self) -> Vec<u32> {
        self.taken.lock().unwrap().clone()
    }
}

/// A deferred half for all messages, which holds something.
struct Holding(Arc<()>);

impl SharedDeferredHandler<Counting> for Holding {
    fn run(&self, _deferred: &SharedDeferred<'_, Counting>) {
        assert_ne!(Arc::strong_count(&self.0), 0);
    }
}

fn connect_collecting(device: &Device) -> MessageRegistration<Counting, SharedDpc<Collecting>> {
    EachMessage::new(physical_device(device), 4)
        .fall_back_to_line()
        .deferred(SharedDpc::new(Collecting::default()))
        .connect(|_| Counting::default())
        .unwrap()
}

#[test]
fn each_message_has_its_own_dpc() {
    let machine = Machine::new(1).enter();
    let device = machine.device().messages(3).build();
    let diaries = diaries(3);
    let registration = connect_with_deferred(&device, &diaries).unwrap();
    machine.hold_dpcs(true);
    device.raise_message(0);
    device.raise_message(2);
    device.raise_message(2);
    // They do not coalesce with one another.
    assert!(!registration.message(2).unwrap().queue_deferred());
    assert!(registration.message(1).unwrap().queue_deferred());
    machine.hold_dpcs(false);
    assert!(diaries.iter().all(|diary| diary.count(Run) == 1));
    let taken = |index| *registration.message(index).unwrap().deferred().taken.lock().unwrap();
    assert_eq!([0, 1, 2].map(taken), [1, 0, 2]);

    let halves = registration.disconnect().unwrap();
    assert_eq!(*halves.deferred(2).unwrap().taken.lock().unwrap(), 2);
    assert!(halves.deferred(3).is_none());
}

#[test]
fn each_message_can_have_its_own_threaded_dpc() {
    for at_dispatch_level in [false, true] {
        let machine = Machine::new(2).enter();
        machine.threaded_dpcs_at_dispatch_level(at_dispatch_level);
        let device = machine.device().messages(3).build();
        let registration = EachMessage::new(physical_device(&device), 3)
            .connect_with_deferred(|_| (Counting::default(), ThreadedDpc::new(Taking::default())))
            .unwrap();
        for number in [1, 1, 2] {
            assert_eq!(device.raise_message(number), Delivery::Claimed);
        }
        machine.settle();
        let taken =
            |index| registration.message(index).unwrap().deferred().taken.load(Ordering::Relaxed);
        assert_eq!([0, 1, 2].map(taken), [0, 2, 1]);
        registration.disconnect().unwrap();
    }
}

#[test]
fn one_dpc_can_serve_all_messages() {
    let machine = Machine::new(1).enter();
    let device = machine.device().messages(4).build();
    let registration = connect_collecting(&device);
    machine.hold_dpcs(true);
    for number in [3, 0, 3] {
        device.raise_message(number);
    }
    // It is one DPC, so the requests coalesce, and what they are about adds up.
    assert!(!registration.queue_deferred());
    machine.hold_dpcs(false);
    assert_eq!(registration.deferred().taken(), [1, 0, 0, 2]);
    assert_eq!(registration.deferred().runs.load(Ordering::Relaxed), 1);

    let (collecting, handlers) = registration.disconnect().unwrap().into_inner();
    assert_eq!(collecting.taken(), [1, 0, 0, 2]);
    assert!(handlers.into_iter().all(|(handler, ())| handler.events == 0));
}

#[test]
fn the_dpc_for_all_is_dropped_with_its_registration() {
    let machine = Machine::new(1).enter();
    let device = machine.device().messages(2).build();
    let held = Arc::new(());
    let registration = EachMessage::new(physical_device(&device), 2)
        .deferred(SharedDpc::new(Holding(Arc::clone(&held))))
        .connect(|_| Counting::default())
        .unwrap();
    assert_eq!(Arc::strong_count(&held), 2);
    drop(registration);
    assert_eq!(Arc::strong_count(&held), 1);
}

#[test]
fn the_dpc_for_all_runs_on_its_target_processor() {
    let machine = Machine::new(3).enter();
    let device = machine.device().messages(2).build();
    let target = ProcessorNumber { group: 0, number: 2 };
    let registration = EachMessage::new(physical_device(&device), 2)
        .deferred(SharedDpc::new(Collecting::default()).target(target))
        .connect(|_| Counting::default())
        .unwrap();
    device.raise_on(1, 0);
    drop(registration);
    let entered = |event: &Event| match *event {
        Event::DpcEntered { processor, .. } => Some(processor),
        _ => None,
    };
    let processors: Vec<_> = machine.events().iter().filter_map(entered).collect();
    assert_eq!(processors, [2]);
}

#[test]
fn the_dpc_for_all_sees_the_connected_messages_only() {
    let machine = Machine::new(1).enter();
    let device = machine.device().messages(4).assigned_messages(2).build();
    let registration = connect_collecting(&device);
    device.raise_message(1);
    assert_eq!(registration.deferred().taken(), [0, 1]);
    drop(registration);

    let device = machine.device().line().build();
    let registration = connect_collecting(&device);
    assert_eq!(device.raise_line(), Delivery::Claimed);
    assert_eq!(registration.deferred().taken(), [1]);
    drop(registration);
}

#[test]
fn the_dpc_for_all_comes_back_when_connecting_fails() {
    let machine = Machine::new(1).enter();
    let device = machine.device().messages(2).build();
    let connect = || {
        EachMessage::new(physical_device(&device), 2)
            .deferred(SharedDpc::new(Collecting::default()))
            .connect(|_| Counting::default())
            .unwrap_err()
    };
    machine.fail(Call::ExAllocatePool2, 0, nt::STATUS_INSUFFICIENT_RESOURCES);
    let ConnectEachError::NotMade { kind, deferred } = connect() else { panic!("made") };
    assert_eq!(kind, ConnectErrorKind::NoPool);
    assert_eq!(deferred.runs.load(Ordering::Relaxed), 0);

    // Both messages queue it before the kernel fails.
    machine.interrupt_during_connect(true);
    let fault = Fault::StatusAfterService(nt::STATUS_NOT_SUPPORTED);
    machine.fail(Call::IoConnectInterruptEx, 0, fault);
    let ConnectEachError::NotConnected { halves, .. } = connect() else { panic!("not made") };
    assert_eq!(halves.shared().runs.load(Ordering::Relaxed), 0);
    let events = [0, 1].map(|index| halves.handler(index).unwrap().events);
    assert_eq!((events, machine.left_behind().dpcs), ([1, 1], 0));
}

#[test]
fn a_dpc_for_all_that_a_message_queues_during_the_disconnect_is_not_let_in() {
    let machine = Machine::new(1).enter();
    let device = machine.device().messages(3).build();
    let registration = connect_collecting(&device);
    // Not held back: it runs while the disconnect has not returned.
    machine.interrupt_during_disconnect(true);
    let (half, handlers) = registration.disconnect().unwrap().into_inner();
    assert!(machine.events().iter().any(|event| matches!(event, Event::DpcEntered { .. })));
    assert_eq!(half.runs.into_inner(), 0);
    assert!(handlers.into_iter().all(|(handler, ())| handler.events == 1));
}

#[test]
fn a_dpc_of_an_early_message_waits_until_all_handlers_are_enabled() {
    let machine = Machine::new(2).enter();
    let device = machine.device().messages(3).build();
    let diaries = diaries(3);
    machine.dpc_elsewhere_during_connect(true);
    let registration = connect_with_deferred(&device, &diaries).unwrap();
    machine.wait_until(|| diaries.iter().all(|diary| diary.count(Run) > 0));
    for (diary, message) in diaries.iter().zip(registration.messages()) {
        let history = diary.read();
        let enabled = history.iter().position(|&happened| happened == Enable);
        let run = history.iter().position(|&happened| happened == Run);
        assert!(enabled < run, "{history:?}");
        assert_eq!(*message.deferred().taken.lock().unwrap(), 1);
    }
    let dpcs = machine.events().iter().filter(|e| matches!(e, Event::DpcEntered { .. })).count();
    assert!(dpcs >= 6, "each was parked, and queued again: {dpcs}");
    drop(registration);
}

#[test]
fn a_dpc_for_all_that_an_early_message_queued_finds_all_of_them() {
    let machine = Machine::new(2).enter();
    let device = machine.device().messages(3).build();
    machine.dpc_elsewhere_during_connect(true);
    let registration = connect_collecting(&device);
    machine.wait_until(|| registration.deferred().runs.load(Ordering::Relaxed) > 0);
    assert_eq!(registration.deferred().taken(), [1, 1, 1]);
    drop(registration);
}
