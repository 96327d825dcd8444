//! Interrupts that are served at `PASSIVE_LEVEL`.

use std::{
    cell::Cell,
    ptr,
    sync::atomic::{AtomicU8, AtomicUsize, Ordering},
};

use wdm_interrupt_model::{
    Rule,
    host::{Delivery, Machine, kernel},
    nt,
    report::Object,
};

use super::{
    broken::{breaks, stop},
    raw::{self, Connection, Event, Outcome, Service},
};

/// Counts how many service routines run, and how many ran at once.
#[derive(Default)]
struct Census {
    calls: AtomicUsize,
    inside: AtomicUsize,
    most: AtomicUsize,
}

impl Census {
    fn enter(&self) -> Inside<'_> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let inside = self.inside.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(inside, Ordering::SeqCst);
        Inside(self)
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    fn inside(&self) -> usize {
        self.inside.load(Ordering::SeqCst)
    }

    fn most(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }
}

struct Inside<'a>(&'a Census);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.inside.fetch_sub(1, Ordering::SeqCst);
    }
}

fn thread_id() -> usize {
    // SAFETY: no obligation.
    unsafe { kernel::PsGetCurrentThreadId() }.addr()
}

#[test]
fn a_passive_service_routine_runs_at_passive_level_in_another_thread() {
    let machine = Machine::new(1).enter();
    let device = machine.device().passive_line().build();
    let (irql, thread) = (AtomicU8::new(9), AtomicUsize::new(0));
    let service = Service::new(|_| {
        irql.store(raw::irql(), Ordering::SeqCst);
        thread.store(thread_id(), Ordering::SeqCst);
        true
    });
    let by_line = || raw::line(&device, &service);
    let in_full = || raw::full(&device, 0, &service);
    for connect in [&by_line as &dyn Fn() -> Connection, &in_full] {
        let connection = connect();
        irql.store(9, Ordering::SeqCst);
        assert_eq!(device.raise_line(), Delivery::Pending);
        machine.settle();
        assert_eq!(irql.load(Ordering::SeqCst), 0);
        assert_ne!(thread.load(Ordering::SeqCst), thread_id());
        connection.disconnect();
        assert_eq!(device.raise_line(), Delivery::NotConnected);
    }
}

#[test]
fn a_spin_lock_for_a_passive_interrupt_is_refused() {
    let machine = Machine::new(1).enter();
    let lock = Cell::new(0_u64);
    let line = machine.device().passive_line().build();
    let message = machine.device().messages_at(&[5]).build();
    let service = Service::new(|_| true);
    let full = |change: fn(&mut nt::IO_CONNECT_INTERRUPT_FULLY_SPECIFIED_PARAMETERS)| {
        raw::try_full(&line, 0, &service, nt::CONNECT_FULLY_SPECIFIED, |full| {
            full.SpinLock = lock.as_ptr();
            change(full);
        })
    };
    let version = nt::CONNECT_MESSAGE_BASED_PASSIVE;
    let outcomes: [Outcome; 3] = [
        raw::try_line(&line, &service, lock.as_ptr()),
        full(|_| ()),
        raw::try_messages_of(version, &message, &service, |it| it.SpinLock = lock.as_ptr()),
    ];
    for (status, _) in outcomes {
        assert_eq!(status, nt::STATUS_INVALID_PARAMETER);
    }
    let (status, _) = raw::try_full(&line, 0, &service, nt::CONNECT_FULLY_SPECIFIED, |full| {
        full.SynchronizeIrql = 5;
    });
    assert_eq!(status, nt::STATUS_INVALID_PARAMETER);
}

#[test]
fn a_kernel_that_does_not_check_connects_it_without_the_lock() {
    let machine = Machine::new(1).enter();
    machine.ignore_passive_lock(true);
    let device = machine.device().passive_line().build();
    let lock = Cell::new(0_u64);
    let held = AtomicUsize::new(9);
    let word = lock.as_ptr().expose_provenance();
    let service = Service::new(|_| {
        let word = ptr::with_exposed_provenance::<u64>(word);
        // SAFETY: nobody writes to it: it is no interrupt's lock.
        held.store(usize::try_from(unsafe { word.read() }).unwrap_or(9), Ordering::SeqCst);
        raw::irql() == 0
    });
    let (status, connection) = raw::try_line(&device, &service, lock.as_ptr());
    assert_eq!(status, nt::STATUS_SUCCESS);
    device.raise_line();
    machine.settle();
    assert_eq!(held.load(Ordering::SeqCst), 0);
    raw::synchronize(connection.object(), || assert_eq!(raw::irql(), 0));
    connection.disconnect();
}

#[test]
fn it_is_masked_until_it_has_returned_and_then_served_again() {
    let machine = Machine::new(1).enter();
    let device = machine.device().passive_line().build();
    let (census, go_on) = (Census::default(), Event::notification());
    let service = Service::new(|_| {
        let _inside = census.enter();
        go_on.wait();
        true
    });
    let connection = raw::line(&device, &service);
    device.raise_line();
    machine.wait_until(|| census.inside() == 1);
    for _ in 0..3 {
        assert_eq!(device.raise_line(), Delivery::Pending);
    }
    go_on.set();
    machine.settle();
    // Equal interrupts coalesce.
    assert_eq!((census.calls(), census.most()), (2, 1));
    connection.disconnect();
}

#[test]
fn a_level_that_stays_asserted_is_served_until_it_is_not() {
    let machine = Machine::new(1).enter();
    let device = machine.device().passive_line().build();
    let calls = AtomicUsize::new(0);
    let service = Service::new(|_| {
        if calls.fetch_add(1, Ordering::SeqCst) == 4 {
            device.deassert_line();
        }
        true
    });
    // It is asserted before anything is connected.
    assert_eq!(device.assert_line(), Delivery::NotConnected);
    let connection = raw::line(&device, &service);
    machine.settle();
    assert_eq!(calls.load(Ordering::SeqCst), 5);
    connection.disconnect();
}

#[test]
fn two_passive_lines_of_one_connect_have_a_lock_each() {
    let machine = Machine::new(1).enter();
    let device = machine.device().passive_line().passive_line().build();
    let census = Census::default();
    let service = Service::new(|_| {
        let _inside = census.enter();
        machine.wait_until(|| census.most() == 2);
        true
    });
    let connection = raw::line(&device, &service);
    device.raise(0);
    device.raise(1);
    machine.settle();
    assert_eq!(census.most(), 2);
    // The one interrupt object that is returned is that of the first line.
    let calls = census.calls();
    raw::synchronize(connection.object(), || {
        device.raise(1);
        machine.wait_until(|| census.calls() == calls + 1);
        assert_eq!(device.raise(0), Delivery::Pending);
        assert!(!Event::notification().wait_for(20));
        assert_eq!(census.calls(), calls + 1);
    });
    machine.settle();
    assert_eq!(census.calls(), calls + 2);
    connection.disconnect();
}

#[test]
fn two_ordinary_lines_have_a_lock_each_unless_one_is_supplied() {
    let machine = Machine::new(2).enter();
    let device = machine.device().line_at(5, false, false).line_at(7, false, false).build();
    for supplied in [false, true] {
        let (census, irqls) = (Census::default(), [AtomicU8::new(0), AtomicU8::new(0)]);
        let service = Service::new(|_| {
            let _inside = census.enter();
            let turn = census.calls() - 1;
            irqls[turn.min(1)].store(raw::irql(), Ordering::SeqCst);
            // The lock keeps the other out for as long as anyone looks.
            for _ in 0..if supplied { 20 } else { 10_000 } {
                if census.most() == 2 {
                    break;
                }
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            true
        });
        let lock = Cell::new(0_u64);
        let word = if supplied { lock.as_ptr() } else { ptr::null_mut() };
        let (status, connection) = raw::try_line(&device, &service, word);
        assert_eq!(status, nt::STATUS_SUCCESS);
        machine.scope(|scope| {
            scope.spawn(1, || {
                device.raise(1);
            });
            device.raise(0);
        });
        assert_eq!(census.most(), if supplied { 1 } else { 2 });
        let mut irqls = irqls.each_ref().map(|irql| irql.load(Ordering::SeqCst));
        irqls.sort_unstable();
        assert_eq!(irqls, if supplied { [7, 7] } else { [5, 7] });
        connection.disconnect();
    }
}

#[test]
fn an_ordinary_line_asked_for_with_zeroes_is_served_at_its_irql() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let service = Service::new(|_| raw::irql() == 9);
    let connection = raw::line(&device, &service);
    assert_eq!(device.raise_line(), Delivery::Claimed);
    connection.disconnect();
}

#[test]
fn any_line_is_passive_when_it_is_asked_for_so_in_full() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let claimed = AtomicUsize::new(0);
    let service = Service::new(|_| {
        claimed.fetch_add(usize::from(raw::irql() == 0), Ordering::SeqCst);
        true
    });
    let (status, connection) =
        raw::try_full(&device, 0, &service, nt::CONNECT_FULLY_SPECIFIED, |full| {
            full.Irql = 0;
            full.SynchronizeIrql = 0;
        });
    assert_eq!(status, nt::STATUS_SUCCESS);
    assert_eq!(device.raise_line(), Delivery::Pending);
    machine.settle();
    assert_eq!(claimed.load(Ordering::SeqCst), 1);
    connection.disconnect();
}

#[test]
fn a_passive_routine_shares_its_line_with_passive_ones_only() {
    let machine = Machine::new(1).enter();
    let first = machine.device().shareable_line().build();
    let second = machine.device().line_shared_with(&first).build();
    let service = Service::new(|_| true);
    let passive = |device| {
        raw::try_full(device, 0, &service, nt::CONNECT_FULLY_SPECIFIED, |full| {
            full.Irql = 0;
            full.SynchronizeIrql = 0;
        })
    };
    let connection = raw::line(&first, &service);
    assert_eq!(passive(&second).0, nt::STATUS_INVALID_PARAMETER);
    connection.disconnect();
    let connections = [passive(&first), passive(&second)];
    for (status, connection) in connections {
        assert_eq!(status, nt::STATUS_SUCCESS);
        connection.disconnect();
    }
}

#[test]
fn passive_messages_return_their_own_version_and_a_table() {
    let machine = Machine::new(1).enter();
    let device = machine.device().messages_at(&[4, 11]).build();
    let served = [AtomicUsize::new(0), AtomicUsize::new(0)];
    let service = Service::new(|message| {
        let message = message.expect("a message") as usize;
        served[message].fetch_add(usize::from(raw::irql() == 0), Ordering::SeqCst);
        true
    });
    let version = nt::CONNECT_MESSAGE_BASED_PASSIVE;
    let (status, connection) = raw::try_messages_of(version, &device, &service, |_| ());
    assert_eq!((status, connection.version), (nt::STATUS_SUCCESS, version));
    assert_eq!(connection.entries().iter().map(|it| it.Irql).collect::<Vec<_>>(), [0, 0]);
    // SAFETY: a table.
    assert_eq!(unsafe { (*connection.table()).UnifiedIrql }, 0);
    assert_eq!(device.raise_message(0), Delivery::Pending);
    device.raise_message(1);
    machine.settle();
    assert!(served.iter().all(|served| served.load(Ordering::SeqCst) == 1));
    breaks(&machine, Rule::DisconnectVersion, || {
        Connection { version: nt::CONNECT_MESSAGE_BASED, ..connection }.disconnect();
    })
    .is(
        "IoDisconnectInterruptEx",
        0,
        stop(0xCA, [0x9, nt::CONNECT_MESSAGE_BASED.into(), 0, 0]),
        &[Object::MessageTable { address: connection.context.addr() }],
    );
    connection.disconnect();
}

#[test]
fn passive_messages_fall_back_to_the_line_at_its_own_irql() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let service = Service::new(|message| message.is_none() && raw::irql() == 9);
    let version = nt::CONNECT_MESSAGE_BASED_PASSIVE;
    let (status, connection) = raw::try_messages_of(version, &device, &service, |_| ());
    assert_eq!((status, connection.version), (nt::STATUS_SUCCESS, nt::CONNECT_LINE_BASED));
    assert_eq!(device.raise_line(), Delivery::Claimed);
    connection.disconnect();
}

#[test]
fn a_passive_routine_can_run_before_connecting_and_while_disconnecting() {
    let machine = Machine::new(1).enter();
    machine.interrupt_during_connect(true);
    machine.interrupt_during_disconnect(true);
    let device = machine.device().passive_line().build();
    let calls = AtomicUsize::new(0);
    let service = Service::new(|_| {
        calls.fetch_add(1, Ordering::SeqCst);
        true
    });
    let connection = raw::line(&device, &service);
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    connection.disconnect();
    assert_eq!(calls.load(Ordering::SeqCst), 2);
}

#[test]
fn disconnecting_waits_for_a_passive_routine_that_runs() {
    let machine = Machine::new(1).enter();
    let device = machine.device().passive_line().build();
    let (census, go_on) = (Census::default(), Event::notification());
    let service = Service::new(|_| {
        let _inside = census.enter();
        go_on.wait_for(50);
        true
    });
    let connection = raw::line(&device, &service);
    device.raise_line();
    machine.wait_until(|| census.inside() == 1);
    connection.disconnect();
    assert_eq!(census.inside(), 0);
}

#[test]
fn synchronising_with_a_passive_interrupt_from_above_breaks_a_rule() {
    let machine = Machine::new(1).enter();
    let device = machine.device().passive_line().build();
    let service = Service::new(|_| true);
    let connection = raw::line(&device, &service);
    let vector = device.interrupts()[0].vector();
    let objects = [Object::Interrupt { address: connection.context.addr(), vector }];
    for irql in [1, 2] {
        breaks(&machine, Rule::SynchronizeIrql, || {
            let _raised = raw::raised(irql);
            raw::synchronize(connection.object(), || ());
        })
        .is("KeSynchronizeExecution", irql, None, &objects);
    }
    connection.disconnect();
}

#[test]
fn a_dpc_may_run_while_the_event_lock_is_held() {
    let machine = Machine::new(1).enter();
    let device = machine.device().passive_line().build();
    let service = Service::new(|_| true);
    let ran = Cell::new(false);
    let dpc = raw::Dpc::new(|_, _| ran.set(true));
    let connection = raw::line(&device, &service);
    raw::synchronize(connection.object(), || {
        dpc.queue();
        assert!(ran.get());
    });
    connection.disconnect();
}

#[test]
fn a_failed_assertion_in_a_passive_routine_fails_the_test() {
    let machine = Machine::new(1).enter();
    let device = machine.device().passive_line().build();
    let service = Service::new(|_| panic!("the test's own"));
    let connection = raw::line(&device, &service);
    device.raise_line();
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| machine.settle()));
    let panic = outcome.expect_err("it is passed on").downcast::<&str>().expect("its message");
    assert_eq!(*panic, "the test's own");
    connection.disconnect();
}
