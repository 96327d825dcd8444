//! What each type tells of itself when it is printed: what it is, and what a log is searched for.

#[expect(dead_code, reason = "these handlers keep no diary")]
mod common;
#[expect(dead_code, reason = "nothing here must be counted")]
#[path = "common/counter.rs"]
mod counter;

use std::fmt::Debug;
use std::sync::Mutex;

use common::{Diary, Handler, physical_device};
use counter::{function_device, shared};
use wdm_interrupt::{
    ConnectEachError, Deferred, DeferredHandler, Dpc, EachMessage, ExperimentalPassiveMessageBased,
    FullySpecified, InPlace, Interrupt, InterruptHandler, InterruptResource, InterruptResources,
    LineBased, MessageBased, PassiveFullySpecified, PassiveInterrupt, PassiveInterruptHandler,
    PassiveLineBased, Serviced, SharedDeferred, SharedDeferredHandler, SharedDpc, Work,
    WorkHandler, WorkItem,
};
use wdm_interrupt_model::executive::Call;
use wdm_interrupt_model::host::{Device, Machine, kernel};
use wdm_interrupt_model::nt;

/// Where the routines of a test write what they print.
type Printed = &'static Mutex<Vec<String>>;

/// A handler, or a deferred half, that prints what it is given.
struct Printer(Printed);

impl Printer {
    fn print(&self, given: &impl Debug) {
        self.0.lock().unwrap().push(format!("{given:?}"));
    }
}

impl<T> InterruptHandler<T> for Printer {
    fn service(&mut self, interrupt: &Interrupt<'_, T>) -> Serviced {
        self.print(interrupt);
        if let Some(message) = interrupt.message() {
            self.0.lock().unwrap().push(message.to_string());
        }
        Serviced::Claimed
    }
}

impl PassiveInterruptHandler for Printer {
    fn service(&mut self, interrupt: &PassiveInterrupt<'_>) -> Serviced {
        self.print(interrupt);
        Serviced::Claimed
    }
}

impl<H> DeferredHandler<H> for Printer {
    fn run(&self, deferred: &Deferred<'_, H>) {
        self.print(deferred);
    }
}

impl<H> SharedDeferredHandler<H> for Printer {
    fn run(&self, deferred: &SharedDeferred<'_, H>) {
        self.print(deferred);
    }
}

impl<H> WorkHandler<H> for Printer {
    fn run(&self, work: &Work<'_, H>) {
        self.print(work);
    }
}

fn handler() -> Handler {
    Handler::new(&Diary::default())
}

fn resources(device: &Device) -> Vec<InterruptResource> {
    // SAFETY: the model's lists are complete and stay until the device is stopped.
    let resources = unsafe {
        InterruptResources::from_start_device(device.raw_resources(), device.translated_resources())
    };
    resources.unwrap().iter().collect()
}

/// Checks that something prints as its own type, with all of the `words`.
#[track_caller]
fn assert_tells(thing: &impl Debug, name: &str, words: &[&str]) {
    let printed = format!("{thing:?}");
    assert!(printed.starts_with(&format!("{name} {{")), "{printed}");
    for word in words {
        assert!(printed.contains(word), "{printed} lacks {word}");
    }
}

#[test]
fn a_request_tells_what_it_asks_for() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line_at(6, false, false).messages(1).build();
    let resources = resources(&device);
    let pdo = physical_device(&device);
    let line = FullySpecified::new(pdo, resources[0]);
    assert_tells(&LineBased::new(pdo), "LineBased", &["device: PhysicalDevice"]);
    assert_tells(&line, "FullySpecified", &["PhysicalDevice", "InterruptResource"]);
    let several = FullySpecified::several(pdo, &resources);
    assert_tells(&several, "SeveralFullySpecified", &["PhysicalDevice", "resources: [Interrupt"]);
    let messages = MessageBased::new(pdo);
    assert_tells(&messages, "MessageBased", &["PhysicalDevice", "fall_back_to_line: false"]);
    let either = MessageBased::new(pdo).fall_back_to_line();
    assert_tells(&either, "MessageBased", &["fall_back_to_line: true"]);
    let each = EachMessage::new(pdo, 3).fall_back_to_line();
    assert_tells(&each, "EachMessage", &["messages: 3", "fall_back_to_line: true"]);
    let passive = PassiveLineBased::new(pdo);
    assert_tells(&passive, "PassiveLineBased", &["PhysicalDevice"]);
    let passive = PassiveFullySpecified::new(pdo, resources[0]);
    assert_tells(&passive, "PassiveFullySpecified", &["PhysicalDevice", "InterruptResource"]);
    let passive = ExperimentalPassiveMessageBased::new(pdo);
    assert_tells(&passive, "ExperimentalPassiveMessageBased", &["PhysicalDevice"]);
    let make = |place: *mut Handler| {
        // SAFETY: valid for writing.
        unsafe { place.write(handler()) };
    };
    // SAFETY: it writes a handler.
    assert_tells(&unsafe { InPlace::new(make) }, "InPlace", &[]);
}

#[test]
fn an_interrupt_tells_where_it_comes_from() {
    let machine = Machine::new(1).enter();
    let messages = machine.device().messages(3).build();
    let line = machine.device().line().build();
    let printed: Printed = shared();
    let registration =
        MessageBased::new(physical_device(&messages)).connect(Printer(printed)).unwrap();
    messages.raise_message(2);
    drop(registration);
    let registration = LineBased::new(physical_device(&line)).connect(Printer(printed)).unwrap();
    line.raise_line();
    drop(registration);
    assert_eq!(
        *printed.lock().unwrap(),
        [
            "Interrupt { source: Message(MessageId(2)), .. }",
            "message 2",
            "Interrupt { source: Line, .. }"
        ]
    );
}

#[test]
fn a_passive_interrupt_tells_its_message() {
    let machine = Machine::new(1).enter();
    let device = machine.device().passive_line().build();
    let printed: Printed = shared();
    let registration =
        PassiveLineBased::new(physical_device(&device)).connect(Printer(printed)).unwrap();
    assert_tells(&registration, "PassiveInterruptRegistration", &["kind: LineBased"]);
    device.raise_line();
    machine.settle();
    drop(registration);
    assert_eq!(*printed.lock().unwrap(), ["PassiveInterrupt { message: None, .. }"]);
}

#[test]
fn what_a_deferred_half_is_given_tells_its_name() {
    let machine = Machine::new(1).enter();
    let device = machine.device().messages(2).build();
    let pdo = physical_device(&device);
    let printed: Printed = shared();
    let registration = MessageBased::new(pdo)
        .deferred(Dpc::new(Printer(printed)))
        .connect(Printer(shared()))
        .unwrap();
    registration.queue_deferred();
    drop(registration);
    let registration = EachMessage::new(pdo, 2)
        .deferred(SharedDpc::new(Printer(printed)))
        .connect(|_| Printer(shared()))
        .unwrap();
    registration.queue_deferred();
    drop(registration);
    let registration = MessageBased::new(pdo)
        .deferred(WorkItem::new(function_device(&device), Printer(printed)))
        .connect(Printer(shared()))
        .unwrap();
    registration.queue_deferred();
    drop(registration);
    let given = ["Deferred { .. }", "SharedDeferred { count: 2, .. }", "Work { .. }"];
    assert_eq!(*printed.lock().unwrap(), given);
}

#[test]
fn a_registration_and_what_it_leaves_tell_how_it_was_connected() {
    let machine = Machine::new(1).enter();
    let device = machine.device().messages_at(&[4, 9]).build();
    let pdo = physical_device(&device);
    let registration = MessageBased::new(pdo).connect(handler()).unwrap();
    let kind = ["kind: MessageBased { messages: 2 }", "synchronize_irql: "];
    assert_tells(&registration, "InterruptRegistration", &kind);
    assert_tells(&registration.disconnect_in_place().unwrap(), "Halves", &[]);

    let registration = EachMessage::new(pdo, 2).connect(|_| handler()).unwrap();
    assert_tells(&registration, "MessageRegistration", &kind[..1]);
    assert_tells(&registration.message(1).unwrap(), "Message", &["index: 1"]);
    let halves = registration.disconnect().unwrap();
    assert_tells(&halves, "MessageHalves", &["count: 2"]);
    let ((), mut handlers) = halves.into_inner();
    assert!(handlers.next().is_some());
    assert_tells(&handlers, "IntoHandlers", &["left: 1"]);
}

#[test]
fn an_error_tells_its_kind_and_prints_as_its_kind_does() {
    let machine = Machine::new(1).enter();
    let device = machine.device().messages(1).build();
    let pdo = physical_device(&device);
    let refused = ["kind: Refused("];
    let refuse = || machine.fail(Call::IoConnectInterruptEx, 0, nt::STATUS_NOT_FOUND);

    refuse();
    let error = MessageBased::new(pdo).connect(handler()).unwrap_err();
    assert_tells(&error, "ConnectError", &refused);
    assert_eq!(error.to_string(), error.kind().to_string());

    refuse();
    let make = |place: *mut Handler| {
        // SAFETY: valid for writing.
        unsafe { place.write(handler()) };
    };
    // SAFETY: it writes a handler.
    let error = MessageBased::new(pdo).connect_in_place(unsafe { InPlace::new(make) }).unwrap_err();
    assert_tells(&error, "InPlaceError", &refused);
    assert_eq!(error.to_string(), error.kind().to_string());

    refuse();
    let error: ConnectEachError<Handler> =
        EachMessage::new(pdo, 1).connect(|_| handler()).unwrap_err();
    assert_tells(&error, "ConnectEachError", &refused);
    assert_eq!(error.to_string(), error.kind().to_string());

    let registration = MessageBased::new(pdo).connect(handler()).unwrap();
    // SAFETY: raises, and lowers below.
    let old = unsafe { kernel::KfRaiseIrql(2) };
    let error = registration.disconnect().unwrap_err();
    // SAFETY: lowers to what it was.
    unsafe { kernel::KeLowerIrql(old) };
    assert_tells(&error, "DisconnectError", &["kind: RaisedIrql("]);
    assert_eq!(error.to_string(), error.kind().to_string());
    drop(error);
}
