//! Connecting: what each request gets, and what comes back when it fails.

mod common;

use common::Happened::{self, Disable, Enable, HandlerDropped, Run, Service};
use common::{Completion, Diary, Handler, physical_device};
use wdm_interrupt::{
    ConnectErrorKind, ConnectionKind, Dpc, FullySpecified, InterruptResources, Irql, LineBased,
    MessageBased, NullDevice, PhysicalDevice,
};
use wdm_interrupt_model::executive::{Call, Fault};
use wdm_interrupt_model::hal::Event;
use wdm_interrupt_model::host::{Delivery, Device, Machine, kernel};
use wdm_interrupt_model::nt;

/// The typed resources of a device of the model.
fn resources(device: &Device) -> InterruptResources<'_> {
    // SAFETY: the model's lists are complete and stay until the device is stopped.
    unsafe {
        InterruptResources::from_start_device(device.raw_resources(), device.translated_resources())
    }
    .unwrap()
}

/// How often message `number` was serviced.
fn message(diary: &Diary, number: usize) -> usize {
    let is_it = |happened: &Happened| matches!(happened, Service(Some(id)) if id.index() == number);
    diary.read().iter().filter(|happened| is_it(happened)).count()
}

#[test]
fn a_line_is_connected_enabled_serviced_and_disconnected() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let diary = Diary::default();

    let registration =
        LineBased::new(physical_device(&device)).connect(Handler::new(&diary)).unwrap();
    assert_eq!(registration.kind(), ConnectionKind::LineBased);
    assert_eq!(device.raise_line(), Delivery::Claimed);
    let (handler, ()) = registration.disconnect().unwrap();

    assert_eq!(diary.read(), [Enable, Service(None), Disable]);
    assert_eq!(handler.events, 1);
    assert_eq!(device.raise_line(), Delivery::NotConnected);
}

#[test]
fn the_isr_runs_at_the_synchronize_irql() {
    let machine = Machine::new(1).enter();
    let device = machine.device().messages_at(&[4, 9, 6]).build();
    let registration = MessageBased::new(physical_device(&device))
        .connect(Handler::new(&Diary::default()))
        .unwrap();
    assert_eq!(registration.synchronize_irql(), Irql::from_raw(9));
    device.raise_message(0);
    assert_eq!(registration.synchronize(|handler| handler.irql), Some(Irql::from_raw(9)));
}

#[test]
fn not_mine_goes_on_to_the_next_device_on_the_line() {
    let machine = Machine::new(1).enter();
    let first = machine.device().shareable_line().build();
    let second = machine.device().line_shared_with(&first).build();
    let (first_diary, second_diary) = (Diary::default(), Diary::default());

    let mut quiet = Handler::new(&first_diary);
    quiet.claims = false;
    let first_registration = LineBased::new(physical_device(&first)).connect(quiet).unwrap();
    let second_registration =
        LineBased::new(physical_device(&second)).connect(Handler::new(&second_diary)).unwrap();
    assert_eq!(second.raise_line(), Delivery::Claimed);

    assert_eq!(first_diary.count(Service(None)), 1);
    assert_eq!(second_diary.count(Service(None)), 1);
    drop((first_registration, second_registration));
}

#[test]
fn every_message_reaches_the_one_handler_with_its_number() {
    let machine = Machine::new(1).enter();
    let device = machine.device().messages(5).build();
    let diary = Diary::default();
    let registration =
        MessageBased::new(physical_device(&device)).connect(Handler::new(&diary)).unwrap();
    assert_eq!(registration.kind(), ConnectionKind::MessageBased { messages: 5 });
    for number in [3, 0, 4, 4] {
        assert_eq!(device.raise_message(number), Delivery::Claimed);
    }
    let counts: Vec<_> = (0..5).map(|number| message(&diary, number)).collect();
    assert_eq!(counts, [1, 0, 0, 1, 2]);
    drop(registration);
}

#[test]
fn a_message_request_that_may_falls_back_to_the_line() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let diary = Diary::default();
    let registration = MessageBased::new(physical_device(&device))
        .fall_back_to_line()
        .connect(Handler::new(&diary))
        .unwrap();
    assert_eq!(registration.kind(), ConnectionKind::LineBased);
    assert_eq!(device.raise_line(), Delivery::Claimed);
    assert_eq!(diary.count(Service(None)), 1);
    drop(registration);
}

#[test]
fn a_message_request_that_may_not_fall_back_is_undone_and_gives_the_handler_back() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let diary = Diary::default();
    machine.interrupt_during_connect(true);
    let error =
        MessageBased::new(physical_device(&device)).connect(Handler::new(&diary)).unwrap_err();
    assert_eq!(error.kind(), ConnectErrorKind::NoMessages);
    assert_eq!(error.status(), nt::STATUS_NOT_FOUND);
    let (handler, ()) = error.into_halves();
    assert_eq!((handler.events, diary.read()), (0, vec![]));
    assert!(machine.left_behind().is_empty());
    // The interrupt that came meanwhile was left to the line's other devices.
    let claimed = |event: &Event| match *event {
        Event::IsrLeft { claimed, .. } => Some(claimed),
        _ => None,
    };
    assert_eq!(machine.events().iter().find_map(claimed), Some(false));
}

#[test]
fn a_fully_specified_line_and_message_are_connected_by_their_vector() {
    let machine = Machine::new(1).enter();
    let line = machine.device().line().build();
    let messages = machine.device().msi(4).build();
    let diary = Diary::default();

    let resource = resources(&line).iter().next().unwrap();
    let registration = FullySpecified::new(physical_device(&line), resource)
        .connect(Handler::new(&diary))
        .unwrap();
    assert_eq!(registration.kind(), ConnectionKind::FullySpecified { vectors: 1 });
    assert_eq!(registration.synchronize_irql(), resource.irql());
    assert_eq!(line.raise_line(), Delivery::Claimed);
    drop(registration);

    let third = resources(&messages).iter().nth(2).unwrap();
    assert!(third.is_message());
    let registration = FullySpecified::new(physical_device(&messages), third)
        .connect(Handler::new(&diary))
        .unwrap();
    assert_eq!(messages.raise_message(2), Delivery::Claimed);
    assert_eq!(messages.raise_message(1), Delivery::NotConnected);
    drop(registration);
    assert_eq!(diary.count(Service(None)), 2);
}

#[test]
fn a_vector_of_another_group_is_connected_as_group() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().group(1).build();
    let resource = resources(&device).iter().next().unwrap();
    assert_eq!(resource.group(), 1);
    let registration = FullySpecified::new(physical_device(&device), resource)
        .connect(Handler::new(&Diary::default()))
        .unwrap();
    assert_eq!(device.raise_line(), Delivery::Claimed);
    // The model reports a disconnect with another Version than the connect returned.
    drop(registration);
}

#[test]
fn a_vector_that_is_not_assigned_is_refused_with_advice() {
    let machine = Machine::new(1).enter();
    let (mine, other) =
        (machine.device().line().build(), machine.device().line_at(9, false, false).build());
    let resource = resources(&other).iter().next().unwrap();
    let error = FullySpecified::new(physical_device(&mine), resource)
        .connect(Handler::new(&Diary::default()))
        .unwrap_err();
    assert_eq!(error.kind(), ConnectErrorKind::Refused(nt::STATUS_NOT_FOUND));
    assert!(error.to_string().contains("translated resource list"), "{error}");
}

#[test]
fn an_empty_affinity_is_refused_with_advice() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let mut translated = device.translated_resource_bytes();
    // The line is the last descriptor, and its affinity the last thing in it.
    translated.last_chunk_mut::<8>().unwrap().fill(0);
    let raw = device.raw_resource_bytes();
    let resources = InterruptResources::parse(&raw, &translated).unwrap();
    let error = FullySpecified::new(physical_device(&device), resources.iter().next().unwrap())
        .connect(Handler::new(&Diary::default()))
        .unwrap_err();
    assert_eq!(error.kind(), ConnectErrorKind::Refused(nt::STATUS_INVALID_PARAMETER_10));
    assert!(error.to_string().contains("affinity"), "{error}");
}

#[test]
fn a_device_without_an_interrupt_is_refused_with_advice() {
    let machine = Machine::new(1).enter();
    let device = machine.device().build();
    assert_eq!(resources(&device).iter().count(), 0);
    let error = MessageBased::new(physical_device(&device))
        .fall_back_to_line()
        .connect(Handler::new(&Diary::default()))
        .unwrap_err();
    assert_eq!(error.status(), nt::STATUS_NOT_FOUND);
    assert!(error.to_string().starts_with("STATUS_NOT_FOUND: "), "{error}");
}

#[test]
fn a_passive_line_is_refused() {
    let machine = Machine::new(1).enter();
    let device = machine.device().passive_line().build();
    let by_line = LineBased::new(physical_device(&device))
        .connect(Handler::new(&Diary::default()))
        .unwrap_err();
    assert_eq!(by_line.kind(), ConnectErrorKind::Refused(nt::STATUS_INVALID_PARAMETER));
    assert!(by_line.to_string().contains("passive"), "{by_line}");

    let resource = resources(&device).iter().next().unwrap();
    let by_vector = FullySpecified::new(physical_device(&device), resource)
        .connect(Handler::new(&Diary::default()))
        .unwrap_err();
    assert_eq!(by_vector.kind(), ConnectErrorKind::NoDeviceIrql(Irql::PASSIVE));
}

#[test]
fn a_null_device_is_an_error() {
    // SAFETY: NULL is refused.
    let error = unsafe { PhysicalDevice::new(std::ptr::null_mut()) }.unwrap_err();
    assert_eq!((error, error.status()), (NullDevice, nt::STATUS_INVALID_PARAMETER));
    assert!(error.to_string().contains("AddDevice"), "{error}");
}

#[test]
fn connecting_at_raised_irql_is_an_error_and_gives_both_halves_back() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let diary = Diary::default();
    for irql in [Irql::APC, Irql::DISPATCH, Irql::from_raw(5)] {
        // SAFETY: raises, and lowers below.
        let old = unsafe { kernel::KfRaiseIrql(irql.to_raw()) };
        let error = LineBased::new(physical_device(&device))
            .deferred(Dpc::new(Completion::new(&diary)))
            .connect(Handler::new(&diary))
            .unwrap_err();
        // SAFETY: lowers to what it was.
        unsafe { kernel::KeLowerIrql(old) };
        assert_eq!(error.kind(), ConnectErrorKind::RaisedIrql(irql));
        assert!(error.to_string().contains("PASSIVE_LEVEL"), "{error}");
        let (handler, completion) = error.into_halves();
        assert_eq!((handler.events, *completion.taken.lock().unwrap()), (0, 0));
    }
    assert_eq!(diary.count(Enable), 0);
}

#[test]
fn no_pool_is_an_error_and_gives_both_halves_back() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let diary = Diary::default();
    machine.fail(Call::ExAllocatePool2, 0, nt::STATUS_INSUFFICIENT_RESOURCES);
    let error = LineBased::new(physical_device(&device))
        .deferred(Dpc::new(Completion::new(&diary)))
        .connect(Handler::new(&diary))
        .unwrap_err();
    assert_eq!(error.kind(), ConnectErrorKind::NoPool);
    assert_eq!(error.status(), nt::STATUS_INSUFFICIENT_RESOURCES);
    assert_eq!(diary.read(), []);
    drop(error.into_halves());
}

#[test]
fn every_failure_of_the_kernel_is_kept_explained_and_gives_both_halves_back() {
    let statuses = [
        (nt::STATUS_INVALID_DEVICE_REQUEST, "STATUS_INVALID_DEVICE_REQUEST: "),
        (nt::STATUS_INVALID_PARAMETER, "STATUS_INVALID_PARAMETER: "),
        (nt::STATUS_INVALID_PARAMETER_1, "STATUS_INVALID_PARAMETER_1: "),
        (nt::STATUS_INVALID_PARAMETER_10, "STATUS_INVALID_PARAMETER_10: "),
        (nt::STATUS_NOT_FOUND, "STATUS_NOT_FOUND: "),
        (nt::STATUS_INSUFFICIENT_RESOURCES, "STATUS_INSUFFICIENT_RESOURCES: "),
        (nt::STATUS_NOT_SUPPORTED, "STATUS_NOT_SUPPORTED: "),
        (nt::STATUS_UNSUCCESSFUL, "IoConnectInterruptEx failed (0xC0000001): "),
    ];
    let machine = Machine::new(2).enter();
    let device = machine.device().messages(3).build();
    machine.dpc_elsewhere_during_connect(true);
    for (status, explanation) in statuses {
        for (fault, isrs) in [(Fault::Status(status), 0), (Fault::StatusAfterService(status), 3)] {
            let diary = Diary::default();
            machine.fail(Call::IoConnectInterruptEx, 0, fault);
            let error = MessageBased::new(physical_device(&device))
                .fall_back_to_line()
                .deferred(Dpc::new(Completion::new(&diary)))
                .connect(Handler::new(&diary))
                .unwrap_err();
            assert_eq!(error.kind(), ConnectErrorKind::Refused(status));
            assert_eq!(error.status(), status);
            assert!(error.to_string().starts_with(explanation), "{error}");
            // Nothing of it is left, and the deferred half has not run: there was nothing to
            // synchronise with.
            assert!(machine.left_behind().is_empty());
            assert_eq!(diary.count(Run) + diary.count(Enable) + diary.count(Disable), 0);
            let (handler, _completion) = error.into_halves();
            assert_eq!(handler.events, isrs);
        }
    }
}

#[test]
fn a_success_that_connects_nothing_is_an_error_and_gives_both_halves_back() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    for fault in [Fault::WritesNothing, Fault::StoresNull] {
        let diary = Diary::default();
        machine.fail(Call::IoConnectInterruptEx, 0, fault);
        let error = LineBased::new(physical_device(&device))
            .deferred(Dpc::new(Completion::new(&diary)))
            .connect(Handler::new(&diary))
            .unwrap_err();
        assert_eq!(error.kind(), ConnectErrorKind::NothingConnected);
        assert!(machine.left_behind().is_empty());
        assert_eq!(diary.read(), []);
        drop(error.into_halves());
        assert_eq!(diary.count(HandlerDropped), 1);
    }
}

#[test]
fn a_version_that_does_not_go_with_the_request_is_undone() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    for version in [nt::CONNECT_MESSAGE_BASED, 77] {
        let diary = Diary::default();
        machine.fail(Call::IoConnectInterruptEx, 0, Fault::Version(version));
        let error =
            LineBased::new(physical_device(&device)).connect(Handler::new(&diary)).unwrap_err();
        assert_eq!(error.kind(), ConnectErrorKind::Unexpected { version });
        assert!(machine.left_behind().is_empty());
        assert_eq!(diary.count(Enable), 0);
    }
}

#[test]
fn an_empty_message_table_is_undone() {
    let machine = Machine::new(1).enter();
    let device = machine.device().messages(2).build();
    machine.fail(Call::IoConnectInterruptEx, 0, Fault::MessageCount(0));
    let error = MessageBased::new(physical_device(&device))
        .connect(Handler::new(&Diary::default()))
        .unwrap_err();
    assert_eq!(error.kind(), ConnectErrorKind::Unexpected { version: nt::CONNECT_MESSAGE_BASED });
    assert!(machine.left_behind().is_empty());
}

#[test]
fn an_isr_may_run_before_connect_returns_and_before_enable() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let diary = Diary::default();
    machine.interrupt_during_connect(true);
    let registration =
        LineBased::new(physical_device(&device)).connect(Handler::new(&diary)).unwrap();
    assert_eq!(diary.read(), [Service(None), Enable]);
    drop(registration);
}

#[test]
fn a_message_past_the_table_is_not_serviced() {
    let machine = Machine::new(1).enter();
    let device = machine.device().messages(4).build();
    let diary = Diary::default();
    machine.fail(Call::IoConnectInterruptEx, 0, Fault::MessageCount(2));
    let registration =
        MessageBased::new(physical_device(&device)).connect(Handler::new(&diary)).unwrap();
    assert_eq!(registration.kind(), ConnectionKind::MessageBased { messages: 2 });
    assert_eq!(device.raise_message(1), Delivery::Claimed);
    assert_eq!(device.raise_message(2), Delivery::Unclaimed);
    assert_eq!((message(&diary, 1), message(&diary, 2)), (1, 0));
    drop(registration);
}

#[test]
fn message_numbers_are_read_anew_at_every_connect() {
    let machine = Machine::new(1).enter();
    let device = machine.device().messages(3).build();
    let connect = || {
        MessageBased::new(physical_device(&device))
            .connect(Handler::new(&Diary::default()))
            .unwrap()
    };
    let before = device.interrupts();
    connect().disconnect().unwrap();
    device.stop();
    device.start();
    assert_ne!(before, device.interrupts());
    let registration = connect();
    assert_eq!(device.raise_message(2), Delivery::Claimed);
    drop(registration);
}
