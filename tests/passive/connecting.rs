//! What is refused, before the kernel and after it, and what comes back.

use std::sync::atomic::{AtomicBool, Ordering};

use wdm_interrupt::{
    ConnectErrorKind, DeferredKind, ExperimentalPassiveMessageBased, FullySpecified, Irql,
    LineBased, NoDeferred, PassiveFullySpecified, PassiveHalf, PassiveInterruptHandler,
    PassiveLineBased, Work, WorkItem,
};
use wdm_interrupt_model::executive::{Call, Fault};
use wdm_interrupt_model::hal::Event;
use wdm_interrupt_model::host::{Device, Machine};
use wdm_interrupt_model::nt;

use crate::common::physical_device;
use crate::counter::{function_device, shared};
use crate::{Counter, Working, at_irql, isr, resource};

fn was_connected(machine: &Machine) -> bool {
    machine.events().iter().any(|event| matches!(event, Event::Connected { .. }))
}

#[test]
fn an_ordinary_interrupt_is_refused_and_does_not_reach_the_handler_meanwhile() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let ordinary = resource(&device);

    // The resource says so.
    let request = PassiveFullySpecified::new(physical_device(&device), ordinary);
    let error = request.connect(Counter { events: 7 }).unwrap_err();
    assert_eq!(error.kind(), ConnectErrorKind::NotPassive(Irql::from_raw(9)));
    assert_eq!(error.into_halves().0.events, 7);
    assert!(!was_connected(&machine));

    // What was connected says so, after its ISR has run at device IRQL.
    machine.interrupt_during_connect(true);
    machine.interrupt_during_disconnect(true);
    let handler = isr(|_| unreachable!("not at device IRQL"));
    let error = PassiveLineBased::new(physical_device(&device)).connect(handler).unwrap_err();
    assert_eq!(error.kind(), ConnectErrorKind::NotPassive(Irql::from_raw(9)));
    assert_eq!(error.status(), nt::STATUS_INVALID_PARAMETER);
    assert!(error.to_string().contains("use LineBased"), "{error}");
    assert_eq!(error.into_halves().0.switches, [""; 0]);
    let claimed = |event: &Event| match *event {
        Event::IsrLeft { claimed, .. } => Some(claimed),
        _ => None,
    };
    let claimed: Vec<_> = machine.events().iter().filter_map(claimed).collect();
    assert_eq!(claimed, [false, false]);
    assert!(machine.left_behind().is_empty());
}

#[test]
fn a_passive_interrupt_is_refused_by_the_ordinary_requests() {
    let machine = Machine::new(1).enter();
    let device = machine.device().passive_line().line().build();
    let passive = resource(&device);
    let expected = ConnectErrorKind::NoDeviceIrql(Irql::PASSIVE);

    // The resource says so.
    let request = FullySpecified::new(physical_device(&device), passive);
    let error = request.connect(Counter { events: 7 }).unwrap_err();
    assert_eq!(error.kind(), expected);
    assert_eq!(error.status(), nt::STATUS_INVALID_PARAMETER);
    assert!(error.to_string().contains("PassiveFullySpecified"), "{error}");
    assert_eq!(error.into_halves().0.events, 7);
    let request = FullySpecified::several(physical_device(&device), std::slice::from_ref(&passive));
    assert_eq!(request.connect(Counter::default()).unwrap_err().kind(), expected);
    assert!(!was_connected(&machine));
}

#[test]
fn a_passive_line_is_refused_by_the_kernel_or_after_it() {
    let machine = Machine::new(1).enter();
    let device = machine.device().passive_line().build();
    // The kernel finds the spin lock that it was given wrong.
    let request = LineBased::new(physical_device(&device));
    let error = request.connect(Counter::default()).unwrap_err();
    assert_eq!(error.kind(), ConnectErrorKind::Refused(nt::STATUS_INVALID_PARAMETER));
    assert!(!was_connected(&machine));

    // It does not: what was connected says so, and is disconnected again.
    machine.ignore_passive_lock(true);
    machine.interrupt_during_connect(true);
    let request = LineBased::new(physical_device(&device));
    let error = request.connect(Counter { events: 7 }).unwrap_err();
    assert_eq!(error.kind(), ConnectErrorKind::NoDeviceIrql(Irql::PASSIVE));
    assert!(was_connected(&machine));
    assert!(machine.left_behind().is_empty());
    // The early ISR had the handler: the one line's event kept it from itself.
    let (handler, ()) = error.into_halves();
    assert_eq!(handler.events, 8);
}

#[test]
fn experimental_passive_messages_without_messages_are_undone() {
    let machine = Machine::new(1).enter();
    machine.interrupt_during_connect(true);
    // A line that is passive itself would reach the handler, if its ISR did.
    for device in [machine.device().line().build(), machine.device().passive_line().build()] {
        let error = ExperimentalPassiveMessageBased::new(physical_device(&device))
            .connect(Counter::default())
            .unwrap_err();
        assert_eq!(error.kind(), ConnectErrorKind::NoMessages);
        assert_eq!(error.into_halves().0.events, 0);
        assert!(machine.left_behind().is_empty());
    }
}

#[test]
fn a_failure_gives_both_halves_back() {
    fn fails<D>(device: &Device, half: D) -> (ConnectErrorKind, Counter, D::Inner)
    where
        D: DeferredKind + PassiveHalf<Counter>,
        Counter: PassiveInterruptHandler<D>,
    {
        let request = PassiveLineBased::new(physical_device(device)).deferred(half);
        let error = request.connect(Counter { events: 7 }).unwrap_err();
        let kind = error.kind();
        let (handler, half) = error.into_halves();
        (kind, handler, half)
    }

    let machine = Machine::new(1).enter();
    let device = machine.device().passive_line().build();
    machine.interrupt_during_connect(true);
    let status = nt::STATUS_INSUFFICIENT_RESOURCES;
    let (connect, pool) = (Call::IoConnectInterruptEx, Call::ExAllocatePool2);
    let cases = [
        (pool, Fault::Status(status), ConnectErrorKind::NoPool, 7),
        (Call::IoAllocateWorkItem, Fault::Status(status), ConnectErrorKind::NoPool, 7),
        (connect, Fault::Status(status), ConnectErrorKind::Refused(status), 7),
        (connect, Fault::StatusAfterService(status), ConnectErrorKind::Refused(status), 8),
        (connect, Fault::WritesNothing, ConnectErrorKind::NothingConnected, 7),
        (connect, Fault::StoresNull, ConnectErrorKind::NothingConnected, 7),
        (connect, Fault::Version(1), ConnectErrorKind::Unexpected { version: 1 }, 8),
    ];
    for (call, fault, expected, events) in cases {
        machine.fail(call, 0, fault);
        let ran: &AtomicBool = shared();
        let work = Working(|_: &Work<'_, Counter>| ran.store(true, Ordering::SeqCst));
        let (kind, handler, Working(_)) =
            fails(&device, WorkItem::new(function_device(&device), work));
        assert_eq!((kind, handler.events), (expected, events), "{call:?} {fault:?}");
        assert!(!ran.load(Ordering::SeqCst));
        if call != Call::IoAllocateWorkItem {
            machine.fail(call, 0, fault);
            let (kind, handler, ()) = fails(&device, NoDeferred);
            assert_eq!((kind, handler.events), (expected, events), "{call:?} {fault:?}");
        }
        assert!(machine.left_behind().is_empty(), "{call:?} {fault:?}");
    }
    let error = at_irql(Irql::APC, || {
        PassiveLineBased::new(physical_device(&device)).connect(Counter::default()).unwrap_err()
    });
    assert_eq!(error.kind(), ConnectErrorKind::RaisedIrql(Irql::APC));
}

#[test]
fn a_passive_line_is_refused_as_the_fallback_of_all_messages() {
    let machine = Machine::new(1).enter();
    let device = machine.device().passive_line().build();
    machine.ignore_passive_lock(true);
    let request = wdm_interrupt::EachMessage::new(physical_device(&device), 1).fall_back_to_line();
    let error = request.connect(|_message| Counter::default()).unwrap_err();
    assert_eq!(error.kind(), ConnectErrorKind::NoDeviceIrql(Irql::PASSIVE));
    drop(error);
    assert!(machine.left_behind().is_empty());
}
