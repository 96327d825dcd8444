//! Structures and unions: size, alignment, and the offset of every field.

// Integers and lists.
same_layout! {
    _LARGE_INTEGER__bindgen_ty_1 {
        LowPart, HighPart,
    }
    _LARGE_INTEGER__bindgen_ty_2 {
        LowPart, HighPart,
    }
    _LARGE_INTEGER {
        __bindgen_anon_1, u, QuadPart,
    }
    _LIST_ENTRY {
        Flink, Blink,
    }
    _SINGLE_LIST_ENTRY {
        Next,
    }
}

// DPCs.
same_layout! {
    _KDPC {
        DpcListEntry, DeferredRoutine, DeferredContext, SystemArgument1, SystemArgument2,
        DpcData,
    }
    _PROCESSOR_NUMBER {
        Group, Number, Reserved,
    }
}

// Interrupts.
same_layout! {
    _KINTERRUPT {}
    _IO_INTERRUPT_MESSAGE_INFO_ENTRY {
        MessageAddress, TargetProcessorSet, InterruptObject, MessageData, Vector, Irql,
        Mode, Polarity,
    }
    _IO_INTERRUPT_MESSAGE_INFO {
        UnifiedIrql, MessageCount, MessageInfo,
    }
    _IO_CONNECT_INTERRUPT_FULLY_SPECIFIED_PARAMETERS {
        PhysicalDeviceObject, InterruptObject, ServiceRoutine, ServiceContext, SpinLock,
        SynchronizeIrql, FloatingSave, ShareVector, Vector, Irql, InterruptMode,
        ProcessorEnableMask, Group,
    }
    _IO_CONNECT_INTERRUPT_LINE_BASED_PARAMETERS {
        PhysicalDeviceObject, InterruptObject, ServiceRoutine, ServiceContext, SpinLock,
        SynchronizeIrql, FloatingSave,
    }
    _IO_CONNECT_INTERRUPT_MESSAGE_BASED_PARAMETERS__bindgen_ty_1 {
        Generic, InterruptMessageTable, InterruptObject,
    }
    _IO_CONNECT_INTERRUPT_MESSAGE_BASED_PARAMETERS {
        PhysicalDeviceObject, ConnectionContext, MessageServiceRoutine, ServiceContext,
        SpinLock, SynchronizeIrql, FloatingSave, FallBackServiceRoutine,
    }
    _IO_CONNECT_INTERRUPT_PARAMETERS__bindgen_ty_1 {
        FullySpecified, LineBased, MessageBased,
    }
    _IO_CONNECT_INTERRUPT_PARAMETERS {
        Version, __bindgen_anon_1,
    }
    _IO_DISCONNECT_INTERRUPT_PARAMETERS__bindgen_ty_1 {
        Generic, InterruptObject, InterruptMessageTable,
    }
    _IO_DISCONNECT_INTERRUPT_PARAMETERS {
        Version, ConnectionContext,
    }
    _IO_REPORT_INTERRUPT_ACTIVE_STATE_PARAMETERS__bindgen_ty_1 {
        Generic, InterruptObject, InterruptMessageTable,
    }
    _IO_REPORT_INTERRUPT_ACTIVE_STATE_PARAMETERS {
        Version, ConnectionContext,
    }
}

// The I/O manager and plug and play.
same_layout! {
    UNICODE_STRING {
        Length, MaximumLength, Buffer,
    }
    GUID {
        Data1, Data2, Data3, Data4,
    }
    DISPATCHER_HEADER {
        Lock = __bindgen_anon_1.Lock, SignalState, WaitListHead,
    }
    KEVENT {
        Header,
    }
    _IO_WORKITEM {}
    KMUTANT {
        Header, MutantListEntry, OwnerThread, Abandoned, ApcDisable,
    }
    FAST_MUTEX {
        Count, Owner, Contention, Event, OldIrql,
    }
    KDEVICE_QUEUE {
        Type, Size, DeviceListHead, Lock, Busy = __bindgen_anon_1.Busy,
    }
    DRIVER_EXTENSION {
        DriverObject, AddDevice, Count, ServiceKeyName,
    }
    DRIVER_OBJECT {
        Type, Size, DeviceObject, Flags, DriverStart, DriverSize, DriverSection,
        DriverExtension, DriverName, HardwareDatabase, FastIoDispatch, DriverInit,
        DriverStartIo, DriverUnload, MajorFunction,
    }
    FILE_OBJECT {
        Type, Size, DeviceObject, Vpb, FsContext, FsContext2, SectionObjectPointer,
        PrivateCacheMap, FinalStatus, RelatedFileObject, LockOperation, DeletePending,
        ReadAccess, WriteAccess, DeleteAccess, SharedRead, SharedWrite, SharedDelete, Flags,
        FileName, CurrentByteOffset, Waiters, Busy, LastLock, Lock, Event,
        CompletionContext, IrpListLock, IrpList, FileObjectExtension,
    }
    IO_STATUS_BLOCK_Status = _IO_STATUS_BLOCK__bindgen_ty_1 {
        Status, Pointer,
    }
    IO_STATUS_BLOCK {
        __bindgen_anon_1, Information,
    }
    IRP_AssociatedIrp = _IRP__bindgen_ty_1 {
        MasterIrp, IrpCount, SystemBuffer,
    }
    IRP_CurrentStackLocation = _IRP__bindgen_ty_3__bindgen_ty_1__bindgen_ty_2__bindgen_ty_1 {
        CurrentStackLocation, PacketType,
    }
    IRP_ListEntry = _IRP__bindgen_ty_3__bindgen_ty_1__bindgen_ty_2 {
        ListEntry, __bindgen_anon_1,
    }
    IRP_Tail_Overlay = _IRP__bindgen_ty_3__bindgen_ty_1 {
        DriverContext = __bindgen_anon_1.__bindgen_anon_1.DriverContext, Thread,
        AuxiliaryBuffer, __bindgen_anon_2, OriginalFileObject,
    }
    IRP_Tail = _IRP__bindgen_ty_3 {
        Overlay, Apc, CompletionKey,
    }
    IRP {
        Type, Size, MdlAddress, Flags, AssociatedIrp, ThreadListEntry, IoStatus,
        RequestorMode, PendingReturned, StackCount, CurrentLocation, Cancel, CancelIrql,
        ApcEnvironment, AllocationFlags, UserIosb, UserEvent, Overlay, CancelRoutine,
        UserBuffer, Tail,
    }
    IO_STACK_LOCATION_Create = _IO_STACK_LOCATION__bindgen_ty_1__bindgen_ty_1 {
        SecurityContext, Options, FileAttributes, ShareAccess, EaLength,
    }
    IO_STACK_LOCATION_DeviceIoControl = _IO_STACK_LOCATION__bindgen_ty_1__bindgen_ty_17 {
        OutputBufferLength, InputBufferLength, IoControlCode, Type3InputBuffer,
    }
    IO_STACK_LOCATION_QueryDeviceRelations = _IO_STACK_LOCATION__bindgen_ty_1__bindgen_ty_25 {
        Type,
    }
    IO_STACK_LOCATION_DeviceCapabilities = _IO_STACK_LOCATION__bindgen_ty_1__bindgen_ty_27 {
        Capabilities,
    }
    IO_STACK_LOCATION_ReadWriteConfig = _IO_STACK_LOCATION__bindgen_ty_1__bindgen_ty_29 {
        WhichSpace, Buffer, Offset, Length,
    }
    IO_STACK_LOCATION_QueryId = _IO_STACK_LOCATION__bindgen_ty_1__bindgen_ty_31 {
        IdType,
    }
    IO_STACK_LOCATION_Power = _IO_STACK_LOCATION__bindgen_ty_1__bindgen_ty_36 {
        Type, State, ShutdownType, SystemContext = __bindgen_anon_1.SystemContext,
    }
    IO_STACK_LOCATION_StartDevice = _IO_STACK_LOCATION__bindgen_ty_1__bindgen_ty_37 {
        AllocatedResources, AllocatedResourcesTranslated,
    }
    IO_STACK_LOCATION_Others = _IO_STACK_LOCATION__bindgen_ty_1__bindgen_ty_39 {
        Argument1, Argument2, Argument3, Argument4,
    }
    IO_STACK_LOCATION_Parameters = _IO_STACK_LOCATION__bindgen_ty_1 {
        Create, DeviceIoControl, QueryDeviceRelations, DeviceCapabilities, ReadWriteConfig,
        QueryId, Power, StartDevice, Others,
    }
    IO_STACK_LOCATION {
        MajorFunction, MinorFunction, Flags, Control, Parameters, DeviceObject, FileObject,
        CompletionRoutine, Context,
    }
    DEVICE_CAPABILITIES {
        Size, Version, _bitfield_1, Address, UINumber, DeviceState, SystemWake, DeviceWake,
        D1Latency, D2Latency, D3Latency,
    }
    POWER_STATE {
        SystemState, DeviceState,
    }
    DEVICE_RELATIONS {
        Count, Objects,
    }
    IO_CSQ {
        Type, CsqInsertIrp, CsqRemoveIrp, CsqPeekNextIrp, CsqAcquireLock, CsqReleaseLock,
        CsqCompleteCanceledIrp, ReservePointer,
    }
    IO_CSQ_IRP_CONTEXT {
        Type, Irp, Csq,
    }
    IO_REMOVE_LOCK_COMMON_BLOCK {
        Removed, Reserved, IoCount, RemoveEvent,
    }
    IO_REMOVE_LOCK {
        Common,
    }
}

// Resources.
same_layout! {
    _CM_PARTIAL_RESOURCE_DESCRIPTOR {
        Type, ShareDisposition, Flags, u,
    }
    _CM_PARTIAL_RESOURCE_DESCRIPTOR__bindgen_ty_1 {
        Generic, Port, Interrupt, MessageInterrupt, Memory, Dma, DevicePrivate, BusNumber,
        DeviceSpecificData, Memory40, Memory48, Memory64,
    }
    _CM_PARTIAL_RESOURCE_DESCRIPTOR__bindgen_ty_1__bindgen_ty_3 {
        Level, Vector, Affinity,
    }
    _CM_PARTIAL_RESOURCE_DESCRIPTOR__bindgen_ty_1__bindgen_ty_4 {
        __bindgen_anon_1,
    }
    _CM_PARTIAL_RESOURCE_DESCRIPTOR__bindgen_ty_1__bindgen_ty_4__bindgen_ty_1 {
        Raw, Translated,
    }
    _CM_PARTIAL_RESOURCE_DESCRIPTOR__bindgen_ty_1__bindgen_ty_4__bindgen_ty_1__bindgen_ty_1 {
        Reserved, MessageCount, Vector, Affinity,
    }
    _CM_PARTIAL_RESOURCE_DESCRIPTOR__bindgen_ty_1__bindgen_ty_4__bindgen_ty_1__bindgen_ty_2 {
        Level, Vector, Affinity,
    }
    _CM_PARTIAL_RESOURCE_DESCRIPTOR__bindgen_ty_1__bindgen_ty_6 {
        Channel, Port, Reserved1,
    }
    _CM_PARTIAL_RESOURCE_DESCRIPTOR__bindgen_ty_1__bindgen_ty_7 {
        Data,
    }
    _CM_PARTIAL_RESOURCE_DESCRIPTOR__bindgen_ty_1__bindgen_ty_8 {
        Start, Length, Reserved,
    }
    _CM_PARTIAL_RESOURCE_DESCRIPTOR__bindgen_ty_1__bindgen_ty_9 {
        DataSize, Reserved1, Reserved2,
    }
    _CM_PARTIAL_RESOURCE_LIST {
        Version, Revision, Count, PartialDescriptors,
    }
    _CM_FULL_RESOURCE_DESCRIPTOR {
        InterfaceType, BusNumber, PartialResourceList,
    }
    _CM_RESOURCE_LIST {
        Count, List,
    }
    _CM_PARTIAL_RESOURCE_DESCRIPTOR__bindgen_ty_1__bindgen_ty_1 {
        Start, Length,
    }
    _CM_PARTIAL_RESOURCE_DESCRIPTOR__bindgen_ty_1__bindgen_ty_2 {
        Start, Length,
    }
    _CM_PARTIAL_RESOURCE_DESCRIPTOR__bindgen_ty_1__bindgen_ty_5 {
        Start, Length,
    }
    _CM_PARTIAL_RESOURCE_DESCRIPTOR__bindgen_ty_1__bindgen_ty_10 {
        Start, Length40,
    }
    _CM_PARTIAL_RESOURCE_DESCRIPTOR__bindgen_ty_1__bindgen_ty_11 {
        Start, Length48,
    }
    _CM_PARTIAL_RESOURCE_DESCRIPTOR__bindgen_ty_1__bindgen_ty_12 {
        Start, Length64,
    }
}

// The WDK aligns a device object to 16 bytes, which mingw-w64's header leaves out.
same_offsets! {
    DEVICE_OBJECT {
        Type, Size, ReferenceCount, DriverObject, NextDevice, AttachedDevice, CurrentIrp,
        Timer, Flags, Characteristics, Vpb, DeviceExtension, DeviceType, StackSize, Queue,
        AlignmentRequirement, DeviceQueue, Dpc, ActiveThreadCount, SecurityDescriptor,
        DeviceLock, SectorSize, Spare1, DeviceObjectExtension, Reserved,
    }
}
