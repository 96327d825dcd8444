/*
 * What mingw-w64's DDK headers lack and the WDK's have. Every entry names the WDK header it stands for;
 * the names, values and signatures are those of Microsoft's reference at
 * https://learn.microsoft.com/windows-hardware/drivers/ddi/.
 *
 * An entry that a later mingw-w64 brings itself is left out by its own guard where the preprocessor can
 * tell, and otherwise repeats a declaration, which C allows as long as the two agree.
 */
#ifndef KIT_SUPPLEMENT_H
#define KIT_SUPPLEMENT_H

#ifdef __cplusplus
extern "C" {
#endif

/* ---- wdm.h: the IRQL, exported by the x64 kernel ---------------------------------------------- */

NTKERNELAPI KIRQL NTAPI KeGetCurrentIrql(VOID);
NTKERNELAPI KIRQL NTAPI KfRaiseIrql(KIRQL NewIrql);
NTKERNELAPI VOID NTAPI KeLowerIrql(KIRQL NewIrql);
NTKERNELAPI KIRQL NTAPI KeRaiseIrqlToDpcLevel(VOID);

/* ---- wdm.h: pool allocation since Windows 10, version 2004 ------------------------------------ */

#ifndef POOL_FLAG_NON_PAGED
typedef ULONG64 POOL_FLAGS;

#define POOL_FLAG_REQUIRED_START 0x0000000000000001UI64
#define POOL_FLAG_USE_QUOTA 0x0000000000000001UI64
#define POOL_FLAG_UNINITIALIZED 0x0000000000000002UI64
#define POOL_FLAG_SESSION 0x0000000000000004UI64
#define POOL_FLAG_CACHE_ALIGNED 0x0000000000000008UI64
#define POOL_FLAG_RESERVED1 0x0000000000000010UI64
#define POOL_FLAG_RAISE_ON_FAILURE 0x0000000000000020UI64
#define POOL_FLAG_NON_PAGED 0x0000000000000040UI64
#define POOL_FLAG_NON_PAGED_EXECUTE 0x0000000000000080UI64
#define POOL_FLAG_PAGED 0x0000000000000100UI64
#define POOL_FLAG_RESERVED2 0x0000000000000200UI64
#define POOL_FLAG_RESERVED3 0x0000000000000400UI64
#define POOL_FLAG_REQUIRED_END 0x0000000080000000UI64
#define POOL_FLAG_OPTIONAL_START 0x0000000100000000UI64
#define POOL_FLAG_SPECIAL_POOL 0x0000000100000000UI64
#define POOL_FLAG_OPTIONAL_END 0x8000000000000000UI64

NTKERNELAPI PVOID NTAPI ExAllocatePool2(POOL_FLAGS Flags, SIZE_T NumberOfBytes, ULONG Tag);
#endif

/* ---- wdm.h: interrupts ------------------------------------------------------------------------- */

#ifndef CONNECT_MESSAGE_BASED_PASSIVE
#define CONNECT_MESSAGE_BASED_PASSIVE 0x5
#endif

typedef struct _IO_REPORT_INTERRUPT_ACTIVE_STATE_PARAMETERS {
  ULONG Version;
  union {
    PVOID Generic;
    PKINTERRUPT InterruptObject;
    struct _IO_INTERRUPT_MESSAGE_INFO *InterruptMessageTable;
  } ConnectionContext;
} IO_REPORT_INTERRUPT_ACTIVE_STATE_PARAMETERS, *PIO_REPORT_INTERRUPT_ACTIVE_STATE_PARAMETERS;

NTKERNELAPI VOID NTAPI
IoReportInterruptActive(PIO_REPORT_INTERRUPT_ACTIVE_STATE_PARAMETERS Parameters);

NTKERNELAPI VOID NTAPI
IoReportInterruptInactive(PIO_REPORT_INTERRUPT_ACTIVE_STATE_PARAMETERS Parameters);

/* ---- wdm.h: mapping registers since Windows 10 -------------------------------------------------- */

NTKERNELAPI PVOID NTAPI
MmMapIoSpaceEx(PHYSICAL_ADDRESS PhysicalAddress, SIZE_T NumberOfBytes, ULONG Protect);

#ifdef __cplusplus
}
#endif

#endif /* KIT_SUPPLEMENT_H */
