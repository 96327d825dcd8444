//! The sample's user program, as far as it is not Windows's: its requests, and how it judges the answers.
//!
//! `samples/edu-client` asks and judges here with the code that it asks and judges with on Windows. What the bed
//! puts in is the way between: an IRP instead of `DeviceIoControl`.

use alloc::format;
use alloc::sync::Arc;

use edu_client::{Device, Failure, Round, play};
use wdm_interrupt_model::nt::STATUS_INVALID_PARAMETER;

use super::edu::{Edu, Handle, Outcome, load, on_all_processors, require};
use super::status::Status;
use super::traffic::{finish, with_device};
use super::{Test, test};
use crate::image::Image;
use crate::pnp::resources::Kind;

pub(super) const TESTS: &[Test] = &[
    test!(the_user_programs_requests_are_answered_by_message),
    test!(the_user_programs_requests_are_answered_by_line),
    test!(the_user_programs_requests_from_all_processors_are_answered),
    test!(the_user_program_goes_on_after_its_device_was_removed_and_added),
];

impl Device for Handle {
    type Error = Status;

    fn control(&self, code: u32, input: &[u8], output: &mut [u8]) -> Result<usize, Status> {
        let outcome = self.0.control(code, input, output.len()).wait();
        if outcome.status < 0 {
            return Err(Status(outcome.status));
        }
        // As the I/O manager does for a buffered request: so many bytes as the driver says it wrote.
        let written = outcome.information as usize;
        for (byte, written) in output.iter_mut().zip(outcome.buffer.iter().take(written)) {
            *byte = *written;
        }
        Ok(written)
    }

    fn is_invalid_parameter(error: &Status) -> bool {
        error.0 == STATUS_INVALID_PARAMETER
    }
}

/// A round of the user program's.
fn round(handle: &Handle) -> Outcome<Round> {
    play(handle).map_err(|failure: Failure<Status>| format!("the user program says: {failure}"))
}

/// A round, whose report is said.
fn report(handle: &Handle) -> Outcome {
    let round = round(handle)?;
    for line in format!("{round}").lines() {
        crate::say!("{line}");
    }
    Ok(())
}

fn the_user_programs_requests_are_answered_by_message(image: Image) -> Outcome {
    with_device(image, Kind::Message, |_, handle| report(handle))
}

fn the_user_programs_requests_are_answered_by_line(image: Image) -> Outcome {
    with_device(image, Kind::Line, |_, handle| report(handle))
}

fn the_user_programs_requests_from_all_processors_are_answered(image: Image) -> Outcome {
    let driver = load(image)?;
    let edu = Edu::started(&driver, Kind::Message)?;
    let shared = Arc::new(edu.clone());
    on_all_processors(move |_| {
        // A handle each, as the program's threads have.
        let handle = shared.open()?;
        for _ in 0..5 {
            round(&handle)?;
        }
        handle.0.close();
        Ok(())
    })?;
    finish(driver, &edu)
}

fn the_user_program_goes_on_after_its_device_was_removed_and_added(image: Image) -> Outcome {
    let driver = load(image)?;
    for cycle in 0..10 {
        // What disabling and enabling comes to for a driver: removed, added, started.
        let edu = Edu::started(&driver, if cycle % 2 == 0 { Kind::Message } else { Kind::Line })?;
        let handle = edu.open()?;
        let round = round(&handle)?;
        let before = round.before.computed;
        require!(before == 0, "the driver of the new device has {before} computations behind it");
        handle.0.close();
        let status = Status(edu.node.query_remove());
        require!(status.0 >= 0, "QUERY_REMOVE returned {status}");
        edu.node.remove();
    }
    driver.unload();
    Ok(())
}
