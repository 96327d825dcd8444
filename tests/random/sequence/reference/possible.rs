//! Which operations are possible.

use super::Reference;
use super::device::{Connection, Device};
use crate::sequence::operation::{Failure, Half, Kind, Operation, Refused, Request, Slot};
use crate::sequence::plan::Plan;

impl Reference {
    /// Whether the operation is possible now, for a driver and a PnP manager that keep the rules.
    pub(crate) fn allows(&self, operation: Operation) -> bool {
        let started = |slot| self.get(slot, |it| it.is_started && !it.is_gone);
        let interrupts = |slot| self.get(slot, |it| it.is_started && it.kind.assigned() > 0);
        let connected = |slot| self.connection(slot).is_some();
        // What is held back cannot be waited for.
        let can_end = |slot| {
            let work = |it: &Connection| it.half == Half::WorkItem;
            !self.holds_work || !self.connection(slot).is_some_and(work)
        };
        match operation {
            Operation::Plug(slot, kind) => {
                self.devices[slot as usize].is_none() && self.has_vectors_for(kind)
            }
            Operation::Start(slot) => {
                self.get(slot, |it| !it.is_started && !it.is_gone && self.has_vectors_for(it.kind))
            }
            Operation::Stop(slot) => started(slot) && can_end(slot),
            Operation::SurpriseRemoval(slot) => self.get(slot, |it| !it.is_gone),
            Operation::Remove(slot) => self.get(slot, |_| true) && can_end(slot),
            Operation::Connect(slot, request, half)
            | Operation::AtRaisedIrql(slot, Refused::Connect(request, half)) => {
                self.can_connect(slot, request, half)
            }
            Operation::ConnectFailing(slot, request, half, failure) => {
                self.can_connect(slot, request, half) && self.can_fail(slot, request, half, failure)
            }
            Operation::Disconnect(slot)
            | Operation::DisconnectRemoved(slot)
            | Operation::Drop(slot) => connected(slot) && can_end(slot),
            Operation::IntoRaw(slot) => self.connection(slot).is_some_and(|it| !it.is_raw),
            Operation::FromRaw(slot) => self.connection(slot).is_some_and(|it| it.is_raw),
            Operation::Raise(slot, ..)
            | Operation::RaiseSpurious(slot, ..)
            | Operation::Pend(slot, _) => interrupts(slot),
            Operation::RaiseForeign(slot) | Operation::ReconnectForeign(slot) => {
                self.get(slot, |it| it.foreign.is_some())
            }
            Operation::Defer(slot) => self.connection(slot).is_some_and(|it| it.half != Half::None),
            Operation::ReportInactive(slot)
            | Operation::ReportActive(slot)
            | Operation::AtRaisedIrql(slot, Refused::Disconnect | Refused::DisconnectRemoved) => {
                connected(slot)
            }
            Operation::HoldDpcs(hold) => hold != self.holds_dpcs,
            Operation::HoldWorkItems(hold) => hold != self.holds_work,
            Operation::ThreadedDpcsAtDispatchLevel(at) => {
                at != self.threaded_dpcs_at_dispatch_level
            }
            Operation::InterruptDuringConnect(during) => during != self.during_connect,
            Operation::InterruptDuringDisconnect(during) => during != self.during_disconnect,
        }
    }

    fn has_vectors_for(&self, kind: Kind) -> bool {
        let mut vectors = self.vectors;
        kind.irqls().into_iter().for_each(|irql| vectors[usize::from(irql)] += 1);
        vectors.iter().all(|&used| used <= 16)
    }

    fn can_connect(&self, slot: Slot, request: Request, half: Half) -> bool {
        // An early ISR queues passive work at once, and the connect that fails waits for it.
        let waits = request.is_passive() && request.half(half) == Half::WorkItem;
        let free = |it: &Device| it.is_started && !it.is_gone && it.connection.is_none();
        let has_resource = |it: &Device| !request.takes_resource() || it.kind.promised() > 0;
        self.get(slot, |it| free(it) && has_resource(it)) && !(waits && self.holds_work)
    }

    fn can_fail(&self, slot: Slot, request: Request, half: Half, failure: Failure) -> bool {
        let plan = |device: &Device| Plan::new(device.kind, request);
        self.get(slot, |it| {
            plan(it).refusal.is_none()
                && match failure {
                    Failure::NoPool(_) => true,
                    Failure::NoWorkItem => request.half(half) == Half::WorkItem,
                    _ => !plan(it).calls.is_empty(),
                }
        })
    }
}
