//! What is wrong only where a call of the kernel fails: nothing that a run in which all goes well shows.

use core::ptr;
use core::sync::atomic::Ordering;

use super::memory::{allocate, free};
use crate::device::Device;

/// Breaks `InterruptObject`: what a failed connect has stored is disconnected.
pub(super) fn believes_a_connect_that_failed(device: &Device) {
    device.trusts_failures.store(true, Ordering::Relaxed);
}

/// Leaves pool behind.
pub(super) fn keeps_pool_when_it_cannot_connect(_: &Device) {
    let _forgotten = allocate();
}

/// Leaves registers behind: REMOVE finds nothing to unmap.
pub(super) fn keeps_registers_mapped_when_it_cannot_connect(device: &Device) {
    device.registers.store(ptr::null_mut(), Ordering::Relaxed);
}

/// Breaks `IrpPending`: START returns, and its IRP is never completed.
pub(super) fn forgets_to_complete_when_it_cannot_connect(device: &Device) {
    device.completes.store(false, Ordering::Relaxed);
}

/// Breaks `ResourcesInUse`: without the memory REMOVE finds nothing to disconnect.
pub(super) fn forgets_to_disconnect_when_an_allocation_fails(device: &Device) {
    let memory = allocate();
    if memory.is_null() {
        device.interrupt.store(ptr::null_mut(), Ordering::Relaxed);
    } else {
        free(memory);
    }
}
