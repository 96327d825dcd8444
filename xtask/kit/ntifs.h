/*
 * The ntifs.h of the kit: mingw-w64's header, and what it lacks of today's WDK.
 *
 * bindgen only emits functions that have no body, and mingw-w64 defines a few of the kernel's exports
 * inline for x64. Those names are put out of the way while its header is read, and declared afterwards
 * as the WDK declares them.
 */
#ifndef KIT_NTIFS_H
#define KIT_NTIFS_H

#define KeGetCurrentIrql kit_inline_KeGetCurrentIrql
#define KfRaiseIrql kit_inline_KfRaiseIrql
#define KeLowerIrql kit_inline_KeLowerIrql
#define KeRaiseIrqlToDpcLevel kit_inline_KeRaiseIrqlToDpcLevel

#include <ddk/ntifs.h>

#undef KeGetCurrentIrql
#undef KfRaiseIrql
#undef KeLowerIrql
#undef KeRaiseIrqlToDpcLevel

#include "supplement.h"

#endif /* KIT_NTIFS_H */
