//! Reporting interrupts inactive and active.

use std::sync::atomic::{AtomicUsize, Ordering};

use wdm_interrupt_model::{
    Rule,
    host::{Device, Entered, Machine},
    nt,
    report::Object,
};

use super::{
    broken::breaks,
    raw::{self, Connection, Service, at},
};

/// Each kind of connection: its device, and how it is connected.
type Kind = (&'static str, fn(&Entered) -> Device, fn(&Device, &Service<'_>) -> Connection);

const KINDS: [Kind; 5] = [
    ("line", |machine| machine.device().line().build(), raw::line),
    (
        "fully specified",
        |machine| machine.device().line().build(),
        |device, service| raw::full(device, 0, service),
    ),
    ("messages", |machine| machine.device().messages(3).build(), raw::messages),
    ("passive line", |machine| machine.device().passive_line().build(), raw::line),
    (
        "passive messages",
        |machine| machine.device().messages(3).build(),
        |device, service| {
            let version = nt::CONNECT_MESSAGE_BASED_PASSIVE;
            raw::try_messages_of(version, device, service, |_| ()).1
        },
    ),
];

#[test]
fn a_service_routine_is_called_while_its_interrupt_is_reported_active() {
    for (name, build, connect) in KINDS {
        let machine = Machine::new(1).enter();
        let device = build(&machine);
        let calls = AtomicUsize::new(0);
        let service = Service::new(|_| {
            calls.fetch_add(1, Ordering::SeqCst);
            true
        });
        let raise_all = || {
            for index in 0..device.interrupts().len() {
                device.raise(index);
            }
            machine.settle();
            calls.swap(0, Ordering::SeqCst)
        };
        let all = device.interrupts().len();
        assert_eq!(device.is_active(0), None, "{name}");
        let connection = connect(&device, &service);
        assert_eq!((device.is_active(0), raise_all()), (Some(true), all), "{name}");
        // Repeating is no error, and up to DISPATCH_LEVEL it is legal.
        for _ in 0..2 {
            at(2, || connection.report(false));
            assert_eq!((device.is_active(all - 1), raise_all()), (Some(false), 0), "{name}");
        }
        for _ in 0..2 {
            at(2, || connection.report(true));
            assert_eq!((device.is_active(all - 1), raise_all()), (Some(true), all), "{name}");
        }
        // Disconnecting is legal in either state, and connecting makes it active.
        connection.report(false);
        connection.disconnect();
        let connection = connect(&device, &service);
        assert_eq!((device.is_active(0), raise_all()), (Some(true), all), "{name}");
        connection.disconnect();
    }
}

/// What reports say of a connection, and when it is no more.
fn named(connection: Connection, vector: u32) -> (Object, Object) {
    let address = connection.context.addr();
    match connection.version {
        nt::CONNECT_MESSAGE_BASED | nt::CONNECT_MESSAGE_BASED_PASSIVE => {
            (Object::MessageTable { address }, Object::FreedMessageTable { address })
        }
        _ => (Object::Interrupt { address, vector }, Object::FreedInterrupt { address, vector }),
    }
}

#[test]
fn what_is_reported_is_what_was_connected_at_dispatch_level_at_most() {
    for (_, build, connect) in KINDS {
        let machine = Machine::new(1).enter();
        let device = build(&machine);
        let service = Service::new(|_| true);
        let connection = connect(&device, &service);
        let (live, freed) = named(connection, device.interrupts()[0].vector());
        let calls = [(false, "IoReportInterruptInactive"), (true, "IoReportInterruptActive")];
        for (active, call) in calls {
            breaks(&machine, Rule::IrqlDispatch, || {
                let _raised = raw::raised(3);
                connection.report(active);
            })
            .is(call, 3, None, &[]);
            let wrong = nt::CONNECT_FULLY_SPECIFIED_GROUP;
            breaks(&machine, Rule::DisconnectVersion, || {
                Connection { version: wrong, ..connection }.report(active);
            })
            .is(call, 0, None, &[live]);
        }
        connection.disconnect();
        for (active, call) in calls {
            let report = breaks(&machine, Rule::InterruptObject, || connection.report(active));
            report.is(call, 0, None, &[freed]);
        }
    }
}

#[test]
fn inactive_interrupt_a_device_that_is_not_silent() {
    for (name, build, connect) in KINDS {
        let machine = Machine::new(2).enter();
        let device = build(&machine);
        let service = Service::new(|_| true);
        let connection = connect(&device, &service);
        connection.report(false);
        device.raise(0);
        machine.require_silence_while_inactive(true);
        let objects = [Object::Vector { vector: device.interrupts()[0].vector() }];
        let report = breaks(&machine, Rule::InactiveInterrupt, || {
            device.raise(0);
        });
        let report = report.is("a device", 0, None, &objects);
        assert!(report.text.contains("inactive"), "{name}: {report}");
        breaks(&machine, Rule::InactiveInterrupt, || {
            device.raise_on(1, 0);
        })
        .is("a device", 0, None, &objects);
        connection.report(true);
        device.raise(0);
        machine.settle();
        connection.disconnect();
    }
}
