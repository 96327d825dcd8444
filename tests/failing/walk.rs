//! Walking through all points at which a version of connect can fail.

use wdm_interrupt::ConnectErrorKind;
use wdm_interrupt_model::executive::{Call, FallibleCall, Fault};
use wdm_interrupt_model::host::{Delivery, Device, Machine};
use wdm_interrupt_model::nt;

use crate::attempt::{Attempt, Back, Connected, Failed};
use crate::halves::Ledger;
use crate::versions::Version;

/// What the kernel makes of the time while it connects.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Meanwhile {
    Nothing,
    /// Each interrupt comes once, and the DPC runs when it can.
    Interrupts,
    /// The same, and DPCs stay queued.
    InterruptsWithDpcsHeld,
    /// The same on another processor, where the DPC runs at once.
    InterruptsElsewhere,
}

impl Meanwhile {
    pub(crate) const ALL: [Self; 4] =
        [Self::Nothing, Self::Interrupts, Self::InterruptsWithDpcsHeld, Self::InterruptsElsewhere];

    fn set(self, machine: &Machine) {
        let here = matches!(self, Self::Interrupts | Self::InterruptsWithDpcsHeld);
        machine.interrupt_during_connect(here);
        machine.dpc_elsewhere_during_connect(self == Self::InterruptsElsewhere);
        machine.hold_dpcs(self == Self::InterruptsWithDpcsHeld);
    }
}

/// By what a call is found that is to fail.
#[derive(Clone, Copy, Debug)]
pub(crate) enum By {
    /// Its place among all that can fail.
    Place,
    /// Its name, and its place among those of the name.
    Name(Call),
}

/// One version on one device, in which things go wrong.
pub(crate) struct Walk<'a> {
    pub(crate) machine: &'a Machine,
    pub(crate) version: &'a Version,
    pub(crate) device: &'a Device,
    pub(crate) meanwhile: Meanwhile,
}

impl Walk<'_> {
    /// Has `fault` happen at the first point, then at the second, and so on until there is none.
    /// Gives at how many there was.
    pub(crate) fn take(&self, by: By, fault: Fault) -> usize {
        for nth in 0.. {
            self.machine.watch_fallible_calls();
            match by {
                By::Place => self.machine.fail_nth(nth, fault),
                By::Name(call) => self.machine.fail(call, nth, fault),
            }
            let ledger = Ledger::default();
            self.meanwhile.set(self.machine);
            let attempt = (self.version.connect)(self.device, &ledger);
            let (calls, left) = (self.machine.fallible_calls(), self.machine.faults_left());
            let hit = calls.into_iter().find(|call| call.fault.is_some());
            let step = Step { walk: self, ledger, nth, hit };
            assert_eq!(left, usize::from(hit.is_none()), "{step}: a fault that is nowhere");
            step.check(attempt);
            if hit.is_none() {
                return nth;
            }
        }
        unreachable!("{}: there is no end to what can fail", self.version)
    }
}

/// One attempt to connect.
struct Step<'a> {
    walk: &'a Walk<'a>,
    ledger: Ledger,
    nth: usize,
    /// The call that went wrong.
    hit: Option<FallibleCall>,
}

impl std::fmt::Display for Step<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Walk { version, meanwhile, .. } = self.walk;
        write!(f, "{version}, meanwhile {meanwhile:?}, point {}: ", self.nth)?;
        match &self.hit {
            Some(call) => call.fmt(f),
            None => f.write_str("nothing fails"),
        }
    }
}

/// What must come of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Expected {
    Connected,
    Failed(ConnectErrorKind),
}

impl Step<'_> {
    fn check(&self, attempt: Attempt) {
        let expected = self.expected();
        match attempt {
            Attempt::Connected(registration) => {
                assert_eq!(expected, Expected::Connected, "{self}");
                self.require_life(registration);
            }
            Attempt::Failed(failed) => {
                assert_eq!(expected, Expected::Failed(failed.kind), "{self}");
                self.require_undone(failed);
            }
        }
        assert_eq!(self.ledger.handlers().1, 0, "{self}: a handler is left");
        assert_eq!(self.ledger.halves().1, 0, "{self}: a deferred half is left");
        let left = self.walk.machine.left_behind();
        assert!(left.is_empty(), "{self}: left behind: {left}");
    }

    /// What the library makes of what went wrong.
    fn expected(&self) -> Expected {
        let Some(FallibleCall { name, fault: Some(fault) }) = self.hit else {
            return Expected::Connected;
        };
        match name.parse::<Call>().unwrap() {
            Call::ExAllocatePool2 | Call::IoAllocateWorkItem => {
                Expected::Failed(ConnectErrorKind::NoPool)
            }
            // A DPC that could not be aimed runs where it was queued.
            Call::KeSetTargetProcessorDpcEx => Expected::Connected,
            Call::IoConnectInterruptEx => self.expected_of_connect(fault),
            call => panic!("{self}: nobody has thought of {call}"),
        }
    }

    fn expected_of_connect(&self, fault: Fault) -> Expected {
        let version = self.walk.version;
        Expected::Failed(match fault {
            Fault::Status(status) if nt::NT_SUCCESS(status) => ConnectErrorKind::NothingConnected,
            Fault::Status(status)
            | Fault::StatusAfterService(status)
            | Fault::StatusAt { status, .. } => ConnectErrorKind::Refused(status),
            Fault::WritesNothing | Fault::StoresNull => ConnectErrorKind::NothingConnected,
            Fault::Version(version) => ConnectErrorKind::Unexpected { version },
            // Nothing but a table has a count.
            Fault::MessageCount(_) if !version.setting.table => return Expected::Connected,
            Fault::MessageCount(0) => {
                let version = if version.request == "ExperimentalPassiveMessageBased" {
                    nt::CONNECT_MESSAGE_BASED_PASSIVE
                } else {
                    nt::CONNECT_MESSAGE_BASED
                };
                ConnectErrorKind::Unexpected { version }
            }
            Fault::MessageCount(messages) if version.is_each() && messages > version.handlers => {
                ConnectErrorKind::TooManyMessages { handlers: version.handlers, messages }
            }
            Fault::SucceedsWith(_) | Fault::MessageCount(_) => return Expected::Connected,
            fault => panic!("{self}: nobody has thought of {fault:?}"),
        })
    }

    /// After a failure: nothing is connected, both halves come back as they were, and nothing is left.
    fn require_undone(&self, failed: Failed) {
        let Walk { machine, version, device, .. } = self.walk;
        let Failed { kind, status, text, in_place, back } = failed;
        assert_eq!(status, kind.status());
        assert!(!nt::NT_SUCCESS(status), "{self}: a failure with the success {status:#x}");
        let named = named_by(kind);
        assert!(text.contains(&named), "{self}: {text:?} does not name {named:?}");

        let left = machine.left_behind();
        assert!(left.interrupts.is_empty(), "{self}: still connected: {left}");
        assert_eq!((left.dpcs, left.locks, left.critical_regions), (0, 0, 0), "{self}: {left}");
        assert!(in_place || left.is_empty(), "{self}: left behind with the error: {left}");
        for index in 0..device.interrupts().len() {
            assert_eq!(device.raise(index), Delivery::NotConnected, "{self}");
        }
        self.walk.machine.hold_dpcs(false);
        machine.settle();

        let made_none = version.is_each() && !in_place;
        let handlers = if made_none { 0 } else { version.handlers };
        let shared = version.method == "connect" && version.halves == 1;
        let halves = if made_none && !shared { 0 } else { version.halves };
        assert_eq!(self.ledger.handlers(), (handlers, handlers), "{self}: handlers");
        assert_eq!(self.ledger.halves(), (halves, halves), "{self}: deferred halves");
        let Back { handlers: all, halves: deferred } = back();
        assert_eq!(all.len(), handlers as usize, "{self}: handlers that come back");
        assert_eq!(deferred.len(), halves as usize, "{self}: deferred halves that come back");
        for (number, handler) in all.iter().enumerate() {
            handler.require_intact();
            assert_eq!(handler.number, number, "{self}: the handlers are in another order");
            let state = (handler.enables, handler.disables, handler.visits);
            assert_eq!(state, (0, 0, 0), "{self}: it was enabled, disabled, or deferred to");
        }
        deferred.iter().for_each(crate::halves::Half::require_intact);
        // What ISRs did meanwhile is in the handlers that come back.
        let services: u32 = all.iter().map(|handler| handler.services).sum();
        assert_eq!(services, self.ledger.services(), "{self}: services");
        assert_eq!(self.ledger.runs(), 0, "{self}: the deferred half ran");
    }

    /// After a success: all that is connected is served, and everything ends as it should.
    fn require_life(&self, registration: Box<dyn Connected>) {
        let Walk { machine, version, device, .. } = self.walk;
        self.walk.machine.hold_dpcs(false);
        Meanwhile::Nothing.set(machine);
        machine.settle();
        let connected = match self.hit {
            Some(FallibleCall { fault: Some(Fault::MessageCount(count)), .. })
                if version.setting.table =>
            {
                version.setting.interrupts.min(count as usize)
            }
            _ => version.setting.interrupts,
        };
        let (before, runs) = (self.ledger.services(), self.ledger.runs());
        machine.watch_fallible_calls();
        for index in 0..connected {
            let delivery = device.raise(index);
            assert_ne!(delivery, Delivery::NotConnected, "{self}: interrupt {index}");
        }
        machine.settle();
        let services = before + u32::try_from(connected).unwrap();
        assert_eq!(self.ledger.services(), services, "{self}: an interrupt was not served");
        assert_eq!(self.ledger.runs() > runs, version.halves > 0, "{self}: the deferred half");
        assert!(registration.services() <= services, "{self}: services of handlers");
        registration.report();
        // Every other registration is dropped instead.
        if self.nth.is_multiple_of(2) {
            let Back { handlers, halves } = registration.disconnect();
            for handler in &handlers {
                handler.require_intact();
                assert!(handler.enables > 0 && handler.disables > 0, "{self}: {handler:?}");
            }
            let there = (handlers.len(), halves.len());
            let alive = (self.ledger.handlers().1 as usize, self.ledger.halves().1 as usize);
            assert_eq!(there, alive, "{self}: halves that come back");
        } else {
            drop(registration);
        }
        assert_eq!(
            machine.fallible_calls(),
            [],
            "{self}: once connected, nothing is called that can fail"
        );
        for index in 0..device.interrupts().len() {
            assert_eq!(device.raise(index), Delivery::NotConnected, "{self}");
        }
    }
}

/// What the text of an error must have in it.
fn named_by(kind: ConnectErrorKind) -> String {
    match kind {
        ConnectErrorKind::NoPool => "no nonpaged pool".to_owned(),
        ConnectErrorKind::NothingConnected => "IoConnectInterruptEx".to_owned(),
        ConnectErrorKind::Unexpected { version } => format!("Version {version}"),
        ConnectErrorKind::TooManyMessages { messages, .. } => {
            format!("{messages} messages are connected")
        }
        ConnectErrorKind::Refused(status) => {
            let known = KNOWN.iter().find(|(known, _)| *known == status);
            known.map_or_else(|| format!("0x{status:08X}"), |(_, name)| (*name).to_owned())
        }
        other => panic!("nobody has thought of {other:?}"),
    }
}

/// The statuses that the documentation of `IoConnectInterruptEx` has.
const KNOWN: [(nt::NTSTATUS, &str); 7] = [
    (nt::STATUS_INVALID_DEVICE_REQUEST, "STATUS_INVALID_DEVICE_REQUEST:"),
    (nt::STATUS_INVALID_PARAMETER, "STATUS_INVALID_PARAMETER:"),
    (nt::STATUS_INVALID_PARAMETER_1, "STATUS_INVALID_PARAMETER_1:"),
    (nt::STATUS_INVALID_PARAMETER_10, "STATUS_INVALID_PARAMETER_10:"),
    (nt::STATUS_NOT_FOUND, "STATUS_NOT_FOUND:"),
    (nt::STATUS_INSUFFICIENT_RESOURCES, "STATUS_INSUFFICIENT_RESOURCES:"),
    (nt::STATUS_NOT_SUPPORTED, "STATUS_NOT_SUPPORTED:"),
];
