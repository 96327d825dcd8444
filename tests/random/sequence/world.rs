//! What the operations are done to: a machine of the model, devices, and registrations. Whatever
//! comes of an operation is compared with the reference.

use std::mem;
use std::sync::Arc;
use std::thread;

use wdm_interrupt::{ConnectErrorKind, ConnectionKind, Irql};
use wdm_interrupt_model::executive::{Call, Fault};
use wdm_interrupt_model::host::{self, Delivery, Entered, Machine, kernel};
use wdm_interrupt_model::nt;

use super::connecting::Driver;
use super::driver::{Census, Counts, Log, Registers};
use super::foreign::Foreign;
use super::operation::{
    During, Failure, Half, Kind, Number, Operation, Place, Refused, Request, SLOTS, Slot,
};
use super::plan::Plan;
use super::reference::{Expected, Reference};
use super::registered::{Registered, Returned};

/// The system under test, beside its reference.
pub(crate) struct World {
    // Fields are dropped in this order.
    devices: Devices,
    census: Census,
    reference: Reference,
    machine: Entered,
}

/// The devices of a world.
struct Devices([Option<Device>; SLOTS.len()]);

impl Drop for Devices {
    /// After a failure nothing is ended in order: what a disconnect waits for may not come any more.
    fn drop(&mut self) {
        if thread::panicking() {
            for device in &mut self.0 {
                mem::forget(device.take());
            }
        }
    }
}

struct Device {
    connection: Option<Connection>,
    foreign: Option<Foreign>,
    registers: Arc<Registers>,
    kind: Kind,
    model: host::Device,
}

struct Connection {
    registration: Box<dyn Registered>,
    log: Arc<Log>,
}

/// What really came of an operation.
#[derive(Default)]
struct Seen {
    delivery: Option<Delivery>,
    connected: Option<Result<ConnectionKind, ConnectErrorKind>>,
    /// Handlers that came back, and what had become of them.
    returned: Option<Returned>,
    counts: Counts,
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            devices: Devices([const { None }; SLOTS.len()]),
            census: Census::default(),
            reference: Reference::default(),
            machine: Machine::new(2).enter(),
        }
    }

    /// Does an operation, if it is possible, and compares.
    ///
    /// # Panics
    ///
    /// If something is not as the reference says.
    pub(crate) fn step(&mut self, operation: Operation) {
        if !self.reference.allows(operation) {
            return;
        }
        let seen = self.act(operation);
        self.machine.settle();
        assert_eq!(self.machine.faults_left(), 0, "what was to fail did");
        let expected = self.reference.apply(operation);
        seen.compare(&expected);
        self.compare();
    }

    /// Ends what there is, and looks at what is left.
    ///
    /// # Panics
    ///
    /// If something is left behind, or not as the reference says.
    pub(crate) fn finish(mut self) {
        self.step(Operation::HoldWorkItems(false));
        for slot in SLOTS {
            self.step(Operation::Remove(slot));
        }
        assert_eq!(self.census.alive(), 0, "each half is dropped once");
        assert_eq!(self.machine.violations(), []);
        let Self { machine, .. } = self;
        machine.leave();
    }

    const fn device(&mut self, slot: Slot) -> &mut Device {
        self.devices.0[slot as usize].as_mut().expect("there is a device")
    }

    fn registration(&mut self, slot: Slot) -> &dyn Registered {
        &*self.device(slot).connection.as_ref().expect("it is connected").registration
    }

    fn act(&mut self, operation: Operation) -> Seen {
        let mut seen = Seen::default();
        match operation {
            Operation::Plug(slot, kind) => {
                let device = Device::new(&self.machine, kind);
                self.devices.0[slot as usize] = Some(device);
            }
            Operation::Start(slot) => {
                let device = self.devices.0[slot as usize].as_mut().expect("there is a device");
                device.model.start();
                device.foreign = device.find_foreign(&self.machine);
            }
            Operation::Stop(slot) => {
                self.device(slot).stop();
            }
            Operation::SurpriseRemoval(slot) => self.device(slot).registers.pull_out(),
            Operation::Remove(slot) => {
                self.device(slot).stop();
                self.devices.0[slot as usize] = None;
            }
            Operation::Connect(slot, request, half) => seen = self.connect(slot, request, half),
            Operation::ConnectFailing(slot, request, half, failure) => {
                let calls = Plan::new(self.device(slot).kind, request);
                failure.inject(&self.machine, &calls);
                seen = self.connect(slot, request, half);
            }
            Operation::Disconnect(slot) => seen = self.device(slot).end(false),
            Operation::DisconnectRemoved(slot) => seen = self.device(slot).end(true),
            Operation::Drop(slot) => drop(self.device(slot).connection.take()),
            Operation::IntoRaw(slot) => self.device(slot).convert(<dyn Registered>::into_raw),
            Operation::FromRaw(slot) => self.device(slot).convert(<dyn Registered>::into_owned),
            Operation::Raise(slot, number, place) => {
                seen.delivery = Some(self.device(slot).raise(number, place, true));
            }
            Operation::RaiseSpurious(slot, number, place) => {
                seen.delivery = Some(self.device(slot).raise(number, place, false));
            }
            Operation::RaiseForeign(slot) => {
                seen.delivery = self.device(slot).foreign.as_ref().map(Foreign::raise);
            }
            Operation::ReconnectForeign(slot) => {
                if let Some(foreign) = &mut self.device(slot).foreign {
                    foreign.reconnect();
                }
            }
            Operation::Pend(slot, number) => self.device(slot).pend(number),
            Operation::Defer(slot) => {
                let registration = self.registration(slot);
                registration.synchronize_each(&mut |isr| isr.add());
                registration.queue_deferred();
            }
            Operation::ReportInactive(slot) => self.registration(slot).report(false),
            Operation::ReportActive(slot) => self.registration(slot).report(true),
            Operation::AtRaisedIrql(slot, refused) => self.at_raised_irql(slot, refused),
            Operation::HoldDpcs(hold) => self.machine.hold_dpcs(hold),
            Operation::HoldWorkItems(hold) => self.machine.hold_work_items(hold),
            Operation::ThreadedDpcsAtDispatchLevel(at_dispatch_level) => {
                self.machine.threaded_dpcs_at_dispatch_level(at_dispatch_level);
            }
            Operation::InterruptDuringConnect(during) => {
                self.machine.interrupt_during_connect(during == During::Here);
                self.machine.dpc_elsewhere_during_connect(during == During::OtherProcessor);
            }
            Operation::InterruptDuringDisconnect(interrupt) => {
                self.machine.interrupt_during_disconnect(interrupt);
            }
        }
        seen
    }

    fn connect(&mut self, slot: Slot, request: Request, half: Half) -> Seen {
        let log = Arc::default();
        let census = self.census.clone();
        let device = self.device(slot);
        let driver = Driver {
            device: &device.model,
            registers: &device.registers,
            log: &log,
            census: &census,
        };
        match driver.connect(request, request.half(half)) {
            Ok(registration) => {
                let connected = Some(Ok(registration.kind()));
                device.connection = Some(Connection { registration, log });
                Seen { connected, ..Seen::default() }
            }
            Err((kind, returned)) => Seen {
                connected: Some(Err(kind)),
                returned: Some(returned),
                counts: log.counts(),
                ..Seen::default()
            },
        }
    }

    /// Tries what is refused there.
    fn at_raised_irql(&mut self, slot: Slot, refused: Refused) {
        at_irql(Irql::DISPATCH, || match refused {
            Refused::Connect(request, half) => {
                let seen = self.connect(slot, request, half);
                let error = ConnectErrorKind::RaisedIrql(Irql::DISPATCH);
                assert_eq!(seen.connected, Some(Err(error)));
                assert_eq!(seen.counts, Counts::default());
            }
            Refused::Disconnect => self.device(slot).is_refused(false),
            Refused::DisconnectRemoved => self.device(slot).is_refused(true),
        });
    }

    /// Compares what there is with the reference.
    fn compare(&self) {
        for slot in SLOTS {
            let expected = self.reference.connection(slot);
            let device = self.devices.0[slot as usize].as_ref();
            let connection = device.and_then(|device| device.connection.as_ref());
            assert_eq!(connection.is_some(), expected.is_some());
            if let (Some(Connection { registration, log }), Some(expected)) = (connection, expected)
            {
                assert_eq!(log.counts(), expected.counts, "{slot:?}");
                assert_eq!(registration.kind(), expected.kind, "{slot:?}");
                let mut events = 0;
                registration.synchronize_each(&mut |isr| events += isr.events);
                assert_eq!(events, expected.pending(), "{slot:?}: left to be taken");
            }
            let activity = device.map_or_else(Vec::new, |device| {
                let interrupts = 0..device.model.interrupts().len();
                interrupts.map(|index| device.model.is_active(index)).collect()
            });
            assert_eq!(activity, self.reference.activity(slot), "{slot:?}: reported active");
        }
        assert_eq!(self.census.alive(), self.reference.halves(), "halves that are alive");
    }
}

impl Seen {
    fn compare(&self, expected: &Expected) {
        assert_eq!(self.delivery, expected.delivery);
        assert_eq!(self.connected, expected.connected);
        if let Some(returned) = self.returned {
            let events = expected.counts.claimed - expected.counts.taken;
            assert_eq!(returned, Returned { handlers: expected.returned, events });
            assert_eq!(self.counts, expected.counts, "of the handlers that came back");
        }
    }
}

impl Device {
    fn new(machine: &Machine, kind: Kind) -> Self {
        let builder = machine.device();
        let model = match kind {
            Kind::None => builder,
            Kind::Line => builder.line(),
            Kind::LatchedLine => builder.latched_line(),
            Kind::SharedLine => builder.shareable_line(),
            Kind::TwoLines => builder.line().line_at(5, false, false),
            Kind::PassiveLine => builder.passive_line(),
            Kind::Messages { promised, assigned } => {
                builder.messages(promised.count()).assigned_messages(assigned.count())
            }
            Kind::Msi(count) => builder.msi(u16::try_from(count.count()).expect("few")),
        };
        let mut device = Self {
            connection: None,
            foreign: None,
            registers: Arc::default(),
            kind,
            model: model.build(),
        };
        device.foreign = device.find_foreign(machine);
        device
    }

    /// The other device on its line.
    fn find_foreign(&self, machine: &Machine) -> Option<Foreign> {
        (self.kind == Kind::SharedLine).then(|| Foreign::new(machine, &self.model))
    }

    fn stop(&mut self) {
        drop(self.connection.take());
        if let Some(foreign) = self.foreign.take() {
            foreign.leave();
        }
        self.model.stop();
    }

    fn pend(&self, number: Number) {
        self.registers.pend(self.index(number));
    }

    fn index(&self, number: Number) -> usize {
        number.index().min(self.model.interrupts().len() - 1)
    }

    fn raise(&self, number: Number, place: Place, has_reason: bool) -> Delivery {
        if has_reason {
            self.pend(number);
        }
        let index = self.index(number);
        match place {
            Place::Here => self.model.raise(index),
            Place::AtDispatchLevel => at_irql(Irql::DISPATCH, || self.model.raise(index)),
            Place::AtHighLevel => at_irql(Irql::from_raw(15), || self.model.raise(index)),
            Place::OtherProcessor => self.model.raise_on(1, index),
        }
    }

    fn end(&mut self, removed: bool) -> Seen {
        let Connection { registration, log } = self.connection.take().expect("it is connected");
        let Ok(returned) = registration.end(removed) else {
            panic!("refused at PASSIVE_LEVEL");
        };
        Seen { returned: Some(returned), counts: log.counts(), ..Seen::default() }
    }

    fn is_refused(&mut self, removed: bool) {
        self.convert(|registration| match registration.end(removed) {
            Err(registration) => registration,
            Ok(_returned) => panic!("disconnected at DISPATCH_LEVEL"),
        });
    }

    fn convert(&mut self, convert: impl FnOnce(Box<dyn Registered>) -> Box<dyn Registered>) {
        let Connection { registration, log } = self.connection.take().expect("it is connected");
        self.connection = Some(Connection { registration: convert(registration), log });
    }
}

impl Failure {
    /// Has one of the calls fail that a request of this plan makes.
    fn inject(self, machine: &Machine, plan: &Plan) {
        let status = nt::STATUS_INSUFFICIENT_RESOURCES;
        let nth = |number: Number, calls| number.index() % calls;
        let calls = plan.calls.len();
        let (call, nth, fault) = match self {
            Self::NoPool(number) => {
                let allocations = plan.allocations + plan.late_allocations;
                (Call::ExAllocatePool2, nth(number, allocations), status.into())
            }
            Self::NoWorkItem => (Call::IoAllocateWorkItem, 0, status.into()),
            Self::Refused(number) => {
                (Call::IoConnectInterruptEx, nth(number, calls), status.into())
            }
            Self::RefusedLate(number, live) => {
                let fault = Fault::StatusAt { interrupt: live.index(), status };
                (Call::IoConnectInterruptEx, nth(number, calls), fault)
            }
            Self::WritesNothing(number) => {
                (Call::IoConnectInterruptEx, nth(number, calls), Fault::WritesNothing)
            }
            Self::StoresNull(number) => {
                (Call::IoConnectInterruptEx, nth(number, calls), Fault::StoresNull)
            }
        };
        machine.fail(call, nth, fault);
    }
}

/// Does it at a raised IRQL.
fn at_irql<R>(irql: Irql, act: impl FnOnce() -> R) -> R {
    // SAFETY: raises, and lowers below.
    let old = unsafe { kernel::KfRaiseIrql(irql.to_raw()) };
    let result = act();
    // SAFETY: lowers to what it was.
    unsafe { kernel::KeLowerIrql(old) };
    result
}
