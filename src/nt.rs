//! The seam to the kernel: the only place that names the back end.
//!
//! In a driver these items are `wdk-sys`'s bindings of `wdm.h`. Everywhere else they are the same
//! names from `wdm-interrupt-model`, so that tests and documentation need no Windows.

#[cfg(all(windows, not(feature = "model")))]
mod back_end {
    pub(crate) use wdk_sys::{
        _CM_SHARE_DISPOSITION, _EVENT_TYPE, _KDPC_IMPORTANCE, _KINTERRUPT, _KINTERRUPT_MODE,
        _KINTERRUPT_POLARITY, _KWAIT_REASON, _MODE, _WORK_QUEUE_TYPE, BOOLEAN,
        CM_FULL_RESOURCE_DESCRIPTOR, CM_PARTIAL_RESOURCE_DESCRIPTOR, CM_PARTIAL_RESOURCE_LIST,
        CM_RESOURCE_INTERRUPT_LATCHED, CM_RESOURCE_INTERRUPT_MESSAGE, CONNECT_FULLY_SPECIFIED,
        CONNECT_FULLY_SPECIFIED_GROUP, CONNECT_LINE_BASED, CONNECT_MESSAGE_BASED,
        CONNECT_MESSAGE_BASED_PASSIVE, CmResourceTypeDeviceSpecific, CmResourceTypeInterrupt,
        IO_CONNECT_INTERRUPT_FULLY_SPECIFIED_PARAMETERS,
        IO_CONNECT_INTERRUPT_LINE_BASED_PARAMETERS, IO_CONNECT_INTERRUPT_MESSAGE_BASED_PARAMETERS,
        IO_CONNECT_INTERRUPT_PARAMETERS, IO_DISCONNECT_INTERRUPT_PARAMETERS,
        IO_INTERRUPT_MESSAGE_INFO, IO_INTERRUPT_MESSAGE_INFO_ENTRY,
        IO_REPORT_INTERRUPT_ACTIVE_STATE_PARAMETERS, KDPC, KEVENT, KPROCESSOR_MODE, KSPIN_LOCK,
        LARGE_INTEGER, PIO_WORKITEM, PIO_WORKITEM_ROUTINE, PKINTERRUPT, PKMESSAGE_SERVICE_ROUTINE,
        PKSERVICE_ROUTINE, PKSYNCHRONIZE_ROUTINE, POOL_FLAG_NON_PAGED, PROCESSOR_NUMBER, PVOID,
        STATUS_INSUFFICIENT_RESOURCES, STATUS_INVALID_DEVICE_REQUEST, STATUS_INVALID_DEVICE_STATE,
        STATUS_INVALID_PARAMETER, STATUS_INVALID_PARAMETER_1, STATUS_INVALID_PARAMETER_10,
        STATUS_NOT_FOUND, STATUS_NOT_SUPPORTED, STATUS_SUCCESS, STATUS_UNSUCCESSFUL, ULONG,
        ntddk::{
            IoAllocateWorkItem, IoFreeWorkItem, IoQueueWorkItem, IoReportInterruptActive,
            IoReportInterruptInactive, KeEnterCriticalRegion, KeInitializeEvent,
            KeInitializeThreadedDpc, KeLeaveCriticalRegion, KeSetEvent, KeSetImportanceDpc,
            KeSetTargetProcessorDpcEx, KeWaitForSingleObject, PsGetCurrentThreadId,
        },
    };
    pub use wdk_sys::{CM_RESOURCE_LIST, DEVICE_OBJECT, NTSTATUS};
    use wdk_sys::{
        KIRQL, PIO_CONNECT_INTERRUPT_PARAMETERS, PIO_DISCONNECT_INTERRUPT_PARAMETERS,
        PKDEFERRED_ROUTINE, PRKDPC,
    };

    /// Defines calls of kernel routines through their slots in the image's import table, where the
    /// loader has put their addresses. `wdk-sys` declares the routines as if they were linked in,
    /// and so each call of its goes by a jump in between.
    ///
    /// It does not compile with other types than those of `wdk-sys`. What is to be linked is for
    /// `wdk-sys` to say, as ever.
    macro_rules! imported {
        ($(fn $name:ident($($argument:ident: $type:ty),*) $(-> $result:ty)?;)*) => {$(
            #[doc = concat!("`", stringify!($name), "`.")]
            ///
            /// # Safety
            ///
            /// What the routine asks for.
            #[inline]
            #[expect(non_snake_case, reason = "the kernel's name")]
            pub(crate) unsafe fn $name($($argument: $type),*) $(-> $result)? {
                unsafe extern "C" {
                    #[link_name = concat!("__imp_", stringify!($name))]
                    static SLOT: unsafe extern "C" fn($($type),*) $(-> $result)?;
                }
                // SAFETY: filled before the image's first instruction runs, and not changed after.
                let routine = unsafe { SLOT };
                // SAFETY: as the caller promises.
                unsafe { routine($($argument),*) }
            }
            const _: unsafe extern "C" fn($($type),*) $(-> $result)? = wdk_sys::ntddk::$name;
        )*};
    }

    // What is called for an interrupt, and for each connection.
    imported! {
        fn ExAllocatePool2(flags: u64, bytes: u64, tag: ULONG) -> PVOID;
        fn ExFreePoolWithTag(memory: PVOID, tag: ULONG);
        fn IoConnectInterruptEx(parameters: PIO_CONNECT_INTERRUPT_PARAMETERS) -> NTSTATUS;
        fn IoDisconnectInterruptEx(parameters: PIO_DISCONNECT_INTERRUPT_PARAMETERS);
        fn KeFlushQueuedDpcs();
        fn KeGetCurrentIrql() -> KIRQL;
        fn KeInitializeDpc(dpc: PRKDPC, routine: PKDEFERRED_ROUTINE, context: PVOID);
        fn KeInsertQueueDpc(dpc: PRKDPC, first: PVOID, second: PVOID) -> BOOLEAN;
        fn KeRemoveQueueDpc(dpc: PRKDPC) -> BOOLEAN;
        fn KeSynchronizeExecution(
            object: PKINTERRUPT,
            routine: PKSYNCHRONIZE_ROUTINE,
            context: PVOID
        ) -> BOOLEAN;
    }

    /// Defines a routine that the kernel calls, with the kernel's calling convention.
    macro_rules! kernel_routine {
        (
            $(#[$meta:meta])*
            $vis:vis unsafe fn $name:ident[$($generics:tt)*]
            ($($argument:ident: $type:ty),* $(,)?) -> $result:ty $body:block
        ) => {
            $(#[$meta])*
            $vis unsafe extern "C" fn $name<$($generics)*>($($argument: $type),*) -> $result $body
        };
    }
    pub(crate) use kernel_routine;
}

#[cfg(not(all(windows, not(feature = "model"))))]
mod back_end {
    pub use wdm_interrupt_model::nt::{CM_RESOURCE_LIST, DEVICE_OBJECT, NTSTATUS};
    pub(crate) use wdm_interrupt_model::{
        host::kernel::{
            ExAllocatePool2, ExFreePoolWithTag, IoAllocateWorkItem, IoConnectInterruptEx,
            IoDisconnectInterruptEx, IoFreeWorkItem, IoQueueWorkItem, IoReportInterruptActive,
            IoReportInterruptInactive, KeEnterCriticalRegion, KeFlushQueuedDpcs, KeGetCurrentIrql,
            KeInitializeDpc, KeInitializeEvent, KeInitializeThreadedDpc, KeInsertQueueDpc,
            KeLeaveCriticalRegion, KeRemoveQueueDpc, KeSetEvent, KeSetImportanceDpc,
            KeSetTargetProcessorDpcEx, KeSynchronizeExecution, KeWaitForSingleObject,
            PsGetCurrentThreadId,
        },
        nt::{
            _CM_SHARE_DISPOSITION, _EVENT_TYPE, _KDPC_IMPORTANCE, _KINTERRUPT, _KINTERRUPT_MODE,
            _KINTERRUPT_POLARITY, _KWAIT_REASON, _MODE, _WORK_QUEUE_TYPE, BOOLEAN,
            CM_FULL_RESOURCE_DESCRIPTOR, CM_PARTIAL_RESOURCE_DESCRIPTOR, CM_PARTIAL_RESOURCE_LIST,
            CM_RESOURCE_INTERRUPT_LATCHED, CM_RESOURCE_INTERRUPT_MESSAGE, CONNECT_FULLY_SPECIFIED,
            CONNECT_FULLY_SPECIFIED_GROUP, CONNECT_LINE_BASED, CONNECT_MESSAGE_BASED,
            CONNECT_MESSAGE_BASED_PASSIVE, CmResourceTypeDeviceSpecific, CmResourceTypeInterrupt,
            IO_CONNECT_INTERRUPT_FULLY_SPECIFIED_PARAMETERS,
            IO_CONNECT_INTERRUPT_LINE_BASED_PARAMETERS,
            IO_CONNECT_INTERRUPT_MESSAGE_BASED_PARAMETERS, IO_CONNECT_INTERRUPT_PARAMETERS,
            IO_DISCONNECT_INTERRUPT_PARAMETERS, IO_INTERRUPT_MESSAGE_INFO,
            IO_INTERRUPT_MESSAGE_INFO_ENTRY, IO_REPORT_INTERRUPT_ACTIVE_STATE_PARAMETERS, KDPC,
            KEVENT, KPROCESSOR_MODE, KSPIN_LOCK, LARGE_INTEGER, PIO_WORKITEM, PIO_WORKITEM_ROUTINE,
            PKINTERRUPT, PKMESSAGE_SERVICE_ROUTINE, PKSERVICE_ROUTINE, PKSYNCHRONIZE_ROUTINE,
            POOL_FLAG_NON_PAGED, PROCESSOR_NUMBER, PVOID, STATUS_INSUFFICIENT_RESOURCES,
            STATUS_INVALID_DEVICE_REQUEST, STATUS_INVALID_DEVICE_STATE, STATUS_INVALID_PARAMETER,
            STATUS_INVALID_PARAMETER_1, STATUS_INVALID_PARAMETER_10, STATUS_NOT_FOUND,
            STATUS_NOT_SUPPORTED, STATUS_SUCCESS, STATUS_UNSUCCESSFUL, ULONG,
        },
    };

    /// Defines a routine that the kernel calls.
    ///
    /// Here the kernel is the model, through which a failed assertion in a handler may unwind, so
    /// that it fails the test and not the process.
    macro_rules! kernel_routine {
        (
            $(#[$meta:meta])*
            $vis:vis unsafe fn $name:ident[$($generics:tt)*]
            ($($argument:ident: $type:ty),* $(,)?) -> $result:ty $body:block
        ) => {
            $(#[$meta])*
            $vis unsafe extern "C-unwind" fn $name<$($generics)*>(
                $($argument: $type),*
            ) -> $result $body
        };
    }
    pub(crate) use kernel_routine;
}

pub(crate) use back_end::*;

/// Atomics: `core`'s, or those of the exploration of all interleavings, `tests/loom`.
#[cfg(not(wdm_interrupt_loom))]
pub(crate) use core::sync::atomic::{AtomicU8, AtomicU32, AtomicUsize};
#[cfg(wdm_interrupt_loom)]
pub(crate) use wdm_interrupt_model::atomic::{AtomicU8, AtomicU32, AtomicUsize};

/// An interrupt object: opaque, and the kernel's.
///
/// # Examples
///
/// For a routine of the driver's that is written in C:
///
/// ```
#[doc = include_str!("examples/handler.txt")]
#[doc = include_str!("examples/line.txt")]
/// type Dump = unsafe extern "C" fn(*const KINTERRUPT);
/// # unsafe extern "C" fn dump_in_c(object: *const KINTERRUPT) { assert!(!object.is_null()); }
/// # let dump: Dump = dump_in_c;
///
/// let registration = LineBased::new(device).connect(Handler::default())?;
/// // SAFETY: connected as long as the registration is there, and the routine only looks.
/// unsafe { dump(registration.interrupt_object()) };
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub type KINTERRUPT = _KINTERRUPT;

#[doc(no_inline)]
pub use back_end::{CM_RESOURCE_LIST, DEVICE_OBJECT, NTSTATUS};

/// `TRUE` of `ntdef.h`.
pub(crate) const TRUE: BOOLEAN = 1;

/// `FALSE` of `ntdef.h`.
pub(crate) const FALSE: BOOLEAN = 0;

/// `NT_SUCCESS` of `ntdef.h`.
pub(crate) const fn nt_success(status: NTSTATUS) -> bool {
    status >= 0
}
