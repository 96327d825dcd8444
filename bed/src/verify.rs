//! The rules of the I/O manager's calls, and the report of a broken one: the same form as the model's
//! report of the rules of interrupts. A broken rule ends the run.

use core::fmt;

use crate::{irql, processor};

macro_rules! rules {
    ($($name:ident: $text:literal;)+) => {
        /// A rule of the I/O manager's contract.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Rule {
            $(#[doc = $text] $name,)+
        }

        impl Rule {
            const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)+
                }
            }

            const fn text(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)+
                }
            }
        }
    };
}

rules! {
    Irql: "each kernel call has a highest IRQL";
    IrpCompletion: "an IRP is completed once, by who has it, with a final status";
    IrpPending: "`STATUS_PENDING` is returned exactly when the IRP was marked pending";
    IrpStack: "an IRP is passed down only with a stack location for the lower driver";
    IrpCancel: "an IRP has no cancel routine when it is completed or passed down";
    IrpFreed: "nobody writes to an IRP that is gone";
    DispatchState: "a dispatch routine returns at the IRQL it was called at";
    DeviceObject: "a device object is detached before it is deleted, and deleted once";
    DeviceInitializing: "`AddDevice` clears `DO_DEVICE_INITIALIZING`";
    RemoveLock: "a remove lock is released as often as it is acquired, with the same tag";
    Wait: "a wait with a timeout other than zero is made at `APC_LEVEL` at most";
    Unmapped: "what is unmapped was mapped, at the same address and length";
    LeftBehind: "a removed device and an unloaded driver leave nothing behind";
    PnpStatus: "a PnP or power request that must succeed does";
}

/// Ends the run with the rule that was broken, the call, and the processor.
pub(crate) fn broken(rule: Rule, call: &str, detail: fmt::Arguments<'_>) -> ! {
    crate::stop!(
        "\n{} broken in {call} on processor {} at IRQL {}: {detail}\n  the rule: {}",
        rule.name(),
        processor::current().number(),
        irql::current(),
        rule.text(),
    )
}

/// Checks that a call is made at this IRQL at most.
pub(crate) fn at_most(irql: u8, call: &str) {
    let current = irql::current();
    if current > irql {
        broken(Rule::Irql, call, format_args!("it is legal up to IRQL {irql}"));
    }
}
