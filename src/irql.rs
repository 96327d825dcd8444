//! The interrupt request level (IRQL) of the current processor.

use core::fmt;

use crate::nt;

/// An interrupt request level.
///
/// A processor runs at one IRQL at a time and takes only interrupts above it. The numbers are
/// those of x64 and Arm64; only the order and the named levels matter to a driver.
///
/// See [Managing hardware priorities][page].
///
/// [page]: https://learn.microsoft.com/windows-hardware/drivers/kernel/managing-hardware-priorities
///
/// # Examples
///
/// ```
/// use wdm_interrupt::Irql;
///
/// assert!(Irql::PASSIVE < Irql::DISPATCH);
/// assert_eq!(Irql::DISPATCH.to_string(), "DISPATCH_LEVEL");
/// assert_eq!(Irql::from_raw(7).to_string(), "IRQL 7");
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Irql(u8);

impl Irql {
    /// `PASSIVE_LEVEL`: threads run here, nothing is held off.
    ///
    /// # Examples
    ///
    /// ```
    /// use wdm_interrupt::Irql;
    ///
    /// # let machine = wdm_interrupt_model::host::Machine::new(1).enter();
    /// // In a PnP dispatch routine, which may connect and disconnect.
    /// assert_eq!(Irql::current(), Irql::PASSIVE);
    /// ```
    pub const PASSIVE: Self = Self(0);
    /// `APC_LEVEL`: a thread that takes no asynchronous procedure call.
    ///
    /// # Examples
    ///
    /// ```
    /// use wdm_interrupt::Irql;
    ///
    /// /// Whether pageable memory may be touched.
    /// fn may_page(irql: Irql) -> bool {
    ///     irql <= Irql::APC
    /// }
    /// assert!(may_page(Irql::PASSIVE));
    /// assert!(!may_page(Irql::DISPATCH));
    /// ```
    pub const APC: Self = Self(1);
    /// `DISPATCH_LEVEL`: DPCs run here, and the holder of a spin lock; no waiting, no paging.
    ///
    /// # Examples
    ///
    /// ```
    /// use wdm_interrupt::Irql;
    ///
    /// /// Whether a thread may wait.
    /// fn may_wait(irql: Irql) -> bool {
    ///     irql < Irql::DISPATCH
    /// }
    /// assert!(may_wait(Irql::APC));
    /// ```
    pub const DISPATCH: Self = Self(2);

    /// The IRQL with the number `raw`, a `KIRQL`.
    ///
    /// # Examples
    ///
    /// ```
    /// use wdm_interrupt::Irql;
    ///
    /// assert_eq!(Irql::from_raw(2), Irql::DISPATCH);
    /// ```
    #[must_use]
    pub const fn from_raw(raw: u8) -> Self {
        Self(raw)
    }

    /// The number, a `KIRQL`.
    ///
    /// # Examples
    ///
    /// ```
    /// use wdm_interrupt::Irql;
    ///
    /// assert_eq!(Irql::APC.to_raw(), 1);
    /// ```
    #[must_use]
    pub const fn to_raw(self) -> u8 {
        self.0
    }

    /// Whether devices interrupt at it, all but the passive ones: it is a DIRQL.
    pub(crate) const fn is_a_devices(self) -> bool {
        self.0 > Self::DISPATCH.0
    }

    /// The IRQL that the current processor runs at. Any IRQL.
    ///
    /// See [`KeGetCurrentIrql`][page].
    ///
    /// [page]: https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/nf-wdm-kegetcurrentirql
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("examples/handler.txt")]
    #[doc = include_str!("examples/line.txt")]
    /// let registration = LineBased::new(device).connect(Handler::default())?;
    ///
    /// // Under the interrupt's lock it is the device's IRQL.
    /// let irql = registration.synchronize(|_handler| Irql::current());
    /// assert_eq!(irql, registration.synchronize_irql());
    /// assert!(irql > Irql::current());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    #[must_use]
    pub fn current() -> Self {
        // SAFETY: the call reads the processor's own IRQL and may be made at any.
        Self(unsafe { nt::KeGetCurrentIrql() })
    }
}

impl fmt::Display for Irql {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::PASSIVE => f.write_str("PASSIVE_LEVEL"),
            Self::APC => f.write_str("APC_LEVEL"),
            Self::DISPATCH => f.write_str("DISPATCH_LEVEL"),
            Self(raw) => write!(f, "IRQL {raw}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_interrupt_above_dispatch_level() {
        let below = [Irql::PASSIVE, Irql::APC, Irql::DISPATCH];
        assert!(!below.iter().any(|irql| irql.is_a_devices()));
        assert!([3, 15].map(Irql::from_raw).iter().all(|irql| irql.is_a_devices()));
    }
}
