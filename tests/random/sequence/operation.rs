//! What a sequence is made of. Its `Debug` is the script of a sequence that failed.

use std::fmt;

use arbitrary::{Arbitrary, Unstructured};

/// An operation that is a line of its own, also where others are spread out.
#[derive(Arbitrary, Clone, Copy)]
pub(crate) struct Step(pub(crate) Operation);

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

/// One step. Which steps are possible when is for the reference to say.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub(crate) enum Operation {
    /// A device is found and started.
    Plug(Slot, Kind),
    /// `IRP_MN_START_DEVICE`, as far as the PnP manager goes: other vectors than before.
    Start(Slot),
    /// `IRP_MN_STOP_DEVICE`: what is connected is disconnected, then the resources are taken.
    Stop(Slot),
    /// The device is pulled out. Its registers read as all ones from now on.
    SurpriseRemoval(Slot),
    /// `IRP_MN_REMOVE_DEVICE`: what is still connected is dropped.
    Remove(Slot),
    Connect(Slot, Request, Half),
    /// The connect fails at one of its calls.
    ConnectFailing(Slot, Request, Half, Failure),
    Disconnect(Slot),
    DisconnectRemoved(Slot),
    Drop(Slot),
    /// The registration becomes a pointer, and stays connected.
    IntoRaw(Slot),
    FromRaw(Slot),
    /// The device has a reason to interrupt, and does.
    Raise(Slot, Number, Place),
    /// The device interrupts without a reason.
    RaiseSpurious(Slot, Number, Place),
    /// The other device on the line interrupts.
    RaiseForeign(Slot),
    /// The other device's driver disconnects and connects, and is the last on the line then.
    ReconnectForeign(Slot),
    /// The device has a reason to interrupt, and is not heard.
    Pend(Slot, Number),
    /// Somebody who synchronises adds to what the deferred half is to do, and queues it.
    Defer(Slot),
    ReportInactive(Slot),
    ReportActive(Slot),
    /// Is refused, and changes nothing.
    AtRaisedIrql(Slot, Refused),
    HoldDpcs(bool),
    HoldWorkItems(bool),
    ThreadedDpcsAtDispatchLevel(bool),
    /// Whether, and where, ISRs run inside `IoConnectInterruptEx`.
    InterruptDuringConnect(During),
    InterruptDuringDisconnect(bool),
}

/// Where a device can be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Slot {
    A,
    B,
    C,
}

/// What interrupts a device has.
#[derive(Arbitrary, Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    None,
    Line,
    LatchedLine,
    /// With a device of another driver on it.
    SharedLine,
    TwoLines,
    PassiveLine,
    /// The resource lists promise so many, and the kernel connects so many.
    Messages {
        promised: Number,
        assigned: Number,
    },
    /// So many in one descriptor.
    Msi(Number),
}

/// Which interrupt, from 0 on; one that the device has not got stands for the last. Or how many,
/// from 1 on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Number {
    N0,
    N1,
    N2,
    N3,
}

impl Number {
    pub(crate) const fn index(self) -> usize {
        self as usize
    }

    pub(crate) const fn count(self) -> usize {
        self.index() + 1
    }
}

/// The ways to connect.
#[derive(Arbitrary, Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Request {
    LineBased,
    FullySpecified(Number),
    SeveralFullySpecified,
    MessageBased { fall_back: bool },
    EachMessage { fall_back: bool },
    PassiveLineBased,
    PassiveFullySpecified,
    PassiveMessageBased,
}

/// The deferred halves. A request that has no such half takes the one that comes nearest.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Half {
    None,
    Dpc,
    ThreadedDpc,
    WorkItem,
    SharedDpc,
}

/// Where a connect fails, and how.
#[derive(Arbitrary, Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Failure {
    NoPool(Number),
    NoWorkItem,
    Refused(Number),
    /// After the ISRs of so many interrupts could run.
    RefusedLate(Number, Number),
    WritesNothing(Number),
    StoresNull(Number),
}

/// Where the thread is when the device interrupts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Place {
    Here,
    AtDispatchLevel,
    AtHighLevel,
    OtherProcessor,
}

/// What is not possible at raised IRQL.
#[derive(Arbitrary, Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Refused {
    Connect(Request, Half),
    Disconnect,
    DisconnectRemoved,
}

/// Whether ISRs run inside `IoConnectInterruptEx`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum During {
    No,
    Here,
    OtherProcessor,
}

/// All values of types that have few: the fuzzer takes a byte for each.
macro_rules! few {
    ($($all:ident: [$type:ident; $count:literal] = $values:tt;)*) => { $(
        pub(crate) const $all: [$type; $count] = {
            use $type::*;
            $values
        };

        impl Arbitrary<'_> for $type {
            fn arbitrary(input: &mut Unstructured<'_>) -> arbitrary::Result<Self> {
                input.choose(&$all).copied()
            }
        }
    )* };
}

few! {
    SLOTS: [Slot; 3] = [A, B, C];
    NUMBERS: [Number; 4] = [N0, N1, N2, N3];
    HALVES: [Half; 5] = [None, Dpc, ThreadedDpc, WorkItem, SharedDpc];
    PLACES: [Place; 4] = [Here, AtDispatchLevel, AtHighLevel, OtherProcessor];
    DURING: [During; 3] = [No, Here, OtherProcessor];
}
