//! The end of a run: QEMU's isa-debug-exit device turns a port write into its exit status.

use x86_64::instructions::port::Port;

const PORT: u16 = 0xf4;

/// How a run ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// All was as it must be. QEMU exits with 33.
    Success,
    /// Something was not. QEMU exits with 35.
    Failure,
}

/// Ends the run.
pub(crate) fn exit(outcome: Outcome) -> ! {
    if outcome == Outcome::Failure {
        crate::scenario::say_what_failed();
    }
    crate::trace::send();
    let code: u32 = match outcome {
        Outcome::Success => 0x10,
        Outcome::Failure => 0x11,
    };
    let mut port = Port::new(PORT);
    // SAFETY: the port belongs to isa-debug-exit; where it is missing the write goes nowhere.
    unsafe { port.write(code) };
    loop {
        x86_64::instructions::hlt();
    }
}

/// Prints why the run cannot go on, and ends it.
#[macro_export]
macro_rules! stop {
    ($($argument:tt)*) => {{
        $crate::serial::print_at_the_end(format_args!("{}\n", format_args!($($argument)*)));
        $crate::qemu::exit($crate::qemu::Outcome::Failure)
    }};
}
