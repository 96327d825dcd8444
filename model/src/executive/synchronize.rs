//! `KeSynchronizeExecution`.

use alloc::sync::Arc;

use super::{Executive, object::Object};
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
                Rule::SynchronizeIrql,
                CALL,
                format_args!("the SynchronizeIrql is {}", object.synchronize_irql),
            );
        }
        let Some(routine) = routine else {
            self.violate(Rule::RoutineState, CALL, format_args!("the routine is NULL"));
        };
        let raised = self.raised(object.synchronize_irql);
        let holding = self.hold(object.lock_word(), object.synchronize_irql, CALL);
        let locks = self.locks_held();
        self.hal
            .trace(&Event::Synchronize { vector: object.vector, irql: object.synchronize_irql });
        // SAFETY: the caller's promise.
        let result = unsafe { routine(context) };
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
            let what = self.registry.lock(&self.hal).describe(token);
            self.violate(Rule::InterruptObject, call, format_args!("{interrupt:p} is {what}"));
        };
        object
    }
}
