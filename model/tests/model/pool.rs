//! Pool.

use wdm_interrupt_model::{
    executive::Call,
    host::{Machine, kernel},
    nt,
};

use super::raw::{TAG, allocate, at, free};

#[test]
fn small_blocks_are_aligned_to_16_and_no_more_and_large_ones_to_a_page() {
    let machine = Machine::new(1).enter();
    for (size, align) in [(1, 16), (8, 16), (100, 16), (4095, 16), (4096, 4096), (10_000, 4096)] {
        let memory = allocate(size);
        assert_eq!(memory.addr() % align, 0, "{size} bytes");
        assert!(align > 16 || memory.addr() % 32 == 16, "{size} bytes");
        free(memory);
    }
    machine.leave();
}

#[test]
fn memory_is_zero_unless_that_is_not_wanted() {
    let machine = Machine::new(1).enter();
    for (flags, expected) in [(0, 0), (nt::POOL_FLAG_UNINITIALIZED, 0xA5)] {
        // SAFETY: no obligation.
        let memory = unsafe { kernel::ExAllocatePool2(nt::POOL_FLAG_NON_PAGED | flags, 64, TAG) };
        // SAFETY: just allocated.
        let bytes = unsafe { memory.cast::<[u8; 64]>().read() };
        assert_eq!(bytes, [expected; 64]);
        free(memory);
    }
    machine.leave();
}

#[test]
fn freed_memory_is_poison() {
    let machine = Machine::new(1).enter();
    let memory = allocate(8);
    free(memory);
    // SAFETY: freed memory is kept for a while.
    let bytes = unsafe { memory.cast::<[u8; 8]>().read() };
    assert_eq!(bytes, [0xDD; 8]);
    machine.leave();
}

#[test]
fn nonpaged_pool_is_there_at_dispatch_level() {
    let machine = Machine::new(1).enter();
    let memory = at(2, || allocate(8));
    at(2, || free(memory));
    machine.leave();
}

#[test]
fn an_allocation_can_be_made_to_fail() {
    let machine = Machine::new(1).enter();
    machine.fail(Call::ExAllocatePool2, 1, nt::STATUS_INSUFFICIENT_RESOURCES);
    // SAFETY: no obligation.
    let allocate = || unsafe { kernel::ExAllocatePool2(nt::POOL_FLAG_NON_PAGED, 8, TAG) };
    let results = [allocate(), allocate(), allocate()];
    assert_eq!(results.map(<*mut std::ffi::c_void>::is_null), [false, true, false]);
    free(results[0]);
    // A free without a tag takes any.
    // SAFETY: allocated above.
    unsafe { kernel::ExFreePool(results[2]) };
}

#[test]
fn what_is_left_is_counted_by_tag() {
    let machine = Machine::new(1).enter();
    machine.expect_leftovers();
    allocate(10);
    allocate(20);
    let left = machine.left_behind();
    assert_eq!((left.pool.len(), left.pool[0].blocks, left.pool[0].bytes), (1, 2, 30));
    assert_eq!(left.to_string(), "pool 'Test': 2 blocks, 30 bytes");
}

#[test]
fn what_each_tag_has_and_had_is_counted() {
    let machine = Machine::new(1).enter();
    let [one, other] = [*b"One ", *b"Othr"].map(u32::from_le_bytes);
    let allocate = |flags, size, tag| {
        // SAFETY: no obligation.
        unsafe { kernel::ExAllocatePool2(flags, size, tag) }
    };
    let paged = allocate(nt::POOL_FLAG_PAGED, 1000, one);
    let nonpaged = allocate(nt::POOL_FLAG_NON_PAGED, 100, one);
    let elsewhere = allocate(nt::POOL_FLAG_NON_PAGED, 8, other);
    let figures = || {
        let tags = machine.executive().pool_by_tag().into_iter();
        tags.map(|it| (it.tag, it.allocations, it.frees, it.paged, it.nonpaged, it.peak))
            .collect::<Vec<_>>()
    };
    assert_eq!(figures(), [(one, 2, 0, 1000, 100, 1100), (other, 1, 0, 0, 8, 8)]);
    // SAFETY: allocated above.
    unsafe { kernel::ExFreePool(paged) };
    let again = allocate(nt::POOL_FLAG_NON_PAGED, 50, one);
    assert_eq!(figures(), [(one, 3, 1, 0, 150, 1100), (other, 1, 0, 0, 8, 8)]);
    let tag = machine.executive().pool_by_tag()[0];
    assert_eq!((tag.blocks(), tag.bytes()), (2, 150));
    assert_eq!(tag.to_string(), "'One ': 3 allocations, 1 frees, 150 bytes, 1100 at most");
    for memory in [nonpaged, again, elsewhere] {
        // SAFETY: allocated above.
        unsafe { kernel::ExFreePool(memory) };
    }
    assert_eq!(figures(), [(one, 3, 3, 0, 0, 1100), (other, 1, 1, 0, 0, 8)]);
    machine.leave();
}

#[test]
fn an_allocation_that_failed_is_not_counted() {
    let machine = Machine::new(1).enter();
    machine.fail(Call::ExAllocatePool2, 0, nt::STATUS_INSUFFICIENT_RESOURCES);
    // SAFETY: no obligation.
    let none = unsafe { kernel::ExAllocatePool2(nt::POOL_FLAG_NON_PAGED, 8, TAG) };
    assert!(none.is_null());
    assert!(machine.executive().pool_by_tag().is_empty());
}

#[test]
fn a_soak_of_allocations_keeps_what_is_freed_for_a_while_only() {
    let machine = Machine::new(1).enter();
    for round in 0..2000_u64 {
        free(allocate(round % 5000 + 1));
    }
    machine.leave();
}
