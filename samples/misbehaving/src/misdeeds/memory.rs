//! Pool and mapped registers.

use core::ptr;
use core::sync::atomic::Ordering;

use wdk_sys::{
    CONNECT_LINE_BASED, KDPC, PKDPC, POOL_FLAG_NON_PAGED, PVOID,
    ntddk::{ExAllocatePool2, ExFreePoolWithTag, KeInitializeDpc, KeInsertQueueDpc},
};

use super::raise_to_dispatch_level;
use crate::device::{Device, LENGTH};

const TAG: u32 = u32::from_le_bytes(*b"Misb");

/// How much is allocated: a KDPC.
const BYTES: usize = size_of::<KDPC>();

/// Allocates pool.
pub(super) fn allocate() -> PVOID {
    // SAFETY: legal as it is, except in a service routine: there it breaks IrqlPool.
    unsafe { ExAllocatePool2(POOL_FLAG_NON_PAGED, BYTES as u64, TAG) }
}

/// Frees pool.
pub(super) fn free(memory: PVOID) {
    // SAFETY: legal as it is; some misdeeds call it for what must not be freed.
    unsafe { ExFreePoolWithTag(memory, TAG) };
}

/// Breaks `FreedInUse`.
pub(super) fn frees_a_queued_dpc(_: &Device) {
    const unsafe extern "C" fn nothing(_: PKDPC, _: PVOID, _: PVOID, _: PVOID) {}

    let dpc = allocate().cast::<KDPC>();
    // SAFETY: memory of a KDPC.
    unsafe { KeInitializeDpc(dpc, Some(nothing), ptr::null_mut()) };
    // So that it is still queued at the next line.
    raise_to_dispatch_level();
    // SAFETY: initialised.
    let _new = unsafe { KeInsertQueueDpc(dpc, ptr::null_mut(), ptr::null_mut()) };
    free(dpc.cast());
}

/// Breaks `LeftBehind`.
pub(super) fn leaves_pool_behind(_: &Device) {
    let _forgotten = allocate();
}

/// Breaks `PoolOverrun`, by one byte.
pub(super) fn writes_behind_its_pool(_: &Device) {
    let memory = allocate();
    let behind = memory.cast::<u8>().wrapping_add(BYTES);
    // SAFETY: breaks the rule: behind the end.
    unsafe { behind.write_volatile(1) };
    free(memory);
}

/// Breaks `PoolUseAfterFree`.
pub(super) fn writes_to_pool_that_it_freed(_: &Device) {
    let memory = allocate();
    free(memory);
    // SAFETY: breaks the rule: it is freed.
    unsafe { memory.cast::<u8>().write_volatile(1) };
}

/// Breaks `PoolFree`.
pub(super) fn frees_pool_twice(_: &Device) {
    let memory = allocate();
    free(memory);
    free(memory);
}

/// Breaks `PoolTag`.
pub(super) fn frees_pool_with_another_tag(_: &Device) {
    let memory = allocate();
    // SAFETY: breaks the rule: it is not the tag that it was allocated with.
    unsafe { ExFreePoolWithTag(memory, TAG.swap_bytes()) };
}

/// Breaks `LeftBehind`: REMOVE finds nothing to unmap.
pub(super) fn leaves_registers_mapped(device: &Device) {
    device.disconnect(CONNECT_LINE_BASED);
    device.interrupt.store(ptr::null_mut(), Ordering::Relaxed);
    device.registers.store(ptr::null_mut(), Ordering::Relaxed);
}

/// A page fault.
pub(super) fn reads_registers_that_it_unmapped(device: &Device) {
    device.unmap(LENGTH);
    let _raised = device.raised();
}

/// Breaks `Unmapped`.
pub(super) fn unmaps_another_length(device: &Device) {
    device.unmap(LENGTH / 2);
}
