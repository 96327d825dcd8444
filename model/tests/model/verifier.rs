//! Each rule of the verifier, broken and found out.

use std::{
    cell::Cell,
    panic::AssertUnwindSafe,
    ptr,
    sync::{
        Barrier, Mutex, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use super::raw::{self, Dpc, Lower, Service, allocate, at, breaks, flush, free, raised};
use wdm_interrupt_model::{
    Rule,
    executive::Call,
    host::{Delivery, Machine, kernel},
    nt,
};

const DISPATCH_LEVEL: u8 = 2;

fn claims<'a>() -> Service<'a> {
    Service::new(|_| true)
}

#[test]
fn irql_passive_connecting_at_raised_irql() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let service = claims();
    breaks(&machine, Rule::IrqlPassive, || {
        // SAFETY: lowered below.
        unsafe { kernel::KfRaiseIrql(1) };
        let unlowered = Lower;
        raw::line(&device, &service);
        drop(unlowered);
    });
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
    });
    connection.disconnect();
}

#[test]
fn irql_passive_flushing_in_a_dpc() {
    let machine = Machine::new(1).enter();
    let dpc = Dpc::new(|_, _| flush());
    breaks(&machine, Rule::IrqlPassive, || {
        dpc.queue();
    });
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
    breaks(&machine, Rule::IrqlDispatch, || {
        device.raise_line();
    });
    connection.disconnect();
}

#[test]
fn irql_pool_allocating_in_a_service_routine() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let service = Service::new(|_| !allocate(8).is_null());
    let connection = raw::line(&device, &service);
    breaks(&machine, Rule::IrqlPool, || {
        device.raise_line();
    });
    connection.disconnect();
}

#[test]
fn irql_pool_freeing_at_high_level() {
    let machine = Machine::new(1).enter();
    let memory = allocate(8);
    breaks(&machine, Rule::IrqlPool, || {
        let _raised = raised(15);
        free(memory);
    });
    free(memory);
}

#[test]
fn irql_pool_paged_pool_at_dispatch_level() {
    let machine = Machine::new(1).enter();
    breaks(&machine, Rule::IrqlPool, || {
        let _raised = raised(DISPATCH_LEVEL);
        // SAFETY: no obligation.
        unsafe { kernel::ExAllocatePool2(nt::POOL_FLAG_PAGED, 8, raw::TAG) };
    });
}

#[test]
fn irql_order_raising_down_and_lowering_up() {
    let machine = Machine::new(1).enter();
    breaks(&machine, Rule::IrqlOrder, || {
        let _raised = raised(5);
        // SAFETY: the breach.
        unsafe { kernel::KfRaiseIrql(4) };
    });
    breaks(&machine, Rule::IrqlOrder, || {
        // SAFETY: the breach.
        unsafe { kernel::KeLowerIrql(4) };
    });
}

#[test]
fn irql_order_lowering_under_a_lock() {
    let machine = Machine::new(1).enter();
    let lock = Cell::new(0_u64);
    // SAFETY: the lock is in place.
    let before = unsafe { kernel::KeAcquireSpinLockRaiseToDpc(lock.as_ptr()) };
    let broken = std::panic::catch_unwind(|| {
        // SAFETY: the breach.
        unsafe { kernel::KeLowerIrql(0) };
    });
    assert!(broken.is_err());
    assert_eq!(machine.violations(), [Rule::IrqlOrder]);
    // SAFETY: acquired above.
    unsafe { kernel::KeReleaseSpinLock(lock.as_ptr(), before) };
}

type Change = fn(&mut nt::IO_CONNECT_INTERRUPT_FULLY_SPECIFIED_PARAMETERS);

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
        ("ShareVector", |full| full.ShareVector = 1),
        ("ProcessorEnableMask", |full| full.ProcessorEnableMask = 2),
        ("FloatingSave", |full| full.FloatingSave = 1),
        ("SynchronizeIrql", |full| full.SynchronizeIrql = 16),
    ];
    for (member, change) in changes {
        let report = breaks(&machine, Rule::ConnectParameters, || {
            raw::try_full(&device, 0, &service, nt::CONNECT_FULLY_SPECIFIED, change);
        });
        assert!(report.contains(member), "{member}: {report}");
    }
}

#[test]
fn connect_parameters_group_without_the_group_version() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().group(1).build();
    let service = claims();
    let report = breaks(&machine, Rule::ConnectParameters, || {
        raw::full(&device, 0, &service);
    });
    assert!(report.contains("GROUP"), "{report}");
}

#[test]
fn physical_device_the_drivers_own_device_object() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let service = claims();
    breaks(&machine, Rule::PhysicalDevice, || {
        raw::try_full(&device, 0, &service, nt::CONNECT_FULLY_SPECIFIED, |full| {
            full.PhysicalDeviceObject = ptr::without_provenance_mut(0x1000);
        });
    });
}

#[test]
fn synchronize_irql_member_below_irql() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let service = claims();
    breaks(&machine, Rule::SynchronizeIrqlMember, || {
        raw::try_full(&device, 0, &service, nt::CONNECT_FULLY_SPECIFIED, |full| {
            full.SynchronizeIrql = 0;
        });
    });
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
    breaks(&machine, Rule::SynchronizeIrqlMember, || {
        connect(1);
    });
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
    let locks =
        [uninitialised.as_ptr(), ptr::without_provenance_mut(0x1001), freed.cast(), paged.cast()];
    for lock in locks {
        breaks(&machine, Rule::SuppliedSpinLock, || {
            raw::try_line(&device, &service, lock);
        });
    }
    free(paged);
}

#[test]
fn service_context_in_freed_memory() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let service = claims();
    let freed = allocate(64);
    free(freed);
    breaks(&machine, Rule::ServiceContext, || {
        raw::try_full(&device, 0, &service, nt::CONNECT_FULLY_SPECIFIED, |full| {
            full.ServiceContext = freed;
        });
    });
}

#[test]
fn disconnect_version_not_the_returned_one() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let service = claims();
    // Asked for messages, and got the line.
    let connection = raw::messages(&device, &service);
    assert_eq!(connection.version, nt::CONNECT_LINE_BASED);
    let report = breaks(&machine, Rule::DisconnectVersion, || {
        raw::Connection { version: nt::CONNECT_MESSAGE_BASED, ..connection }.disconnect();
    });
    assert!(report.contains("0xCA"), "{report}");
    connection.disconnect();
}

#[test]
fn interrupt_object_disconnected_twice_or_never_connected() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let service = claims();
    let connection = raw::line(&device, &service);
    connection.disconnect();
    let report = breaks(&machine, Rule::InterruptObject, || connection.disconnect());
    assert!(report.contains("is disconnected"), "{report}");
    let garbage = ptr::without_provenance_mut(0xBAD0);
    for context in [ptr::null_mut(), garbage] {
        breaks(&machine, Rule::InterruptObject, || {
            raw::Connection { context, ..connection }.disconnect();
        });
    }
}

#[test]
fn interrupt_object_synchronised_with_after_disconnecting() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let service = claims();
    let connection = raw::line(&device, &service);
    connection.disconnect();
    breaks(&machine, Rule::InterruptObject, || {
        raw::synchronize(connection.object(), || ());
    });
}

#[test]
fn disconnect_inside_a_passive_service_routine() {
    let machine = Machine::new(1).enter();
    let device = machine.device().passive_line().build();
    let connection = OnceLock::new();
    let service = Service::new(|_| {
        let (version, context) = *connection.get().expect("connected");
        raw::Connection { version, context: ptr::without_provenance_mut(context) }.disconnect();
        true
    });
    let connected = raw::line(&device, &service);
    connection.set((connected.version, connected.context.addr())).expect("once");
    breaks(&machine, Rule::DisconnectInside, || {
        device.raise_line();
        machine.settle();
    });
    connected.disconnect();
}

#[test]
fn synchronize_irql_calling_from_above() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line_at(5, false, false).build();
    let service = claims();
    let connection = raw::line(&device, &service);
    breaks(&machine, Rule::SynchronizeIrql, || {
        let _raised = raised(6);
        raw::synchronize(connection.object(), || ());
    });
    breaks(&machine, Rule::SynchronizeIrql, || {
        let _raised = raised(6);
        // SAFETY: connected.
        unsafe { kernel::KeAcquireInterruptSpinLock(connection.object()) };
    });
    connection.disconnect();
}

#[test]
fn deadlock_synchronising_inside_the_service_routine() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let connection = Cell::new(None::<raw::Connection>);
    let service = Service::new(|_| {
        raw::synchronize(connection.get().expect("connected").object(), || ());
        true
    });
    connection.set(Some(raw::line(&device, &service)));
    breaks(&machine, Rule::Deadlock, || {
        device.raise_line();
    });
    connection.get().expect("connected").disconnect();
}

#[test]
fn deadlock_acquiring_a_spin_lock_twice() {
    let machine = Machine::new(1).enter();
    let lock = Cell::new(0_u64);
    // SAFETY: the lock is in place.
    let before = unsafe { kernel::KeAcquireSpinLockRaiseToDpc(lock.as_ptr()) };
    let broken = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        // SAFETY: the breach.
        unsafe { kernel::KeAcquireSpinLockAtDpcLevel(lock.as_ptr()) };
    }));
    assert!(broken.is_err());
    assert_eq!(machine.violations(), [Rule::Deadlock]);
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
        let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| {
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
}

#[test]
fn lock_nested_interrupt_locks() {
    let machine = Machine::new(1).enter();
    let devices = [machine.device().line().build(), machine.device().line().build()];
    let service = claims();
    let connections = [raw::line(&devices[0], &service), raw::line(&devices[1], &service)];
    // SAFETY: connected.
    let before = unsafe { kernel::KeAcquireInterruptSpinLock(connections[0].object()) };
    let broken = std::panic::catch_unwind(|| {
        // SAFETY: the breach.
        unsafe { kernel::KeAcquireInterruptSpinLock(connections[1].object()) };
    });
    assert!(broken.is_err());
    assert_eq!(machine.violations(), [Rule::LockNested]);
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
    breaks(&machine, Rule::LockOwner, || {
        // SAFETY: the breach.
        unsafe { kernel::KeReleaseSpinLock(lock.as_ptr(), 0) };
    });
    breaks(&machine, Rule::LockOwner, || {
        let _raised = raised(DISPATCH_LEVEL);
        // SAFETY: the breach.
        unsafe { kernel::KeReleaseSpinLockFromDpcLevel(lock.as_ptr()) };
    });
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
    });
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
    });
}

#[test]
fn passive_interrupt_lock_acquired_as_a_spin_lock() {
    let machine = Machine::new(1).enter();
    let device = machine.device().passive_line().build();
    let service = claims();
    let connection = raw::line(&device, &service);
    let report = breaks(&machine, Rule::PassiveInterruptLock, || {
        // SAFETY: connected.
        unsafe { kernel::KeAcquireInterruptSpinLock(connection.object()) };
    });
    assert!(report.contains("0x13B"), "{report}");
    connection.disconnect();
}

#[test]
fn isr_state_irql_changed() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line_at(5, false, false).build();
    let service = Service::new(|_| {
        // SAFETY: the breach.
        unsafe { kernel::KfRaiseIrql(10) };
        true
    });
    let connection = raw::line(&device, &service);
    breaks(&machine, Rule::IsrState, || {
        device.raise_line();
    });
    connection.disconnect();
}

#[test]
fn isr_state_lowering_below_its_lock_is_found_at_once() {
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
    });
    connection.disconnect();
}

#[test]
fn isr_state_and_routine_state_the_lock_was_overwritten() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let lock = Cell::new(0_u64);
    let service = Service::new(|_| {
        lock.set(0);
        true
    });
    let (_, connection) = raw::try_line(&device, &service, lock.as_ptr());
    breaks(&machine, Rule::IsrState, || {
        device.raise_line();
    });
    breaks(&machine, Rule::RoutineState, || {
        raw::synchronize(connection.object(), || lock.set(0));
    });
    connection.disconnect();
}

#[test]
fn routine_state_irql_changed() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line_at(5, false, false).build();
    let service = claims();
    let connection = raw::line(&device, &service);
    breaks(&machine, Rule::RoutineState, || {
        raw::synchronize(connection.object(), || {
            // SAFETY: the breach.
            unsafe { kernel::KfRaiseIrql(10) };
        });
    });
    connection.disconnect();
}

#[test]
fn dpc_state_returned_at_another_irql() {
    let machine = Machine::new(1).enter();
    let dpc = Dpc::new(|_, _| {
        // SAFETY: the breach.
        unsafe { kernel::KfRaiseIrql(7) };
    });
    breaks(&machine, Rule::DpcState, || {
        dpc.queue();
    });
}

#[test]
fn dpc_state_returned_with_a_lock_held() {
    let machine = Machine::new(1).enter();
    machine.expect_leftovers();
    let lock = Cell::new(0_u64);
    let dpc = Dpc::new(|_, _| {
        // SAFETY: the lock is in place.
        unsafe { kernel::KeAcquireSpinLockAtDpcLevel(lock.as_ptr()) };
    });
    breaks(&machine, Rule::DpcState, || {
        dpc.queue();
    });
}

#[test]
fn dpc_initialised_not_at_all() {
    let machine = Machine::new(1).enter();
    let mut kdpc = nt::KDPC::default();
    breaks(&machine, Rule::DpcInitialised, || {
        // SAFETY: the breach.
        unsafe { kernel::KeInsertQueueDpc(&raw mut kdpc, ptr::null_mut(), ptr::null_mut()) };
    });
}

#[test]
fn dpc_initialised_while_queued() {
    let machine = Machine::new(1).enter();
    machine.hold_dpcs(true);
    let dpc = Dpc::new(|_, _| ());
    dpc.queue();
    breaks(&machine, Rule::DpcInitialised, || {
        // SAFETY: the breach.
        unsafe {
            kernel::KeInitializeDpc(dpc.pointer(), Some(raw::deferred_routine), ptr::null_mut());
        }
    });
    flush();
}

#[test]
fn dpc_overwritten_while_queued() {
    let machine = Machine::new(1).enter();
    machine.hold_dpcs(true);
    let dpc = Dpc::new(|_, _| ());
    dpc.queue();
    // SAFETY: the breach.
    unsafe { dpc.pointer().write(nt::KDPC::default()) };
    breaks(&machine, Rule::DpcOverwritten, flush);
}

#[test]
fn freed_in_use_a_queued_dpc() {
    let machine = Machine::new(1).enter();
    machine.hold_dpcs(true);
    let memory = allocate(64).cast::<nt::KDPC>();
    nt::nt_fn! {
        unsafe fn nothing(_dpc: *mut nt::KDPC, _: nt::PVOID, _: nt::PVOID, _: nt::PVOID) {}
    }
    // SAFETY: a KDPC fits.
    unsafe { kernel::KeInitializeDpc(memory, Some(nothing), ptr::null_mut()) };
    // SAFETY: initialised.
    unsafe { kernel::KeInsertQueueDpc(memory, ptr::null_mut(), ptr::null_mut()) };
    let report = breaks(&machine, Rule::FreedInUse, || free(memory.cast()));
    assert!(report.contains("queued"), "{report}");
    flush();
    free(memory.cast());
}

#[test]
fn freed_in_use_the_service_context_or_the_lock_of_a_connection() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let service = claims();
    let memory = allocate(64);
    for part in ["service context", "spin lock"] {
        let (status, connection) =
            raw::try_full(&device, 0, &service, nt::CONNECT_FULLY_SPECIFIED, |full| {
                if part == "spin lock" {
                    full.SpinLock = memory.cast();
                } else {
                    full.ServiceContext = memory;
                }
            });
        assert_eq!(status, nt::STATUS_SUCCESS);
        let report = breaks(&machine, Rule::FreedInUse, || free(memory));
        assert!(report.contains(part), "{report}");
        connection.disconnect();
    }
    free(memory);
}

#[test]
fn freed_in_use_a_held_spin_lock() {
    let machine = Machine::new(1).enter();
    let memory = allocate(64);
    // SAFETY: the lock is in place, and 0.
    let before = unsafe { kernel::KeAcquireSpinLockRaiseToDpc(memory.cast()) };
    let broken = std::panic::catch_unwind(|| free(memory));
    assert!(broken.is_err());
    assert_eq!(machine.violations(), [Rule::FreedInUse]);
    // SAFETY: acquired above.
    unsafe { kernel::KeReleaseSpinLock(memory.cast(), before) };
    free(memory);
}

#[test]
fn pool_flags_none_two_no_tag_no_size() {
    let machine = Machine::new(1).enter();
    let both = nt::POOL_FLAG_NON_PAGED | nt::POOL_FLAG_PAGED;
    let calls = [
        (0, 8, raw::TAG),
        (both, 8, raw::TAG),
        (nt::POOL_FLAG_NON_PAGED, 0, raw::TAG),
        (nt::POOL_FLAG_NON_PAGED, 8, 0),
    ];
    for (flags, size, tag) in calls {
        breaks(&machine, Rule::PoolFlags, || {
            // SAFETY: no obligation.
            unsafe { kernel::ExAllocatePool2(flags, size, tag) };
        });
    }
}

#[test]
fn pool_tag_another() {
    let machine = Machine::new(1).enter();
    let memory = allocate(8);
    let report = breaks(&machine, Rule::PoolTag, || {
        // SAFETY: the breach.
        unsafe { kernel::ExFreePoolWithTag(memory, u32::from_le_bytes(*b"Tset")) };
    });
    assert!(report.contains("'Test'"), "{report}");
    free(memory);
}

#[test]
fn pool_free_twice_inside_or_elsewhere() {
    let machine = Machine::new(1).enter();
    let memory = allocate(8);
    let inside = memory.wrapping_byte_add(4);
    let report = breaks(&machine, Rule::PoolFree, || free(inside));
    assert!(report.contains("inside"), "{report}");
    free(memory);
    let report = breaks(&machine, Rule::PoolFree, || free(memory));
    assert!(report.contains("already"), "{report}");
    breaks(&machine, Rule::PoolFree, || free(ptr::null_mut()));
}

#[test]
fn pool_overrun_and_underrun() {
    let machine = Machine::new(1).enter();
    for (size, offset) in [(24, 24_isize), (24, -1), (4096, 4096)] {
        let memory = allocate(size);
        let outside = memory.cast::<u8>().wrapping_offset(offset);
        // SAFETY: the breach; the byte is the allocation's guard.
        let before = unsafe { outside.replace(1) };
        breaks(&machine, Rule::PoolOverrun, || free(memory));
        // SAFETY: as above.
        unsafe { outside.write(before) };
        free(memory);
    }
}

#[test]
fn pool_use_after_free_written_to() {
    let machine = Machine::new(1).enter();
    let memory = allocate(8);
    free(memory);
    // SAFETY: the breach; freed memory is kept for a while.
    unsafe { memory.cast::<u8>().write(1) };
    breaks(&machine, Rule::PoolUseAfterFree, || {
        let _ = machine.left_behind();
    });
}

#[test]
fn resources_in_use_taken_away_while_connected() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let service = claims();
    let connection = raw::line(&device, &service);
    breaks(&machine, Rule::ResourcesInUse, || device.stop());
    connection.disconnect();
}

#[test]
fn storm_two_that_always_claim_an_edge() {
    let machine = Machine::new(1).enter();
    let first = machine.device().line_at(6, true, true).build();
    let second = machine.device().line_shared_with(&first).build();
    let service = claims();
    let connections = [raw::line(&first, &service), raw::line(&second, &service)];
    breaks(&machine, Rule::Storm, || {
        first.raise_line();
    });
    for connection in connections {
        connection.disconnect();
    }
}

#[test]
fn storm_a_level_that_is_not_acknowledged() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let service = claims();
    let connection = raw::line(&device, &service);
    breaks(&machine, Rule::Storm, || {
        device.assert_line();
    });
    device.deassert_line();
    connection.disconnect();
}

#[test]
fn storm_disconnecting_a_device_that_is_not_silent() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let service = Service::new(|_| {
        device.deassert_line();
        true
    });
    let connection = raw::line(&device, &service);
    connection.report(false);
    breaks(&machine, Rule::Storm, || {
        device.assert_line();
    });
    breaks(&machine, Rule::Storm, || connection.disconnect());
    connection.report(true);
    assert_eq!(device.assert_line(), Delivery::Claimed);
    connection.disconnect();
}

#[test]
fn connect_parameters_a_group_that_the_version_has_not() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let service = claims();
    let report = breaks(&machine, Rule::ConnectParameters, || {
        raw::try_full(&device, 0, &service, nt::CONNECT_FULLY_SPECIFIED, |full| full.Group = 1);
    });
    assert!(report.contains("zeroed"), "{report}");
}

#[test]
fn bug_check_is_reported_with_its_code() {
    let machine = Machine::new(1).enter();
    let report = breaks(&machine, Rule::BugCheck, || {
        // SAFETY: no obligation.
        unsafe { kernel::KeBugCheckEx(0xC4, 1, 2, 3, 4) };
    });
    assert!(report.contains("0xc4"), "{report}");
}

#[test]
fn left_behind_is_listed_when_the_machine_is_left() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let service = claims();
    raw::line(&device, &service);
    allocate(100);
    let left = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| machine.leave()));
    let list = left.expect_err("something is left").downcast::<String>().expect("a list");
    assert!(list.contains("LeftBehind"), "{list}");
    assert!(list.contains("pool 'Test': 1 blocks, 100 bytes"), "{list}");
    assert!(list.contains("vector 0x90 connected"), "{list}");
}

#[test]
fn a_report_names_the_call_the_processor_and_the_irql() {
    let machine = Machine::new(3).enter();
    let report = Mutex::new(String::new());
    machine.scope(|scope| {
        scope.spawn(2, || {
            *report.lock().expect("not poisoned") = breaks(&machine, Rule::IrqlPool, || {
                let _raised = raised(9);
                allocate(8);
            });
        });
    });
    let report = report.into_inner().expect("not poisoned");
    for part in ["ExAllocatePool2", "processor 2", "IRQL 9"] {
        assert!(report.contains(part), "{part}: {report}");
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
    breaks(&machine, Rule::IrqlPool, || {
        device.raise_line();
    });
    assert_eq!(device.raise_line(), Delivery::Claimed);
    at(3, || assert_eq!(raw::irql(), 3));
    machine.fail(Call::ExAllocatePool2, 0, nt::STATUS_INSUFFICIENT_RESOURCES);
    connection.disconnect();
    // SAFETY: no obligation.
    let none = unsafe { kernel::ExAllocatePool2(nt::POOL_FLAG_NON_PAGED, 8, raw::TAG) };
    assert!(none.is_null());
}
