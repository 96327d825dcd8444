//! The I/O manager's and the `PnP` manager's types, with the names and layouts of the kernel's headers.
//!
//! Nothing here is interrupts: it is what a bed needs to load a driver and to send it requests. Members
//! that no one here uses are kept as bytes or pointers, so that the layouts hold.
#![expect(
    missing_debug_implementations,
    reason = "the unions among these types say nothing of themselves: their owner knows the member"
)]

use core::ffi::c_void;

use super::{
    BOOLEAN, CHAR, CM_RESOURCE_LIST, CSHORT, KDPC, KSPIN_LOCK, LIST_ENTRY, LONG, NTSTATUS, PVOID,
    UCHAR, ULONG, ULONG_PTR, USHORT, WCHAR,
};
use crate::nt_fn_pointer;

pub type KPROCESSOR_MODE = CHAR;
pub type PDEVICE_OBJECT = *mut DEVICE_OBJECT;
pub type PDRIVER_OBJECT = *mut DRIVER_OBJECT;
pub type PFILE_OBJECT = *mut FILE_OBJECT;
pub type PIRP = *mut IRP;
pub type PIO_STACK_LOCATION = *mut IO_STACK_LOCATION;
pub type PUNICODE_STRING = *mut UNICODE_STRING;
pub type PIO_CSQ = *mut IO_CSQ;

pub type DRIVER_INITIALIZE =
    nt_fn_pointer!(fn(driver: PDRIVER_OBJECT, registry_path: PUNICODE_STRING) -> NTSTATUS);
pub type DRIVER_ADD_DEVICE =
    nt_fn_pointer!(fn(driver: PDRIVER_OBJECT, pdo: PDEVICE_OBJECT) -> NTSTATUS);
pub type DRIVER_UNLOAD = nt_fn_pointer!(fn(driver: PDRIVER_OBJECT));
pub type DRIVER_STARTIO = nt_fn_pointer!(fn(device: PDEVICE_OBJECT, irp: PIRP));
pub type DRIVER_DISPATCH = nt_fn_pointer!(fn(device: PDEVICE_OBJECT, irp: PIRP) -> NTSTATUS);
pub type DRIVER_CANCEL = nt_fn_pointer!(fn(device: PDEVICE_OBJECT, irp: PIRP));
pub type IO_COMPLETION_ROUTINE =
    nt_fn_pointer!(fn(device: PDEVICE_OBJECT, irp: PIRP, context: PVOID) -> NTSTATUS);
pub type IO_WORKITEM_ROUTINE = nt_fn_pointer!(fn(device: PDEVICE_OBJECT, context: PVOID));
pub type IO_WORKITEM_ROUTINE_EX =
    nt_fn_pointer!(fn(object: PVOID, context: PVOID, item: *mut c_void));
pub type REQUEST_POWER_COMPLETE = nt_fn_pointer!(
    fn(
        device: PDEVICE_OBJECT,
        minor: UCHAR,
        state: POWER_STATE,
        context: PVOID,
        status: *mut IO_STATUS_BLOCK,
    )
);
pub type IO_CSQ_INSERT_IRP = nt_fn_pointer!(fn(csq: PIO_CSQ, irp: PIRP));
pub type IO_CSQ_INSERT_IRP_EX =
    nt_fn_pointer!(fn(csq: PIO_CSQ, irp: PIRP, context: PVOID) -> NTSTATUS);
pub type IO_CSQ_REMOVE_IRP = nt_fn_pointer!(fn(csq: PIO_CSQ, irp: PIRP));
pub type IO_CSQ_PEEK_NEXT_IRP = nt_fn_pointer!(fn(csq: PIO_CSQ, irp: PIRP, context: PVOID) -> PIRP);
pub type IO_CSQ_ACQUIRE_LOCK = nt_fn_pointer!(fn(csq: PIO_CSQ, irql: *mut UCHAR));
pub type IO_CSQ_RELEASE_LOCK = nt_fn_pointer!(fn(csq: PIO_CSQ, irql: UCHAR));
pub type IO_CSQ_COMPLETE_CANCELED_IRP = nt_fn_pointer!(fn(csq: PIO_CSQ, irp: PIRP));

#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct UNICODE_STRING {
    pub Length: USHORT,
    pub MaximumLength: USHORT,
    pub Buffer: *mut WCHAR,
}

#[repr(C)]
#[derive(Debug, Default, Copy, Clone, PartialEq, Eq)]
pub struct GUID {
    pub Data1: u32,
    pub Data2: u16,
    pub Data3: u16,
    pub Data4: [u8; 8],
}

/// What every object that can be waited for begins with. `Type` is the low byte of `Lock`.
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct DISPATCHER_HEADER {
    pub Lock: LONG,
    pub SignalState: LONG,
    pub WaitListHead: LIST_ENTRY,
}

#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct KEVENT {
    pub Header: DISPATCHER_HEADER,
}

#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct KMUTANT {
    pub Header: DISPATCHER_HEADER,
    pub MutantListEntry: LIST_ENTRY,
    pub OwnerThread: PVOID,
    pub Abandoned: BOOLEAN,
    pub ApcDisable: UCHAR,
}

#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct FAST_MUTEX {
    pub Count: LONG,
    pub Owner: PVOID,
    pub Contention: ULONG,
    pub Event: KEVENT,
    pub OldIrql: ULONG,
}

/// Kinds of objects that can be waited for, as `DISPATCHER_HEADER` begins with them.
pub mod DISPATCHER_TYPE {
    pub const EventNotificationObject: u8 = 0;
    pub const EventSynchronizationObject: u8 = 1;
    pub const MutantObject: u8 = 2;
    pub const SemaphoreObject: u8 = 5;
}

#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct KDEVICE_QUEUE {
    pub Type: CSHORT,
    pub Size: CSHORT,
    pub DeviceListHead: LIST_ENTRY,
    pub Lock: KSPIN_LOCK,
    pub Busy: BOOLEAN,
}

#[repr(C, align(16))]
#[derive(Debug, Copy, Clone)]
pub struct DEVICE_OBJECT {
    pub Type: CSHORT,
    pub Size: USHORT,
    pub ReferenceCount: LONG,
    pub DriverObject: PDRIVER_OBJECT,
    pub NextDevice: PDEVICE_OBJECT,
    pub AttachedDevice: PDEVICE_OBJECT,
    pub CurrentIrp: PIRP,
    pub Timer: PVOID,
    pub Flags: ULONG,
    pub Characteristics: ULONG,
    pub Vpb: PVOID,
    pub DeviceExtension: PVOID,
    pub DeviceType: ULONG,
    pub StackSize: CHAR,
    /// A list entry or a wait context block.
    pub Queue: [u64; 9],
    pub AlignmentRequirement: ULONG,
    pub DeviceQueue: KDEVICE_QUEUE,
    pub Dpc: KDPC,
    pub ActiveThreadCount: ULONG,
    pub SecurityDescriptor: PVOID,
    pub DeviceLock: KEVENT,
    pub SectorSize: USHORT,
    pub Spare1: USHORT,
    pub DeviceObjectExtension: PVOID,
    pub Reserved: PVOID,
}

#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct DRIVER_EXTENSION {
    pub DriverObject: PDRIVER_OBJECT,
    pub AddDevice: Option<DRIVER_ADD_DEVICE>,
    pub Count: ULONG,
    pub ServiceKeyName: UNICODE_STRING,
}

#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct DRIVER_OBJECT {
    pub Type: CSHORT,
    pub Size: CSHORT,
    pub DeviceObject: PDEVICE_OBJECT,
    pub Flags: ULONG,
    pub DriverStart: PVOID,
    pub DriverSize: ULONG,
    pub DriverSection: PVOID,
    pub DriverExtension: *mut DRIVER_EXTENSION,
    pub DriverName: UNICODE_STRING,
    pub HardwareDatabase: PUNICODE_STRING,
    pub FastIoDispatch: PVOID,
    pub DriverInit: Option<DRIVER_INITIALIZE>,
    pub DriverStartIo: Option<DRIVER_STARTIO>,
    pub DriverUnload: Option<DRIVER_UNLOAD>,
    pub MajorFunction: [Option<DRIVER_DISPATCH>; 28],
}

#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct FILE_OBJECT {
    pub Type: CSHORT,
    pub Size: CSHORT,
    pub DeviceObject: PDEVICE_OBJECT,
    pub Vpb: PVOID,
    pub FsContext: PVOID,
    pub FsContext2: PVOID,
    pub SectionObjectPointer: PVOID,
    pub PrivateCacheMap: PVOID,
    pub FinalStatus: NTSTATUS,
    pub RelatedFileObject: PFILE_OBJECT,
    pub LockOperation: BOOLEAN,
    pub DeletePending: BOOLEAN,
    pub ReadAccess: BOOLEAN,
    pub WriteAccess: BOOLEAN,
    pub DeleteAccess: BOOLEAN,
    pub SharedRead: BOOLEAN,
    pub SharedWrite: BOOLEAN,
    pub SharedDelete: BOOLEAN,
    pub Flags: ULONG,
    pub FileName: UNICODE_STRING,
    pub CurrentByteOffset: i64,
    pub Waiters: ULONG,
    pub Busy: ULONG,
    pub LastLock: PVOID,
    pub Lock: KEVENT,
    pub Event: KEVENT,
    pub CompletionContext: PVOID,
    pub IrpListLock: KSPIN_LOCK,
    pub IrpList: LIST_ENTRY,
    pub FileObjectExtension: PVOID,
}

#[repr(C)]
#[derive(Copy, Clone)]
pub union IO_STATUS_BLOCK_Status {
    pub Status: NTSTATUS,
    pub Pointer: PVOID,
}

#[repr(C)]
#[derive(Copy, Clone)]
pub struct IO_STATUS_BLOCK {
    pub __bindgen_anon_1: IO_STATUS_BLOCK_Status,
    pub Information: ULONG_PTR,
}

#[repr(C)]
#[derive(Copy, Clone)]
pub union IRP_AssociatedIrp {
    pub MasterIrp: PIRP,
    pub IrpCount: LONG,
    pub SystemBuffer: PVOID,
}

#[repr(C)]
#[derive(Copy, Clone)]
pub union IRP_CurrentStackLocation {
    pub CurrentStackLocation: PIO_STACK_LOCATION,
    pub PacketType: ULONG,
}

#[repr(C)]
#[derive(Copy, Clone)]
pub struct IRP_ListEntry {
    pub ListEntry: LIST_ENTRY,
    pub __bindgen_anon_1: IRP_CurrentStackLocation,
}

#[repr(C)]
#[derive(Copy, Clone)]
pub struct IRP_Tail_Overlay {
    pub DriverContext: [PVOID; 4],
    pub Thread: PVOID,
    pub AuxiliaryBuffer: PVOID,
    pub __bindgen_anon_2: IRP_ListEntry,
    pub OriginalFileObject: PFILE_OBJECT,
}

#[repr(C)]
#[derive(Copy, Clone)]
pub union IRP_Tail {
    pub Overlay: IRP_Tail_Overlay,
    pub Apc: [u64; 11],
    pub CompletionKey: PVOID,
}

#[repr(C)]
#[derive(Copy, Clone)]
pub struct IRP {
    pub Type: CSHORT,
    pub Size: USHORT,
    pub MdlAddress: PVOID,
    pub Flags: ULONG,
    pub AssociatedIrp: IRP_AssociatedIrp,
    pub ThreadListEntry: LIST_ENTRY,
    pub IoStatus: IO_STATUS_BLOCK,
    pub RequestorMode: KPROCESSOR_MODE,
    pub PendingReturned: BOOLEAN,
    pub StackCount: CHAR,
    pub CurrentLocation: CHAR,
    pub Cancel: BOOLEAN,
    pub CancelIrql: UCHAR,
    pub ApcEnvironment: CHAR,
    pub AllocationFlags: UCHAR,
    pub UserIosb: *mut IO_STATUS_BLOCK,
    pub UserEvent: *mut KEVENT,
    pub Overlay: [u64; 2],
    pub CancelRoutine: Option<DRIVER_CANCEL>,
    pub UserBuffer: PVOID,
    pub Tail: IRP_Tail,
}

#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct IO_STACK_LOCATION_Create {
    pub SecurityContext: PVOID,
    pub Options: ULONG,
    pub __bindgen_padding_0: [u8; 4],
    pub FileAttributes: USHORT,
    pub ShareAccess: USHORT,
    pub __bindgen_padding_1: [u8; 4],
    pub EaLength: ULONG,
}

#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct IO_STACK_LOCATION_DeviceIoControl {
    pub OutputBufferLength: ULONG,
    pub __bindgen_padding_0: [u8; 4],
    pub InputBufferLength: ULONG,
    pub __bindgen_padding_1: [u8; 4],
    pub IoControlCode: ULONG,
    pub Type3InputBuffer: PVOID,
}

#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct IO_STACK_LOCATION_QueryDeviceRelations {
    pub Type: i32,
}

#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct IO_STACK_LOCATION_DeviceCapabilities {
    pub Capabilities: *mut DEVICE_CAPABILITIES,
}

#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct IO_STACK_LOCATION_ReadWriteConfig {
    pub WhichSpace: ULONG,
    pub Buffer: PVOID,
    pub Offset: ULONG,
    pub __bindgen_padding_0: [u8; 4],
    pub Length: ULONG,
}

#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct IO_STACK_LOCATION_QueryId {
    pub IdType: i32,
}

#[repr(C, align(8))]
#[derive(Copy, Clone)]
pub struct IO_STACK_LOCATION_Power {
    pub SystemContext: ULONG,
    pub __bindgen_padding_0: [u8; 4],
    pub Type: i32,
    pub __bindgen_padding_1: [u8; 4],
    pub State: POWER_STATE,
    pub __bindgen_padding_2: [u8; 4],
    pub ShutdownType: i32,
}

#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct IO_STACK_LOCATION_StartDevice {
    pub AllocatedResources: *mut CM_RESOURCE_LIST,
    pub AllocatedResourcesTranslated: *mut CM_RESOURCE_LIST,
}

#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct IO_STACK_LOCATION_Others {
    pub Argument1: PVOID,
    pub Argument2: PVOID,
    pub Argument3: PVOID,
    pub Argument4: PVOID,
}

#[repr(C)]
#[derive(Copy, Clone)]
pub union IO_STACK_LOCATION_Parameters {
    pub Create: IO_STACK_LOCATION_Create,
    pub DeviceIoControl: IO_STACK_LOCATION_DeviceIoControl,
    pub QueryDeviceRelations: IO_STACK_LOCATION_QueryDeviceRelations,
    pub DeviceCapabilities: IO_STACK_LOCATION_DeviceCapabilities,
    pub ReadWriteConfig: IO_STACK_LOCATION_ReadWriteConfig,
    pub QueryId: IO_STACK_LOCATION_QueryId,
    pub Power: IO_STACK_LOCATION_Power,
    pub StartDevice: IO_STACK_LOCATION_StartDevice,
    pub Others: IO_STACK_LOCATION_Others,
}

#[repr(C)]
#[derive(Copy, Clone)]
pub struct IO_STACK_LOCATION {
    pub MajorFunction: UCHAR,
    pub MinorFunction: UCHAR,
    pub Flags: UCHAR,
    pub Control: UCHAR,
    pub Parameters: IO_STACK_LOCATION_Parameters,
    pub DeviceObject: PDEVICE_OBJECT,
    pub FileObject: PFILE_OBJECT,
    pub CompletionRoutine: Option<IO_COMPLETION_ROUTINE>,
    pub Context: PVOID,
}

#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct DEVICE_CAPABILITIES {
    pub Size: USHORT,
    pub Version: USHORT,
    pub _bitfield_1: u32,
    pub Address: ULONG,
    pub UINumber: ULONG,
    pub DeviceState: [i32; 7],
    pub SystemWake: i32,
    pub DeviceWake: i32,
    pub D1Latency: ULONG,
    pub D2Latency: ULONG,
    pub D3Latency: ULONG,
}

#[repr(C)]
#[derive(Copy, Clone)]
pub union POWER_STATE {
    pub SystemState: i32,
    pub DeviceState: i32,
}

#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct DEVICE_RELATIONS {
    pub Count: ULONG,
    pub Objects: [PDEVICE_OBJECT; 1],
}

#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct IO_CSQ {
    pub Type: ULONG,
    /// With `IO_TYPE_CSQ_EX` this is an [`IO_CSQ_INSERT_IRP_EX`].
    pub CsqInsertIrp: Option<IO_CSQ_INSERT_IRP>,
    pub CsqRemoveIrp: Option<IO_CSQ_REMOVE_IRP>,
    pub CsqPeekNextIrp: Option<IO_CSQ_PEEK_NEXT_IRP>,
    pub CsqAcquireLock: Option<IO_CSQ_ACQUIRE_LOCK>,
    pub CsqReleaseLock: Option<IO_CSQ_RELEASE_LOCK>,
    pub CsqCompleteCanceledIrp: Option<IO_CSQ_COMPLETE_CANCELED_IRP>,
    pub ReservePointer: PVOID,
}

#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct IO_CSQ_IRP_CONTEXT {
    pub Type: ULONG,
    pub Irp: PIRP,
    pub Csq: PIO_CSQ,
}

#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct IO_REMOVE_LOCK_COMMON_BLOCK {
    pub Removed: BOOLEAN,
    pub Reserved: [BOOLEAN; 3],
    pub IoCount: LONG,
    pub RemoveEvent: KEVENT,
}

#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct IO_REMOVE_LOCK {
    pub Common: IO_REMOVE_LOCK_COMMON_BLOCK,
}

pub const IO_TYPE_DEVICE: u32 = 3;
pub const IO_TYPE_DRIVER: u32 = 4;
pub const IO_TYPE_FILE: u32 = 5;
pub const IO_TYPE_IRP: u32 = 6;
pub const IO_TYPE_CSQ_IRP_CONTEXT: u32 = 1;
pub const IO_TYPE_CSQ: u32 = 2;
pub const IO_TYPE_CSQ_EX: u32 = 3;

pub const IRP_MJ_CREATE: u32 = 0;
pub const IRP_MJ_CLOSE: u32 = 2;
pub const IRP_MJ_READ: u32 = 3;
pub const IRP_MJ_WRITE: u32 = 4;
pub const IRP_MJ_DEVICE_CONTROL: u32 = 14;
pub const IRP_MJ_CLEANUP: u32 = 18;
pub const IRP_MJ_POWER: u32 = 22;
pub const IRP_MJ_SYSTEM_CONTROL: u32 = 23;
pub const IRP_MJ_PNP: u32 = 27;
pub const IRP_MJ_MAXIMUM_FUNCTION: u32 = 27;

pub const IRP_MN_START_DEVICE: u32 = 0;
pub const IRP_MN_QUERY_REMOVE_DEVICE: u32 = 1;
pub const IRP_MN_REMOVE_DEVICE: u32 = 2;
pub const IRP_MN_CANCEL_REMOVE_DEVICE: u32 = 3;
pub const IRP_MN_STOP_DEVICE: u32 = 4;
pub const IRP_MN_QUERY_STOP_DEVICE: u32 = 5;
pub const IRP_MN_CANCEL_STOP_DEVICE: u32 = 6;
pub const IRP_MN_QUERY_DEVICE_RELATIONS: u32 = 7;
pub const IRP_MN_QUERY_INTERFACE: u32 = 8;
pub const IRP_MN_QUERY_CAPABILITIES: u32 = 9;
pub const IRP_MN_QUERY_RESOURCES: u32 = 10;
pub const IRP_MN_QUERY_RESOURCE_REQUIREMENTS: u32 = 11;
pub const IRP_MN_FILTER_RESOURCE_REQUIREMENTS: u32 = 13;
pub const IRP_MN_READ_CONFIG: u32 = 15;
pub const IRP_MN_QUERY_ID: u32 = 19;
pub const IRP_MN_QUERY_PNP_DEVICE_STATE: u32 = 20;
pub const IRP_MN_QUERY_BUS_INFORMATION: u32 = 21;
pub const IRP_MN_SURPRISE_REMOVAL: u32 = 23;
pub const IRP_MN_SET_POWER: u32 = 2;
pub const IRP_MN_QUERY_POWER: u32 = 3;

pub const SL_PENDING_RETURNED: u32 = 1;
pub const SL_INVOKE_ON_CANCEL: u32 = 0x20;
pub const SL_INVOKE_ON_SUCCESS: u32 = 0x40;
pub const SL_INVOKE_ON_ERROR: u32 = 0x80;

pub const DO_BUFFERED_IO: u32 = 4;
pub const DO_EXCLUSIVE: u32 = 8;
pub const DO_DEVICE_INITIALIZING: u32 = 0x80;
pub const DO_BUS_ENUMERATED_DEVICE: u32 = 0x1000;
pub const FILE_DEVICE_UNKNOWN: u32 = 0x22;
pub const FILE_DEVICE_CONTROLLER: u32 = 4;

pub const SystemPowerState: i32 = 0;
pub const DevicePowerState: i32 = 1;
pub const PowerSystemWorking: i32 = 1;
pub const PowerSystemSleeping3: i32 = 4;
pub const PowerDeviceD0: i32 = 1;
pub const PowerDeviceD3: i32 = 4;
pub const TargetDeviceRelation: i32 = 4;

/// Size and the offsets that a driver's compiled code relies on.
macro_rules! layout {
    ($($kind:ty: $size:literal $(, $($member:ident).+ = $offset:literal)*;)*) => {
        const _: () = {$(
            assert!(size_of::<$kind>() == $size);
            $(assert!(core::mem::offset_of!($kind, $($member).+) == $offset);)*
        )*};
    };
}

layout! {
    UNICODE_STRING: 16, Buffer = 8;
    KEVENT: 24, Header.SignalState = 4, Header.WaitListHead = 8;
    KMUTANT: 56, OwnerThread = 40;
    FAST_MUTEX: 56, Event = 24, OldIrql = 48;
    KDEVICE_QUEUE: 40, Lock = 24;
    DEVICE_OBJECT: 336, AttachedDevice = 24, Flags = 48, DeviceExtension = 64, StackSize = 76,
        Queue = 80, AlignmentRequirement = 152, DeviceQueue = 160, Dpc = 200, DeviceLock = 280,
        Reserved = 320;
    DRIVER_OBJECT: 336, DriverExtension = 48, DriverUnload = 104, MajorFunction = 112;
    DRIVER_EXTENSION: 40, AddDevice = 8;
    FILE_OBJECT: 216, FsContext = 24, FileName = 88, Lock = 128, FileObjectExtension = 208;
    IO_STATUS_BLOCK: 16, Information = 8;
    IRP: 208, AssociatedIrp = 24, IoStatus = 48, PendingReturned = 65, Cancel = 68, CancelIrql = 69,
        CancelRoutine = 104, UserBuffer = 112, Tail = 120;
    IRP_Tail_Overlay: 80, __bindgen_anon_2.ListEntry = 48,
        __bindgen_anon_2.__bindgen_anon_1 = 64;
    IO_STACK_LOCATION: 72, Parameters = 8, DeviceObject = 40, CompletionRoutine = 56, Context = 64;
    IO_STACK_LOCATION_DeviceIoControl: 32, InputBufferLength = 8, IoControlCode = 16,
        Type3InputBuffer = 24;
    IO_STACK_LOCATION_Power: 32, Type = 8, State = 16, ShutdownType = 24;
    DEVICE_CAPABILITIES: 64, DeviceState = 16;
    IO_CSQ: 64, CsqPeekNextIrp = 24, ReservePointer = 56;
    IO_CSQ_IRP_CONTEXT: 24;
    IO_REMOVE_LOCK: 32, Common.IoCount = 4, Common.RemoveEvent = 8;
    GUID: 16;
}
