//! DPCs that are queued when nothing may run any more: they are taken off their queue, and do not even begin.

#[expect(dead_code, reason = "these handlers keep no diary")]
mod common;
#[expect(dead_code, reason = "nothing here must be counted")]
#[path = "common/counter.rs"]
mod counter;

use common::physical_device;
use counter::{Counter, Doing, function_device};
use wdm_interrupt::{
    Deferred, DeferredHalf, Dpc, EachMessage, Interrupt, InterruptHandler, LineBased, Serviced,
    SharedDeferred, SharedDeferredHandler, SharedDpc, ThreadedDpc, Work, WorkItem,
};
use wdm_interrupt_model::executive::{Call, Fault};
use wdm_interrupt_model::hal::Event;
use wdm_interrupt_model::host::{Device, Entered, Machine};
use wdm_interrupt_model::nt;

const fn nothing(_deferred: &Deferred<'_, Counter>) {}

/// A handler that queues its deferred half, and a half that does nothing.
struct Queueing;
struct Idle;

impl InterruptHandler<SharedDpc<Idle>> for Queueing {
    fn service(&mut self, interrupt: &Interrupt<'_, SharedDpc<Idle>>) -> Serviced {
        assert!(interrupt.queue_deferred() || interrupt.message().is_some());
        Serviced::Claimed
    }
}

impl SharedDeferredHandler<Queueing> for Idle {
    fn run(&self, _deferred: &SharedDeferred<'_, Queueing>) {}
}

/// A machine that holds DPCs back until they are flushed.
fn holding() -> Entered {
    let machine = Machine::new(1).enter();
    machine.hold_dpcs(true);
    machine
}

/// How many DPCs were queued, taken off their queue, and begun.
fn dpcs(machine: &Machine) -> (usize, usize, usize) {
    let events = machine.events();
    let count = |is_it: fn(&Event) -> bool| events.iter().filter(|event| is_it(event)).count();
    (
        count(|event| matches!(event, Event::DpcQueued { .. })),
        count(|event| matches!(event, Event::DpcRemoved { .. })),
        count(|event| matches!(event, Event::DpcEntered { .. })),
    )
}

/// Interrupts a connection by line while it is made in vain, or while it is taken apart.
fn interrupted<D>(half: impl Fn(&Device) -> D)
where
    D: DeferredHalf<Counter>,
    Counter: InterruptHandler<D>,
{
    let machine = holding();
    let device = machine.device().line().build();
    let request = || LineBased::new(physical_device(&device)).deferred(half(&device));

    machine.interrupt_during_connect(true);
    let fault = Fault::StatusAfterService(nt::STATUS_NOT_FOUND);
    machine.fail(Call::IoConnectInterruptEx, 0, fault);
    assert!(request().connect(Counter::default()).is_err());
    machine.interrupt_during_connect(false);
    assert_eq!(dpcs(&machine), (1, 1, 0), "a connect in vain");

    let registration = request().connect(Counter::default()).unwrap();
    machine.interrupt_during_disconnect(true);
    drop(registration);
    assert_eq!(dpcs(&machine), (2, 2, 0), "a disconnect");
}

#[test]
fn a_dpc_that_is_queued_too_late_does_not_begin() {
    interrupted(|_| Dpc::new(Doing(nothing)));
}

#[test]
fn a_threaded_dpc_that_is_queued_too_late_does_not_begin() {
    interrupted(|_| ThreadedDpc::new(Doing(nothing)));
}

#[test]
fn a_dpc_that_asks_for_work_too_late_does_not_begin() {
    interrupted(|device| {
        let nothing: fn(&Work<'_, Counter>) = |_| ();
        WorkItem::new(function_device(device), Doing(nothing))
    });
}

#[test]
fn the_dpcs_of_messages_that_are_queued_too_late_do_not_begin() {
    let machine = holding();
    let device = machine.device().messages(3).build();
    let registration = EachMessage::new(physical_device(&device), 3)
        .connect_with_deferred(|_| (Counter::default(), Dpc::new(Doing(nothing))))
        .unwrap();
    machine.interrupt_during_disconnect(true);
    drop(registration);
    assert_eq!(dpcs(&machine), (3, 3, 0));
}

#[test]
fn the_dpc_of_all_messages_that_is_queued_too_late_does_not_begin() {
    let machine = holding();
    let device = machine.device().messages(3).build();
    let registration = EachMessage::new(physical_device(&device), 3)
        .deferred(SharedDpc::new(Idle))
        .connect(|_| Queueing)
        .unwrap();
    machine.interrupt_during_disconnect(true);
    drop(registration);
    assert_eq!(dpcs(&machine), (1, 1, 0));
}

#[test]
fn a_dpc_of_a_message_that_turns_out_not_to_be_does_not_begin() {
    let machine = holding();
    let device = machine.device().messages(3).build();
    machine.interrupt_during_connect(true);
    machine.fail(Call::IoConnectInterruptEx, 0, Fault::MessageCount(2));
    let registration = EachMessage::new(physical_device(&device), 3)
        .connect_with_deferred(|_| (Counter::default(), Dpc::new(Doing(nothing))))
        .unwrap();
    let (queued, removed, _) = dpcs(&machine);
    assert_eq!((queued, removed), (5, 1), "three early ones, of which two are queued again");
    drop(registration);
}
