//! Tests in which something goes wrong: interrupts at the worst moment, calls that fail.

use alloc::format;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};

use wdm_interrupt_model::executive::{Call, Fault};
use wdm_interrupt_model::nt::{
    STATUS_INSUFFICIENT_RESOURCES, STATUS_INVALID_DEVICE_REQUEST, STATUS_INVALID_PARAMETER,
    STATUS_INVALID_PARAMETER_1, STATUS_INVALID_PARAMETER_10, STATUS_NOT_FOUND,
    STATUS_NOT_SUPPORTED,
};

use super::e1000e::E1000e;
use super::edu::{Edu, GREATEST, Outcome, load, require};
use super::failures::{During, Walk};
use super::status::Status;
use super::traffic::finish;
use super::{Test, test};
use crate::image::Image;
use crate::kernel::EXECUTIVE;
use crate::pnp::resources::{Choice, Kind};
use crate::{hal, processor, smp, time};

pub(super) const TESTS: &[Test] = &[
    test!(an_interrupt_inside_connect_is_served_by_message),
    test!(an_interrupt_inside_connect_is_served_by_line),
    test!(a_connect_that_fails_fails_the_start_and_leaves_nothing),
    test!(a_connect_that_fails_after_interrupts_leaves_nothing),
    test!(a_connect_that_stores_nothing_fails_the_start),
    test!(an_allocation_that_fails_fails_the_start_and_leaves_nothing),
    test!(a_device_without_an_interrupt_does_not_start),
    test!(a_passive_level_line_fails_the_start_of_a_driver_with_a_spin_lock),
    test!(a_restart_that_fails_leads_to_a_clean_removal),
    test!(each_call_of_a_start_by_message_can_fail_and_leaves_nothing),
    test!(each_call_of_a_start_by_line_can_fail_and_leaves_nothing),
    test!("e1000e", each_call_of_a_start_can_fail_and_leaves_nothing),
];

/// Every status that `IoConnectInterruptEx` is known to fail with.
const STATUSES: [i32; 7] = [
    STATUS_INVALID_DEVICE_REQUEST,
    STATUS_INVALID_PARAMETER,
    STATUS_INVALID_PARAMETER_1,
    STATUS_INVALID_PARAMETER_10,
    STATUS_NOT_FOUND,
    STATUS_INSUFFICIENT_RESOURCES,
    STATUS_NOT_SUPPORTED,
];

/// A bit that neither a factorial nor DMA sets.
const BIT: u32 = 2;

pub(super) fn claimed() -> u64 {
    processor::all().map(|one| one.claimed.load(Ordering::Relaxed)).sum()
}

pub(super) fn deferred() -> u64 {
    processor::all().map(|one| one.deferred.load(Ordering::Relaxed)).sum()
}

/// Raises an interrupt inside every `IoConnectInterruptEx` from now on, and keeps the call from
/// returning until it was served and its deferred routine has run; counts how often both happened.
fn raise_inside_connect(edu: &Edu) -> &'static AtomicU64 {
    static HAPPENED: AtomicU64 = AtomicU64::new(0);
    let edu = edu.clone();
    hal::set_adversary(move |_| {
        let (served, ran) = (claimed(), deferred());
        edu.raise_directly(BIT);
        let end = time::now() + time::microseconds(1_000_000);
        while time::now() < end {
            if claimed() > served && deferred() > ran {
                HAPPENED.fetch_add(1, Ordering::Relaxed);
                return;
            }
            smp::relax_passive();
        }
    });
    &HAPPENED
}

fn an_interrupt_inside_connect_is_served(image: Image, kind: Kind) -> Outcome {
    let driver = load(image)?;
    let edu = Edu::add(&driver, 0)?;
    let happened = raise_inside_connect(&edu);
    edu.start(kind, 5, 1)?;
    let happened = happened.load(Ordering::Relaxed);
    require!(
        happened == 1,
        "the service and deferred routines ran {happened} times before connect returned"
    );
    let handle = edu.open()?;
    handle.wait_for("the deferred half runs for the early interrupt", |one| {
        one.status_seen & BIT != 0 && one.deferred_runs > 0
    })?;
    handle.factorial(GREATEST)?;
    handle.0.close();
    finish(driver, &edu)
}

fn an_interrupt_inside_connect_is_served_by_message(image: Image) -> Outcome {
    an_interrupt_inside_connect_is_served(image, Kind::Message)
}

fn an_interrupt_inside_connect_is_served_by_line(image: Image) -> Outcome {
    an_interrupt_inside_connect_is_served(image, Kind::Line)
}

/// A START that must fail, and the removal that follows.
fn fails_to_start(edu: &Edu, why: &str) -> Outcome<Status> {
    let status = edu.try_start(Kind::Message, 5, 1);
    require!(status.0 < 0, "{why}: START returned {status}");
    edu.node.remove();
    Ok(status)
}

fn every_fault(image: Image, fault: impl Fn(i32) -> Fault, adversary: bool) -> Outcome {
    let driver = load(image)?;
    for expected in STATUSES {
        let edu = Edu::add(&driver, 0)?;
        if adversary {
            raise_inside_connect(&edu);
        }
        EXECUTIVE.fail(Call::IoConnectInterruptEx, 0, fault(expected));
        let name = format!("connect fails with {}", Status(expected));
        fails_to_start(&edu, &name)?;
    }
    driver.unload();
    Ok(())
}

fn a_connect_that_fails_fails_the_start_and_leaves_nothing(image: Image) -> Outcome {
    every_fault(image, Fault::Status, false)
}

fn a_connect_that_fails_after_interrupts_leaves_nothing(image: Image) -> Outcome {
    every_fault(image, Fault::StatusAfterService, true)
}

fn a_connect_that_stores_nothing_fails_the_start(image: Image) -> Outcome {
    let driver = load(image)?;
    for fault in [Fault::WritesNothing, Fault::StoresNull] {
        let edu = Edu::add(&driver, 0)?;
        EXECUTIVE.fail(Call::IoConnectInterruptEx, 0, fault);
        fails_to_start(&edu, "connect succeeds and stores nothing")?;
    }
    driver.unload();
    Ok(())
}

fn an_allocation_that_fails_fails_the_start_and_leaves_nothing(image: Image) -> Outcome {
    let driver = load(image)?;
    for nth in 0..100 {
        let edu = Edu::add(&driver, 0)?;
        EXECUTIVE.fail(Call::ExAllocatePool2, nth, STATUS_INSUFFICIENT_RESOURCES);
        let status = edu.try_start(Kind::Message, 5, 1);
        edu.node.remove();
        if status.0 >= 0 {
            require!(nth > 0, "START does not notice that its first allocation fails");
            driver.unload();
            return Ok(());
        }
    }
    Err("START allocates for ever".into())
}

fn a_device_without_an_interrupt_does_not_start(image: Image) -> Outcome {
    let driver = load(image)?;
    let edu = Edu::add(&driver, 0)?;
    let status = edu.try_start(Kind::Nothing, 5, 1);
    require!(status.0 < 0, "START without an interrupt returned {status}");
    edu.node.remove();
    driver.unload();
    Ok(())
}

fn a_passive_level_line_fails_the_start_of_a_driver_with_a_spin_lock(image: Image) -> Outcome {
    let driver = load(image)?;
    let edu = Edu::add(&driver, 0)?;
    let status = edu.try_start(Kind::PassiveLine, 5, 1);
    require!(status.0 < 0, "START with a passive-level line returned {status}");
    edu.node.remove();
    driver.unload();
    Ok(())
}

fn a_restart_that_fails_leads_to_a_clean_removal(image: Image) -> Outcome {
    let driver = load(image)?;
    let edu = Edu::started(&driver, Kind::Message)?;
    let handle = edu.open()?;
    let query = Status(edu.node.query_stop());
    require!(query.0 >= 0, "QUERY_STOP returned {query}");
    let waiting = handle.send_factorial(GREATEST);
    edu.node.stop();
    EXECUTIVE.fail(Call::IoConnectInterruptEx, 0, STATUS_INSUFFICIENT_RESOURCES);
    let status = edu.try_start(Kind::Message, 6, 2);
    require!(status.0 < 0, "START returned {status}");
    // What Windows does with a started device that does not start again.
    edu.node.surprise_removal();
    let ended = Status(waiting.wait().status);
    require!(ended.0 < 0, "a request that never reached the device ended with {ended}");
    drop(waiting);
    handle.0.close();
    edu.node.remove();
    driver.unload();
    Ok(())
}

/// What both drivers call when they add a device, and when they start it.
const CALLS: [&str; 7] = [
    "IoCreateDevice",
    "IoRegisterDeviceInterface",
    "IoAttachDeviceToDeviceStack",
    "MmMapIoSpaceEx",
    "ExAllocatePool2",
    "IoConnectInterruptEx",
    "IoSetDeviceInterfaceState",
];

/// Requires that all of these are among the calls that can fail: a walk that does not meet them is none.
fn require_calls(during: During, calls: &[&str]) -> Outcome {
    let expected = match during {
        During::FirstStart => &CALLS[..],
        During::Restart => &CALLS[3..],
    };
    let missing = expected.iter().find(|call| !calls.contains(call));
    require!(missing.is_none(), "{missing:?} is not among the calls that can fail: {calls:?}");
    crate::say!("bed: {during:?}: {} calls can fail: {}", calls.len(), calls.join(", "));
    Ok(())
}

fn each_call_of_a_start_can_fail(image: Image, kind: Kind) -> Outcome {
    let driver = load(image)?;
    let function = super::edu::functions().next().ok_or("QEMU has no edu device")?;
    let choice = Choice { kind, irql: 5, processor: 1 % processor::count(), messages: Choice::ALL };
    for during in [During::FirstStart, During::Restart] {
        let walk = Walk { driver: &driver, function: function.clone(), choice, during };
        for &status in during.statuses() {
            let calls = walk.take(None, Fault::Status(status), |node| {
                let handle = Edu { node: Arc::clone(node) }.open()?;
                handle.factorial(GREATEST)?;
                handle.0.close();
                Ok(())
            })?;
            require_calls(during, &calls)?;
        }
    }
    driver.unload();
    Ok(())
}

fn each_call_of_a_start_by_message_can_fail_and_leaves_nothing(image: Image) -> Outcome {
    each_call_of_a_start_can_fail(image, Kind::Message)
}

fn each_call_of_a_start_by_line_can_fail_and_leaves_nothing(image: Image) -> Outcome {
    each_call_of_a_start_can_fail(image, Kind::Line)
}

fn each_call_of_a_start_can_fail_and_leaves_nothing(image: Image) -> Outcome {
    let driver = load(image)?;
    for during in [During::FirstStart, During::Restart] {
        for (&status, messages) in during.statuses().iter().zip([Choice::ALL, 3, 0]) {
            let (function, choice) = (E1000e::function()?, super::e1000e::choice(messages));
            let walk = Walk { driver: &driver, function, choice, during };
            let calls = walk.take(None, Fault::Status(status), |node| {
                let device = E1000e { node: Arc::clone(node) };
                let handle = device.open()?;
                handle.raise_all(device.messages())?;
                handle.0.close();
                Ok(())
            })?;
            require_calls(during, &calls)?;
        }
    }
    driver.unload();
    Ok(())
}
