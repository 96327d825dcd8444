//! Delivering an interrupt to service routines.

use core::{fmt, sync::atomic::Ordering};

use super::{
    Executive,
    breach::Breach,
    object::{Object, Routine},
};
use crate::{
    hal::{Event, Hal},
    report::{Object as Reported, Rule},
};

/// After so many rounds in which an edge-triggered interrupt was claimed, it is a storm.
const STORM: usize = 10_000;

impl<H: Hal> Executive<H> {
    /// An interrupt on `vector`, on this processor, whose IRQL is the vector's already, or
    /// `PASSIVE_LEVEL` if it [is passive](Self::is_passive). Says whether a service routine
    /// claimed it.
    ///
    /// Service routines on one vector are called in the order in which they were connected. A level
    /// that is still asserted comes again, so the first that claims it is the last called; an edge
    /// does not, so all are called until none claims it.
    pub fn interrupt(&self, vector: u32) -> bool {
        let mut claimed_at_all = false;
        for _ in 0..STORM {
            let (mut claimed, mut latched, mut called, mut after) = (false, true, 0_usize, 0);
            while let Some(object) = self.next_on(vector, after) {
                after = object.id;
                latched = object.latched;
                if !object.active.load(Ordering::Relaxed) {
                    continue;
                }
                called += 1;
                claimed |= self.serve(&object);
                if claimed && !latched {
                    break;
                }
            }
            claimed_at_all |= claimed;
            // Alone on its vector, a routine is called once an edge.
            if !latched || !claimed || called < 2 {
                return claimed_at_all;
            }
        }
        self.storm(
            vector,
            "a service routine",
            format_args!("vector {vector:#x} was claimed {STORM} times on end"),
        )
    }

    /// Reports that a vector interrupts for ever: for the HAL, which sees a line that stays asserted.
    pub fn storm(&self, vector: u32, call: &str, detail: fmt::Arguments<'_>) -> ! {
        let first = self.dispatch.lock(&self.hal).chains.first(vector);
        let breach = Breach::new(Rule::Storm, call);
        let Some((object, count)) = first else {
            self.violate(breach.of(&[Reported::Vector { vector }]), detail);
        };
        let (routine, context) = (object.routine_address(), object.context.addr() as u64);
        let chained = if count > 1 { 0x2 } else { 0x1 };
        let (address, reported) = (object.token() as u64, object.report());
        drop(object);
        self.violate(
            breach.stops(0xF2, [routine, context, address, chained]).of(&[reported]),
            detail,
        )
    }

    /// How many interrupt objects are connected to `vector`.
    pub fn connected(&self, vector: u32) -> usize {
        self.dispatch.lock(&self.hal).chains.count(vector)
    }

    /// Whether what is connected to `vector` is served at `PASSIVE_LEVEL`. Then the HAL calls
    /// [`interrupt`](Self::interrupt) at `PASSIVE_LEVEL`, in a thread that may block, one at a time
    /// for a vector, and keeps its source masked until that has returned.
    pub fn is_passive(&self, vector: u32) -> bool {
        self.dispatch.lock(&self.hal).chains.is_passive(vector)
    }

    fn next_on(&self, vector: u32, after: usize) -> Option<alloc::sync::Arc<Object>> {
        self.dispatch.lock(&self.hal).chains.next(vector, after)
    }

    fn serve(&self, object: &Object) -> bool {
        const CALL: &str = "a service routine";
        let raised = self.raised(object.synchronize_irql);
        let holding = self.hold(object.lock_word(), object.synchronize_irql, CALL);
        let locks = self.locks_held();
        let (vector, message) = (object.vector, object.message());
        self.hal.trace(&Event::IsrEntered { vector, message, irql: object.synchronize_irql });
        let claimed = match object.routine {
            // SAFETY: the driver gave this routine and this context to be called so.
            Routine::Line(routine) => unsafe { routine(object.pointer(), object.context) },
            // SAFETY: as above.
            Routine::Message(routine, number) => unsafe {
                routine(object.pointer(), object.context, number)
            },
        } != 0;
        self.hal.trace(&Event::IsrLeft { vector, claimed });
        self.require_unchanged(object, locks, Rule::IsrState, CALL);
        drop(holding);
        drop(raised);
        claimed
    }

    /// A routine that ran under `object`'s lock left everything as it found it.
    pub(super) fn require_unchanged(
        &self,
        object: &Object,
        locks: usize,
        rule: Rule,
        call: &'static str,
    ) {
        let (irql, held) = (self.hal.irql(), self.locks_held());
        let objects = [object.report()];
        let breach = Breach::new(rule, call).of(&objects);
        if irql != object.synchronize_irql {
            let (before, after) = (object.synchronize_irql.into(), irql.into());
            let breach = if rule == Rule::IsrState {
                breach.verifier(0x111, [object.routine_address(), before, after])
            } else {
                breach
            };
            self.violate(breach, format_args!("entered at IRQL {before}, left at {after}"));
        }
        if held != locks || !self.is_held(object.lock_word()) {
            self.violate(
                breach,
                format_args!("entered with {locks} locks held, left with {held}, or with others"),
            );
        }
    }
}
