//! IRQL, spin locks, DPCs, processors.

use wdm_interrupt_model::nt::{
    BOOLEAN, CCHAR, KAFFINITY, KDPC_IMPORTANCE, KIRQL, NTSTATUS, PKDEFERRED_ROUTINE, PKDPC,
    PKSPIN_LOCK, PPROCESSOR_NUMBER, PROCESSOR_NUMBER, PVOID,
};

use crate::kernel::EXECUTIVE;
use crate::processor;

super::exports! {
    fn KeGetCurrentIrql() -> KIRQL {
        EXECUTIVE.ke_get_current_irql()
    }

    fn KfRaiseIrql(irql: KIRQL) -> KIRQL {
        EXECUTIVE.kf_raise_irql(irql)
    }

    fn KeRaiseIrqlToDpcLevel() -> KIRQL {
        EXECUTIVE.kf_raise_irql(2)
    }

    fn KeLowerIrql(irql: KIRQL) {
        EXECUTIVE.ke_lower_irql(irql);
    }

    fn KfLowerIrql(irql: KIRQL) {
        EXECUTIVE.ke_lower_irql(irql);
    }

    fn KeInitializeSpinLock(lock: PKSPIN_LOCK) {
        // SAFETY: the driver gives memory for the lock.
        unsafe { lock.write(0) };
    }

    fn KeAcquireSpinLockRaiseToDpc(lock: PKSPIN_LOCK) -> KIRQL {
        // SAFETY: the driver's promise: an initialised lock.
        unsafe { EXECUTIVE.ke_acquire_spin_lock_raise_to_dpc(lock) }
    }

    fn KeReleaseSpinLock(lock: PKSPIN_LOCK, irql: KIRQL) {
        // SAFETY: the driver's promise: an initialised lock.
        unsafe { EXECUTIVE.ke_release_spin_lock(lock, irql) }
    }

    fn KeAcquireSpinLockAtDpcLevel(lock: PKSPIN_LOCK) {
        // SAFETY: the driver's promise: an initialised lock.
        unsafe { EXECUTIVE.ke_acquire_spin_lock_at_dpc_level(lock) }
    }

    fn KeReleaseSpinLockFromDpcLevel(lock: PKSPIN_LOCK) {
        // SAFETY: the driver's promise: an initialised lock.
        unsafe { EXECUTIVE.ke_release_spin_lock_from_dpc_level(lock) }
    }

    fn KeInitializeDpc(dpc: PKDPC, routine: PKDEFERRED_ROUTINE, context: PVOID) {
        // SAFETY: the driver's promise: memory of a KDPC.
        unsafe { EXECUTIVE.ke_initialize_dpc(dpc, routine, context) }
    }

    fn KeInitializeThreadedDpc(dpc: PKDPC, routine: PKDEFERRED_ROUTINE, context: PVOID) {
        // SAFETY: the driver's promise: memory of a KDPC.
        unsafe { EXECUTIVE.ke_initialize_threaded_dpc(dpc, routine, context) }
    }

    fn KeInsertQueueDpc(dpc: PKDPC, first: PVOID, second: PVOID) -> BOOLEAN {
        // SAFETY: the driver's promise: an initialised KDPC.
        unsafe { EXECUTIVE.ke_insert_queue_dpc(dpc, first, second) }
    }

    fn KeRemoveQueueDpc(dpc: PKDPC) -> BOOLEAN {
        // SAFETY: the driver's promise: an initialised KDPC.
        unsafe { EXECUTIVE.ke_remove_queue_dpc(dpc) }
    }

    fn KeFlushQueuedDpcs() {
        EXECUTIVE.ke_flush_queued_dpcs();
    }

    fn KeSetImportanceDpc(dpc: PKDPC, importance: KDPC_IMPORTANCE) {
        // SAFETY: the driver's promise: an initialised KDPC.
        unsafe { EXECUTIVE.ke_set_importance_dpc(dpc, importance) }
    }

    fn KeSetTargetProcessorDpc(dpc: PKDPC, number: CCHAR) {
        // SAFETY: the driver's promise: an initialised KDPC.
        unsafe { EXECUTIVE.ke_set_target_processor_dpc(dpc, number) }
    }

    can_fail(itself) fn KeSetTargetProcessorDpcEx(dpc: PKDPC, number: PPROCESSOR_NUMBER) -> NTSTATUS {
        // SAFETY: the driver's promise: an initialised KDPC.
        unsafe { EXECUTIVE.ke_set_target_processor_dpc_ex(dpc, number) }
    }

    fn KeGetCurrentProcessorNumberEx(number: PPROCESSOR_NUMBER) -> u32 {
        let current = processor::current().number();
        if !number.is_null() {
            let value = PROCESSOR_NUMBER { Group: 0, Number: current as u8, Reserved: 0 };
            // SAFETY: the driver gives NULL or memory for it.
            unsafe { number.write(value) };
        }
        current as u32
    }

    fn KeQueryActiveProcessorCountEx(_group: u16) -> u32 {
        processor::count() as u32
    }

    fn KeQueryActiveProcessorCount(affinity: *mut KAFFINITY) -> u32 {
        if !affinity.is_null() {
            // SAFETY: the driver gives NULL or memory for it.
            unsafe { affinity.write((1 << processor::count()) - 1) };
        }
        processor::count() as u32
    }

    fn KeQueryMaximumProcessorCountEx(_group: u16) -> u32 {
        processor::count() as u32
    }
}
