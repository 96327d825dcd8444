//! Counted UTF-16 strings.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use wdm_interrupt_model::nt::UNICODE_STRING;

/// A string that a driver can be shown.
#[derive(Debug, Clone)]
pub(crate) struct Text(Vec<u16>);

impl Text {
    /// The string, with a terminating zero that does not count.
    pub(crate) fn new(text: &str) -> Self {
        Self(text.encode_utf16().chain([0]).collect())
    }

    /// The string as drivers see it, for ever.
    pub(crate) fn leak(self) -> UNICODE_STRING {
        let units = Box::leak(self.0.into_boxed_slice());
        UNICODE_STRING {
            Length: ((units.len() - 1) * 2) as u16,
            MaximumLength: (units.len() * 2) as u16,
            Buffer: units.as_mut_ptr(),
        }
    }

    /// The code units, with the terminating zero.
    pub(crate) fn units(&self) -> &[u16] {
        &self.0
    }
}

/// Reads a driver's string.
///
/// # Safety
///
/// `text` is NULL or points to a string whose buffer has `Length` bytes.
pub(crate) unsafe fn read(text: *const UNICODE_STRING) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: the caller vouches for the string.
    let text = unsafe { *text };
    if text.Buffer.is_null() {
        return String::new();
    }
    // SAFETY: the caller vouches for the buffer.
    let units = unsafe { core::slice::from_raw_parts(text.Buffer, usize::from(text.Length / 2)) };
    String::from_utf16_lossy(units)
}
