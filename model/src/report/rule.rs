//! The rules: what each says, which of the contract's rules it is part of, what Windows makes of a
//! breach. The list of rules and their tests, `RULES.md`, is made from this.

use core::fmt;

use super::Stop;

macro_rules! rules {
    ($(
        $name:ident [$($contract:ident)*]: $text:literal
        $(, verifier [$($verifier:literal)*])?
        $(, stops [$($code:literal $(/ $kind:literal)?)*])?;
    )+) => {
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

            /// The rules of the contract that it is part of, as `docs/contract.md` numbers them.
            #[must_use]
            pub const fn contract(self) -> &'static [&'static str] {
                match self {
                    $(Self::$name => &[$(stringify!($contract),)*],)+
                }
            }

            /// The rules of Driver Verifier's DDI compliance checking and of Static Driver Verifier that
            /// say the same, some of them of older calls only.
            #[must_use]
            pub const fn verifier(self) -> &'static [&'static str] {
                match self {
                    $(Self::$name => &[$($($verifier,)*)?],)+
                }
            }

            /// The bug checks that are documented for breaches of it. A report has one of them, or
            /// none where this breach is not documented to have one.
            #[must_use]
            pub const fn stops(self) -> &'static [Stop] {
                match self {
                    $(Self::$name => {
                        &[$($(Stop { code: $code, kind: rules!(@kind $($kind)?) },)*)?]
                    })+
                }
            }
        }
    };
    (@kind $kind:literal) => { Some($kind) };
    (@kind) => { None };
}

rules! {
    IrqlPassive [C1 D2 D3]: "the call is made at PASSIVE_LEVEL only, and not in a DPC",
        verifier ["IrqlIoPassive2" "IrqlIoPassive4"];
    IrqlDispatch [I3 P4]: "the call is made at DISPATCH_LEVEL at most",
        verifier ["IrqlKeDispatchLte"], stops [0xC4/0x42 0xC4/0x20011];
    IrqlSetEvent [I3]: "KeSetEvent is called at DISPATCH_LEVEL at most, at APC_LEVEL to wait at once",
        verifier ["IrqlKeSetEvent"], stops [0xC4/0x80 0xC4/0x20016];
    IrqlWait [I3 D3]: "a wait with a timeout other than zero is made at APC_LEVEL at most, and not in a DPC",
        stops [0xC4/0x120 0xC4/0x121 0xC4/0x122];
    IrqlPool [I3]: "nonpaged pool is used at DISPATCH_LEVEL at most, paged pool at APC_LEVEL at most",
        verifier ["IrqlExAllocatePool"], stops [0xC4/0x1 0xC4/0x2 0xC4/0x11 0xC4/0x12];
    IrqlOrder [S1]: "KfRaiseIrql raises, KeLowerIrql lowers, and not below what a held lock needs",
        verifier ["IrqlKeRaiseLower"], stops [0xC4/0x30 0xC4/0x31];
    ConnectParameters [C2 C9 C11]: "the parameter block is zeroed and filled from the translated resources";
    PhysicalDevice [C2 P1]: "IoConnectInterruptEx is given the physical device object, not the driver's own",
        stops [0xCA/0x2];
    LineBasedOnce [C10]: "a device's lines are connected line-based once: for several service routines they are fully specified";
    SynchronizeIrqlMember [C7 C8]: "SynchronizeIrql is the Irql, or the highest of those that share the lock";
    SuppliedSpinLock [C8]: "a supplied spin lock is resident and initialised before it is connected";
    ServiceContext [C12 I3]: "the service context is resident when its interrupt is connected";
    MessageTable [C5]: "nobody but the kernel writes to a message table";
    DisconnectVersion [C6 P4]: "Version is the one that the successful IoConnectInterruptEx returned",
        stops [0xCA/0x9];
    InterruptObject [C5 S3 P3]: "an interrupt object, or a connection context, is used only while it is connected";
    DisconnectInside [S3]: "an interrupt is not disconnected from inside its own service routine";
    SynchronizeIrql [S1 S2]: "KeSynchronizeExecution is called at the SynchronizeIrql at most";
    Deadlock [I1 S1 S2]: "a processor does not acquire a lock that it holds, nor two in opposite orders",
        stops [0xC4/0x1000 0xC4/0x1001];
    LockNested [S2]: "KeAcquireInterruptSpinLock is not called with an interrupt's lock held";
    LockOwner [S2]: "a lock is released by the processor that holds it, at the IRQL it is held at",
        verifier ["SpinLock" "IrqlKeReleaseSpinLock"],
        stops [0xC4/0x32 0xC4/0x40 0xC4/0x41 0xC4/0x1007];
    LockOfInterrupt [C8 S1]: "an interrupt's lock is acquired through its interrupt object only",
        stops [0xC4/0x1008];
    LockWord [C8 S2]: "a spin lock is initialised, and nobody but the kernel writes to it in use",
        stops [0xC4/0x1002];
    PassiveInterruptLock [I4]: "a passive interrupt has no spin lock: synchronise with it instead",
        stops [0x13B/0x1];
    IsrState [I1 I3]: "a service routine returns at its IRQL, with the locks it was entered with",
        stops [0xC4/0x111];
    RoutineState [S1]: "a synchronize routine is there, and returns at its IRQL, with the locks it was entered with";
    DpcState [D1 D3]: "a deferred routine returns at its IRQL, with the locks and critical regions it was entered with",
        verifier ["SpinLockDpc"], stops [0xC7/0x4];
    FlushInDpc [D2 D3]: "KeFlushQueuedDpcs is not called in a threaded DPC, which it would wait for";
    DpcInitialised [D1]: "a KDPC is initialised once, before it is used and not while it is queued";
    DpcOverwritten [D1]: "nobody writes to a KDPC while it is queued";
    DpcTarget [D1]: "a DPC's processor and importance are ones that there are",
        stops [0xC7/0x3];
    DpcQueue [D1]: "no more DPCs are queued on a processor than one can wait for";
    Resident [C8 D1 I3]: "a KDPC, an event and a spin lock are in nonpaged memory, and not in freed memory",
        stops [0xC4/0xE1 0xC7/0x1];
    EventInitialised []: "an event is initialised before it is used, where it is used";
    WaitParameters []: "a driver's own wait has the reason Executive, in kernel mode, not alertable";
    WaitEnds []: "what is waited for happens";
    CriticalRegion []: "a critical region is entered and left by a thread, at APC_LEVEL at most",
        verifier ["CriticalRegions" "IrqlKeApcLte2"], stops [0xC4/0x3E 0xC4/0x11A 0xC4/0x11B];
    WorkItemState [D4]: "a work item is queued once at a time, and not freed while it is queued",
        stops [0xE1 0xE4/0x1 0xE4/0x2 0xE4/0x6 0xE4/0x7];
    WorkItemDevice [D4]: "a work item is allocated for a device object of the driver's";
    FreedInUse [C12 D2 S3]: "memory is freed only when no DPC, interrupt, lock or event in it is in use",
        stops [0xC4/0x100B 0xC7/0x1];
    PoolFlags []: "ExAllocatePool2 is given one pool type, a size and a tag",
        stops [0xC2/0x9B 0xC4/0x0];
    PoolTag []: "memory is freed with the tag it was allocated with", stops [0xC2/0xA];
    PoolFree [D2]: "only allocated memory is freed, once, by the address it was given at",
        stops [0xC2/0x7 0xC4/0x10 0xC4/0x16];
    PoolOverrun []: "nothing is written outside an allocation", stops [0xC1/0x23 0xC1/0x24];
    PoolUseAfterFree [D2]: "nothing is written to freed memory", stops [0xC6];
    ResourcesInUse [P2]: "interrupts are disconnected before their resources are taken away",
        verifier ["PnpSurpriseRemove"];
    Storm [C12 I2]: "a device is silent once it was serviced, and before it is disconnected",
        stops [0xF2];
    InactiveInterrupt [P4]: "a device is silent while its interrupt is reported inactive";
    LeftBehind [D2 D4 P2]: "nothing is left behind: pool, interrupts, DPCs, work items",
        stops [0xC4/0x60];
    BugCheck [I3]: "a driver does not bring the system down";
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
