//! Pool.

use wdm_interrupt_model::nt::{
    POOL_FLAG_NON_PAGED, POOL_FLAG_PAGED, POOL_FLAG_UNINITIALIZED, POOL_FLAGS, PVOID, SIZE_T, ULONG,
};

use crate::kernel::EXECUTIVE;

/// The pool type of the old call that stands for paged memory.
const PAGED_POOL: u32 = 1;

super::exports! {
    can_fail(itself) fn ExAllocatePool2(flags: POOL_FLAGS, size: SIZE_T, tag: ULONG) -> PVOID {
        EXECUTIVE.ex_allocate_pool2(flags, size, tag)
    }

    can_fail(null) fn ExAllocatePoolWithTag(kind: u32, size: SIZE_T, tag: ULONG) -> PVOID {
        let pool = if kind & 1 == PAGED_POOL { POOL_FLAG_PAGED } else { POOL_FLAG_NON_PAGED };
        EXECUTIVE.ex_allocate_pool2(pool | POOL_FLAG_UNINITIALIZED, size, tag)
    }

    fn ExFreePool(memory: PVOID) {
        EXECUTIVE.ex_free_pool(memory);
    }

    fn ExFreePoolWithTag(memory: PVOID, tag: ULONG) {
        EXECUTIVE.ex_free_pool_with_tag(memory, tag);
    }
}
