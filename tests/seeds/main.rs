//! The library under many schedules: whatever a seed makes the processors do,
//!
//! - nobody has a second `&mut` to a handler;
//! - no service routine, no deferred half and no synchronised access runs once the registration's
//!   end has returned, or connecting has failed;
//! - what was claimed is taken by the deferred half, or comes back in the handler;
//! - handlers and deferred halves are dropped once, and nothing is left behind;
//! - nobody waits for ever.
//!
//! `WDM_INTERRUPT_SEEDS=100000 cargo test --release --test seeds` runs more seeds,
//! `WDM_INTERRUPT_SEED=17` one.

mod each_message;
mod exclusive;
mod fake;
mod passive;

use std::sync::Arc;

use fake::Hardware;
use wdm_interrupt::DisconnectError;
use wdm_interrupt_model::host::{Explore, Machine};

/// How many seeds each scenario runs with.
const SEEDS: u64 = 200;

/// Two processors, which the test's thread and one more are.
const fn explore() -> Explore {
    Explore::seeds(0..SEEDS).processors(2)
}

/// Whether it was so with some seed. The few of a replay show nothing.
fn with_some<T>(outcomes: &[T], was_so: impl Fn(&T) -> bool) -> bool {
    (outcomes.len() as u64) < SEEDS || outcomes.iter().any(was_so)
}

/// Raises so many interrupts of a device, each of its interrupts in turn, from a processor of its
/// own while `meanwhile` runs.
fn interrupted<R>(
    machine: &Machine,
    hardware: &Arc<Hardware>,
    count: usize,
    meanwhile: impl FnOnce() -> R,
) -> R {
    let interrupts = hardware.device.interrupts().len();
    machine.scope(|scope| {
        scope.spawn(1, || {
            for number in 0..count {
                hardware.raise(machine, number % interrupts);
            }
        });
        meanwhile()
    })
}

/// A registration of whatever kind, of which the seed chooses the end.
trait Ends: Sized {
    type Halves;

    fn disconnects(self) -> Result<Self::Halves, DisconnectError<Self>>;
    fn disconnects_removed(self) -> Result<Self::Halves, DisconnectError<Self>>;

    /// Ends the registration. If halves come back, `left` says how much is left in them that was
    /// claimed: something only of a device that nobody could silence.
    fn end(self, machine: &Machine, left: impl FnOnce(Self::Halves) -> u32) {
        match machine.choose(3) {
            0 => drop(self),
            1 => {
                let halves = self.disconnects().unwrap_or_else(|error| panic!("{error}"));
                assert_eq!(left(halves), 0, "left in what came back");
            }
            _ => {
                left(self.disconnects_removed().unwrap_or_else(|error| panic!("{error}")));
            }
        }
    }
}
