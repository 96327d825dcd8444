//! The device: what is known of one, how the driver is attached to it and how it goes.

use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicPtr, Ordering};

use wdk_sys::{
    DEVICE_OBJECT, DO_DEVICE_INITIALIZING, DO_POWER_PAGABLE, FILE_DEVICE_SECURE_OPEN,
    FILE_DEVICE_UNKNOWN, GUID, NT_SUCCESS, NTSTATUS, PDEVICE_OBJECT, PDRIVER_OBJECT, PIO_WORKITEM,
    STATUS_DEVICE_NOT_READY, STATUS_DEVICE_REMOVED, STATUS_INSUFFICIENT_RESOURCES,
    STATUS_NO_SUCH_DEVICE, STATUS_SUCCESS, UNICODE_STRING,
    ntddk::{
        IoAllocateWorkItem, IoAttachDeviceToDeviceStack, IoCreateDevice, IoDeleteDevice,
        IoDetachDevice, IoFreeWorkItem, IoRegisterDeviceInterface, IoSetDeviceInterfaceState,
        RtlFreeUnicodeString,
    },
};

use crate::function::{Function, Presence};
use crate::irp::LowerDevice;
use crate::sync::{FALSE, Mutex, RemoveLock};

/// The device extension.
#[derive(Debug)]
pub(crate) struct Device<F> {
    /// The PDO that the bus driver made.
    pub(crate) physical: PDEVICE_OBJECT,
    /// The device object whose extension this is.
    pub(crate) object: PDEVICE_OBJECT,
    /// Where IRPs go on to: the device object to which this one is attached. Until that has told
    /// which it is, the PDO.
    lower: AtomicPtr<DEVICE_OBJECT>,
    pub(crate) removal: RemoveLock,
    interface: Option<DeviceInterface>,
    /// Wakes the device up.
    pub(crate) waker: WorkItem,
    state: Mutex<State<F>>,
}

// SAFETY: the addresses never change, and are for kernel routines that may be called from anywhere at
// once. The other fields are Sync.
unsafe impl<F: Send> Sync for Device<F> {}

/// What a device is in.
#[derive(Debug)]
enum State<F> {
    /// It has no resources: before START, after STOP.
    Stopped,
    Started(F),
    /// It is gone for good.
    Removed,
}

impl<F: Function> Device<F> {
    /// The extension of a device object.
    ///
    /// # Safety
    ///
    /// `object` was made by `add_device` and has not been deleted; it is not during `'a`.
    pub(crate) const unsafe fn of<'a>(object: PDEVICE_OBJECT) -> &'a Self {
        // SAFETY: a valid device object (caller).
        let extension = unsafe { (*object).DeviceExtension };
        // SAFETY: `add_device` has put a device there, which stays as long as the object.
        unsafe { &*extension.cast::<Self>() }
    }

    /// Where IRPs go on to.
    pub(crate) fn lower(&self) -> LowerDevice {
        // SAFETY: never NULL.
        let lower = unsafe { NonNull::new_unchecked(self.lower.load(Ordering::Acquire)) };
        // SAFETY: this, or the PDO, is below in the stack; `delete` detaches when nobody is left.
        unsafe { LowerDevice::new(lower) }
    }

    /// Calls `f` with the function, which nobody else has meanwhile, or with the reason why there is
    /// none. `PASSIVE_LEVEL`.
    pub(crate) fn with<R>(&self, f: impl FnOnce(Result<&mut F, NTSTATUS>) -> R) -> R {
        self.state.with(|state| match state {
            State::Started(function) => f(Ok(function)),
            State::Stopped => f(Err(STATUS_DEVICE_NOT_READY)),
            State::Removed => f(Err(STATUS_DEVICE_REMOVED)),
        })
    }

    /// Makes a function of the device, instead of one that it has. `PASSIVE_LEVEL`.
    ///
    /// # Errors
    ///
    /// What making it fails with.
    pub(crate) fn begin(&self, make: impl FnOnce() -> Result<F, NTSTATUS>) -> Result<(), NTSTATUS> {
        // The PnP manager stops a device before it starts it again.
        self.end(Presence::Present, false);
        let function = make()?;
        self.state.with(|state| *state = State::Started(function));
        // Programs come as soon as it is enabled, so everything else is ready by then.
        self.enable_interface(true).inspect_err(|_| self.end(Presence::Present, false))
    }

    /// Takes the function apart, if there is one. `PASSIVE_LEVEL`.
    pub(crate) fn end(&self, presence: Presence, for_good: bool) {
        if for_good {
            // An interface that was never enabled cannot be disabled, which is as good.
            let _was_enabled = self.enable_interface(false);
        }
        self.state.with(|state| {
            let next = match state {
                State::Removed => State::Removed,
                _ if for_good => State::Removed,
                _ => State::Stopped,
            };
            if let State::Started(function) = core::mem::replace(state, next) {
                function.stop(presence);
            }
        });
    }

    fn enable_interface(&self, enabled: bool) -> Result<(), NTSTATUS> {
        self.interface.as_ref().map_or(Ok(()), |interface| interface.enable(enabled))
    }

    /// Detaches and deletes the device.
    ///
    /// # Safety
    ///
    /// `object` was made by `add_device`. Nobody uses it any more: the remove lock has been waited
    /// for. `PASSIVE_LEVEL`.
    pub(crate) unsafe fn delete(object: PDEVICE_OBJECT) {
        // SAFETY: still there (caller).
        let extension = unsafe { (*object).DeviceExtension }.cast::<Self>();
        // SAFETY: `add_device` has put a device there, and it has not been deleted (caller).
        let lower = unsafe { &*extension }.lower();
        // SAFETY: attached in `add_device`, which has stored what to.
        unsafe { IoDetachDevice(lower.as_ptr()) };
        // SAFETY: nobody uses it any more (caller).
        unsafe { ptr::drop_in_place(extension) };
        // SAFETY: detached, and nobody uses it any more (caller).
        unsafe { IoDeleteDevice(object) };
    }
}

/// A work item of the kernel's, freed when dropped.
///
/// # Invariants
///
/// Allocated by `IoAllocateWorkItem`; not queued when this is dropped.
#[derive(Debug)]
pub(crate) struct WorkItem(PIO_WORKITEM);

impl WorkItem {
    /// # Safety
    ///
    /// `object` is a device object of this driver, and what is queued has begun to run when this is
    /// dropped.
    unsafe fn allocate(object: PDEVICE_OBJECT) -> Result<Self, NTSTATUS> {
        // SAFETY: a device object (caller).
        let item = unsafe { IoAllocateWorkItem(object) };
        // INVARIANT: just allocated.
        if item.is_null() { Err(STATUS_INSUFFICIENT_RESOURCES) } else { Ok(Self(item)) }
    }

    pub(crate) const fn as_ptr(&self) -> PIO_WORKITEM {
        self.0
    }
}

impl Drop for WorkItem {
    fn drop(&mut self) {
        // SAFETY: allocated, and not queued (invariant).
        unsafe { IoFreeWorkItem(self.0) };
    }
}

/// The device interface, by which programs find the device.
///
/// # Invariants
///
/// `link` was filled in by `IoRegisterDeviceInterface`.
#[derive(Debug)]
struct DeviceInterface {
    link: UNICODE_STRING,
}

impl DeviceInterface {
    /// Registers an interface of `class`, not enabled yet. `PASSIVE_LEVEL`.
    ///
    /// # Safety
    ///
    /// `physical` is a PDO.
    unsafe fn register(physical: PDEVICE_OBJECT, class: &GUID) -> Result<Self, NTSTATUS> {
        let mut link = UNICODE_STRING::default();
        let class: *const GUID = class;
        // SAFETY: a PDO (caller); the others live through the call.
        let status =
            unsafe { IoRegisterDeviceInterface(physical, class, ptr::null_mut(), &raw mut link) };
        // INVARIANT: filled in, since it is a success.
        if NT_SUCCESS(status) { Ok(Self { link }) } else { Err(status) }
    }

    /// Lets programs open the device by the interface, or no more. `PASSIVE_LEVEL`.
    fn enable(&self, enabled: bool) -> Result<(), NTSTATUS> {
        let mut link = self.link;
        // SAFETY: the link of a registered interface (invariant).
        let status = unsafe { IoSetDeviceInterfaceState(&raw mut link, enabled.into()) };
        if NT_SUCCESS(status) { Ok(()) } else { Err(status) }
    }
}

impl Drop for DeviceInterface {
    fn drop(&mut self) {
        // SAFETY: allocated by IoRegisterDeviceInterface (invariant).
        unsafe { RtlFreeUnicodeString(&raw mut self.link) };
    }
}

/// `AddDevice`: attaches the driver to a device of its. `PASSIVE_LEVEL`.
///
/// # Safety
///
/// For the plug-and-play manager only.
pub(crate) unsafe extern "C" fn add_device<F: Function>(
    driver: PDRIVER_OBJECT,
    physical: PDEVICE_OBJECT,
) -> NTSTATUS {
    // The extension follows the device object, at a multiple of 16 bytes.
    const { assert!(align_of::<Device<F>>() <= 16 && size_of::<Device<F>>() < 0x1000) };
    #[expect(clippy::cast_possible_truncation, reason = "less than a page")]
    let size = size_of::<Device<F>>() as u32;

    let mut object = ptr::null_mut();
    // SAFETY: the PnP manager's driver object; `object` lives through the call.
    let status = unsafe {
        IoCreateDevice(
            driver,
            size,
            ptr::null_mut(),
            FILE_DEVICE_UNKNOWN,
            FILE_DEVICE_SECURE_OPEN,
            FALSE,
            &raw mut object,
        )
    };
    if !NT_SUCCESS(status) {
        return status;
    }
    // SAFETY: just made, with room for a device; `physical` is the PnP manager's PDO.
    if let Err(status) = unsafe { attach::<F>(object, physical) } {
        // SAFETY: made above, and not attached.
        unsafe { IoDeleteDevice(object) };
        return status;
    }
    STATUS_SUCCESS
}

/// Fills in the extension and attaches `object` to the device stack. After a failure it is not.
///
/// # Safety
///
/// `object` is a device object just made, with room for a `Device`; `physical` is a PDO.
unsafe fn attach<F: Function>(
    object: PDEVICE_OBJECT,
    physical: PDEVICE_OBJECT,
) -> Result<(), NTSTATUS> {
    let interface = match &F::INTERFACE {
        // SAFETY: a PDO (caller).
        Some(class) => Some(unsafe { DeviceInterface::register(physical, class) }?),
        None => None,
    };
    // SAFETY: a device object (caller); the IRP for which the item is queued holds the remove lock
    // until it runs.
    let waker = unsafe { WorkItem::allocate(object) }?;
    let device = Device::<F> {
        physical,
        object,
        lower: AtomicPtr::new(physical),
        // SAFETY: initialised below.
        removal: unsafe { RemoveLock::uninitialized() },
        interface,
        waker,
        // SAFETY: initialised below.
        state: unsafe { Mutex::uninitialized(State::Stopped) },
    };
    // SAFETY: a valid device object (caller).
    let extension = unsafe { (*object).DeviceExtension }.cast::<Device<F>>();
    // SAFETY: room for a device, and nobody else has it: the object is attached to nothing.
    unsafe { extension.write(device) };
    // SAFETY: just written.
    let device = unsafe { &*extension };
    // SAFETY: in its place, and used by nobody yet.
    unsafe { device.removal.initialize() };
    // SAFETY: the same.
    unsafe { device.state.initialize() };
    // Power IRPs then come at PASSIVE_LEVEL, where one may wait.
    // SAFETY: a valid device object (caller), nobody else's yet.
    unsafe { (*object).Flags |= DO_POWER_PAGABLE };
    // SAFETY: both are device objects (caller), and `object` is attached to nothing.
    let lower = unsafe { IoAttachDeviceToDeviceStack(object, physical) };
    if lower.is_null() {
        // SAFETY: written above, attached to nothing, and not used any more.
        unsafe { ptr::drop_in_place(extension) };
        return Err(STATUS_NO_SUCH_DEVICE);
    }
    device.lower.store(lower, Ordering::Release);
    // SAFETY: a valid device object, whose flags are its driver's.
    unsafe { (*object).Flags &= !DO_DEVICE_INITIALIZING };
    Ok(())
}
