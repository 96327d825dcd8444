//! Several interrupts with one handler, under one lock: all of them or none.

mod common;

use std::sync::atomic::{AtomicU32, Ordering};

use common::Happened::{Disable, Enable, HandlerDropped, Run, Service};
use common::{Completion, Diary, Handler, physical_device};
use wdm_interrupt::{
    ConnectErrorKind, ConnectionKind, Dpc, FullySpecified, Interrupt, InterruptHandler,
    InterruptResource, InterruptResources, Irql, Serviced,
};
use wdm_interrupt_model::executive::{Call, Fault};
use wdm_interrupt_model::hal::Event;
use wdm_interrupt_model::host::{Delivery, Device, Machine};
use wdm_interrupt_model::nt;

/// The interrupts of a device of the model.
fn resources(device: &Device) -> Vec<InterruptResource> {
    // SAFETY: the model's lists are complete and stay until the device is stopped.
    let resources = unsafe {
        InterruptResources::from_start_device(device.raw_resources(), device.translated_resources())
    };
    resources.unwrap().iter().collect()
}

/// A handler that counts by vector.
#[derive(Debug, Default)]
struct Counting {
    counts: [u32; 3],
    irqls: Vec<Irql>,
}

impl InterruptHandler for Counting {
    fn service(&mut self, interrupt: &Interrupt<'_>) -> Serviced {
        assert!(interrupt.message().is_none());
        self.counts[interrupt.vector_index().unwrap()] += 1;
        self.irqls.push(Irql::current());
        Serviced::Claimed
    }
}

/// A handler that knows which vector came last.
#[derive(Debug)]
struct Latest(Option<usize>);

impl InterruptHandler for Latest {
    fn service(&mut self, interrupt: &Interrupt<'_>) -> Serviced {
        self.0 = interrupt.vector_index();
        Serviced::Claimed
    }
}

#[test]
fn one_handler_serves_all_vectors_and_is_told_which() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line_at(4, false, false).messages_at(&[9, 6]).build();
    let resources = resources(&device);
    let registration = FullySpecified::several(physical_device(&device), &resources)
        .connect(Counting::default())
        .unwrap();
    assert_eq!(registration.kind(), ConnectionKind::FullySpecified { vectors: 3 });
    for index in [0, 2, 2] {
        assert_eq!(device.raise(index), Delivery::Claimed);
    }
    let (handler, ()) = registration.disconnect().unwrap();
    assert_eq!(handler.counts, [1, 0, 2]);
    for index in 0..3 {
        assert_eq!(device.raise(index), Delivery::NotConnected);
    }
}

#[test]
fn the_index_is_that_of_the_request_and_not_of_the_resource_list() {
    let machine = Machine::new(1).enter();
    let device = machine.device().messages_at(&[4, 9, 6]).build();
    let mut resources = resources(&device);
    resources.reverse();
    resources.truncate(2);
    let registration = FullySpecified::several(physical_device(&device), &resources)
        .connect(Counting::default())
        .unwrap();
    assert_eq!(device.raise(2), Delivery::Claimed);
    // Nobody asked for this one.
    assert_eq!(device.raise(0), Delivery::NotConnected);
    assert_eq!(registration.synchronize(|handler| handler.counts), [1, 0, 0]);
    drop(registration);
}

#[test]
fn one_vector_alone_has_no_index() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let registration = FullySpecified::new(physical_device(&device), resources(&device)[0])
        .connect(Latest(Some(7)))
        .unwrap();
    device.raise_line();
    assert_eq!(registration.synchronize(|latest| latest.0), None);
    drop(registration);
}

#[test]
fn all_are_serviced_at_the_highest_irql() {
    let machine = Machine::new(1).enter();
    let device = machine.device().messages_at(&[4, 9, 6]).build();
    let resources = resources(&device);
    let registration = FullySpecified::several(physical_device(&device), &resources)
        .connect(Counting::default())
        .unwrap();
    let highest = Irql::from_raw(9);
    assert_eq!(registration.synchronize_irql(), highest);
    for index in 0..3 {
        device.raise(index);
    }
    let pending = registration.synchronize(|handler| {
        assert_eq!(handler.irqls, [highest; 3]);
        // None of them can come in between.
        [0, 1, 2].map(|index| device.raise(index))
    });
    assert_eq!(pending, [Delivery::Pending; 3]);
    assert_eq!(registration.synchronize(|handler| handler.counts), [2, 2, 2]);
    drop(registration);
}

#[test]
fn two_vectors_on_two_processors_never_run_at_once() {
    const ROUNDS: u32 = 300;
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
    let device = machine.device().messages_at(&[5, 8]).build();
    let resources = resources(&device);
    let registration = FullySpecified::several(physical_device(&device), &resources)
        .connect(Exclusive(0))
        .unwrap();
    machine.scope(|scope| {
        for index in 0..2 {
            let (device, registration) = (&device, &registration);
            scope.spawn(1 + index, move || {
                for _ in 0..ROUNDS {
                    assert_eq!(device.raise(index), Delivery::Claimed);
                    registration.synchronize(Exclusive::visit);
                }
            });
        }
    });
    let (handler, ()) = registration.disconnect().unwrap();
    assert_eq!(handler.0, 4 * ROUNDS);
}

#[test]
fn when_one_is_refused_those_before_it_are_disconnected_and_the_halves_come_back() {
    let machine = Machine::new(1).enter();
    let device = machine.device().messages_at(&[4, 9, 6]).build();
    let resources = resources(&device);
    let status = nt::STATUS_INSUFFICIENT_RESOURCES;
    for nth in 0..3_usize {
        for fault in [Fault::Status(status), Fault::StatusAfterService(status)] {
            let diary = Diary::default();
            // Those that are connected interrupt at once, and queue the DPC.
            machine.interrupt_during_connect(true);
            machine.hold_dpcs(true);
            machine.fail(Call::IoConnectInterruptEx, nth, fault);
            let error = FullySpecified::several(physical_device(&device), &resources)
                .deferred(Dpc::new(Completion::new(&diary)))
                .connect(Handler::new(&diary))
                .unwrap_err();
            assert_eq!(error.kind(), ConnectErrorKind::Refused(status));
            assert!(machine.left_behind().is_empty(), "{}", machine.left_behind());
            for index in 0..3 {
                assert_eq!(device.raise(index), Delivery::NotConnected);
            }
            let (handler, completion) = error.into_halves();
            let live = nth + usize::from(fault != Fault::Status(status));
            assert_eq!(usize::try_from(handler.events).unwrap(), live);
            assert_eq!(*completion.taken.lock().unwrap(), 0);
            assert_eq!((diary.count(Enable), diary.count(Disable), diary.count(Run)), (0, 0, 0));
            machine.interrupt_during_connect(false);
        }
    }
}

#[test]
fn a_success_that_does_not_go_with_the_request_undoes_all() {
    let machine = Machine::new(1).enter();
    let device = machine.device().messages(2).build();
    let resources = resources(&device);
    let cases = [
        (Fault::Version(77), ConnectErrorKind::Unexpected { version: 77 }),
        (
            Fault::Version(nt::CONNECT_LINE_BASED),
            ConnectErrorKind::Unexpected { version: nt::CONNECT_LINE_BASED },
        ),
        (Fault::StoresNull, ConnectErrorKind::NothingConnected),
        (Fault::WritesNothing, ConnectErrorKind::NothingConnected),
    ];
    for (fault, kind) in cases {
        machine.fail(Call::IoConnectInterruptEx, 1, fault);
        let error = FullySpecified::several(physical_device(&device), &resources)
            .connect(Counting::default())
            .unwrap_err();
        assert_eq!(error.kind(), kind, "{fault:?}");
        assert!(machine.left_behind().is_empty());
    }
}

#[test]
fn no_vectors_is_an_error() {
    let machine = Machine::new(1).enter();
    let device = machine.device().build();
    let error = FullySpecified::several(physical_device(&device), &resources(&device))
        .connect(Counting::default())
        .unwrap_err();
    assert_eq!(error.kind(), ConnectErrorKind::NoVectors);
    assert_eq!(error.status(), nt::STATUS_INVALID_PARAMETER);
    assert!(error.to_string().contains("the device got no interrupt"), "{error}");
    assert!(machine.events().is_empty());
}

#[test]
fn a_passive_line_among_them_is_refused_before_anything_is_connected() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().passive_line().build();
    let error = FullySpecified::several(physical_device(&device), &resources(&device))
        .connect(Counting::default())
        .unwrap_err();
    assert_eq!(error.kind(), ConnectErrorKind::NoDeviceIrql(Irql::PASSIVE));
    assert!(machine.events().is_empty());
}

#[test]
fn no_pool_for_either_block_gives_both_halves_back() {
    let machine = Machine::new(1).enter();
    let device = machine.device().messages(2).build();
    let resources = resources(&device);
    for nth in 0..2 {
        let diary = Diary::default();
        machine.fail(Call::ExAllocatePool2, nth, nt::STATUS_INSUFFICIENT_RESOURCES);
        let error = FullySpecified::several(physical_device(&device), &resources)
            .deferred(Dpc::new(Completion::new(&diary)))
            .connect(Handler::new(&diary))
            .unwrap_err();
        assert_eq!(error.kind(), ConnectErrorKind::NoPool);
        assert!(machine.left_behind().is_empty());
        assert_eq!(diary.read(), []);
        let (handler, _completion) = error.into_halves();
        assert_eq!(handler.irql, None);
    }
    let asked = |event: &Event| matches!(event, Event::ConnectEntered { .. });
    assert!(!machine.events().iter().any(asked));
}

#[test]
fn vectors_of_another_group_are_connected_as_group() {
    let machine = Machine::new(1).enter();
    let device = machine.device().messages_at(&[5, 7]).group(1).build();
    let resources = resources(&device);
    assert!(resources.iter().all(|resource| resource.group() == 1));
    let registration = FullySpecified::several(physical_device(&device), &resources)
        .connect(Counting::default())
        .unwrap();
    assert_eq!(device.raise(0), Delivery::Claimed);
    assert_eq!(device.raise(1), Delivery::Claimed);
    // The model reports a disconnect with another Version than the connect returned.
    drop(registration);
    assert_eq!(machine.violations(), []);
}

#[test]
fn they_are_enabled_once_and_disconnected_after_the_deferred_half_has_ended() {
    let machine = Machine::new(1).enter();
    let device = machine.device().messages_at(&[5, 7]).build();
    let resources = resources(&device);
    let diary = Diary::default();
    machine.interrupt_during_connect(true);
    let registration = FullySpecified::several(physical_device(&device), &resources)
        .deferred(Dpc::new(Completion::new(&diary)))
        .connect(Handler::new(&diary))
        .unwrap();
    // Both came early, and are completed once it is connected.
    assert_eq!(diary.read(), [Service(None), Service(None), Enable, Run]);
    machine.hold_dpcs(true);
    device.raise(1);
    machine.interrupt_during_disconnect(true);
    let (handler, completion) = registration.disconnect().unwrap();
    let [.., before, second, first] = diary.read()[..] else { panic!("{diary:?}") };
    assert_eq!([before, second, first], [Disable, Service(None), Service(None)]);
    assert_eq!((handler.events, *completion.taken.lock().unwrap()), (2, 3));
    assert_eq!((diary.count(Enable), diary.count(Disable), diary.count(Run)), (1, 2, 2));
    let events = machine.events();
    let disconnected = events.iter().position(|it| matches!(it, Event::Disconnected { .. }));
    let synchronized = events.iter().rposition(|it| matches!(it, Event::SynchronizeEntered { .. }));
    assert!(synchronized < disconnected, "{events:?}");
    assert_eq!(diary.count(HandlerDropped), 0);
}

#[test]
fn there_can_be_many() {
    let machine = Machine::new(1).enter();
    let device = machine.device().messages(100).build();
    let resources = resources(&device);
    let registration = FullySpecified::several(physical_device(&device), &resources)
        .connect(Latest(None))
        .unwrap();
    for index in [0, 57, 99] {
        assert_eq!(device.raise(index), Delivery::Claimed);
        assert_eq!(registration.synchronize(|latest| latest.0), Some(index));
    }
    assert_eq!(machine.left_behind().pool[0].blocks, 2);
    drop(registration);
}
