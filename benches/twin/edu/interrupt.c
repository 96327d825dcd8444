/*
 * The interrupt: connecting, the service routines, the DPC, disconnecting.
 *
 * How the device signals: raising a bit sets it in the interrupt status and asserts the line or, if messages
 * are enabled, sends one; acknowledging clears bits, and releases the line when none is left. So the service
 * routine acknowledges exactly what it has read: a bit raised after the read keeps the level, or has sent a
 * message of its own.
 */
#include "edu.h"
#include "registers.h"

/* ---- under the interrupt's lock -------------------------------------------------------------------------- */

/* The service routine proper: whether the device interrupted, and then what it wanted is in Isr. */
FORCEINLINE BOOLEAN EduServiceDevice(EDU_ISR *Isr)
{
    volatile ULONG *registers = Isr->Registers;
    ULONG raised = 0;

    if (Isr->Mode != EduAsleep) {
        raised = EduRead(registers, EDU_INTERRUPT_STATUS);
    }
    /* Nothing: another device on the line. All ones: this one is gone. */
    if (raised == 0 || raised == MAXULONG) {
        Isr->NotMine += 1;
        return FALSE;
    }
    EduWrite(registers, EDU_INTERRUPT_ACKNOWLEDGE, raised);
    if ((raised & EDU_FACTORIAL_COMPLETE) != 0 && Isr->Computation == EduAsked) {
        Isr->Computation = EduSignalled;
    }
    Isr->Claimed += 1;
    Isr->StatusSeen |= raised;
    return TRUE;
}

static BOOLEAN NTAPI EduServiceLine(PKINTERRUPT Interrupt, PVOID Context)
{
    EDU_HARDWARE *hardware = Context;

    UNREFERENCED_PARAMETER(Interrupt);
    if (!EduServiceDevice(&hardware->Isr)) {
        return FALSE;
    }
    hardware->Isr.Line += 1;
    KeInsertQueueDpc(&hardware->Dpc, NULL, NULL);
    return TRUE;
}

static BOOLEAN NTAPI EduServiceMessage(PKINTERRUPT Interrupt, PVOID Context, ULONG MessageId)
{
    EDU_HARDWARE *hardware = Context;
    EDU_ISR *isr = &hardware->Isr;

    UNREFERENCED_PARAMETER(Interrupt);
    /* Which messages there are is for the table that the connect returned to say. */
    if (MessageId >= hardware->MessageCount || !EduServiceDevice(isr)) {
        return FALSE;
    }
    /* There are as many counters as messages were assigned. One without a counter is the device's all the same. */
    if (MessageId < isr->CounterCount) {
        isr->ByMessage[MessageId] += 1;
    }
    KeInsertQueueDpc(&hardware->Dpc, NULL, NULL);
    return TRUE;
}

static BOOLEAN NTAPI EduEnable(PVOID Context)
{
    EDU_ISR *isr = Context;

    isr->Mode = EduAwake;
    EduWrite(isr->Registers, EDU_STATUS, EDU_STATUS_INTERRUPT);
    return TRUE;
}

/* Silences the device. What it still computes is given up. */
static BOOLEAN NTAPI EduDisable(PVOID Context)
{
    EDU_ISR *isr = Context;

    /* Called again when the DPC has ended, and also for a device that sleeps. */
    if (isr->Mode == EduAwake) {
        volatile ULONG *registers = isr->Registers;

        isr->Mode = EduSilent;
        isr->Computation = EduNothingAsked;
        EduWrite(registers, EDU_STATUS, 0);
        EduWrite(registers, EDU_INTERRUPT_ACKNOWLEDGE, EduRead(registers, EDU_INTERRUPT_STATUS));
        /* A read overtakes no write: now all has arrived, and a level line is released. */
        (VOID)EduRead(registers, EDU_INTERRUPT_STATUS);
    }
    return TRUE;
}

typedef struct _EDU_RESULT {
    EDU_ISR *Isr;
    ULONG Factorial;
} EDU_RESULT;

/* The result, if the device has completed what it was asked for. Each is given once. */
static BOOLEAN NTAPI EduTakeResult(PVOID Context)
{
    EDU_RESULT *result = Context;
    EDU_ISR *isr = result->Isr;
    volatile ULONG *registers = isr->Registers;

    isr->DeferredRuns += 1;
    if (isr->Computation != EduSignalled || (EduRead(registers, EDU_STATUS) & EDU_STATUS_BUSY) != 0) {
        return FALSE;
    }
    result->Factorial = EduRead(registers, EDU_FACTORIAL);
    /* Only a device that is still there afterwards has given this result. */
    if (EduRead(registers, EDU_IDENTIFICATION) != EDU_IDENTIFIED) {
        return FALSE;
    }
    isr->Computation = EduNothingAsked;
    return TRUE;
}

typedef struct _EDU_ORDER {
    EDU_ISR *Isr;
    ULONG Value;
} EDU_ORDER;

static BOOLEAN NTAPI EduCompute(PVOID Context)
{
    EDU_ORDER *order = Context;

    if (order->Isr->Mode == EduAwake) {
        order->Isr->Computation = EduAsked;
        EduWrite(order->Isr->Registers, EDU_FACTORIAL, order->Value);
    }
    return TRUE;
}

static BOOLEAN NTAPI EduRaiseBits(PVOID Context)
{
    EDU_ORDER *order = Context;

    if (order->Isr->Mode != EduAwake) {
        return FALSE;
    }
    EduWrite(order->Isr->Registers, EDU_INTERRUPT_RAISE, order->Value);
    return TRUE;
}

static BOOLEAN NTAPI EduFallAsleep(PVOID Context)
{
    EDU_ISR *isr = Context;

    isr->Mode = EduAsleep;
    return TRUE;
}

/* The device has its power back; it does not interrupt yet. Whether it had been asleep. */
static BOOLEAN NTAPI EduGetUp(PVOID Context)
{
    EDU_ISR *isr = Context;

    if (isr->Mode != EduAsleep) {
        return FALSE;
    }
    isr->Mode = EduSilent;
    return TRUE;
}

/* Whether the device still computes what it was asked for before it fell asleep. */
static BOOLEAN NTAPI EduTakeStock(PVOID Context)
{
    EDU_ISR *isr = Context;

    if ((EduRead(isr->Registers, EDU_STATUS) & EDU_STATUS_BUSY) == 0) {
        return FALSE;
    }
    isr->Computation = EduAsked;
    return TRUE;
}

typedef struct _EDU_SNAPSHOT {
    EDU_ISR *Isr;
    EDU_STATISTICS *Statistics;
} EDU_SNAPSHOT;

static BOOLEAN NTAPI EduSnapshot(PVOID Context)
{
    EDU_SNAPSHOT *snapshot = Context;
    EDU_ISR *isr = snapshot->Isr;
    EDU_STATISTICS *statistics = snapshot->Statistics;
    ULONG message;

    statistics->Claimed = isr->Claimed;
    statistics->NotMine = isr->NotMine;
    statistics->Line = isr->Line;
    /* The reply has room for a few messages; the last stands for all that follow. */
    for (message = 0; message < isr->CounterCount; message++) {
        statistics->Messages[min(message, EDU_MESSAGES_REPORTED - 1)] += isr->ByMessage[message];
    }
    statistics->DeferredRuns = isr->DeferredRuns;
    statistics->StatusSeen = isr->StatusSeen;
    return TRUE;
}

/* ---- outside of it --------------------------------------------------------------------------------------- */

FORCEINLINE BOOLEAN EduSynchronize(EDU_HARDWARE *Hardware, PKSYNCHRONIZE_ROUTINE Routine, PVOID Context)
{
    return KeSynchronizeExecution(Hardware->Interrupt, Routine, Context);
}

BOOLEAN EduRaise(EDU_HARDWARE *Hardware, ULONG Bits)
{
    EDU_ORDER order = {&Hardware->Isr, Bits};

    return EduSynchronize(Hardware, EduRaiseBits, &order);
}

VOID EduReadStatistics(EDU_HARDWARE *Hardware, EDU_STATISTICS *Statistics)
{
    EDU_SNAPSHOT snapshot = {&Hardware->Isr, Statistics};

    if (Hardware->Version == CONNECT_MESSAGE_BASED) {
        Statistics->Connection = EduConnectedByMessage;
        Statistics->MessageCount = Hardware->MessageCount;
    } else {
        Statistics->Connection = EduConnectedByLine;
        Statistics->MessageCount = 0;
    }
    EduSynchronize(Hardware, EduSnapshot, &snapshot);
}

/* Has the device compute the next request, if there is one and it is free. IRQL: at most DISPATCH_LEVEL. */
VOID EduServe(PEDU_DEVICE Device)
{
    EDU_ORDER order = {&Device->Hardware.Isr, 0};
    KIRQL irql;

    KeAcquireSpinLock(&Device->HardwareLock, &irql);
    /* Chosen and begun under one lock, so that nobody disconnects in between. */
    if (Device->Started && EduQueueBegin(Device, &order.Value)) {
        EduSynchronize(&Device->Hardware, EduCompute, &order);
    }
    KeReleaseSpinLock(&Device->HardwareLock, irql);
}

/* Whether the DPC may go on. Too early, before there is an interrupt to synchronise with, it leaves word for EduConnect,
   which queues it again; the word and the decision are one step, lest it be left when nobody looks any more. */
FORCEINLINE BOOLEAN EduMayRun(EDU_HARDWARE *Hardware)
{
    LONG life = ReadAcquire(&Hardware->Life);

    if (life == EduConnecting) {
        life = InterlockedCompareExchange(&Hardware->Life, EduParked, EduConnecting);
    }
    return life == EduRunning;
}

static VOID NTAPI EduDpc(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    PEDU_DEVICE device = Context;
    EDU_HARDWARE *hardware = &device->Hardware;
    EDU_RESULT result = {&hardware->Isr, 0};
    EDU_ORDER order = {&hardware->Isr, 0};

    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(Argument1);
    UNREFERENCED_PARAMETER(Argument2);
    if (!EduMayRun(hardware)) {
        return;
    }
    /* This can run on two processors at once: the result is given to one of them. */
    if (!EduSynchronize(hardware, EduTakeResult, &result)) {
        return;
    }
    EduQueueFinish(device, result.Factorial);
    if (EduQueueBegin(device, &order.Value)) {
        EduSynchronize(hardware, EduCompute, &order);
    }
}

static VOID EduReportState(EDU_HARDWARE *Hardware, BOOLEAN Active)
{
    IO_REPORT_INTERRUPT_ACTIVE_STATE_PARAMETERS parameters = {0};

    parameters.Version = Hardware->Version;
    parameters.ConnectionContext.Generic = Hardware->Connection.Generic;
    if (Active) {
        IoReportInterruptActive(&parameters);
    } else {
        IoReportInterruptInactive(&parameters);
    }
}

VOID EduPutToSleep(EDU_HARDWARE *Hardware)
{
    EduSynchronize(Hardware, EduDisable, &Hardware->Isr);
    EduReportState(Hardware, FALSE);
    EduSynchronize(Hardware, EduFallAsleep, &Hardware->Isr);
}

EDU_WOKEN EduWakeUp(EDU_HARDWARE *Hardware)
{
    if (!EduSynchronize(Hardware, EduGetUp, &Hardware->Isr)) {
        return EduWasAwake;
    }
    EduReportState(Hardware, TRUE);
    EduSynchronize(Hardware, EduEnable, &Hardware->Isr);
    return EduSynchronize(Hardware, EduTakeStock, &Hardware->Isr) ? EduBusy : EduAtRest;
}

/* ---- connecting ------------------------------------------------------------------------------------------ */

static VOID EduReleaseHandler(EDU_HARDWARE *Hardware)
{
    if (Hardware->Isr.ByMessage != NULL) {
        ExFreePoolWithTag(Hardware->Isr.ByMessage, EDU_TAG);
        Hardware->Isr.ByMessage = NULL;
    }
    MmUnmapIoSpace((PVOID)(ULONG_PTR)Hardware->Isr.Registers, EDU_REGISTERS_LENGTH);
    Hardware->Isr.Registers = NULL;
}

/* Connects and enables the device. Registers are released when this fails, or by EduDisconnect. PASSIVE_LEVEL. */
NTSTATUS EduConnect(PEDU_DEVICE Device, volatile ULONG *Registers, ULONG Messages)
{
    EDU_HARDWARE *hardware = &Device->Hardware;
    IO_CONNECT_INTERRUPT_PARAMETERS parameters = {0};
    NTSTATUS status;

    /* All that the service routine and the DPC use is in place first: they may run before the call returns. */
    RtlZeroMemory(hardware, sizeof(*hardware));
    hardware->Isr.Registers = Registers;
    if (Messages != 0) {
        hardware->Isr.ByMessage =
            ExAllocatePool2(POOL_FLAG_NON_PAGED, Messages * sizeof(*hardware->Isr.ByMessage), EDU_TAG);
        if (hardware->Isr.ByMessage == NULL) {
            EduReleaseHandler(hardware);
            return STATUS_INSUFFICIENT_RESOURCES;
        }
        hardware->Isr.CounterCount = Messages;
    }
    /* Until the table is there, no message's number can be refused. */
    hardware->MessageCount = MAXULONG;
    KeInitializeSpinLock(&hardware->ServiceLock);
    KeInitializeDpc(&hardware->Dpc, EduDpc, Device);

    parameters.Version = CONNECT_MESSAGE_BASED;
    parameters.MessageBased.PhysicalDeviceObject = Device->Physical;
    parameters.MessageBased.ConnectionContext.Generic = &hardware->Connection.Generic;
    parameters.MessageBased.MessageServiceRoutine = EduServiceMessage;
    parameters.MessageBased.ServiceContext = hardware;
    parameters.MessageBased.SpinLock = &hardware->ServiceLock;
    parameters.MessageBased.FallBackServiceRoutine = EduServiceLine;
    status = IoConnectInterruptEx(&parameters);
    if (NT_SUCCESS(status) && hardware->Connection.Generic == NULL) {
        /* Seen: a kernel that returns success and connects nothing. */
        status = STATUS_UNSUCCESSFUL;
    }
    if (!NT_SUCCESS(status)) {
        /* Some messages may have been live: their DPC ends before what it uses goes. */
        KeRemoveQueueDpc(&hardware->Dpc);
        KeFlushQueuedDpcs();
        EduReleaseHandler(hardware);
        DbgPrint("edu: not connected: %#010x\n", status);
        return status;
    }

    /* What disconnecting needs is what the call returned. */
    hardware->Version = parameters.Version;
    if (parameters.Version == CONNECT_MESSAGE_BASED) {
        hardware->MessageCount = hardware->Connection.Table->MessageCount;
        hardware->SynchronizeIrql = hardware->Connection.Table->UnifiedIrql;
        hardware->Interrupt = hardware->Connection.Table->MessageInfo[0].InterruptObject;
        DbgPrint("edu: connected by message (%u of them)\n", hardware->MessageCount);
    } else {
        hardware->Interrupt = hardware->Connection.Object;
        DbgPrint("edu: connected by line\n");
    }
    EduSynchronize(hardware, EduEnable, &hardware->Isr);
    if (InterlockedExchange(&hardware->Life, EduRunning) == EduParked) {
        KeInsertQueueDpc(&hardware->Dpc, NULL, NULL);
    }
    return STATUS_SUCCESS;
}

/*
 * Takes the hardware out of use and disconnects. The caller has held the queue. The second time it does nothing.
 * PASSIVE_LEVEL.
 */
VOID EduDisconnect(PEDU_DEVICE Device, EDU_PRESENCE Presence)
{
    EDU_HARDWARE *hardware = &Device->Hardware;
    IO_DISCONNECT_INTERRUPT_PARAMETERS parameters = {0};
    BOOLEAN started;
    KIRQL irql;

    if (Presence == EduPresent && !EduQueueDrain(Device)) {
        DbgPrint("edu: the device does not finish; its request will be begun again\n");
    }
    KeAcquireSpinLock(&Device->HardwareLock, &irql);
    started = Device->Started;
    Device->Started = FALSE;
    KeReleaseSpinLock(&Device->HardwareLock, irql);
    if (!started) {
        return;
    }

    if (Presence == EduPresent) {
        EduSynchronize(hardware, EduDisable, &hardware->Isr);
    }
    /* What was claimed is completed, while there is an interrupt to synchronise with. */
    KeFlushQueuedDpcs();
    /* Nothing new is begun, and what had begun ends. On a shared line the DPC may still be queued. */
    WriteRelease(&hardware->Life, EduClosed);
    KeFlushQueuedDpcs();
    if (Presence == EduPresent) {
        /* The DPC may have had the device begin something. */
        EduSynchronize(hardware, EduDisable, &hardware->Isr);
    }
    parameters.Version = hardware->Version;
    parameters.ConnectionContext.Generic = hardware->Connection.Generic;
    IoDisconnectInterruptEx(&parameters);
    KeRemoveQueueDpc(&hardware->Dpc);
    KeFlushQueuedDpcs();

    DbgPrint("edu: disconnected: %llu interrupts served, %llu not mine\n", hardware->Isr.Claimed,
             hardware->Isr.NotMine);
    EduReleaseHandler(hardware);
    EduQueueAbandon(Device);
}
