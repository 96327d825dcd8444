//! What a driver left behind: nothing, or the run ends.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::Driver;
use crate::io::{device, interface, irp, remove_lock};
use crate::kernel::{EXECUTIVE, registers};
use crate::verify::{Rule, broken};

/// Everything that is left, in words.
pub(crate) fn find(driver: &Driver) -> Vec<String> {
    let mut found = Vec::new();
    let left = EXECUTIVE.left_behind();
    if !left.is_empty() {
        found.push(format!("{left}"));
    }
    let counts = [
        (device::count(driver.object()), "device objects"),
        (registers::left(), "mapped registers"),
        (interface::left(), "enabled device interfaces"),
        (irp::left(), "requests"),
        (remove_lock::left(), "holds of remove locks"),
    ];
    found.extend(
        counts
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{count} {what}")),
    );
    found
}

/// The call in which it is noticed.
const CALL: &str = "the driver's unload";

/// Ends the run if a device object of the driver's is left.
pub(crate) fn require_no_devices(driver: &Driver) {
    let left = device::count(driver.object());
    if left > 0 {
        broken(Rule::LeftBehind, CALL, format_args!("{left} device objects"));
    }
}

/// Ends the run if anything is left.
pub(crate) fn require_nothing(driver: &Driver) {
    let found = find(driver);
    // What is the executive's alone it reports itself, with the bug check that Windows has for pool.
    if found.len() == 1 {
        EXECUTIVE.require_nothing_left(CALL);
    }
    if !found.is_empty() {
        broken(Rule::LeftBehind, CALL, format_args!("{}", found.join("; ")));
    }
}
