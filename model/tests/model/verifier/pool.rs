//! Pool.

use std::ptr;

use wdm_interrupt_model::{
    Rule,
    host::{Machine, kernel},
    nt,
    report::Object,
};

use super::{
    super::{
        broken::{breaks, stop, verifier},
        raw::{self, allocate, free},
    },
    DISPATCH_LEVEL, LINE, address, claims, freed_pool, interrupt, pool,
};

const FREE: &str = "ExFreePoolWithTag";

#[test]
fn pool_flags_none_two_no_tag_no_size() {
    let machine = Machine::new(1).enter();
    let both = nt::POOL_FLAG_NON_PAGED | nt::POOL_FLAG_PAGED;
    let calls = [
        (0, 8, raw::TAG, None),
        (both, 8, raw::TAG, None),
        (nt::POOL_FLAG_NON_PAGED, 0, raw::TAG, verifier([0x0, 0, 512, 0])),
        (nt::POOL_FLAG_NON_PAGED_EXECUTE, 8, 0, stop(0xC2, [0x9B, 0, 8, 0])),
        (nt::POOL_FLAG_PAGED, 8, 0, stop(0xC2, [0x9B, 1, 8, 0])),
    ];
    for (flags, size, tag, stopped) in calls {
        breaks(&machine, Rule::PoolFlags, || {
            // SAFETY: no obligation.
            unsafe { kernel::ExAllocatePool2(flags, size, tag) };
        })
        .is("ExAllocatePool2", 0, stopped, &[]);
    }
}

#[test]
fn pool_tag_another() {
    let machine = Machine::new(1).enter();
    let memory = allocate(8);
    let other = u32::from_le_bytes(*b"Tset");
    let report = breaks(&machine, Rule::PoolTag, || {
        // SAFETY: the breach.
        unsafe { kernel::ExFreePoolWithTag(memory, other) };
    });
    let parameters = [0xA, address(memory), raw::TAG.into(), other.into()];
    let report = report.is(FREE, 0, stop(0xC2, parameters), &[pool(memory, 8)]);
    assert!(report.text.contains("has tag 'Test', not 'Tset'"), "{report}");
    free(memory);
}

#[test]
fn pool_free_twice_inside_or_elsewhere() {
    let machine = Machine::new(1).enter();
    let memory = allocate(8);
    let inside = memory.wrapping_byte_add(4);
    let report = breaks(&machine, Rule::PoolFree, || free(inside));
    let parameters = [0x16, 0, address(inside), 0];
    let report = report.is(FREE, 0, verifier(parameters), &[pool(memory, 8)]);
    assert!(report.text.contains("inside"), "{report}");
    free(memory);
    let report = breaks(&machine, Rule::PoolFree, || free(memory));
    let parameters = [0x7, 0, 0, address(memory)];
    report.is(FREE, 0, stop(0xC2, parameters), &[freed_pool(memory, 8)]);
    let report = breaks(&machine, Rule::PoolFree, || free(ptr::null_mut()));
    report.is(FREE, 0, verifier([0x10, 0, 0, 0]), &[]);
    let mut elsewhere = 0_u64;
    let elsewhere = &raw mut elsewhere;
    let report = breaks(&machine, Rule::PoolFree, || free(elsewhere.cast()));
    report.is(FREE, 0, verifier([0x10, address(elsewhere), 0, 0]), &[]);
}

#[test]
fn pool_overrun_and_underrun_to_the_byte() {
    let machine = Machine::new(1).enter();
    let cases: [(usize, isize, u64); 7] = [
        (24, 24, 0x24),
        (24, 39, 0x24),
        (24, -1, 0x23),
        (24, -16, 0x23),
        (4096, 4096, 0x24),
        (4096, -1, 0x23),
        (4096, -4096, 0x23),
    ];
    for (size, offset, kind) in cases {
        let memory = allocate(size as u64);
        let outside = memory.cast::<u8>().wrapping_offset(offset);
        // SAFETY: the breach; the byte is the allocation's guard.
        let before = unsafe { outside.replace(1) };
        breaks(&machine, Rule::PoolOverrun, || free(memory)).is(
            FREE,
            0,
            stop(0xC1, [address(memory), address(outside), 0, kind]),
            &[pool(memory, size)],
        );
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
    let written = memory.cast::<u8>().wrapping_add(5);
    // SAFETY: the breach; freed memory is kept for a while.
    unsafe { written.write(1) };
    breaks(&machine, Rule::PoolUseAfterFree, || {
        let _ = machine.left_behind();
    })
    .is(
        "the end of the run",
        0,
        stop(0xC6, [address(written), 1, 0, 0]),
        &[freed_pool(memory, 8)],
    );
}

#[test]
fn pool_use_after_free_is_found_when_the_memory_is_given_up_at_the_latest() {
    let machine = Machine::new(1).enter();
    let memory = allocate(8);
    free(memory);
    // SAFETY: the breach; freed memory is kept for a while.
    unsafe { memory.cast::<u8>().write(1) };
    breaks(&machine, Rule::PoolUseAfterFree, || {
        for _ in 0..300 {
            free(allocate(8));
        }
    })
    .is(FREE, 0, stop(0xC6, [address(memory), 1, 0, 0]), &[freed_pool(memory, 8)]);
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
        let objects = [pool(memory, 64), interrupt(connection, LINE.1)];
        let report = report.is(FREE, 0, None, &objects);
        assert!(report.text.contains(part), "{report}");
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
    breaks(&machine, Rule::FreedInUse, || free(memory)).is(
        FREE,
        DISPATCH_LEVEL,
        verifier([0x100B, address(memory), 0, 0]),
        &[pool(memory, 64), Object::SpinLock { address: memory.addr() }],
    );
    // SAFETY: acquired above.
    unsafe { kernel::KeReleaseSpinLock(memory.cast(), before) };
    free(memory);
}
