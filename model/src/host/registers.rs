//! What a fake device is made of.

use std::fmt;

use super::{
    mutex::Mutex,
    processor::{current, try_current},
};

/// A place where something may come in between: an interrupt that waits for this processor and,
/// in a test that [explores](super::Explore), whatever another processor does.
///
/// For the code between two kernel calls, where otherwise nothing does. On a thread that is no
/// processor of a machine it does nothing.
///
/// # Panics
///
/// As what comes in does.
pub fn point() {
    if let Some(current) = try_current() {
        current.point();
    }
}

/// The state of a fake device, which processors access at the same time.
///
/// Each access is one transaction on the bus: it has the device for itself, and before and after
/// it is a [`point`]. An access gives what the processor reads, and does not raise interrupts:
/// whoever makes it does that afterwards, when the device says so.
///
/// ```
/// use wdm_interrupt_model::host::{Delivery, Device, Machine, Registers};
///
/// /// A device that interrupts as long as a bit is set in its status.
/// struct Fake {
///     status: Registers<u32>,
///     interrupt: Device,
/// }
///
/// impl Fake {
///     fn raise(&self, bit: u32) -> Delivery {
///         self.status.access(|status| *status |= bit);
///         self.interrupt.assert_line()
///     }
///
///     fn acknowledge(&self, bits: u32) {
///         if self.status.access(|status| {
///             *status &= !bits;
///             *status == 0
///         }) {
///             self.interrupt.deassert_line();
///         }
///     }
/// }
///
/// let machine = Machine::new(1).enter();
/// let fake = Fake { status: Registers::new(0), interrupt: machine.device().line().build() };
/// assert_eq!(fake.raise(1 << 3), Delivery::NotConnected);
/// fake.acknowledge(1 << 3);
/// ```
#[derive(Default)]
pub struct Registers<D> {
    device: Mutex<D>,
}

impl<D> Registers<D> {
    /// The registers of a device in this state.
    pub const fn new(device: D) -> Self {
        Self { device: Mutex::new(device) }
    }

    /// One access.
    ///
    /// # Panics
    ///
    /// As `access` does, and as what comes in before and after it.
    pub fn access<R>(&self, access: impl FnOnce(&mut D) -> R) -> R {
        point();
        let mut device = loop {
            match self.device.try_lock() {
                Some(device) => break device,
                // Whoever has it is at a scheduling point inside of `access`.
                None => current().give_way(None, std::thread::yield_now),
            }
        };
        let result = access(&mut device);
        drop(device);
        point();
        result
    }
}

impl<D: fmt::Debug> fmt::Debug for Registers<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let device = self.device.try_lock();
        let device = device.as_deref();
        f.debug_struct("Registers").field("device", &device).finish()
    }
}
