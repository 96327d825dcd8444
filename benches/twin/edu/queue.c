/*
 * The queue of factorials: cancel-safe, by the I/O manager's IoCsq routines.
 *
 * A request is in the queue from its arrival to its completion, also while the device computes for it, so that
 * it can be cancelled all the time. Whoever takes it out completes it, and IoCsq sees to it that only one does.
 */
#include "edu.h"

/* Which IRP to take: the PeekContext of IoCsq. */
typedef enum _EDU_WHICH_KIND { EduFirst, EduCurrent, EduOfFile } EDU_WHICH_KIND;

typedef struct _EDU_WHICH {
    EDU_WHICH_KIND Kind;
    PFILE_OBJECT File;
} EDU_WHICH;

FORCEINLINE EDU_QUEUE *EduQueueOf(PIO_CSQ Csq)
{
    return CONTAINING_RECORD(Csq, EDU_QUEUE, Csq);
}

FORCEINLINE PEDU_DEVICE EduDeviceOf(PIO_CSQ Csq)
{
    return CONTAINING_RECORD(EduQueueOf(Csq), EDU_DEVICE, Queue);
}

/* DriverContext[0] is the driver's; the fourth is IoCsq's. */
FORCEINLINE ULONG EduNumber(PIRP Irp)
{
    return (ULONG)(ULONG_PTR)Irp->Tail.Overlay.DriverContext[0];
}

static NTSTATUS NTAPI EduCsqInsert(PIO_CSQ Csq, PIRP Irp, PVOID Context)
{
    EDU_QUEUE *queue = EduQueueOf(Csq);

    UNREFERENCED_PARAMETER(Context);
    if (!NT_SUCCESS(queue->Refusal)) {
        return queue->Refusal;
    }
    InsertTailList(&queue->Irps, &Irp->Tail.Overlay.ListEntry);
    queue->Pending += 1;
    return STATUS_SUCCESS;
}

static VOID NTAPI EduCsqRemove(PIO_CSQ Csq, PIRP Irp)
{
    EDU_QUEUE *queue = EduQueueOf(Csq);

    RemoveEntryList(&Irp->Tail.Overlay.ListEntry);
    queue->Pending -= 1;
    if (queue->Work == EduComputing && queue->Current == Irp) {
        queue->Work = EduDraining;
    }
}

static PIRP NTAPI EduCsqPeekNext(PIO_CSQ Csq, PIRP Irp, PVOID Context)
{
    EDU_QUEUE *queue = EduQueueOf(Csq);
    EDU_WHICH *which = Context;
    PLIST_ENTRY entry = Irp == NULL ? queue->Irps.Flink : Irp->Tail.Overlay.ListEntry.Flink;

    for (; entry != &queue->Irps; entry = entry->Flink) {
        PIRP candidate = CONTAINING_RECORD(entry, IRP, Tail.Overlay.ListEntry);
        BOOLEAN wanted = TRUE;

        if (which->Kind == EduCurrent) {
            wanted = queue->Work == EduComputing && queue->Current == candidate;
        } else if (which->Kind == EduOfFile) {
            wanted = IoGetCurrentIrpStackLocation(candidate)->FileObject == which->File;
        }
        if (wanted) {
            return candidate;
        }
    }
    return NULL;
}

static VOID NTAPI EduCsqAcquire(PIO_CSQ Csq, PKIRQL Irql)
{
    KeAcquireSpinLock(&EduQueueOf(Csq)->Lock, Irql);
}

static VOID NTAPI EduCsqRelease(PIO_CSQ Csq, KIRQL Irql)
{
    KeReleaseSpinLock(&EduQueueOf(Csq)->Lock, Irql);
}

static VOID NTAPI EduCsqCompleteCancelled(PIO_CSQ Csq, PIRP Irp)
{
    EDU_QUEUE *queue = EduQueueOf(Csq);
    KIRQL irql;

    KeAcquireSpinLock(&queue->Lock, &irql);
    queue->Cancelled += 1;
    KeReleaseSpinLock(&queue->Lock, irql);
    EduComplete(EduDeviceOf(Csq), Irp, STATUS_CANCELLED, 0);
}

NTSTATUS EduQueueInitialize(PEDU_DEVICE Device)
{
    EDU_QUEUE *queue = &Device->Queue;

    KeInitializeSpinLock(&queue->Lock);
    InitializeListHead(&queue->Irps);
    queue->Work = EduIdle;
    queue->Holds = EDU_HOLD_STOP;
    queue->Refusal = STATUS_DEVICE_NOT_READY;
    KeInitializeEvent(&queue->Idle, NotificationEvent, TRUE);
    return IoCsqInitializeEx(&queue->Csq, EduCsqInsert, EduCsqRemove, EduCsqPeekNext, EduCsqAcquire, EduCsqRelease,
                             EduCsqCompleteCancelled);
}

/* Queues the IRP, as pending. After a success it may be gone. */
NTSTATUS EduQueueInsert(PEDU_DEVICE Device, PIRP Irp, ULONG Number)
{
    Irp->Tail.Overlay.DriverContext[0] = (PVOID)(ULONG_PTR)Number;
    return IoCsqInsertIrpEx(&Device->Queue.Csq, Irp, NULL, NULL);
}

static PIRP EduQueueTake(PEDU_DEVICE Device, EDU_WHICH_KIND Kind, PFILE_OBJECT File)
{
    EDU_WHICH which = {Kind, File};

    return IoCsqRemoveNextIrp(&Device->Queue.Csq, &which);
}

/* Chooses the request that the device computes next. Who gets a number must have the device compute it. */
BOOLEAN EduQueueBegin(PEDU_DEVICE Device, ULONG *Number)
{
    EDU_QUEUE *queue = &Device->Queue;
    BOOLEAN begun = FALSE;
    KIRQL irql;

    KeAcquireSpinLock(&queue->Lock, &irql);
    if (queue->Work == EduIdle && queue->Holds == 0 && !IsListEmpty(&queue->Irps)) {
        queue->Current = CONTAINING_RECORD(queue->Irps.Flink, IRP, Tail.Overlay.ListEntry);
        queue->Work = EduComputing;
        KeClearEvent(&queue->Idle);
        *Number = EduNumber(queue->Current);
        begun = TRUE;
    }
    KeReleaseSpinLock(&queue->Lock, irql);
    return begun;
}

/* The device has computed: completes the request, unless it is gone, and makes the device free. */
VOID EduQueueFinish(PEDU_DEVICE Device, ULONG Factorial)
{
    EDU_QUEUE *queue = &Device->Queue;
    PIRP irp = EduQueueTake(Device, EduCurrent, NULL);

    if (irp != NULL) {
        EDU_FACTORIAL_REPLY *reply = irp->AssociatedIrp.SystemBuffer;
        KIRQL irql;

        KeAcquireSpinLock(&queue->Lock, &irql);
        queue->Computed += 1;
        KeReleaseSpinLock(&queue->Lock, irql);
        reply->Number = EduNumber(irp);
        reply->Factorial = Factorial;
        EduComplete(Device, irp, STATUS_SUCCESS, sizeof(*reply));
    }
    EduQueueAbandon(Device);
}

/* The device takes too long: what it computes is thrown away once it is done, and the request begun again then. */
VOID EduQueueDisown(PEDU_DEVICE Device)
{
    EDU_QUEUE *queue = &Device->Queue;
    KIRQL irql;

    KeAcquireSpinLock(&queue->Lock, &irql);
    if (queue->Work == EduComputing) {
        queue->Work = EduDraining;
    }
    KeReleaseSpinLock(&queue->Lock, irql);
}

/* The device is free. A current request that has not left the queue is begun again. */
VOID EduQueueAbandon(PEDU_DEVICE Device)
{
    EDU_QUEUE *queue = &Device->Queue;
    KIRQL irql;

    KeAcquireSpinLock(&queue->Lock, &irql);
    queue->Work = EduIdle;
    KeSetEvent(&queue->Idle, IO_NO_INCREMENT, FALSE);
    KeReleaseSpinLock(&queue->Lock, irql);
}

NTSTATUS EduQueueAdmit(PEDU_DEVICE Device)
{
    NTSTATUS refusal;
    KIRQL irql;

    KeAcquireSpinLock(&Device->Queue.Lock, &irql);
    refusal = Device->Queue.Refusal;
    KeReleaseSpinLock(&Device->Queue.Lock, irql);
    return refusal;
}

VOID EduQueueRefuse(PEDU_DEVICE Device, NTSTATUS Status)
{
    KIRQL irql;

    KeAcquireSpinLock(&Device->Queue.Lock, &irql);
    Device->Queue.Refusal = Status;
    KeReleaseSpinLock(&Device->Queue.Lock, irql);
}

VOID EduQueueHold(PEDU_DEVICE Device, ULONG Hold)
{
    KIRQL irql;

    KeAcquireSpinLock(&Device->Queue.Lock, &irql);
    Device->Queue.Holds |= Hold;
    KeReleaseSpinLock(&Device->Queue.Lock, irql);
}

VOID EduQueueRelease(PEDU_DEVICE Device, ULONG Hold)
{
    KIRQL irql;

    KeAcquireSpinLock(&Device->Queue.Lock, &irql);
    Device->Queue.Holds &= ~Hold;
    KeReleaseSpinLock(&Device->Queue.Lock, irql);
}

BOOLEAN EduQueueIsHeld(PEDU_DEVICE Device, ULONG Hold)
{
    BOOLEAN held;
    KIRQL irql;

    KeAcquireSpinLock(&Device->Queue.Lock, &irql);
    held = (Device->Queue.Holds & Hold) != 0;
    KeReleaseSpinLock(&Device->Queue.Lock, irql);
    return held;
}

/* Waits until the device is done with what it computes. The caller holds the queue. PASSIVE_LEVEL. */
BOOLEAN EduQueueDrain(PEDU_DEVICE Device)
{
    LARGE_INTEGER patience;

    patience.QuadPart = -10000LL * 1000;
    return KeWaitForSingleObject(&Device->Queue.Idle, Executive, KernelMode, FALSE, &patience) == STATUS_SUCCESS;
}

VOID EduQueueFailAll(PEDU_DEVICE Device, NTSTATUS Status)
{
    PIRP irp;

    while ((irp = EduQueueTake(Device, EduFirst, NULL)) != NULL) {
        EduComplete(Device, irp, Status, 0);
    }
}

VOID EduQueueCancelOfFile(PEDU_DEVICE Device, PFILE_OBJECT File)
{
    PIRP irp;

    while ((irp = EduQueueTake(Device, EduOfFile, File)) != NULL) {
        EduCsqCompleteCancelled(&Device->Queue.Csq, irp);
    }
}
