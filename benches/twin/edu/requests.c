/*
 * What programs ask for: open, the three IOCTLs, close.
 */
#include "edu.h"

static NTSTATUS EduReceive(PEDU_DEVICE Device, PIRP Irp)
{
    NTSTATUS status = IoAcquireRemoveLock(&Device->RemoveLock, Irp);

    if (!NT_SUCCESS(status)) {
        Irp->IoStatus.Status = status;
        Irp->IoStatus.Information = 0;
        IoCompleteRequest(Irp, IO_NO_INCREMENT);
    }
    return status;
}

/* Opens the device, unless it is gone, or about to be. It may be stopped. */
NTSTATUS NTAPI EduCreate(PDEVICE_OBJECT Object, PIRP Irp)
{
    PEDU_DEVICE device = EduDevice(Object);
    NTSTATUS status = EduReceive(device, Irp);

    if (!NT_SUCCESS(status)) {
        return status;
    }
    if (EduQueueAdmit(device) == STATUS_DEVICE_REMOVED) {
        return EduComplete(device, Irp, STATUS_DEVICE_REMOVED, 0);
    }
    /* A file opened now would be in the way of a removal that was just agreed to. */
    if (EduQueueIsHeld(device, EDU_HOLD_REMOVE)) {
        return EduComplete(device, Irp, STATUS_DELETE_PENDING, 0);
    }
    return EduComplete(device, Irp, STATUS_SUCCESS, 0);
}

/* The last handle of a file is closed. Nobody waits for its requests any more. */
NTSTATUS NTAPI EduCleanup(PDEVICE_OBJECT Object, PIRP Irp)
{
    PEDU_DEVICE device = EduDevice(Object);
    NTSTATUS status = EduReceive(device, Irp);

    if (!NT_SUCCESS(status)) {
        return status;
    }
    EduQueueCancelOfFile(device, IoGetCurrentIrpStackLocation(Irp)->FileObject);
    return EduComplete(device, Irp, STATUS_SUCCESS, 0);
}

NTSTATUS NTAPI EduClose(PDEVICE_OBJECT Object, PIRP Irp)
{
    PEDU_DEVICE device = EduDevice(Object);
    NTSTATUS status = EduReceive(device, Irp);

    return NT_SUCCESS(status) ? EduComplete(device, Irp, STATUS_SUCCESS, 0) : status;
}

/* WMI, of which this driver has none. */
NTSTATUS NTAPI EduSystemControl(PDEVICE_OBJECT Object, PIRP Irp)
{
    PEDU_DEVICE device = EduDevice(Object);
    NTSTATUS status = EduReceive(device, Irp);

    return NT_SUCCESS(status) ? EduForward(device, Irp) : status;
}

static NTSTATUS EduFactorial(PEDU_DEVICE Device, PIRP Irp, ULONG Number)
{
    NTSTATUS status = EduQueueAdmit(Device);

    /* Answered at once what is refused anyhow. */
    if (!NT_SUCCESS(status)) {
        return EduComplete(Device, Irp, status, 0);
    }
    /* Once queued the IRP can be completed at any time, and the remove lock it holds be released: this routine
       needs its own as long as it uses the device. */
    status = IoAcquireRemoveLock(&Device->RemoveLock, &Device->RemoveLock);
    if (!NT_SUCCESS(status)) {
        return EduComplete(Device, Irp, status, 0);
    }
    status = EduQueueInsert(Device, Irp, Number);
    if (NT_SUCCESS(status)) {
        EduServe(Device);
    } else {
        /* A STOP has come in between. Whether IoCsqInsertIrpEx has marked an IRP pending that it refuses is
           nowhere said; marked it is right in either case. */
        IoMarkIrpPending(Irp);
        EduComplete(Device, Irp, status, 0);
    }
    IoReleaseRemoveLock(&Device->RemoveLock, &Device->RemoveLock);
    return STATUS_PENDING;
}

static NTSTATUS EduRaiseRequest(PEDU_DEVICE Device, PIRP Irp, ULONG Bits)
{
    NTSTATUS status = EduQueueAdmit(Device);
    KIRQL irql;

    if (NT_SUCCESS(status)) {
        KeAcquireSpinLock(&Device->HardwareLock, &irql);
        if (!Device->Started || !EduRaise(&Device->Hardware, Bits)) {
            status = STATUS_DEVICE_NOT_READY;
        }
        KeReleaseSpinLock(&Device->HardwareLock, irql);
    }
    return EduComplete(Device, Irp, status, 0);
}

static NTSTATUS EduStatistics(PEDU_DEVICE Device, PIRP Irp)
{
    EDU_STATISTICS *statistics = Irp->AssociatedIrp.SystemBuffer;
    NTSTATUS status = EduQueueAdmit(Device);
    KIRQL irql;

    RtlZeroMemory(statistics, sizeof(*statistics));
    KeAcquireSpinLock(&Device->Queue.Lock, &irql);
    statistics->Computed = Device->Queue.Computed;
    statistics->Cancelled = Device->Queue.Cancelled;
    statistics->Pending = Device->Queue.Pending;
    KeReleaseSpinLock(&Device->Queue.Lock, irql);
    if (NT_SUCCESS(status)) {
        KeAcquireSpinLock(&Device->HardwareLock, &irql);
        if (Device->Started) {
            EduReadStatistics(&Device->Hardware, statistics);
        } else {
            status = STATUS_DEVICE_NOT_READY;
        }
        KeReleaseSpinLock(&Device->HardwareLock, irql);
    }
    return EduComplete(Device, Irp, status, NT_SUCCESS(status) ? sizeof(*statistics) : 0);
}

/* First what is wrong with a request in any case, then what the device says. */
NTSTATUS NTAPI EduDeviceControl(PDEVICE_OBJECT Object, PIRP Irp)
{
    PEDU_DEVICE device = EduDevice(Object);
    PIO_STACK_LOCATION stack = IoGetCurrentIrpStackLocation(Irp);
    ULONG input = stack->Parameters.DeviceIoControl.InputBufferLength;
    ULONG output = stack->Parameters.DeviceIoControl.OutputBufferLength;
    ULONG word;
    NTSTATUS status = EduReceive(device, Irp);

    if (!NT_SUCCESS(status)) {
        return status;
    }
    switch (stack->Parameters.DeviceIoControl.IoControlCode) {
    case IOCTL_EDU_FACTORIAL:
        if (input < sizeof(ULONG)) {
            return EduComplete(device, Irp, STATUS_INVALID_BUFFER_SIZE, 0);
        }
        if (output < sizeof(EDU_FACTORIAL_REPLY)) {
            return EduComplete(device, Irp, STATUS_BUFFER_TOO_SMALL, 0);
        }
        word = *(ULONG *)Irp->AssociatedIrp.SystemBuffer;
        if (word > EDU_MAX_NUMBER) {
            return EduComplete(device, Irp, STATUS_INVALID_PARAMETER, 0);
        }
        return EduFactorial(device, Irp, word);
    case IOCTL_EDU_RAISE:
        if (input < sizeof(ULONG)) {
            return EduComplete(device, Irp, STATUS_INVALID_BUFFER_SIZE, 0);
        }
        word = *(ULONG *)Irp->AssociatedIrp.SystemBuffer;
        if (word == 0 || (word & EDU_RESERVED_BITS) != 0) {
            return EduComplete(device, Irp, STATUS_INVALID_PARAMETER, 0);
        }
        return EduRaiseRequest(device, Irp, word);
    case IOCTL_EDU_STATISTICS:
        if (output < sizeof(EDU_STATISTICS)) {
            return EduComplete(device, Irp, STATUS_BUFFER_TOO_SMALL, 0);
        }
        return EduStatistics(device, Irp);
    default:
        return EduComplete(device, Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
}
