//! The calls of the kernel: those that can fail, and those that cannot.

use core::{error, fmt, str::FromStr};

use crate::nt::{
    NTSTATUS, STATUS_INSUFFICIENT_RESOURCES, STATUS_INVALID_DEVICE_REQUEST,
    STATUS_INVALID_PARAMETER, STATUS_INVALID_PARAMETER_1, STATUS_INVALID_PARAMETER_10,
    STATUS_NOT_FOUND, STATUS_NOT_SUPPORTED, STATUS_TIMEOUT,
};

/// A call that can be made to fail: each of the model's whose result can say that it failed.
/// [`CANNOT_FAIL`] has the others.
///
/// It is written as its name:
///
/// ```
/// use wdm_interrupt_model::executive::Call;
///
/// let call: Call = "IoConnectInterruptEx".parse()?;
/// assert_eq!(call, Call::IoConnectInterruptEx);
/// assert_eq!(call.to_string(), "IoConnectInterruptEx");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Call {
    /// Which then returns NULL.
    ExAllocatePool2,
    /// Which then returns NULL.
    IoAllocateWorkItem,
    /// Which then does what the [`Fault`](super::Fault) says.
    IoConnectInterruptEx,
    /// Which then returns the status, and leaves the DPC as it was.
    KeSetTargetProcessorDpcEx,
    /// With a timeout, 0 included: it then returns the status at once, and the event is as it was.
    ///
    /// Without a timeout a wait in kernel mode that is not alertable ends when the object is signalled
    /// and not otherwise, so it cannot fail, and is not counted.
    KeWaitForSingleObject,
}

impl Call {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::ExAllocatePool2,
        Self::IoAllocateWorkItem,
        Self::IoConnectInterruptEx,
        Self::KeSetTargetProcessorDpcEx,
        Self::KeWaitForSingleObject,
    ];

    /// The kernel's name for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ExAllocatePool2 => "ExAllocatePool2",
            Self::IoAllocateWorkItem => "IoAllocateWorkItem",
            Self::IoConnectInterruptEx => "IoConnectInterruptEx",
            Self::KeSetTargetProcessorDpcEx => "KeSetTargetProcessorDpcEx",
            Self::KeWaitForSingleObject => "KeWaitForSingleObject",
        }
    }

    /// The statuses by which its documentation lets it not do what it is called for; none for a
    /// call that returns NULL instead.
    ///
    /// ```
    /// use wdm_interrupt_model::{executive::Call, nt};
    ///
    /// assert!(Call::IoConnectInterruptEx.statuses().contains(&nt::STATUS_NOT_FOUND));
    /// assert!(Call::ExAllocatePool2.statuses().is_empty());
    /// ```
    #[must_use]
    pub const fn statuses(self) -> &'static [NTSTATUS] {
        match self {
            Self::ExAllocatePool2 | Self::IoAllocateWorkItem => &[],
            Self::IoConnectInterruptEx => &[
                STATUS_INVALID_DEVICE_REQUEST,
                STATUS_INVALID_PARAMETER,
                STATUS_INVALID_PARAMETER_1,
                STATUS_INVALID_PARAMETER_10,
                STATUS_NOT_FOUND,
                STATUS_INSUFFICIENT_RESOURCES,
                STATUS_NOT_SUPPORTED,
            ],
            Self::KeSetTargetProcessorDpcEx => &[STATUS_INVALID_PARAMETER],
            Self::KeWaitForSingleObject => &[STATUS_TIMEOUT],
        }
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl From<Call> for &'static str {
    fn from(call: Call) -> Self {
        call.name()
    }
}

impl FromStr for Call {
    type Err = UnknownCall;

    fn from_str(name: &str) -> Result<Self, UnknownCall> {
        Self::ALL.into_iter().find(|call| call.name() == name).ok_or(UnknownCall)
    }
}

/// No call of this name can be made to fail.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct UnknownCall;

impl fmt::Display for UnknownCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no call of this name can fail; those that can are")?;
        Call::ALL.iter().try_for_each(|call| write!(f, " {call}"))
    }
}

impl error::Error for UnknownCall {}

/// It returns nothing, so there is nothing by which it could say that it failed.
const VOID: &str = "it returns nothing";

/// The model's calls that cannot fail, each with the reason.
///
/// ```
/// use wdm_interrupt_model::executive::{CANNOT_FAIL, Call};
///
/// // Every call is one or the other.
/// assert!(Call::ALL.iter().all(|call| CANNOT_FAIL.iter().all(|(name, _)| *name != call.name())));
/// ```
pub const CANNOT_FAIL: &[(&str, &str)] = &[
    ("ExFreePool", VOID),
    ("ExFreePoolWithTag", VOID),
    ("IoDisconnectInterruptEx", VOID),
    ("IoFreeWorkItem", VOID),
    ("IoQueueWorkItem", VOID),
    ("IoReportInterruptActive", VOID),
    ("IoReportInterruptInactive", VOID),
    ("KeAcquireInterruptSpinLock", "what it returns is the IRQL before"),
    ("KeAcquireSpinLockAtDpcLevel", VOID),
    ("KeAcquireSpinLockRaiseToDpc", "what it returns is the IRQL before"),
    ("KeBugCheckEx", "it does not return"),
    ("KeClearEvent", VOID),
    ("KeEnterCriticalRegion", VOID),
    ("KeFlushQueuedDpcs", VOID),
    ("KeGetCurrentIrql", "what it returns is the IRQL"),
    ("KeInitializeDpc", VOID),
    ("KeInitializeEvent", VOID),
    ("KeInitializeThreadedDpc", VOID),
    ("KeInsertQueueDpc", "FALSE says that the DPC is queued already, which is as good"),
    ("KeLeaveCriticalRegion", VOID),
    ("KeLowerIrql", VOID),
    ("KeReadStateEvent", "what it returns is the event's state"),
    ("KeReleaseInterruptSpinLock", VOID),
    ("KeReleaseSpinLock", VOID),
    ("KeReleaseSpinLockFromDpcLevel", VOID),
    ("KeRemoveQueueDpc", "FALSE says that the DPC was not queued, which is as good"),
    ("KeSetEvent", "what it returns is the event's state before"),
    ("KeSetImportanceDpc", VOID),
    ("KeSetTargetProcessorDpc", VOID),
    ("KeSynchronizeExecution", "what it returns is what the driver's routine returned"),
    ("KfRaiseIrql", "what it returns is the IRQL before"),
    ("PsGetCurrentThreadId", "what it returns is the thread's number"),
];
