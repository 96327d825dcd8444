//! Taking a registration apart: the order, on every path, and where it is refused.

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use common::Happened::{DeferredDropped, Disable, Enable, HandlerDropped, Run, Service};
use common::{Completion, Diary, Handler, physical_device};
use wdm_interrupt::{
    Deferred, DeferredHandler, DisconnectErrorKind, Dpc, Interrupt, InterruptHandler,
    InterruptRegistration, Irql, LineBased, MessageBased, Serviced,
};
use wdm_interrupt_model::hal::Event;
use wdm_interrupt_model::host::{Delivery, Device, Machine, kernel};

type Deferring = InterruptRegistration<Handler, Dpc<Completion>>;

fn connect(device: &Device, diary: &Diary) -> Deferring {
    LineBased::new(physical_device(device))
        .deferred(Dpc::new(Completion::new(diary)))
        .connect(Handler::new(diary))
        .unwrap()
}

/// Runs `with` at `irql`.
fn at_irql<R>(irql: Irql, with: impl FnOnce() -> R) -> R {
    // SAFETY: raises, and lowers below.
    let old = unsafe { kernel::KfRaiseIrql(irql.to_raw()) };
    let result = catch_unwind(AssertUnwindSafe(with));
    // SAFETY: lowers to what it was.
    unsafe { kernel::KeLowerIrql(old) };
    result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

#[test]
fn what_was_claimed_is_completed_before_the_halves_come_back() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let diary = Diary::default();
    let registration = connect(&device, &diary);
    machine.hold_dpcs(true);
    device.raise_line();
    device.raise_line();
    assert_eq!(diary.count(Run), 0);

    let (handler, completion) = registration.disconnect().unwrap();
    assert_eq!((handler.events, *completion.taken.lock().unwrap()), (0, 2));
    // `disable` comes first, and once more when the deferred half has ended.
    let expected = [Enable, Service(None), Service(None), Disable, Run, Disable];
    assert_eq!(diary.read(), expected);
}

#[test]
fn dropping_does_the_same_and_drops_both_halves_after_the_disconnect() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let diary = Diary::default();
    let registration = connect(&device, &diary);
    machine.hold_dpcs(true);
    device.raise_line();
    drop(registration);
    assert_eq!(
        diary.read(),
        [Enable, Service(None), Disable, Run, Disable, HandlerDropped, DeferredDropped]
    );
    assert_eq!(device.raise_line(), Delivery::NotConnected);
}

#[test]
fn removed_hardware_is_not_touched_but_what_was_claimed_is_completed() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let diary = Diary::default();
    let registration = connect(&device, &diary);
    machine.hold_dpcs(true);
    device.raise_line();
    let (_handler, completion) = registration.disconnect_removed().unwrap();
    assert_eq!(*completion.taken.lock().unwrap(), 1);
    assert_eq!(diary.count(Disable), 0);
}

#[test]
fn an_interrupt_during_the_disconnect_queues_a_dpc_that_runs_no_user_code() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let diary = Diary::default();
    let registration = connect(&device, &diary);
    machine.interrupt_during_disconnect(true);
    machine.hold_dpcs(true);
    let (handler, completion) = registration.disconnect().unwrap();
    // It was claimed when deferred work was refused already: it is in the handler that came back.
    assert_eq!((handler.events, *completion.taken.lock().unwrap()), (1, 0));
    assert_eq!(diary.count(Run), 0);
    assert!(machine.events().iter().any(|event| matches!(event, Event::DpcQueued { .. })));
}

#[test]
fn once_deferred_work_is_refused_a_dpc_that_runs_is_not_let_in() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let diary = Diary::default();
    let registration = connect(&device, &diary);
    // Not held back: the DPC runs while the disconnect has not returned.
    machine.interrupt_during_disconnect(true);
    let (handler, completion) = registration.disconnect().unwrap();
    assert!(machine.events().iter().any(|event| matches!(event, Event::DpcEntered { .. })));
    assert_eq!((handler.events, *completion.taken.lock().unwrap()), (1, 0));
    assert_eq!(diary.count(Run), 0);
}

#[test]
fn no_user_code_of_the_deferred_half_runs_after_the_last_disable() {
    /// Its `disable` sees whether the deferred half is running; the last one must not.
    struct Watching {
        running: Arc<AtomicBool>,
        seen_by_disable: Vec<bool>,
    }
    struct Slow(Arc<AtomicBool>);
    impl InterruptHandler<Dpc<Slow>> for Watching {
        fn service(&mut self, interrupt: &Interrupt<'_, Dpc<Slow>>) -> Serviced {
            interrupt.queue_deferred();
            Serviced::Claimed
        }
        fn disable(&mut self) {
            self.seen_by_disable.push(self.running.load(Ordering::SeqCst));
        }
    }
    impl DeferredHandler<Watching> for Slow {
        fn run(&self, _deferred: &Deferred<'_, Watching>) {
            self.0.store(true, Ordering::SeqCst);
            for _ in 0..50 {
                std::thread::yield_now();
            }
            self.0.store(false, Ordering::SeqCst);
        }
    }

    let machine = Machine::new(2).enter();
    let device = machine.device().line().build();
    for _ in 0..30 {
        let running = Arc::new(AtomicBool::new(false));
        let registration = LineBased::new(physical_device(&device))
            .deferred(Dpc::new(Slow(Arc::clone(&running))))
            .connect(Watching { running, seen_by_disable: Vec::new() })
            .unwrap();
        machine.scope(|scope| {
            // A shared line that does not stop interrupting while this is torn down.
            let device = &device;
            scope.spawn(1, || while device.raise_line() != Delivery::NotConnected {});
            for _ in 0..20 {
                std::thread::yield_now();
            }
            let (handler, _slow) = registration.disconnect().unwrap();
            assert_eq!(handler.seen_by_disable.len(), 2);
            assert_eq!(handler.seen_by_disable.last(), Some(&false));
        });
    }
}

#[test]
fn a_deferred_half_that_enables_the_device_again_does_not_leave_it_enabled() {
    struct Device {
        enabled: Arc<Mutex<bool>>,
    }
    struct Unmask;
    impl InterruptHandler<Dpc<Unmask>> for Device {
        fn service(&mut self, interrupt: &Interrupt<'_, Dpc<Unmask>>) -> Serviced {
            *self.enabled.lock().unwrap() = false;
            interrupt.queue_deferred();
            Serviced::Claimed
        }
        fn enable(&mut self) {
            *self.enabled.lock().unwrap() = true;
        }
        fn disable(&mut self) {
            *self.enabled.lock().unwrap() = false;
        }
    }
    impl DeferredHandler<Device> for Unmask {
        fn run(&self, deferred: &Deferred<'_, Device>) {
            deferred.synchronize(InterruptHandler::enable);
        }
    }

    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let enabled = Arc::new(Mutex::new(false));
    let registration = LineBased::new(physical_device(&device))
        .deferred(Dpc::new(Unmask))
        .connect(Device { enabled: Arc::clone(&enabled) })
        .unwrap();
    machine.hold_dpcs(true);
    device.raise_line();
    registration.disconnect().unwrap();
    assert!(!*enabled.lock().unwrap());
}

#[test]
fn disconnect_at_raised_irql_gives_the_registration_back() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let diary = Diary::default();
    let mut registration = connect(&device, &diary);
    for irql in [Irql::APC, Irql::DISPATCH, Irql::from_raw(12)] {
        registration = at_irql(irql, || {
            let error = registration.disconnect().unwrap_err();
            assert_eq!(error.kind(), DisconnectErrorKind::RaisedIrql(irql));
            assert!(error.to_string().contains("PASSIVE_LEVEL only"), "{error}");
            error.into_registration()
        });
    }
    assert_eq!(device.raise_line(), Delivery::Claimed);
    assert_eq!(diary.count(Disable), 0);
    registration.disconnect_removed().unwrap();
}

#[test]
fn drop_at_raised_irql_panics_and_leaves_all_as_it_was() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let diary = Diary::default();
    let registration = connect(&device, &diary);
    machine.expect_leftovers();
    let panic = at_irql(Irql::DISPATCH, || catch_unwind(AssertUnwindSafe(|| drop(registration))))
        .unwrap_err();
    let message = panic.downcast_ref::<String>().unwrap();
    assert!(message.contains("was dropped"), "{message}");
    assert!(message.contains("DISPATCH_LEVEL"), "{message}");
    assert_eq!(device.raise_line(), Delivery::Claimed);
    assert_eq!(diary.count(HandlerDropped), 0);
}

#[test]
fn drop_inside_its_own_dpc_panics() {
    type Slot = Mutex<Option<InterruptRegistration<Own, Dpc<Suicide>>>>;
    struct Suicide(Arc<Slot>);
    struct Own;
    impl InterruptHandler<Dpc<Suicide>> for Own {
        fn service(&mut self, interrupt: &Interrupt<'_, Dpc<Suicide>>) -> Serviced {
            interrupt.queue_deferred();
            Serviced::Claimed
        }
    }
    impl DeferredHandler<Own> for Suicide {
        fn run(&self, _deferred: &Deferred<'_, Own>) {
            let registration = self.0.lock().unwrap().take();
            drop(registration);
        }
    }

    let machine = Machine::new(1).enter();
    machine.expect_leftovers();
    let device = machine.device().line().build();
    let slot = Arc::new(Mutex::new(None));
    let registration = LineBased::new(physical_device(&device))
        .deferred(Dpc::new(Suicide(Arc::clone(&slot))))
        .connect(Own)
        .unwrap();
    *slot.lock().unwrap() = Some(registration);
    let panic = catch_unwind(AssertUnwindSafe(|| device.raise_line())).unwrap_err();
    let message = panic.downcast_ref::<String>().unwrap();
    assert!(message.contains("not in an ISR, in a DPC"), "{message}");
}

#[test]
fn a_forgotten_registration_stays_connected() {
    let machine = Machine::new(1).enter();
    machine.expect_leftovers();
    let device = machine.device().line().build();
    let diary = Diary::default();
    std::mem::forget(connect(&device, &diary));
    assert_eq!(device.raise_line(), Delivery::Claimed);
    assert!(!machine.left_behind().is_empty());
}

#[test]
fn the_memory_is_one_block_of_the_handler_and_at_most_256_bytes() {
    struct Large([u64; 64]);
    impl InterruptHandler<Dpc<Nothing>> for Large {
        fn service(&mut self, _interrupt: &Interrupt<'_, Dpc<Nothing>>) -> Serviced {
            self.0[0] += 1;
            Serviced::Claimed
        }
    }
    struct Nothing;
    impl DeferredHandler<Large> for Nothing {
        fn run(&self, _deferred: &Deferred<'_, Large>) {}
    }

    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let registration = LineBased::new(physical_device(&device))
        .deferred(Dpc::new(Nothing))
        .connect(Large([0; 64]))
        .unwrap();
    let pool = machine.left_behind().pool;
    assert_eq!(pool.len(), 1, "{pool:?}");
    assert_eq!(&pool[0].tag.to_le_bytes(), b"WInt");
    assert!(pool[0].bytes <= size_of::<Large>() + 256, "{} bytes", pool[0].bytes);
    drop(registration);
}

#[test]
fn connecting_and_disconnecting_a_thousand_times_leaves_nothing() {
    let machine = Machine::new(2).enter();
    let device = machine.device().messages(3).build();
    let diary = Diary::default();
    for round in 0..1_000 {
        let registration = MessageBased::new(physical_device(&device))
            .deferred(Dpc::new(Completion::new(&diary)))
            .connect(Handler::new(&diary))
            .unwrap();
        device.raise_message(round % 3);
        let (handler, completion) = registration.disconnect().unwrap();
        assert_eq!((handler.events, *completion.taken.lock().unwrap()), (0, 1));
    }
    machine.leave();
}
