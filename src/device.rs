//! The device whose interrupts are connected.

use core::fmt;
use core::ptr::NonNull;

use crate::nt;

/// A device to connect interrupts of, named by its physical device object (PDO).
///
/// Making one is the one unsafe step of connecting: it is where the driver vouches for what no type
/// can see.
///
/// See [Types of WDM device objects][page].
///
/// [page]: https://learn.microsoft.com/windows-hardware/drivers/kernel/types-of-wdm-device-objects
///
/// # Examples
///
/// ```
/// /// The device extension of a driver.
/// struct Extension {
///     /// Kept from `AddDevice` on, for the requests of every START.
///     device: PhysicalDevice,
/// }
#[doc = include_str!("examples/handler.txt")]
/// # let model = machine.device().line().build();
/// # let pdo = model.physical_device_object();
///
/// // SAFETY: started whenever a request is made, and stopped when no registration is left.
/// let extension = Extension { device: unsafe { PhysicalDevice::new(pdo) }? };
/// let registration = LineBased::new(extension.device).connect(Handler::default())?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct PhysicalDevice(NonNull<nt::DEVICE_OBJECT>);

// SAFETY: a device object is not tied to a thread; connecting takes it from any.
unsafe impl Send for PhysicalDevice {}

// SAFETY: as above, and nothing is changed through it.
unsafe impl Sync for PhysicalDevice {}

impl PhysicalDevice {
    /// Takes the PDO: the one that `AddDevice` was given, not the driver's own device object, nor
    /// the one that `IoAttachDeviceToDeviceStack` returned.
    ///
    /// Any IRQL.
    ///
    /// # Errors
    ///
    /// `pdo` is NULL.
    ///
    /// # Safety
    ///
    /// While the value, a copy of it, or a registration made from it exists (also one that was
    /// [forgotten](core::mem::forget)):
    ///
    /// - `pdo` is a valid physical device object, and the device is started whenever `connect` is
    ///   called, that is between the completion of `IRP_MN_START_DEVICE` by the lower drivers and
    ///   the next `IRP_MN_STOP_DEVICE` or `IRP_MN_REMOVE_DEVICE`;
    /// - the interrupt resources that the START assigned stay assigned while a registration
    ///   exists, so registrations end before STOP or REMOVE is passed down;
    /// - the driver's image stays loaded while a registration exists.
    ///
    /// # Examples
    ///
    /// ```
    /// use wdm_interrupt::{NullDevice, PhysicalDevice};
    ///
    /// # let machine = wdm_interrupt_model::host::Machine::new(1).enter();
    /// # let model = machine.device().line().build();
    /// # let pdo = model.physical_device_object();
    /// // SAFETY: as long as the value is used, it is the PDO that AddDevice was given.
    /// let device = unsafe { PhysicalDevice::new(pdo) }?;
    ///
    /// // SAFETY: NULL is refused.
    /// let nothing = unsafe { PhysicalDevice::new(core::ptr::null_mut()) };
    /// assert_eq!(nothing.err(), Some(NullDevice));
    /// # Ok::<(), NullDevice>(())
    /// ```
    pub const unsafe fn new(pdo: *mut nt::DEVICE_OBJECT) -> Result<Self, NullDevice> {
        match NonNull::new(pdo) {
            Some(pdo) => Ok(Self(pdo)),
            None => Err(NullDevice),
        }
    }

    pub(crate) const fn as_ptr(self) -> *mut nt::DEVICE_OBJECT {
        self.0.as_ptr()
    }
}

/// NULL was given for a physical device object.
///
/// # Examples
///
/// ```
/// use wdm_interrupt::NullDevice;
///
/// assert!(NullDevice.to_string().starts_with("the physical device object is NULL"));
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NullDevice;

impl NullDevice {
    /// The `NTSTATUS` to return to the PnP manager: `STATUS_INVALID_PARAMETER`. Any IRQL.
    ///
    /// # Examples
    ///
    /// ```
    /// use wdm_interrupt::NullDevice;
    ///
    /// assert_eq!(NullDevice.status(), 0xC000_000D_u32.cast_signed());
    /// ```
    #[must_use]
    pub const fn status(self) -> nt::NTSTATUS {
        nt::STATUS_INVALID_PARAMETER
    }
}

impl fmt::Display for NullDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "the physical device object is NULL; keep the one that AddDevice is given as its \
             second argument",
        )
    }
}

impl core::error::Error for NullDevice {}
