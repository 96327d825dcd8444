//! `KeSynchronizeExecution`.

use alloc::sync::Arc;

use super::{Executive, breach::Breach, object::Object};
use crate::{
    hal::{Event, Hal},
    nt::{BOOLEAN, PKINTERRUPT, PKSYNCHRONIZE_ROUTINE, PVOID},
    report::Rule,
};

impl<H: Hal> Executive<H> {
    /// `KeSynchronizeExecution`: runs `routine` under the interrupt's lock, at its `SynchronizeIrql`.
    ///
    /// # Safety
    ///
    /// `routine` can be called with `context`.
    pub unsafe fn ke_synchronize_execution(
        &self,
        interrupt: PKINTERRUPT,
        routine: PKSYNCHRONIZE_ROUTINE,
        context: PVOID,
    ) -> BOOLEAN {
        const CALL: &str = "KeSynchronizeExecution";
        let object = self.connected_object(interrupt, CALL);
        let irql = self.hal.irql();
        if irql > object.synchronize_irql {
            self.violate(
                Breach::new(Rule::SynchronizeIrql, CALL).of(&[object.report()]),
                format_args!("the SynchronizeIrql is {}", object.synchronize_irql),
            );
        }
        let Some(routine) = routine else {
            let breach = Breach::new(Rule::RoutineState, CALL);
            self.violate(breach.of(&[object.report()]), format_args!("the routine is NULL"));
        };
        let raised = self.raised(object.synchronize_irql);
        let holding = self.hold(object.lock_word(), object.synchronize_irql, CALL);
        let locks = self.locks_held();
        let (vector, irql) = (object.vector, object.synchronize_irql);
        self.hal.trace(&Event::SynchronizeEntered { vector, irql });
        // SAFETY: the caller's promise.
        let result = unsafe { routine(context) };
        self.hal.trace(&Event::SynchronizeLeft { vector });
        self.require_unchanged(&object, locks, Rule::RoutineState, CALL);
        drop(holding);
        // Lowering IRQL lets in what waited, which may take long: the object is not kept for it.
        drop(object);
        drop(raised);
        result
    }

    /// The connected object that a driver means.
    pub(super) fn connected_object(
        &self,
        interrupt: PKINTERRUPT,
        call: &'static str,
    ) -> Arc<Object> {
        let token = interrupt.addr();
        let found = self.dispatch.lock(&self.hal).chains.by_token(token);
        let Some(object) = found else {
            self.refuse_context(token, "the interrupt object", call);
        };
        object
    }
}
