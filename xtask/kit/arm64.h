/*
 * Read before every other header when bindings for Arm64 are made. mingw-w64's wdm.h and ntddk.h know no such kernel and
 * stop; taken for a 32-bit ARM the one looks for armddk.h, which the kit has, and the other goes on. How wdm.h lays out
 * structures for x64 is how the WDK lays them out for every 64-bit kernel; the compiler's intrinsics are read before, so
 * that they are those of Arm64.
 */
#include <intrin.h>

/* Of the intrinsics of both processors the one that wdm.h uses and mingw-w64 has for x64 only. */
unsigned long long __umulh(unsigned long long, unsigned long long);

#define _M_ARM 1
#define _AMD64_ 1
#include <wdm.h>
#undef _AMD64_
#define _M_ARM 1
