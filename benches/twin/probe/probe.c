/*
 * probe.sys in C: connects, synchronises and disconnects when it is started, and says where each begins and
 * ends. ../../probe does the same in Rust.
 *
 * The promises are the library's: all that the service routine and the DPC use is in place before the connect;
 * a DPC that comes before there is an interrupt object runs once there is; after a failure nothing runs any
 * more; the device is enabled once connected, and silenced before the disconnect; what was claimed is completed
 * before it.
 */
#include <ntifs.h>

#define PROBE_LENGTH 0x100
#define PROBE_FACTORIAL 0x08
#define PROBE_CONTROL 0x20
#define PROBE_STATUS 0x24
#define PROBE_ACKNOWLEDGE 0x64
#define PROBE_INTERRUPT 0x80u /* PROBE_CONTROL: the device interrupts when it has computed */

/* The second time everything must cost the same. */
#define PROBE_ROUNDS 2

/* ProbeParked: a DPC has come while connecting, and is to come again. */
typedef enum _PROBE_LIFE { ProbeConnecting, ProbeParked, ProbeRunning, ProbeClosed } PROBE_LIFE;

/* What is there while the interrupt is connected: in the device extension, where a WDM driver has it. */
typedef struct _PROBE_INTERRUPT {
    volatile ULONG *Registers;
    ULONG Pending;
    ULONG Version;
    union {
        PVOID Generic;
        PKINTERRUPT Object;
        PIO_INTERRUPT_MESSAGE_INFO Table;
    } Connection;
    PKINTERRUPT Interrupt;
    ULONG MessageCount;
    KIRQL SynchronizeIrql;
    volatile LONG Life;
    KSPIN_LOCK ServiceLock;
    KDPC Dpc;
} PROBE_INTERRUPT_STATE, *PPROBE_INTERRUPT_STATE;

typedef struct _PROBE_DEVICE {
    PDEVICE_OBJECT Physical;
    PDEVICE_OBJECT Lower;
    PROBE_INTERRUPT_STATE Interrupt;
} PROBE_DEVICE, *PPROBE_DEVICE;

DRIVER_INITIALIZE DriverEntry;
static DRIVER_UNLOAD ProbeUnload;
static DRIVER_ADD_DEVICE ProbeAddDevice;
static DRIVER_DISPATCH ProbePnp;
static DRIVER_DISPATCH ProbePass;

FORCEINLINE ULONG ProbeRead(volatile ULONG *Registers, ULONG Offset)
{
    return READ_REGISTER_ULONG((PULONG)(ULONG_PTR)(Registers + Offset / sizeof(ULONG)));
}

FORCEINLINE VOID ProbeWrite(volatile ULONG *Registers, ULONG Offset, ULONG Value)
{
    WRITE_REGISTER_ULONG((PULONG)(ULONG_PTR)(Registers + Offset / sizeof(ULONG)), Value);
}

/* ---- under the interrupt's lock -------------------------------------------------------------------------- */

static BOOLEAN NTAPI ProbeServiceLine(PKINTERRUPT Interrupt, PVOID Context)
{
    PPROBE_INTERRUPT_STATE state = Context;
    volatile ULONG *registers = state->Registers;
    ULONG status = ProbeRead(registers, PROBE_STATUS);

    UNREFERENCED_PARAMETER(Interrupt);
    if (status == 0 || status == MAXULONG) {
        return FALSE;
    }
    ProbeWrite(registers, PROBE_ACKNOWLEDGE, status);
    state->Pending |= status;
    KeInsertQueueDpc(&state->Dpc, NULL, NULL);
    return TRUE;
}

static BOOLEAN NTAPI ProbeServiceMessage(PKINTERRUPT Interrupt, PVOID Context, ULONG MessageId)
{
    PPROBE_INTERRUPT_STATE state = Context;

    /* A message that is none of the table's. */
    if (MessageId >= state->MessageCount) {
        return FALSE;
    }
    return ProbeServiceLine(Interrupt, Context);
}

static BOOLEAN NTAPI ProbeEnable(PVOID Context)
{
    PPROBE_INTERRUPT_STATE state = Context;

    ProbeWrite(state->Registers, PROBE_CONTROL, PROBE_INTERRUPT);
    return TRUE;
}

static BOOLEAN NTAPI ProbeDisable(PVOID Context)
{
    PPROBE_INTERRUPT_STATE state = Context;
    volatile ULONG *registers = state->Registers;

    ProbeWrite(registers, PROBE_CONTROL, 0);
    ProbeWrite(registers, PROBE_ACKNOWLEDGE, ProbeRead(registers, PROBE_STATUS));
    return TRUE;
}

typedef struct _PROBE_RESULT {
    PPROBE_INTERRUPT_STATE State;
    ULONG Status;
    ULONG Factorial;
} PROBE_RESULT;

static BOOLEAN NTAPI ProbeTake(PVOID Context)
{
    PROBE_RESULT *result = Context;

    result->Status = result->State->Pending;
    result->State->Pending = 0;
    result->Factorial = ProbeRead(result->State->Registers, PROBE_FACTORIAL);
    return TRUE;
}

static BOOLEAN NTAPI ProbeMeasure(PVOID Context)
{
    PPROBE_INTERRUPT_STATE state = Context;

    state->SynchronizeIrql = KeGetCurrentIrql();
    return TRUE;
}

static BOOLEAN NTAPI ProbeNothing(PVOID Context)
{
    UNREFERENCED_PARAMETER(Context);
    return TRUE;
}

/* ---- outside of it --------------------------------------------------------------------------------------- */

/* Whether the DPC may go on. Too early, before there is an interrupt object, it leaves word for ProbeConnect, which
   queues it again; the word and the decision are one step, lest it be left when nobody looks any more. */
FORCEINLINE BOOLEAN ProbeMayRun(PPROBE_INTERRUPT_STATE State)
{
    LONG life = ReadAcquire(&State->Life);

    if (life == ProbeConnecting) {
        life = InterlockedCompareExchange(&State->Life, ProbeParked, ProbeConnecting);
    }
    return life == ProbeRunning;
}

static VOID NTAPI ProbeDpc(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    PPROBE_INTERRUPT_STATE state = Context;
    volatile PROBE_RESULT kept;
    PROBE_RESULT result = {state, 0, 0};

    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(Argument1);
    UNREFERENCED_PARAMETER(Argument2);
    if (!ProbeMayRun(state)) {
        return;
    }
    KeSynchronizeExecution(state->Interrupt, ProbeTake, &result);
    kept.Status = result.Status;
    kept.Factorial = result.Factorial;
}

DECLSPEC_NOINLINE static NTSTATUS ProbeConnect(PPROBE_DEVICE Device)
{
    PPROBE_INTERRUPT_STATE state = &Device->Interrupt;
    IO_CONNECT_INTERRUPT_PARAMETERS parameters = {0};
    NTSTATUS status;

    state->Pending = 0;
    state->Connection.Generic = NULL;
    state->Life = ProbeConnecting;
    /* Until the table is there, a message's number cannot be checked, and none is refused. */
    state->MessageCount = MAXULONG;
    KeInitializeSpinLock(&state->ServiceLock);
    KeInitializeDpc(&state->Dpc, ProbeDpc, state);

    parameters.Version = CONNECT_MESSAGE_BASED;
    parameters.MessageBased.PhysicalDeviceObject = Device->Physical;
    parameters.MessageBased.ConnectionContext.Generic = &state->Connection.Generic;
    parameters.MessageBased.MessageServiceRoutine = ProbeServiceMessage;
    parameters.MessageBased.ServiceContext = state;
    parameters.MessageBased.SpinLock = &state->ServiceLock;
    parameters.MessageBased.FallBackServiceRoutine = ProbeServiceLine;
    status = IoConnectInterruptEx(&parameters);
    if (NT_SUCCESS(status) && state->Connection.Generic == NULL) {
        status = STATUS_UNSUCCESSFUL;
    }
    if (!NT_SUCCESS(status)) {
        KeRemoveQueueDpc(&state->Dpc);
        KeFlushQueuedDpcs();
        return status;
    }
    state->Version = parameters.Version;
    if (parameters.Version == CONNECT_MESSAGE_BASED) {
        state->MessageCount = state->Connection.Table->MessageCount;
        state->SynchronizeIrql = state->Connection.Table->UnifiedIrql;
        state->Interrupt = state->Connection.Table->MessageInfo[0].InterruptObject;
    } else {
        /* Nobody says what IRQL the system has chosen for a line, but there it can be seen. */
        state->Interrupt = state->Connection.Object;
        KeSynchronizeExecution(state->Interrupt, ProbeMeasure, state);
    }
    KeSynchronizeExecution(state->Interrupt, ProbeEnable, state);
    if (InterlockedExchange(&state->Life, ProbeRunning) == ProbeParked) {
        KeInsertQueueDpc(&state->Dpc, NULL, NULL);
    }
    return STATUS_SUCCESS;
}

DECLSPEC_NOINLINE static VOID ProbeSynchronize(PPROBE_DEVICE Device)
{
    KeSynchronizeExecution(Device->Interrupt.Interrupt, ProbeNothing, &Device->Interrupt);
}

/* With the check that the library makes: from above, KeSynchronizeExecution would lower the IRQL. */
DECLSPEC_NOINLINE static VOID ProbeSynchronizeChecked(PPROBE_DEVICE Device)
{
    if (KeGetCurrentIrql() > Device->Interrupt.SynchronizeIrql) {
        KeBugCheck(IRQL_NOT_LESS_OR_EQUAL);
    }
    KeSynchronizeExecution(Device->Interrupt.Interrupt, ProbeNothing, &Device->Interrupt);
}

DECLSPEC_NOINLINE static VOID ProbeDisconnect(PPROBE_DEVICE Device)
{
    PPROBE_INTERRUPT_STATE state = &Device->Interrupt;
    IO_DISCONNECT_INTERRUPT_PARAMETERS parameters = {0};

    KeSynchronizeExecution(state->Interrupt, ProbeDisable, state);
    KeFlushQueuedDpcs();
    WriteRelease(&state->Life, ProbeClosed);
    KeFlushQueuedDpcs();
    /* The DPC may have had the device begin something. */
    KeSynchronizeExecution(state->Interrupt, ProbeDisable, state);
    parameters.Version = state->Version;
    parameters.ConnectionContext.Generic = state->Connection.Generic;
    IoDisconnectInterruptEx(&parameters);
    KeRemoveQueueDpc(&state->Dpc);
    KeFlushQueuedDpcs();
}

/* Say to the bed that what has this name begins, and that it has ended. Functions by themselves, so that every marker
   costs the same. */
DECLSPEC_NOINLINE static VOID ProbeBegin(PCSTR Name)
{
    DbgPrint("bench: begin %s\n", Name);
}

DECLSPEC_NOINLINE static VOID ProbeEnd(VOID)
{
    DbgPrint("bench: end\n");
}

/* A function by itself, so that it is the same code each time. */
DECLSPEC_NOINLINE static NTSTATUS ProbeRound(PPROBE_DEVICE Device)
{
    NTSTATUS status;

    ProbeBegin("nothing");
    ProbeEnd();

    ProbeBegin("connect");
    status = ProbeConnect(Device);
    ProbeEnd();
    if (!NT_SUCCESS(status)) {
        return status;
    }
    ProbeBegin("synchronize");
    ProbeSynchronize(Device);
    ProbeEnd();

    ProbeBegin("synchronize, IRQL checked");
    ProbeSynchronizeChecked(Device);
    ProbeEnd();

    ProbeBegin("disconnect");
    ProbeDisconnect(Device);
    ProbeEnd();
    return STATUS_SUCCESS;
}

static NTSTATUS ProbeRounds(PPROBE_DEVICE Device)
{
    NTSTATUS status = STATUS_SUCCESS;
    ULONG round;

    DbgPrint("bench: bytes registration: %u\n", (ULONG)sizeof(PROBE_INTERRUPT_STATE));
    for (round = 0; round < PROBE_ROUNDS && NT_SUCCESS(status); round++) {
        status = ProbeRound(Device);
    }
    return status;
}

/* ---- the rest of a driver -------------------------------------------------------------------------------- */

/* The first range of device memory: BAR 0. */
static NTSTATUS ProbeMap(PPROBE_DEVICE Device, PCM_RESOURCE_LIST Translated)
{
    PCM_PARTIAL_RESOURCE_LIST list = &Translated->List[0].PartialResourceList;
    ULONG index;

    for (index = 0; index < list->Count; index++) {
        PCM_PARTIAL_RESOURCE_DESCRIPTOR descriptor = &list->PartialDescriptors[index];

        if (descriptor->Type == CmResourceTypeMemory && descriptor->u.Memory.Length >= PROBE_LENGTH) {
            Device->Interrupt.Registers =
                MmMapIoSpaceEx(descriptor->u.Memory.Start, PROBE_LENGTH, PAGE_READWRITE | PAGE_NOCACHE);
            return Device->Interrupt.Registers != NULL ? STATUS_SUCCESS : STATUS_INSUFFICIENT_RESOURCES;
        }
    }
    return STATUS_DEVICE_CONFIGURATION_ERROR;
}

static NTSTATUS NTAPI ProbeSignal(PDEVICE_OBJECT Object, PIRP Irp, PVOID Context)
{
    UNREFERENCED_PARAMETER(Object);
    UNREFERENCED_PARAMETER(Irp);
    KeSetEvent(Context, IO_NO_INCREMENT, FALSE);
    return STATUS_MORE_PROCESSING_REQUIRED;
}

static NTSTATUS ProbeStart(PPROBE_DEVICE Device, PIRP Irp)
{
    KEVENT done;
    NTSTATUS status;

    KeInitializeEvent(&done, NotificationEvent, FALSE);
    IoCopyCurrentIrpStackLocationToNext(Irp);
    IoSetCompletionRoutine(Irp, ProbeSignal, &done, TRUE, TRUE, TRUE);
    status = IoCallDriver(Device->Lower, Irp);
    if (status == STATUS_PENDING) {
        KeWaitForSingleObject(&done, Executive, KernelMode, FALSE, NULL);
        status = Irp->IoStatus.Status;
    }
    if (NT_SUCCESS(status)) {
        status =
            ProbeMap(Device, IoGetCurrentIrpStackLocation(Irp)->Parameters.StartDevice.AllocatedResourcesTranslated);
    }
    if (NT_SUCCESS(status)) {
        status = ProbeRounds(Device);
        MmUnmapIoSpace((PVOID)(ULONG_PTR)Device->Interrupt.Registers, PROBE_LENGTH);
    }
    Irp->IoStatus.Status = status;
    Irp->IoStatus.Information = 0;
    IoCompleteRequest(Irp, IO_NO_INCREMENT);
    return status;
}

static NTSTATUS NTAPI ProbePnp(PDEVICE_OBJECT Object, PIRP Irp)
{
    PPROBE_DEVICE device = Object->DeviceExtension;
    UCHAR minor = IoGetCurrentIrpStackLocation(Irp)->MinorFunction;
    NTSTATUS status;

    switch (minor) {
    case IRP_MN_START_DEVICE:
        return ProbeStart(device, Irp);
    case IRP_MN_QUERY_STOP_DEVICE:
    case IRP_MN_CANCEL_STOP_DEVICE:
    case IRP_MN_STOP_DEVICE:
    case IRP_MN_QUERY_REMOVE_DEVICE:
    case IRP_MN_CANCEL_REMOVE_DEVICE:
    case IRP_MN_SURPRISE_REMOVAL:
    case IRP_MN_REMOVE_DEVICE:
        Irp->IoStatus.Status = STATUS_SUCCESS;
        break;
    }
    IoSkipCurrentIrpStackLocation(Irp);
    status = IoCallDriver(device->Lower, Irp);
    if (minor == IRP_MN_REMOVE_DEVICE) {
        IoDetachDevice(device->Lower);
        IoDeleteDevice(Object);
    }
    return status;
}

static NTSTATUS NTAPI ProbePass(PDEVICE_OBJECT Object, PIRP Irp)
{
    PPROBE_DEVICE device = Object->DeviceExtension;

    IoSkipCurrentIrpStackLocation(Irp);
    return IoCallDriver(device->Lower, Irp);
}

static NTSTATUS NTAPI ProbeAddDevice(PDRIVER_OBJECT Driver, PDEVICE_OBJECT Physical)
{
    PDEVICE_OBJECT object;
    PPROBE_DEVICE device;
    NTSTATUS status;

    status = IoCreateDevice(Driver, sizeof(PROBE_DEVICE), NULL, FILE_DEVICE_UNKNOWN, FILE_DEVICE_SECURE_OPEN, FALSE,
                            &object);
    if (!NT_SUCCESS(status)) {
        return status;
    }
    device = object->DeviceExtension;
    device->Physical = Physical;
    object->Flags |= DO_POWER_PAGABLE;
    device->Lower = IoAttachDeviceToDeviceStack(object, Physical);
    if (device->Lower == NULL) {
        IoDeleteDevice(object);
        return STATUS_NO_SUCH_DEVICE;
    }
    object->Flags &= ~DO_DEVICE_INITIALIZING;
    return STATUS_SUCCESS;
}

static VOID NTAPI ProbeUnload(PDRIVER_OBJECT Driver)
{
    UNREFERENCED_PARAMETER(Driver);
}

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    Driver->DriverExtension->AddDevice = ProbeAddDevice;
    Driver->DriverUnload = ProbeUnload;
    Driver->MajorFunction[IRP_MJ_PNP] = ProbePnp;
    Driver->MajorFunction[IRP_MJ_POWER] = ProbePass;
    Driver->MajorFunction[IRP_MJ_SYSTEM_CONTROL] = ProbePass;
    return STATUS_SUCCESS;
}
