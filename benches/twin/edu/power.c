/*
 * Power: the device sleeps and wakes up with the system. The driver is the device's power policy owner.
 *
 * The dispatch routine runs at PASSIVE_LEVEL, the completion routines at up to DISPATCH_LEVEL: falling asleep may
 * wait for the device, waking up may not.
 */
#include "edu.h"

VOID EduSetPowerState(PDEVICE_OBJECT Object, DEVICE_POWER_STATE State)
{
    POWER_STATE state;

    state.DeviceState = State;
    PoSetPowerState(Object, DevicePowerState, state);
}

/* Lets the device finish what it computes, and silences it. What waits goes on waiting. */
static VOID EduSleep(PEDU_DEVICE Device)
{
    BOOLEAN finished;
    BOOLEAN started;
    KIRQL irql;

    EduQueueHold(Device, EDU_HOLD_SLEEP);
    finished = EduQueueDrain(Device);
    KeAcquireSpinLock(&Device->HardwareLock, &irql);
    started = Device->Started;
    if (started) {
        EduPutToSleep(&Device->Hardware);
    }
    KeReleaseSpinLock(&Device->HardwareLock, irql);
    if (started) {
        DbgPrint("edu: asleep\n");
    }
    if (!finished) {
        /* A DPC that has taken a result at the last moment ends first. */
        KeFlushQueuedDpcs();
        EduQueueDisown(Device);
    }
}

/* Has the device interrupt again, and begins what waits. IRQL: at most DISPATCH_LEVEL. */
static VOID EduWake(PEDU_DEVICE Device)
{
    EDU_WOKEN woken = EduWasAwake;
    BOOLEAN started;
    KIRQL irql;

    KeAcquireSpinLock(&Device->HardwareLock, &irql);
    started = Device->Started;
    if (started) {
        woken = EduWakeUp(&Device->Hardware);
    }
    KeReleaseSpinLock(&Device->HardwareLock, irql);
    /* A device that is still busy would ignore what it is told now: the DPC throws its result away first. */
    if (woken == EduAtRest) {
        EduQueueAbandon(Device);
    }
    EduQueueRelease(Device, EDU_HOLD_SLEEP);
    if (started) {
        DbgPrint("edu: awake\n");
        EduServe(Device);
    }
}

/* The lower drivers have powered the device. */
static NTSTATUS NTAPI EduPoweredUp(PDEVICE_OBJECT Object, PIRP Irp, PVOID Context)
{
    PEDU_DEVICE device = EduDevice(Object);

    UNREFERENCED_PARAMETER(Context);
    if (NT_SUCCESS(Irp->IoStatus.Status)) {
        EduSetPowerState(Object, PowerDeviceD0);
        EduWake(device);
    }
    IoReleaseRemoveLock(&device->RemoveLock, Irp);
    return STATUS_CONTINUE_COMPLETION;
}

/* The device has followed the system: the system's IRP can be completed. */
static VOID NTAPI EduDeviceFollowed(PDEVICE_OBJECT Physical, UCHAR MinorFunction, POWER_STATE State, PVOID Context,
                                    PIO_STATUS_BLOCK IoStatus)
{
    PIRP irp = Context;
    PEDU_DEVICE device = EduDevice(IoGetCurrentIrpStackLocation(irp)->DeviceObject);

    UNREFERENCED_PARAMETER(Physical);
    UNREFERENCED_PARAMETER(MinorFunction);
    UNREFERENCED_PARAMETER(State);
    if (!NT_SUCCESS(IoStatus->Status)) {
        DbgPrint("edu: the device has not followed the system: %#010x\n", IoStatus->Status);
    }
    EduComplete(device, irp, STATUS_SUCCESS, 0);
}

/* The lower drivers know of the system's state, now the device follows. */
static NTSTATUS NTAPI EduSystemForwarded(PDEVICE_OBJECT Object, PIRP Irp, PVOID Context)
{
    PEDU_DEVICE device = EduDevice(Object);
    PIO_STACK_LOCATION stack = IoGetCurrentIrpStackLocation(Irp);
    POWER_STATE state;
    NTSTATUS status;

    UNREFERENCED_PARAMETER(Context);
    if (!NT_SUCCESS(Irp->IoStatus.Status)) {
        EduComplete(device, Irp, Irp->IoStatus.Status, 0);
        return STATUS_MORE_PROCESSING_REQUIRED;
    }
    state.DeviceState =
        stack->Parameters.Power.State.SystemState == PowerSystemWorking ? PowerDeviceD0 : PowerDeviceD3;
    status = PoRequestPowerIrp(device->Physical, IRP_MN_SET_POWER, state, EduDeviceFollowed, Irp, NULL);
    if (!NT_SUCCESS(status)) {
        /* The function driver must not fail the system's SET_POWER. */
        DbgPrint("edu: the device does not follow the system: %#010x\n", status);
        EduComplete(device, Irp, STATUS_SUCCESS, 0);
    }
    return STATUS_MORE_PROCESSING_REQUIRED;
}

static NTSTATUS EduForwardThen(PEDU_DEVICE Device, PIRP Irp, PIO_COMPLETION_ROUTINE Routine)
{
    IoMarkIrpPending(Irp);
    IoCopyCurrentIrpStackLocationToNext(Irp);
    IoSetCompletionRoutine(Irp, Routine, NULL, TRUE, TRUE, TRUE);
    IoCallDriver(Device->Lower, Irp);
    return STATUS_PENDING;
}

/* PASSIVE_LEVEL, because the device object says DO_POWER_PAGABLE. */
NTSTATUS NTAPI EduPower(PDEVICE_OBJECT Object, PIRP Irp)
{
    PEDU_DEVICE device = EduDevice(Object);
    PIO_STACK_LOCATION stack = IoGetCurrentIrpStackLocation(Irp);
    NTSTATUS status = IoAcquireRemoveLock(&device->RemoveLock, Irp);

    if (!NT_SUCCESS(status)) {
        Irp->IoStatus.Status = status;
        Irp->IoStatus.Information = 0;
        IoCompleteRequest(Irp, IO_NO_INCREMENT);
        return status;
    }
    switch (stack->MinorFunction) {
    case IRP_MN_SET_POWER:
        if (stack->Parameters.Power.Type == SystemPowerState) {
            return EduForwardThen(device, Irp, EduSystemForwarded);
        }
        if (stack->Parameters.Power.State.DeviceState == PowerDeviceD0) {
            return EduForwardThen(device, Irp, EduPoweredUp);
        }
        EduSleep(device);
        EduSetPowerState(Object, stack->Parameters.Power.State.DeviceState);
        Irp->IoStatus.Status = STATUS_SUCCESS;
        return EduForward(device, Irp);
    case IRP_MN_QUERY_POWER:
        Irp->IoStatus.Status = STATUS_SUCCESS;
        return EduForward(device, Irp);
    default:
        return EduForward(device, Irp);
    }
}
