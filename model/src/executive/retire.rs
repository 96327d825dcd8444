//! Running what is deferred, and waiting until it has run.

use core::{mem::offset_of, ptr};

use super::{
    Executive,
    breach::Breach,
    dpc::set_pointer,
    dpc_queue::{Kind, Queued, Running},
};
use crate::{
    hal::{Event, Hal},
    nt::{DISPATCH_LEVEL, KDPC, PASSIVE_LEVEL},
    report::{Object, Rule},
};

/// Marks that a DPC runs, also until its routine has unwound.
struct RunningGuard<'a, H: Hal> {
    executive: &'a Executive<H>,
    kind: Kind,
    processor: usize,
}

impl<H: Hal> Drop for RunningGuard<'_, H> {
    fn drop(&mut self) {
        let mut dispatch = self.executive.dispatch.lock(&self.executive.hal);
        dispatch.dpcs.queue(self.kind, self.processor).running = None;
    }
}

impl<H: Hal> Executive<H> {
    /// `KeFlushQueuedDpcs`: returns when all that was queued when it was called has run, threaded
    /// DPCs included.
    pub fn ke_flush_queued_dpcs(&self) {
        const CALL: &str = "KeFlushQueuedDpcs";
        self.require_irql(Rule::IrqlPassive, CALL, PASSIVE_LEVEL);
        self.require_no_threaded_dpc(Rule::FlushInDpc, CALL);
        self.hal.trace(&Event::FlushEntered);
        let until = self.dispatch.lock(&self.hal).dpcs.next_sequence;
        loop {
            let mut idle = true;
            for processor in 0..self.hal.contexts() {
                if self.dispatch.lock(&self.hal).dpcs.owes(Kind::Dispatch, processor, until) {
                    idle = false;
                    self.hal.flush_dispatch(processor);
                }
                if self.dispatch.lock(&self.hal).dpcs.owes(Kind::Threaded, processor, until) {
                    idle = false;
                    self.hal.flush_dpc_thread(processor);
                }
            }
            if idle {
                self.hal.trace(&Event::FlushLeft);
                return;
            }
            self.hal.relax();
        }
    }

    /// This is not the thread of a threaded DPC, which is under the rules of DPCs.
    pub(super) fn require_no_threaded_dpc(&self, rule: Rule, call: &'static str) {
        let processor = self.hal.processor();
        if self.dispatch.lock(&self.hal).dpcs.runs_threaded(processor) {
            self.violate(Breach::new(rule, call), format_args!("called in a threaded DPC"));
        }
    }

    /// Runs the DPCs that are queued on this processor. For the HAL, at `DISPATCH_LEVEL`.
    ///
    /// Those that are queued meanwhile had a [`Hal::request_dispatch`] of their own, and so a DPC
    /// that always queues itself again keeps nobody waiting here.
    pub fn retire_dpcs(&self) {
        self.retire(Kind::Dispatch, self.hal.processor());
    }

    /// Runs the threaded DPCs that are queued on `processor`. For the HAL, at `PASSIVE_LEVEL` in the
    /// one thread that `processor` has for this.
    ///
    /// As with [`retire_dpcs`](Self::retire_dpcs), those that are queued meanwhile had a
    /// [`Hal::request_dpc_thread`] of their own.
    pub fn retire_threaded_dpcs(&self, processor: usize) {
        self.retire(Kind::Threaded, processor);
    }

    fn retire(&self, kind: Kind, processor: usize) {
        const CALL: &str = "a deferred routine";
        let until = self.dispatch.lock(&self.hal).dpcs.next_sequence;
        loop {
            let on = self.hal.processor();
            let mut dispatch = self.dispatch.lock(&self.hal);
            let queue = dispatch.dpcs.queue(kind, processor);
            // A DPC that runs in this processor's name keeps the others waiting.
            if queue.running.is_some() {
                return;
            }
            let due = queue.waiting.iter().position(|queued| queued.sequence < until);
            let Some(next) = due.and_then(|index| queue.waiting.remove(index)) else {
                return;
            };
            let dpc = next.dpc.addr();
            queue.running = Some(Running { dpc, sequence: next.sequence, on });
            // SAFETY: it was queued, so it is in place.
            let content = unsafe { next.dpc.read() };
            let intact =
                content.DeferredRoutine.is_some_and(|it| ptr::fn_addr_eq(it, next.routine))
                    && content.DeferredContext == next.context
                    && content.DpcData == next.dpc.cast();
            if intact {
                // SAFETY: as above.
                unsafe { set_pointer(next.dpc, offset_of!(KDPC, DpcData), ptr::null_mut()) };
            }
            drop(dispatch);
            let running = RunningGuard { executive: self, kind, processor };
            if !intact {
                let breach = Breach::new(Rule::DpcOverwritten, CALL);
                self.violate(
                    breach.of(&[Object::Dpc { address: dpc }]),
                    format_args!("{dpc:#x} changed"),
                );
            }
            let before = (self.locks_held(), self.regions_entered());
            let (threaded, sequence) = (kind == Kind::Threaded, next.sequence);
            self.hal.trace(&Event::DpcEntered { dpc, processor, threaded, sequence });
            // SAFETY: the driver gave this routine to be called so.
            unsafe { (next.routine)(next.dpc, next.context, next.first, next.second) };
            self.hal.trace(&Event::DpcLeft { dpc });
            self.require_dpc_unchanged(&next, kind, before);
            drop(running);
        }
    }

    /// A deferred routine that ran left everything as it found it: IRQL, locks, critical regions.
    fn require_dpc_unchanged(&self, ran: &Queued, kind: Kind, before: (usize, usize)) {
        let (locks, regions) = before;
        let (irql, held, inside) = (self.hal.irql(), self.locks_held(), self.regions_entered());
        let entered_at = match kind {
            Kind::Dispatch => DISPATCH_LEVEL,
            Kind::Threaded => PASSIVE_LEVEL,
        };
        let dpc = ran.dpc.addr();
        let objects = [Object::Dpc { address: dpc }];
        let breach = Breach::new(Rule::DpcState, "a deferred routine").of(&objects);
        if u32::from(irql) != entered_at || held != locks {
            self.violate(
                breach,
                format_args!(
                    "{dpc:#x} was entered at IRQL {entered_at} with {locks} locks held, and \
                     returned at IRQL {irql} with {held}"
                ),
            );
        }
        if inside != regions {
            // Windows counts down: a region that is entered disables APCs once more.
            let count = |regions: usize| (regions as u64).wrapping_neg();
            let routine = ran.routine as usize as u64;
            self.violate(
                breach.stops(0xC7, [0x4, routine, count(regions), count(inside)]),
                format_args!(
                    "{dpc:#x} was entered in {regions} critical regions, and returned in {inside}"
                ),
            );
        }
    }
}
