//! Spin locks, a driver's own and those of interrupts.

use std::{
    cell::Cell,
    panic::{AssertUnwindSafe, catch_unwind},
    ptr,
    sync::{
        Barrier,
        atomic::{AtomicBool, Ordering},
    },
};

use wdm_interrupt_model::{
    BugCheck, Rule,
    host::{Machine, kernel},
    nt,
    report::Object,
};

use super::{
    super::{
        broken::{breaks, stop, verifier},
        raw::{self, Connection, Lower, Service, allocate, free, raised},
    },
    DISPATCH_LEVEL, LINE, address, claims, freed_pool, interrupt, pool, spin_lock,
};

#[test]
fn synchronize_irql_calling_from_above() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line_at(5, false, false).build();
    let service = claims();
    let connection = raw::line(&device, &service);
    let objects = [interrupt(connection, device.interrupts()[0].vector())];
    breaks(&machine, Rule::SynchronizeIrql, || {
        let _raised = raised(6);
        raw::synchronize(connection.object(), || ());
    })
    .is("KeSynchronizeExecution", 6, None, &objects);
    breaks(&machine, Rule::SynchronizeIrql, || {
        let _raised = raised(6);
        // SAFETY: connected.
        unsafe { kernel::KeAcquireInterruptSpinLock(connection.object()) };
    })
    .is("KeAcquireInterruptSpinLock", 6, None, &objects);
    connection.disconnect();
}

#[test]
fn deadlock_synchronising_inside_the_service_routine() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let connection = Cell::new(None::<Connection>);
    let lock = Cell::new(0_u64);
    let service = Service::new(|_| {
        raw::synchronize(connection.get().expect("connected").object(), || ());
        true
    });
    let (_, connected) = raw::try_line(&device, &service, lock.as_ptr());
    connection.set(Some(connected));
    breaks(&machine, Rule::Deadlock, || {
        device.raise_line();
    })
    .is(
        "KeSynchronizeExecution",
        LINE.0,
        verifier([0x1000, address(lock.as_ptr()), 0, 0]),
        &[spin_lock(lock.as_ptr())],
    );
    connected.disconnect();
}

#[test]
fn deadlock_acquiring_a_spin_lock_twice() {
    let machine = Machine::new(1).enter();
    let lock = Cell::new(0_u64);
    // SAFETY: the lock is in place.
    let before = unsafe { kernel::KeAcquireSpinLockRaiseToDpc(lock.as_ptr()) };
    breaks(&machine, Rule::Deadlock, || {
        // SAFETY: the breach.
        unsafe { kernel::KeAcquireSpinLockAtDpcLevel(lock.as_ptr()) };
    })
    .is(
        "KeAcquireSpinLockAtDpcLevel",
        DISPATCH_LEVEL,
        verifier([0x1000, address(lock.as_ptr()), 0, 0]),
        &[spin_lock(lock.as_ptr())],
    );
    // SAFETY: acquired above.
    unsafe { kernel::KeReleaseSpinLock(lock.as_ptr(), before) };
}

#[test]
fn deadlock_two_locks_in_opposite_orders() {
    let machine = Machine::new(2).enter();
    let (mut first, mut second) = (0_u64, 0_u64);
    let locks = [(&raw mut first).expose_provenance(), (&raw mut second).expose_provenance()];
    let have_one = Barrier::new(2);
    let both = |order: [usize; 2]| {
        let [one, other] = order.map(ptr::with_exposed_provenance_mut::<u64>);
        // SAFETY: the lock is in place.
        unsafe { kernel::KeAcquireSpinLockRaiseToDpc(one) };
        have_one.wait();
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            // SAFETY: the breach, on one of the two processors.
            unsafe { kernel::KeAcquireSpinLockAtDpcLevel(other) };
            // SAFETY: acquired above.
            unsafe { kernel::KeReleaseSpinLockFromDpcLevel(other) };
        }));
        // SAFETY: acquired above.
        unsafe { kernel::KeReleaseSpinLock(one, 0) };
        outcome.is_err()
    };
    let elsewhere = AtomicBool::new(false);
    let here = machine.scope(|scope| {
        scope.spawn(1, || elsewhere.store(both([locks[1], locks[0]]), Ordering::SeqCst));
        both(locks)
    });
    // Each of the two may find it out before the other has let go.
    let stopped = usize::from(here) + usize::from(elsewhere.load(Ordering::SeqCst));
    assert!(stopped >= 1);
    assert_eq!(machine.violations(), vec![Rule::Deadlock; stopped]);
    for report in machine.reports() {
        let waited_for = locks[1 - report.processor];
        let parameters = [0x1001, waited_for as u64, 0, 0];
        assert_eq!(report.bug_check, Some(BugCheck::new(0xC4, parameters)), "{report}");
        assert_eq!(report.objects, [Object::SpinLock { address: waited_for }], "{report}");
        assert_eq!((&*report.call, report.irql), ("KeAcquireSpinLockAtDpcLevel", 2), "{report}");
    }
}

#[test]
fn lock_nested_interrupt_locks() {
    let machine = Machine::new(1).enter();
    let devices = [machine.device().line().build(), machine.device().line().build()];
    let service = claims();
    let connections = [raw::line(&devices[0], &service), raw::line(&devices[1], &service)];
    // SAFETY: connected.
    let before = unsafe { kernel::KeAcquireInterruptSpinLock(connections[0].object()) };
    breaks(&machine, Rule::LockNested, || {
        // SAFETY: the breach.
        unsafe { kernel::KeAcquireInterruptSpinLock(connections[1].object()) };
    })
    .is(
        "KeAcquireInterruptSpinLock",
        LINE.0,
        None,
        &[interrupt(connections[1], devices[1].interrupts()[0].vector())],
    );
    // SAFETY: acquired above.
    unsafe { kernel::KeReleaseInterruptSpinLock(connections[0].object(), before) };
    for connection in connections {
        connection.disconnect();
    }
}

#[test]
fn lock_owner_releasing_what_is_not_held() {
    let machine = Machine::new(1).enter();
    let lock = Cell::new(0_u64);
    let (at, objects) = (address(lock.as_ptr()), [spin_lock(lock.as_ptr())]);
    breaks(&machine, Rule::LockOwner, || {
        // SAFETY: the breach.
        unsafe { kernel::KeReleaseSpinLock(lock.as_ptr(), 0) };
    })
    .is("KeReleaseSpinLock", 0, verifier([0x32, 0, at, 0]), &objects);
    breaks(&machine, Rule::LockOwner, || {
        let _raised = raised(DISPATCH_LEVEL);
        // SAFETY: the breach.
        unsafe { kernel::KeReleaseSpinLockFromDpcLevel(lock.as_ptr()) };
    })
    .is(
        "KeReleaseSpinLockFromDpcLevel",
        DISPATCH_LEVEL,
        verifier([0x1007, at, 0, 0]),
        &objects,
    );
}

#[test]
fn lock_owner_the_calls_of_dispatch_level_below_and_above_it() {
    let machine = Machine::new(1).enter();
    let lock = Cell::new(0_u64);
    let (at, objects) = (address(lock.as_ptr()), [spin_lock(lock.as_ptr())]);
    // SAFETY: the breach.
    let acquire = || unsafe { kernel::KeAcquireSpinLockAtDpcLevel(lock.as_ptr()) };
    // SAFETY: the breach.
    let release = || unsafe { kernel::KeReleaseSpinLockFromDpcLevel(lock.as_ptr()) };
    breaks(&machine, Rule::LockOwner, acquire).is(
        "KeAcquireSpinLockAtDpcLevel",
        0,
        verifier([0x40, 0, at, 0]),
        &objects,
    );
    breaks(&machine, Rule::LockOwner, release).is(
        "KeReleaseSpinLockFromDpcLevel",
        0,
        verifier([0x41, 0, at, 0]),
        &objects,
    );
    breaks(&machine, Rule::LockOwner, || {
        let _raised = raised(3);
        acquire();
    })
    .is("KeAcquireSpinLockAtDpcLevel", 3, None, &objects);
}

#[test]
fn lock_owner_releasing_what_another_processor_holds() {
    let machine = Machine::new(2).enter();
    let mut lock = 0_u64;
    let at = (&raw mut lock).expose_provenance();
    let (held, released) = (Barrier::new(2), Barrier::new(2));
    machine.scope(|scope| {
        scope.spawn(1, || {
            let lock = ptr::with_exposed_provenance_mut::<u64>(at);
            // SAFETY: the lock is in place.
            let before = unsafe { kernel::KeAcquireSpinLockRaiseToDpc(lock) };
            held.wait();
            released.wait();
            // SAFETY: acquired above.
            unsafe { kernel::KeReleaseSpinLock(lock, before) };
        });
        held.wait();
        let report = breaks(&machine, Rule::LockOwner, || {
            let _raised = raised(DISPATCH_LEVEL);
            // SAFETY: the breach.
            unsafe { kernel::KeReleaseSpinLock(ptr::with_exposed_provenance_mut(at), 0) };
        });
        released.wait();
        let objects = [Object::SpinLock { address: at }];
        report.is("KeReleaseSpinLock", DISPATCH_LEVEL, None, &objects);
    });
}

#[test]
fn lock_owner_an_interrupts_lock_at_another_irql() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let service = claims();
    let connection = raw::line(&device, &service);
    breaks(&machine, Rule::LockOwner, || {
        // SAFETY: the breach.
        unsafe { kernel::KeReleaseInterruptSpinLock(connection.object(), 0) };
    })
    .is("KeReleaseInterruptSpinLock", 0, None, &[interrupt(connection, LINE.1)]);
    connection.disconnect();
}

#[test]
fn lock_of_interrupt_acquired_as_a_spin_lock() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let service = claims();
    let lock = Cell::new(0_u64);
    let (_, connection) = raw::try_line(&device, &service, lock.as_ptr());
    breaks(&machine, Rule::LockOfInterrupt, || {
        // SAFETY: the lock is in place.
        unsafe { kernel::KeAcquireSpinLockRaiseToDpc(lock.as_ptr()) };
    })
    .is(
        "KeAcquireSpinLockRaiseToDpc",
        0,
        verifier([0x1008, address(lock.as_ptr()), 0, 0]),
        &[spin_lock(lock.as_ptr())],
    );
    connection.disconnect();
}

#[test]
fn lock_word_written_to_while_held() {
    let machine = Machine::new(1).enter();
    let lock = Cell::new(0_u64);
    breaks(&machine, Rule::LockWord, || {
        // SAFETY: the lock is in place.
        let before = unsafe { kernel::KeAcquireSpinLockRaiseToDpc(lock.as_ptr()) };
        let _lower = Lower;
        lock.set(0);
        // SAFETY: acquired above.
        unsafe { kernel::KeReleaseSpinLock(lock.as_ptr(), before) };
    })
    .is("KeReleaseSpinLock", DISPATCH_LEVEL, None, &[spin_lock(lock.as_ptr())]);
}

#[test]
fn lock_word_that_was_not_initialised() {
    let machine = Machine::new(1).enter();
    let lock = Cell::new(0xDEAD_u64);
    breaks(&machine, Rule::LockWord, || {
        // SAFETY: the breach.
        unsafe { kernel::KeAcquireSpinLockRaiseToDpc(lock.as_ptr()) };
    })
    .is(
        "KeAcquireSpinLockRaiseToDpc",
        DISPATCH_LEVEL,
        verifier([0x1002, address(lock.as_ptr()), 0, 0]),
        &[spin_lock(lock.as_ptr())],
    );
    breaks(&machine, Rule::LockWord, || {
        // SAFETY: the breach.
        unsafe { kernel::KeAcquireSpinLockRaiseToDpc(ptr::null_mut()) };
    })
    .is("KeAcquireSpinLockRaiseToDpc", 0, None, &[]);
}

#[test]
fn resident_a_spin_lock_in_paged_or_freed_memory() {
    let machine = Machine::new(1).enter();
    // SAFETY: no obligation.
    let paged = unsafe { kernel::ExAllocatePool2(nt::POOL_FLAG_PAGED, 8, raw::TAG) };
    let freed = allocate(8);
    free(freed);
    // One in freed memory is seen by its word, when the IRQL is raised already.
    let locks = [(paged, pool(paged, 8), 0), (freed, freed_pool(freed, 8), DISPATCH_LEVEL)];
    for (memory, object, irql) in locks {
        let lock = memory.cast::<u64>();
        breaks(&machine, Rule::Resident, || {
            // SAFETY: the breach.
            unsafe { kernel::KeAcquireSpinLockRaiseToDpc(lock) };
        })
        .is(
            "KeAcquireSpinLockRaiseToDpc",
            irql,
            verifier([0xE1, address(lock), 0, 0]),
            &[spin_lock(lock), object],
        );
    }
    free(paged);
}

#[test]
fn passive_interrupt_lock_acquired_as_a_spin_lock() {
    let machine = Machine::new(1).enter();
    let device = machine.device().passive_line().build();
    let service = claims();
    let connection = raw::line(&device, &service);
    let vector = device.interrupts()[0].vector();
    breaks(&machine, Rule::PassiveInterruptLock, || {
        // SAFETY: connected.
        unsafe { kernel::KeAcquireInterruptSpinLock(connection.object()) };
    })
    .is(
        "KeAcquireInterruptSpinLock",
        0,
        stop(0x13B, [0x1, connection.context.addr() as u64, 0, 0]),
        &[interrupt(connection, vector)],
    );
    connection.disconnect();
}

#[test]
fn deadlock_more_locks_than_a_processor_can_hold() {
    let machine = Machine::new(1).enter();
    machine.expect_leftovers();
    let locks: Vec<Cell<u64>> = (0..17).map(|_| Cell::new(0)).collect();
    let all = raised(DISPATCH_LEVEL);
    let (last, held) = locks.split_last().expect("17 locks");
    // SAFETY: the lock is in place.
    let acquire = |lock: &Cell<u64>| unsafe { kernel::KeAcquireSpinLockAtDpcLevel(lock.as_ptr()) };
    held.iter().for_each(acquire);
    breaks(&machine, Rule::Deadlock, || acquire(last)).is(
        "KeAcquireSpinLockAtDpcLevel",
        DISPATCH_LEVEL,
        None,
        &[spin_lock(last.as_ptr())],
    );
    for lock in held {
        // SAFETY: acquired above.
        unsafe { kernel::KeReleaseSpinLockFromDpcLevel(lock.as_ptr()) };
    }
    drop(all);
}

#[test]
fn a_service_routine_can_be_given_a_lock_of_its_drivers() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let lock = Cell::new(0_u64);
    let service = Service::new(|_| lock.get() == 1);
    let (_, connection) = raw::try_line(&device, &service, lock.as_ptr());
    device.raise_line();
    assert_eq!(lock.get(), 0);
    connection.disconnect();
    machine.leave();
}
