//! The driver's service routine and deferred half, on the model of the kernel and with a fake device,
//! under many schedules: an example to copy.
//!
//! Whatever a seed makes the processors and the device do, each request is completed once, with its
//! own result. A seed that fails is printed with the command that replays it;
//! `WDM_INTERRUPT_SEEDS=100000 cargo test -p edu-device` tries more of them.

mod fake;
mod queue;

use edu_device::{Completion, EduInterrupt, FACTORIAL_COMPLETE, Hold, Registers, Requests, Woken};
use fake::{Edu, Power, factorial};
use queue::Queue;
use wdm_interrupt::{Dpc, InterruptRegistration, MessageBased};
use wdm_interrupt_model::host::{self, Device, Explore, Machine, kernel};

type Registration = InterruptRegistration<EduInterrupt<Edu>, Dpc<Completion<Queue>>>;

/// How many seeds each test runs with.
const SEEDS: u64 = 300;

/// A machine with two processors, which the test's thread and one more are.
const fn explore() -> Explore {
    Explore::seeds(0..SEEDS).processors(2)
}

/// Whether it was so with some seed. The few of a replay show nothing.
fn with_some<T>(outcomes: &[T], was_so: impl Fn(&T) -> bool) -> bool {
    (outcomes.len() as u64) < SEEDS || outcomes.iter().any(was_so)
}

/// What the driver does at START.
fn start(edu: &Edu, queue: &Queue) -> Registration {
    let registers = Registers::new(edu.clone());
    registers.reset(|_milliseconds| edu.rest()).expect("it is there and comes to rest");
    let handler = EduInterrupt::new(registers, 1).expect("there is memory");
    MessageBased::new(edu.physical())
        .fall_back_to_line()
        .deferred(Dpc::new(Completion::new(queue.clone())))
        .connect(handler)
        .unwrap_or_else(|error| panic!("{error}"))
}

/// Has the device compute the next request, if there is one and it is free.
fn serve(registration: &Registration, queue: &Queue) {
    if let Some(number) = queue.begin() {
        registration.synchronize(|handler| handler.compute(number));
    }
}

/// A request arrives.
fn submit(registration: &Registration, queue: &Queue, number: u32) {
    queue.insert(number);
    serve(registration, queue);
}

/// Runs `test` while the device computes.
fn with_device(machine: &Machine, interrupt: Device, test: impl FnOnce(&Edu, &Queue)) {
    let (edu, queue) = (Edu::new(machine, interrupt), Queue::new());
    machine.scope(|scope| {
        let _on = edu.switch_on();
        scope.spawn_system_thread(|| edu.compute());
        test(&edu, &queue);
    });
}

/// Each of `numbers` was completed once with its factorial.
fn assert_completed(queue: &Queue, numbers: impl IntoIterator<Item = u32>) {
    let mut completed = queue.completed();
    completed.sort_unstable();
    let expected: Vec<_> = numbers.into_iter().map(|it| (it, factorial(it))).collect();
    assert_eq!((completed, queue.pending()), (expected, 0));
}

#[test]
fn each_request_is_completed_once_with_its_own_result() {
    explore().run(|machine| {
        with_device(machine, machine.device().msi(1).build(), |edu, queue| {
            let registration = start(edu, queue);
            machine.scope(|scope| {
                scope.spawn(1, || (4..=5).for_each(|it| submit(&registration, queue, it)));
                (1..=3).for_each(|it| submit(&registration, queue, it));
            });
            machine.wait_until(|| queue.pending() == 0);
            drop(registration);
            assert_completed(queue, 1..=5);
        });
    });
}

#[test]
fn interrupts_that_say_nothing_new_complete_nothing() {
    explore().run(|machine| {
        with_device(machine, machine.device().line().build(), |edu, queue| {
            let registration = start(edu, queue);
            machine.scope(|scope| {
                scope.spawn(1, || {
                    for bits in [1 << 4, FACTORIAL_COMPLETE, 1 << 5] {
                        registration.synchronize(|handler| handler.raise(bits));
                    }
                });
                (1..=3).for_each(|it| submit(&registration, queue, it));
            });
            machine.wait_until(|| queue.pending() == 0);
            let (handler, _completion) = registration.disconnect().expect("PASSIVE_LEVEL");
            let counters = handler.counters();
            assert_eq!(counters.claimed, counters.line);
            assert_ne!(counters.status_seen & (1 << 4), 0);
            assert_completed(queue, 1..=3);
        });
    });
}

#[test]
fn what_a_stop_interrupts_is_computed_after_the_next_start() {
    let interrupted = explore().run(|machine| {
        let (mut at_stop, interrupt) = (0, machine.device().msi(1).build());
        with_device(machine, interrupt, |edu, queue| {
            let registration = start(edu, queue);
            (1..=3).for_each(|it| submit(&registration, queue, it));
            // STOP, of a device that does not finish in time.
            queue.hold(Hold::STOP);
            drop(registration);
            queue.abandon();
            at_stop = queue.pending();
            edu.model().stop();

            edu.model().start();
            let registration = start(edu, queue);
            queue.release(Hold::STOP);
            serve(&registration, queue);
            machine.wait_until(|| queue.pending() == 0);
            drop(registration);
            assert_completed(queue, 1..=3);
        });
        at_stop > 0
    });
    assert!(with_some(&interrupted, |interrupted| *interrupted), "no stop ever came in the middle");
}

#[test]
fn what_sleep_interrupts_is_computed_after_waking_up() {
    let asleep = explore().run(|machine| {
        let (mut woken, interrupt) = (Woken::WasAwake, machine.device().line().build());
        with_device(machine, interrupt, |edu, queue| {
            let registration = start(edu, queue);
            (1..=3).for_each(|it| submit(&registration, queue, it));
            // D3, of a device that does not finish in time.
            queue.hold(Hold::SLEEP);
            registration.report_inactive();
            registration.synchronize(EduInterrupt::sleep);
            // SAFETY: PASSIVE_LEVEL.
            unsafe { kernel::KeFlushQueuedDpcs() };
            queue.disown();
            edu.set_power(Power::Asleep);

            edu.set_power(Power::On);
            assert!(registration.synchronize(EduInterrupt::wake));
            registration.report_active();
            woken = registration.synchronize(EduInterrupt::take_stock);
            if woken == Woken::AtRest {
                queue.abandon();
            }
            queue.release(Hold::SLEEP);
            serve(&registration, queue);
            machine.wait_until(|| queue.pending() == 0);
            drop(registration);
            assert_completed(queue, 1..=3);
        });
        woken
    });
    for woken in [Woken::Busy, Woken::AtRest] {
        assert!(with_some(&asleep, |it| *it == woken), "never {woken:?}");
    }
}

#[test]
fn a_device_that_is_pulled_out_gives_no_result_and_no_interrupt_is_its_own() {
    let left = explore().run(|machine| {
        let mut left = 0;
        with_device(machine, machine.device().msi(1).build(), |edu, queue| {
            let registration = start(edu, queue);
            machine.scope(|scope| {
                scope.spawn(1, || {
                    (0..machine.choose(100)).for_each(|_| host::point());
                    edu.set_power(Power::Gone);
                });
                (1..=3).for_each(|it| submit(&registration, queue, it));
            });
            let (handler, _completion) = registration.disconnect_removed().expect("PASSIVE_LEVEL");
            assert_eq!(handler.counters().status_seen & !FACTORIAL_COMPLETE, 0);
            assert!(queue.completed().iter().all(|&(it, result)| result == factorial(it)));
            left = queue.pending();
        });
        left
    });
    assert!(with_some(&left, |left| *left > 0), "it was always too late");
}

#[test]
fn an_interrupt_of_another_device_on_the_line_is_not_its_own() {
    let foreign = explore().run(|machine| {
        let mut foreign = 0;
        let other = machine.device().shareable_line().build();
        let interrupt = machine.device().line_shared_with(&other).build();
        with_device(machine, interrupt, |edu, queue| {
            let registration = start(edu, queue);
            machine.scope(|scope| {
                scope.spawn(1, || {
                    for _ in 0..3 {
                        other.raise_line();
                    }
                });
                (1..=2).for_each(|it| submit(&registration, queue, it));
            });
            machine.wait_until(|| queue.pending() == 0);
            let (handler, _completion) = registration.disconnect().expect("PASSIVE_LEVEL");
            assert_completed(queue, 1..=2);
            foreign = handler.counters().not_mine;
        });
        foreign
    });
    assert!(with_some(&foreign, |foreign| *foreign > 0), "none ever came");
}
