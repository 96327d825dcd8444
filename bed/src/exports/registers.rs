//! Device registers, and moving memory.

use wdm_interrupt_model::nt::PVOID;

use crate::kernel::registers;
use crate::verify::at_most;

super::exports! {
    can_fail(null) fn MmMapIoSpace(physical: i64, length: u64, _cache: i32) -> PVOID {
        at_most(2, "MmMapIoSpace");
        core::ptr::with_exposed_provenance_mut(
            registers::map(physical as usize, length as usize).unwrap_or_default(),
        )
    }

    can_fail(null) fn MmMapIoSpaceEx(physical: i64, length: u64, _protect: u32) -> PVOID {
        at_most(2, "MmMapIoSpaceEx");
        core::ptr::with_exposed_provenance_mut(
            registers::map(physical as usize, length as usize).unwrap_or_default(),
        )
    }

    fn MmUnmapIoSpace(address: PVOID, length: u64) {
        at_most(2, "MmUnmapIoSpace");
        registers::unmap(address.addr(), length as usize);
    }

    fn RtlMoveMemory(to: *mut u8, from: *const u8, count: usize) {
        // SAFETY: the driver's promise.
        unsafe { core::ptr::copy(from, to, count) };
    }

    fn RtlCopyMemory(to: *mut u8, from: *const u8, count: usize) {
        // SAFETY: the driver's promise.
        unsafe { core::ptr::copy(from, to, count) };
    }

    fn RtlFillMemory(to: *mut u8, count: usize, value: u8) {
        // SAFETY: the driver's promise.
        unsafe { core::ptr::write_bytes(to, value, count) };
    }

    fn RtlZeroMemory(to: *mut u8, count: usize) {
        // SAFETY: the driver's promise.
        unsafe { core::ptr::write_bytes(to, 0, count) };
    }

    fn RtlCompareMemory(left: *const u8, right: *const u8, count: usize) -> usize {
        // SAFETY: the driver's promise.
        let left = unsafe { core::slice::from_raw_parts(left, count) };
        // SAFETY: the driver's promise.
        let right = unsafe { core::slice::from_raw_parts(right, count) };
        left.iter().zip(right).take_while(|(left, right)| left == right).count()
    }

    fn memcpy(to: *mut u8, from: *const u8, count: usize) -> *mut u8 {
        // SAFETY: the driver's promise.
        unsafe { core::ptr::copy(from, to, count) };
        to
    }

    fn memmove(to: *mut u8, from: *const u8, count: usize) -> *mut u8 {
        // SAFETY: the driver's promise.
        unsafe { core::ptr::copy(from, to, count) };
        to
    }

    fn memset(to: *mut u8, value: i32, count: usize) -> *mut u8 {
        // SAFETY: the driver's promise.
        unsafe { core::ptr::write_bytes(to, value as u8, count) };
        to
    }

    fn memcmp(left: *const u8, right: *const u8, count: usize) -> i32 {
        // SAFETY: the driver's promise.
        let left = unsafe { core::slice::from_raw_parts(left, count) };
        // SAFETY: the driver's promise.
        let right = unsafe { core::slice::from_raw_parts(right, count) };
        left.cmp(right) as i32
    }
}
