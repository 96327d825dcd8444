//! The device: what the driver knows of one, how it is attached and how it goes.
//!
//! # What guards what
//!
//! - **The extension itself**: the remove lock. Every IRP holds it from its arrival to its
//!   completion, so nothing is deleted under anyone.
//! - **The registration** (and with it the handler and the mapped registers): the spin lock round
//!   it. An IOCTL uses the registration inside `hardware.with`; STOP and REMOVE take it *out*
//!   inside `hardware.with`, and disconnect what they then alone own, at `PASSIVE_LEVEL`. Who comes
//!   later finds `None`, whose meaning is "not started".
//! - **The handler's state**: the interrupt's own lock. `synchronize` is the only way to it.
//! - **The queue, and which request is being computed**: the queue's spin lock.
//!
//! Locks are taken in this order: registration, queue or interrupt. The deferred half needs no
//! lock for the registration: it runs only while connected.
//!
//! # What happens to requests when the device is stopped
//!
//! `QUERY_STOP` holds the queue and waits until the device is done with what it is computing. What
//! waits keeps waiting, through STOP and the next START, and what arrives between `QUERY_STOP` and
//! STOP joins it: a rebalance of resources fails nothing that was accepted. What arrives while the
//! device has no resources is refused with `STATUS_DEVICE_NOT_READY`. At removal everything is
//! completed with `STATUS_DEVICE_REMOVED`.

use core::ops::Deref;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicPtr, Ordering};

use edu_device::{Completion, EduInterrupt, Requests};
use edu_interface::{DEVICE_INTERFACE, FactorialRequest};
use wdk_sys::{
    DEVICE_OBJECT, DO_DEVICE_INITIALIZING, DO_POWER_PAGABLE, FILE_DEVICE_SECURE_OPEN,
    FILE_DEVICE_UNKNOWN, GUID, NT_SUCCESS, NTSTATUS, PDEVICE_OBJECT, PDRIVER_OBJECT,
    STATUS_NO_SUCH_DEVICE, STATUS_SUCCESS, UNICODE_STRING,
    ntddk::{
        IoAttachDeviceToDeviceStack, IoCreateDevice, IoDeleteDevice, IoDetachDevice,
        IoRegisterDeviceInterface, IoSetDeviceInterfaceState, RtlFreeUnicodeString,
    },
};
use wdm_interrupt::{Dpc, InterruptRegistration};

use crate::irp::LowerDevice;
use crate::queue::Queue;
use crate::registers::Mapping;
use crate::sync::{RemoveLock, SpinLock};

/// The device's connection: an ISR with its deferred half.
pub(crate) type Registration =
    InterruptRegistration<EduInterrupt<Mapping>, Dpc<Completion<DeviceRef>>>;

/// The device extension.
#[derive(Debug)]
pub(crate) struct Device {
    /// The PDO that the bus driver made.
    pub(crate) physical: PDEVICE_OBJECT,
    /// Where IRPs go on to: the device object to which this one is attached. Until that has told
    /// which it is, the PDO.
    lower: AtomicPtr<DEVICE_OBJECT>,
    pub(crate) removal: RemoveLock,
    pub(crate) interface: DeviceInterface,
    /// The connected interrupt, between START and STOP.
    pub(crate) hardware: SpinLock<Option<Registration>>,
    pub(crate) queue: Queue,
}

// SAFETY: `physical` and the link of `interface` are addresses that never change, for kernel
// routines that may be called from anywhere at once. The other fields are Sync.
unsafe impl Sync for Device {}

/// Whether the device is there when its resources are given back.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Presence {
    /// It is, and is silenced.
    Present,
    /// It has been pulled out, and is not touched.
    Gone,
}

impl Device {
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

    /// A reference for the deferred half.
    ///
    /// # Safety
    ///
    /// It is gone before the device is deleted.
    pub(crate) const unsafe fn reference(&self) -> DeviceRef {
        // INVARIANT: as the caller says.
        DeviceRef(NonNull::from_ref(self))
    }

    /// Has the device compute the next request, if there is one and it is free. IRQL: at most
    /// `DISPATCH_LEVEL`.
    pub(crate) fn serve(&self) {
        self.hardware.with(|hardware| {
            if let Some(registration) = hardware {
                // Chosen and begun under one lock, so that nobody disconnects in between.
                if let Some(request) = self.queue.begin() {
                    registration.synchronize(|handler| handler.compute(request.number()));
                }
            }
        });
    }

    /// Disconnects the interrupt and unmaps the registers. The caller has held the queue. The
    /// second time it does nothing. `PASSIVE_LEVEL`.
    pub(crate) fn release_hardware(&self, presence: Presence) {
        if presence == Presence::Present && !self.queue.drain() {
            wdk::println!("edu: the device does not finish; its request will be begun again");
        }
        let Some(registration) = self.hardware.with(Option::take) else {
            return;
        };
        let ended = match presence {
            Presence::Present => registration.disconnect(),
            Presence::Gone => registration.disconnect_removed(),
        };
        let Ok((handler, _completion)) = ended else {
            panic!("PnP IRPs come at PASSIVE_LEVEL");
        };
        let counters = handler.counters();
        wdk::println!(
            "edu: disconnected: {} interrupts served, {} not mine",
            counters.claimed,
            counters.not_mine
        );
        // No service routine can run any more: now the registers may be unmapped.
        drop(handler);
        self.queue.abandon();
    }

    /// Detaches and deletes the device.
    ///
    /// # Safety
    ///
    /// `object` was made by `add_device`. Nobody uses it any more: the remove lock has been waited
    /// for, and the hardware released. `PASSIVE_LEVEL`.
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

/// A device, for the deferred half, which no borrow can reach.
///
/// # Invariants
///
/// The device outlives it: the registration that has it is disconnected before the device is
/// deleted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DeviceRef(NonNull<Device>);

// SAFETY: it gives shared references to the device only, which is Sync.
unsafe impl Send for DeviceRef {}

// SAFETY: as above.
unsafe impl Sync for DeviceRef {}

impl Deref for DeviceRef {
    type Target = Device;

    fn deref(&self) -> &Device {
        // SAFETY: the device outlives this (invariant).
        unsafe { self.0.as_ref() }
    }
}

impl Requests for DeviceRef {
    fn finish(&self, factorial: u32) {
        self.queue.finish(factorial);
    }

    fn begin(&self) -> Option<u32> {
        self.queue.begin().map(FactorialRequest::number)
    }
}

/// The device interface, by which programs find the device.
///
/// # Invariants
///
/// `link` was filled in by `IoRegisterDeviceInterface`.
#[derive(Debug)]
pub(crate) struct DeviceInterface {
    link: UNICODE_STRING,
}

impl DeviceInterface {
    /// Registers the interface, not enabled yet. `PASSIVE_LEVEL`.
    ///
    /// # Errors
    ///
    /// What `IoRegisterDeviceInterface` fails with.
    ///
    /// # Safety
    ///
    /// `physical` is a PDO.
    unsafe fn register(physical: PDEVICE_OBJECT) -> Result<Self, NTSTATUS> {
        let class = GUID {
            Data1: DEVICE_INTERFACE.data1,
            Data2: DEVICE_INTERFACE.data2,
            Data3: DEVICE_INTERFACE.data3,
            Data4: DEVICE_INTERFACE.data4,
        };
        let mut link = UNICODE_STRING::default();
        // SAFETY: a PDO (caller); the others live through the call.
        let status = unsafe {
            IoRegisterDeviceInterface(physical, &raw const class, ptr::null_mut(), &raw mut link)
        };
        // INVARIANT: filled in, since it is a success.
        if NT_SUCCESS(status) { Ok(Self { link }) } else { Err(status) }
    }

    /// Lets programs open the device by the interface, or no more. `PASSIVE_LEVEL`.
    ///
    /// # Errors
    ///
    /// What `IoSetDeviceInterfaceState` fails with.
    pub(crate) fn enable(&self, enabled: bool) -> Result<(), NTSTATUS> {
        let mut link = self.link;
        // SAFETY: the link of a registered interface (invariant). That it is in this state
        // already, is a success.
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
pub(crate) unsafe extern "C" fn add_device(
    driver: PDRIVER_OBJECT,
    physical: PDEVICE_OBJECT,
) -> NTSTATUS {
    #[expect(clippy::cast_possible_truncation, reason = "a few hundred bytes")]
    const SIZE: u32 = size_of::<Device>() as u32;
    // The extension follows the device object, at a multiple of 16 bytes.
    const { assert!(align_of::<Device>() <= 16) };

    let mut object = ptr::null_mut();
    // FILE_DEVICE_SECURE_OPEN: the device's security descriptor, which the INF sets, also guards
    // names below the device's own. The device has no name; programs come by the interface.
    // SAFETY: the PnP manager's driver object; `object` lives through the call.
    let status = unsafe {
        IoCreateDevice(
            driver,
            SIZE,
            ptr::null_mut(),
            FILE_DEVICE_UNKNOWN,
            FILE_DEVICE_SECURE_OPEN,
            crate::sync::FALSE,
            &raw mut object,
        )
    };
    if !NT_SUCCESS(status) {
        return status;
    }
    // SAFETY: just made, with room for a device; `physical` is the PnP manager's PDO.
    match unsafe { attach(object, physical) } {
        Ok(()) => {
            wdk::println!("edu: attached to a device");
            STATUS_SUCCESS
        }
        Err(status) => {
            // SAFETY: made above, and not attached.
            unsafe { IoDeleteDevice(object) };
            status
        }
    }
}

/// Fills in the extension and attaches `object` to the device stack. After a failure it is not.
///
/// Attaching comes last: from then on the object is in the stack, and whoever finds it there may
/// send it an IRP.
///
/// # Safety
///
/// `object` is a device object just made, with room for a `Device`; `physical` is a PDO.
unsafe fn attach(object: *mut DEVICE_OBJECT, physical: PDEVICE_OBJECT) -> Result<(), NTSTATUS> {
    // SAFETY: a PDO (caller).
    let interface = unsafe { DeviceInterface::register(physical) }?;
    // SAFETY: a valid device object (caller).
    let extension = unsafe { (*object).DeviceExtension }.cast::<Device>();
    // SAFETY: the extension has room for a device (caller).
    let removal = unsafe { &raw mut (*extension).removal };
    // SAFETY: within the extension, so not NULL.
    let removal = unsafe { NonNull::new_unchecked(removal) };
    let device = Device {
        physical,
        lower: AtomicPtr::new(physical),
        // SAFETY: initialised below.
        removal: unsafe { RemoveLock::uninitialized() },
        interface,
        hardware: SpinLock::new(None),
        // SAFETY: initialised below, after the remove lock, which is the device's as the queue is.
        queue: unsafe { Queue::uninitialized(removal) },
    };
    // SAFETY: room for a device, and nobody else has it: the object is attached to nothing.
    unsafe { extension.write(device) };
    // SAFETY: just written.
    let device = unsafe { &*extension };
    // SAFETY: in its place, and used by nobody yet.
    unsafe { device.removal.initialize() };
    // SAFETY: the same.
    let mut outcome = unsafe { device.queue.initialize() };
    if outcome.is_ok() {
        // Power IRPs then come at PASSIVE_LEVEL, where one may wait for the device; their
        // completion routines still run at up to DISPATCH_LEVEL. The flag would also allow code
        // for them that is pageable, of which this driver has none.
        // SAFETY: a valid device object (caller), nobody else's yet.
        unsafe { (*object).Flags |= DO_POWER_PAGABLE };
        // SAFETY: both are device objects (caller), and `object` is attached to nothing.
        let lower = unsafe { IoAttachDeviceToDeviceStack(object, physical) };
        if lower.is_null() {
            outcome = Err(STATUS_NO_SUCH_DEVICE);
        } else {
            device.lower.store(lower, Ordering::Release);
        }
    }
    if outcome.is_err() {
        // SAFETY: written above, attached to nothing, and not used any more.
        unsafe { ptr::drop_in_place(extension) };
        return outcome;
    }
    // Nobody attaches to the object, or opens it, before this.
    // SAFETY: a valid device object, whose flags are its driver's.
    unsafe { (*object).Flags &= !DO_DEVICE_INITIALIZING };
    Ok(())
}
