/*
 * Plug and play: the device starts, stops, starts again with other resources, and goes.
 */
#include "edu.h"
#include "registers.h"

/* ---- IRPs ------------------------------------------------------------------------------------------------ */

/* Completes an IRP and gives its remove lock back. */
NTSTATUS EduComplete(PEDU_DEVICE Device, PIRP Irp, NTSTATUS Status, ULONG_PTR Information)
{
    Irp->IoStatus.Status = Status;
    Irp->IoStatus.Information = Information;
    IoCompleteRequest(Irp, IO_NO_INCREMENT);
    IoReleaseRemoveLock(&Device->RemoveLock, Irp);
    return Status;
}

/* Passes an IRP down as it is, and is done with it. */
NTSTATUS EduForward(PEDU_DEVICE Device, PIRP Irp)
{
    NTSTATUS status;

    IoSkipCurrentIrpStackLocation(Irp);
    status = IoCallDriver(Device->Lower, Irp);
    IoReleaseRemoveLock(&Device->RemoveLock, Irp);
    return status;
}

static NTSTATUS NTAPI EduSignal(PDEVICE_OBJECT Object, PIRP Irp, PVOID Context)
{
    UNREFERENCED_PARAMETER(Object);
    UNREFERENCED_PARAMETER(Irp);
    KeSetEvent(Context, IO_NO_INCREMENT, FALSE);
    return STATUS_MORE_PROCESSING_REQUIRED;
}

/* Lets the lower drivers have the IRP first, and takes it back. PASSIVE_LEVEL. */
static NTSTATUS EduForwardAndWait(PEDU_DEVICE Device, PIRP Irp)
{
    NTSTATUS status;
    KEVENT done;

    KeInitializeEvent(&done, NotificationEvent, FALSE);
    IoCopyCurrentIrpStackLocationToNext(Irp);
    IoSetCompletionRoutine(Irp, EduSignal, &done, TRUE, TRUE, TRUE);
    status = IoCallDriver(Device->Lower, Irp);
    if (status == STATUS_PENDING) {
        KeWaitForSingleObject(&done, Executive, KernelMode, FALSE, NULL);
        status = Irp->IoStatus.Status;
    }
    return status;
}

/* ---- the resources --------------------------------------------------------------------------------------- */

typedef struct _EDU_RESOURCES {
    PHYSICAL_ADDRESS Start;
    ULONG Length;
    ULONG Messages;
} EDU_RESOURCES;

static VOID EduDescribe(PCM_PARTIAL_RESOURCE_DESCRIPTOR Raw, PCM_PARTIAL_RESOURCE_DESCRIPTOR Translated)
{
    if (Translated->Flags & CM_RESOURCE_INTERRUPT_MESSAGE) {
        DbgPrint("edu: resource: message, vector %#x, IRQL %u (%u of them)\n",
                 Translated->u.MessageInterrupt.Translated.Vector,
                 Translated->u.MessageInterrupt.Translated.Level & 0xFF, Raw->u.MessageInterrupt.Raw.MessageCount);
    } else {
        DbgPrint("edu: resource: line, vector %#x, IRQL %u\n", Translated->u.Interrupt.Vector,
                 Translated->u.Interrupt.Level & 0xFF);
    }
}

/* Reads the two lists of a START side by side: a descriptor's count of messages is in the raw one only. */
static NTSTATUS EduReadResources(PCM_RESOURCE_LIST Raw, PCM_RESOURCE_LIST Translated, EDU_RESOURCES *Resources)
{
    BOOLEAN memory = FALSE;
    PCM_PARTIAL_RESOURCE_LIST raw;
    PCM_PARTIAL_RESOURCE_LIST translated;
    ULONG index;

    RtlZeroMemory(Resources, sizeof(*Resources));
    /* A PCI device has one full descriptor. */
    if (Raw == NULL || Translated == NULL || Raw->Count == 0 || Translated->Count == 0) {
        return STATUS_DEVICE_CONFIGURATION_ERROR;
    }
    raw = &Raw->List[0].PartialResourceList;
    translated = &Translated->List[0].PartialResourceList;
    if (raw->Count != translated->Count) {
        return STATUS_DEVICE_CONFIGURATION_ERROR;
    }
    for (index = 0; index < translated->Count; index++) {
        PCM_PARTIAL_RESOURCE_DESCRIPTOR descriptor = &translated->PartialDescriptors[index];

        if (raw->PartialDescriptors[index].Type != descriptor->Type) {
            return STATUS_DEVICE_CONFIGURATION_ERROR;
        }
        if (descriptor->Type == CmResourceTypeMemory && !memory) {
            Resources->Start = descriptor->u.Memory.Start;
            Resources->Length = descriptor->u.Memory.Length;
            memory = TRUE;
        } else if (descriptor->Type == CmResourceTypeInterrupt) {
            EduDescribe(&raw->PartialDescriptors[index], descriptor);
            if (descriptor->Flags & CM_RESOURCE_INTERRUPT_MESSAGE) {
                Resources->Messages += max(1, raw->PartialDescriptors[index].u.MessageInterrupt.Raw.MessageCount);
            }
        }
    }
    return memory && Resources->Length >= EDU_REGISTERS_LENGTH ? STATUS_SUCCESS : STATUS_DEVICE_CONFIGURATION_ERROR;
}

/* Makes sure that this is the device, and that it is quiet: it may have been left in the middle of something. */
static NTSTATUS EduReset(volatile ULONG *Registers)
{
    const ULONG pattern = 0x5A5AA5A5;
    LARGE_INTEGER pause;
    ULONG look;

    EduWrite(Registers, EDU_LIVENESS, pattern);
    if (EduRead(Registers, EDU_IDENTIFICATION) != EDU_IDENTIFIED || EduRead(Registers, EDU_LIVENESS) != ~pattern) {
        return STATUS_NO_SUCH_DEVICE;
    }
    EduWrite(Registers, EDU_STATUS, 0);
    pause.QuadPart = -10000LL;
    for (look = 0; look < 20; look++) {
        if ((EduRead(Registers, EDU_STATUS) & EDU_STATUS_BUSY) == 0) {
            EduWrite(Registers, EDU_INTERRUPT_ACKNOWLEDGE, EduRead(Registers, EDU_INTERRUPT_STATUS));
            return STATUS_SUCCESS;
        }
        KeDelayExecutionThread(KernelMode, FALSE, &pause);
    }
    return STATUS_DEVICE_NOT_READY;
}

/* ---- the minor functions --------------------------------------------------------------------------------- */

/* Takes the assigned resources into use. The lower drivers have completed the START. */
static NTSTATUS EduBegin(PDEVICE_OBJECT Object, PIO_STACK_LOCATION Stack)
{
    PEDU_DEVICE device = EduDevice(Object);
    volatile ULONG *registers;
    EDU_RESOURCES resources;
    NTSTATUS status;
    KIRQL irql;

    EduSetPowerState(Object, PowerDeviceD0);
    /* The PnP manager stops a device before it starts it again; an old connection would name resources that are
       no longer the device's. */
    EduQueueHold(device, EDU_HOLD_STOP);
    EduDisconnect(device, EduPresent);

    status = EduReadResources(Stack->Parameters.StartDevice.AllocatedResources,
                              Stack->Parameters.StartDevice.AllocatedResourcesTranslated, &resources);
    if (!NT_SUCCESS(status)) {
        return status;
    }
    registers = MmMapIoSpaceEx(resources.Start, EDU_REGISTERS_LENGTH, PAGE_READWRITE | PAGE_NOCACHE);
    if (registers == NULL) {
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    status = EduReset(registers);
    if (!NT_SUCCESS(status)) {
        MmUnmapIoSpace((PVOID)(ULONG_PTR)registers, EDU_REGISTERS_LENGTH);
        return status;
    }
    status = EduConnect(device, registers, resources.Messages);
    if (!NT_SUCCESS(status)) {
        return status;
    }

    KeAcquireSpinLock(&device->HardwareLock, &irql);
    device->Started = TRUE;
    KeReleaseSpinLock(&device->HardwareLock, irql);
    EduQueueRefuse(device, STATUS_SUCCESS);
    /* A device that was asleep when it was stopped is awake after a START. */
    EduQueueRelease(device, EDU_HOLD_SLEEP);
    EduQueueRelease(device, EDU_HOLD_STOP);
    /* Programs come as soon as it is enabled, so everything else is ready by then. */
    status = IoSetDeviceInterfaceState(&device->InterfaceLink, TRUE);
    if (!NT_SUCCESS(status)) {
        EduQueueHold(device, EDU_HOLD_STOP);
        EduQueueRefuse(device, STATUS_DEVICE_NOT_READY);
        EduDisconnect(device, EduPresent);
        return status;
    }
    EduServe(device);
    return STATUS_SUCCESS;
}

static NTSTATUS EduStart(PDEVICE_OBJECT Object, PIRP Irp)
{
    PEDU_DEVICE device = EduDevice(Object);
    NTSTATUS status = EduForwardAndWait(device, Irp);

    if (NT_SUCCESS(status)) {
        status = EduBegin(Object, IoGetCurrentIrpStackLocation(Irp));
        if (!NT_SUCCESS(status)) {
            DbgPrint("edu: not started: %#010x\n", status);
        }
    }
    return EduComplete(device, Irp, status, 0);
}

/* QUERY_STOP, QUERY_REMOVE: nothing new is begun, and the device finishes what it computes. */
static NTSTATUS EduQuery(PEDU_DEVICE Device, PIRP Irp, ULONG Hold)
{
    EduQueueHold(Device, Hold);
    if (!EduQueueDrain(Device)) {
        EduQueueRelease(Device, Hold);
        EduServe(Device);
        return EduComplete(Device, Irp, STATUS_DEVICE_BUSY, 0);
    }
    Irp->IoStatus.Status = STATUS_SUCCESS;
    return EduForward(Device, Irp);
}

/* CANCEL_STOP, CANCEL_REMOVE: on as before, the lower drivers first. They also come when no query did. */
static NTSTATUS EduCancel(PEDU_DEVICE Device, PIRP Irp, ULONG Hold)
{
    NTSTATUS status;

    Irp->IoStatus.Status = STATUS_SUCCESS;
    status = EduForwardAndWait(Device, Irp);
    EduQueueRelease(Device, Hold);
    EduServe(Device);
    return EduComplete(Device, Irp, status, 0);
}

/* STOP: gives the resources back. What waits in the queue goes on waiting. */
static NTSTATUS EduStop(PEDU_DEVICE Device, PIRP Irp)
{
    EduQueueHold(Device, EDU_HOLD_STOP);
    EduQueueRefuse(Device, STATUS_DEVICE_NOT_READY);
    EduDisconnect(Device, EduPresent);
    DbgPrint("edu: stopped\n");
    Irp->IoStatus.Status = STATUS_SUCCESS;
    return EduForward(Device, Irp);
}

/* Ends what the device does for good. After a surprise removal REMOVE finds nothing left to do. */
static VOID EduRetire(PEDU_DEVICE Device, EDU_PRESENCE Presence)
{
    EduQueueHold(Device, EDU_HOLD_REMOVE);
    EduQueueRefuse(Device, STATUS_DEVICE_REMOVED);
    /* An interface that was never enabled cannot be disabled, which is as good. */
    (VOID)IoSetDeviceInterfaceState(&Device->InterfaceLink, FALSE);
    EduDisconnect(Device, Presence);
    EduQueueFailAll(Device, STATUS_DEVICE_REMOVED);
}

static NTSTATUS EduSurpriseRemoval(PEDU_DEVICE Device, PIRP Irp)
{
    EduRetire(Device, EduGone);
    DbgPrint("edu: removed by surprise\n");
    Irp->IoStatus.Status = STATUS_SUCCESS;
    return EduForward(Device, Irp);
}

/* REMOVE: the last IRP. */
static NTSTATUS EduRemove(PDEVICE_OBJECT Object, PIRP Irp)
{
    PEDU_DEVICE device = EduDevice(Object);
    NTSTATUS status;

    EduRetire(device, EduPresent);
    Irp->IoStatus.Status = STATUS_SUCCESS;
    IoSkipCurrentIrpStackLocation(Irp);
    status = IoCallDriver(device->Lower, Irp);
    IoReleaseRemoveLockAndWait(&device->RemoveLock, Irp);
    DbgPrint("edu: removed\n");
    EduDeleteDevice(Object);
    return status;
}

/* PASSIVE_LEVEL. */
NTSTATUS NTAPI EduPnp(PDEVICE_OBJECT Object, PIRP Irp)
{
    PEDU_DEVICE device = EduDevice(Object);
    NTSTATUS status = IoAcquireRemoveLock(&device->RemoveLock, Irp);

    if (!NT_SUCCESS(status)) {
        Irp->IoStatus.Status = status;
        Irp->IoStatus.Information = 0;
        IoCompleteRequest(Irp, IO_NO_INCREMENT);
        return status;
    }
    switch (IoGetCurrentIrpStackLocation(Irp)->MinorFunction) {
    case IRP_MN_START_DEVICE:
        return EduStart(Object, Irp);
    case IRP_MN_QUERY_STOP_DEVICE:
        return EduQuery(device, Irp, EDU_HOLD_STOP);
    case IRP_MN_CANCEL_STOP_DEVICE:
        return EduCancel(device, Irp, EDU_HOLD_STOP);
    case IRP_MN_STOP_DEVICE:
        return EduStop(device, Irp);
    case IRP_MN_QUERY_REMOVE_DEVICE:
        return EduQuery(device, Irp, EDU_HOLD_REMOVE);
    case IRP_MN_CANCEL_REMOVE_DEVICE:
        return EduCancel(device, Irp, EDU_HOLD_REMOVE);
    case IRP_MN_SURPRISE_REMOVAL:
        return EduSurpriseRemoval(device, Irp);
    case IRP_MN_REMOVE_DEVICE:
        return EduRemove(Object, Irp);
    default:
        /* What a function driver has nothing to say to, goes down with its status untouched. */
        return EduForward(device, Irp);
    }
}
