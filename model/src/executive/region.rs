//! Critical regions, in which a thread is not suspended.

use super::Executive;
use crate::{hal::Hal, nt::APC_LEVEL, report::Rule};

impl<H: Hal> Executive<H> {
    /// `KeEnterCriticalRegion`. Nobody suspends threads here; it is checked that each region is
    /// left by the thread that entered it.
    pub fn ke_enter_critical_region(&self) {
        self.require_irql(Rule::CriticalRegion, "KeEnterCriticalRegion", APC_LEVEL);
        let processor = self.hal.processor();
        self.dispatch.lock(&self.hal).regions[processor] += 1;
    }

    /// `KeLeaveCriticalRegion`.
    pub fn ke_leave_critical_region(&self) {
        const CALL: &str = "KeLeaveCriticalRegion";
        self.require_irql(Rule::CriticalRegion, CALL, APC_LEVEL);
        let processor = self.hal.processor();
        let mut dispatch = self.dispatch.lock(&self.hal);
        let entered = &mut dispatch.regions[processor];
        let left = entered.checked_sub(1);
        *entered = left.unwrap_or(0);
        drop(dispatch);
        if left.is_none() {
            let rule = Rule::CriticalRegion;
            self.violate(rule, CALL, format_args!("this thread is in no critical region"));
        }
    }
}
