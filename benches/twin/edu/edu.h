/*
 * edu.sys in C: the fair opponent of samples/edu.
 *
 * A WDM function driver for QEMU's edu device (PCI\VEN_1234&DEV_11E8) that does what the sample does, request
 * for request and promise for promise, as a WDM author writes it in C: one device extension that holds all,
 * IoCsq for the requests, the interrupt's own lock for what the service routine owns.
 *
 *     edu.c         DriverEntry, AddDevice, deletion
 *     pnp.c         START, STOP, the removals
 *     power.c       sleeping and waking
 *     requests.c    open, close, the IOCTLs
 *     queue.c       the cancel-safe queue, and which request the device computes for
 *     interrupt.c   connecting, the service routines, the DPC, disconnecting
 *     registers.h   the device's registers
 *
 * What guards what:
 *
 *     the device extension              the remove lock, which every IRP holds
 *     Hardware, while it is started     HardwareLock: an IOCTL uses it inside the lock, STOP takes it inside the
 *                                       lock and then disconnects what nobody else has
 *     Hardware.Isr                      the interrupt's lock: KeSynchronizeExecution
 *     Queue                             Queue.Lock
 *
 * Order: HardwareLock, then Queue.Lock or the interrupt's. No IRP is completed under a lock.
 */
#pragma once

#include <ntifs.h>

#define EDU_TAG 'udEC'

/* The least that the public side of the driver needs: codes, and what goes in and out. */

#define IOCTL_EDU_FACTORIAL \
    CTL_CODE(FILE_DEVICE_UNKNOWN, 0x800, METHOD_BUFFERED, FILE_READ_ACCESS | FILE_WRITE_ACCESS)
#define IOCTL_EDU_RAISE CTL_CODE(FILE_DEVICE_UNKNOWN, 0x801, METHOD_BUFFERED, FILE_WRITE_ACCESS)
#define IOCTL_EDU_STATISTICS CTL_CODE(FILE_DEVICE_UNKNOWN, 0x802, METHOD_BUFFERED, FILE_READ_ACCESS)

#define EDU_MAX_NUMBER 12
#define EDU_RESERVED_BITS 0x101u
#define EDU_MESSAGES_REPORTED 4

typedef struct _EDU_FACTORIAL_REPLY {
    ULONG Number;
    ULONG Factorial;
} EDU_FACTORIAL_REPLY;

typedef enum _EDU_CONNECTION { EduConnectedByLine = 1, EduConnectedByMessage = 2 } EDU_CONNECTION;

typedef struct _EDU_STATISTICS {
    ULONG Connection;
    ULONG MessageCount;
    ULONG64 Claimed;
    ULONG64 NotMine;
    ULONG64 Line;
    ULONG64 Messages[EDU_MESSAGES_REPORTED];
    ULONG64 DeferredRuns;
    ULONG64 Computed;
    ULONG64 Cancelled;
    ULONG StatusSeen;
    ULONG Pending;
} EDU_STATISTICS;

C_ASSERT(sizeof(EDU_STATISTICS) == 8 + 8 * (6 + EDU_MESSAGES_REPORTED) + 2 * 4);

/* What may be done with the registers. */
typedef enum _EDU_MODE {
    EduSilent, /* powered and silenced: before it is enabled, and before it is disconnected */
    EduAwake,  /* interrupts, and may be told to do something */
    EduAsleep, /* in D3, with its interrupt reported inactive: nobody touches the registers */
} EDU_MODE;

/* What the device has been asked for. */
typedef enum _EDU_COMPUTATION {
    EduNothingAsked, /* a completion that it still signals is of one that was taken or given up */
    EduAsked,        /* no interrupt has come for it */
    EduSignalled,    /* an interrupt has said since then that one is complete */
} EDU_COMPUTATION;

/* What the service routine owns. Everyone else reaches it by KeSynchronizeExecution. */
typedef struct _EDU_ISR {
    volatile ULONG *Registers;
    EDU_MODE Mode;
    EDU_COMPUTATION Computation;
    ULONG StatusSeen;
    ULONG CounterCount;
    ULONG64 *ByMessage;
    ULONG64 Claimed;
    ULONG64 NotMine;
    ULONG64 Line;
    ULONG64 DeferredRuns;
} EDU_ISR;

/* Whether the DPC may go on: it may be queued before IoConnectInterruptEx has returned, and until
   IoDisconnectInterruptEx has. EduParked: one has come while connecting, and is to come again. */
typedef enum _EDU_LIFE { EduConnecting, EduParked, EduRunning, EduClosed } EDU_LIFE;

/* What is there between START and STOP. */
typedef struct _EDU_HARDWARE {
    EDU_ISR Isr;
    /* Saved from the connect, for the disconnect. */
    ULONG Version;
    union {
        PVOID Generic;
        PKINTERRUPT Object;
        PIO_INTERRUPT_MESSAGE_INFO Table;
    } Connection;
    /* Any object of the connection: all share ServiceLock. */
    PKINTERRUPT Interrupt;
    KIRQL SynchronizeIrql;
    KSPIN_LOCK ServiceLock;
    volatile LONG Life;
    ULONG MessageCount;
    KDPC Dpc;
} EDU_HARDWARE;

/* What the device is doing for requests. */
typedef enum _EDU_WORK {
    EduIdle,
    EduComputing, /* for Queue.Current, which is still in the queue and can be cancelled there */
    EduDraining,  /* for nobody: its result is waited for and thrown away */
} EDU_WORK;

/* Reasons not to begin anything new. */
#define EDU_HOLD_STOP 1u
#define EDU_HOLD_REMOVE 2u
#define EDU_HOLD_SLEEP 4u

typedef struct _EDU_QUEUE {
    IO_CSQ Csq;
    KSPIN_LOCK Lock;
    LIST_ENTRY Irps;
    EDU_WORK Work;
    PIRP Current;
    ULONG Holds;
    NTSTATUS Refusal; /* STATUS_SUCCESS: new requests are let in */
    ULONG Pending;
    ULONG64 Computed;
    ULONG64 Cancelled;
    KEVENT Idle; /* signalled while Work is EduIdle */
} EDU_QUEUE;

typedef struct _EDU_DEVICE {
    PDEVICE_OBJECT Physical;
    PDEVICE_OBJECT volatile Lower;
    IO_REMOVE_LOCK RemoveLock;
    UNICODE_STRING InterfaceLink;
    KSPIN_LOCK HardwareLock;
    BOOLEAN Started; /* guarded by HardwareLock */
    EDU_HARDWARE Hardware;
    EDU_QUEUE Queue;
} EDU_DEVICE, *PEDU_DEVICE;

FORCEINLINE PEDU_DEVICE EduDevice(PDEVICE_OBJECT Object)
{
    return (PEDU_DEVICE)Object->DeviceExtension;
}

/* edu.c */

DRIVER_ADD_DEVICE EduAddDevice;
VOID EduDeleteDevice(PDEVICE_OBJECT Object);

/* pnp.c */

DRIVER_DISPATCH EduPnp;
NTSTATUS EduComplete(PEDU_DEVICE Device, PIRP Irp, NTSTATUS Status, ULONG_PTR Information);
NTSTATUS EduForward(PEDU_DEVICE Device, PIRP Irp);

/* power.c */

DRIVER_DISPATCH EduPower;
VOID EduSetPowerState(PDEVICE_OBJECT Object, DEVICE_POWER_STATE State);

/* requests.c */

DRIVER_DISPATCH EduCreate;
DRIVER_DISPATCH EduCleanup;
DRIVER_DISPATCH EduClose;
DRIVER_DISPATCH EduDeviceControl;
DRIVER_DISPATCH EduSystemControl;

/* queue.c */

NTSTATUS EduQueueInitialize(PEDU_DEVICE Device);
NTSTATUS EduQueueInsert(PEDU_DEVICE Device, PIRP Irp, ULONG Number);
BOOLEAN EduQueueBegin(PEDU_DEVICE Device, ULONG *Number);
VOID EduQueueFinish(PEDU_DEVICE Device, ULONG Factorial);
VOID EduQueueDisown(PEDU_DEVICE Device);
VOID EduQueueAbandon(PEDU_DEVICE Device);
NTSTATUS EduQueueAdmit(PEDU_DEVICE Device);
VOID EduQueueRefuse(PEDU_DEVICE Device, NTSTATUS Status);
VOID EduQueueHold(PEDU_DEVICE Device, ULONG Hold);
VOID EduQueueRelease(PEDU_DEVICE Device, ULONG Hold);
BOOLEAN EduQueueIsHeld(PEDU_DEVICE Device, ULONG Hold);
BOOLEAN EduQueueDrain(PEDU_DEVICE Device);
VOID EduQueueFailAll(PEDU_DEVICE Device, NTSTATUS Status);
VOID EduQueueCancelOfFile(PEDU_DEVICE Device, PFILE_OBJECT File);

/* interrupt.c */

typedef enum _EDU_PRESENCE { EduPresent, EduGone } EDU_PRESENCE;

typedef enum _EDU_WOKEN {
    EduWasAwake, /* it had not been asleep, so nothing has changed */
    EduAtRest,   /* it does nothing */
    EduBusy,     /* it still computes what it was asked for before, and will interrupt */
} EDU_WOKEN;

NTSTATUS EduConnect(PEDU_DEVICE Device, volatile ULONG *Registers, ULONG Messages);
VOID EduDisconnect(PEDU_DEVICE Device, EDU_PRESENCE Presence);
VOID EduServe(PEDU_DEVICE Device);
BOOLEAN EduRaise(EDU_HARDWARE *Hardware, ULONG Bits);
VOID EduReadStatistics(EDU_HARDWARE *Hardware, EDU_STATISTICS *Statistics);
VOID EduPutToSleep(EDU_HARDWARE *Hardware);
EDU_WOKEN EduWakeUp(EDU_HARDWARE *Hardware);
