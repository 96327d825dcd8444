//! The kernel's names for integers, and a few small structures that everything uses.

use core::ffi::c_void;

use super::zeroed_default;

pub type UCHAR = u8;
pub type CHAR = i8;
pub type USHORT = u16;
pub type SHORT = i16;
pub type CSHORT = i16;
pub type ULONG = u32;
pub type LONG = i32;
pub type ULONGLONG = u64;
pub type LONGLONG = i64;
pub type ULONG64 = u64;
pub type LONG64 = i64;
pub type ULONG_PTR = u64;
pub type LONG_PTR = i64;
pub type SIZE_T = ULONG_PTR;
pub type BOOLEAN = UCHAR;
pub type WCHAR = u16;
pub type PVOID = *mut c_void;
pub type PULONG = *mut ULONG;
pub type PUCHAR = *mut UCHAR;
pub type HANDLE = PVOID;
pub type NTSTATUS = LONG;
pub type KIRQL = UCHAR;
pub type PKIRQL = *mut KIRQL;
pub type CCHAR = i8;
pub type KPRIORITY = LONG;
pub type KAFFINITY = ULONG_PTR;
pub type PKAFFINITY = *mut KAFFINITY;
pub type KSPIN_LOCK = ULONG_PTR;
pub type PKSPIN_LOCK = *mut KSPIN_LOCK;

pub const TRUE: u32 = 1;
pub const FALSE: u32 = 0;

pub const PASSIVE_LEVEL: u32 = 0;
pub const LOW_LEVEL: u32 = 0;
pub const APC_LEVEL: u32 = 1;
pub const DISPATCH_LEVEL: u32 = 2;
pub const CMCI_LEVEL: u32 = 5;
pub const CLOCK_LEVEL: u32 = 13;
pub const IPI_LEVEL: u32 = 14;
pub const DRS_LEVEL: u32 = 14;
pub const POWER_LEVEL: u32 = 14;
pub const PROFILE_LEVEL: u32 = 15;
pub const HIGH_LEVEL: u32 = 15;

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct _LARGE_INTEGER__bindgen_ty_1 {
    pub LowPart: ULONG,
    pub HighPart: LONG,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct _LARGE_INTEGER__bindgen_ty_2 {
    pub LowPart: ULONG,
    pub HighPart: LONG,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub union _LARGE_INTEGER {
    pub __bindgen_anon_1: _LARGE_INTEGER__bindgen_ty_1,
    pub u: _LARGE_INTEGER__bindgen_ty_2,
    pub QuadPart: LONGLONG,
}
pub type LARGE_INTEGER = _LARGE_INTEGER;
pub type PLARGE_INTEGER = *mut LARGE_INTEGER;
pub type PHYSICAL_ADDRESS = LARGE_INTEGER;
pub type PPHYSICAL_ADDRESS = *mut LARGE_INTEGER;

impl core::fmt::Debug for _LARGE_INTEGER {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        // SAFETY: every member is made of integers, so any bytes are a value of `QuadPart`.
        let value = unsafe { self.QuadPart };
        f.debug_struct("LARGE_INTEGER").field("QuadPart", &value).finish()
    }
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct _LIST_ENTRY {
    pub Flink: *mut Self,
    pub Blink: *mut Self,
}
pub type LIST_ENTRY = _LIST_ENTRY;
pub type PLIST_ENTRY = *mut LIST_ENTRY;

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct _SINGLE_LIST_ENTRY {
    pub Next: *mut Self,
}
pub type SINGLE_LIST_ENTRY = _SINGLE_LIST_ENTRY;
pub type PSINGLE_LIST_ENTRY = *mut SINGLE_LIST_ENTRY;

zeroed_default!(_LARGE_INTEGER, _LIST_ENTRY, _SINGLE_LIST_ENTRY);
