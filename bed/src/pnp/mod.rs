//! The `PnP` manager: finds devices, gives them resources, and plays their life for a driver.

mod bus;
pub(crate) mod leftovers;
pub(crate) mod node;
pub(crate) mod requests;
pub(crate) mod resources;
pub(crate) mod routes;

pub(crate) use bus::be_slow as bus_is_slow;

use alloc::boxed::Box;
use alloc::format;
use core::sync::atomic::{AtomicUsize, Ordering};

use wdm_interrupt_model::nt::{DRIVER_INITIALIZE, NTSTATUS, PDRIVER_OBJECT};

use crate::image::Image;
use crate::io::driver;
use crate::io::text::Text;
use crate::verify::{Rule, broken};
use crate::{image, irql};

/// A driver whose `DriverEntry` has succeeded.
#[derive(Debug)]
pub(crate) struct Driver {
    image: Image,
    object: PDRIVER_OBJECT,
}

/// How many drivers were started and are not unloaded.
static STARTED: AtomicUsize = AtomicUsize::new(0);

// SAFETY: the driver object is only changed by the driver itself, and read.
unsafe impl Send for Driver {}
// SAFETY: as above.
unsafe impl Sync for Driver {}

impl Driver {
    /// Calls `DriverEntry`.
    ///
    /// # Errors
    ///
    /// The status that it returned.
    pub(crate) fn start(image: Image) -> Result<Self, NTSTATUS> {
        let object = driver::create(&image.service);
        let path =
            format!(r"\Registry\Machine\System\CurrentControlSet\Services\{}", image.service);
        let path = Box::leak(Box::new(Text::new(&path).leak()));
        // SAFETY: the loader checked that the entry point lies in the image; a driver's entry point is
        // of this type.
        let entry = unsafe { core::mem::transmute::<usize, DRIVER_INITIALIZE>(image.entry) };
        // SAFETY: the object is the bed's own and nobody uses it yet.
        let fields = unsafe { &mut *object };
        fields.DriverStart = core::ptr::with_exposed_provenance_mut(image.base);
        fields.DriverSize = image.size as u32;
        fields.DriverInit = Some(entry);
        crate::say!("driver {}: DriverEntry", image.name);
        // SAFETY: a driver object, a registry path, PASSIVE_LEVEL: what a driver is promised.
        let status = unsafe { entry(object, path) };
        if irql::current() != 0 {
            broken(Rule::DispatchState, "DriverEntry", format_args!("it was called at IRQL 0"));
        }
        if status < 0 {
            return Err(status);
        }
        STARTED.fetch_add(1, Ordering::Relaxed);
        Ok(Self { image, object })
    }

    /// What it was started from.
    pub(crate) const fn image(&self) -> &Image {
        &self.image
    }

    /// Its driver object.
    pub(crate) const fn object(&self) -> PDRIVER_OBJECT {
        self.object
    }

    /// Whether it takes devices.
    pub(crate) fn has_add_device(&self) -> bool {
        // SAFETY: driver objects stay for ever.
        let extension = unsafe { (*self.object).DriverExtension };
        // SAFETY: so do their extensions.
        unsafe { (*extension).AddDevice.is_some() }
    }

    /// Calls the unload routine and takes the image away: whatever still runs in it ends the run.
    ///
    /// While another driver is there, only device objects can be told whose they are. The last one leaves
    /// nothing, of whatever kind.
    pub(crate) fn unload(self) {
        // SAFETY: driver objects stay for ever.
        let routine = unsafe { (*self.object).DriverUnload };
        if let Some(routine) = routine {
            // SAFETY: PASSIVE_LEVEL, and the driver has no devices: what the routine is promised.
            unsafe { routine(self.object) };
        }
        if STARTED.fetch_sub(1, Ordering::Relaxed) == 1 {
            leftovers::require_nothing(&self);
        } else {
            leftovers::require_no_devices(&self);
        }
        image::unmap(&self.image);
    }
}
