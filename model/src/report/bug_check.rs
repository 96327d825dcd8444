//! Windows' bug checks, as Microsoft's Bug Check Code Reference documents them.

use core::fmt;

/// A bug check: its code and its four parameters. Parameters that are reserved, or that only Windows
/// has (the address of a thread), are 0.
///
/// See the [Bug Check Code Reference][reference].
///
/// ```
/// use wdm_interrupt_model::report::{BugCheck, Stop};
///
/// // Version 3 was passed to IoDisconnectInterruptEx, and it is not the one that was returned.
/// let bug_check = BugCheck::new(0xCA, [9, 3, 0, 0]);
/// assert_eq!(bug_check.name(), Some("PNP_DETECTED_FATAL_ERROR"));
/// assert_eq!(bug_check.stop(), Stop { code: 0xCA, kind: Some(9) });
/// ```
///
/// [reference]: https://learn.microsoft.com/windows-hardware/drivers/debugger/bug-check-code-reference2
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BugCheck {
    /// Its code.
    pub code: u32,
    /// Its parameters.
    pub parameters: [u64; 4],
}

impl BugCheck {
    /// The bug check of this code, with these parameters.
    #[must_use]
    pub const fn new(code: u32, parameters: [u64; 4]) -> Self {
        Self { code, parameters }
    }

    /// Its name, if it is one of those that reports have.
    #[must_use]
    pub const fn name(self) -> Option<&'static str> {
        self.stop().name()
    }

    /// Its code, and what kind of its violations it is.
    #[must_use]
    pub const fn stop(self) -> Stop {
        let [first, _, _, fourth] = self.parameters;
        let kind = match self.code {
            0xC1 => Some(fourth),
            0xC2 | 0xC4 | 0xC7 | 0xCA | 0xE4 | 0x13B => Some(first),
            _ => None,
        };
        Stop { code: self.code, kind }
    }
}

impl fmt::Display for BugCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, second, third, fourth] = self.parameters;
        write!(
            f,
            "0x{:08X} (0x{first:016X},0x{second:016X},0x{third:016X},0x{fourth:016X})",
            self.code
        )
    }
}

/// A bug check by its code and, where one of its parameters tells kinds of violations apart, by
/// that parameter: the first, or for 0xC1 the fourth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stop {
    /// The code.
    pub code: u32,
    /// The parameter that tells its kinds apart.
    pub kind: Option<u64>,
}

impl Stop {
    /// The code's name, if it is one of those that reports have.
    #[must_use]
    pub const fn name(self) -> Option<&'static str> {
        Some(match self.code {
            0xC1 => "SPECIAL_POOL_DETECTED_MEMORY_CORRUPTION",
            0xC2 => "BAD_POOL_CALLER",
            0xC4 => "DRIVER_VERIFIER_DETECTED_VIOLATION",
            0xC6 => "DRIVER_CAUGHT_MODIFYING_FREED_POOL",
            0xC7 => "TIMER_OR_DPC_INVALID",
            0xCA => "PNP_DETECTED_FATAL_ERROR",
            0xE1 => "WORKER_THREAD_RETURNED_AT_BAD_IRQL",
            0xE4 => "WORKER_INVALID",
            0xF2 => "HARDWARE_INTERRUPT_STORM",
            0x13B => "PASSIVE_INTERRUPT_ERROR",
            _ => return None,
        })
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:X}", self.code)?;
        self.kind.map_or(Ok(()), |kind| write!(f, "/0x{kind:X}"))
    }
}
