//! Tests of a device with several messages: each is its own interrupt, they are served in parallel, there
//! can be fewer of them from START to START, down to a line, and each connect can fail.

use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use e1000e_interface::{CAUSES, message_of};
use wdm_interrupt_model::executive::{Call, Fault};
use wdm_interrupt_model::nt::{
    PowerDeviceD0, PowerDeviceD3, STATUS_DEVICE_NOT_READY, STATUS_INSUFFICIENT_RESOURCES,
    STATUS_NOT_FOUND,
};

use super::e1000e::{E1000e, Handle, choice};
use super::edu::{Outcome, load, require};
use super::faults::{claimed, deferred};
use super::status::Status;
use super::{Test, test};
use crate::image::Image;
use crate::kernel::EXECUTIVE;
use crate::pnp::Driver;
use crate::pnp::resources::{Choice, Kind};
use crate::{hal, processor, smp, time};

pub(super) const TESTS: &[Test] = &[
    test!("e1000e", each_message_is_an_interrupt_of_its_own),
    test!("e1000e", messages_are_served_on_their_processors_at_once),
    test!("e1000e", fewer_messages_and_a_line_serve_every_cause),
    test!("e1000e", a_device_without_messages_is_served_by_its_line),
    test!("e1000e", many_starts_with_other_messages_leave_nothing),
    test!("e1000e", messages_inside_connect_are_served),
    test!("e1000e", messages_on_their_way_when_the_device_goes_leave_nothing),
    test!("e1000e", a_device_that_is_gone_unannounced_is_survived),
    test!("e1000e", a_sleeping_device_interrupts_nobody_and_wakes_up_whole),
    test!("e1000e", each_connect_can_fail_and_leaves_nothing),
    test!("e1000e", a_table_with_more_messages_than_were_assigned_fails_the_start),
    test!("e1000e", a_table_with_fewer_messages_than_were_assigned_serves_every_cause),
    test!("e1000e", each_allocation_can_fail_and_leaves_nothing),
];

/// Starts the driver with all messages, plays, and ends cleanly.
fn with_device(image: Image, play: impl FnOnce(&E1000e, &Handle) -> Outcome) -> Outcome {
    let driver = load(image)?;
    let device = E1000e::started(&driver)?;
    let handle = device.open()?;
    play(&device, &handle)?;
    handle.0.close();
    finish(driver, &device)
}

/// Removes the device in order and unloads the driver; nothing may be left.
fn finish(driver: Driver, device: &E1000e) -> Outcome {
    let status = Status(device.node.query_remove());
    require!(status.0 >= 0, "QUERY_REMOVE returned {status}");
    device.node.remove();
    driver.unload();
    Ok(())
}

/// Raises each cause alone and checks by which message it came, where it was served, and that no other
/// message was counted.
pub(super) fn one_by_one(device: &E1000e, handle: &Handle) -> Outcome<Vec<hal::Served>> {
    let interrupts = device.node.interrupts();
    let mut all = Vec::new();
    for cause in 0..CAUSES {
        let number = message_of(cause, interrupts.len());
        let before = handle.counts()?;
        handle.raise(1 << cause)?;
        let after = handle.wait_for("a cause is served by its message", |counts| {
            counts.messages[number].serviced > before.messages[number].serviced
                && counts.messages[number].deferred_runs > before.messages[number].deferred_runs
        })?;
        let assigned = &interrupts[number];
        let served = served_last(assigned.vector());
        // At PASSIVE_LEVEL a thread of any processor serves it.
        let anywhere = EXECUTIVE.is_passive(assigned.vector());
        require!(
            served.vector == assigned.vector()
                && (anywhere || served.processor == assigned.processor)
                && served.message.is_none_or(|message| message as usize == number),
            "cause {cause} was served as {served:?}, not by message {number}, {assigned}"
        );
        // A message of another may come late and find nothing to do, which is legal.
        for (other, (before, after)) in before.messages.iter().zip(&after.messages).enumerate() {
            require!(
                other == number || before.serviced == after.serviced,
                "cause {cause} was served by message {other}, too: {before:?}, then {after:?}"
            );
        }
        let seen = after.messages[number].processors;
        require!(
            anywhere || seen == 1 << assigned.processor,
            "message {number} is for processor {}, and was served on those in {seen:#b}",
            assigned.processor
        );
        all.push(served);
    }
    Ok(all)
}

/// The last interrupt that was served: after a while that of this vector. At `PASSIVE_LEVEL` the deferred half
/// can run before the service routine has returned.
fn served_last(vector: u32) -> hal::Served {
    let end = time::now() + time::microseconds(1_000_000);
    while hal::last_served().vector != vector && time::now() < end {
        smp::relax_passive();
    }
    hal::last_served()
}

fn each_message_is_an_interrupt_of_its_own(image: Image) -> Outcome {
    with_device(image, |device, handle| {
        let messages = device.messages();
        require!(messages == CAUSES, "the device has {messages} messages");
        for _ in 0..20 {
            one_by_one(device, handle)?;
        }
        Ok(())
    })
}

/// Raises every message at once; gives how many processors served at the same time.
pub(super) fn all_at_once(device: &E1000e, handle: &Handle) -> Outcome<usize> {
    hal::meet(CAUSES.min(processor::count()));
    handle.raise_all(device.messages())?;
    Ok(hal::met())
}

fn messages_are_served_on_their_processors_at_once(image: Image) -> Outcome {
    with_device(image, |device, handle| {
        let expected = CAUSES.min(processor::count());
        let most = all_at_once(device, handle)?;
        require!(
            most == expected,
            "{most} processors were in service routines at once, not {expected}: do the messages have \
             one lock?"
        );
        Ok(())
    })
}

fn fewer_messages_and_a_line_serve_every_cause(image: Image) -> Outcome {
    with_device(image, |device, handle| {
        for messages in [4, 3, 2, 1, 0, 1, CAUSES] {
            device.restart(choice(messages))?;
            let given = device.messages();
            require!(given == messages, "the device was given {given} messages, not {messages}");
            for _ in 0..3 {
                handle.raise_all(messages)?;
            }
        }
        Ok(())
    })
}

fn a_device_without_messages_is_served_by_its_line(image: Image) -> Outcome {
    let driver = load(image)?;
    let device = E1000e::add(&driver)?;
    device.start(Choice { kind: Kind::Line, ..choice(Choice::ALL) })?;
    let handle = device.open()?;
    for _ in 0..10 {
        handle.raise_all(0)?;
    }
    handle.0.close();
    finish(driver, &device)
}

fn many_starts_with_other_messages_leave_nothing(image: Image) -> Outcome {
    with_device(image, |device, handle| {
        for round in 0..30 {
            let messages = 1 + round % CAUSES;
            device.restart(Choice {
                kind: Kind::Message,
                irql: 3 + (round % 10) as u8,
                processor: round % processor::count(),
                messages,
            })?;
            handle.raise_all(messages)?;
        }
        Ok(())
    })
}

/// Has every message of a connect sent inside it, and keeps the call from returning until all were served
/// and a deferred routine has run; counts how often that happened.
fn raise_inside_connect(device: &E1000e) -> Arc<AtomicU64> {
    let happened = Arc::new(AtomicU64::new(0));
    let (device, counter) = (device.clone(), Arc::clone(&happened));
    hal::set_adversary(move |vectors| {
        let (served, ran) = (claimed(), deferred());
        let interrupts = device.node.interrupts();
        let messages = (0..).zip(&interrupts).filter(|(_, one)| vectors.contains(&one.vector()));
        device.raise_directly(messages.map(|(number, _)| number));
        let end = time::now() + time::microseconds(1_000_000);
        while time::now() < end {
            if claimed() >= served + vectors.len() as u64 && deferred() > ran {
                counter.fetch_add(1, Ordering::Relaxed);
                break;
            }
            smp::relax_passive();
        }
        device.silence();
    });
    happened
}

fn messages_inside_connect_are_served(image: Image) -> Outcome {
    let driver = load(image)?;
    let device = E1000e::add(&driver)?;
    let happened = raise_inside_connect(&device);
    device.start(choice(Choice::ALL))?;
    let happened = happened.load(Ordering::Relaxed);
    require!(
        happened > 0,
        "no service and deferred routine ran for each message before connect returned"
    );
    let handle = device.open()?;
    handle.wait_for("the deferred halves run for the early messages", |counts| {
        counts.messages.iter().all(|one| one.serviced > 0 && one.deferred_runs > 0)
    })?;
    handle.raise_all(CAUSES)?;
    handle.0.close();
    finish(driver, &device)
}

fn messages_on_their_way_when_the_device_goes_leave_nothing(image: Image) -> Outcome {
    let driver = load(image)?;
    for _ in 0..10 {
        let device = E1000e::started(&driver)?;
        let handle = device.open()?;
        handle.raise(super::e1000e::ALL)?;
        device.node.unplug();
        device.node.surprise_removal();
        let late = handle.try_raise(1);
        require!(late.0 < 0, "RAISE after the surprise removal returned {late}");
        handle.0.close();
        device.node.remove();
    }
    driver.unload();
    Ok(())
}

fn a_device_that_is_gone_unannounced_is_survived(image: Image) -> Outcome {
    let driver = load(image)?;
    let device = E1000e::started(&driver)?;
    let handle = device.open()?;
    handle.raise_all(CAUSES)?;
    device.node.unplug();
    // Nobody has told the driver: whatever these return, they return.
    handle.try_raise(super::e1000e::ALL);
    drop(handle.counts());
    device.node.surprise_removal();
    handle.0.close();
    device.node.remove();
    driver.unload();
    Ok(())
}

/// Requires that the driver has reported its interrupts active, or inactive.
fn require_active(device: &E1000e, active: bool) -> Outcome {
    for interrupt in device.node.interrupts() {
        let reported = EXECUTIVE.is_active(interrupt.vector());
        require!(
            reported == Some(active),
            "active is {reported:?} of {interrupt}, and must be {active}"
        );
    }
    Ok(())
}

fn a_sleeping_device_interrupts_nobody_and_wakes_up_whole(image: Image) -> Outcome {
    with_device(image, |device, handle| {
        for _ in 0..5 {
            handle.raise_all(CAUSES)?;
            device.node.set_device_power(PowerDeviceD3);
            require_active(device, false)?;
            let asleep = handle.try_raise(1);
            require!(
                asleep.0 == STATUS_DEVICE_NOT_READY,
                "RAISE while the device sleeps returned {asleep}"
            );
            // What was on its way when the device went to sleep was raised before.
            smp::pass_through_all();
            let before = claimed();
            device.raise_directly(0..CAUSES as u32);
            time::stall(5_000);
            smp::pass_through_all();
            device.silence();
            let after = claimed();
            require!(before == after, "{} interrupts were claimed asleep", after - before);
            device.node.set_device_power(PowerDeviceD0);
            require_active(device, true)?;
            handle.raise_all(CAUSES)?;
        }
        Ok(())
    })
}

/// A fault of each connect of a START in turn, until there is no such connect any more.
fn each_connect_can_fail_and_leaves_nothing(image: Image) -> Outcome {
    let driver = load(image)?;
    let faults = [
        Fault::Status(STATUS_INSUFFICIENT_RESOURCES),
        Fault::Status(STATUS_NOT_FOUND),
        Fault::StatusAfterService(STATUS_INSUFFICIENT_RESOURCES),
        Fault::WritesNothing,
        Fault::StoresNull,
    ];
    for nth in 0..=CAUSES {
        for fault in faults {
            let device = E1000e::add(&driver)?;
            raise_inside_connect(&device);
            EXECUTIVE.fail(Call::IoConnectInterruptEx, nth, fault);
            let status = Status(device.node.start(choice(Choice::ALL), |_| ()));
            device.node.remove();
            if status.0 >= 0 {
                require!(nth > 0, "START with {fault:?} returned {status}");
                driver.unload();
                return Ok(());
            }
        }
    }
    Err(format!("START makes more than {CAUSES} connects"))
}

fn a_table_with_more_messages_than_were_assigned_fails_the_start(image: Image) -> Outcome {
    let driver = load(image)?;
    let device = E1000e::add(&driver)?;
    raise_inside_connect(&device);
    EXECUTIVE.fail(Call::IoConnectInterruptEx, 0, Fault::MessageCount(CAUSES as u32 + 1));
    let status = Status(device.node.start(choice(Choice::ALL), |_| ()));
    require!(status.0 < 0, "START returned {status}");
    device.node.remove();
    driver.unload();
    Ok(())
}

fn a_table_with_fewer_messages_than_were_assigned_serves_every_cause(image: Image) -> Outcome {
    let driver = load(image)?;
    for fewer in 1..CAUSES {
        let device = E1000e::add(&driver)?;
        EXECUTIVE.fail(Call::IoConnectInterruptEx, 0, Fault::MessageCount(fewer as u32));
        device.start(choice(Choice::ALL))?;
        let handle = device.open()?;
        for _ in 0..3 {
            handle.raise_all(fewer)?;
        }
        handle.0.close();
        let status = Status(device.node.query_remove());
        require!(status.0 >= 0, "QUERY_REMOVE returned {status}");
        device.node.remove();
    }
    driver.unload();
    Ok(())
}

fn each_allocation_can_fail_and_leaves_nothing(image: Image) -> Outcome {
    let driver = load(image)?;
    for nth in 0..100 {
        let device = E1000e::add(&driver)?;
        EXECUTIVE.fail(Call::ExAllocatePool2, nth, STATUS_INSUFFICIENT_RESOURCES);
        let status = Status(device.node.start(choice(Choice::ALL), |_| ()));
        device.node.remove();
        if status.0 >= 0 {
            require!(nth > 0, "START does not notice that its first allocation fails");
            driver.unload();
            return Ok(());
        }
    }
    Err("START allocates for ever".into())
}
