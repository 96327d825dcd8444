//! Tests with a device that lies: its status never clears, or all of its registers read as ones though it is
//! there and interrupts. The hardware does not lie, so the driver is shown false registers.

use super::edu::{Edu, GREATEST, Handle, Outcome, load, require};
use super::faults::claimed;
use super::proving::wait_until;
use super::traffic::with_device;
use super::{Test, test};
use crate::image::Image;
use crate::kernel::registers::False;
use crate::pnp::resources::Kind;
use crate::time;

pub(super) const TESTS: &[Test] = &[
    test!(a_status_that_never_clears_is_claimed_once_a_message),
    test!(a_result_of_a_device_that_lies_completes_its_request),
    test!(a_device_that_reads_as_all_ones_for_a_while_is_believed_afterwards),
    // These end in a storm, which the caller expects.
    test!("lying", a_status_that_never_clears_is_a_storm_on_a_line),
    test!("lying", a_device_that_reads_as_all_ones_is_a_storm_on_a_line),
];

/// A bit that neither a factorial nor DMA sets, and that of a factorial.
const BIT: u32 = 2;
const FACTORIAL_COMPLETE: u32 = 1;

/// How often the device interrupts while it lies.
const TIMES: u64 = 100;

/// Registers that say that something is raised, whatever is acknowledged.
fn never_clears(bits: u32) -> &'static False {
    const IDENTIFICATION: usize = 0x00;
    const STATUS: usize = 0x24;
    let page = False::new(0);
    page.set(IDENTIFICATION, 0x0100_00ed);
    page.set(STATUS, bits);
    page
}

/// The driver sees its device as it is again, and has to get along with it.
fn tell_the_truth(edu: &Edu, handle: &Handle) -> Outcome {
    edu.node.lie(None);
    edu.acknowledge_directly(u32::MAX);
    handle.factorial(GREATEST)?;
    handle.factorial(GREATEST).map(drop)
}

fn a_status_that_never_clears_is_claimed_once_a_message(image: Image) -> Outcome {
    with_device(image, Kind::Message, |edu, handle| {
        handle.factorial(GREATEST)?;
        let before = handle.statistics()?;
        edu.node.lie(Some(never_clears(BIT)));
        for _ in 0..TIMES {
            let served = claimed();
            edu.raise_directly(BIT);
            wait_until("a message is claimed", || Ok(claimed() > served))?;
        }
        let after = handle
            .wait_for("the deferred half runs", |one| one.deferred_runs > before.deferred_runs)?;
        require!(
            edu.raised() == BIT,
            "what the driver acknowledged has arrived: nobody lied to it"
        );
        let served = after.claimed - before.claimed;
        require!(served == TIMES, "{TIMES} messages were claimed {served} times");
        require!(after.computed == before.computed, "a factorial was delivered that nobody wanted");
        tell_the_truth(edu, handle)
    })
}

fn a_result_of_a_device_that_lies_completes_its_request(image: Image) -> Outcome {
    with_device(image, Kind::Message, |edu, handle| {
        edu.node.lie(Some(never_clears(FACTORIAL_COMPLETE)));
        // The device never hears of it: what says that it is complete is the lie.
        let sent = handle.send_factorial(GREATEST);
        require!(!sent.is_done(), "the request was completed without an interrupt");
        edu.raise_directly(FACTORIAL_COMPLETE);
        let status = super::Status(sent.wait().status);
        require!(status.0 >= 0, "the request ended with {status}");
        require!(edu.raised() != 0, "what the driver acknowledged has arrived: nobody lied to it");
        tell_the_truth(edu, handle)
    })
}

fn a_device_that_reads_as_all_ones_for_a_while_is_believed_afterwards(image: Image) -> Outcome {
    with_device(image, Kind::Message, |edu, handle| {
        handle.factorial(GREATEST)?;
        let before = handle.statistics()?;
        edu.node.lie(Some(False::new(u32::MAX)));
        for _ in 0..TIMES {
            edu.raise_directly(BIT);
            time::stall(100);
        }
        let after =
            handle.wait_for("the messages are nobody's", |one| one.not_mine > before.not_mine)?;
        require!(
            after.claimed == before.claimed,
            "{} interrupts of a device that is not there were claimed",
            after.claimed - before.claimed
        );
        tell_the_truth(edu, handle)
    })
}

/// A line that stays asserted, since what the driver acknowledges does not arrive.
fn storms(image: Image, page: &'static False) -> Outcome {
    let driver = load(image)?;
    let edu = Edu::started(&driver, Kind::Line)?;
    edu.node.lie(Some(page));
    edu.raise_directly(BIT);
    time::stall(20_000_000);
    Err("nobody has noticed the storm".into())
}

fn a_status_that_never_clears_is_a_storm_on_a_line(image: Image) -> Outcome {
    storms(image, never_clears(BIT))
}

fn a_device_that_reads_as_all_ones_is_a_storm_on_a_line(image: Image) -> Outcome {
    storms(image, False::new(u32::MAX))
}
