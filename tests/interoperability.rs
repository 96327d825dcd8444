//! Registrations as raw pointers, for code that knows nothing of them.

mod common;

use std::ffi::c_void;
use std::ptr::NonNull;

use common::Happened::{DeferredDropped, Disable, Enable, HandlerDropped, Service};
use common::{Completion, Diary, Handler, physical_device};
use wdm_interrupt::{
    ConnectionKind, Dpc, EachMessage, InterruptRegistration, Irql, KINTERRUPT, LineBased,
    MessageBased, MessageRegistration, PassiveInterrupt, PassiveInterruptHandler,
    PassiveInterruptRegistration, PassiveLineBased, Serviced,
};
use wdm_interrupt_model::host::{Delivery, Device, Machine, kernel};
use wdm_interrupt_model::nt;

type Deferring = InterruptRegistration<Handler, Dpc<Completion>>;

/// A device extension as a driver in C has it.
#[repr(C)]
struct Extension {
    interrupt: *mut c_void,
}

fn connect(device: &Device, diary: &Diary) -> Deferring {
    LineBased::new(physical_device(device))
        .deferred(Dpc::new(Completion::new(diary)))
        .connect(Handler::new(diary))
        .unwrap()
}

#[test]
fn a_registration_goes_into_a_device_extension_and_back() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let diary = Diary::default();
    let mut extension = Extension { interrupt: connect(&device, &diary).into_raw().as_ptr() };
    // It stays connected.
    assert_eq!(device.raise_line(), Delivery::Claimed);
    assert_eq!(diary.count(HandlerDropped), 0);

    let raw =
        NonNull::new(std::mem::replace(&mut extension.interrupt, std::ptr::null_mut())).unwrap();
    // SAFETY: from `into_raw` of such a registration, and taken back once.
    let registration = unsafe { Deferring::from_raw(raw) };
    let (_handler, completion) = registration.disconnect().unwrap();
    assert_eq!(*completion.taken.lock().unwrap(), 1);
    assert_eq!(device.raise_line(), Delivery::NotConnected);
    assert!(machine.left_behind().is_empty());
}

#[test]
fn a_registration_that_was_taken_back_disconnects_when_dropped() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let diary = Diary::default();
    let raw = connect(&device, &diary).into_raw();
    // SAFETY: from `into_raw` of such a registration, and taken back once.
    drop(unsafe { Deferring::from_raw(raw) });
    assert_eq!(diary.read(), [Enable, Disable, Disable, HandlerDropped, DeferredDropped]);
}

#[test]
fn borrowing_leaves_the_registration_as_it_is() {
    let machine = Machine::new(2).enter();
    let device = machine.device().line().build();
    let diary = Diary::default();
    let raw = connect(&device, &diary).into_raw();
    for round in 1..=3 {
        // SAFETY: from `into_raw` of such a registration, and taken back below only.
        let borrowed = unsafe { Deferring::borrow_raw(raw) };
        assert_eq!(borrowed.kind(), ConnectionKind::LineBased);
        assert!(format!("{borrowed:?}").contains("LineBased"), "{borrowed:?}");
        borrowed.synchronize(|handler| handler.events = round);
    }
    // Several at once, on two processors.
    {
        // SAFETY: as above.
        let here = unsafe { Deferring::borrow_raw(raw) };
        // SAFETY: as above.
        let there = unsafe { Deferring::borrow_raw(raw) };
        machine.scope(|scope| {
            scope.spawn(1, || there.synchronize(|handler| handler.events += 1));
        });
        assert_eq!(here.synchronize(|handler| handler.events), 4);
    }
    assert_eq!(diary.read(), [Enable]);
    // SAFETY: from `into_raw`, taken back once, and no longer borrowed.
    let (handler, _completion) = unsafe { Deferring::from_raw(raw) }.disconnect().unwrap();
    assert_eq!(handler.events, 4);
}

#[test]
fn messages_with_a_handler_each_go_there_and_back() {
    type Registration = MessageRegistration<Handler>;
    let machine = Machine::new(1).enter();
    let device = machine.device().messages(3).build();
    let diary = Diary::default();
    let registration =
        EachMessage::new(physical_device(&device), 3).connect(|_| Handler::new(&diary)).unwrap();
    let raw = registration.into_raw();
    assert_eq!(device.raise_message(2), Delivery::Claimed);
    {
        // SAFETY: from `into_raw` of such a registration, and taken back below only.
        let borrowed = unsafe { Registration::borrow_raw(raw) };
        let events: Vec<_> =
            borrowed.messages().map(|it| it.synchronize(|handler| handler.events)).collect();
        assert_eq!(events, [0, 0, 1]);
    }
    assert_eq!(diary.count(Disable), 0);
    // SAFETY: from `into_raw`, taken back once, and no longer borrowed.
    drop(unsafe { Registration::from_raw(raw) });
    assert_eq!((diary.count(Disable), diary.count(HandlerDropped)), (3, 3));
}

#[test]
fn a_passive_registration_goes_there_and_back() {
    struct Counting(u32);
    impl PassiveInterruptHandler for Counting {
        fn service(&mut self, _interrupt: &PassiveInterrupt<'_>) -> Serviced {
            self.0 += 1;
            Serviced::Claimed
        }
    }
    type Registration = PassiveInterruptRegistration<Counting>;

    let machine = Machine::new(1).enter();
    let device = machine.device().passive_line().build();
    let registration =
        PassiveLineBased::new(physical_device(&device)).connect(Counting(0)).unwrap();
    let raw = registration.into_raw();
    device.raise_line();
    machine.settle();
    {
        // SAFETY: from `into_raw` of such a registration, and taken back below only.
        let borrowed = unsafe { Registration::borrow_raw(raw) };
        assert_eq!(borrowed.synchronize(|counting| counting.0), 1);
    }
    // SAFETY: from `into_raw`, taken back once, and no longer borrowed.
    let (counting, ()) = unsafe { Registration::from_raw(raw) }.disconnect().unwrap();
    assert_eq!(counting.0, 1);
}

#[test]
fn a_pointer_that_nobody_takes_back_is_a_registration_for_ever() {
    let machine = Machine::new(1).enter();
    machine.expect_leftovers();
    let device = machine.device().line().build();
    let diary = Diary::default();
    let _forgotten = connect(&device, &diary).into_raw();
    assert_eq!(device.raise_line(), Delivery::Claimed);
    let left = machine.left_behind();
    assert_eq!((left.interrupts.len(), left.pool.len()), (1, 1), "{left}");
    assert_eq!(diary.count(HandlerDropped), 0);
}

/// A routine as C has it.
unsafe extern "C-unwind" fn routine(context: *mut c_void) -> nt::BOOLEAN {
    // SAFETY: the number that was given.
    let number = unsafe { &mut *context.cast::<u32>() };
    *number += u32::from(Irql::current().to_raw());
    1
}

#[test]
fn a_routine_in_c_synchronises_with_the_interrupt_object() {
    let machine = Machine::new(1).enter();
    let device = machine.device().messages_at(&[4, 9]).build();
    let diary = Diary::default();
    let registration =
        MessageBased::new(physical_device(&device)).connect(Handler::new(&diary)).unwrap();
    let object: *mut KINTERRUPT = registration.interrupt_object();
    let mut number = 100_u32;
    let context = (&raw mut number).cast();
    // SAFETY: connected; the routine takes a number.
    let result = unsafe { kernel::KeSynchronizeExecution(object, Some(routine), context) };
    assert_eq!((result, number), (1, 109));
    drop(registration);
    assert_eq!(diary.count(Service(None)), 0);
}
