//! Tests that a seed schedules.

use std::{
    env,
    panic::{AssertUnwindSafe, catch_unwind},
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use wdm_interrupt_model::{
    Rule,
    hal::Event as Happened,
    host::{self, Explore, Failure, Machine, Registers, kernel},
    nt::{self, _EVENT_TYPE as Type},
};

use super::raw::{self, Dpc, Event, Service, WorkItem};

/// Counts, and looks at the counter and writes to it in two steps.
fn count(counter: &AtomicU32) {
    let seen = counter.load(Ordering::Relaxed);
    host::point();
    counter.store(seen + 1, Ordering::Relaxed);
}

/// A driver that counts its interrupts, and elsewhere what it did itself.
fn count_on_two_processors(machine: &Machine, with_the_lock: bool) {
    let device = machine.device().line().build();
    let counter = AtomicU32::new(0);
    let service = Service::new(|_| {
        count(&counter);
        true
    });
    let connection = raw::line(&device, &service);
    let object = connection.object().expose_provenance();
    machine.scope(|scope| {
        scope.spawn(1, || {
            device.raise_line();
        });
        if with_the_lock {
            raw::synchronize(std::ptr::with_exposed_provenance_mut(object), || count(&counter));
        } else {
            count(&counter);
        }
    });
    connection.disconnect();
    assert_eq!(counter.load(Ordering::Relaxed), 2, "a count was lost");
}

fn found(seeds: Explore, test: impl Fn(&Machine) + Send + Sync + 'static) -> Failure {
    *seeds.find(test).expect_err("no seed found it")
}

/// Runs all these seeds, whatever the environment says.
fn each<R: Send + 'static>(
    seeds: Explore,
    test: impl Fn(&Machine) -> R + Send + Sync + 'static,
) -> Vec<R> {
    seeds.find(test).unwrap_or_else(|failure| panic!("{failure}"))
}

#[test]
fn a_driver_without_the_lock_is_caught_and_one_with_it_is_not() {
    let failure = found(Explore::seeds(0..200), |machine| count_on_two_processors(machine, false));
    assert!(failure.message().contains("a count was lost"), "{failure}");
    Explore::seeds(0..200).run(|machine| count_on_two_processors(machine, true));
}

#[test]
fn each_way_to_choose_catches_it() {
    for seeds in [Explore::seeds(0..200).uniformly(), Explore::seeds(0..200).by_priorities(1)] {
        let failure = found(seeds, |machine| count_on_two_processors(machine, false));
        assert!(failure.message().contains("a count was lost"), "{failure}");
    }
}

#[test]
fn the_seed_that_failed_fails_again_and_in_the_same_way() {
    let first = found(Explore::seeds(0..200), |machine| count_on_two_processors(machine, false));
    let seed = first.seed();
    let text = first.to_string();
    let this_test = "exploring::the_seed_that_failed_fails_again_and_in_the_same_way";
    let replay = format!("WDM_INTERRUPT_SEED={seed} cargo test {this_test}\n");
    assert!(text.contains(&replay), "{text}");
    assert!(text.contains("IsrEntered"), "{text}");

    let again = found(Explore::seeds(seed..seed + 1), |machine| {
        count_on_two_processors(machine, false);
    });
    assert_eq!((again.steps(), again.records()), (first.steps(), first.records()));
    assert_eq!(again.to_string(), text);
}

#[test]
fn the_environment_says_which_seeds_to_run() {
    for (name, value, runs) in
        [("WDM_INTERRUPT_SEED", "17", 1), ("WDM_INTERRUPT_SEEDS", "12", 12), ("NOTHING", "1", 3)]
    {
        let mut child = Command::new(env::current_exe().unwrap());
        child.env_remove("WDM_INTERRUPT_SEED").env_remove("WDM_INTERRUPT_SEEDS").env(name, value);
        child.args(["--ignored", "--exact", "--nocapture", "exploring::says_how_many_seeds_ran"]);
        let output = String::from_utf8(child.output().unwrap().stdout).unwrap();
        assert!(output.contains(&format!("{runs} seeds ran")), "{name}={value}: {output}");
    }
}

#[test]
#[ignore = "run by the_environment_says_which_seeds_to_run, in a process of its own"]
fn says_how_many_seeds_ran() {
    let ran = Explore::seeds(0..3).run(|_machine| ());
    println!("{} seeds ran", ran.len());
}

/// Everything at once that runs in a thread.
fn all_kinds_of_threads(machine: &Machine) -> Vec<u32> {
    let device = machine.device().messages(2).build();
    let slow = machine.device().passive_line().build();
    let order = Mutex::new(Vec::new());
    let note = |what| order.lock().unwrap().push(what);
    let event = Event::new(Type::SynchronizationEvent);
    let work = WorkItem::new(&device, |_| {
        note(1);
        event.set();
    });
    let threaded = Dpc::threaded(|_, _| note(2));
    let dpc = Dpc::new(|_, _| {
        note(3);
        work.queue();
        threaded.queue();
    });
    let service = Service::new(|message| {
        note(4 + message.unwrap_or(2));
        message == Some(1) || dpc.queue()
    });
    let passive = Service::new(|_| {
        note(7);
        true
    });
    let (connection, other) = (raw::messages(&device, &service), raw::line(&slow, &passive));
    machine.scope(|scope| {
        scope.spawn(1, || {
            device.raise_message(1);
            slow.raise_line();
        });
        scope.spawn_system_thread(|| assert!(!Event::notification().wait_for(5)));
        device.raise_on(2, 0);
        note(8);
        event.wait();
    });
    machine.settle();
    raw::flush();
    connection.disconnect();
    other.disconnect();
    work.free();
    let order = order.lock().unwrap();
    order.clone()
}

#[test]
fn a_seed_is_one_schedule_and_seeds_are_many() {
    let mut orders = each(Explore::seeds(0..60).processors(3).twice(), all_kinds_of_threads);
    for order in &mut orders {
        assert!((1..=8).all(|what| order.contains(&what) || what == 6), "{order:?}");
    }
    orders.sort();
    orders.dedup();
    assert!(orders.len() > 20, "{} different orders", orders.len());
}

#[test]
fn a_test_that_depends_on_something_else_is_found_out() {
    let calls = AtomicU32::new(0);
    let failure = found(Explore::seeds(0..1).twice(), move |_machine| {
        for _ in 0..calls.fetch_add(1, Ordering::Relaxed) {
            host::point();
        }
    });
    assert!(failure.message().contains("was not like the first"), "{failure}");
}

/// A driver that frees the memory of a DPC which an interrupt may have queued just before.
fn free_without_waiting(machine: &Machine, flush: bool) {
    let device = machine.device().line().build();
    let memory = raw::allocate(128);
    let dpc = memory.cast::<nt::KDPC>().expose_provenance();
    let dpc = move || std::ptr::with_exposed_provenance_mut::<nt::KDPC>(dpc);
    nt::nt_fn! {
        unsafe fn nothing(_dpc: *mut nt::KDPC, _context: nt::PVOID, _first: nt::PVOID, _second: nt::PVOID) {}
    }
    // SAFETY: just allocated.
    unsafe { kernel::KeInitializeDpc(dpc(), Some(nothing), std::ptr::null_mut()) };
    let service = Service::new(|_| {
        // SAFETY: initialised above, and freed when the routine can run no more.
        unsafe { kernel::KeInsertQueueDpc(dpc(), std::ptr::null_mut(), std::ptr::null_mut()) };
        true
    });
    let connection = raw::line(&device, &service);
    machine.scope(|scope| {
        scope.spawn(1, || {
            device.raise_line();
        });
        connection.disconnect();
        if flush {
            raw::flush();
        }
        raw::free(memory);
    });
}

#[test]
fn memory_that_is_freed_too_early_is_found_by_a_seed() {
    let failure = found(Explore::seeds(0..200), |machine| free_without_waiting(machine, false));
    assert!(failure.message().contains("broken in ExFreePool"), "{failure}");
    Explore::seeds(0..200).run(|machine| free_without_waiting(machine, true));
}

#[test]
fn a_deadlock_is_reported_with_who_waits_where() {
    let failure = found(Explore::seeds(0..1), |machine| {
        let (one, other) = (Event::notification(), Event::notification());
        machine.scope(|scope| {
            scope.spawn_system_thread(|| {
                one.wait();
                other.set();
            });
            other.wait();
            one.set();
        });
    });
    let message = failure.message();
    assert!(message.starts_with("nobody can go on:\n"), "{message}");
    let waits = ", at IRQL 0, waits in KeWaitForSingleObject";
    assert!(message.contains(&format!("    processor 0{waits}")), "{message}");
    assert!(message.contains("    a system thread, as processor 2, at IRQL 0, waits"), "{message}");
}

#[test]
fn looking_for_what_never_comes_is_a_deadlock() {
    let failure = found(Explore::seeds(0..2), |machine| {
        let status = Registers::new(0);
        machine.wait_until(|| status.access(|status| *status) == 1);
    });
    let message = failure.message();
    assert!(message.starts_with("nobody can go on:\n"), "{message}");
    assert!(message.contains("waits for what the test wants"), "{message}");
}

#[test]
fn locks_that_are_taken_in_two_orders_are_found_by_a_seed() {
    let failure = found(Explore::seeds(0..200), |machine| {
        let locks = [const { std::sync::atomic::AtomicU64::new(0) }; 2];
        let take = |first: usize, second: usize| {
            // SAFETY: the locks stay until both threads are through.
            let irql = unsafe { kernel::KeAcquireSpinLockRaiseToDpc(locks[first].as_ptr()) };
            // SAFETY: as above.
            unsafe { kernel::KeAcquireSpinLockAtDpcLevel(locks[second].as_ptr()) };
            // SAFETY: acquired above.
            unsafe { kernel::KeReleaseSpinLockFromDpcLevel(locks[second].as_ptr()) };
            // SAFETY: as above.
            unsafe { kernel::KeReleaseSpinLock(locks[first].as_ptr(), irql) };
        };
        machine.scope(|scope| {
            scope.spawn(1, || take(1, 0));
            take(0, 1);
        });
    });
    assert!(failure.message().contains("Deadlock broken"), "{failure}");
}

#[test]
fn a_loop_that_does_not_end_is_reported_with_who_runs() {
    let failure = found(Explore::seeds(1..2).steps(2000), |machine| {
        let (status, ready) = (Registers::new(0), AtomicBool::new(false));
        machine.scope(|scope| {
            scope.spawn(1, || {
                raw::at(5, || while status.access(|status| *status) == 0 {});
                ready.store(true, Ordering::Relaxed);
            });
            machine.wait_until(|| ready.load(Ordering::Relaxed));
        });
    });
    let message = failure.message();
    assert!(message.starts_with("after 2000 steps the run has not come to an end:\n"), "{message}");
    assert!(message.contains("    processor 1, at IRQL 5, runs"), "{message}");
    let waits = "    processor 0, at IRQL 0, waits for what the test wants";
    assert!(message.contains(waits), "{message}");
}

#[test]
fn waits_take_no_time_and_end_in_the_order_of_their_timeouts() {
    let begun = Instant::now();
    let orders = Explore::seeds(0..50).run(|machine| {
        let order = Mutex::new(Vec::new());
        machine.scope(|scope| {
            for seconds in [20, 10, 15] {
                let order = &order;
                scope.spawn_system_thread(move || {
                    assert!(!Event::notification().wait_for(seconds * 1000));
                    order.lock().unwrap().push(seconds);
                });
            }
        });
        order.into_inner().unwrap()
    });
    assert!(orders.iter().all(|order| order == &[10, 15, 20]), "{orders:?}");
    assert!(begun.elapsed() < Duration::from_secs(15));
}

#[test]
fn an_idle_processor_runs_its_dpcs_meanwhile() {
    let results = each(Explore::seeds(0..100), |_machine| {
        let (ran, seen) = (AtomicUsize::new(0), AtomicUsize::new(9));
        let dpc = Dpc::new(|_, _| ran.store(1, Ordering::Relaxed));
        dpc.target(1);
        dpc.queue();
        seen.store(ran.load(Ordering::Relaxed), Ordering::Relaxed);
        raw::flush();
        assert_eq!(ran.load(Ordering::Relaxed), 1);
        seen.into_inner()
    });
    assert!(results.contains(&0) && results.contains(&1), "{results:?}");
}

#[test]
fn dpcs_that_are_held_back_stay_so_and_nobody_waits_for_them() {
    Explore::seeds(0..50).processors(2).run(|machine| {
        let ran = AtomicUsize::new(0);
        let dpc = Dpc::new(|_, _| {
            ran.fetch_add(1, Ordering::Relaxed);
        });
        dpc.target(1);
        machine.hold_dpcs(true);
        dpc.queue();
        machine.settle();
        assert_eq!(ran.load(Ordering::Relaxed), 0);
        machine.hold_dpcs(false);
        machine.settle();
        assert_eq!(ran.load(Ordering::Relaxed), 1);
    });
}

#[test]
fn an_interrupt_comes_before_connecting_has_returned_with_some_seeds() {
    let early = each(Explore::seeds(0..200), |machine| {
        let device = machine.device().line().build();
        let (calls, returned) = (AtomicUsize::new(0), AtomicBool::new(false));
        let early = AtomicBool::new(false);
        let service = Service::new(|_| {
            calls.fetch_add(1, Ordering::Relaxed);
            early.store(!returned.load(Ordering::Relaxed), Ordering::Relaxed);
            true
        });
        machine.scope(|scope| {
            scope.spawn(1, || {
                device.raise_line();
            });
            let connection = raw::line(&device, &service);
            returned.store(true, Ordering::Relaxed);
            connection.disconnect();
        });
        early.load(Ordering::Relaxed)
    });
    assert!(early.contains(&true), "never early");
    assert!(early.contains(&false), "always early");
}

#[test]
fn a_panic_in_any_thread_fails_the_seed_with_its_message() {
    let failure = found(Explore::seeds(0..1), |machine| {
        machine.scope(|scope| scope.spawn(1, || panic!("on processor 1")));
    });
    assert!(failure.message().contains("on processor 1"), "{failure}");
    let failure = found(Explore::seeds(0..1), |machine| {
        let device = machine.device().line().build();
        let work = WorkItem::new(&device, |_| panic!("in a work item"));
        work.queue();
        machine.settle();
    });
    assert!(failure.message().contains("in a work item"), "{failure}");
    let failure = found(Explore::seeds(0..1), |_machine| {
        let dpc = Dpc::new(|_, _| panic!("in a DPC"));
        dpc.target(1);
        dpc.queue();
        raw::flush();
    });
    assert!(failure.message().contains("in a DPC"), "{failure}");
}

#[test]
fn a_panic_that_leaves_others_waiting_is_reported_as_both() {
    let failure = found(Explore::seeds(0..1), |machine| {
        let event = Event::notification();
        machine.scope(|scope| {
            scope.spawn_system_thread(|| event.wait());
            panic!("nobody sets the event");
        });
    });
    let message = failure.message();
    assert!(
        message.starts_with("nobody sets the event\n\nAnd then nobody can go on:"),
        "{message}"
    );
}

#[test]
fn a_broken_rule_that_a_test_expects_is_no_failure() {
    let rules = Explore::seeds(0..20).run(|machine| {
        let broken = catch_unwind(AssertUnwindSafe(|| raw::at(2, raw::flush)));
        assert!(broken.is_err());
        machine.violations()
    });
    assert!(rules.iter().all(|rules| rules == &[Rule::IrqlPassive]), "{rules:?}");
}

#[test]
fn what_is_left_behind_fails_a_seed() {
    let failure = found(Explore::seeds(0..1), |_machine| {
        raw::allocate(16);
    });
    assert!(failure.message().contains("left behind"), "{failure}");
}

#[test]
fn the_test_chooses_by_the_seed() {
    let machine = Machine::new(1).enter();
    assert_eq!(machine.choose(5), 0);
    machine.leave();
    let mut choices = each(Explore::seeds(0..50).twice(), |machine| machine.choose(3));
    choices.sort_unstable();
    choices.dedup();
    assert_eq!(choices, [0, 1, 2]);
}

#[test]
fn registers_are_accessed_by_one_at_a_time() {
    Explore::seeds(0..50).run(|machine| {
        let registers = Registers::new(0);
        let slowly = |value: &mut u32| {
            let seen = *value;
            host::point();
            *value = seen + 1;
        };
        machine.scope(|scope| {
            scope.spawn(1, || registers.access(slowly));
            registers.access(slowly);
        });
        assert_eq!(registers.access(|value| *value), 2);
    });
}

#[test]
fn events_tell_the_virtual_time() {
    Explore::seeds(0..1).run(|machine| {
        Event::notification().wait_for(1000);
        let dpc = Dpc::new(|_, _| ());
        dpc.queue();
        let records = machine.trace().records;
        let record = records.iter().find(|it| matches!(it.event, Happened::DpcEntered { .. }));
        let time = Duration::from_nanos(record.unwrap().time);
        assert!(time > Duration::from_secs(1) && time < Duration::from_millis(1001), "{time:?}");
    });
}

#[test]
fn threads_of_other_tests_are_not_in_its_way() {
    let shared = Arc::new(AtomicUsize::new(0));
    let test = Arc::clone(&shared);
    each(Explore::seeds(0..10), move |machine| {
        machine.scope(|scope| {
            scope.spawn(1, || {
                test.fetch_add(1, Ordering::Relaxed);
            });
        });
    });
    assert_eq!(shared.load(Ordering::Relaxed), 10);
}
