//! What the contract allows and drivers forget.

use std::{
    cell::{Cell, RefCell},
    ptr,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
};

use wdm_interrupt_model::{
    executive::{Call, Fault},
    hal::Event,
    host::{Delivery, Machine},
    nt,
};

use super::raw::{self, Dpc, Service, flush};

#[test]
fn a_service_routine_can_run_before_connecting_returns() {
    let machine = Machine::new(1).enter();
    machine.interrupt_during_connect(true);
    let device = machine.device().messages(3).build();
    let seen = RefCell::new(Vec::new());
    let service = Service::new(|message| {
        seen.borrow_mut().extend(message);
        true
    });
    let connection = raw::messages(&device, &service);
    assert_eq!(seen.take(), [0, 1, 2]);
    connection.disconnect();
}

#[test]
fn its_dpc_can_run_on_another_processor_before_the_object_is_stored() {
    let machine = Machine::new(2).enter();
    machine.dpc_elsewhere_during_connect(true);
    let device = machine.device().line().build();
    let returned = AtomicBool::new(false);
    let early = AtomicUsize::new(0);
    let dpc = Dpc::new(|_, _| {
        if !returned.load(Ordering::SeqCst) {
            early.fetch_add(1, Ordering::SeqCst);
        }
    });
    let service = Service::new(|_| dpc.queue());
    let connection = raw::line(&device, &service);
    returned.store(true, Ordering::SeqCst);
    assert_eq!(early.load(Ordering::SeqCst), 1);
    assert!(
        machine.events().iter().any(|event| matches!(event, Event::DpcQueued { processor: 1, .. }))
    );
    connection.disconnect();
}

#[test]
fn a_connect_that_fails_can_have_run_service_routines_and_queued_dpcs() {
    let machine = Machine::new(1).enter();
    machine.interrupt_during_connect(true);
    machine.hold_dpcs(true);
    let device = machine.device().line().build();
    let (calls, deferred) = (Cell::new(0), Cell::new(0));
    let dpc = Dpc::new(|_, _| deferred.set(deferred.get() + 1));
    let service = Service::new(|_| {
        calls.set(calls.get() + 1);
        dpc.queue()
    });
    let fault = Fault::StatusAfterService(nt::STATUS_INSUFFICIENT_RESOURCES);
    machine.fail(Call::IoConnectInterruptEx, 0, fault);
    let (status, connection) = raw::try_line(&device, &service, ptr::null_mut());
    assert_eq!(status, nt::STATUS_INSUFFICIENT_RESOURCES);
    // What is written there is an object that is no more.
    assert!(!connection.context.is_null());
    assert_ne!(connection.version, nt::CONNECT_LINE_BASED);
    assert_eq!((calls.get(), deferred.get()), (1, 0));
    assert_eq!(device.raise_line(), Delivery::NotConnected);
    flush();
    assert_eq!(deferred.get(), 1);
}

#[test]
fn a_service_routine_can_run_while_disconnecting() {
    let machine = Machine::new(1).enter();
    machine.interrupt_during_disconnect(true);
    let device = machine.device().line().build();
    let calls = Cell::new(0);
    let service = Service::new(|_| {
        calls.set(calls.get() + 1);
        true
    });
    raw::line(&device, &service).disconnect();
    assert_eq!(calls.get(), 1);
}

#[test]
fn a_service_routine_that_unwinds_during_connect_is_not_left_connected() {
    let machine = Machine::new(1).enter();
    machine.interrupt_during_connect(true);
    let device = machine.device().line().build();
    let service = Service::new(|_| panic!("the test's own"));
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        raw::line(&device, &service);
    }));
    assert!(panic.is_err());
    assert_eq!(device.raise_line(), Delivery::NotConnected);
}
