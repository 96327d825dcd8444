//! Connecting and disconnecting.

use wdm_interrupt::{ConnectErrorKind, ConnectionKind};
use wdm_interrupt_model::nt;

use super::device::Connection;
use super::{Expected, Reference};
use crate::sequence::driver::Counts;
use crate::sequence::operation::{During, Failure, Half, Request, Slot};
use crate::sequence::plan::Plan;

impl Reference {
    pub(super) fn connect(
        &mut self,
        slot: Slot,
        request: Request,
        half: Half,
        failure: Option<Failure>,
    ) -> Expected {
        let plan = Plan::new(self.device(slot).kind, request);
        let half = request.half(half);
        let failed = |kind, returned, counts| Expected {
            connected: Some(Err(kind)),
            returned,
            counts,
            ..Expected::default()
        };
        if let Some(kind) = plan.refusal {
            // Handlers of each message are made later than this.
            let each = matches!(request, Request::EachMessage { .. });
            return failed(kind, if each { 0 } else { plan.made }, Counts::default());
        }
        let early = |number: usize| number % (plan.allocations + plan.late_allocations);
        match failure {
            Some(Failure::NoPool(number)) if early(number.index()) < plan.allocations => {
                let each = matches!(request, Request::EachMessage { .. });
                let returned = if each { 0 } else { plan.made };
                return failed(ConnectErrorKind::NoPool, returned, Counts::default());
            }
            Some(Failure::NoWorkItem) => {
                return failed(ConnectErrorKind::NoPool, plan.made, Counts::default());
            }
            _ => {}
        }
        self.device(slot).connection = Some(Connection {
            kind: ConnectionKind::LineBased,
            request,
            half,
            wired: vec![],
            handlers: plan.handlers,
            is_active: true,
            is_raw: false,
            counts: Counts::default(),
            dpc_is_queued: false,
            work_is_queued: false,
        });
        let outcome = match failure {
            Some(Failure::NoPool(_)) => Err(ConnectErrorKind::NoPool),
            _ => self.call(slot, &plan, failure).and(plan.outcome),
        };
        match outcome {
            Ok(kind) => {
                self.drop_surplus(slot, &plan);
                let device = self.device(slot);
                if let Some(foreign) = &mut device.foreign {
                    foreign.is_first = true;
                }
                let connection = device.connection.as_mut().expect("just made");
                connection.kind = kind;
                connection.enable();
                Expected { connected: Some(Ok(kind)), ..Expected::default() }
            }
            Err(kind) => {
                let Expected { counts, .. } = self.dismantle(slot);
                failed(kind, plan.made, counts)
            }
        }
    }

    /// Handlers without a message are dropped, and their DPCs first: those of others run meanwhile.
    fn drop_surplus(&mut self, slot: Slot, plan: &Plan) {
        let connection = self.device(slot).connection.as_mut().expect("just made");
        let own = matches!(connection.request, Request::EachMessage { .. })
            && matches!(connection.half, Half::Dpc | Half::ThreadedDpc);
        if own && plan.made > plan.handlers {
            // Its own wait until the connect is through.
            let queued = std::mem::take(&mut connection.dpc_is_queued);
            self.run_deferred(true);
            let connection = self.device(slot).connection.as_mut().expect("just made");
            connection.dpc_is_queued = queued;
        }
    }

    /// The calls of the kernel, one by one, up to the first that fails.
    fn call(
        &mut self,
        slot: Slot,
        plan: &Plan,
        failure: Option<Failure>,
    ) -> Result<(), ConnectErrorKind> {
        let connecting = self.during_connect != During::No;
        let disconnecting = self.during_disconnect;
        let device = self.device(slot);
        let is_nth = |number: usize, nth| number % plan.calls.len() == nth;
        for (nth, call) in plan.calls.iter().enumerate() {
            let mut refused = None;
            match failure {
                Some(Failure::Refused(number)) if is_nth(number.index(), nth) => {
                    return Err(ConnectErrorKind::Refused(nt::STATUS_INSUFFICIENT_RESOURCES));
                }
                Some(Failure::WritesNothing(number) | Failure::StoresNull(number))
                    if is_nth(number.index(), nth) =>
                {
                    return Err(ConnectErrorKind::NothingConnected);
                }
                Some(Failure::RefusedLate(number, live)) if is_nth(number.index(), nth) => {
                    refused = Some(live.index());
                }
                _ => {}
            }
            let connects = call.connects.as_ref().map_err(|&it| ConnectErrorKind::Refused(it))?;
            let live = refused.unwrap_or(connects.len()).min(connects.len());
            let wired = device.connection.as_ref().map_or(0, |it| it.wired.len());
            if let Some(foreign) = &mut device.foreign {
                foreign.is_first = true;
            }
            if let Some(connection) = device.connection.as_mut().filter(|_| call.serves) {
                // A handler of each message serves no other, and there may be too few of them.
                let each = matches!(connection.request, Request::EachMessage { .. });
                let each = each && device.kind.has_messages();
                let served = |index: &&usize| !each || **index < plan.made;
                connection.wired.extend(connects[..live].iter().filter(served));
            }
            if connecting {
                for &index in &connects[..live] {
                    device.interrupt(index);
                }
            }
            if refused.is_some() {
                if let Some(connection) = &mut device.connection {
                    connection.wired.truncate(wired);
                }
                return Err(ConnectErrorKind::Refused(nt::STATUS_INSUFFICIENT_RESOURCES));
            }
            if call.is_undone && disconnecting {
                for &index in connects {
                    device.interrupt(index);
                }
            }
        }
        Ok(())
    }

    /// Ends the connection, if there is one.
    pub(super) fn end(&mut self, slot: Slot, removed: bool) -> Expected {
        let Some(mut connection) = self.device(slot).connection.take() else {
            return Expected::default();
        };
        let has_half = connection.half != Half::None;
        if !removed {
            connection.disable();
        }
        let passive = connection.request.is_passive();
        self.device(slot).connection = Some(connection);
        if has_half {
            self.run_deferred(!self.holds_dpcs || !passive);
        }
        if let Some(connection) = &mut self.device(slot).connection
            && has_half
            && !removed
        {
            connection.disable();
        }
        self.dismantle(slot)
    }

    /// Disconnects; what is claimed meanwhile is not taken any more.
    fn dismantle(&mut self, slot: Slot) -> Expected {
        let during_disconnect = self.during_disconnect;
        let device = self.device(slot);
        let wired = device.connection.as_ref().map_or_else(Vec::new, |it| it.wired.clone());
        if during_disconnect {
            for index in wired {
                device.interrupt(index);
            }
        }
        let Some(connection) = device.connection.take() else { return Expected::default() };
        if connection.half != Half::None && !connection.request.is_passive() {
            self.run_deferred(true);
        }
        Expected { returned: connection.handlers, counts: connection.counts, ..Expected::default() }
    }
}
