//! What a service routine costs among many: of a device that has more messages than any of QEMU's, and sends none.

use core::sync::atomic::Ordering;

use super::super::edu::{Outcome, require};
use super::{COUNTED, WATCHING, report_kept};
use crate::irql;
use crate::kernel::EXECUTIVE;
use crate::pnp::resources::Interrupt;

/// Has messages served as if the device had sent them: the first, one in the middle, and the last.
pub(super) fn measure(interrupts: &[Interrupt]) -> Outcome {
    let (Some(first), Some(last)) = (interrupts.first(), interrupts.last()) else {
        return Err("the device has no messages".into());
    };
    for interrupt in [first, &interrupts[interrupts.len() / 2], last] {
        let before = COUNTED.lock().len();
        WATCHING.store(true, Ordering::Relaxed);
        let passive = irql::current();
        irql::set(interrupt.assigned.irql());
        let claimed = EXECUTIVE.interrupt(interrupt.vector());
        // The deferred routine runs as soon as it may.
        irql::set(passive);
        WATCHING.store(false, Ordering::Relaxed);
        let regions = COUNTED.lock().len() - before;
        require!(
            claimed && regions == 2,
            "a message was served in {regions} routines, and claimed: {claimed}"
        );
    }
    report_kept()
}
