/*
 * What wdm.h has for Arm64. mingw-w64's wdm.h knows no such kernel, and includes this header where it takes the target for
 * a 32-bit ARM. Names and values are those of Microsoft's reference; what the WDK has inline for Arm64, like
 * KeGetCurrentThread, is declared only, so that code which uses it compiles, and does not link.
 */
#ifndef KIT_ARMDDK_H
#define KIT_ARMDDK_H

#define PASSIVE_LEVEL 0
#define LOW_LEVEL 0
#define APC_LEVEL 1
#define DISPATCH_LEVEL 2
#define CLOCK_LEVEL 13
#define IPI_LEVEL 14
#define DRS_LEVEL 14
#define POWER_LEVEL 14
#define PROFILE_LEVEL 15
#define HIGH_LEVEL 15

#define PAGE_SIZE 0x1000
#define PAGE_SHIFT 12L

#define KI_USER_SHARED_DATA 0xFFFFF78000000000ULL
#define SharedUserData ((PKUSER_SHARED_DATA const)KI_USER_SHARED_DATA)

typedef struct _KFLOATING_SAVE {
  ULONG Reserved;
} KFLOATING_SAVE, *PKFLOATING_SAVE;

#undef YieldProcessor
#define YieldProcessor() __asm__ __volatile__("yield")

NTKERNELAPI struct _KTHREAD *NTAPI KeGetCurrentThread(VOID);

#define KeRaiseIrql(a, b) *(b) = KfRaiseIrql(a)

/* The rest of wdm.h is right for every 64-bit kernel as long as it does not take this one for 32-bit ARM. */
#undef _M_ARM

#endif /* KIT_ARMDDK_H */
