//! The IRQLs that calls are made at.

use std::cell::Cell;

use wdm_interrupt_model::{
    Rule,
    host::{Machine, kernel},
    nt,
    report::Object,
};

use super::{
    super::{
        broken::{breaks, verifier},
        raw::{self, Dpc, Event, Service, WorkItem, allocate, flush, free, raised},
    },
    DISPATCH_LEVEL, LINE, address, claims, pool, spin_lock,
};

#[test]
fn irql_passive_connecting_at_raised_irql() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let service = claims();
    breaks(&machine, Rule::IrqlPassive, || {
        let _raised = raised(1);
        raw::line(&device, &service);
    })
    .is("IoConnectInterruptEx", 1, None, &[]);
}

#[test]
fn irql_passive_disconnecting_at_raised_irql() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let service = claims();
    let connection = raw::line(&device, &service);
    breaks(&machine, Rule::IrqlPassive, || {
        let _raised = raised(DISPATCH_LEVEL);
        connection.disconnect();
    })
    .is("IoDisconnectInterruptEx", DISPATCH_LEVEL, None, &[]);
    connection.disconnect();
}

#[test]
fn irql_passive_connecting_and_disconnecting_in_a_threaded_dpc() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let service = claims();
    let in_a_dpc = |work: &dyn Fn()| {
        let dpc = Dpc::threaded(|_, _| work());
        breaks(&machine, Rule::IrqlPassive, || {
            dpc.queue();
            machine.settle();
        })
    };
    let connect = || {
        let _ = raw::line(&device, &service);
    };
    in_a_dpc(&connect).is("IoConnectInterruptEx", 0, None, &[]);
    let connection = raw::line(&device, &service);
    in_a_dpc(&|| connection.disconnect()).is("IoDisconnectInterruptEx", 0, None, &[]);
    connection.disconnect();
}

#[test]
fn irql_passive_flushing_in_a_dpc() {
    let machine = Machine::new(1).enter();
    let dpc = Dpc::new(|_, _| flush());
    breaks(&machine, Rule::IrqlPassive, || {
        dpc.queue();
    })
    .is("KeFlushQueuedDpcs", DISPATCH_LEVEL, None, &[]);
}

#[test]
fn irql_dispatch_acquiring_a_spin_lock_in_a_service_routine() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let lock = Cell::new(0_u64);
    let service = Service::new(|_| {
        // SAFETY: the lock is in place.
        unsafe { kernel::KeAcquireSpinLockRaiseToDpc(lock.as_ptr()) };
        true
    });
    let connection = raw::line(&device, &service);
    let (irql, _) = LINE;
    breaks(&machine, Rule::IrqlDispatch, || {
        device.raise_line();
    })
    .is(
        "KeAcquireSpinLockRaiseToDpc",
        irql,
        verifier([0x42, irql.into(), address(lock.as_ptr()), 0]),
        &[spin_lock(lock.as_ptr())],
    );
    connection.disconnect();
}

#[test]
fn irql_dispatch_clearing_or_reading_an_event_in_a_service_routine() {
    let machine = Machine::new(1).enter();
    let event = Event::notification();
    let objects = [Object::Event { address: event.pointer().addr() }];
    let sentence = address(Rule::IrqlDispatch.text().as_ptr());
    breaks(&machine, Rule::IrqlDispatch, || {
        let _raised = raised(3);
        event.clear();
    })
    .is("KeClearEvent", 3, verifier([0x20011, sentence, 0, 0]), &objects);
    breaks(&machine, Rule::IrqlDispatch, || {
        let _raised = raised(3);
        // SAFETY: initialised.
        unsafe { kernel::KeReadStateEvent(event.pointer()) };
    })
    .is("KeReadStateEvent", 3, verifier([0x20011, sentence, 0, 0]), &objects);
}

#[test]
fn irql_dispatch_queueing_a_work_item_in_a_service_routine() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let item = WorkItem::new(&device, |_| ());
    let service = Service::new(|_| {
        item.queue();
        true
    });
    let connection = raw::line(&device, &service);
    breaks(&machine, Rule::IrqlDispatch, || {
        device.raise_line();
    })
    .is("IoQueueWorkItem", LINE.0, None, &[]);
    connection.disconnect();
    item.free();
}

#[test]
fn irql_set_event_above_dispatch_level_or_to_wait_at_it() {
    let machine = Machine::new(1).enter();
    let event = Event::notification();
    let (event_address, objects) =
        (address(event.pointer()), [Object::Event { address: event.pointer().addr() }]);
    breaks(&machine, Rule::IrqlSetEvent, || {
        let _raised = raised(3);
        event.set();
    })
    .is("KeSetEvent", 3, verifier([0x80, 3, event_address, 0]), &objects);
    let sentence = address(Rule::IrqlSetEvent.text().as_ptr());
    breaks(&machine, Rule::IrqlSetEvent, || {
        let _raised = raised(2);
        // SAFETY: initialised.
        unsafe { kernel::KeSetEvent(event.pointer(), 0, 1) };
    })
    .is("KeSetEvent", 2, verifier([0x20016, sentence, 0, 0]), &objects);
}

#[test]
fn irql_wait_at_raised_irql() {
    let machine = Machine::new(1).enter();
    let event = Event::notification();
    let (event_address, objects) =
        (address(event.pointer()), [Object::Event { address: event.pointer().addr() }]);
    let wait = |irql, timeout: nt::PLARGE_INTEGER, kind| {
        breaks(&machine, Rule::IrqlWait, || {
            let _raised = raised(irql);
            raw::wait(event.pointer(), timeout);
        })
        .is(
            "KeWaitForSingleObject",
            irql,
            verifier([kind, 0, event_address, address(timeout)]),
            &objects,
        );
    };
    let mut now = nt::LARGE_INTEGER { QuadPart: 0 };
    let mut soon = nt::LARGE_INTEGER { QuadPart: -10_000 };
    wait(2, std::ptr::null_mut(), 0x121);
    wait(2, &raw mut soon, 0x122);
    wait(3, &raw mut now, 0x120);
}

#[test]
fn irql_pool_allocating_in_a_service_routine() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let service = Service::new(|_| !allocate(8).is_null());
    let connection = raw::line(&device, &service);
    let (irql, _) = LINE;
    breaks(&machine, Rule::IrqlPool, || {
        device.raise_line();
    })
    .is("ExAllocatePool2", irql, verifier([0x2, irql.into(), 512, 8]), &[]);
    connection.disconnect();
}

#[test]
fn irql_pool_freeing_at_high_level() {
    let machine = Machine::new(1).enter();
    let memory = allocate(8);
    breaks(&machine, Rule::IrqlPool, || {
        let _raised = raised(15);
        free(memory);
    })
    .is(
        "ExFreePoolWithTag",
        15,
        verifier([0x12, 15, 512, address(memory)]),
        &[pool(memory, 8)],
    );
    free(memory);
}

#[test]
fn irql_pool_paged_pool_at_dispatch_level() {
    let machine = Machine::new(1).enter();
    // SAFETY: no obligation.
    let allocate = || unsafe { kernel::ExAllocatePool2(nt::POOL_FLAG_PAGED, 8, raw::TAG) };
    breaks(&machine, Rule::IrqlPool, || {
        let _raised = raised(DISPATCH_LEVEL);
        allocate();
    })
    .is("ExAllocatePool2", DISPATCH_LEVEL, verifier([0x1, 2, 1, 8]), &[]);
    let memory = allocate();
    breaks(&machine, Rule::IrqlPool, || {
        let _raised = raised(DISPATCH_LEVEL);
        free(memory);
    })
    .is(
        "ExFreePoolWithTag",
        DISPATCH_LEVEL,
        verifier([0x11, 2, 1, address(memory)]),
        &[pool(memory, 8)],
    );
    free(memory);
}

#[test]
fn irql_order_raising_down_and_lowering_up() {
    let machine = Machine::new(1).enter();
    breaks(&machine, Rule::IrqlOrder, || {
        let _raised = raised(5);
        // SAFETY: the breach.
        unsafe { kernel::KfRaiseIrql(4) };
    })
    .is("KfRaiseIrql", 5, verifier([0x30, 5, 4, 0]), &[]);
    breaks(&machine, Rule::IrqlOrder, || {
        // SAFETY: the breach.
        unsafe { kernel::KfRaiseIrql(16) };
    })
    .is("KfRaiseIrql", 0, verifier([0x30, 0, 16, 0]), &[]);
    breaks(&machine, Rule::IrqlOrder, || {
        // SAFETY: the breach.
        unsafe { kernel::KeLowerIrql(4) };
    })
    .is("KeLowerIrql", 0, verifier([0x31, 0, 4, 0]), &[]);
}

#[test]
fn irql_order_lowering_under_a_lock() {
    let machine = Machine::new(1).enter();
    let lock = Cell::new(0_u64);
    // SAFETY: the lock is in place.
    let before = unsafe { kernel::KeAcquireSpinLockRaiseToDpc(lock.as_ptr()) };
    breaks(&machine, Rule::IrqlOrder, || {
        // SAFETY: the breach.
        unsafe { kernel::KeLowerIrql(0) };
    })
    .is("KeLowerIrql", DISPATCH_LEVEL, None, &[]);
    // SAFETY: acquired above.
    unsafe { kernel::KeReleaseSpinLock(lock.as_ptr(), before) };
}

#[test]
fn irql_order_a_service_routine_that_lowers_below_its_lock_is_found_at_once() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let service = Service::new(|_| {
        // SAFETY: the breach.
        unsafe { kernel::KeLowerIrql(DISPATCH_LEVEL) };
        true
    });
    let connection = raw::line(&device, &service);
    breaks(&machine, Rule::IrqlOrder, || {
        device.raise_line();
    })
    .is("KeLowerIrql", LINE.0, None, &[]);
    connection.disconnect();
}
