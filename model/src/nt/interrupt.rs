//! What `IoConnectInterruptEx` and `IoDisconnectInterruptEx` take and give.

use core::{marker::PhantomData, mem::offset_of};

use super::{
    BOOLEAN, DEVICE_OBJECT, KAFFINITY, KIRQL, PHYSICAL_ADDRESS, PKSPIN_LOCK, PVOID, ULONG, USHORT,
    zeroed_default,
};

pub const CONNECT_FULLY_SPECIFIED: u32 = 1;
pub const CONNECT_LINE_BASED: u32 = 2;
pub const CONNECT_MESSAGE_BASED: u32 = 3;
pub const CONNECT_FULLY_SPECIFIED_GROUP: u32 = 4;
pub const CONNECT_MESSAGE_BASED_PASSIVE: u32 = 5;

/// An interrupt object: the kernel's own, known by its address only.
#[repr(C)]
pub struct _KINTERRUPT {
    inside: [u8; 0],
    // Neither sent, shared nor moved: there is nothing of it to get at.
    marker: PhantomData<(*mut u8, core::marker::PhantomPinned)>,
}
pub type KINTERRUPT = _KINTERRUPT;
pub type PKINTERRUPT = *mut KINTERRUPT;

impl core::fmt::Debug for _KINTERRUPT {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("KINTERRUPT").field("bytes", &self.inside.len()).finish_non_exhaustive()
    }
}

pub type PKSERVICE_ROUTINE = Option<
    crate::nt_fn_pointer!(fn(Interrupt: *mut _KINTERRUPT, ServiceContext: PVOID) -> BOOLEAN),
>;
pub type PKMESSAGE_SERVICE_ROUTINE = Option<
    crate::nt_fn_pointer!(
        fn(Interrupt: *mut _KINTERRUPT, ServiceContext: PVOID, MessageID: ULONG) -> BOOLEAN
    ),
>;
pub type PKSYNCHRONIZE_ROUTINE =
    Option<crate::nt_fn_pointer!(fn(SynchronizeContext: PVOID) -> BOOLEAN)>;

pub mod _KINTERRUPT_MODE {
    pub type Type = core::ffi::c_int;
    pub const LevelSensitive: Type = 0;
    pub const Latched: Type = 1;
}
pub use self::_KINTERRUPT_MODE::Type as KINTERRUPT_MODE;

pub mod _KINTERRUPT_POLARITY {
    pub type Type = core::ffi::c_int;
    pub const InterruptPolarityUnknown: Type = 0;
    pub const InterruptActiveHigh: Type = 1;
    pub const InterruptRisingEdge: Type = 1;
    pub const InterruptActiveLow: Type = 2;
    pub const InterruptFallingEdge: Type = 2;
    pub const InterruptActiveBoth: Type = 3;
    pub const InterruptActiveBothTriggerLow: Type = 3;
    pub const InterruptActiveBothTriggerHigh: Type = 4;
}
pub use self::_KINTERRUPT_POLARITY::Type as KINTERRUPT_POLARITY;

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct _IO_INTERRUPT_MESSAGE_INFO_ENTRY {
    pub MessageAddress: PHYSICAL_ADDRESS,
    pub TargetProcessorSet: KAFFINITY,
    pub InterruptObject: PKINTERRUPT,
    pub MessageData: ULONG,
    pub Vector: ULONG,
    pub Irql: KIRQL,
    pub Mode: KINTERRUPT_MODE,
    pub Polarity: KINTERRUPT_POLARITY,
}
pub type IO_INTERRUPT_MESSAGE_INFO_ENTRY = _IO_INTERRUPT_MESSAGE_INFO_ENTRY;
pub type PIO_INTERRUPT_MESSAGE_INFO_ENTRY = *mut IO_INTERRUPT_MESSAGE_INFO_ENTRY;

/// The message table. `MessageInfo` stands for `MessageCount` entries: reach them by pointer from
/// the table's own pointer, not through the array field, which is one long.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct _IO_INTERRUPT_MESSAGE_INFO {
    pub UnifiedIrql: KIRQL,
    pub MessageCount: ULONG,
    pub MessageInfo: [IO_INTERRUPT_MESSAGE_INFO_ENTRY; 1],
}
pub type IO_INTERRUPT_MESSAGE_INFO = _IO_INTERRUPT_MESSAGE_INFO;
pub type PIO_INTERRUPT_MESSAGE_INFO = *mut IO_INTERRUPT_MESSAGE_INFO;

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct _IO_CONNECT_INTERRUPT_FULLY_SPECIFIED_PARAMETERS {
    pub PhysicalDeviceObject: *mut DEVICE_OBJECT,
    pub InterruptObject: *mut PKINTERRUPT,
    pub ServiceRoutine: PKSERVICE_ROUTINE,
    pub ServiceContext: PVOID,
    pub SpinLock: PKSPIN_LOCK,
    pub SynchronizeIrql: KIRQL,
    pub FloatingSave: BOOLEAN,
    pub ShareVector: BOOLEAN,
    pub Vector: ULONG,
    pub Irql: KIRQL,
    pub InterruptMode: KINTERRUPT_MODE,
    pub ProcessorEnableMask: KAFFINITY,
    pub Group: USHORT,
}
pub type IO_CONNECT_INTERRUPT_FULLY_SPECIFIED_PARAMETERS =
    _IO_CONNECT_INTERRUPT_FULLY_SPECIFIED_PARAMETERS;
pub type PIO_CONNECT_INTERRUPT_FULLY_SPECIFIED_PARAMETERS =
    *mut IO_CONNECT_INTERRUPT_FULLY_SPECIFIED_PARAMETERS;

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct _IO_CONNECT_INTERRUPT_LINE_BASED_PARAMETERS {
    pub PhysicalDeviceObject: *mut DEVICE_OBJECT,
    pub InterruptObject: *mut PKINTERRUPT,
    pub ServiceRoutine: PKSERVICE_ROUTINE,
    pub ServiceContext: PVOID,
    pub SpinLock: PKSPIN_LOCK,
    pub SynchronizeIrql: KIRQL,
    pub FloatingSave: BOOLEAN,
}
pub type IO_CONNECT_INTERRUPT_LINE_BASED_PARAMETERS = _IO_CONNECT_INTERRUPT_LINE_BASED_PARAMETERS;
pub type PIO_CONNECT_INTERRUPT_LINE_BASED_PARAMETERS =
    *mut IO_CONNECT_INTERRUPT_LINE_BASED_PARAMETERS;

#[repr(C)]
#[derive(Clone, Copy)]
pub union _IO_CONNECT_INTERRUPT_MESSAGE_BASED_PARAMETERS__bindgen_ty_1 {
    pub Generic: *mut PVOID,
    pub InterruptMessageTable: *mut PIO_INTERRUPT_MESSAGE_INFO,
    pub InterruptObject: *mut PKINTERRUPT,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct _IO_CONNECT_INTERRUPT_MESSAGE_BASED_PARAMETERS {
    pub PhysicalDeviceObject: *mut DEVICE_OBJECT,
    pub ConnectionContext: _IO_CONNECT_INTERRUPT_MESSAGE_BASED_PARAMETERS__bindgen_ty_1,
    pub MessageServiceRoutine: PKMESSAGE_SERVICE_ROUTINE,
    pub ServiceContext: PVOID,
    pub SpinLock: PKSPIN_LOCK,
    pub SynchronizeIrql: KIRQL,
    pub FloatingSave: BOOLEAN,
    pub FallBackServiceRoutine: PKSERVICE_ROUTINE,
}
pub type IO_CONNECT_INTERRUPT_MESSAGE_BASED_PARAMETERS =
    _IO_CONNECT_INTERRUPT_MESSAGE_BASED_PARAMETERS;
pub type PIO_CONNECT_INTERRUPT_MESSAGE_BASED_PARAMETERS =
    *mut IO_CONNECT_INTERRUPT_MESSAGE_BASED_PARAMETERS;

#[repr(C)]
#[derive(Clone, Copy)]
pub union _IO_CONNECT_INTERRUPT_PARAMETERS__bindgen_ty_1 {
    pub FullySpecified: IO_CONNECT_INTERRUPT_FULLY_SPECIFIED_PARAMETERS,
    pub LineBased: IO_CONNECT_INTERRUPT_LINE_BASED_PARAMETERS,
    pub MessageBased: IO_CONNECT_INTERRUPT_MESSAGE_BASED_PARAMETERS,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct _IO_CONNECT_INTERRUPT_PARAMETERS {
    pub Version: ULONG,
    pub __bindgen_anon_1: _IO_CONNECT_INTERRUPT_PARAMETERS__bindgen_ty_1,
}
pub type IO_CONNECT_INTERRUPT_PARAMETERS = _IO_CONNECT_INTERRUPT_PARAMETERS;
pub type PIO_CONNECT_INTERRUPT_PARAMETERS = *mut IO_CONNECT_INTERRUPT_PARAMETERS;

#[repr(C)]
#[derive(Clone, Copy)]
pub union _IO_DISCONNECT_INTERRUPT_PARAMETERS__bindgen_ty_1 {
    pub Generic: PVOID,
    pub InterruptObject: PKINTERRUPT,
    pub InterruptMessageTable: PIO_INTERRUPT_MESSAGE_INFO,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct _IO_DISCONNECT_INTERRUPT_PARAMETERS {
    pub Version: ULONG,
    pub ConnectionContext: _IO_DISCONNECT_INTERRUPT_PARAMETERS__bindgen_ty_1,
}
pub type IO_DISCONNECT_INTERRUPT_PARAMETERS = _IO_DISCONNECT_INTERRUPT_PARAMETERS;
pub type PIO_DISCONNECT_INTERRUPT_PARAMETERS = *mut IO_DISCONNECT_INTERRUPT_PARAMETERS;

#[repr(C)]
#[derive(Clone, Copy)]
pub union _IO_REPORT_INTERRUPT_ACTIVE_STATE_PARAMETERS__bindgen_ty_1 {
    pub Generic: PVOID,
    pub InterruptObject: PKINTERRUPT,
    pub InterruptMessageTable: PIO_INTERRUPT_MESSAGE_INFO,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct _IO_REPORT_INTERRUPT_ACTIVE_STATE_PARAMETERS {
    pub Version: ULONG,
    pub ConnectionContext: _IO_REPORT_INTERRUPT_ACTIVE_STATE_PARAMETERS__bindgen_ty_1,
}
pub type IO_REPORT_INTERRUPT_ACTIVE_STATE_PARAMETERS = _IO_REPORT_INTERRUPT_ACTIVE_STATE_PARAMETERS;
pub type PIO_REPORT_INTERRUPT_ACTIVE_STATE_PARAMETERS =
    *mut IO_REPORT_INTERRUPT_ACTIVE_STATE_PARAMETERS;

zeroed_default!(
    _IO_INTERRUPT_MESSAGE_INFO_ENTRY,
    _IO_INTERRUPT_MESSAGE_INFO,
    _IO_CONNECT_INTERRUPT_FULLY_SPECIFIED_PARAMETERS,
    _IO_CONNECT_INTERRUPT_LINE_BASED_PARAMETERS,
    _IO_CONNECT_INTERRUPT_MESSAGE_BASED_PARAMETERS__bindgen_ty_1,
    _IO_CONNECT_INTERRUPT_MESSAGE_BASED_PARAMETERS,
    _IO_CONNECT_INTERRUPT_PARAMETERS__bindgen_ty_1,
    _IO_CONNECT_INTERRUPT_PARAMETERS,
    _IO_DISCONNECT_INTERRUPT_PARAMETERS__bindgen_ty_1,
    _IO_DISCONNECT_INTERRUPT_PARAMETERS,
    _IO_REPORT_INTERRUPT_ACTIVE_STATE_PARAMETERS__bindgen_ty_1,
    _IO_REPORT_INTERRUPT_ACTIVE_STATE_PARAMETERS,
);

/// Unions have no `Debug` of their own; every member is one pointer, which is what is shown.
macro_rules! debug_pointer_union {
    ($($type:ty),+ $(,)?) => {$(
        impl core::fmt::Debug for $type {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                // SAFETY: every member is a pointer, so any of them may be read as one.
                unsafe { self.Generic }.fmt(f)
            }
        }
    )+};
}
debug_pointer_union!(
    _IO_CONNECT_INTERRUPT_MESSAGE_BASED_PARAMETERS__bindgen_ty_1,
    _IO_DISCONNECT_INTERRUPT_PARAMETERS__bindgen_ty_1,
    _IO_REPORT_INTERRUPT_ACTIVE_STATE_PARAMETERS__bindgen_ty_1,
);

/// What the structures show of themselves: `Version`, which says what the rest is.
macro_rules! debug_version {
    ($($type:ty),+ $(,)?) => {$(
        impl core::fmt::Debug for $type {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.debug_struct(stringify!($type))
                    .field("Version", &self.Version)
                    .finish_non_exhaustive()
            }
        }
    )+};
}
debug_version!(
    _IO_CONNECT_INTERRUPT_PARAMETERS,
    _IO_DISCONNECT_INTERRUPT_PARAMETERS,
    _IO_REPORT_INTERRUPT_ACTIVE_STATE_PARAMETERS,
);

impl core::fmt::Debug for _IO_CONNECT_INTERRUPT_PARAMETERS__bindgen_ty_1 {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("(as Version says)")
    }
}

impl core::fmt::Debug for _IO_CONNECT_INTERRUPT_MESSAGE_BASED_PARAMETERS {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("IO_CONNECT_INTERRUPT_MESSAGE_BASED_PARAMETERS")
            .field("PhysicalDeviceObject", &self.PhysicalDeviceObject)
            .field("ConnectionContext", &self.ConnectionContext)
            .field("ServiceContext", &self.ServiceContext)
            .field("SpinLock", &self.SpinLock)
            .field("SynchronizeIrql", &self.SynchronizeIrql)
            .finish_non_exhaustive()
    }
}

const _: () = {
    assert!(size_of::<IO_CONNECT_INTERRUPT_PARAMETERS>() == 80);
    assert!(offset_of!(IO_CONNECT_INTERRUPT_PARAMETERS, __bindgen_anon_1) == 8);
    assert!(size_of::<IO_DISCONNECT_INTERRUPT_PARAMETERS>() == 16);
    assert!(offset_of!(IO_DISCONNECT_INTERRUPT_PARAMETERS, ConnectionContext) == 8);
    assert!(size_of::<IO_REPORT_INTERRUPT_ACTIVE_STATE_PARAMETERS>() == 16);
    assert!(size_of::<IO_CONNECT_INTERRUPT_LINE_BASED_PARAMETERS>() == 48);
};

const _: () = {
    use _IO_CONNECT_INTERRUPT_FULLY_SPECIFIED_PARAMETERS as Full;
    assert!(size_of::<Full>() == 72);
    assert!(offset_of!(Full, InterruptObject) == 8);
    assert!(offset_of!(Full, ServiceRoutine) == 16);
    assert!(offset_of!(Full, ServiceContext) == 24);
    assert!(offset_of!(Full, SpinLock) == 32);
    assert!(offset_of!(Full, SynchronizeIrql) == 40);
    assert!(offset_of!(Full, FloatingSave) == 41);
    assert!(offset_of!(Full, ShareVector) == 42);
    assert!(offset_of!(Full, Vector) == 44);
    assert!(offset_of!(Full, Irql) == 48);
    assert!(offset_of!(Full, InterruptMode) == 52);
    assert!(offset_of!(Full, ProcessorEnableMask) == 56);
    assert!(offset_of!(Full, Group) == 64);
};

const _: () = {
    use _IO_CONNECT_INTERRUPT_MESSAGE_BASED_PARAMETERS as Message;
    assert!(size_of::<Message>() == 56);
    assert!(offset_of!(Message, ConnectionContext) == 8);
    assert!(offset_of!(Message, MessageServiceRoutine) == 16);
    assert!(offset_of!(Message, ServiceContext) == 24);
    assert!(offset_of!(Message, SpinLock) == 32);
    assert!(offset_of!(Message, SynchronizeIrql) == 40);
    assert!(offset_of!(Message, FloatingSave) == 41);
    assert!(offset_of!(Message, FallBackServiceRoutine) == 48);
};

const _: () = {
    use _IO_INTERRUPT_MESSAGE_INFO_ENTRY as Entry;
    assert!(size_of::<Entry>() == 48);
    assert!(offset_of!(Entry, TargetProcessorSet) == 8);
    assert!(offset_of!(Entry, InterruptObject) == 16);
    assert!(offset_of!(Entry, MessageData) == 24);
    assert!(offset_of!(Entry, Vector) == 28);
    assert!(offset_of!(Entry, Irql) == 32);
    assert!(offset_of!(Entry, Mode) == 36);
    assert!(offset_of!(Entry, Polarity) == 40);
    assert!(offset_of!(IO_INTERRUPT_MESSAGE_INFO, MessageCount) == 4);
    assert!(offset_of!(IO_INTERRUPT_MESSAGE_INFO, MessageInfo) == 8);
};
