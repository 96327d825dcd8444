//! Every version of connect, with every kind of deferred half that goes with it.

use std::fmt;

use wdm_interrupt::{
    Dpc, EachMessage, ExperimentalPassiveMessageBased, FullySpecified, InterruptResource,
    InterruptResources, LineBased, MessageBased, NoDeferred, PassiveFullySpecified,
    PassiveLineBased, ProcessorNumber, SharedDpc, ThreadedDpc, WorkItem,
};
use wdm_interrupt_model::host::{Device, DeviceBuilder, Machine};

use crate::attempt::{Attempt, each, exclusive, in_place, passive, recipe};
use crate::common::physical_device;
use crate::counter::function_device;
use crate::halves::{Half, Handler, Ledger};

/// A way to connect.
pub(crate) struct Version {
    pub(crate) request: &'static str,
    pub(crate) method: &'static str,
    pub(crate) half: &'static str,
    pub(crate) setting: Setting,
    /// At how many points it can fail.
    pub(crate) points: usize,
    /// How many handlers are made.
    pub(crate) handlers: u32,
    /// How many deferred halves are made.
    pub(crate) halves: u32,
    pub(crate) connect: fn(&Device, &Ledger) -> Attempt,
}

/// What a way to connect is tried on.
#[derive(Clone, Copy)]
pub(crate) struct Setting {
    /// What the device is given.
    pub(crate) given: &'static str,
    pub(crate) device: fn(DeviceBuilder) -> DeviceBuilder,
    /// How many interrupts are connected, the device's first.
    pub(crate) interrupts: usize,
    /// Whether they are messages of one table.
    pub(crate) table: bool,
    /// How many calls of `IoConnectInterruptEx` there are.
    pub(crate) connects: usize,
    /// How many allocations there are.
    allocations: usize,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { request, method, half, setting: Setting { given, .. }, .. } = self;
        write!(f, "{request}::{method} with {half}, given {given}")
    }
}

impl Version {
    /// The device that it is tried on.
    pub(crate) fn device(&self, machine: &Machine) -> Device {
        (self.setting.device)(machine.device()).build()
    }

    /// Whether each message has its handler.
    pub(crate) fn is_each(&self) -> bool {
        self.request == "EachMessage"
    }
}

/// How many messages the devices have.
const MESSAGES: u32 = 3;

const LINE: Setting = Setting {
    given: "a line",
    device: DeviceBuilder::line,
    interrupts: 1,
    table: false,
    connects: 1,
    allocations: 1,
};

const TWO_LINES: Setting = Setting {
    given: "two lines",
    device: |device| device.line_at(6, false, false).line_at(9, false, false),
    interrupts: 2,
    ..LINE
};

const THREE_MESSAGES: Setting = Setting {
    given: "three messages",
    device: |device| device.messages(MESSAGES as usize),
    interrupts: MESSAGES as usize,
    table: true,
    ..LINE
};

const OR_A_LINE: Setting =
    Setting { given: "three messages where a line would do", ..THREE_MESSAGES };

/// The interrupts of a device.
fn resources(device: &Device) -> Vec<InterruptResource> {
    // SAFETY: the model's lists are complete and stay until the device is stopped.
    let resources = unsafe {
        InterruptResources::from_start_device(device.raw_resources(), device.translated_resources())
    };
    resources.unwrap().iter().collect()
}

const fn none(_device: &Device, _ledger: &Ledger) -> NoDeferred {
    NoDeferred
}

fn dpc(_device: &Device, ledger: &Ledger) -> Dpc<Half> {
    Dpc::new(Half::new(ledger))
}

fn aimed_dpc(device: &Device, ledger: &Ledger) -> Dpc<Half> {
    dpc(device, ledger).target(ProcessorNumber::default())
}

fn threaded(_device: &Device, ledger: &Ledger) -> ThreadedDpc<Half> {
    ThreadedDpc::new(Half::new(ledger))
}

fn aimed_threaded(device: &Device, ledger: &Ledger) -> ThreadedDpc<Half> {
    threaded(device, ledger).target(ProcessorNumber::default())
}

fn work(device: &Device, ledger: &Ledger) -> WorkItem<Half> {
    WorkItem::new(function_device(device), Half::new(ledger))
}

fn shared(_device: &Device, ledger: &Ledger) -> SharedDpc<Half> {
    SharedDpc::new(Half::new(ledger))
}

fn aimed_shared(device: &Device, ledger: &Ledger) -> SharedDpc<Half> {
    shared(device, ledger).target(ProcessorNumber::default())
}

/// A way for one handler: both methods with each kind of deferred half.
macro_rules! one_handler {
    ($versions:ident, $name:literal, $setting:expr, |$device:ident| $request:expr) => {
        one_handler!(@half $versions, $name, $setting, |$device| $request, "NoDeferred", 0, none);
        one_handler!(@half $versions, $name, $setting, |$device| $request, "Dpc", 0, dpc);
        one_handler!(@half $versions, $name, $setting, |$device| $request, "an aimed Dpc", 1, aimed_dpc);
        one_handler!(@half $versions, $name, $setting, |$device| $request, "ThreadedDpc", 0, threaded);
        one_handler!(@half $versions, $name, $setting, |$device| $request, "an aimed ThreadedDpc", 1, aimed_threaded);
        one_handler!(@half $versions, $name, $setting, |$device| $request, "WorkItem", 1, work);
    };
    (@half $versions:ident, $name:literal, $setting:expr, |$device:ident| $request:expr,
     $half:literal, $calls:literal, $make:ident) => {
        let version = Version {
            request: $name,
            method: "connect",
            half: $half,
            setting: $setting,
            points: $setting.connects + $setting.allocations + $calls,
            handlers: 1,
            halves: u32::from($half != "NoDeferred"),
            connect: |$device, ledger| {
                let half = $make($device, ledger);
                exclusive($request.deferred(half).connect(Handler::new(ledger, 0)))
            },
        };
        $versions.push(Version {
            method: "connect_in_place",
            connect: |$device, ledger| {
                let half = $make($device, ledger);
                let recipe = recipe(Handler::new(ledger, 0));
                in_place($request.deferred(half).connect_in_place(recipe))
            },
            ..version
        });
        $versions.push(version);
    };
}

/// A way at `PASSIVE_LEVEL`, with each kind of deferred half.
macro_rules! passive_handler {
    ($versions:ident, $name:literal, $setting:expr, |$device:ident| $request:expr) => {
        passive_handler!(@half $versions, $name, $setting, |$device| $request, "NoDeferred", 0, none);
        passive_handler!(@half $versions, $name, $setting, |$device| $request, "WorkItem", 1, work);
    };
    (@half $versions:ident, $name:literal, $setting:expr, |$device:ident| $request:expr,
     $half:literal, $calls:literal, $make:ident) => {
        $versions.push(Version {
            request: $name,
            method: "connect",
            half: $half,
            setting: $setting,
            points: $setting.connects + $setting.allocations + $calls,
            handlers: 1,
            halves: u32::from($half != "NoDeferred"),
            connect: |$device, ledger| {
                let half = $make($device, ledger);
                passive($request.deferred(half).connect(Handler::new(ledger, 0)))
            },
        });
    };
}

/// A way with a handler for each message, with each kind of deferred half.
macro_rules! handler_each {
    ($versions:ident, $setting:expr, |$device:ident| $request:expr) => {
        $versions.push(Version {
            connect: |$device, ledger| {
                each($request.connect(|message| Handler::new(ledger, message.index())))
            },
            ..handler_each!(@version $setting, "connect", "NoDeferred", 0, 0)
        });
        handler_each!(@shared $versions, $setting, |$device| $request, "SharedDpc", 0, shared);
        handler_each!(@shared $versions, $setting, |$device| $request, "an aimed SharedDpc", 1, aimed_shared);
        handler_each!(@own $versions, $setting, |$device| $request, "Dpc", 0, dpc);
        handler_each!(@own $versions, $setting, |$device| $request, "an aimed Dpc", MESSAGES as usize, aimed_dpc);
        handler_each!(@own $versions, $setting, |$device| $request, "ThreadedDpc", 0, threaded);
        handler_each!(@own $versions, $setting, |$device| $request, "an aimed ThreadedDpc", MESSAGES as usize, aimed_threaded);
    };
    (@version $setting:expr, $method:literal, $half:literal, $halves:expr, $calls:expr) => {
        Version {
            request: "EachMessage",
            method: $method,
            half: $half,
            setting: $setting,
            points: $setting.connects + $setting.allocations + $calls,
            handlers: MESSAGES,
            halves: $halves,
            connect: |_device, _ledger| unreachable!("each row has its own"),
        }
    };
    (@shared $versions:ident, $setting:expr, |$device:ident| $request:expr,
     $half:literal, $calls:expr, $make:ident) => {
        $versions.push(Version {
            connect: |$device, ledger| {
                let half = $make($device, ledger);
                let make = |message: wdm_interrupt::MessageId| Handler::new(ledger, message.index());
                each($request.deferred(half).connect(make))
            },
            ..handler_each!(@version $setting, "connect", $half, 1, $calls)
        });
    };
    (@own $versions:ident, $setting:expr, |$device:ident| $request:expr,
     $half:literal, $calls:expr, $make:ident) => {
        $versions.push(Version {
            connect: |$device, ledger| {
                each($request.connect_with_deferred(|message| {
                    (Handler::new(ledger, message.index()), $make($device, ledger))
                }))
            },
            ..handler_each!(@version $setting, "connect_with_deferred", $half, MESSAGES, $calls)
        });
    };
}

/// All of them.
pub(crate) fn all() -> Vec<Version> {
    let mut versions = Vec::new();
    one_handler!(versions, "LineBased", TWO_LINES, |device| {
        LineBased::new(physical_device(device))
    });
    one_handler!(versions, "FullySpecified", LINE, |device| {
        FullySpecified::new(physical_device(device), resources(device)[0])
    });
    one_handler!(
        versions,
        "FullySpecified",
        Setting {
            given: "messages of another group",
            device: |device| device.messages(MESSAGES as usize).group(1),
            ..LINE
        },
        |device| FullySpecified::new(physical_device(device), resources(device)[0])
    );
    one_handler!(
        versions,
        "SeveralFullySpecified",
        Setting {
            given: "a line and two messages",
            device: |device| device.line_at(4, false, false).messages_at(&[9, 6]),
            interrupts: 3,
            connects: 3,
            allocations: 2,
            ..LINE
        },
        |device| FullySpecified::several(physical_device(device), &resources(device))
    );
    one_handler!(versions, "MessageBased", THREE_MESSAGES, |device| {
        MessageBased::new(physical_device(device))
    });
    one_handler!(versions, "MessageBased", OR_A_LINE, |device| {
        MessageBased::new(physical_device(device)).fall_back_to_line()
    });
    one_handler!(versions, "MessageBased", TWO_LINES, |device| {
        MessageBased::new(physical_device(device)).fall_back_to_line()
    });
    handler_each!(versions, THREE_MESSAGES, |device| {
        EachMessage::new(physical_device(device), MESSAGES)
    });
    handler_each!(versions, OR_A_LINE, |device| {
        EachMessage::new(physical_device(device), MESSAGES).fall_back_to_line()
    });
    handler_each!(versions, Setting { connects: 2, ..TWO_LINES }, |device| {
        EachMessage::new(physical_device(device), MESSAGES).fall_back_to_line()
    });
    let passive_line =
        Setting { given: "a passive line", device: DeviceBuilder::passive_line, ..LINE };
    passive_handler!(versions, "PassiveLineBased", passive_line, |device| {
        PassiveLineBased::new(physical_device(device))
    });
    passive_handler!(versions, "PassiveFullySpecified", passive_line, |device| {
        PassiveFullySpecified::new(physical_device(device), resources(device)[0])
    });
    passive_handler!(versions, "ExperimentalPassiveMessageBased", THREE_MESSAGES, |device| {
        ExperimentalPassiveMessageBased::new(physical_device(device))
    });
    versions
}
