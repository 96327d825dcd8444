//! What a report says, and what is left behind.

use std::sync::{
    Mutex,
    atomic::{AtomicBool, Ordering},
};

use wdm_interrupt_model::{
    BugCheck, Rule,
    executive::Call,
    host::{Delivery, Machine, kernel},
    nt,
};

use super::{
    super::{
        broken::{breaks, stop, verifier},
        raw::{self, Event, Service, WorkItem, allocate, at, raised},
    },
    claims,
};

#[test]
fn bug_check_is_reported_with_its_parameters() {
    let machine = Machine::new(1).enter();
    breaks(&machine, Rule::BugCheck, || {
        // SAFETY: no obligation.
        unsafe { kernel::KeBugCheckEx(0xE2, 1, 2, 3, 4) };
    })
    .is("KeBugCheckEx", 0, stop(0xE2, [1, 2, 3, 4]), &[]);
}

#[test]
fn left_behind_is_listed_when_the_machine_is_left() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let service = claims();
    raw::line(&device, &service);
    allocate(100);
    // SAFETY: no obligation.
    unsafe { kernel::ExAllocatePool2(nt::POOL_FLAG_PAGED, 20, raw::TAG) };
    let _item = WorkItem::new(&device, |_| ());
    // SAFETY: the breach: it is not left.
    unsafe { kernel::KeEnterCriticalRegion() };
    let executive = machine.executive();
    let report = breaks(&machine, Rule::LeftBehind, || {
        executive.require_nothing_left("the driver's unload");
    });
    let report = report.is("the driver's unload", 0, verifier([0x60, 20, 100, 2]), &[]);
    for part in [
        "pool 'Test': 2 blocks, 120 bytes",
        "vector 0x90 connected",
        "1 work items not freed",
        "1 critical regions not left",
    ] {
        assert!(report.text.contains(part), "{part}: {report}");
    }
    let left = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| machine.leave()));
    let at_the_end = left.expect_err("something is left").downcast::<String>().expect("a report");
    assert!(at_the_end.contains("LeftBehind broken in the end of the run"), "{at_the_end}");
}

#[test]
fn left_behind_has_a_bug_check_for_pool_only() {
    let machine = Machine::new(1).enter();
    machine.expect_leftovers();
    let device = machine.device().line().build();
    let service = claims();
    raw::line(&device, &service);
    let executive = machine.executive();
    breaks(&machine, Rule::LeftBehind, || executive.require_nothing_left("a test")).is(
        "a test",
        0,
        None,
        &[],
    );
}

#[test]
fn a_report_names_the_call_the_processor_and_the_irql() {
    let machine = Machine::new(3).enter();
    let report = Mutex::new(None);
    machine.scope(|scope| {
        scope.spawn(2, || {
            let broken = breaks(&machine, Rule::IrqlPool, || {
                let _raised = raised(9);
                allocate(8);
            });
            *report.lock().expect("not poisoned") =
                Some(broken.is("ExAllocatePool2", 9, verifier([0x2, 9, 512, 8]), &[]));
        });
    });
    let report = report.into_inner().expect("not poisoned").expect("it ran");
    assert_eq!(report.processor, 2);
    assert_eq!(
        report.text,
        "IrqlPool broken in ExAllocatePool2 on processor 2 at IRQL 9: called at IRQL 9\n  \
         the rule: nonpaged pool is used at DISPATCH_LEVEL at most, paged pool at APC_LEVEL at most \
         (Driver Verifier: IrqlExAllocatePool)\n  \
         *** STOP: 0x000000C4 (0x0000000000000002,0x0000000000000009,0x0000000000000200,\
         0x0000000000000008)\n  \
         DRIVER_VERIFIER_DETECTED_VIOLATION"
    );
}

#[test]
fn a_report_without_a_bug_check_has_no_stop() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let service = claims();
    let report = breaks(&machine, Rule::IrqlPassive, || {
        let _raised = raised(1);
        raw::line(&device, &service);
    });
    let report = report.is("IoConnectInterruptEx", 1, None, &[]);
    assert!(report.text.ends_with("(Driver Verifier: IrqlIoPassive2, IrqlIoPassive4)"), "{report}");
}

#[test]
fn objects_are_named_with_what_is_known_of_them() {
    let machine = Machine::new(1).enter();
    let event = Event::notification();
    let report = breaks(&machine, Rule::IrqlSetEvent, || {
        let _raised = raised(3);
        event.set();
    });
    let named = format!("\n  concerned: event {:#x}\n", event.pointer().addr());
    assert!(report.to_string().contains(&named), "{report}");
}

#[test]
fn every_stop_of_every_rule_has_a_name() {
    for rule in Rule::ALL {
        for stop in rule.stops() {
            assert!(stop.name().is_some(), "{rule}: {stop}");
            let kind = stop.kind.unwrap_or(0);
            let first = BugCheck::new(stop.code, [kind, 0, 0, 0]).stop();
            let fourth = BugCheck::new(stop.code, [0, 0, 0, kind]).stop();
            assert!([first, fourth].contains(stop), "{rule}: {stop}");
        }
    }
}

#[test]
fn a_broken_rule_leaves_the_machine_usable() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let wrong = AtomicBool::new(true);
    let service = Service::new(|_| {
        if wrong.swap(false, Ordering::Relaxed) {
            allocate(8);
        }
        true
    });
    let connection = raw::line(&device, &service);
    let broken = breaks(&machine, Rule::IrqlPool, || {
        device.raise_line();
    });
    broken.is("ExAllocatePool2", 9, verifier([0x2, 9, 512, 8]), &[]);
    assert_eq!(device.raise_line(), Delivery::Claimed);
    at(3, || assert_eq!(raw::irql(), 3));
    machine.fail(Call::ExAllocatePool2, 0, nt::STATUS_INSUFFICIENT_RESOURCES);
    connection.disconnect();
    // SAFETY: no obligation.
    let none = unsafe { kernel::ExAllocatePool2(nt::POOL_FLAG_NON_PAGED, 8, raw::TAG) };
    assert!(none.is_null());
}
