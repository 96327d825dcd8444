//! Events, and waiting for them.

use std::{
    cell::UnsafeCell,
    ptr,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use wdm_interrupt_model::{
    Rule,
    host::{Machine, kernel},
    nt::{self, _EVENT_TYPE as Type, _KWAIT_REASON as Reason},
};

use super::raw::{self, Event, WorkItem, allocate, at, breaks, free};

#[test]
fn a_notification_event_stays_set_and_a_synchronization_event_lets_one_through() {
    let machine = Machine::new(1).enter();
    let (all, one) = (Event::new(Type::NotificationEvent), Event::new(Type::SynchronizationEvent));
    for event in [&all, &one] {
        assert!(!event.wait_for(0));
        assert!(!event.set());
        assert!(event.set());
        assert!(event.wait_for(0));
    }
    assert!(all.wait_for(0));
    assert!(!one.wait_for(0));
    all.clear();
    assert!(!all.wait_for(0));
    machine.leave();
}

#[test]
fn a_wait_ends_when_another_thread_sets_the_event() {
    let machine = Machine::new(1).enter();
    let (there, back) = (Event::notification(), Event::new(Type::SynchronizationEvent));
    machine.scope(|scope| {
        scope.spawn_system_thread(|| {
            there.wait();
            back.set();
        });
        there.set();
        back.wait();
    });
}

#[test]
fn of_many_that_wait_a_synchronization_event_lets_one_through() {
    let machine = Machine::new(1).enter();
    let (event, through) = (Event::new(Type::SynchronizationEvent), AtomicUsize::new(0));
    machine.scope(|scope| {
        for _ in 0..4 {
            scope.spawn_system_thread(|| {
                if event.wait_for(100) {
                    through.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        event.set();
    });
    assert_eq!(through.load(Ordering::SeqCst), 1);
}

#[test]
fn a_wait_ends_when_its_time_is_up() {
    let machine = Machine::new(1).enter();
    let start = Instant::now();
    assert!(!Event::notification().wait_for(20));
    assert!(start.elapsed() >= Duration::from_millis(20));
    // A positive timeout is a time, and that is long past.
    let mut past = nt::LARGE_INTEGER { QuadPart: 1 };
    assert_eq!(raw::wait(Event::notification().pointer(), &raw mut past), nt::STATUS_TIMEOUT);
    machine.leave();
}

#[test]
fn at_dispatch_level_events_are_set_and_asked_for() {
    let machine = Machine::new(1).enter();
    let event = Event::notification();
    at(2, || {
        event.set();
        assert!(event.wait_for(0));
    });
    at(1, || event.wait());
    machine.leave();
}

#[test]
fn irql_wait_at_dispatch_level() {
    let machine = Machine::new(1).enter();
    let event = Event::notification();
    event.set();
    breaks(&machine, Rule::IrqlWait, || {
        let _raised = raw::raised(2);
        event.wait();
    });
    breaks(&machine, Rule::IrqlWait, || {
        let _raised = raw::raised(2);
        event.wait_for(1);
    });
    breaks(&machine, Rule::IrqlWait, || {
        let _raised = raw::raised(3);
        event.wait_for(0);
    });
}

#[test]
fn irql_set_event_above_dispatch_level_or_to_wait_at_it() {
    let machine = Machine::new(1).enter();
    let event = Event::notification();
    breaks(&machine, Rule::IrqlSetEvent, || {
        let _raised = raw::raised(3);
        event.set();
    });
    breaks(&machine, Rule::IrqlSetEvent, || {
        let _raised = raw::raised(2);
        // SAFETY: initialised.
        unsafe { kernel::KeSetEvent(event.pointer(), 0, 1) };
    });
}

#[test]
fn irql_dispatch_clearing_or_reading_an_event_in_a_service_routine() {
    let machine = Machine::new(1).enter();
    let event = Event::notification();
    breaks(&machine, Rule::IrqlDispatch, || {
        let _raised = raw::raised(3);
        event.clear();
    });
    breaks(&machine, Rule::IrqlDispatch, || {
        let _raised = raw::raised(3);
        // SAFETY: initialised.
        unsafe { kernel::KeReadStateEvent(event.pointer()) };
    });
}

#[test]
fn wait_ends_nobody_sets_the_event() {
    let machine = Machine::new(1).enter();
    machine.set_patience(Duration::from_millis(50));
    let device = machine.device().build();
    let event = Event::notification();
    let report = breaks(&machine, Rule::WaitEnds, || event.wait());
    assert!(report.contains("processor 0 waits"), "{report}");
    let item = WorkItem::new(&device, |_| event.wait());
    let report = breaks(&machine, Rule::WaitEnds, || {
        item.queue();
        machine.settle();
    });
    assert!(report.contains("a work item's thread waits"), "{report}");
    item.free();
}

#[test]
fn wait_parameters_of_another_kind_of_wait() {
    let machine = Machine::new(1).enter();
    let event = Event::notification();
    let object = event.pointer().cast();
    let waits = [(Reason::UserRequest, 0, 0), (Reason::Executive, 1, 0), (Reason::Executive, 0, 1)];
    for (reason, mode, alertable) in waits {
        breaks(&machine, Rule::WaitParameters, || {
            let timeout = ptr::null_mut();
            // SAFETY: initialised.
            unsafe { kernel::KeWaitForSingleObject(object, reason, mode, alertable, timeout) };
        });
    }
}

#[test]
fn event_initialised_never_moved_or_as_something_else() {
    let machine = Machine::new(1).enter();
    let never: UnsafeCell<nt::KEVENT> = UnsafeCell::default();
    let moved = Event::notification();
    // SAFETY: the breach: an event stays where it is.
    let moved = UnsafeCell::new(unsafe { moved.pointer().read() });
    for event in [never.get(), moved.get(), ptr::null_mut()] {
        breaks(&machine, Rule::EventInitialised, || {
            // SAFETY: the breach.
            unsafe { kernel::KeSetEvent(event, 0, 0) };
        });
    }
    breaks(&machine, Rule::EventInitialised, || {
        Event::new(2);
    });
}

#[test]
fn freed_in_use_an_event_that_a_thread_waits_for() {
    let machine = Machine::new(1).enter();
    let memory = allocate(64);
    let event = memory.cast::<nt::KEVENT>();
    // SAFETY: an event fits.
    unsafe { kernel::KeInitializeEvent(event, Type::NotificationEvent, 0) };
    let (address, waits) = (event.expose_provenance(), Event::notification());
    machine.scope(|scope| {
        scope.spawn_system_thread(|| {
            waits.set();
            raw::wait(ptr::with_exposed_provenance_mut(address), ptr::null_mut());
        });
        waits.wait();
        std::thread::sleep(Duration::from_millis(20));
        let report = breaks(&machine, Rule::FreedInUse, || free(memory));
        assert!(report.contains("event"), "{report}");
        // SAFETY: initialised.
        unsafe { kernel::KeSetEvent(event, 0, 0) };
    });
    free(memory);
}

fn enter() {
    // SAFETY: no obligation but the IRQL.
    unsafe { kernel::KeEnterCriticalRegion() };
}

fn leave() {
    // SAFETY: what a test leaves that it is not in is what the verifier is to find.
    unsafe { kernel::KeLeaveCriticalRegion() };
}

#[test]
fn critical_regions_nest_and_each_thread_has_its_own() {
    let machine = Machine::new(1).enter();
    enter();
    enter();
    machine.scope(|scope| {
        scope.spawn_system_thread(|| {
            at(1, enter);
            at(1, leave);
        });
    });
    leave();
    leave();
    machine.leave();
}

#[test]
fn critical_region_left_without_being_entered_or_at_dispatch_level() {
    let machine = Machine::new(1).enter();
    breaks(&machine, Rule::CriticalRegion, leave);
    enter();
    machine.scope(|scope| {
        scope.spawn_system_thread(|| {
            breaks(&machine, Rule::CriticalRegion, leave);
        });
    });
    for call in [enter, leave] {
        breaks(&machine, Rule::CriticalRegion, || {
            let _raised = raw::raised(2);
            call();
        });
    }
    leave();
}

#[test]
fn left_behind_a_critical_region() {
    let machine = Machine::new(1).enter();
    enter();
    let left = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| machine.leave()));
    let list = left.expect_err("something is left").downcast::<String>().expect("a list");
    assert!(list.contains("1 critical regions not left"), "{list}");
}
