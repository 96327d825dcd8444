//! The deferred procedure call.

use super::{KAFFINITY, PVOID, SINGLE_LIST_ENTRY, UCHAR, ULONG, USHORT, zeroed_default};

pub type PKDEFERRED_ROUTINE = Option<
    crate::nt_fn_pointer!(
        fn(Dpc: *mut _KDPC, DeferredContext: PVOID, SystemArgument1: PVOID, SystemArgument2: PVOID)
    ),
>;

pub mod _KDPC_IMPORTANCE {
    pub type Type = core::ffi::c_int;
    pub const LowImportance: Type = 0;
    pub const MediumImportance: Type = 1;
    pub const HighImportance: Type = 2;
    pub const MediumHighImportance: Type = 3;
}
pub use self::_KDPC_IMPORTANCE::Type as KDPC_IMPORTANCE;

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct _KDPC__bindgen_ty_1__bindgen_ty_1 {
    pub Type: UCHAR,
    pub Importance: UCHAR,
    pub Number: USHORT,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub union _KDPC__bindgen_ty_1 {
    pub TargetInfoAsUlong: ULONG,
    pub __bindgen_anon_1: _KDPC__bindgen_ty_1__bindgen_ty_1,
}

impl core::fmt::Debug for _KDPC__bindgen_ty_1 {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        // SAFETY: both members are integers of the same size.
        unsafe { self.__bindgen_anon_1 }.fmt(f)
    }
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct _KDPC {
    pub __bindgen_anon_1: _KDPC__bindgen_ty_1,
    pub DpcListEntry: SINGLE_LIST_ENTRY,
    pub ProcessorHistory: KAFFINITY,
    pub DeferredRoutine: PKDEFERRED_ROUTINE,
    pub DeferredContext: PVOID,
    pub SystemArgument1: PVOID,
    pub SystemArgument2: PVOID,
    pub DpcData: PVOID,
}
pub type KDPC = _KDPC;
pub type PKDPC = *mut KDPC;
pub type PRKDPC = *mut KDPC;

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct _PROCESSOR_NUMBER {
    pub Group: USHORT,
    pub Number: UCHAR,
    pub Reserved: UCHAR,
}
pub type PROCESSOR_NUMBER = _PROCESSOR_NUMBER;
pub type PPROCESSOR_NUMBER = *mut PROCESSOR_NUMBER;

zeroed_default!(_KDPC__bindgen_ty_1, _KDPC);

const _: () = assert!(size_of::<KDPC>() == 64);
