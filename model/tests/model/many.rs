//! Devices with many messages, and connects of which a part fails.

use std::{
    cell::{Cell, RefCell},
    ptr,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use wdm_interrupt_model::{
    executive::{Call, Fault},
    host::{Delivery, Machine},
    nt,
};

use super::raw::{self, Service};

const MOST: usize = 2048;

#[test]
fn a_device_can_have_2048_messages() {
    let machine = Machine::new(1).enter();
    let irqls: Vec<_> = (3..=12).cycle().take(MOST).collect();
    let device = machine.device().messages_at(&irqls).build();
    let served: Vec<_> = (0..MOST).map(|_| AtomicU32::new(0)).collect();
    let service = Service::new(|message| {
        let message = message.expect("a message") as usize;
        // Without a lock for all, each has its own and is served at its own IRQL.
        assert_eq!(raw::irql(), irqls[message]);
        served[message].fetch_add(1, Ordering::Relaxed);
        true
    });
    let start = Instant::now();
    let connection = raw::messages(&device, &service);
    assert!(start.elapsed() < Duration::from_millis(500), "{:?}", start.elapsed());
    let entries = connection.entries();
    assert_eq!(entries.iter().map(|entry| entry.Irql).collect::<Vec<_>>(), irqls);
    let vectors: std::collections::BTreeSet<_> = entries.iter().map(|it| it.Vector).collect();
    assert_eq!(vectors.len(), MOST);
    // SAFETY: a table.
    assert_eq!(unsafe { (*connection.table()).UnifiedIrql }, 12);
    for message in 0..MOST {
        assert_eq!(device.raise_message(message), Delivery::Claimed);
    }
    assert!(served.iter().all(|served| served.load(Ordering::Relaxed) == 1));
    let last = entries[MOST - 1].InterruptObject;
    raw::synchronize(last, || assert_eq!(raw::irql(), irqls[MOST - 1]));
    connection.disconnect();
    assert_eq!(device.raise_message(MOST - 1), Delivery::NotConnected);
}

#[test]
fn all_2048_can_have_one_irql_and_one_lock_and_wait_for_it() {
    let machine = Machine::new(1).enter();
    let device = machine.device().messages_at(&[7; MOST]).build();
    let calls = Cell::new(0);
    let service = Service::new(|_| {
        calls.set(calls.get() + 1);
        true
    });
    let lock = Cell::new(0_u64);
    let (status, connection) =
        raw::try_messages_with(&device, &service, |it| it.SpinLock = lock.as_ptr());
    assert_eq!(status, nt::STATUS_SUCCESS);
    raw::synchronize(connection.entries()[0].InterruptObject, || {
        for message in 0..MOST {
            assert_eq!(device.raise_message(message), Delivery::Pending);
        }
        assert_eq!(calls.get(), 0);
    });
    assert_eq!(calls.get(), MOST);
    connection.disconnect();
    // After a rebalance their vectors are others.
    let before = device.interrupts();
    device.stop();
    device.start();
    let after = device.interrupts();
    assert!(before.iter().zip(&after).all(|(before, after)| before.vector() != after.vector()));
}

#[test]
fn fewer_or_more_messages_than_the_resource_list_promises() {
    let machine = Machine::new(1).enter();
    for (promised, connected) in [(8, 5), (8, 1), (3, 5), (40, 64)] {
        let device = machine.device().messages(promised).assigned_messages(connected).build();
        let seen = RefCell::new(Vec::new());
        let service = Service::new(|message| {
            seen.borrow_mut().extend(message);
            true
        });
        let connection = raw::messages(&device, &service);
        assert_eq!(connection.message_count() as usize, connected);
        for message in 0..connected {
            assert_eq!(device.raise_message(message), Delivery::Claimed);
        }
        assert_eq!(seen.take().len(), connected);
        connection.disconnect();
    }
}

#[test]
fn a_connect_can_fail_at_each_of_its_messages_after_those_before_it_were_served() {
    let machine = Machine::new(1).enter();
    machine.interrupt_during_connect(true);
    let device = machine.device().messages(5).build();
    for live in 0..5 {
        let seen = RefCell::new(Vec::new());
        let service = Service::new(|message| {
            seen.borrow_mut().extend(message);
            true
        });
        let status = nt::STATUS_INSUFFICIENT_RESOURCES;
        machine.fail(Call::IoConnectInterruptEx, 0, Fault::StatusAt { interrupt: live, status });
        let (returned, _) = raw::try_messages_with(&device, &service, |_| ());
        assert_eq!(returned, status);
        assert_eq!(seen.take(), (0..5).take(live).collect::<Vec<_>>());
        assert_eq!(device.raise_message(0), Delivery::NotConnected);
    }
}

#[test]
fn of_several_connects_any_can_be_made_to_fail() {
    let machine = Machine::new(1).enter();
    let device = machine.device().messages_at(&[4, 6, 8]).build();
    let service = Service::new(|_| true);
    for failing in 0..3 {
        machine.fail(Call::IoConnectInterruptEx, failing, nt::STATUS_NOT_FOUND);
        let connect =
            |index| raw::try_full(&device, index, &service, nt::CONNECT_FULLY_SPECIFIED, |_| ());
        for (index, (status, connection)) in (0..3).map(connect).enumerate() {
            assert_eq!(status != nt::STATUS_SUCCESS, index == failing);
            if status == nt::STATUS_SUCCESS {
                connection.disconnect();
            }
        }
    }
}

#[test]
fn a_connect_that_fails_late_leaves_nothing_of_a_line_either() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().line().build();
    let service = Service::new(|_| true);
    let status = nt::STATUS_INSUFFICIENT_RESOURCES;
    machine.fail(Call::IoConnectInterruptEx, 0, Fault::StatusAt { interrupt: 1, status });
    assert_eq!(raw::try_line(&device, &service, ptr::null_mut()).0, status);
    assert_eq!(device.raise(0), Delivery::NotConnected);
    assert_eq!(device.raise(1), Delivery::NotConnected);
}
