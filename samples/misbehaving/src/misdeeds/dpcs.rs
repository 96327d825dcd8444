//! DPCs and spin locks.

use core::ptr;

use wdk_sys::{
    KDPC, KSPIN_LOCK, PKDPC, PVOID,
    ntddk::{
        KeAcquireSpinLockRaiseToDpc, KeInitializeDpc, KeInsertQueueDpc, KeReleaseSpinLock,
        KfRaiseIrql,
    },
};

use super::memory::{allocate, free};
use super::raise_to_dispatch_level;
use crate::device::Device;

const unsafe extern "C" fn nothing(_: PKDPC, _: PVOID, _: PVOID, _: PVOID) {}

/// Queues a DPC, which may be none.
fn queue(dpc: PKDPC) {
    // SAFETY: memory of a KDPC; some misdeeds call it with one that must not be queued.
    let _new = unsafe { KeInsertQueueDpc(dpc, ptr::null_mut(), ptr::null_mut()) };
}

/// Breaks `DpcInitialised`: the memory is zero.
pub(super) fn queues_a_dpc_that_it_did_not_initialise(_: &Device) {
    queue(allocate().cast());
}

/// Breaks `Resident`.
pub(super) fn queues_a_dpc_that_it_freed(_: &Device) {
    let dpc = allocate().cast::<KDPC>();
    // SAFETY: memory of a KDPC.
    unsafe { KeInitializeDpc(dpc, Some(nothing), ptr::null_mut()) };
    free(dpc.cast());
    queue(dpc);
}

/// Breaks `DpcState`.
pub(super) fn leaves_its_dpc_at_another_irql(_: &Device) {
    unsafe extern "C" fn raise(_: PKDPC, _: PVOID, _: PVOID, _: PVOID) {
        const HIGHEST_DEVICE_LEVEL: u8 = 12;

        // SAFETY: breaks the rule: it is not lowered again.
        let _before = unsafe { KfRaiseIrql(HIGHEST_DEVICE_LEVEL) };
    }

    let dpc = allocate().cast::<KDPC>();
    // SAFETY: memory of a KDPC.
    unsafe { KeInitializeDpc(dpc, Some(raise), ptr::null_mut()) };
    queue(dpc);
}

/// Breaks `LockWord`.
pub(super) fn acquires_a_lock_that_it_did_not_initialise(_: &Device) {
    let mut lock: KSPIN_LOCK = 0xDEAD;
    // SAFETY: breaks the rule: it is not 0.
    let _before = unsafe { KeAcquireSpinLockRaiseToDpc(&raw mut lock) };
}

/// Breaks `LockOwner`.
pub(super) fn releases_a_lock_that_it_does_not_hold(_: &Device) {
    let mut lock: KSPIN_LOCK = 0;
    raise_to_dispatch_level();
    // SAFETY: breaks the rule: nobody has acquired it.
    unsafe { KeReleaseSpinLock(&raw mut lock, 0) };
}
