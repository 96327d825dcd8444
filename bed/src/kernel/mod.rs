//! The kernel as drivers see it: the model's executive on the bed's hardware, and what stands beside it.

pub(crate) mod cancel_lock;
pub(crate) mod event;
pub(crate) mod registers;

use spin::LazyLock;
use wdm_interrupt_model::executive::Executive;

use crate::hal::BedHal;

/// The kernel's interrupts, DPCs, locks and pool.
pub(crate) static EXECUTIVE: LazyLock<Executive<BedHal>> = LazyLock::new(|| Executive::new(BedHal));
