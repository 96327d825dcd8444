//! What `IoConnectInterruptEx` is given.

use std::{cell::Cell, ptr};

use wdm_interrupt_model::{
    Rule,
    host::{Device, Machine, kernel},
    nt,
    report::Object,
};

use super::{
    super::{
        broken::{breaks, stop},
        raw::{self, Service, allocate, free},
    },
    LINE, claims, freed_pool, interrupt, pool, spin_lock,
};

const CALL: &str = "IoConnectInterruptEx";

type Change = fn(&mut nt::IO_CONNECT_INTERRUPT_FULLY_SPECIFIED_PARAMETERS);

fn try_full(device: &Device, service: &Service<'_>, change: Change) {
    let version = nt::CONNECT_FULLY_SPECIFIED;
    let (status, _) = raw::try_full(device, 0, service, version, change);
    panic!("the status is {status:#x}");
}

fn physical(device: &Device) -> Object {
    Object::Device { address: device.physical_device_object().addr() }
}

#[test]
fn connect_parameters_that_are_not_the_translated_descriptors() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let service = claims();
    let changes: [(&str, Change); 6] = [
        ("Irql", |full| {
            full.Irql += 1;
            full.SynchronizeIrql += 1;
        }),
        ("InterruptMode", |full| full.InterruptMode = nt::_KINTERRUPT_MODE::Latched),
        // What follows from ShareVector = ShareDisposition: exclusive is 1.
        ("ShareVector is not whether", |full| full.ShareVector = 1),
        ("ShareVector is neither", |full| full.ShareVector = 3),
        ("ProcessorEnableMask", |full| full.ProcessorEnableMask = 2),
        ("Group", |full| full.Group = 1),
    ];
    for (member, change) in changes {
        let report =
            breaks(&machine, Rule::ConnectParameters, || try_full(&device, &service, change));
        let report = report.is(CALL, 0, None, &[Object::Vector { vector: LINE.1 }]);
        assert!(report.text.contains(member), "{member}: {report}");
    }
}

#[test]
fn connect_parameters_that_no_device_has() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let service = claims();
    let changes: [(&str, Change); 2] = [
        ("FloatingSave", |full| full.FloatingSave = 1),
        ("SynchronizeIrql", |full| full.SynchronizeIrql = 16),
    ];
    for (member, change) in changes {
        let report =
            breaks(&machine, Rule::ConnectParameters, || try_full(&device, &service, change));
        let report = report.is(CALL, 0, None, &[physical(&device)]);
        assert!(report.text.contains(member), "{member}: {report}");
    }
}

#[test]
fn connect_parameters_that_are_not_there() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let service = claims();
    let changes: [(&str, Change); 2] = [
        ("the service routine is NULL", |full| full.ServiceRoutine = None),
        ("returned is NULL", |full| full.InterruptObject = ptr::null_mut()),
    ];
    for (what, change) in changes {
        let report =
            breaks(&machine, Rule::ConnectParameters, || try_full(&device, &service, change));
        let report = report.is(CALL, 0, None, &[]);
        assert!(report.text.contains(what), "{what}: {report}");
    }
    let none = breaks(&machine, Rule::ConnectParameters, || {
        raw::try_messages_with(&device, &service, |message| message.MessageServiceRoutine = None);
    });
    none.is(CALL, 0, None, &[]);
    breaks(&machine, Rule::ConnectParameters, || {
        // SAFETY: the breach.
        unsafe { kernel::IoConnectInterruptEx(ptr::null_mut()) };
    })
    .is(CALL, 0, None, &[]);
}

#[test]
fn connect_parameters_of_which_the_result_goes_to_freed_memory() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let service = claims();
    let freed = allocate(8);
    free(freed);
    breaks(&machine, Rule::ConnectParameters, || {
        raw::try_full(&device, 0, &service, nt::CONNECT_FULLY_SPECIFIED, |full| {
            full.InterruptObject = freed.cast();
        });
    })
    .is(CALL, 0, None, &[freed_pool(freed, 8)]);
}

#[test]
fn connect_parameters_that_were_not_zeroed() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let service = claims();
    for version in [nt::CONNECT_LINE_BASED, nt::CONNECT_MESSAGE_BASED] {
        let mut context: nt::PVOID = ptr::null_mut();
        let mut parameters =
            nt::IO_CONNECT_INTERRUPT_PARAMETERS { Version: version, ..Default::default() };
        let (line, message) = (
            raw::line_parameters(&device, &service, &raw mut context),
            raw::message_parameters(&device, &service, &raw mut context),
        );
        // The last member of the longest of the three: neither of these two has it.
        parameters.__bindgen_anon_1.FullySpecified.Group = 0xAA;
        if version == nt::CONNECT_LINE_BASED {
            parameters.__bindgen_anon_1.LineBased = line;
        } else {
            parameters.__bindgen_anon_1.MessageBased = message;
        }
        let report = breaks(&machine, Rule::ConnectParameters, || {
            // SAFETY: the breach.
            unsafe { kernel::IoConnectInterruptEx(&raw mut parameters) };
        });
        let report = report.is(CALL, 0, None, &[]);
        assert!(report.text.contains("not zeroed"), "{report}");
    }
}

#[test]
fn connect_parameters_group_without_the_group_version() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().group(1).build();
    let service = claims();
    let report = breaks(&machine, Rule::ConnectParameters, || try_full(&device, &service, |_| ()));
    let report = report.is(CALL, 0, None, &[Object::Vector { vector: LINE.1 }]);
    assert!(report.text.contains("CONNECT_FULLY_SPECIFIED_GROUP"), "{report}");
}

#[test]
fn physical_device_the_drivers_own_device_object() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let service = claims();
    let own = device.function_device_object();
    breaks(&machine, Rule::PhysicalDevice, || {
        raw::try_full(&device, 0, &service, nt::CONNECT_FULLY_SPECIFIED, |full| {
            full.PhysicalDeviceObject = own;
        });
    })
    .is(
        CALL,
        0,
        stop(0xCA, [0x2, own.addr() as u64, 0, 0]),
        &[Object::Device { address: own.addr() }],
    );
}

#[test]
fn line_based_once_a_second_routine_on_shared_lines() {
    let machine = Machine::new(1).enter();
    let device = machine.device().shareable_line().build();
    let (first, second) = (claims(), claims());
    let connection = raw::line(&device, &first);
    let objects = [physical(&device), interrupt(connection, LINE.1)];
    breaks(&machine, Rule::LineBasedOnce, || {
        raw::line(&device, &second);
    })
    .is(CALL, 0, None, &objects);
    // A message-based request that falls back to the line is no other.
    breaks(&machine, Rule::LineBasedOnce, || {
        raw::messages(&device, &second);
    })
    .is(CALL, 0, None, &objects);
    // Fully specified it is legal: the lines are shared.
    let other = raw::full(&device, 0, &second);
    other.disconnect();
    connection.disconnect();
    raw::line(&device, &second).disconnect();
}

#[test]
fn synchronize_irql_member_below_irql() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let service = claims();
    breaks(&machine, Rule::SynchronizeIrqlMember, || {
        try_full(&device, &service, |full| full.SynchronizeIrql = 0);
    })
    .is(CALL, 0, None, &[physical(&device)]);
}

#[test]
fn synchronize_irql_member_different_under_one_lock() {
    let machine = Machine::new(1).enter();
    let device = machine.device().messages_at(&[5, 7]).build();
    let service = claims();
    let lock = Cell::new(0_u64);
    let connect = |index| {
        raw::try_full(&device, index, &service, nt::CONNECT_FULLY_SPECIFIED, |full| {
            full.SpinLock = lock.as_ptr();
        })
    };
    let (_, first) = connect(0);
    let vector = device.interrupts()[0].vector();
    breaks(&machine, Rule::SynchronizeIrqlMember, || {
        connect(1);
    })
    .is(CALL, 0, None, &[spin_lock(lock.as_ptr()), interrupt(first, vector)]);
    first.disconnect();
}

#[test]
fn supplied_spin_lock_not_initialised_not_aligned_or_not_resident() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let service = claims();
    let uninitialised = Cell::new(0xDEAD_u64);
    let freed = allocate(8);
    free(freed);
    // SAFETY: no obligation.
    let paged = unsafe { kernel::ExAllocatePool2(nt::POOL_FLAG_PAGED, 8, raw::TAG) };
    let locks = [
        (uninitialised.as_ptr(), None),
        (ptr::without_provenance_mut(0x1001), None),
        (freed.cast(), Some(freed_pool(freed, 8))),
        (paged.cast(), Some(pool(paged, 8))),
    ];
    for (lock, memory) in locks {
        let objects: Vec<Object> = std::iter::once(spin_lock(lock)).chain(memory).collect();
        breaks(&machine, Rule::SuppliedSpinLock, || {
            raw::try_line(&device, &service, lock);
        })
        .is(CALL, 0, None, &objects);
    }
    free(paged);
}

#[test]
fn service_context_in_freed_or_paged_memory() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let service = claims();
    let freed = allocate(64);
    free(freed);
    // SAFETY: no obligation.
    let paged = unsafe { kernel::ExAllocatePool2(nt::POOL_FLAG_PAGED, 64, raw::TAG) };
    for (context, object) in [(freed, freed_pool(freed, 64)), (paged, pool(paged, 64))] {
        breaks(&machine, Rule::ServiceContext, || {
            raw::try_full(&device, 0, &service, nt::CONNECT_FULLY_SPECIFIED, |full| {
                full.ServiceContext = context;
            });
        })
        .is(CALL, 0, None, &[object]);
    }
    free(paged);
}
