//! The kernel's functions, with the names and types that they have everywhere else.

#![expect(
    non_snake_case,
    missing_docs,
    reason = "names are the kernel's, and so are what they mean and what they ask for"
)]

use core::ptr;

use crate::nt::{
    BOOLEAN, EVENT_TYPE, HANDLE, IO_CONNECT_INTERRUPT_PARAMETERS,
    IO_DISCONNECT_INTERRUPT_PARAMETERS, IO_REPORT_INTERRUPT_ACTIVE_STATE_PARAMETERS,
    KDPC_IMPORTANCE, KIRQL, KPRIORITY, KPROCESSOR_MODE, KWAIT_REASON, LONG, NTSTATUS,
    PDEVICE_OBJECT, PIO_WORKITEM, PIO_WORKITEM_ROUTINE, PKDEFERRED_ROUTINE, PKINTERRUPT,
    PKSYNCHRONIZE_ROUTINE, PLARGE_INTEGER, PPROCESSOR_NUMBER, PRKDPC, PRKEVENT, PVOID,
    STATUS_SUCCESS, ULONG, WORK_QUEUE_TYPE, nt_fn,
};
use crate::{dpc, kernel, thread};

nt_fn! {
    pub unsafe fn IoConnectInterruptEx(
        Parameters: *mut IO_CONNECT_INTERRUPT_PARAMETERS,
    ) -> NTSTATUS {
        let kernel = kernel();
        // SAFETY: the caller's, and valid for the call.
        let parameters = unsafe { &mut *Parameters };
        // SAFETY: filled for their version, as the caller promises.
        unsafe { kernel.interrupts.connect(kernel.wiring, parameters) }
    }
}

nt_fn! {
    pub unsafe fn IoDisconnectInterruptEx(Parameters: *mut IO_DISCONNECT_INTERRUPT_PARAMETERS) {
        // SAFETY: the caller's, and valid for the call.
        let parameters = unsafe { &*Parameters };
        kernel().interrupts.disconnect(parameters);
    }
}

nt_fn! {
    pub unsafe fn IoReportInterruptActive(
        _Parameters: *mut IO_REPORT_INTERRUPT_ACTIVE_STATE_PARAMETERS,
    ) {
    }
}

nt_fn! {
    pub unsafe fn IoReportInterruptInactive(
        _Parameters: *mut IO_REPORT_INTERRUPT_ACTIVE_STATE_PARAMETERS,
    ) {
    }
}

nt_fn! {
    pub unsafe fn KeSynchronizeExecution(
        Interrupt: PKINTERRUPT,
        SynchronizeRoutine: PKSYNCHRONIZE_ROUTINE,
        SynchronizeContext: PVOID,
    ) -> BOOLEAN {
        // SAFETY: routine and context go together, as the caller promises.
        unsafe { kernel().interrupts.synchronize(Interrupt, SynchronizeRoutine, SynchronizeContext) }
    }
}

nt_fn! {
    pub unsafe fn KeInitializeDpc(Dpc: PRKDPC, Routine: PKDEFERRED_ROUTINE, Context: PVOID) {
        // SAFETY: as the caller promises.
        unsafe { dpc::initialize(Dpc, Routine, Context, false) };
    }
}

nt_fn! {
    pub unsafe fn KeInitializeThreadedDpc(
        Dpc: PRKDPC,
        Routine: PKDEFERRED_ROUTINE,
        Context: PVOID,
    ) {
        // SAFETY: as the caller promises.
        unsafe { dpc::initialize(Dpc, Routine, Context, true) };
    }
}

nt_fn! {
    pub unsafe fn KeSetImportanceDpc(_Dpc: PRKDPC, _Importance: KDPC_IMPORTANCE) {}
}

nt_fn! {
    pub unsafe fn KeSetTargetProcessorDpcEx(
        _Dpc: PRKDPC,
        _Processor: PPROCESSOR_NUMBER,
    ) -> NTSTATUS {
        STATUS_SUCCESS
    }
}

nt_fn! {
    pub unsafe fn KeInsertQueueDpc(Dpc: PRKDPC, _First: PVOID, _Second: PVOID) -> BOOLEAN {
        kernel().dpcs.insert(Dpc).into()
    }
}

nt_fn! {
    pub unsafe fn KeRemoveQueueDpc(Dpc: PRKDPC) -> BOOLEAN {
        kernel().dpcs.remove(Dpc).into()
    }
}

nt_fn! {
    pub unsafe fn KeFlushQueuedDpcs() {
        kernel().dpcs.flush();
    }
}

nt_fn! {
    pub unsafe fn KeInitializeEvent(Event: PRKEVENT, _Type: EVENT_TYPE, State: BOOLEAN) {
        kernel().events.initialize(Event, State != 0);
    }
}

nt_fn! {
    pub unsafe fn KeSetEvent(Event: PRKEVENT, _Increment: KPRIORITY, _Wait: BOOLEAN) -> LONG {
        kernel().events.set(Event);
        0
    }
}

nt_fn! {
    pub unsafe fn KeWaitForSingleObject(
        Object: PVOID,
        _Reason: KWAIT_REASON,
        _Mode: KPROCESSOR_MODE,
        _Alertable: BOOLEAN,
        Timeout: PLARGE_INTEGER,
    ) -> NTSTATUS {
        kernel().events.wait(Object.cast(), !Timeout.is_null())
    }
}

nt_fn! {
    pub unsafe fn IoAllocateWorkItem(_Device: PDEVICE_OBJECT) -> PIO_WORKITEM {
        kernel().work.allocate()
    }
}

nt_fn! {
    pub unsafe fn IoQueueWorkItem(
        Item: PIO_WORKITEM,
        Routine: PIO_WORKITEM_ROUTINE,
        _Queue: WORK_QUEUE_TYPE,
        Context: PVOID,
    ) {
        kernel().work.queue(Item, Routine, Context);
    }
}

nt_fn! {
    pub unsafe fn IoFreeWorkItem(Item: PIO_WORKITEM) {
        kernel().work.free(Item);
    }
}

nt_fn! {
    pub unsafe fn ExAllocatePool2(_Flags: u64, Size: u64, Tag: ULONG) -> PVOID {
        let size = usize::try_from(Size).expect("a size that there can be");
        kernel().pool.allocate(size, Tag)
    }
}

nt_fn! {
    pub unsafe fn ExFreePoolWithTag(Memory: PVOID, Tag: ULONG) {
        let kernel = kernel();
        let range = kernel.pool.begin_free(Memory, Tag);
        kernel.interrupts.assert_none_in(&range);
        kernel.dpcs.assert_none_in(&range);
        kernel.work.assert_none_in(&range);
        kernel.pool.end_free(&range);
    }
}

nt_fn! {
    pub unsafe fn KeGetCurrentIrql() -> KIRQL {
        thread::irql()
    }
}

nt_fn! {
    pub unsafe fn KeEnterCriticalRegion() {}
}

nt_fn! {
    pub unsafe fn KeLeaveCriticalRegion() {}
}

nt_fn! {
    pub unsafe fn PsGetCurrentThreadId() -> HANDLE {
        ptr::without_provenance_mut(thread::number())
    }
}
