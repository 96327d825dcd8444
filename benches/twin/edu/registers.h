/*
 * The device's registers, in its memory BAR 0: https://www.qemu.org/docs/master/specs/edu.html
 *
 * Every register of a device that is gone, or asleep, reads as all ones, and writes go nowhere.
 */
#pragma once

#include <ntifs.h>

#define EDU_REGISTERS_LENGTH 0x100

#define EDU_IDENTIFICATION 0x00        /* reads as EDU_IDENTIFIED */
#define EDU_LIVENESS 0x04              /* reads as the complement of what was written */
#define EDU_FACTORIAL 0x08             /* written, begins to compute; read, has the result */
#define EDU_STATUS 0x20                /* EDU_STATUS_BUSY (read only), EDU_STATUS_INTERRUPT */
#define EDU_INTERRUPT_STATUS 0x24      /* the bits that have been raised and not acknowledged */
#define EDU_INTERRUPT_RAISE 0x60       /* raises the bits written */
#define EDU_INTERRUPT_ACKNOWLEDGE 0x64 /* takes back the bits written */

#define EDU_IDENTIFIED 0x010000EDu
#define EDU_STATUS_BUSY 0x01u
#define EDU_STATUS_INTERRUPT 0x80u
#define EDU_FACTORIAL_COMPLETE 0x01u /* in the interrupt status */

FORCEINLINE ULONG EduRead(volatile ULONG *Registers, ULONG Offset)
{
    return READ_REGISTER_ULONG((PULONG)(ULONG_PTR)(Registers + Offset / sizeof(ULONG)));
}

FORCEINLINE VOID EduWrite(volatile ULONG *Registers, ULONG Offset, ULONG Value)
{
    WRITE_REGISTER_ULONG((PULONG)(ULONG_PTR)(Registers + Offset / sizeof(ULONG)), Value);
}
