//! Tests of requests: computed, queued, cancelled, refused, from all processors.

use alloc::sync::Arc;
use alloc::vec::Vec;

use edu_interface::{Connection, FACTORIAL, RAISE, RaiseRequest, STATISTICS, Statistics};
use wdm_interrupt_model::nt::{
    NTSTATUS, STATUS_BUFFER_TOO_SMALL, STATUS_CANCELLED, STATUS_INVALID_BUFFER_SIZE,
    STATUS_INVALID_DEVICE_REQUEST, STATUS_INVALID_PARAMETER,
};

use super::edu::{
    Edu, FREE_BITS, GREATEST, Handle, Outcome, check_factorial, load, on_all_processors, require,
};
use super::status::Status;
use super::{Test, test};
use crate::image::Image;
use crate::pnp::Driver;
use crate::pnp::resources::Kind;

pub(super) const TESTS: &[Test] = &[
    test!(factorials_are_right_by_message),
    test!(factorials_are_right_by_line),
    test!(requests_from_all_processors_are_served),
    test!(many_queued_requests_are_all_computed),
    test!(cancelled_requests_end_cancelled_and_the_rest_is_right),
    test!(closing_a_file_cancels_what_it_has_pending),
    test!(raised_bits_reach_the_service_routine),
    test!(bad_input_gets_a_status_and_changes_nothing),
];

/// Starts the driver on the first device, plays, and ends cleanly.
pub(super) fn with_device(
    image: Image,
    kind: Kind,
    play: impl FnOnce(&Edu, &Handle) -> Outcome,
) -> Outcome {
    let driver = load(image)?;
    let edu = Edu::started(&driver, kind)?;
    let handle = edu.open()?;
    play(&edu, &handle)?;
    handle.0.close();
    finish(driver, &edu)
}

/// Removes a device in order and unloads its driver; nothing may be left.
pub(super) fn finish(driver: Driver, edu: &Edu) -> Outcome {
    let status = Status(edu.node.query_remove());
    require!(status.0 >= 0, "QUERY_REMOVE returned {status}");
    edu.node.remove();
    driver.unload();
    Ok(())
}

fn all_factorials(handle: &Handle) -> Outcome<Statistics> {
    let before = handle.statistics()?;
    for number in 0..=GREATEST {
        handle.factorial(number)?;
    }
    let after = handle.statistics()?;
    let computed = after.computed - before.computed;
    require!(computed == u64::from(GREATEST) + 1, "the driver counted {computed} computations");
    require!(
        after.claimed - before.claimed >= computed,
        "{computed} computations in {} interrupts",
        after.claimed - before.claimed
    );
    Ok(after)
}

fn factorials_are_right_by_message(image: Image) -> Outcome {
    with_device(image, Kind::Message, |_, handle| {
        let statistics = all_factorials(handle)?;
        let connection = statistics.connection;
        require!(connection == Connection::Messages(1), "it is connected by {connection:?}");
        require!(statistics.messages[0] == statistics.claimed, "not all came by message 0");
        Ok(())
    })
}

fn factorials_are_right_by_line(image: Image) -> Outcome {
    with_device(image, Kind::Line, |_, handle| {
        let statistics = all_factorials(handle)?;
        let connection = statistics.connection;
        require!(connection == Connection::Line, "it is connected by {connection:?}");
        require!(statistics.line == statistics.claimed, "not all came by the line");
        Ok(())
    })
}

fn requests_from_all_processors_are_served(image: Image) -> Outcome {
    let driver = load(image)?;
    let edu = Edu::started(&driver, Kind::Message)?;
    let handle = Arc::new(edu.open()?);
    let shared = Arc::clone(&handle);
    on_all_processors(move |number| {
        for round in 0..25 {
            shared.factorial((round + number as u32) % (GREATEST + 1))?;
        }
        Ok(())
    })?;
    let handle = Arc::into_inner(handle).ok_or("a processor still has the handle")?;
    handle.0.close();
    finish(driver, &edu)
}

fn many_queued_requests_are_all_computed(image: Image) -> Outcome {
    with_device(image, Kind::Message, |_, handle| {
        let sent: Vec<_> = (0..200)
            .map(|index| index % (GREATEST + 1))
            .map(|number| (number, handle.send_factorial(number)))
            .collect();
        for (number, sent) in &sent {
            check_factorial(*number, sent)?;
        }
        let pending = handle.statistics()?.pending;
        require!(pending == 0, "the driver counts {pending} pending requests");
        Ok(())
    })
}

fn cancelled_requests_end_cancelled_and_the_rest_is_right(image: Image) -> Outcome {
    with_device(image, Kind::Message, |_, handle| {
        let mut cancelled = 0;
        for _ in 0..20 {
            let sent: Vec<_> =
                (0..10).map(|number| (number, handle.send_factorial(number))).collect();
            // The first one may be in the device by now, the others are queued.
            for (_, sent) in sent.iter().step_by(2) {
                sent.cancel();
            }
            for (index, (number, sent)) in sent.iter().enumerate() {
                let status = Status(sent.wait().status);
                if index % 2 == 0 && status.0 == STATUS_CANCELLED {
                    cancelled += 1;
                } else {
                    check_factorial(*number, sent)?;
                }
            }
        }
        require!(cancelled > 0, "not one of 100 requests could be cancelled");
        let counted = handle.statistics()?.cancelled;
        require!(counted == cancelled, "{cancelled} were cancelled, the driver counted {counted}");
        handle.factorial(GREATEST).map(drop)
    })
}

fn closing_a_file_cancels_what_it_has_pending(image: Image) -> Outcome {
    with_device(image, Kind::Message, |edu, handle| {
        let mut other = edu.open()?;
        // A device about to be stopped begins nothing, so these are certain to be pending.
        let status = Status(edu.node.query_stop());
        require!(status.0 >= 0, "QUERY_STOP returned {status}");
        let sent: Vec<_> = (0..50).map(|_| other.send_factorial(GREATEST)).collect();
        let kept = handle.send_factorial(7);
        other.0.cleanup();
        for sent in sent {
            let status = Status(sent.wait().status);
            require!(
                status.0 == STATUS_CANCELLED,
                "a request of the closed file ended with {status}"
            );
        }
        require!(!kept.is_done(), "a request of another file was completed, too");
        edu.node.cancel_stop();
        check_factorial(7, &kept)?;
        other.0.close();
        Ok(())
    })
}

fn raised_bits_reach_the_service_routine(image: Image) -> Outcome {
    with_device(image, Kind::Message, |_, handle| {
        for bit in (0..32).map(|bit| 1 << bit).filter(|bit| bit & FREE_BITS != 0) {
            let status = handle.raise(bit);
            require!(status.0 == 0, "RAISE of {bit:#x} returned {status}");
            handle
                .wait_for("a raised bit is seen", |statistics| statistics.status_seen & bit != 0)?;
        }
        handle.factorial(GREATEST).map(drop)
    })
}

fn bad_input_gets_a_status_and_changes_nothing(image: Image) -> Outcome {
    const EIGHT: usize = 8;
    const TABLE: &[(&str, u32, &[u8], usize, NTSTATUS)] = &[
        ("FACTORIAL without input", FACTORIAL, &[], EIGHT, STATUS_INVALID_BUFFER_SIZE),
        ("FACTORIAL, input a byte short", FACTORIAL, &[1, 0, 0], EIGHT, STATUS_INVALID_BUFFER_SIZE),
        ("FACTORIAL without output", FACTORIAL, &[1, 0, 0, 0], 0, STATUS_BUFFER_TOO_SMALL),
        ("FACTORIAL, output a byte short", FACTORIAL, &[1, 0, 0, 0], 7, STATUS_BUFFER_TOO_SMALL),
        ("FACTORIAL of 13", FACTORIAL, &[13, 0, 0, 0], EIGHT, STATUS_INVALID_PARAMETER),
        ("FACTORIAL of 2^32 - 1", FACTORIAL, &[0xff; 4], EIGHT, STATUS_INVALID_PARAMETER),
        ("RAISE without input", RAISE, &[], 0, STATUS_INVALID_BUFFER_SIZE),
        ("RAISE of nothing", RAISE, &[0; 4], 0, STATUS_INVALID_PARAMETER),
        ("RAISE of bit 0", RAISE, &[1, 0, 0, 0], 0, STATUS_INVALID_PARAMETER),
        ("RAISE of bit 8", RAISE, &[0, 1, 0, 0], 0, STATUS_INVALID_PARAMETER),
        ("RAISE of bits 1 and 8", RAISE, &[2, 1, 0, 0], 0, STATUS_INVALID_PARAMETER),
        ("STATISTICS without output", STATISTICS, &[], 0, STATUS_BUFFER_TOO_SMALL),
        (
            "STATISTICS, output short",
            STATISTICS,
            &[],
            Statistics::SIZE - 1,
            STATUS_BUFFER_TOO_SMALL,
        ),
        ("code 0", 0, &[], 0, STATUS_INVALID_DEVICE_REQUEST),
        ("another method", FACTORIAL | 3, &[1, 0, 0, 0], EIGHT, STATUS_INVALID_DEVICE_REQUEST),
        ("a code beyond the last", STATISTICS + 4, &[0; 64], 64, STATUS_INVALID_DEVICE_REQUEST),
    ];
    const { assert!(RaiseRequest::RESERVED == 0x101) };
    with_device(image, Kind::Message, |_, handle| {
        handle.factorial(5)?;
        let before = handle.statistics()?;
        for (what, code, input, output_length, expected) in TABLE {
            let outcome = handle.0.control(*code, input, *output_length).wait();
            let (status, expected) = (Status(outcome.status), Status(*expected));
            require!(status == expected, "{what}: {status}, not {expected}");
            require!(outcome.information == 0, "{what}: says that it wrote output");
            let written = outcome.buffer.iter().skip(input.len()).any(|byte| *byte != 0xa5);
            require!(!written, "{what}: wrote output");
        }
        let after = handle.statistics()?;
        require!(before == after, "bad input changed {before:?} to {after:?}");
        handle.factorial(GREATEST).map(drop)
    })
}
