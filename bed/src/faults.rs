//! Faults that the command line asks for: a call that a driver makes is to fail.

use alloc::format;
use alloc::string::String;

use wdm_interrupt_model::nt::{NTSTATUS, STATUS_INSUFFICIENT_RESOURCES};

use crate::exports;
use crate::kernel::EXECUTIVE;

/// `NAME:COUNT:STATUS`: the call of this name fails, after so many of them. Without a status it is
/// `STATUS_INSUFFICIENT_RESOURCES`, without a count it is the first.
///
/// # Errors
///
/// A sentence that says what is wrong with the text.
pub(crate) fn of_a_name(text: &str) -> Result<(), String> {
    let (name, rest) = text.split_once(':').unwrap_or((text, ""));
    let Some(name) = exports::that_can_fail().find(|one| *one == name) else {
        let mut names = String::new();
        for one in exports::that_can_fail() {
            names = names + " " + one;
        }
        return Err(format!("no call named {name:?} can be made to fail; those that can:{names}"));
    };
    let (nth, status) = count_and_status(rest)?;
    EXECUTIVE.fail(name, nth, status);
    Ok(())
}

/// `COUNT:STATUS`: the call fails that comes after so many that can, whatever their names.
///
/// # Errors
///
/// A sentence that says what is wrong with the text.
pub(crate) fn of_a_place(text: &str) -> Result<(), String> {
    let (nth, status) = count_and_status(text)?;
    EXECUTIVE.fail_nth(nth, status);
    Ok(())
}

fn count_and_status(text: &str) -> Result<(usize, NTSTATUS), String> {
    let (count, status) = text.split_once(':').unwrap_or((text, ""));
    let count = match count {
        "" => 0,
        _ => count.parse().map_err(|_| format!("{count:?} is no number of calls"))?,
    };
    let status = match status {
        "" => STATUS_INSUFFICIENT_RESOURCES,
        _ => status
            .strip_prefix("0x")
            .and_then(|digits| u32::from_str_radix(digits, 16).ok())
            .map(u32::cast_signed)
            .ok_or_else(|| format!("{status:?} is no status, as 0xc000009a is one"))?,
    };
    Ok((count, status))
}
