//! Each message has a lock of its own: what that lets happen at the same time, and what not.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use wdm_interrupt::{EachMessage, Interrupt, InterruptHandler, Irql, Serviced};
use wdm_interrupt_model::host::{Delivery, Machine};

use super::common::physical_device;
use super::{at_irql, connect, diaries};

#[test]
fn messages_are_serviced_at_the_same_time() {
    /// Its ISR says that it is there, and waits for the other's to be.
    struct Meeting {
        mine: Arc<AtomicBool>,
        others: Arc<AtomicBool>,
        met: bool,
    }
    impl InterruptHandler for Meeting {
        fn service(&mut self, _interrupt: &Interrupt<'_>) -> Serviced {
            self.mine.store(true, Ordering::SeqCst);
            let start = Instant::now();
            while !self.others.load(Ordering::SeqCst) && start.elapsed() < Duration::from_secs(10) {
                std::thread::yield_now();
            }
            self.met = self.others.load(Ordering::SeqCst);
            Serviced::Claimed
        }
    }

    let machine = Machine::new(2).enter();
    let device = machine.device().messages_at(&[5, 5]).build();
    let (first, second) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let registration = EachMessage::new(physical_device(&device), 2)
        .connect(|message| {
            let (mine, others) =
                if message.index() == 0 { (&first, &second) } else { (&second, &first) };
            Meeting { mine: Arc::clone(mine), others: Arc::clone(others), met: false }
        })
        .unwrap();
    machine.scope(|scope| {
        scope.spawn(1, || assert_eq!(device.raise_message(1), Delivery::Claimed));
        assert_eq!(device.raise_message(0), Delivery::Claimed);
    });
    for message in registration.messages() {
        assert!(message.synchronize(|meeting| meeting.met), "message {}", message.index());
    }
    drop(registration);
}

#[test]
fn each_isr_runs_at_the_irql_of_its_message() {
    let machine = Machine::new(1).enter();
    let device = machine.device().messages_at(&[4, 9, 6]).build();
    let registration = connect(&device, &diaries(3)).unwrap();
    for (message, irql) in registration.messages().zip([4, 9, 6].map(Irql::from_raw)) {
        assert_eq!(message.synchronize_irql(), irql);
        device.raise_message(message.index());
        assert_eq!(message.synchronize(|handler| handler.irql), Some(irql));
        assert_eq!(message.synchronize(|_| Irql::current()), irql);
    }
    assert_eq!(Irql::current(), Irql::PASSIVE);
    drop(registration);
}

#[test]
fn synchronising_with_one_message_holds_up_that_one_only() {
    let machine = Machine::new(2).enter();
    let device = machine.device().messages_at(&[9, 4, 11]).build();
    let registration = connect(&device, &diaries(3)).unwrap();
    let own = registration.message(0).unwrap().synchronize(|handler| {
        // A higher one comes in on this very processor, a lower one on another.
        assert_eq!(device.raise_message(2), Delivery::Claimed);
        machine.scope(|scope| {
            scope.spawn(1, || assert_eq!(device.raise_message(1), Delivery::Claimed));
        });
        let own = device.raise_message(0);
        assert_eq!(handler.events, 0);
        own
    });
    // Its own had to wait, and came when the lock was released.
    assert_eq!(own, Delivery::Pending);
    for message in registration.messages() {
        assert_eq!(message.synchronize(|handler| handler.events), 1);
    }
    drop(registration);
}

#[test]
fn synchronising_with_two_messages_can_be_nested_from_low_to_high() {
    let machine = Machine::new(1).enter();
    let device = machine.device().messages_at(&[4, 9]).build();
    let registration = connect(&device, &diaries(2)).unwrap();
    let (low, high) = (registration.message(0).unwrap(), registration.message(1).unwrap());
    low.synchronize(|one| high.synchronize(|other| other.events += 1 + one.events));
    assert_eq!(high.synchronize(|handler| handler.events), 1);
    // The other way round the IRQL would be lowered under the first's lock.
    let panic = at_irql(Irql::from_raw(9), || {
        catch_unwind(AssertUnwindSafe(|| low.synchronize(|_| ()))).unwrap_err()
    });
    let message = panic.downcast_ref::<String>().unwrap();
    assert!(message.contains("at IRQL 9, above"), "{message}");
    assert_eq!(machine.violations(), []);
    drop(registration);
}

#[test]
fn the_state_of_one_message_is_never_reached_twice_at_once() {
    const ROUNDS: u32 = 300;
    struct Exclusive {
        inside: AtomicU32,
        sum: u32,
    }
    impl Exclusive {
        /// Adds one, and panics if anybody else is here.
        fn visit(&mut self) {
            assert_eq!(self.inside.fetch_add(1, Ordering::Relaxed), 0);
            let sum = self.sum;
            std::thread::yield_now();
            self.sum = sum + 1;
            assert_eq!(self.inside.fetch_sub(1, Ordering::Relaxed), 1);
        }
    }
    impl InterruptHandler for Exclusive {
        fn service(&mut self, _interrupt: &Interrupt<'_>) -> Serviced {
            self.visit();
            Serviced::Claimed
        }
    }

    let machine = Machine::new(4).enter();
    let device = machine.device().messages(3).build();
    let registration = EachMessage::new(physical_device(&device), 3)
        .connect(|_| Exclusive { inside: AtomicU32::new(0), sum: 0 })
        .unwrap();
    machine.scope(|scope| {
        for processor in 1..4 {
            let (device, registration) = (&device, &registration);
            scope.spawn(processor, move || {
                for _ in 0..ROUNDS {
                    for message in registration.messages() {
                        let delivery = device.raise_message(message.index());
                        assert_eq!(delivery, Delivery::Claimed);
                        message.synchronize(Exclusive::visit);
                    }
                }
            });
        }
    });
    let ((), handlers) = registration.disconnect().unwrap().into_inner();
    for (handler, ()) in handlers {
        assert_eq!(handler.sum, 3 * 2 * ROUNDS);
    }
}
