//! The reference: plain state, and what each operation does to it.

mod calls;
mod device;
mod possible;

use std::fmt;

use wdm_interrupt::{ConnectErrorKind, ConnectionKind};
use wdm_interrupt_model::host::Delivery;

use self::device::{Connection, Device, Foreign};
use super::driver::Counts;
use super::operation::{During, Half, Kind, Operation, Place, Request, SLOTS, Slot};

/// What the kernel and the drivers know.
#[derive(Clone)]
#[expect(clippy::struct_excessive_bools, reason = "a switch each")]
pub(crate) struct Reference {
    devices: [Option<Device>; SLOTS.len()],
    holds_dpcs: bool,
    holds_work: bool,
    threaded_dpcs_at_dispatch_level: bool,
    during_connect: During,
    during_disconnect: bool,
    /// How many vectors of each IRQL have been given to devices. Of 16 the first comes again.
    vectors: [usize; 16],
}

/// What an operation gives whoever asked for it.
#[derive(Debug, Default)]
pub(crate) struct Expected {
    pub(super) delivery: Option<Delivery>,
    pub(super) connected: Option<Result<ConnectionKind, ConnectErrorKind>>,
    /// How many handlers come back.
    pub(super) returned: usize,
    /// What became of handlers that come back.
    pub(super) counts: Counts,
}

impl fmt::Debug for Reference {
    /// A script begins with it, where there is nothing to be said.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Nothing")
    }
}

impl Default for Reference {
    fn default() -> Self {
        Self {
            devices: [const { None }; SLOTS.len()],
            holds_dpcs: false,
            holds_work: false,
            threaded_dpcs_at_dispatch_level: false,
            during_connect: During::No,
            during_disconnect: false,
            vectors: [0; 16],
        }
    }
}

/// What there is, for one who compares.
impl Reference {
    pub(super) fn connection(&self, slot: Slot) -> Option<&Connection> {
        self.devices[slot as usize].as_ref()?.connection.as_ref()
    }

    /// How each of a device's interrupts is reported: by whom it is connected, if at all.
    pub(super) fn activity(&self, slot: Slot) -> Vec<Option<bool>> {
        let Some(device) = self.devices[slot as usize].as_ref().filter(|it| it.is_started) else {
            return vec![];
        };
        let ours = |index| device.wired(index).map(|connection| connection.is_active);
        let interrupts = 0..device.kind.assigned();
        interrupts.map(|index| ours(index).max(device.foreign.map(|_foreign| true))).collect()
    }

    /// How many handlers and deferred halves there are.
    pub(super) fn halves(&self) -> i64 {
        let connections = self.devices.iter().flatten().filter_map(|it| it.connection.as_ref());
        let halves = connections.map(|connection| {
            let own = matches!(connection.request, Request::EachMessage { .. });
            connection.handlers
                + match connection.half {
                    Half::None => 0,
                    Half::Dpc | Half::ThreadedDpc if own => connection.handlers,
                    _ => 1,
                }
        });
        i64::try_from(halves.sum::<usize>()).expect("there are few")
    }
}

impl Reference {
    const fn device(&mut self, slot: Slot) -> &mut Device {
        self.devices[slot as usize].as_mut().expect("there is a device")
    }

    fn get(&self, slot: Slot, wanted: impl FnOnce(&Device) -> bool) -> bool {
        self.devices[slot as usize].as_ref().is_some_and(wanted)
    }

    /// Applies an operation that is possible.
    pub(crate) fn apply(&mut self, operation: Operation) -> Expected {
        let expected = self.effect(operation);
        self.run_deferred(!self.holds_dpcs);
        expected
    }

    fn effect(&mut self, operation: Operation) -> Expected {
        let mut expected = Expected::default();
        match operation {
            Operation::Plug(slot, kind) => {
                self.devices[slot as usize] = Some(Device {
                    kind,
                    is_started: false,
                    is_gone: false,
                    status: 0,
                    foreign: None,
                    connection: None,
                });
                self.start(slot);
            }
            Operation::Start(slot) => self.start(slot),
            Operation::Stop(slot) => {
                self.end(slot, false);
                let device = self.device(slot);
                (device.is_started, device.foreign) = (false, None);
            }
            Operation::SurpriseRemoval(slot) => self.device(slot).is_gone = true,
            Operation::Remove(slot) => {
                self.end(slot, false);
                self.devices[slot as usize] = None;
            }
            Operation::Connect(slot, request, half) => {
                expected = self.connect(slot, request, half, None);
            }
            Operation::ConnectFailing(slot, request, half, failure) => {
                expected = self.connect(slot, request, half, Some(failure));
            }
            Operation::Disconnect(slot) | Operation::Drop(slot) => expected = self.end(slot, false),
            Operation::DisconnectRemoved(slot) => expected = self.end(slot, true),
            Operation::Raise(slot, number, place) => {
                expected.delivery = Some(self.raise(slot, number.index(), place, true));
            }
            Operation::RaiseSpurious(slot, number, place) => {
                expected.delivery = Some(self.raise(slot, number.index(), place, false));
            }
            Operation::RaiseForeign(slot) => {
                if let Some(foreign) = &mut self.device(slot).foreign {
                    foreign.is_pending = true;
                }
                expected.delivery = Some(delivery(self.device(slot).interrupt(0)));
            }
            Operation::ReconnectForeign(slot) => self.reconnect_foreign(slot),
            Operation::Pend(slot, number) => self.device(slot).pend(number.index()),
            Operation::HoldDpcs(hold) => self.holds_dpcs = hold,
            Operation::HoldWorkItems(hold) => self.holds_work = hold,
            Operation::ThreadedDpcsAtDispatchLevel(at) => {
                self.threaded_dpcs_at_dispatch_level = at;
            }
            Operation::InterruptDuringConnect(during) => self.during_connect = during,
            Operation::InterruptDuringDisconnect(during) => self.during_disconnect = during,
            Operation::AtRaisedIrql(..) => {}
            Operation::Defer(slot)
            | Operation::IntoRaw(slot)
            | Operation::FromRaw(slot)
            | Operation::ReportInactive(slot)
            | Operation::ReportActive(slot) => {
                let connection = self.device(slot).connection.as_mut().expect("it is connected");
                connection.effect(operation);
            }
        }
        expected
    }

    fn start(&mut self, slot: Slot) {
        let device = self.device(slot);
        device.is_started = true;
        if device.kind == Kind::SharedLine {
            device.foreign = Some(Foreign { is_first: true, is_pending: false });
        }
        for irql in device.kind.irqls() {
            self.vectors[usize::from(irql)] += 1;
        }
    }

    fn raise(&mut self, slot: Slot, index: usize, place: Place, has_reason: bool) -> Delivery {
        let device = self.device(slot);
        let index = index.min(device.kind.assigned() - 1);
        if has_reason {
            device.pend(index);
        }
        let passive = device.wired(index).map(|it| it.request.is_passive());
        if passive.is_none() && device.foreign.is_none() {
            return Delivery::NotConnected;
        }
        let claimed = device.interrupt(index);
        match place {
            Place::Here | Place::AtDispatchLevel if passive != Some(true) => delivery(claimed),
            _ => Delivery::Pending,
        }
    }

    fn reconnect_foreign(&mut self, slot: Slot) {
        let (connecting, disconnecting) = (self.during_connect, self.during_disconnect);
        let device = self.device(slot);
        if disconnecting {
            device.interrupt(0);
        }
        let is_first = device.connection.is_none();
        if let Some(foreign) = &mut device.foreign {
            foreign.is_first = is_first;
        }
        if connecting != During::No {
            device.interrupt(0);
        }
    }

    /// All that is queued and not held back runs.
    fn run_deferred(&mut self, dpcs: bool) {
        for connection in self.devices.iter_mut().flatten().filter_map(|it| it.connection.as_mut())
        {
            if dpcs && std::mem::take(&mut connection.dpc_is_queued) {
                match connection.half {
                    Half::WorkItem => connection.work_is_queued = true,
                    _ => connection.take_all(),
                }
            }
            if !self.holds_work && std::mem::take(&mut connection.work_is_queued) {
                connection.take_all();
            }
        }
    }
}

const fn delivery(claimed: bool) -> Delivery {
    if claimed { Delivery::Claimed } else { Delivery::Unclaimed }
}
