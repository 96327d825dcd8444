//! The typed requests: what to connect to.

use core::fmt;

use crate::connect::{Request, connect};
use crate::deferred::{DeferredHalf, DeferredKind, Dpc, NoDeferred};
use crate::device::PhysicalDevice;
use crate::error::ConnectError;
#[cfg(doc)]
use crate::error::ConnectErrorKind;
use crate::handler::InterruptHandler;
use crate::registration::InterruptRegistration;
use crate::resource::InterruptResource;

/// A request for the device's lines, all with one ISR: `CONNECT_LINE_BASED`.
///
/// The system takes vector, IRQL and affinity from what it assigned. With messages assigned the
/// request fails; see [`MessageBased`] for a driver that serves both.
///
/// See [Using `CONNECT_LINE_BASED`][page].
///
/// [page]: https://learn.microsoft.com/windows-hardware/drivers/kernel/using-the-connect-line-based-version-of-ioconnectinterruptex
#[must_use = "nothing is connected until `connect`"]
pub struct LineBased<D: DeferredKind = NoDeferred> {
    device: PhysicalDevice,
    deferred: D::Inner,
}

/// A request for one interrupt by its vector, a line or a message: `CONNECT_FULLY_SPECIFIED`.
///
/// For a device with several interrupts that have ISRs of their own. When the resource is in
/// another processor group than 0, it is made as `CONNECT_FULLY_SPECIFIED_GROUP`.
///
/// See [Using `CONNECT_FULLY_SPECIFIED`][page].
///
/// [page]: https://learn.microsoft.com/windows-hardware/drivers/kernel/using-the-connect-fully-specified-version-of-ioconnectinterruptex
#[must_use = "nothing is connected until `connect`"]
pub struct FullySpecified<D: DeferredKind = NoDeferred> {
    device: PhysicalDevice,
    resource: InterruptResource,
    deferred: D::Inner,
}

/// A request for all of the device's messages (MSI, MSI-X), with one ISR:
/// `CONNECT_MESSAGE_BASED`.
///
/// All messages are served by the one handler under one lock, at the highest IRQL of them. The
/// system may assign fewer messages than the device has, or none and a line instead: see
/// [`fall_back_to_line`](Self::fall_back_to_line).
///
/// See [Using `CONNECT_MESSAGE_BASED`][page].
///
/// [page]: https://learn.microsoft.com/windows-hardware/drivers/kernel/using-the-connect-message-based-version-of-ioconnectinterruptex
#[must_use = "nothing is connected until `connect`"]
pub struct MessageBased<D: DeferredKind = NoDeferred> {
    device: PhysicalDevice,
    fall_back_to_line: bool,
    deferred: D::Inner,
}

impl LineBased {
    /// A request for the lines of `device`.
    pub const fn new(device: PhysicalDevice) -> Self {
        Self { device, deferred: () }
    }

    /// Adds a deferred half, run by a DPC.
    pub const fn deferred<T>(self, deferred: T) -> LineBased<Dpc<T>> {
        LineBased { device: self.device, deferred }
    }
}

impl<D: DeferredKind> LineBased<D> {
    /// Connects `handler` as the ISR, and enables it.
    ///
    /// The ISR may run before this returns.
    ///
    /// IRQL: `PASSIVE_LEVEL`. May be called from several threads at once.
    ///
    /// # Errors
    ///
    /// Nothing is connected, and both halves come back in the [`ConnectError`], which says why:
    /// among others [`Refused`](ConnectErrorKind::Refused) with `STATUS_INVALID_DEVICE_REQUEST`
    /// when messages are assigned, and with `STATUS_NOT_FOUND` when no interrupt is.
    pub fn connect<H>(
        self,
        handler: H,
    ) -> Result<InterruptRegistration<H, D>, ConnectError<H, D::Inner>>
    where
        H: InterruptHandler<D>,
        D: DeferredHalf<H>,
    {
        connect(Request::Line, self.device, handler, self.deferred)
    }
}

impl FullySpecified {
    /// A request for the interrupt `resource` of `device`.
    pub const fn new(device: PhysicalDevice, resource: InterruptResource) -> Self {
        Self { device, resource, deferred: () }
    }

    /// Adds a deferred half, run by a DPC.
    pub const fn deferred<T>(self, deferred: T) -> FullySpecified<Dpc<T>> {
        FullySpecified { device: self.device, resource: self.resource, deferred }
    }
}

impl<D: DeferredKind> FullySpecified<D> {
    /// Connects `handler` as the ISR, and enables it.
    ///
    /// The ISR may run before this returns.
    ///
    /// IRQL: `PASSIVE_LEVEL`. May be called from several threads at once.
    ///
    /// # Errors
    ///
    /// Nothing is connected, and both halves come back in the [`ConnectError`], which says why:
    /// among others [`NoDeviceIrql`](ConnectErrorKind::NoDeviceIrql) for a passive-level interrupt,
    /// and [`Refused`](ConnectErrorKind::Refused) with `STATUS_NOT_FOUND` when
    /// the vector is not assigned.
    pub fn connect<H>(
        self,
        handler: H,
    ) -> Result<InterruptRegistration<H, D>, ConnectError<H, D::Inner>>
    where
        H: InterruptHandler<D>,
        D: DeferredHalf<H>,
    {
        connect(Request::Vector(self.resource), self.device, handler, self.deferred)
    }
}

impl MessageBased {
    /// A request for the messages of `device`.
    pub const fn new(device: PhysicalDevice) -> Self {
        Self { device, fall_back_to_line: false, deferred: () }
    }

    /// Adds a deferred half, run by a DPC.
    pub const fn deferred<T>(self, deferred: T) -> MessageBased<Dpc<T>> {
        MessageBased { device: self.device, fall_back_to_line: self.fall_back_to_line, deferred }
    }
}

impl<D: DeferredKind> MessageBased<D> {
    /// Lets the same handler serve the device's line when no message is assigned.
    ///
    /// The handler sees which it is by [`Interrupt::message`](crate::Interrupt::message), the
    /// driver by [`InterruptRegistration::kind`]. Without this, a device that got no message is
    /// an error.
    pub fn fall_back_to_line(self) -> Self {
        Self { fall_back_to_line: true, ..self }
    }

    /// Connects `handler` as the ISR of all messages, and enables it.
    ///
    /// The ISR may run before this returns.
    ///
    /// IRQL: `PASSIVE_LEVEL`. May be called from several threads at once.
    ///
    /// # Errors
    ///
    /// Nothing is connected, and both halves come back in the [`ConnectError`], which says why:
    /// among others [`NoMessages`](ConnectErrorKind::NoMessages) when there is only a line and
    /// [`fall_back_to_line`](Self::fall_back_to_line) was not called, and
    /// [`Refused`](ConnectErrorKind::Refused) with `STATUS_NOT_FOUND` when there is no interrupt
    /// at all.
    pub fn connect<H>(
        self,
        handler: H,
    ) -> Result<InterruptRegistration<H, D>, ConnectError<H, D::Inner>>
    where
        H: InterruptHandler<D>,
        D: DeferredHalf<H>,
    {
        let request = Request::Messages { fall_back_to_line: self.fall_back_to_line };
        connect(request, self.device, handler, self.deferred)
    }
}

impl<D: DeferredKind> fmt::Debug for LineBased<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LineBased").field("device", &self.device).finish_non_exhaustive()
    }
}

impl<D: DeferredKind> fmt::Debug for FullySpecified<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FullySpecified")
            .field("device", &self.device)
            .field("resource", &self.resource)
            .finish_non_exhaustive()
    }
}

impl<D: DeferredKind> fmt::Debug for MessageBased<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageBased")
            .field("device", &self.device)
            .field("fall_back_to_line", &self.fall_back_to_line)
            .finish_non_exhaustive()
    }
}
