//! The sound part: a device is added, started, served and removed, and at each [`Moment`] the misdeed that
//! was chosen for it is done.

use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, AtomicU32, Ordering};

use wdk_sys::{
    _KINTERRUPT, BOOLEAN, CM_PARTIAL_RESOURCE_DESCRIPTOR, CM_RESOURCE_LIST, CONNECT_LINE_BASED,
    CmResourceTypeMemory, DEVICE_OBJECT, DO_DEVICE_INITIALIZING, FILE_DEVICE_UNKNOWN,
    IO_CONNECT_INTERRUPT_PARAMETERS, IO_DISCONNECT_INTERRUPT_PARAMETERS, IRP, IRP_MN_REMOVE_DEVICE,
    IRP_MN_START_DEVICE, IRP_MN_STOP_DEVICE, IRP_MN_SURPRISE_REMOVAL, KPROCESSOR_MODE,
    LARGE_INTEGER, NT_SUCCESS, NTSTATUS, PAGE_NOCACHE, PAGE_READWRITE, PDEVICE_OBJECT,
    PDRIVER_OBJECT, PIO_STACK_LOCATION, PIRP, PKINTERRUPT, PVOID,
    STATUS_DEVICE_CONFIGURATION_ERROR, STATUS_INSUFFICIENT_RESOURCES,
    STATUS_INVALID_DEVICE_REQUEST, STATUS_IO_TIMEOUT, STATUS_NO_SUCH_DEVICE, STATUS_SUCCESS,
    STATUS_UNSUCCESSFUL,
    ntddk::{
        IoAttachDeviceToDeviceStack, IoConnectInterruptEx, IoCreateDevice, IoDeleteDevice,
        IoDetachDevice, IoDisconnectInterruptEx, IoForwardIrpSynchronously, IofCompleteRequest,
        KeDelayExecutionThread, MmMapIoSpaceEx, MmUnmapIoSpace,
    },
};

use crate::misdeeds::{Moment, commit};

/// Registers, as offsets in units of 32 bits.
const INTERRUPT_STATUS: usize = 0x24 / 4;
const INTERRUPT_RAISE: usize = 0x60 / 4;
const INTERRUPT_ACKNOWLEDGE: usize = 0x64 / 4;

/// Bytes that are mapped.
pub(crate) const LENGTH: u64 = 0x100;

// As calls take them.
pub(crate) const FALSE: BOOLEAN = 0;
pub(crate) const TRUE: BOOLEAN = 1;
pub(crate) const KERNEL_MODE: KPROCESSOR_MODE = 0;

/// The device extension.
///
/// The service routine and misdeeds on other processors have it at the same time, so all of it is atomic.
#[derive(Debug)]
pub(crate) struct Device {
    pub(crate) object: AtomicPtr<DEVICE_OBJECT>,
    /// What the interrupt is connected for.
    pub(crate) physical: AtomicPtr<DEVICE_OBJECT>,
    lower: AtomicPtr<DEVICE_OBJECT>,
    /// NULL unless they are mapped.
    pub(crate) registers: AtomicPtr<u32>,
    /// NULL unless it is connected.
    pub(crate) interrupt: AtomicPtr<_KINTERRUPT>,
    /// The START.
    pub(crate) irp: AtomicPtr<IRP>,
    pub(crate) claims: AtomicBool,
    pub(crate) acknowledges: AtomicBool,
    /// Whether what a connect that failed has stored is taken for an interrupt object.
    pub(crate) trusts_failures: AtomicBool,
    /// Whether START is completed.
    pub(crate) completes: AtomicBool,
    /// How REMOVE ends.
    pub(crate) outcome: AtomicI32,
    served: AtomicU32,
}

impl Device {
    /// The extension of a device object.
    ///
    /// # Safety
    ///
    /// `object` was made by [`add_device`], and is there as long as the reference.
    const unsafe fn of<'a>(object: PDEVICE_OBJECT) -> &'a Self {
        // SAFETY: a device object (caller).
        let extension = unsafe { (*object).DeviceExtension };
        // SAFETY: it was made with room for this, zeroed, of which every field can be made.
        unsafe { &*extension.cast() }
    }

    /// Connects the service routine to the device's line.
    pub(crate) fn connect(&self) -> NTSTATUS {
        let mut parameters = IO_CONNECT_INTERRUPT_PARAMETERS {
            Version: CONNECT_LINE_BASED,
            ..IO_CONNECT_INTERRUPT_PARAMETERS::default()
        };
        // SAFETY: the default is zeroes, so every member is initialised.
        let line = unsafe { &mut parameters.__bindgen_anon_1.LineBased };
        line.PhysicalDeviceObject = self.physical.load(Ordering::Relaxed);
        line.InterruptObject = self.interrupt.as_ptr();
        line.ServiceRoutine = Some(service);
        line.ServiceContext = ptr::from_ref(self).cast_mut().cast();
        // SAFETY: filled in for its version; the extension is complete and stays until it is removed.
        let status = unsafe { IoConnectInterruptEx(&raw mut parameters) };
        let connected = !self.interrupt.load(Ordering::Relaxed).is_null();
        if NT_SUCCESS(status) && connected && parameters.Version == CONNECT_LINE_BASED {
            return status;
        }
        if NT_SUCCESS(status) && connected {
            self.disconnect(parameters.Version);
        }
        // What a call that failed has stored means nothing.
        if !self.trusts_failures.load(Ordering::Relaxed) {
            self.interrupt.store(ptr::null_mut(), Ordering::Relaxed);
        }
        if NT_SUCCESS(status) { STATUS_UNSUCCESSFUL } else { status }
    }

    /// Disconnects with `version`; that there was something connected is not forgotten.
    pub(crate) fn disconnect(&self, version: u32) {
        let mut parameters = IO_DISCONNECT_INTERRUPT_PARAMETERS {
            Version: version,
            ..IO_DISCONNECT_INTERRUPT_PARAMETERS::default()
        };
        parameters.ConnectionContext.InterruptObject = self.interrupt.load(Ordering::Relaxed);
        // SAFETY: connected, with this version, unless a misdeed asks for something else.
        unsafe { IoDisconnectInterruptEx(&raw mut parameters) };
    }

    /// Unmaps the registers, so many bytes; where they were is not forgotten.
    pub(crate) fn unmap(&self, length: u64) {
        // SAFETY: mapped with this length, unless a misdeed asks for something else.
        unsafe { MmUnmapIoSpace(self.registers.load(Ordering::Relaxed).cast(), length) };
    }

    /// Reads a register: while they are mapped, unless a misdeed asks for something else.
    fn read(&self, register: usize) -> u32 {
        let place = self.registers.load(Ordering::Relaxed).wrapping_add(register);
        // SAFETY: within the mapping; reading changes nothing in this device.
        unsafe { place.read_volatile() }
    }

    fn write(&self, register: usize, value: u32) {
        let place = self.registers.load(Ordering::Relaxed).wrapping_add(register);
        // SAFETY: within the mapping, which is there.
        unsafe { place.write_volatile(value) };
    }

    /// Which interrupts are raised and not acknowledged.
    pub(crate) fn raised(&self) -> u32 {
        self.read(INTERRUPT_STATUS)
    }

    /// Acknowledges what is raised.
    fn acknowledge(&self) {
        self.write(INTERRUPT_ACKNOWLEDGE, self.raised());
    }

    /// Maps the registers, connects, and has one interrupt served.
    fn begin(&self, start: LARGE_INTEGER) -> NTSTATUS {
        /// A millisecond, relative, in units of 100 ns.
        const PAUSE: i64 = -10_000;
        const PAUSES: u32 = 3_000;

        // SAFETY: BAR 0 of the device, which has it until STOP or REMOVE.
        let registers = unsafe { MmMapIoSpaceEx(start, LENGTH, PAGE_READWRITE | PAGE_NOCACHE) };
        if registers.is_null() {
            return STATUS_INSUFFICIENT_RESOURCES;
        }
        self.registers.store(registers.cast(), Ordering::Relaxed);
        self.acknowledge();
        self.served.store(0, Ordering::Relaxed);
        commit(Moment::Connecting, self);
        let status = self.connect();
        if !NT_SUCCESS(status) {
            commit(Moment::NotConnected, self);
            return status;
        }
        self.write(INTERRUPT_RAISE, 1);
        for _ in 0..PAUSES {
            if self.served.load(Ordering::Relaxed) > 0 {
                commit(Moment::Started, self);
                return STATUS_SUCCESS;
            }
            let mut pause = LARGE_INTEGER { QuadPart: PAUSE };
            // SAFETY: PASSIVE_LEVEL, and the interval is here until it returns.
            let _success = unsafe { KeDelayExecutionThread(KERNEL_MODE, FALSE, &raw mut pause) };
        }
        STATUS_IO_TIMEOUT
    }

    /// Takes back what [`begin`](Self::begin) did, as far as it came, of a device that is there or is gone.
    fn end(&self, there: bool) {
        if !self.interrupt.load(Ordering::Relaxed).is_null() {
            if there {
                self.acknowledge();
            }
            self.disconnect(CONNECT_LINE_BASED);
            self.interrupt.store(ptr::null_mut(), Ordering::Relaxed);
        }
        if !self.registers.load(Ordering::Relaxed).is_null() {
            self.unmap(LENGTH);
            self.registers.store(ptr::null_mut(), Ordering::Relaxed);
        }
    }
}

/// The service routine. Device IRQL.
unsafe extern "C" fn service(_interrupt: PKINTERRUPT, context: PVOID) -> BOOLEAN {
    // SAFETY: the context that it is connected with: the extension, which is there while it is.
    let device = unsafe { &*context.cast::<Device>() };
    if device.raised() == 0 || !device.claims.load(Ordering::Relaxed) {
        return FALSE;
    }
    commit(Moment::Serving, device);
    if device.acknowledges.load(Ordering::Relaxed) {
        device.acknowledge();
        device.served.fetch_add(1, Ordering::Relaxed);
    }
    TRUE
}

/// Puts a device object on the stack of the device. `PASSIVE_LEVEL`.
pub(crate) unsafe extern "C" fn add_device(
    driver: PDRIVER_OBJECT,
    physical: PDEVICE_OBJECT,
) -> NTSTATUS {
    #[expect(clippy::cast_possible_truncation, reason = "a hundred bytes")]
    const EXTENSION: u32 = size_of::<Device>() as u32;

    let mut object = ptr::null_mut();
    // SAFETY: the driver object is this driver's, and the pointer is here to be written.
    let status = unsafe {
        IoCreateDevice(
            driver,
            EXTENSION,
            ptr::null_mut(),
            FILE_DEVICE_UNKNOWN,
            0,
            0,
            &raw mut object,
        )
    };
    if !NT_SUCCESS(status) {
        return status;
    }
    // SAFETY: just made, and given to nobody.
    let device = unsafe { Device::of(object) };
    // SAFETY: both are device objects, and this one is not in a stack.
    let lower = unsafe { IoAttachDeviceToDeviceStack(object, physical) };
    if lower.is_null() {
        // SAFETY: just made, and attached to nothing.
        unsafe { IoDeleteDevice(object) };
        return STATUS_NO_SUCH_DEVICE;
    }
    device.object.store(object, Ordering::Relaxed);
    device.physical.store(physical, Ordering::Relaxed);
    device.lower.store(lower, Ordering::Relaxed);
    device.claims.store(true, Ordering::Relaxed);
    device.acknowledges.store(true, Ordering::Relaxed);
    device.completes.store(true, Ordering::Relaxed);
    // SAFETY: nobody else changes the flags of a device that is being added.
    unsafe { (*object).Flags &= !DO_DEVICE_INITIALIZING };
    commit(Moment::Added, device);
    STATUS_SUCCESS
}

/// `IRP_MJ_PNP`: the lower drivers first, whatever it is, then this one. `PASSIVE_LEVEL`.
pub(crate) unsafe extern "C" fn pnp(object: PDEVICE_OBJECT, irp: PIRP) -> NTSTATUS {
    // SAFETY: the I/O manager calls with a device of this driver, which the IRP keeps.
    let device = unsafe { Device::of(object) };
    let stack = stack_location(irp);
    // SAFETY: the location is this driver's.
    let minor = u32::from(unsafe { (*stack).MinorFunction });
    match minor {
        IRP_MN_STOP_DEVICE => device.end(true),
        IRP_MN_SURPRISE_REMOVAL => device.end(false),
        IRP_MN_REMOVE_DEVICE => {
            device.end(true);
            commit(Moment::Removing, device);
        }
        _ => {}
    }
    let lower = device.lower.load(Ordering::Relaxed);
    // SAFETY: the IRP is this driver's, and the lower device is there while this one is attached.
    let mut status = if unsafe { IoForwardIrpSynchronously(lower, irp) } == 0 {
        STATUS_INVALID_DEVICE_REQUEST
    } else {
        // SAFETY: the IRP is this driver's again.
        let block = unsafe { &(*irp).IoStatus };
        // SAFETY: the member that drivers write.
        unsafe { block.__bindgen_anon_1.Status }
    };
    if minor == IRP_MN_START_DEVICE && NT_SUCCESS(status) {
        device.irp.store(irp, Ordering::Relaxed);
        // SAFETY: the location is this driver's.
        let parameters = unsafe { &(*stack).Parameters };
        // SAFETY: the member that a START has.
        let list = unsafe { parameters.StartDevice.AllocatedResourcesTranslated };
        // SAFETY: the PnP manager's list, which is there as long as the IRP.
        status = unsafe { first_memory(list) }
            .map_or(STATUS_DEVICE_CONFIGURATION_ERROR, |start| device.begin(start));
    }
    if minor == IRP_MN_REMOVE_DEVICE {
        let outcome = device.outcome.load(Ordering::Relaxed);
        // SAFETY: attached to it, since AddDevice.
        unsafe { IoDetachDevice(lower) };
        // SAFETY: the last IRP, and nobody has the object any more.
        unsafe { IoDeleteDevice(object) };
        status = outcome;
    }
    // SAFETY: the IRP is this driver's.
    let block = unsafe { &mut (*irp).IoStatus };
    block.__bindgen_anon_1.Status = status;
    if minor == IRP_MN_START_DEVICE && !device.completes.load(Ordering::Relaxed) {
        return status;
    }
    // SAFETY: this driver's, and given up here.
    unsafe { IofCompleteRequest(irp, 0) };
    if minor == IRP_MN_START_DEVICE {
        commit(Moment::Completed, device);
    }
    status
}

/// `IoGetCurrentIrpStackLocation`.
pub(crate) fn stack_location(irp: PIRP) -> PIO_STACK_LOCATION {
    // SAFETY: an IRP that is this driver's.
    let tail = unsafe { &(*irp).Tail };
    // SAFETY: the member of an IRP that is in no queue.
    let overlay = unsafe { &tail.Overlay };
    // SAFETY: the member of an IRP that is with a driver.
    unsafe { overlay.__bindgen_anon_2.__bindgen_anon_1.CurrentStackLocation }
}

/// Where the first range of device memory in a list begins: of this device, BAR 0.
///
/// # Safety
///
/// `list` is NULL, or a complete list.
unsafe fn first_memory(list: *const CM_RESOURCE_LIST) -> Option<LARGE_INTEGER> {
    if list.is_null() {
        return None;
    }
    // SAFETY: complete (caller), and a PCI device's list has one full descriptor.
    let partial = unsafe { &raw const (*list).List[0].PartialResourceList };
    // SAFETY: as above.
    let count = unsafe { (*partial).Count };
    // SAFETY: as above.
    let first = unsafe { &raw const (*partial).PartialDescriptors };
    let first: *const CM_PARTIAL_RESOURCE_DESCRIPTOR = first.cast();
    for index in 0..count as usize {
        // SAFETY: there are `Count` of them, though the type says one.
        let descriptor = unsafe { first.add(index) };
        // SAFETY: as above.
        let descriptor = unsafe { descriptor.read() };
        if u32::from(descriptor.Type) == CmResourceTypeMemory {
            // SAFETY: the member that a memory descriptor has.
            return Some(unsafe { descriptor.u.Memory.Start });
        }
    }
    None
}
