//! Events, waits, critical regions.

use std::{cell::UnsafeCell, ptr, time::Duration};

use wdm_interrupt_model::{
    Rule,
    host::{Machine, kernel},
    nt::{self, _KWAIT_REASON as Reason},
    report::Object,
};

use super::{
    super::{
        broken::{breaks, verifier},
        raw::{self, Event, WorkItem, allocate, free, raised},
    },
    freed_pool, pool,
};

const WAIT: &str = "KeWaitForSingleObject";

fn named(event: *const nt::KEVENT) -> Object {
    Object::Event { address: event.addr() }
}

fn set(event: *mut nt::KEVENT) {
    // SAFETY: what a test sets that it must not is what the verifier is to find.
    unsafe { kernel::KeSetEvent(event, 0, 0) };
}

fn initialize(event: *mut nt::KEVENT, kind: nt::EVENT_TYPE) {
    // SAFETY: as above.
    unsafe { kernel::KeInitializeEvent(event, kind, 0) };
}

#[test]
fn wait_ends_nobody_sets_the_event() {
    let machine = Machine::new(1).enter();
    machine.set_patience(Duration::from_millis(50));
    let device = machine.device().build();
    let event = Event::notification();
    let objects = [named(event.pointer())];
    let report = breaks(&machine, Rule::WaitEnds, || event.wait()).is(WAIT, 0, None, &objects);
    assert!(report.text.contains("processor 0 waits"), "{report}");
    let item = WorkItem::new(&device, |_| event.wait());
    let report = breaks(&machine, Rule::WaitEnds, || {
        item.queue();
        machine.settle();
    });
    let report = report.is(WAIT, 0, None, &objects);
    assert!(report.text.contains("a work item's thread waits"), "{report}");
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
        })
        .is(WAIT, 0, None, &[named(event.pointer())]);
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
        let report = breaks(&machine, Rule::EventInitialised, || set(event));
        report.is("KeSetEvent", 0, None, &[named(event)]);
    }
    let report = breaks(&machine, Rule::EventInitialised, || initialize(never.get(), 2));
    report.is("KeInitializeEvent", 0, None, &[named(never.get())]);
}

#[test]
fn resident_an_event_in_paged_or_freed_memory() {
    let machine = Machine::new(1).enter();
    let notification = nt::_EVENT_TYPE::NotificationEvent;
    // SAFETY: no obligation.
    let paged = unsafe { kernel::ExAllocatePool2(nt::POOL_FLAG_PAGED, 64, raw::TAG) };
    let event = paged.cast::<nt::KEVENT>();
    breaks(&machine, Rule::Resident, || initialize(event, notification)).is(
        "KeInitializeEvent",
        0,
        verifier([0xE1, event.addr() as u64, 0, 0]),
        &[named(event), pool(paged, 64)],
    );
    free(paged);
    let freed = allocate(64);
    let event = freed.cast::<nt::KEVENT>();
    initialize(event, notification);
    free(freed);
    breaks(&machine, Rule::Resident, || set(event)).is(
        "KeSetEvent",
        0,
        verifier([0xE1, event.addr() as u64, 0, 0]),
        &[named(event), freed_pool(freed, 64)],
    );
}

#[test]
fn freed_in_use_an_event_that_a_thread_waits_for() {
    let machine = Machine::new(1).enter();
    let memory = allocate(64);
    let event = memory.cast::<nt::KEVENT>();
    initialize(event, nt::_EVENT_TYPE::NotificationEvent);
    let (address, waits) = (event.expose_provenance(), Event::notification());
    machine.scope(|scope| {
        scope.spawn_system_thread(|| {
            waits.set();
            raw::wait(ptr::with_exposed_provenance_mut(address), ptr::null_mut());
        });
        waits.wait();
        std::thread::sleep(Duration::from_millis(20));
        let report = breaks(&machine, Rule::FreedInUse, || free(memory));
        set(event);
        report.is("ExFreePoolWithTag", 0, None, &[pool(memory, 64), named(event)]);
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
fn critical_region_left_without_being_entered_or_at_dispatch_level() {
    const LEAVE: &str = "KeLeaveCriticalRegion";
    let machine = Machine::new(1).enter();
    let stopped = verifier([0x3E, 0, 0, 0]);
    breaks(&machine, Rule::CriticalRegion, leave).is(LEAVE, 0, stopped, &[]);
    enter();
    machine.scope(|scope| {
        scope.spawn_system_thread(|| {
            breaks(&machine, Rule::CriticalRegion, leave).is(LEAVE, 0, stopped, &[]);
        });
    });
    for (name, call, kind) in
        [("KeEnterCriticalRegion", enter as fn(), 0x11A), (LEAVE, leave, 0x11B)]
    {
        breaks(&machine, Rule::CriticalRegion, || {
            let _raised = raised(2);
            call();
        })
        .is(name, 2, verifier([kind, 2, 0, 0]), &[]);
    }
    leave();
}
