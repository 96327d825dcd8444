//! Errors: a name, a status for the PnP manager, and what to do next.

#[expect(dead_code, reason = "no deferred half is looked at here")]
mod common;

use std::collections::BTreeSet;

use common::{Diary, Handler, physical_device};
use wdm_interrupt::{
    ConnectErrorKind, DisconnectErrorKind, InterruptResources, Irql, LineBased, MessageBased,
    NullDevice, PhysicalDevice, ResourceError,
};
use wdm_interrupt_model::executive::{Call, Fault};
use wdm_interrupt_model::host::Machine;
use wdm_interrupt_model::nt::{self, NTSTATUS};

/// What the documentation of `IoConnectInterruptEx` says it fails with, and what is known to occur.
const DOCUMENTED: [(NTSTATUS, &str, &str); 7] = [
    (nt::STATUS_INVALID_DEVICE_REQUEST, "STATUS_INVALID_DEVICE_REQUEST", "use MessageBased"),
    (nt::STATUS_INVALID_PARAMETER, "STATUS_INVALID_PARAMETER", "physical device object"),
    (nt::STATUS_INVALID_PARAMETER_1, "STATUS_INVALID_PARAMETER_1", "Version"),
    (nt::STATUS_INVALID_PARAMETER_10, "STATUS_INVALID_PARAMETER_10", "affinity"),
    (nt::STATUS_NOT_FOUND, "STATUS_NOT_FOUND", "translated resource list"),
    (nt::STATUS_INSUFFICIENT_RESOURCES, "STATUS_INSUFFICIENT_RESOURCES", "may retry"),
    (nt::STATUS_NOT_SUPPORTED, "STATUS_NOT_SUPPORTED", "try another request"),
];

#[test]
fn every_documented_status_of_a_connect_has_its_name_and_its_advice_and_is_handed_on() {
    let machine = Machine::new(1).enter();
    let device = machine.device().messages(2).build();
    let mut messages = BTreeSet::new();
    for (status, name, advice) in DOCUMENTED {
        for fault in [Fault::Status(status), Fault::StatusAfterService(status)] {
            machine.fail(Call::IoConnectInterruptEx, 0, fault);
            let request = MessageBased::new(physical_device(&device));
            let error = request.connect(Handler::new(&Diary::default())).unwrap_err();
            assert_eq!(error.kind(), ConnectErrorKind::Refused(status));
            assert_eq!(error.status(), status, "{name}");
            let message = error.to_string();
            assert!(message.starts_with(&format!("{name}: ")), "{message}");
            assert!(message.contains(advice), "{message}");
            assert!(format!("{error:?}").contains("Refused"), "{error:?}");
            messages.insert(message);
        }
    }
    assert_eq!(messages.len(), DOCUMENTED.len(), "each has its own: {messages:#?}");
}

#[test]
fn a_status_that_is_not_documented_is_shown_as_the_number_it_is() {
    for (status, number) in [
        (nt::STATUS_UNSUCCESSFUL, "0xC0000001"),
        (nt::STATUS_DEVICE_NOT_READY, "0xC00000A3"),
        (NTSTATUS::MIN, "0x80000000"),
    ] {
        let machine = Machine::new(1).enter();
        let device = machine.device().line().build();
        machine.fail(Call::IoConnectInterruptEx, 0, status);
        let request = LineBased::new(physical_device(&device));
        let error = request.connect(Handler::new(&Diary::default())).unwrap_err();
        assert_eq!(error.status(), status);
        let message = error.to_string();
        assert!(message.contains(number), "{message}");
        assert!(message.contains("IoConnectInterruptEx failed"), "{message}");
    }
}

#[test]
fn every_kind_of_failed_connect_has_a_status_that_fails_the_start_and_its_own_advice() {
    use ConnectErrorKind as Kind;
    let kinds = [
        (Kind::RaisedIrql(Irql::DISPATCH), nt::STATUS_INVALID_DEVICE_STATE, "at PASSIVE_LEVEL"),
        (Kind::NoPool, nt::STATUS_INSUFFICIENT_RESOURCES, "no nonpaged pool"),
        (Kind::NoVectors, nt::STATUS_INVALID_PARAMETER, "InterruptResources"),
        (
            Kind::TooManyMessages { handlers: 2, messages: 5 },
            nt::STATUS_INVALID_PARAMETER,
            "5 messages are connected, and 2 handlers",
        ),
        (Kind::NotPassive(Irql::from_raw(5)), nt::STATUS_INVALID_PARAMETER, "use LineBased"),
        (Kind::NoDeviceIrql(Irql::PASSIVE), nt::STATUS_INVALID_PARAMETER, "use PassiveLineBased"),
        (Kind::NothingConnected, nt::STATUS_UNSUCCESSFUL, "nothing is connected"),
        (Kind::NoMessages, nt::STATUS_NOT_FOUND, "fall_back_to_line"),
        (Kind::Unexpected { version: 4 }, nt::STATUS_UNSUCCESSFUL, "Version 4"),
    ];
    for (kind, status, advice) in kinds {
        assert_eq!(kind.status(), status, "{kind:?}");
        assert!(status < 0, "the PnP manager takes {status:#X} for a success");
        let message = kind.to_string();
        assert!(message.contains(advice), "{message}");
    }
}

#[test]
fn an_irql_is_called_by_its_name() {
    let connect = |irql| ConnectErrorKind::RaisedIrql(irql).to_string();
    assert!(connect(Irql::APC).contains("at APC_LEVEL;"), "{}", connect(Irql::APC));
    assert!(connect(Irql::DISPATCH).contains("at DISPATCH_LEVEL;"), "{}", connect(Irql::DISPATCH));
    assert!(connect(Irql::from_raw(9)).contains("at IRQL 9;"), "{}", connect(Irql::from_raw(9)));
}

#[test]
fn a_refused_disconnect_says_where_to_disconnect() {
    for kind in [DisconnectErrorKind::RaisedIrql(Irql::APC), DisconnectErrorKind::InsideItself] {
        let message = kind.to_string();
        assert!(message.contains("PnP dispatch routine"), "{message}");
    }
}

#[test]
fn what_is_wrong_with_a_device_or_a_resource_list_is_an_error_with_a_status_too() {
    // SAFETY: NULL is refused.
    let error = unsafe { PhysicalDevice::new(std::ptr::null_mut()) }.unwrap_err();
    assert_eq!(error, NullDevice);
    assert!(!error.to_string().is_empty());
    let error: ResourceError = InterruptResources::parse(&[1, 0, 0, 0], &[]).unwrap_err();
    assert!(error.status() < 0, "{error}");
    assert!(!error.to_string().is_empty());
}

#[test]
fn errors_are_errors_to_other_code() {
    fn boxed(error: impl std::error::Error + 'static) -> String {
        let error: Box<dyn std::error::Error> = Box::new(error);
        error.to_string()
    }

    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let request = MessageBased::new(physical_device(&device));
    let error = request.connect(Handler::new(&Diary::default())).unwrap_err();
    assert_eq!(boxed(error), boxed(ConnectErrorKind::NoMessages));
    assert!(boxed(DisconnectErrorKind::InsideItself).contains("inside"));
}
