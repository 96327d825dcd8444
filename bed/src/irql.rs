//! IRQL is the local APIC's task priority class, which is what CR8 holds.

use core::arch::asm;

use wdm_interrupt_model::hal::Event;

use crate::trace;

/// Wakes an idle processor: class 1, below everything a driver sees except `PASSIVE_LEVEL`.
///
/// Vectors under 32 are exceptions, so this class shares the lowest usable vectors with class 2; the
/// handler does nothing but acknowledge.
pub(crate) const WAKE_VECTOR: u8 = 0x20;
/// The interrupt in which deferred routines run: class 2, `DISPATCH_LEVEL`.
pub(crate) const DISPATCH_VECTOR: u8 = 0x2f;

/// Makes a processor forget what it cached of the page tables: class 14, above every device.
pub(crate) const FLUSH_VECTOR: u8 = 0xe0;
/// Keeps a processor from doing anything for a moment: of the same class.
pub(crate) const HOLD_VECTOR: u8 = 0xe1;

/// The current processor's IRQL.
pub(crate) fn current() -> u8 {
    let class: u64;
    // SAFETY: reading CR8 has no effect.
    unsafe { asm!("mov {}, cr8", out(reg) class, options(nomem, nostack, preserves_flags)) };
    class as u8
}

/// Sets the current processor's IRQL. What a lower one makes deliverable arrives at once, if
/// interrupts are on.
pub(crate) fn set(irql: u8) {
    let from = trace::is_on().then(current);
    if let Some(from) = from.filter(|from| irql < *from) {
        trace::record(Event::Irql { from, to: irql });
    }
    write(irql);
    if let Some(from) = from.filter(|from| irql > *from) {
        trace::record(Event::Irql { from, to: irql });
    }
}

fn write(irql: u8) {
    let class = u64::from(irql);
    // SAFETY: a class of 0 to 15; memory accesses must not move across it, so no `nomem`.
    unsafe { asm!("mov cr8, {}", in(reg) class, options(nostack, preserves_flags)) };
}
