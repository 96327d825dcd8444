//! Critical regions, in which a thread is not suspended.

use super::{Executive, breach::Breach};
use crate::{hal::Hal, nt::APC_LEVEL, report::Rule};

impl<H: Hal> Executive<H> {
    /// `KeEnterCriticalRegion`. Nobody suspends threads here; it is checked that each region is
    /// left by the thread that entered it.
    pub fn ke_enter_critical_region(&self) {
        self.require_irql_or(APC_LEVEL, |irql| {
            Breach::new(Rule::CriticalRegion, "KeEnterCriticalRegion").verifier(0x11A, [irql, 0, 0])
        });
        let processor = self.hal.processor();
        self.dispatch.lock(&self.hal).regions[processor] += 1;
    }

    /// `KeLeaveCriticalRegion`.
    pub fn ke_leave_critical_region(&self) {
        const CALL: &str = "KeLeaveCriticalRegion";
        let breach = Breach::new(Rule::CriticalRegion, CALL);
        self.require_irql_or(APC_LEVEL, |irql| breach.verifier(0x11B, [irql, 0, 0]));
        let processor = self.hal.processor();
        let mut dispatch = self.dispatch.lock(&self.hal);
        let entered = &mut dispatch.regions[processor];
        let left = entered.checked_sub(1);
        *entered = left.unwrap_or(0);
        drop(dispatch);
        if left.is_none() {
            self.violate(
                breach.verifier(0x3E, [0, 0, 0]),
                format_args!("this thread is in no critical region"),
            );
        }
    }

    /// How many critical regions the thread on this processor is in.
    pub(super) fn regions_entered(&self) -> usize {
        let processor = self.hal.processor();
        self.dispatch.lock(&self.hal).regions[processor]
    }
}
