//! The rules that the verifier checks, and the report of a broken one.

use core::fmt;

/// A broken rule, as the verifier saw it.
#[derive(Clone, Copy, Debug)]
pub struct Report<'a> {
    /// The rule.
    pub rule: Rule,
    /// The kernel call in which it was found broken.
    pub call: &'a str,
    /// The processor that made the call. On the host those of system threads come after the
    /// machine's own.
    pub processor: usize,
    /// That processor's IRQL.
    pub irql: u8,
    /// What exactly was wrong.
    pub detail: fmt::Arguments<'a>,
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} broken in {} on processor {} at IRQL {}: {}. The rule: {}",
            self.rule,
            self.call,
            self.processor,
            self.irql,
            self.detail,
            self.rule.text(),
        )?;
        if let Some(name) = self.rule.known_as() {
            write!(f, " (Windows: {name})")?;
        }
        Ok(())
    }
}

macro_rules! rules {
    ($($name:ident: $text:literal $(, $known_as:literal)?;)+) => {
        /// A rule of the kernel's contract for interrupts.
        #[expect(clippy::doc_markdown, reason = "the same text is shown in reports")]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Rule {
            $(#[doc = $text] $name,)+
        }

        impl Rule {
            /// Every rule there is.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The rule's name, as reports show it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)+
                }
            }

            /// The rule in a sentence.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)+
                }
            }

            /// What Windows or its Driver Verifier calls a breach of it: a bug check or a rule.
            #[must_use]
            pub const fn known_as(self) -> Option<&'static str> {
                match self {
                    $(Self::$name => rules!(@known $($known_as)?),)+
                }
            }
        }
    };
    (@known $known_as:literal) => { Some($known_as) };
    (@known) => { None };
}

rules! {
    IrqlPassive: "the call is made at PASSIVE_LEVEL only", "IrqlIoPassive2";
    IrqlDispatch: "the call is made at DISPATCH_LEVEL at most", "IrqlKeDispatchLte";
    IrqlSetEvent: "KeSetEvent is called at DISPATCH_LEVEL at most", "IrqlKeSetEvent";
    IrqlWait: "a wait with a timeout other than zero is made at APC_LEVEL at most, and not in a DPC";
    IrqlPool: "nonpaged pool is used at DISPATCH_LEVEL at most, paged pool at APC_LEVEL at most",
        "IrqlExAllocatePool";
    IrqlOrder: "KfRaiseIrql raises, KeLowerIrql lowers, and not below what a held lock needs",
        "SpinLock";
    ConnectParameters: "the parameter block is zeroed and filled from the translated resources";
    PhysicalDevice: "IoConnectInterruptEx is given the physical device object, not the driver's own";
    SynchronizeIrqlMember: "SynchronizeIrql of a fully specified interrupt is at least its Irql";
    SuppliedSpinLock: "a supplied spin lock is resident and initialised before it is connected";
    ServiceContext: "the service context is resident when its interrupt is connected";
    DisconnectVersion: "Version is the one that the successful IoConnectInterruptEx returned",
        "0xCA, parameter 9";
    InterruptObject: "an interrupt object is used only while it is connected";
    DisconnectInside: "an interrupt is not disconnected from inside its own service routine";
    SynchronizeIrql: "KeSynchronizeExecution is called at the SynchronizeIrql at most";
    Deadlock: "a processor does not acquire a lock that it holds, nor two in opposite orders",
        "0xC4, 0x1001";
    LockNested: "KeAcquireInterruptSpinLock is not called with an interrupt's lock held";
    LockOwner: "a lock is released by the processor that holds it, at the IRQL it is held at",
        "SpinLock";
    LockOfInterrupt: "an interrupt's lock is acquired through its interrupt object only";
    LockWord: "nobody but the kernel writes to a spin lock in use";
    PassiveInterruptLock: "a passive interrupt has no spin lock: synchronise with it instead",
        "0x13B";
    IsrState: "a service routine returns at its IRQL, with the locks it was entered with",
        "0xC4, 0x110 and 0x111; 0xC8";
    RoutineState: "a synchronize routine returns at its IRQL, with the locks it was entered with";
    DpcState: "a deferred routine returns at its IRQL, with the locks it was entered with", "SpinLockDpc, 0xC7";
    FlushInDpc: "KeFlushQueuedDpcs is not called in a threaded DPC, which it would wait for";
    DpcInitialised: "a KDPC is initialised once, before it is used and not while it is queued";
    DpcOverwritten: "nobody writes to a KDPC while it is queued";
    EventInitialised: "an event is initialised before it is used, where it is used";
    WaitParameters: "a driver's own wait has the reason Executive, in kernel mode, not alertable";
    WaitEnds: "what is waited for happens";
    CriticalRegion: "a critical region is entered and left by a thread, at APC_LEVEL at most";
    WorkItemState: "a work item is queued once at a time, and not freed while it is queued";
    WorkItemDevice: "a work item is allocated for a device object of the driver's";
    FreedInUse: "memory is freed only when no DPC, interrupt, lock or event in it is in use", "0xC7";
    PoolFlags: "ExAllocatePool2 is given one pool type, a size and a tag";
    PoolTag: "memory is freed with the tag it was allocated with", "0xC2, 0xA";
    PoolFree: "only allocated memory is freed, once, by the address it was given at", "0xC2, 0x7";
    PoolOverrun: "nothing is written outside an allocation", "0x19, BAD_POOL_HEADER";
    PoolUseAfterFree: "nothing is written to freed memory", "0xC5, special pool";
    ResourcesInUse: "interrupts are disconnected before their resources are taken away",
        "PnpSurpriseRemove";
    Storm: "a device is silent once it was serviced, and before it is disconnected", "0xF2";
    InactiveInterrupt: "a device is silent while its interrupt is reported inactive";
    LeftBehind: "nothing is left behind: pool, interrupts, DPCs, work items", "0xC4, 0x62; 0xC7";
    BugCheck: "a driver does not bring the system down";
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
