//! How interrupts reach service routines.

use std::{
    cell::{Cell, RefCell},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use wdm_interrupt_model::{
    hal::Event,
    host::{Delivery, Machine},
    nt,
};

use super::raw::{self, Service, at};

#[test]
fn a_service_routine_runs_at_its_synchronize_irql() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line_at(5, false, false).build();
    let seen = Cell::new(0);
    let service = Service::new(|_| {
        seen.set(raw::irql());
        true
    });
    let connection = raw::line(&device, &service);
    device.raise_line();
    assert_eq!(seen.get(), 5);
    connection.disconnect();
}

#[test]
fn a_lock_for_all_messages_is_taken_at_the_highest_irql_and_its_own_at_each() {
    let machine = Machine::new(1).enter();
    let device = machine.device().messages_at(&[4, 11]).build();
    let seen = RefCell::new(Vec::new());
    let service = Service::new(|_| {
        seen.borrow_mut().push(raw::irql());
        true
    });
    let lock = Cell::new(0_u64);
    for (supplied, expected) in [(lock.as_ptr(), [11, 11]), (std::ptr::null_mut(), [4, 11])] {
        let (status, connection) = raw::try_messages_with(&device, &service, |message| {
            message.SpinLock = supplied;
        });
        assert_eq!(status, nt::STATUS_SUCCESS);
        device.raise_message(0);
        device.raise_message(1);
        assert_eq!(seen.take(), expected);
        connection.disconnect();
    }
}

#[test]
fn an_interrupt_waits_for_the_irql_and_equal_ones_coalesce() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line_at(5, false, false).build();
    let calls = Cell::new(0);
    let service = Service::new(|_| {
        calls.set(calls.get() + 1);
        true
    });
    let connection = raw::line(&device, &service);
    at(5, || {
        assert_eq!(device.raise_line(), Delivery::Pending);
        assert_eq!(device.raise_line(), Delivery::Pending);
        assert_eq!(calls.get(), 0);
    });
    assert_eq!(calls.get(), 1);
    at(4, || assert_eq!(device.raise_line(), Delivery::Claimed));
    connection.disconnect();
}

#[test]
fn a_higher_interrupt_interrupts_a_service_routine() {
    let machine = Machine::new(1).enter();
    let device = machine.device().messages_at(&[4, 8]).build();
    let order = RefCell::new(Vec::new());
    let service = Service::new(|message| {
        order.borrow_mut().push((message, "in"));
        if message == Some(0) {
            assert_eq!(device.raise_message(1), Delivery::Claimed);
        }
        order.borrow_mut().push((message, "out"));
        true
    });
    let connection = raw::messages(&device, &service);
    device.raise_message(0);
    assert_eq!(
        order.take(),
        [(Some(0), "in"), (Some(1), "in"), (Some(1), "out"), (Some(0), "out")]
    );
    connection.disconnect();
}

#[test]
fn on_a_shared_level_line_routines_are_asked_until_one_claims() {
    let machine = Machine::new(1).enter();
    let first = machine.device().shareable_line().build();
    let second = machine.device().line_shared_with(&first).build();
    let third = machine.device().line_shared_with(&first).build();
    let asked = RefCell::new(Vec::new());
    let services = [("first", false), ("second", true), ("third", true)].map(|(name, claims)| {
        let asked = &asked;
        Service::new(move |_| {
            asked.borrow_mut().push(name);
            claims
        })
    });
    let connections = [&first, &second, &third].into_iter().zip(&services);
    let connections: Vec<_> = connections.map(|(device, it)| raw::line(device, it)).collect();
    assert_eq!(third.raise_line(), Delivery::Claimed);
    assert_eq!(asked.take(), ["first", "second"]);
    connections[1].disconnect();
    assert_eq!(third.raise_line(), Delivery::Claimed);
    assert_eq!(asked.take(), ["first", "third"]);
    connections[2].disconnect();
    assert_eq!(third.raise_line(), Delivery::Unclaimed);
    connections[0].disconnect();
}

#[test]
fn on_a_shared_edge_line_routines_are_asked_until_none_claims() {
    let machine = Machine::new(1).enter();
    let first = machine.device().line_at(6, true, true).build();
    let second = machine.device().line_shared_with(&first).build();
    let (work, asked) = (Cell::new(2), Cell::new(0));
    let busy = Service::new(|_| {
        asked.set(asked.get() + 1);
        let left = work.get();
        work.set(if left > 0 { left - 1 } else { 0 });
        left > 0
    });
    let idle = Service::new(|_| {
        asked.set(asked.get() + 1);
        false
    });
    let connections = [raw::line(&first, &busy), raw::line(&second, &idle)];
    assert_eq!(first.raise_line(), Delivery::Claimed);
    assert_eq!(asked.get(), 6, "three rounds of two");
    for connection in connections {
        connection.disconnect();
    }
}

#[test]
fn one_lock_for_all_messages_keeps_them_apart_and_own_locks_do_not() {
    let machine = Machine::new(2).enter();
    let device = machine.device().messages_at(&[6, 6]).build();
    for supplied in [true, false] {
        let (inside, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let service = Service::new(|_| {
            let now = inside.fetch_add(1, Ordering::SeqCst) + 1;
            most.fetch_max(now, Ordering::SeqCst);
            // A lock keeps the other out for as long as anyone looks; else it comes some time.
            for _ in 0..if supplied { 20 } else { 10_000 } {
                if most.load(Ordering::SeqCst) == 2 {
                    break;
                }
                thread::sleep(Duration::from_millis(1));
            }
            inside.fetch_sub(1, Ordering::SeqCst);
            true
        });
        let mut lock = 0_u64;
        let lock = &raw mut lock;
        let (_, connection) = raw::try_messages_with(&device, &service, |message| {
            message.SpinLock = if supplied { lock } else { std::ptr::null_mut() };
        });
        let ready = AtomicUsize::new(0);
        let (device, ready) = (&device, &ready);
        machine.scope(|scope| {
            scope.spawn(1, move || {
                ready.fetch_add(1, Ordering::SeqCst);
                while ready.load(Ordering::SeqCst) < 2 {}
                device.raise_message(1);
            });
            while ready.load(Ordering::SeqCst) < 1 {}
            ready.fetch_add(1, Ordering::SeqCst);
            device.raise_message(0);
        });
        assert_eq!(most.load(Ordering::SeqCst), if supplied { 1 } else { 2 });
        connection.disconnect();
    }
}

#[test]
fn disconnecting_waits_for_a_service_routine_on_another_processor() {
    let machine = Machine::new(2).enter();
    let device = machine.device().line().build();
    let (entered, left) = (AtomicBool::new(false), AtomicBool::new(false));
    let service = Service::new(|_| {
        entered.store(true, Ordering::SeqCst);
        thread::sleep(Duration::from_millis(50));
        left.store(true, Ordering::SeqCst);
        true
    });
    let connection = raw::line(&device, &service);
    machine.scope(|scope| {
        scope.spawn(1, || {
            device.raise_line();
        });
        while !entered.load(Ordering::SeqCst) {
            std::hint::spin_loop();
        }
        connection.disconnect();
        assert!(left.load(Ordering::SeqCst));
    });
}

#[test]
fn an_interrupt_for_a_processor_that_no_thread_is_is_served_in_its_name() {
    let machine = Machine::new(2).enter();
    let device = machine.device().line().build();
    let service = Service::new(|_| true);
    let connection = raw::line(&device, &service);
    assert_eq!(device.raise_on(1, 0), Delivery::Pending);
    let served = |event: &Event| matches!(event, Event::IsrLeft { claimed: true, .. });
    assert_eq!(machine.events().iter().filter(|event| served(event)).count(), 1);
    // At raised IRQL this processor may hold a lock that the other would wait for.
    at(2, || device.raise_on(1, 0));
    raw::irql();
    assert_eq!(machine.events().iter().filter(|event| served(event)).count(), 2);
    connection.disconnect();
}

#[test]
fn an_asserted_line_interrupts_until_it_is_deasserted_and_as_soon_as_it_is_connected() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let calls = Cell::new(0);
    let service = Service::new(|_| {
        calls.set(calls.get() + 1);
        if calls.get() % 3 == 0 {
            device.deassert_line();
        }
        true
    });
    assert_eq!(device.assert_line(), Delivery::NotConnected);
    let connection = raw::line(&device, &service);
    machine.poll();
    assert_eq!(calls.get(), 3);
    assert_eq!(device.assert_line(), Delivery::Claimed);
    assert_eq!(calls.get(), 6);
    connection.disconnect();
}

#[test]
fn an_inactive_interrupt_is_not_served() {
    let machine = Machine::new(1).enter();
    let device = machine.device().messages(2).build();
    let service = Service::new(|_| true);
    let connection = raw::messages(&device, &service);
    connection.report(false);
    connection.report(false);
    assert_eq!(device.raise_message(1), Delivery::Unclaimed);
    connection.report(true);
    assert_eq!(device.raise_message(1), Delivery::Claimed);
    connection.report(false);
    connection.disconnect();
}

#[test]
fn a_failed_assertion_in_a_service_routine_is_a_panic_and_no_more() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let fails = Cell::new(true);
    let service = Service::new(|_| {
        assert!(!fails.replace(false), "the test's own assertion");
        true
    });
    let connection = raw::line(&device, &service);
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| device.raise_line()));
    assert!(panic.is_err());
    assert_eq!(raw::irql(), 0);
    assert_eq!(device.raise_line(), Delivery::Claimed);
    connection.disconnect();
}

#[test]
fn what_happens_is_recorded_in_order() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let service = Service::new(|_| true);
    let connection = raw::line(&device, &service);
    device.raise_line();
    connection.disconnect();
    let (vector, irql, message) = (0x90, 9, None);
    let version = nt::CONNECT_LINE_BASED;
    assert_eq!(
        machine.events(),
        [
            Event::ConnectEntered { version },
            Event::Connected { vector, irql, message },
            Event::ConnectLeft { version, status: nt::STATUS_SUCCESS },
            Event::Irql { from: 0, to: irql },
            Event::IsrEntered { vector, message, irql },
            Event::IsrLeft { vector, claimed: true },
            Event::Irql { from: irql, to: 0 },
            Event::DisconnectEntered { version },
            Event::Disconnected { vector },
            Event::DisconnectLeft,
        ]
    );
}
