//! Events, and waiting for them.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use wdm_interrupt_model::{
    host::{Machine, kernel},
    nt::{self, _EVENT_TYPE as Type},
};

use super::raw::{self, Event, at};

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
