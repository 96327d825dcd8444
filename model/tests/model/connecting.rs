//! What `IoConnectInterruptEx` connects to, what it returns, and how it fails.

use std::{cell::Cell, ptr};

use wdm_interrupt_model::{
    executive::{Call, Fault},
    hal::Event,
    host::{Delivery, Machine},
    nt::{self, NTSTATUS, PVOID},
};

use super::raw::{self, Service};

fn claims<'a>() -> Service<'a> {
    Service::new(|_| true)
}

#[test]
fn a_line_is_served_until_it_is_disconnected() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let calls = Cell::new(0);
    let service = Service::new(|message| {
        assert_eq!(message, None);
        calls.set(calls.get() + 1);
        true
    });
    assert_eq!(device.raise_line(), Delivery::NotConnected);
    let connection = raw::line(&device, &service);
    assert_eq!(connection.version, nt::CONNECT_LINE_BASED);
    assert_eq!(device.raise_line(), Delivery::Claimed);
    connection.disconnect();
    assert_eq!(device.raise_line(), Delivery::NotConnected);
    assert_eq!(calls.get(), 1);
}

#[test]
fn each_message_has_its_own_vector_and_says_its_number() {
    let machine = Machine::new(1).enter();
    let device = machine.device().messages(4).build();
    let last = Cell::new(None);
    let service = Service::new(|message| {
        last.set(message);
        true
    });
    let connection = raw::messages(&device, &service);
    assert_eq!(connection.version, nt::CONNECT_MESSAGE_BASED);
    for message in [2, 0, 3, 1] {
        assert_eq!(device.raise_message(message), Delivery::Claimed);
        assert_eq!(last.get(), Some(u32::try_from(message).expect("small")));
    }
    connection.disconnect();
}

#[test]
fn the_message_table_tells_what_was_assigned() {
    let machine = Machine::new(2).enter();
    let device = machine.device().messages(3).build();
    let service = claims();
    let connection = raw::messages(&device, &service);
    let entries = connection.entries();
    for (entry, assigned) in entries.iter().zip(device.interrupts()) {
        assert_eq!(entry.Vector, assigned.vector());
        assert_eq!(entry.Irql, assigned.irql());
        assert_eq!(entry.TargetProcessorSet, 0b11);
        assert_eq!(entry.MessageData, assigned.vector());
        assert_eq!(entry.Mode, nt::_KINTERRUPT_MODE::Latched);
    }
    // SAFETY: a table that is connected.
    let unified = unsafe { (*connection.table()).UnifiedIrql };
    assert_eq!(entries.iter().map(|entry| entry.Irql).max(), Some(unified));
    assert!(entries.iter().any(|entry| entry.Irql < unified), "IRQLs differ");
    connection.disconnect();
}

#[test]
fn a_message_request_falls_back_to_the_line() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let service = Service::new(|message| message.is_none());
    let connection = raw::messages(&device, &service);
    assert_eq!(connection.version, nt::CONNECT_LINE_BASED);
    assert_eq!(device.raise_line(), Delivery::Claimed);
    // What was returned is an interrupt object.
    assert_eq!(raw::synchronize(connection.object(), || ()), 1);
    connection.disconnect();
}

#[test]
fn a_message_request_without_fallback_finds_no_line() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let service = claims();
    let (status, connection) = raw::try_messages_with(&device, &service, |message| {
        message.FallBackServiceRoutine = None;
    });
    assert_eq!(status, nt::STATUS_NOT_FOUND);
    assert!(connection.context.is_null());
    assert_ne!(connection.version, nt::CONNECT_MESSAGE_BASED, "who reads it is found out");
}

#[test]
fn fully_specified_lines_and_messages_are_objects_of_their_own() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().latched_line().messages(1).build();
    let services = [claims(), claims(), claims()];
    let connections: Vec<_> = services
        .iter()
        .enumerate()
        .map(|(index, service)| raw::full(&device, index, service))
        .collect();
    for (index, connection) in connections.into_iter().enumerate() {
        assert_eq!(device.raise(index), Delivery::Claimed);
        connection.disconnect();
        assert_eq!(device.raise(index), Delivery::NotConnected);
    }
}

#[test]
fn the_group_version_connects_a_resource_of_another_group() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().group(1).build();
    let service = claims();
    let (status, connection) =
        raw::try_full(&device, 0, &service, nt::CONNECT_FULLY_SPECIFIED_GROUP, |_| ());
    assert_eq!(status, nt::STATUS_SUCCESS);
    assert_eq!(connection.version, nt::CONNECT_FULLY_SPECIFIED_GROUP);
    connection.disconnect();
}

#[test]
fn one_service_routine_serves_all_lines() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().line().build();
    let service = claims();
    let connection = raw::line(&device, &service);
    assert_eq!(device.raise(0), Delivery::Claimed);
    assert_eq!(device.raise(1), Delivery::Claimed);
    connection.disconnect();
    assert_eq!(device.raise(1), Delivery::NotConnected);
}

#[test]
fn line_based_is_refused_while_messages_are_assigned() {
    let machine = Machine::new(1).enter();
    let device = machine.device().messages(1).build();
    let service = claims();
    let (status, _) = raw::try_line(&device, &service, ptr::null_mut());
    assert_eq!(status, nt::STATUS_INVALID_DEVICE_REQUEST);
}

#[test]
fn a_device_without_interrupts_has_none_to_find() {
    let machine = Machine::new(1).enter();
    let device = machine.device().build();
    let service = claims();
    let (status, _) = raw::try_line(&device, &service, ptr::null_mut());
    assert_eq!(status, nt::STATUS_NOT_FOUND);
    let (status, _) = raw::try_messages_with(&device, &service, |_| ());
    assert_eq!(status, nt::STATUS_NOT_FOUND);
}

#[test]
fn fully_specified_members_have_documented_failures() {
    type Change = fn(&mut nt::IO_CONNECT_INTERRUPT_FULLY_SPECIFIED_PARAMETERS);
    let cases: [(NTSTATUS, Change); 4] = [
        (nt::STATUS_INVALID_PARAMETER, |full| full.PhysicalDeviceObject = ptr::null_mut()),
        (nt::STATUS_INVALID_PARAMETER_10, |full| full.ProcessorEnableMask = 0),
        (nt::STATUS_NOT_FOUND, |full| full.Vector += 1),
        (nt::STATUS_SUCCESS, |_| ()),
    ];
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let service = claims();
    for (expected, change) in cases {
        let (status, connection) =
            raw::try_full(&device, 0, &service, nt::CONNECT_FULLY_SPECIFIED, change);
        assert_eq!(status, expected);
        if nt::NT_SUCCESS(status) {
            connection.disconnect();
        }
    }
}

#[test]
fn an_unknown_version_is_invalid_parameter_1() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let service = claims();
    for version in [0, 6, u32::MAX] {
        let mut parameters =
            nt::IO_CONNECT_INTERRUPT_PARAMETERS { Version: version, ..Default::default() };
        // SAFETY: a parameter block.
        let status =
            unsafe { wdm_interrupt_model::host::kernel::IoConnectInterruptEx(&raw mut parameters) };
        assert_eq!(status, nt::STATUS_INVALID_PARAMETER_1);
    }
    drop((device, service));
}

#[test]
fn a_passive_line_takes_no_spin_lock() {
    let machine = Machine::new(1).enter();
    let device = machine.device().passive_line().build();
    let service = Service::new(|_| raw::irql() == 0);
    let lock = Cell::new(0_u64);
    let (status, _) = raw::try_line(&device, &service, lock.as_ptr());
    assert_eq!(status, nt::STATUS_INVALID_PARAMETER);
    let connection = raw::line(&device, &service);
    assert_eq!(device.raise_line(), Delivery::Pending);
    machine.settle();
    assert!(machine.events().iter().any(|it| matches!(it, Event::IsrLeft { claimed: true, .. })));
    connection.disconnect();
}

#[test]
fn an_exclusive_line_is_connected_once() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let service = claims();
    let connection = raw::line(&device, &service);
    let (status, _) = raw::try_line(&device, &service, ptr::null_mut());
    assert_eq!(status, nt::STATUS_INVALID_PARAMETER);
    assert_eq!(device.raise_line(), Delivery::Claimed);
    connection.disconnect();
}

#[test]
fn when_one_message_cannot_be_connected_none_is() {
    let machine = Machine::new(1).enter();
    let device = machine.device().messages(3).build();
    let service = claims();
    let last = raw::full(&device, 2, &service);
    let (status, _) = raw::try_messages_with(&device, &service, |_| ());
    assert_eq!(status, nt::STATUS_INVALID_PARAMETER);
    assert_eq!(device.raise_message(0), Delivery::NotConnected);
    last.disconnect();
}

#[test]
fn after_a_rebalance_vectors_are_others() {
    let machine = Machine::new(1).enter();
    let device = machine.device().messages(2).build();
    let service = claims();
    let before = device.interrupts();
    raw::messages(&device, &service).disconnect();
    device.stop();
    let (status, _) = raw::try_messages_with(&device, &service, |_| ());
    assert_eq!(status, nt::STATUS_NOT_FOUND);
    device.start();
    assert_ne!(before, device.interrupts());
    let connection = raw::messages(&device, &service);
    assert_eq!(device.raise_message(1), Delivery::Claimed);
    connection.disconnect();
}

#[test]
fn more_or_fewer_messages_than_promised_can_be_connected() {
    let machine = Machine::new(1).enter();
    for (promised, assigned) in [(4, 2), (2, 3)] {
        let device = machine.device().messages(promised).assigned_messages(assigned).build();
        let service = claims();
        let connection = raw::messages(&device, &service);
        assert_eq!(connection.message_count() as usize, assigned);
        // Two words of head, and a word and 16 bytes a descriptor: memory and the messages.
        assert_eq!(device.translated_resource_bytes().len(), 20 + 20 * (1 + promised));
        connection.disconnect();
    }
}

#[test]
fn every_failure_can_be_asked_for() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let service = claims();
    let statuses = [
        nt::STATUS_INVALID_DEVICE_REQUEST,
        nt::STATUS_INVALID_PARAMETER,
        nt::STATUS_INVALID_PARAMETER_1,
        nt::STATUS_INVALID_PARAMETER_10,
        nt::STATUS_NOT_FOUND,
        nt::STATUS_INSUFFICIENT_RESOURCES,
        nt::STATUS_NOT_SUPPORTED,
    ];
    for status in statuses {
        machine.fail(Call::IoConnectInterruptEx, 0, status);
        assert_eq!(raw::try_line(&device, &service, ptr::null_mut()).0, status);
    }
    // The second one from here.
    machine.fail(Call::IoConnectInterruptEx, 1, nt::STATUS_NOT_FOUND);
    raw::line(&device, &service).disconnect();
    assert_eq!(raw::try_line(&device, &service, ptr::null_mut()).0, nt::STATUS_NOT_FOUND);
    raw::line(&device, &service).disconnect();
}

#[test]
fn a_success_can_come_with_nothing() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let service = claims();
    for fault in [Fault::WritesNothing, Fault::StoresNull] {
        machine.fail(Call::IoConnectInterruptEx, 0, fault);
        let (status, connection) = raw::try_line(&device, &service, ptr::null_mut());
        assert_eq!(status, nt::STATUS_SUCCESS);
        assert!(connection.context.is_null());
        assert_eq!(device.raise_line(), Delivery::NotConnected);
    }
}

#[test]
fn a_success_can_come_with_another_version_or_message_count() {
    let machine = Machine::new(1).enter();
    let device = machine.device().messages(2).build();
    let service = claims();
    machine.fail(Call::IoConnectInterruptEx, 0, Fault::Version(17));
    let (status, connection) = raw::try_messages_with(&device, &service, |_| ());
    assert_eq!((status, connection.version), (nt::STATUS_SUCCESS, 17));
    connection.disconnect();
    for count in [0, 1, 5] {
        machine.fail(Call::IoConnectInterruptEx, 0, Fault::MessageCount(count));
        let connection = raw::messages(&device, &service);
        assert_eq!(connection.message_count(), count);
        connection.disconnect();
    }
}

#[test]
fn a_message_table_is_poison_after_disconnecting() {
    let machine = Machine::new(1).enter();
    let device = machine.device().messages(2).build();
    let service = claims();
    let connection = raw::messages(&device, &service);
    let table = connection.table();
    connection.disconnect();
    // SAFETY: freed memory is kept for a while.
    let count = unsafe { (*table).MessageCount };
    assert_eq!(count, 0xDDDD_DDDD);
}

#[test]
fn resource_lists_are_laid_out_as_windows_has_them() {
    let machine = Machine::new(1).enter();
    let device = machine.device().shareable_line().msi(4).group(2).build();
    // SAFETY: the list lives as long as the device.
    let list = unsafe { device.translated_resources().read() };
    assert_eq!(list.Count, 1);
    assert_eq!(list.List[0].PartialResourceList.Count, 3);
    let descriptor = |list: *const nt::CM_RESOURCE_LIST, index| {
        // SAFETY: inside the list.
        let first = unsafe { &raw const (*list).List[0].PartialResourceList.PartialDescriptors };
        let at = first.cast::<nt::CM_PARTIAL_RESOURCE_DESCRIPTOR>().wrapping_add(index);
        // SAFETY: the list has three.
        unsafe { at.read() }
    };
    let line = descriptor(device.translated_resources(), 1);
    assert_eq!(u32::from(line.Type), nt::CmResourceTypeInterrupt);
    assert_eq!(i32::from(line.ShareDisposition), nt::_CM_SHARE_DISPOSITION::CmResourceShareShared);
    // SAFETY: a line's descriptor.
    let interrupt = unsafe { line.u.Interrupt };
    let (level, vector) = (interrupt.Level, interrupt.Vector);
    assert_eq!((level, vector), (9 | 2 << 16, device.interrupts()[0].vector()));
    let flags = descriptor(device.raw_resources(), 2).Flags;
    assert_eq!(
        u32::from(flags),
        nt::CM_RESOURCE_INTERRUPT_LATCHED | nt::CM_RESOURCE_INTERRUPT_MESSAGE
    );
    let message = descriptor(device.raw_resources(), 2).u;
    // SAFETY: a message's descriptor.
    let message = unsafe { message.MessageInterrupt };
    // SAFETY: of the raw list.
    let raw = unsafe { message.__bindgen_anon_1.Raw };
    let count = raw.MessageCount;
    assert_eq!(count, 4);
    // One descriptor stands for four messages with successive vectors.
    let vectors: Vec<_> = device.interrupts()[1..]
        .iter()
        .map(wdm_interrupt_model::executive::Assigned::vector)
        .collect();
    assert_eq!(vectors.len(), 4);
    assert!(vectors.is_sorted_by(|one, next| one + 1 == *next));
}

#[test]
fn no_interrupt_object_is_ever_used_twice() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let service = claims();
    let mut seen: Vec<PVOID> = Vec::new();
    for _ in 0..100 {
        let connection = raw::line(&device, &service);
        assert!(!seen.contains(&connection.context));
        seen.push(connection.context);
        connection.disconnect();
    }
}
