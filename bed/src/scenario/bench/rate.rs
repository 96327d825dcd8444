//! How many interrupts the bed sustains in a second: each is raised when the one before it is through.

use core::sync::atomic::Ordering;

use super::super::edu::{Edu, Outcome, require};
use super::BITS;
use crate::{processor, smp, time};

/// The best of so many batches counts, since QEMU's processor is a thread, which others hold up.
const BATCHES: u64 = 100;

/// Interrupts in a batch: few enough that some batches are held up by nobody.
const INTERRUPTS: u64 = 500;

/// Nobody may take so long for one, in microseconds.
const PATIENCE: u64 = 1_000_000;

/// The interrupts whose service routine and deferred routine have both ended here.
fn served() -> u64 {
    let own = processor::current();
    own.claimed.load(Ordering::Relaxed).min(own.deferred.load(Ordering::Relaxed))
}

/// Raises interrupts and says how long they took.
pub(super) fn measure(edu: &Edu) -> Outcome {
    let mut best = u64::MAX;
    for _ in 0..BATCHES {
        let begun = time::now();
        for _ in 0..INTERRUPTS {
            let before = served();
            let end = time::now() + time::microseconds(PATIENCE);
            edu.raise_directly(BITS);
            while served() == before {
                require!(time::now() < end, "an interrupt was not served within a second");
                smp::relax_passive();
            }
        }
        best = best.min(time::now() - begun);
    }
    crate::say!("rate: {INTERRUPTS} interrupts in {best} ticks of {} a second", time::frequency());
    Ok(())
}
