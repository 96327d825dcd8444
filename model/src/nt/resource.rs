//! Resource lists: what the PnP manager assigned to a device.
//!
//! Partial descriptors are packed to 4 bytes, so their 64-bit members are not aligned. `wdk-sys`
//! does not define `NT_PROCESSOR_GROUPS`: an interrupt's `Level` is a 32-bit field whose upper
//! half is the processor group.

use super::{KAFFINITY, PHYSICAL_ADDRESS, UCHAR, ULONG, USHORT, zeroed_default};

pub const CmResourceTypeNull: u32 = 0;
pub const CmResourceTypePort: u32 = 1;
pub const CmResourceTypeInterrupt: u32 = 2;
pub const CmResourceTypeMemory: u32 = 3;
pub const CmResourceTypeDma: u32 = 4;
pub const CmResourceTypeDeviceSpecific: u32 = 5;
pub const CmResourceTypeBusNumber: u32 = 6;
pub const CmResourceTypeMemoryLarge: u32 = 7;
pub const CmResourceTypeNonArbitrated: u32 = 128;
pub const CmResourceTypeConfigData: u32 = 128;
pub const CmResourceTypeDevicePrivate: u32 = 129;

pub mod _CM_SHARE_DISPOSITION {
    pub type Type = core::ffi::c_int;
    pub const CmResourceShareUndetermined: Type = 0;
    pub const CmResourceShareDeviceExclusive: Type = 1;
    pub const CmResourceShareDriverExclusive: Type = 2;
    pub const CmResourceShareShared: Type = 3;
}
pub use self::_CM_SHARE_DISPOSITION::Type as CM_SHARE_DISPOSITION;

pub const CM_RESOURCE_INTERRUPT_LEVEL_SENSITIVE: u32 = 0;
pub const CM_RESOURCE_INTERRUPT_LATCHED: u32 = 1;
pub const CM_RESOURCE_INTERRUPT_MESSAGE: u32 = 2;
pub const CM_RESOURCE_INTERRUPT_POLICY_INCLUDED: u32 = 4;
pub const CM_RESOURCE_INTERRUPT_LEVEL_LATCHED_BITS: u32 = 1;

pub const CM_RESOURCE_PORT_MEMORY: u32 = 0;
pub const CM_RESOURCE_PORT_IO: u32 = 1;
pub const CM_RESOURCE_MEMORY_READ_WRITE: u32 = 0;
pub const CM_RESOURCE_MEMORY_READ_ONLY: u32 = 1;
pub const CM_RESOURCE_MEMORY_WRITE_ONLY: u32 = 2;
pub const CM_RESOURCE_MEMORY_PREFETCHABLE: u32 = 4;

pub mod _INTERFACE_TYPE {
    pub type Type = core::ffi::c_int;
    pub const InterfaceTypeUndefined: Type = -1;
    pub const Internal: Type = 0;
    pub const Isa: Type = 1;
    pub const Eisa: Type = 2;
    pub const MicroChannel: Type = 3;
    pub const TurboChannel: Type = 4;
    pub const PCIBus: Type = 5;
    pub const PNPBus: Type = 15;
    pub const ACPIBus: Type = 17;
}
pub use self::_INTERFACE_TYPE::Type as INTERFACE_TYPE;

#[repr(C, packed(4))]
#[derive(Clone, Copy, Debug)]
pub struct _CM_PARTIAL_RESOURCE_DESCRIPTOR {
    pub Type: UCHAR,
    pub ShareDisposition: UCHAR,
    pub Flags: USHORT,
    pub u: _CM_PARTIAL_RESOURCE_DESCRIPTOR__bindgen_ty_1,
}
pub type CM_PARTIAL_RESOURCE_DESCRIPTOR = _CM_PARTIAL_RESOURCE_DESCRIPTOR;
pub type PCM_PARTIAL_RESOURCE_DESCRIPTOR = *mut CM_PARTIAL_RESOURCE_DESCRIPTOR;

#[repr(C, packed(4))]
#[derive(Clone, Copy)]
pub union _CM_PARTIAL_RESOURCE_DESCRIPTOR__bindgen_ty_1 {
    pub Generic: _CM_PARTIAL_RESOURCE_DESCRIPTOR__bindgen_ty_1__bindgen_ty_1,
    pub Port: _CM_PARTIAL_RESOURCE_DESCRIPTOR__bindgen_ty_1__bindgen_ty_2,
    pub Interrupt: _CM_PARTIAL_RESOURCE_DESCRIPTOR__bindgen_ty_1__bindgen_ty_3,
    pub MessageInterrupt: _CM_PARTIAL_RESOURCE_DESCRIPTOR__bindgen_ty_1__bindgen_ty_4,
    pub Memory: _CM_PARTIAL_RESOURCE_DESCRIPTOR__bindgen_ty_1__bindgen_ty_5,
    pub Dma: _CM_PARTIAL_RESOURCE_DESCRIPTOR__bindgen_ty_1__bindgen_ty_6,
    pub DevicePrivate: _CM_PARTIAL_RESOURCE_DESCRIPTOR__bindgen_ty_1__bindgen_ty_7,
    pub BusNumber: _CM_PARTIAL_RESOURCE_DESCRIPTOR__bindgen_ty_1__bindgen_ty_8,
    pub DeviceSpecificData: _CM_PARTIAL_RESOURCE_DESCRIPTOR__bindgen_ty_1__bindgen_ty_9,
    pub Memory40: _CM_PARTIAL_RESOURCE_DESCRIPTOR__bindgen_ty_1__bindgen_ty_10,
    pub Memory48: _CM_PARTIAL_RESOURCE_DESCRIPTOR__bindgen_ty_1__bindgen_ty_11,
    pub Memory64: _CM_PARTIAL_RESOURCE_DESCRIPTOR__bindgen_ty_1__bindgen_ty_12,
}

impl core::fmt::Debug for _CM_PARTIAL_RESOURCE_DESCRIPTOR__bindgen_ty_1 {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("(as Type says)")
    }
}

macro_rules! memory_like {
    ($($name:ident { $length:ident }),+ $(,)?) => {$(
        #[repr(C, packed(4))]
        #[derive(Clone, Copy, Debug)]
        pub struct $name {
            pub Start: PHYSICAL_ADDRESS,
            pub $length: ULONG,
        }
        zeroed_default!($name);
    )+};
}
memory_like!(
    _CM_PARTIAL_RESOURCE_DESCRIPTOR__bindgen_ty_1__bindgen_ty_1 { Length },
    _CM_PARTIAL_RESOURCE_DESCRIPTOR__bindgen_ty_1__bindgen_ty_2 { Length },
    _CM_PARTIAL_RESOURCE_DESCRIPTOR__bindgen_ty_1__bindgen_ty_5 { Length },
    _CM_PARTIAL_RESOURCE_DESCRIPTOR__bindgen_ty_1__bindgen_ty_10 { Length40 },
    _CM_PARTIAL_RESOURCE_DESCRIPTOR__bindgen_ty_1__bindgen_ty_11 { Length48 },
    _CM_PARTIAL_RESOURCE_DESCRIPTOR__bindgen_ty_1__bindgen_ty_12 { Length64 },
);

#[repr(C, packed(4))]
#[derive(Clone, Copy, Debug, Default)]
pub struct _CM_PARTIAL_RESOURCE_DESCRIPTOR__bindgen_ty_1__bindgen_ty_3 {
    pub Level: ULONG,
    pub Vector: ULONG,
    pub Affinity: KAFFINITY,
}

#[repr(C, packed(4))]
#[derive(Clone, Copy, Debug)]
pub struct _CM_PARTIAL_RESOURCE_DESCRIPTOR__bindgen_ty_1__bindgen_ty_4 {
    pub __bindgen_anon_1: _CM_PARTIAL_RESOURCE_DESCRIPTOR__bindgen_ty_1__bindgen_ty_4__bindgen_ty_1,
}

#[repr(C, packed(4))]
#[derive(Clone, Copy)]
pub union _CM_PARTIAL_RESOURCE_DESCRIPTOR__bindgen_ty_1__bindgen_ty_4__bindgen_ty_1 {
    pub Raw:
        _CM_PARTIAL_RESOURCE_DESCRIPTOR__bindgen_ty_1__bindgen_ty_4__bindgen_ty_1__bindgen_ty_1,
    pub Translated:
        _CM_PARTIAL_RESOURCE_DESCRIPTOR__bindgen_ty_1__bindgen_ty_4__bindgen_ty_1__bindgen_ty_2,
}

impl core::fmt::Debug
    for _CM_PARTIAL_RESOURCE_DESCRIPTOR__bindgen_ty_1__bindgen_ty_4__bindgen_ty_1
{
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("(raw or translated)")
    }
}

#[repr(C, packed(4))]
#[derive(Clone, Copy, Debug, Default)]
pub struct _CM_PARTIAL_RESOURCE_DESCRIPTOR__bindgen_ty_1__bindgen_ty_4__bindgen_ty_1__bindgen_ty_1 {
    pub Reserved: USHORT,
    pub MessageCount: USHORT,
    pub Vector: ULONG,
    pub Affinity: KAFFINITY,
}

#[repr(C, packed(4))]
#[derive(Clone, Copy, Debug, Default)]
pub struct _CM_PARTIAL_RESOURCE_DESCRIPTOR__bindgen_ty_1__bindgen_ty_4__bindgen_ty_1__bindgen_ty_2 {
    pub Level: ULONG,
    pub Vector: ULONG,
    pub Affinity: KAFFINITY,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct _CM_PARTIAL_RESOURCE_DESCRIPTOR__bindgen_ty_1__bindgen_ty_6 {
    pub Channel: ULONG,
    pub Port: ULONG,
    pub Reserved1: ULONG,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct _CM_PARTIAL_RESOURCE_DESCRIPTOR__bindgen_ty_1__bindgen_ty_7 {
    pub Data: [ULONG; 3],
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct _CM_PARTIAL_RESOURCE_DESCRIPTOR__bindgen_ty_1__bindgen_ty_8 {
    pub Start: ULONG,
    pub Length: ULONG,
    pub Reserved: ULONG,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct _CM_PARTIAL_RESOURCE_DESCRIPTOR__bindgen_ty_1__bindgen_ty_9 {
    pub DataSize: ULONG,
    pub Reserved1: ULONG,
    pub Reserved2: ULONG,
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct _CM_PARTIAL_RESOURCE_LIST {
    pub Version: USHORT,
    pub Revision: USHORT,
    pub Count: ULONG,
    pub PartialDescriptors: [CM_PARTIAL_RESOURCE_DESCRIPTOR; 1],
}
pub type CM_PARTIAL_RESOURCE_LIST = _CM_PARTIAL_RESOURCE_LIST;
pub type PCM_PARTIAL_RESOURCE_LIST = *mut CM_PARTIAL_RESOURCE_LIST;

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct _CM_FULL_RESOURCE_DESCRIPTOR {
    pub InterfaceType: INTERFACE_TYPE,
    pub BusNumber: ULONG,
    pub PartialResourceList: CM_PARTIAL_RESOURCE_LIST,
}
pub type CM_FULL_RESOURCE_DESCRIPTOR = _CM_FULL_RESOURCE_DESCRIPTOR;
pub type PCM_FULL_RESOURCE_DESCRIPTOR = *mut CM_FULL_RESOURCE_DESCRIPTOR;

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct _CM_RESOURCE_LIST {
    pub Count: ULONG,
    pub List: [CM_FULL_RESOURCE_DESCRIPTOR; 1],
}
pub type CM_RESOURCE_LIST = _CM_RESOURCE_LIST;
pub type PCM_RESOURCE_LIST = *mut CM_RESOURCE_LIST;

zeroed_default!(
    _CM_PARTIAL_RESOURCE_DESCRIPTOR,
    _CM_PARTIAL_RESOURCE_DESCRIPTOR__bindgen_ty_1,
    _CM_PARTIAL_RESOURCE_DESCRIPTOR__bindgen_ty_1__bindgen_ty_4,
    _CM_PARTIAL_RESOURCE_DESCRIPTOR__bindgen_ty_1__bindgen_ty_4__bindgen_ty_1,
    _CM_PARTIAL_RESOURCE_LIST,
    _CM_FULL_RESOURCE_DESCRIPTOR,
    _CM_RESOURCE_LIST,
);

const _: () = {
    assert!(size_of::<CM_PARTIAL_RESOURCE_DESCRIPTOR>() == 20);
    assert!(align_of::<CM_PARTIAL_RESOURCE_DESCRIPTOR>() == 4);
    assert!(size_of::<CM_PARTIAL_RESOURCE_LIST>() == 28);
    assert!(size_of::<CM_FULL_RESOURCE_DESCRIPTOR>() == 36);
    assert!(size_of::<CM_RESOURCE_LIST>() == 40);
};
