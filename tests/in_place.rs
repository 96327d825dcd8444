//! Handlers that are made where they stay, and never pass through the kernel stack.

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use common::Happened::{DeferredDropped, Disable, Enable, HandlerDropped, Run, Service};
use common::{Completion, Diary, Handler, physical_device};
use wdm_interrupt::{
    ConnectErrorKind, Dpc, FullySpecified, Halves, InPlace, InPlaceError, Interrupt,
    InterruptHandler, InterruptResource, InterruptResources, Irql, LineBased, MessageBased,
    Serviced,
};
use wdm_interrupt_model::executive::{Call, Fault};
use wdm_interrupt_model::host::{Delivery, Device, Machine, kernel};
use wdm_interrupt_model::nt;

const MEBIBYTE: usize = 1024 * 1024;

/// A handler that no kernel stack holds, nor that of the thread that these tests run it in.
struct Large {
    events: u32,
    log: [u8; MEBIBYTE],
    diary: Diary,
}

impl InterruptHandler for Large {
    fn service(&mut self, _interrupt: &Interrupt<'_>) -> Serviced {
        self.events += 1;
        self.log[MEBIBYTE - 1] += 1;
        Serviced::Claimed
    }
}

impl Drop for Large {
    fn drop(&mut self) {
        self.diary.write(HandlerDropped);
    }
}

/// The recipe of a large handler.
fn large(diary: &Diary) -> InPlace<Large, impl FnOnce(*mut Large)> {
    let diary = diary.clone();
    let make = move |place: *mut Large| {
        // SAFETY: within the place.
        let log = unsafe { &raw const (*place).log };
        // SAFETY: the place is zeroed memory, so this can be read.
        let log = unsafe { &*log };
        assert!(log.iter().all(|byte| *byte == 0), "the place is zeroed");
        // SAFETY: within the place.
        let events = unsafe { &raw mut (*place).events };
        // SAFETY: valid for writing.
        unsafe { events.write(0) };
        // SAFETY: within the place.
        let its_diary = unsafe { &raw mut (*place).diary };
        // SAFETY: valid for writing.
        unsafe { its_diary.write(diary) };
    };
    // SAFETY: the log is complete as it is, all zero; the rest is written.
    unsafe { InPlace::new(make) }
}

/// The recipe of a small handler.
fn small(diary: &Diary) -> InPlace<Handler, impl FnOnce(*mut Handler)> {
    let handler = Handler::new(diary);
    let make = move |place: *mut Handler| {
        // SAFETY: valid for writing.
        unsafe { place.write(handler) };
    };
    // SAFETY: it writes a handler.
    unsafe { InPlace::new(make) }
}

/// Runs `test` in a thread whose stack a large handler would overflow, which ends the process.
fn with_a_small_stack(test: impl FnOnce() + Send + 'static) {
    let thread = thread::Builder::new().stack_size(MEBIBYTE / 4).spawn(test).unwrap();
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

fn resources(device: &Device) -> Vec<InterruptResource> {
    // SAFETY: the model's lists are complete and stay until the device is stopped.
    let resources = unsafe {
        InterruptResources::from_start_device(device.raw_resources(), device.translated_resources())
    };
    resources.unwrap().iter().collect()
}

#[test]
fn a_handler_of_a_mebibyte_never_passes_through_the_stack() {
    with_a_small_stack(|| {
        let machine = Machine::new(1).enter();
        let device = machine.device().line().build();
        let diary = Diary::default();
        let registration =
            LineBased::new(physical_device(&device)).connect_in_place(large(&diary)).unwrap();
        assert_eq!(device.raise_line(), Delivery::Claimed);
        assert_eq!(registration.synchronize(|handler| handler.events), 1);

        let mut halves = registration.disconnect_in_place().unwrap();
        assert_eq!(device.raise_line(), Delivery::NotConnected);
        assert_eq!((halves.handler().events, halves.handler().log[MEBIBYTE - 1]), (1, 1));
        halves.handler_mut().events = 7;
        assert_eq!(halves.handler().events, 7);
        assert_eq!(diary.read(), []);
        drop(halves);
        assert_eq!(diary.read(), [HandlerDropped]);
        assert!(machine.left_behind().is_empty());
    });
}

#[test]
fn it_is_dropped_where_it_is() {
    with_a_small_stack(|| {
        let machine = Machine::new(1).enter();
        let device = machine.device().messages(2).build();
        let diary = Diary::default();
        drop(MessageBased::new(physical_device(&device)).connect_in_place(large(&diary)).unwrap());
        assert_eq!(diary.read(), [HandlerDropped]);
        assert!(machine.left_behind().is_empty());
    });
}

#[test]
fn it_stays_where_it_is_when_connecting_fails() {
    with_a_small_stack(|| {
        let machine = Machine::new(1).enter();
        let device = machine.device().line().build();
        let diary = Diary::default();
        machine.interrupt_during_connect(true);
        let fault = Fault::StatusAfterService(nt::STATUS_INSUFFICIENT_RESOURCES);
        machine.fail(Call::IoConnectInterruptEx, 0, fault);
        let error =
            LineBased::new(physical_device(&device)).connect_in_place(large(&diary)).unwrap_err();
        let InPlaceError::NotConnected { kind, halves } = error else { panic!("{error}") };
        assert_eq!(kind, ConnectErrorKind::Refused(nt::STATUS_INSUFFICIENT_RESOURCES));
        assert_eq!(halves.handler().events, 1, "an early ISR reached it");
        drop(halves);
        assert_eq!(diary.read(), [HandlerDropped]);
        assert!(machine.left_behind().is_empty());
    });
}

#[test]
fn it_is_in_the_registrations_one_block() {
    with_a_small_stack(|| {
        let machine = Machine::new(1).enter();
        let device = machine.device().line().build();
        let registration = LineBased::new(physical_device(&device))
            .connect_in_place(large(&Diary::default()))
            .unwrap();
        let [pool] = machine.left_behind().pool[..] else { panic!("one tag") };
        assert_eq!(pool.blocks, 1);
        assert!(pool.bytes <= size_of::<Large>() + 256, "{} bytes", pool.bytes);
        drop(registration);
    });
}

#[test]
fn both_halves_are_there_in_place_and_can_be_moved_out() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let diary = Diary::default();
    let registration = LineBased::new(physical_device(&device))
        .deferred(Dpc::new(Completion::new(&diary)))
        .connect_in_place(small(&diary))
        .unwrap();
    machine.hold_dpcs(true);
    device.raise_line();
    let halves = registration.disconnect_in_place().unwrap();
    assert_eq!(diary.read(), [Enable, Service(None), Disable, Run, Disable]);
    assert_eq!(*halves.deferred().taken.lock().unwrap(), 1);
    let (handler, completion) = halves.into_inner();
    // The memory is gone, the halves are not.
    assert!(machine.left_behind().is_empty());
    assert_eq!((diary.count(HandlerDropped), diary.count(DeferredDropped)), (0, 0));
    drop((handler, completion));
    assert_eq!((diary.count(HandlerDropped), diary.count(DeferredDropped)), (1, 1));
}

#[test]
fn halves_that_are_dropped_drop_both_and_free_the_memory() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let diary = Diary::default();
    let registration = LineBased::new(physical_device(&device))
        .deferred(Dpc::new(Completion::new(&diary)))
        .connect_in_place(small(&diary))
        .unwrap();
    let halves = registration.disconnect_removed_in_place().unwrap();
    assert_eq!(diary.read(), [Enable]);
    drop(halves);
    assert_eq!(diary.read(), [Enable, HandlerDropped, DeferredDropped]);
    assert!(machine.left_behind().is_empty());
}

#[test]
fn what_fails_before_there_is_memory_gives_the_recipe_and_the_deferred_half_back() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let diary = Diary::default();
    let request =
        || LineBased::new(physical_device(&device)).deferred(Dpc::new(Completion::new(&diary)));

    machine.fail(Call::ExAllocatePool2, 0, nt::STATUS_INSUFFICIENT_RESOURCES);
    let error = request().connect_in_place(small(&diary)).unwrap_err();
    assert_eq!(error.status(), nt::STATUS_INSUFFICIENT_RESOURCES);
    let InPlaceError::NotMade { kind, make, deferred } = error else { panic!("{error}") };
    assert_eq!(kind, ConnectErrorKind::NoPool);
    assert_eq!(*deferred.taken.lock().unwrap(), 0);
    assert_eq!(diary.read(), []);

    // SAFETY: raises, and lowers below.
    let old = unsafe { kernel::KfRaiseIrql(Irql::DISPATCH.to_raw()) };
    let error = request().connect_in_place(make).unwrap_err();
    // SAFETY: lowers to what it was.
    unsafe { kernel::KeLowerIrql(old) };
    let InPlaceError::NotMade { kind, make, .. } = error else { panic!("{error}") };
    assert_eq!(kind, ConnectErrorKind::RaisedIrql(Irql::DISPATCH));

    // The same recipe is as good as before.
    let registration = request().connect_in_place(make).unwrap();
    assert_eq!(device.raise_line(), Delivery::Claimed);
    drop(registration);
    assert_eq!(diary.count(HandlerDropped), 1);
}

#[test]
fn the_closure_can_be_taken_out_of_a_recipe() {
    let make = |place: *mut u32| {
        // SAFETY: valid for writing.
        unsafe { place.write(5) };
    };
    // SAFETY: it writes a number.
    let recipe = unsafe { InPlace::new(make) };
    let mut number = 0;
    recipe.into_inner()(&raw mut number);
    assert_eq!(number, 5);
}

#[test]
fn what_was_connected_and_undone_gives_the_halves_back() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let diary = Diary::default();
    let error = MessageBased::new(physical_device(&device))
        .deferred(Dpc::new(Completion::new(&diary)))
        .connect_in_place(small(&diary))
        .unwrap_err();
    assert_eq!(
        (error.kind(), error.status()),
        (ConnectErrorKind::NoMessages, nt::STATUS_NOT_FOUND)
    );
    assert!(error.to_string().contains("fall_back_to_line"), "{error}");
    let InPlaceError::NotConnected { halves, .. } = error else { panic!("{error}") };
    let _: &Halves<Handler, Dpc<Completion>> = &halves;
    assert_eq!(diary.read(), []);
    drop(halves);
    assert_eq!(diary.read(), [HandlerDropped, DeferredDropped]);
}

#[test]
fn every_request_can_make_its_handler_in_place() {
    let machine = Machine::new(1).enter();
    let line = machine.device().line().build();
    let messages = machine.device().messages(2).build();
    let diary = Diary::default();
    let vectors = resources(&messages);

    let registration =
        LineBased::new(physical_device(&line)).connect_in_place(small(&diary)).unwrap();
    assert_eq!(line.raise_line(), Delivery::Claimed);
    drop(registration);
    let registration = FullySpecified::new(physical_device(&messages), vectors[1])
        .connect_in_place(small(&diary))
        .unwrap();
    assert_eq!(messages.raise_message(1), Delivery::Claimed);
    drop(registration);
    let registration = FullySpecified::several(physical_device(&messages), &vectors)
        .connect_in_place(small(&diary))
        .unwrap();
    assert_eq!(messages.raise_message(0), Delivery::Claimed);
    drop(registration);
    let registration =
        MessageBased::new(physical_device(&messages)).connect_in_place(small(&diary)).unwrap();
    assert_eq!(messages.raise_message(1), Delivery::Claimed);
    drop(registration);
    let counts = [Enable, Disable, HandlerDropped].map(|happened| diary.count(happened));
    assert_eq!(counts, [4, 4, 4]);
}

#[test]
fn halves_cannot_be_freed_above_dispatch_level() {
    let machine = Machine::new(1).enter();
    machine.expect_leftovers();
    let device = machine.device().line().build();
    let diary = Diary::default();
    let registration =
        LineBased::new(physical_device(&device)).connect_in_place(small(&diary)).unwrap();
    let halves = registration.disconnect_in_place().unwrap();
    // SAFETY: raises, and lowers below.
    let old = unsafe { kernel::KfRaiseIrql(5) };
    let panic = catch_unwind(AssertUnwindSafe(|| drop(halves))).unwrap_err();
    // SAFETY: lowers to what it was.
    unsafe { kernel::KeLowerIrql(old) };
    let message = panic.downcast_ref::<String>().unwrap();
    assert!(message.contains("freed at IRQL 5"), "{message}");
    assert_eq!(machine.violations(), []);
}
