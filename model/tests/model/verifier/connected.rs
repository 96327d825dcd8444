//! What is done with an interrupt once it is connected, and what its device does.

use std::{ptr, sync::OnceLock};

use wdm_interrupt_model::{
    Rule,
    host::{Delivery, Machine},
    nt,
    report::Object,
};

use super::{
    super::{
        broken::{breaks, stop},
        raw::{self, Connection, Service, allocate, free},
    },
    LINE, claims, freed_interrupt, freed_pool, interrupt,
};

const DISCONNECT: &str = "IoDisconnectInterruptEx";

#[test]
fn disconnect_version_not_the_returned_one() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let service = claims();
    // Asked for messages, and got the line.
    let connection = raw::messages(&device, &service);
    assert_eq!(connection.version, nt::CONNECT_LINE_BASED);
    let asked = Connection { version: nt::CONNECT_MESSAGE_BASED, ..connection };
    let objects = [interrupt(connection, LINE.1)];
    breaks(&machine, Rule::DisconnectVersion, || asked.disconnect()).is(
        DISCONNECT,
        0,
        stop(0xCA, [0x9, 3, 0, 0]),
        &objects,
    );
    // To power it takes the same pair, and no bug check is documented.
    let active = breaks(&machine, Rule::DisconnectVersion, || asked.report(true));
    active.is("IoReportInterruptActive", 0, None, &objects);
    let inactive = breaks(&machine, Rule::DisconnectVersion, || asked.report(false));
    inactive.is("IoReportInterruptInactive", 0, None, &objects);
    connection.disconnect();
}

#[test]
fn interrupt_object_disconnected_twice_or_never_connected() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let service = claims();
    let connection = raw::line(&device, &service);
    connection.disconnect();
    let report = breaks(&machine, Rule::InterruptObject, || connection.disconnect());
    let report = report.is(DISCONNECT, 0, None, &[freed_interrupt(connection, LINE.1)]);
    assert!(report.text.contains("freed interrupt object 0xffffe"), "{report}");
    assert!(report.text.contains("was vector 0x90"), "{report}");
    for (context, said) in [
        (ptr::null_mut(), "is NULL"),
        (ptr::without_provenance_mut(0xBAD0), "nothing that IoConnectInterruptEx returned"),
    ] {
        let report = breaks(&machine, Rule::InterruptObject, || {
            Connection { context, ..connection }.disconnect();
        });
        let report = report.is(DISCONNECT, 0, None, &[]);
        assert!(report.text.contains(said), "{report}");
    }
}

#[test]
fn interrupt_object_synchronised_with_after_disconnecting() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let service = claims();
    let connection = raw::line(&device, &service);
    connection.disconnect();
    breaks(&machine, Rule::InterruptObject, || {
        raw::synchronize(connection.object(), || ());
    })
    .is("KeSynchronizeExecution", 0, None, &[freed_interrupt(connection, LINE.1)]);
}

#[test]
fn interrupt_object_that_was_freed_is_recognised_however_long_ago() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let service = claims();
    let first = raw::line(&device, &service);
    first.disconnect();
    for _ in 0..500 {
        let connection = raw::line(&device, &service);
        assert_ne!(connection.context, first.context, "an address is used once");
        connection.disconnect();
    }
    let report = breaks(&machine, Rule::InterruptObject, || first.report(false));
    let objects = [freed_interrupt(first, LINE.1)];
    report.is("IoReportInterruptInactive", 0, None, &objects);
}

#[test]
fn interrupt_object_read_from_a_message_table_that_is_no_more() {
    let machine = Machine::new(1).enter();
    let device = machine.device().messages(2).build();
    let service = claims();
    let connection = raw::messages(&device, &service);
    let entry = connection.entries()[1].InterruptObject;
    // SAFETY: behind the header there is an entry.
    let entry_in_table = unsafe { &raw const (*connection.table()).MessageInfo[0] };
    connection.disconnect();
    // The table is poisoned, and what it had is known to be freed.
    // SAFETY: a freed table is kept for a while.
    let poison = unsafe { entry_in_table.read() }.InterruptObject;
    assert_eq!(poison.addr(), 0xDDDD_DDDD_DDDD_DDDD);
    let report = breaks(&machine, Rule::InterruptObject, || {
        raw::synchronize(poison, || ());
    });
    let report = report.is("KeSynchronizeExecution", 0, None, &[]);
    assert!(report.text.contains("what freed memory is full of"), "{report}");
    let vector = device.interrupts()[1].vector();
    breaks(&machine, Rule::InterruptObject, || {
        raw::synchronize(entry, || ());
    })
    .is(
        "KeSynchronizeExecution",
        0,
        None,
        &[Object::FreedInterrupt { address: entry.addr(), vector }],
    );
    let table = Object::FreedMessageTable { address: connection.context.addr() };
    breaks(&machine, Rule::InterruptObject, || connection.disconnect()).is(
        DISCONNECT,
        0,
        None,
        &[table],
    );
}

#[test]
fn interrupt_object_of_a_message_is_no_connection_context_and_freed_pool_is_neither() {
    let machine = Machine::new(1).enter();
    let device = machine.device().messages(1).build();
    let service = claims();
    let connection = raw::messages(&device, &service);
    let entry = connection.entries()[0];
    let one = Connection { context: entry.InterruptObject.cast(), ..connection };
    let objects =
        [Object::Interrupt { address: entry.InterruptObject.addr(), vector: entry.Vector }];
    breaks(&machine, Rule::InterruptObject, || one.disconnect()).is(DISCONNECT, 0, None, &objects);
    let freed = allocate(64);
    free(freed);
    let other = Connection { context: freed, ..connection };
    breaks(&machine, Rule::InterruptObject, || other.disconnect()).is(
        DISCONNECT,
        0,
        None,
        &[freed_pool(freed, 64)],
    );
    connection.disconnect();
}

#[test]
fn message_table_written_to() {
    let machine = Machine::new(1).enter();
    machine.expect_leftovers();
    let device = machine.device().messages(2).build();
    let service = claims();
    let connection = raw::messages(&device, &service);
    let table = connection.table();
    // SAFETY: the breach: the table is the kernel's.
    unsafe { (*table).MessageInfo[0].Vector ^= 1 };
    breaks(&machine, Rule::MessageTable, || connection.disconnect()).is(
        DISCONNECT,
        0,
        None,
        &[Object::MessageTable { address: connection.context.addr() }],
    );
}

#[test]
fn disconnect_inside_a_passive_service_routine() {
    let machine = Machine::new(1).enter();
    let device = machine.device().passive_line().build();
    let connection = OnceLock::new();
    let service = Service::new(|_| {
        let (version, context) = *connection.get().expect("connected");
        Connection { version, context: ptr::without_provenance_mut(context) }.disconnect();
        true
    });
    let connected = raw::line(&device, &service);
    connection.set((connected.version, connected.context.addr())).expect("once");
    let vector = device.interrupts()[0].vector();
    breaks(&machine, Rule::DisconnectInside, || {
        device.raise_line();
        machine.settle();
    })
    .is(DISCONNECT, 0, None, &[interrupt(connected, vector)]);
    connected.disconnect();
}

#[test]
fn resources_in_use_taken_away_while_connected() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let service = claims();
    let connection = raw::line(&device, &service);
    let physical = Object::Device { address: device.physical_device_object().addr() };
    let report = breaks(&machine, Rule::ResourcesInUse, || device.stop());
    report.is("the PnP manager", 0, None, &[physical]);
    connection.disconnect();
}

/// The parameters of `HARDWARE_INTERRUPT_STORM`.
fn storm(connection: Connection, service: &Service<'_>, chained: u64) -> [u64; 4] {
    let routine = raw::line_routine as *const () as usize as u64;
    let context = service.context().addr() as u64;
    [routine, context, connection.context.addr() as u64, chained]
}

#[test]
fn storm_two_that_always_claim_an_edge() {
    let machine = Machine::new(1).enter();
    let first = machine.device().line_at(6, true, true).build();
    let second = machine.device().line_shared_with(&first).build();
    let service = claims();
    let connections = [raw::line(&first, &service), raw::line(&second, &service)];
    let vector = first.interrupts()[0].vector();
    breaks(&machine, Rule::Storm, || {
        first.raise_line();
    })
    .is(
        "a service routine",
        6,
        stop(0xF2, storm(connections[0], &service, 2)),
        &[interrupt(connections[0], vector)],
    );
    for connection in connections {
        connection.disconnect();
    }
}

#[test]
fn storm_a_level_that_is_not_acknowledged() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let service = claims();
    let connection = raw::line(&device, &service);
    breaks(&machine, Rule::Storm, || {
        device.assert_line();
    })
    .is(
        "a service routine",
        LINE.0,
        stop(0xF2, storm(connection, &service, 1)),
        &[interrupt(connection, LINE.1)],
    );
    device.deassert_line();
    connection.disconnect();
}

#[test]
fn storm_disconnecting_a_device_that_is_not_silent() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let service = Service::new(|_| {
        device.deassert_line();
        true
    });
    let connection = raw::line(&device, &service);
    let (stopped, objects) =
        (stop(0xF2, storm(connection, &service, 1)), [interrupt(connection, LINE.1)]);
    connection.report(false);
    let report = breaks(&machine, Rule::Storm, || {
        device.assert_line();
    });
    report.is("a service routine", LINE.0, stopped, &objects);
    let report = breaks(&machine, Rule::Storm, || connection.disconnect());
    report.is(DISCONNECT, 0, stopped, &objects);
    connection.report(true);
    assert_eq!(device.assert_line(), Delivery::Claimed);
    connection.disconnect();
}
