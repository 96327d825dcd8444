//! The kernel's functions, with the names, the types and the calling convention that `wdk-sys` has
//! in `ntddk`. Each works on the machine that the calling thread is a processor of.
//!
//! They do what [`Executive`](crate::executive::Executive)'s methods of the same names do, and
//! before that let in what waits for this processor. In a test that [explores](super::Explore),
//! others may come in between then, and when they return.

#![expect(
    non_snake_case,
    clippy::missing_safety_doc,
    reason = "names are the kernel's, and so are the obligations"
)]

use super::{
    points::enter,
    processor::{current, thread_id},
};
use crate::nt::{
    BOOLEAN, CCHAR, EVENT_TYPE, HANDLE, KDPC_IMPORTANCE, KIRQL, KPRIORITY, KPROCESSOR_MODE,
    KWAIT_REASON, LONG, NTSTATUS, PDEVICE_OBJECT, PIO_CONNECT_INTERRUPT_PARAMETERS,
    PIO_DISCONNECT_INTERRUPT_PARAMETERS, PIO_REPORT_INTERRUPT_ACTIVE_STATE_PARAMETERS,
    PIO_WORKITEM, PIO_WORKITEM_ROUTINE, PKDEFERRED_ROUTINE, PKDPC, PKINTERRUPT, PKSPIN_LOCK,
    PKSYNCHRONIZE_ROUTINE, PLARGE_INTEGER, POOL_FLAGS, PPROCESSOR_NUMBER, PRKDPC, PRKEVENT, PVOID,
    SIZE_T, ULONG, ULONG_PTR, WORK_QUEUE_TYPE, nt_fn,
};

nt_fn! {
    /// `IoConnectInterruptEx`: `PASSIVE_LEVEL`.
    pub unsafe fn IoConnectInterruptEx(Parameters: PIO_CONNECT_INTERRUPT_PARAMETERS) -> NTSTATUS {
        let processor = enter("IoConnectInterruptEx");
        // SAFETY: the caller's obligations are the same.
        unsafe { processor.inner.executive().io_connect_interrupt_ex(Parameters) }
    }
}

nt_fn! {
    /// `IoDisconnectInterruptEx`: `PASSIVE_LEVEL`.
    pub unsafe fn IoDisconnectInterruptEx(Parameters: PIO_DISCONNECT_INTERRUPT_PARAMETERS) {
        let processor = enter("IoDisconnectInterruptEx");
        // SAFETY: the caller's obligations are the same.
        unsafe { processor.inner.executive().io_disconnect_interrupt_ex(Parameters) };
    }
}

nt_fn! {
    /// `IoReportInterruptActive`: `DISPATCH_LEVEL` at most.
    pub unsafe fn IoReportInterruptActive(Parameters: PIO_REPORT_INTERRUPT_ACTIVE_STATE_PARAMETERS) {
        let processor = enter("IoReportInterruptActive");
        // SAFETY: the caller's obligations are the same.
        unsafe { processor.inner.executive().io_report_interrupt_active(Parameters) };
    }
}

nt_fn! {
    /// `IoReportInterruptInactive`: `DISPATCH_LEVEL` at most.
    pub unsafe fn IoReportInterruptInactive(Parameters: PIO_REPORT_INTERRUPT_ACTIVE_STATE_PARAMETERS) {
        let processor = enter("IoReportInterruptInactive");
        // SAFETY: the caller's obligations are the same.
        unsafe { processor.inner.executive().io_report_interrupt_inactive(Parameters) };
    }
}

nt_fn! {
    /// `KeSynchronizeExecution`: the `SynchronizeIrql` at most.
    pub unsafe fn KeSynchronizeExecution(Interrupt: PKINTERRUPT, SynchronizeRoutine: PKSYNCHRONIZE_ROUTINE, SynchronizeContext: PVOID) -> BOOLEAN {
        let processor = enter("KeSynchronizeExecution");
        // SAFETY: the caller's obligations are the same.
        unsafe { processor.inner.executive().ke_synchronize_execution(Interrupt, SynchronizeRoutine, SynchronizeContext) }
    }
}

nt_fn! {
    /// `KeAcquireInterruptSpinLock`: the `SynchronizeIrql` at most.
    pub unsafe fn KeAcquireInterruptSpinLock(Interrupt: PKINTERRUPT) -> KIRQL {
        let processor = enter("KeAcquireInterruptSpinLock");
        // SAFETY: the caller's obligations are the same.
        unsafe { processor.inner.executive().ke_acquire_interrupt_spin_lock(Interrupt) }
    }
}

nt_fn! {
    /// `KeReleaseInterruptSpinLock`: the `SynchronizeIrql`.
    pub unsafe fn KeReleaseInterruptSpinLock(Interrupt: PKINTERRUPT, OldIrql: KIRQL) {
        let processor = enter("KeReleaseInterruptSpinLock");
        // SAFETY: the caller's obligations are the same.
        unsafe { processor.inner.executive().ke_release_interrupt_spin_lock(Interrupt, OldIrql) };
    }
}

nt_fn! {
    /// `KeInitializeDpc`: any IRQL.
    pub unsafe fn KeInitializeDpc(Dpc: PRKDPC, DeferredRoutine: PKDEFERRED_ROUTINE, DeferredContext: PVOID) {
        let processor = enter("KeInitializeDpc");
        // SAFETY: the caller's obligations are the same.
        unsafe { processor.inner.executive().ke_initialize_dpc(Dpc, DeferredRoutine, DeferredContext) };
    }
}

nt_fn! {
    /// `KeInsertQueueDpc`: any IRQL.
    pub unsafe fn KeInsertQueueDpc(Dpc: PRKDPC, SystemArgument1: PVOID, SystemArgument2: PVOID) -> BOOLEAN {
        let processor = enter("KeInsertQueueDpc");
        // SAFETY: the caller's obligations are the same.
        unsafe { processor.inner.executive().ke_insert_queue_dpc(Dpc, SystemArgument1, SystemArgument2) }
    }
}

nt_fn! {
    /// `KeRemoveQueueDpc`: any IRQL.
    pub unsafe fn KeRemoveQueueDpc(Dpc: PRKDPC) -> BOOLEAN {
        let processor = enter("KeRemoveQueueDpc");
        // SAFETY: the caller's obligations are the same.
        unsafe { processor.inner.executive().ke_remove_queue_dpc(Dpc) }
    }
}

nt_fn! {
    /// `KeSetImportanceDpc`: any IRQL.
    pub unsafe fn KeSetImportanceDpc(Dpc: PRKDPC, Importance: KDPC_IMPORTANCE) {
        let processor = enter("KeSetImportanceDpc");
        // SAFETY: the caller's obligations are the same.
        unsafe { processor.inner.executive().ke_set_importance_dpc(Dpc, Importance) };
    }
}

nt_fn! {
    /// `KeSetTargetProcessorDpc`: any IRQL.
    pub unsafe fn KeSetTargetProcessorDpc(Dpc: PRKDPC, Number: CCHAR) {
        let processor = enter("KeSetTargetProcessorDpc");
        // SAFETY: the caller's obligations are the same.
        unsafe { processor.inner.executive().ke_set_target_processor_dpc(Dpc, Number) };
    }
}

nt_fn! {
    /// `KeSetTargetProcessorDpcEx`: any IRQL.
    pub unsafe fn KeSetTargetProcessorDpcEx(Dpc: PKDPC, ProcNumber: PPROCESSOR_NUMBER) -> NTSTATUS {
        let processor = enter("KeSetTargetProcessorDpcEx");
        // SAFETY: the caller's obligations are the same.
        unsafe { processor.inner.executive().ke_set_target_processor_dpc_ex(Dpc, ProcNumber) }
    }
}

nt_fn! {
    /// `KeFlushQueuedDpcs`: `PASSIVE_LEVEL`.
    pub unsafe fn KeFlushQueuedDpcs() {
        let processor = enter("KeFlushQueuedDpcs");
        processor.inner.executive().ke_flush_queued_dpcs();
    }
}

nt_fn! {
    /// `KeInitializeThreadedDpc`: any IRQL.
    pub unsafe fn KeInitializeThreadedDpc(Dpc: PRKDPC, DeferredRoutine: PKDEFERRED_ROUTINE, DeferredContext: PVOID) {
        let processor = enter("KeInitializeThreadedDpc");
        // SAFETY: the caller's obligations are the same.
        unsafe { processor.inner.executive().ke_initialize_threaded_dpc(Dpc, DeferredRoutine, DeferredContext) };
    }
}

nt_fn! {
    /// `KeInitializeEvent`: any IRQL.
    pub unsafe fn KeInitializeEvent(Event: PRKEVENT, Type: EVENT_TYPE, State: BOOLEAN) {
        let processor = enter("KeInitializeEvent");
        // SAFETY: the caller's obligations are the same.
        unsafe { processor.inner.executive().ke_initialize_event(Event, Type, State) };
    }
}

nt_fn! {
    /// `KeSetEvent`: `DISPATCH_LEVEL` at most.
    pub unsafe fn KeSetEvent(Event: PRKEVENT, Increment: KPRIORITY, Wait: BOOLEAN) -> LONG {
        let processor = enter("KeSetEvent");
        // SAFETY: the caller's obligations are the same.
        unsafe { processor.inner.executive().ke_set_event(Event, Increment, Wait) }
    }
}

nt_fn! {
    /// `KeClearEvent`: `DISPATCH_LEVEL` at most.
    pub unsafe fn KeClearEvent(Event: PRKEVENT) {
        let processor = enter("KeClearEvent");
        // SAFETY: the caller's obligations are the same.
        unsafe { processor.inner.executive().ke_clear_event(Event) };
    }
}

nt_fn! {
    /// `KeReadStateEvent`: `DISPATCH_LEVEL` at most.
    pub unsafe fn KeReadStateEvent(Event: PRKEVENT) -> LONG {
        let processor = enter("KeReadStateEvent");
        // SAFETY: the caller's obligations are the same.
        unsafe { processor.inner.executive().ke_read_state_event(Event) }
    }
}

nt_fn! {
    /// `KeWaitForSingleObject`, of an event: `APC_LEVEL` at most, or `DISPATCH_LEVEL` with a timeout of 0.
    pub unsafe fn KeWaitForSingleObject(
        Object: PVOID,
        WaitReason: KWAIT_REASON,
        WaitMode: KPROCESSOR_MODE,
        Alertable: BOOLEAN,
        Timeout: PLARGE_INTEGER,
    ) -> NTSTATUS {
        let processor = enter("KeWaitForSingleObject");
        // SAFETY: the caller's obligations are the same.
        unsafe { processor.inner.executive().ke_wait_for_single_object(Object, WaitReason, WaitMode, Alertable, Timeout) }
    }
}

nt_fn! {
    /// `PsGetCurrentThreadId`: any IRQL.
    pub unsafe fn PsGetCurrentThreadId() -> HANDLE {
        thread_id()
    }
}

nt_fn! {
    /// `KeEnterCriticalRegion`: `APC_LEVEL` at most. The model delivers no APCs, so it has nothing to
    /// keep away.
    pub unsafe fn KeEnterCriticalRegion() {
        enter("KeEnterCriticalRegion").inner.executive().ke_enter_critical_region();
    }
}

nt_fn! {
    /// `KeLeaveCriticalRegion`: `APC_LEVEL` at most.
    pub unsafe fn KeLeaveCriticalRegion() {
        enter("KeLeaveCriticalRegion").inner.executive().ke_leave_critical_region();
    }
}

nt_fn! {
    /// `IoAllocateWorkItem`: `DISPATCH_LEVEL` at most.
    pub unsafe fn IoAllocateWorkItem(DeviceObject: PDEVICE_OBJECT) -> PIO_WORKITEM {
        let processor = enter("IoAllocateWorkItem");
        processor.inner.executive().io_allocate_work_item(DeviceObject)
    }
}

nt_fn! {
    /// `IoQueueWorkItem`: `DISPATCH_LEVEL` at most.
    pub unsafe fn IoQueueWorkItem(
        IoWorkItem: PIO_WORKITEM,
        WorkerRoutine: PIO_WORKITEM_ROUTINE,
        QueueType: WORK_QUEUE_TYPE,
        Context: PVOID,
    ) {
        let processor = enter("IoQueueWorkItem");
        // SAFETY: the caller's obligations are the same.
        unsafe { processor.inner.executive().io_queue_work_item(IoWorkItem, WorkerRoutine, QueueType, Context) };
    }
}

nt_fn! {
    /// `IoFreeWorkItem`: `DISPATCH_LEVEL` at most.
    pub unsafe fn IoFreeWorkItem(IoWorkItem: PIO_WORKITEM) {
        let processor = enter("IoFreeWorkItem");
        processor.inner.executive().io_free_work_item(IoWorkItem);
    }
}

nt_fn! {
    /// `KeAcquireSpinLockRaiseToDpc`: `DISPATCH_LEVEL` at most.
    pub unsafe fn KeAcquireSpinLockRaiseToDpc(SpinLock: PKSPIN_LOCK) -> KIRQL {
        let processor = enter("KeAcquireSpinLockRaiseToDpc");
        // SAFETY: the caller's obligations are the same.
        unsafe { processor.inner.executive().ke_acquire_spin_lock_raise_to_dpc(SpinLock) }
    }
}

nt_fn! {
    /// `KeReleaseSpinLock`: `DISPATCH_LEVEL`.
    pub unsafe fn KeReleaseSpinLock(SpinLock: PKSPIN_LOCK, NewIrql: KIRQL) {
        let processor = enter("KeReleaseSpinLock");
        // SAFETY: the caller's obligations are the same.
        unsafe { processor.inner.executive().ke_release_spin_lock(SpinLock, NewIrql) };
    }
}

nt_fn! {
    /// `KeAcquireSpinLockAtDpcLevel`: `DISPATCH_LEVEL`.
    pub unsafe fn KeAcquireSpinLockAtDpcLevel(SpinLock: PKSPIN_LOCK) {
        let processor = enter("KeAcquireSpinLockAtDpcLevel");
        // SAFETY: the caller's obligations are the same.
        unsafe { processor.inner.executive().ke_acquire_spin_lock_at_dpc_level(SpinLock) };
    }
}

nt_fn! {
    /// `KeReleaseSpinLockFromDpcLevel`: `DISPATCH_LEVEL`.
    pub unsafe fn KeReleaseSpinLockFromDpcLevel(SpinLock: PKSPIN_LOCK) {
        let processor = enter("KeReleaseSpinLockFromDpcLevel");
        // SAFETY: the caller's obligations are the same.
        unsafe { processor.inner.executive().ke_release_spin_lock_from_dpc_level(SpinLock) };
    }
}

nt_fn! {
    /// `KeGetCurrentIrql`: any IRQL.
    pub unsafe fn KeGetCurrentIrql() -> KIRQL {
        let processor = enter("KeGetCurrentIrql");
        processor.inner.executive().ke_get_current_irql()
    }
}

nt_fn! {
    /// `KfRaiseIrql`: any IRQL.
    pub unsafe fn KfRaiseIrql(NewIrql: KIRQL) -> KIRQL {
        let processor = enter("KfRaiseIrql");
        processor.inner.executive().kf_raise_irql(NewIrql)
    }
}

nt_fn! {
    /// `KeLowerIrql`: any IRQL.
    pub unsafe fn KeLowerIrql(NewIrql: KIRQL) {
        let processor = enter("KeLowerIrql");
        processor.inner.executive().ke_lower_irql(NewIrql);
    }
}

nt_fn! {
    /// `ExAllocatePool2`: `DISPATCH_LEVEL` at most.
    pub unsafe fn ExAllocatePool2(Flags: POOL_FLAGS, NumberOfBytes: SIZE_T, Tag: ULONG) -> PVOID {
        let processor = enter("ExAllocatePool2");
        processor.inner.executive().ex_allocate_pool2(Flags, NumberOfBytes, Tag)
    }
}

nt_fn! {
    /// `ExFreePool`: `DISPATCH_LEVEL` at most.
    pub unsafe fn ExFreePool(P: PVOID) {
        let processor = enter("ExFreePool");
        processor.inner.executive().ex_free_pool(P);
    }
}

nt_fn! {
    /// `ExFreePoolWithTag`: `DISPATCH_LEVEL` at most.
    pub unsafe fn ExFreePoolWithTag(P: PVOID, Tag: ULONG) {
        let processor = enter("ExFreePoolWithTag");
        processor.inner.executive().ex_free_pool_with_tag(P, Tag);
    }
}

nt_fn! {
    /// `KeBugCheckEx`: panics.
    pub unsafe fn KeBugCheckEx(
        BugCheckCode: ULONG,
        BugCheckParameter1: ULONG_PTR,
        BugCheckParameter2: ULONG_PTR,
        BugCheckParameter3: ULONG_PTR,
        BugCheckParameter4: ULONG_PTR,
    ) -> ! {
        let parameters =
            [BugCheckParameter1, BugCheckParameter2, BugCheckParameter3, BugCheckParameter4];
        current().inner.executive().ke_bug_check_ex(BugCheckCode, parameters)
    }
}
