//! Connecting, serving, synchronizing and disconnecting.

use core::ptr;
use core::sync::atomic::Ordering;

use wdk_sys::{
    _EVENT_TYPE, BOOLEAN, CONNECT_LINE_BASED, CONNECT_MESSAGE_BASED, KEVENT, PVOID,
    ntddk::{KeInitializeEvent, KeSetEvent, KeSynchronizeExecution, KfRaiseIrql},
};

use super::memory::{allocate, free};
use super::raise_to_dispatch_level;
use crate::device::{Device, FALSE, TRUE};

/// Breaks `IrqlPassive`.
pub(super) fn connects_at_dispatch_level(_: &Device) {
    raise_to_dispatch_level();
}

/// Breaks `PhysicalDevice`.
pub(super) fn connects_for_its_own_device_object(device: &Device) {
    device.physical.store(device.object.load(Ordering::Relaxed), Ordering::Relaxed);
}

/// Breaks `Storm`: a level that nobody claims.
pub(super) fn never_claims(device: &Device) {
    device.claims.store(false, Ordering::Relaxed);
}

/// Breaks `Storm`: a level that is claimed, and stays.
pub(super) fn never_acknowledges(device: &Device) {
    device.acknowledges.store(false, Ordering::Relaxed);
}

/// Breaks `DisconnectVersion`.
pub(super) fn disconnects_with_another_version(device: &Device) {
    device.disconnect(CONNECT_MESSAGE_BASED);
}

/// Breaks `InterruptObject`: REMOVE disconnects again.
pub(super) fn disconnects_twice(device: &Device) {
    device.disconnect(CONNECT_LINE_BASED);
}

/// Breaks `IrqlPassive`.
pub(super) fn disconnects_at_dispatch_level(device: &Device) {
    raise_to_dispatch_level();
    device.disconnect(CONNECT_LINE_BASED);
}

/// Breaks `ResourcesInUse`: REMOVE finds nothing to disconnect.
pub(super) fn stays_connected_at_remove(device: &Device) {
    device.interrupt.store(ptr::null_mut(), Ordering::Relaxed);
}

/// A page fault: what an interrupt object consists of is the kernel's, and freed with the disconnect.
pub(super) fn reads_an_interrupt_object_that_it_disconnected(device: &Device) {
    let object = device.interrupt.load(Ordering::Relaxed);
    device.disconnect(CONNECT_LINE_BASED);
    // SAFETY: breaks the rule: it is freed.
    let _word = unsafe { object.cast::<u64>().read_volatile() };
}

/// Breaks `LineBasedOnce`: the lines are connected, and may be shared.
pub(super) fn connects_its_line_twice(device: &Device) {
    let _status = device.connect();
}

/// Runs nothing under the interrupt's lock.
fn synchronize(device: &Device) {
    const unsafe extern "C" fn nothing(_: PVOID) -> BOOLEAN {
        TRUE
    }

    let interrupt = device.interrupt.load(Ordering::Relaxed);
    // SAFETY: breaks SynchronizeIrql or InterruptObject, as the caller means it to.
    let _done = unsafe { KeSynchronizeExecution(interrupt, Some(nothing), ptr::null_mut()) };
}

/// Breaks `SynchronizeIrql`.
pub(super) fn synchronizes_above_its_irql(device: &Device) {
    /// Above every device's.
    const CLOCK_LEVEL: u8 = 13;

    // SAFETY: raising is legal, calling the kernel from there is not.
    let _before = unsafe { KfRaiseIrql(CLOCK_LEVEL) };
    synchronize(device);
}

/// Breaks `InterruptObject`.
pub(super) fn synchronizes_with_what_is_disconnected(device: &Device) {
    device.disconnect(CONNECT_LINE_BASED);
    synchronize(device);
}

/// Breaks `Irql`: an event is set at `DISPATCH_LEVEL` at most.
pub(super) fn sets_an_event_in_its_service_routine(_: &Device) {
    let mut event = KEVENT::default();
    // SAFETY: memory of an event, which is here.
    unsafe { KeInitializeEvent(&raw mut event, _EVENT_TYPE::NotificationEvent, FALSE) };
    // SAFETY: breaks the rule: this is device IRQL.
    let _before = unsafe { KeSetEvent(&raw mut event, 0, FALSE) };
}

/// Breaks `IrqlPool`.
pub(super) fn allocates_in_its_service_routine(_: &Device) {
    free(allocate());
}

/// Breaks `IsrState`.
pub(super) fn leaves_its_service_routine_at_another_irql(_: &Device) {
    const HIGHEST_DEVICE_LEVEL: u8 = 12;

    // SAFETY: breaks the rule: it is not lowered again.
    let _before = unsafe { KfRaiseIrql(HIGHEST_DEVICE_LEVEL) };
}
