//! IRQL.

use super::{Executive, breach::Breach};
use crate::{
    hal::Hal,
    nt::{HIGH_LEVEL, KIRQL},
    report::Rule,
};

/// Takes the IRQL back to what it was, also when a routine of the driver's unwinds.
pub(super) struct Raised<'a, H: Hal> {
    executive: &'a Executive<H>,
    before: u8,
}

impl<H: Hal> Drop for Raised<'_, H> {
    fn drop(&mut self) {
        self.executive.hal.set_irql(self.before);
    }
}

impl<H: Hal> Executive<H> {
    /// `KeGetCurrentIrql`.
    pub fn ke_get_current_irql(&self) -> KIRQL {
        self.hal.irql()
    }

    /// `KfRaiseIrql`; gives the IRQL from before.
    pub fn kf_raise_irql(&self, new: KIRQL) -> KIRQL {
        const CALL: &str = "KfRaiseIrql";
        let before = self.hal.irql();
        if new < before || u32::from(new) > HIGH_LEVEL {
            let breach = Breach::new(Rule::IrqlOrder, CALL);
            let breach = breach.verifier(0x30, [before.into(), new.into(), 0]);
            self.violate(breach, format_args!("from {before} to {new}"));
        }
        self.hal.set_irql(new);
        before
    }

    /// `KeLowerIrql`.
    pub fn ke_lower_irql(&self, new: KIRQL) {
        self.lower(new, "KeLowerIrql");
    }

    pub(super) fn lower(&self, new: KIRQL, call: &'static str) {
        let before = self.hal.irql();
        let processor = self.hal.processor();
        let lowest = self.dispatch.lock(&self.hal).held.lowest_irql(processor);
        let breach = Breach::new(Rule::IrqlOrder, call);
        if new > before {
            let breach = breach.verifier(0x31, [before.into(), new.into(), 0]);
            self.violate(breach, format_args!("from {before} to {new}"));
        }
        if new < lowest {
            self.violate(
                breach,
                format_args!("to {new}, while a lock is held that needs {lowest}"),
            );
        }
        self.hal.set_irql(new);
    }

    /// Raises to `irql` until what this gives is dropped.
    pub(super) fn raised(&self, irql: u8) -> Raised<'_, H> {
        let before = self.hal.irql();
        self.hal.set_irql(irql);
        Raised { executive: self, before }
    }
}
