/*
 * What drivers in C need besides the kit's ntifs.h: included first, by the command line.
 *
 * Bindings are made without it, since it has nothing but what is inline.
 */
#ifndef KIT_C_H
#define KIT_C_H

/*
 * mingw-w64 would define these as ordinary functions in every object, which the linker then finds twice. The
 * compiler has them built in.
 */
#define __INTRINSIC_DEFINED_InterlockedBitTestAndSet
#define __INTRINSIC_DEFINED_InterlockedBitTestAndReset
#define __INTRINSIC_DEFINED_InterlockedBitTestAndComplement

#include <ntifs.h>

/* ---- wdm.h: plain accesses with an order, inline ------------------------------------------------- */

FORCEINLINE LONG ReadAcquire(LONG const volatile *Source)
{
    return __atomic_load_n(Source, __ATOMIC_ACQUIRE);
}

FORCEINLINE VOID WriteRelease(LONG volatile *Destination, LONG Value)
{
    __atomic_store_n(Destination, Value, __ATOMIC_RELEASE);
}

#endif /* KIT_C_H */
