//! The typed requests: what to connect to.

use core::fmt;
use core::marker::PhantomData;

use crate::block::Block;
use crate::connect::{Request, connect};
use crate::deferred::{DeferredHalf, DeferredKind, NoDeferred};
use crate::device::PhysicalDevice;
use crate::error::{ConnectError, ConnectErrorKind, InPlaceError};
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
///
/// # Examples
///
/// ```
#[doc = include_str!("examples/handler.txt")]
#[doc = include_str!("examples/line.txt")]
/// let half = Dpc::new(Completion::default());
/// let registration = LineBased::new(device).deferred(half).connect(Handler::default())?;
/// assert_eq!(registration.kind(), ConnectionKind::LineBased);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "nothing is connected until `connect`"]
pub struct LineBased<D: DeferredKind = NoDeferred> {
    device: PhysicalDevice,
    deferred: D,
}

/// A request for one interrupt by its vector, a line or a message: `CONNECT_FULLY_SPECIFIED`.
///
/// For a device with several interrupts that have ISRs of their own. When the resource is in
/// another processor group than 0, it is made as `CONNECT_FULLY_SPECIFIED_GROUP`.
///
/// See [Using `CONNECT_FULLY_SPECIFIED`][page].
///
/// [page]: https://learn.microsoft.com/windows-hardware/drivers/kernel/using-the-connect-fully-specified-version-of-ioconnectinterruptex
///
/// # Examples
///
/// A device with two interrupts, whose ISRs run in parallel:
///
/// ```
#[doc = include_str!("examples/handler.txt")]
#[doc = include_str!("examples/messages.txt")]
/// let [first, second] = resources.iter().collect::<Vec<_>>()[..] else {
///     return Err("two interrupts are expected".into());
/// };
/// let receive = FullySpecified::new(device, first).connect(Handler::default())?;
/// let send = FullySpecified::new(device, second).connect(Handler::default())?;
/// model.raise(1);
/// assert_eq!(receive.synchronize(|handler| handler.events), 0);
/// assert_eq!(send.synchronize(|handler| handler.events), 1);
/// # drop((receive, send));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "nothing is connected until `connect`"]
pub struct FullySpecified<D: DeferredKind = NoDeferred> {
    device: PhysicalDevice,
    resource: InterruptResource,
    deferred: D,
}

/// A request for several interrupts by their vectors, all with one handler under one lock:
/// `CONNECT_FULLY_SPECIFIED` for each. Made by [`FullySpecified::several`].
///
/// The lock is held at the highest IRQL of them. Connects all or none.
///
/// # Examples
///
/// ```
#[doc = include_str!("examples/handler.txt")]
#[doc = include_str!("examples/messages.txt")]
/// let interrupts: Vec<_> = resources.iter().collect();
/// let registration = FullySpecified::several(device, &interrupts).connect(Handler::default())?;
/// model.raise(0);
/// model.raise(1);
/// // One handler has seen both.
/// assert_eq!(registration.synchronize(|handler| handler.events), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "nothing is connected until `connect`"]
pub struct SeveralFullySpecified<'a, D: DeferredKind = NoDeferred> {
    device: PhysicalDevice,
    resources: &'a [InterruptResource],
    deferred: D,
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
///
/// # Examples
///
/// ```
#[doc = include_str!("examples/handler.txt")]
#[doc = include_str!("examples/messages.txt")]
/// let registration = MessageBased::new(device).fall_back_to_line().connect(Handler::default())?;
/// assert_eq!(registration.kind(), ConnectionKind::MessageBased { messages: 2 });
/// model.raise_message(0);
/// model.raise_message(1);
/// assert_eq!(registration.synchronize(|handler| handler.events), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "nothing is connected until `connect`"]
pub struct MessageBased<D: DeferredKind = NoDeferred> {
    device: PhysicalDevice,
    fall_back_to_line: bool,
    deferred: D,
}

impl LineBased {
    /// A request for the lines of `device`. Any IRQL.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("examples/handler.txt")]
    #[doc = include_str!("examples/line.txt")]
    /// let registration = LineBased::new(device).connect(Handler::default())?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn new(device: PhysicalDevice) -> Self {
        Self { device, deferred: NoDeferred }
    }

    /// Adds a deferred half: a [`Dpc`](crate::Dpc), [`ThreadedDpc`](crate::ThreadedDpc) or
    /// [`WorkItem`](crate::WorkItem). Any IRQL.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("examples/handler.txt")]
    #[doc = include_str!("examples/line.txt")]
    /// let half = Dpc::new(Completion::default()).importance(DpcImportance::High);
    /// let registration = LineBased::new(device).deferred(half).connect(Handler::default())?;
    /// model.raise_line();
    /// assert_eq!(registration.deferred().completed.load(Ordering::Relaxed), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn deferred<D: DeferredKind>(self, deferred: D) -> LineBased<D> {
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
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("examples/handler.txt")]
    #[doc = include_str!("examples/line.txt")]
    /// let registration = match LineBased::new(device).connect(Handler::default()) {
    ///     Ok(registration) => registration,
    ///     Err(error) => {
    ///         // What to do about it, for the log; and the handler, to take apart.
    ///         eprintln!("{error}");
    ///         let (_handler, ()) = error.into_halves();
    ///         return Err("the start failed".into());
    ///     }
    /// };
    /// assert!(registration.synchronize(|handler| handler.enabled));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn connect<H>(
        self,
        handler: H,
    ) -> Result<InterruptRegistration<H, D>, ConnectError<H, D::Inner>>
    where
        H: InterruptHandler<D>,
        D: DeferredHalf<H>,
    {
        connect_value(|| Request::Line, self.device, handler, self.deferred)
    }

    /// As [`connect`](Self::connect), with a handler that is made where it stays: for one that is
    /// too large for the kernel stack.
    ///
    /// IRQL: `PASSIVE_LEVEL`.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("examples/handler.txt")]
    #[doc = include_str!("examples/line.txt")]
    /// struct Log {
    ///     entries: [u32; 16 * 1024],
    /// }
    ///
    /// impl InterruptHandler for Log {
    ///     fn service(&mut self, _interrupt: &Interrupt<'_>) -> Serviced {
    ///         self.entries[0] += 1;
    ///         Serviced::Claimed
    ///     }
    /// }
    ///
    /// // SAFETY: zeroes are a complete log, and the place is zeroed.
    /// let make = unsafe { InPlace::new(|_place: *mut Log| ()) };
    /// let registration = LineBased::new(device).connect_in_place(make)?;
    /// model.raise_line();
    /// assert_eq!(registration.synchronize(|log| log.entries[0]), 1);
    /// // Back to pool without a way over the stack.
    /// drop(registration.disconnect_in_place()?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn connect_in_place<H, F>(
        self,
        make: InPlace<H, F>,
    ) -> Result<InterruptRegistration<H, D>, InPlaceError<F, H, D>>
    where
        H: InterruptHandler<D>,
        D: DeferredHalf<H>,
        F: FnOnce(*mut H),
    {
        connect_in_place(|| Request::Line, self.device, make, self.deferred)
    }
}

impl FullySpecified {
    /// A request for the interrupt `resource` of `device`. Any IRQL.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("examples/handler.txt")]
    #[doc = include_str!("examples/line.txt")]
    /// let line = resources.iter().next().ok_or("no interrupt is assigned")?;
    /// let registration = FullySpecified::new(device, line).connect(Handler::default())?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn new(device: PhysicalDevice, resource: InterruptResource) -> Self {
        Self { device, resource, deferred: NoDeferred }
    }

    /// Adds a deferred half: a [`Dpc`](crate::Dpc), [`ThreadedDpc`](crate::ThreadedDpc) or
    /// [`WorkItem`](crate::WorkItem). Any IRQL.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("examples/handler.txt")]
    #[doc = include_str!("examples/line.txt")]
    /// let line = resources.iter().next().ok_or("no interrupt is assigned")?;
    /// let half = Dpc::new(Completion::default());
    /// let request = FullySpecified::new(device, line).deferred(half);
    /// let registration = request.connect(Handler::default())?;
    /// model.raise_line();
    /// assert_eq!(registration.deferred().completed.load(Ordering::Relaxed), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn deferred<D: DeferredKind>(self, deferred: D) -> FullySpecified<D> {
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
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("examples/handler.txt")]
    #[doc = include_str!("examples/line.txt")]
    /// let line = resources.iter().next().ok_or("no interrupt is assigned")?;
    /// let registration = FullySpecified::new(device, line).connect(Handler::default())?;
    /// assert_eq!(registration.kind(), ConnectionKind::FullySpecified { vectors: 1 });
    /// assert_eq!(registration.synchronize_irql(), line.irql());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn connect<H>(
        self,
        handler: H,
    ) -> Result<InterruptRegistration<H, D>, ConnectError<H, D::Inner>>
    where
        H: InterruptHandler<D>,
        D: DeferredHalf<H>,
    {
        connect_value(|| Request::Vector(self.resource), self.device, handler, self.deferred)
    }

    /// As [`connect`](Self::connect), with a handler that is made where it stays: for one that is
    /// too large for the kernel stack.
    ///
    /// IRQL: `PASSIVE_LEVEL`.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("examples/handler.txt")]
    #[doc = include_str!("examples/line.txt")]
    /// let line = resources.iter().next().ok_or("no interrupt is assigned")?;
    /// // SAFETY: it writes a handler.
    /// let make = unsafe { InPlace::new(|place: *mut Handler| place.write(Handler::default())) };
    /// let registration = FullySpecified::new(device, line).connect_in_place(make)?;
    /// assert!(registration.synchronize(|handler| handler.enabled));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn connect_in_place<H, F>(
        self,
        make: InPlace<H, F>,
    ) -> Result<InterruptRegistration<H, D>, InPlaceError<F, H, D>>
    where
        H: InterruptHandler<D>,
        D: DeferredHalf<H>,
        F: FnOnce(*mut H),
    {
        connect_in_place(|| Request::Vector(self.resource), self.device, make, self.deferred)
    }
}

impl FullySpecified {
    /// A request for the interrupts `resources` of `device`, all with one handler. Any IRQL.
    ///
    /// [`Interrupt::vector_index`](crate::Interrupt::vector_index) tells the handler which of them
    /// it is. For ISRs that run at the same time on different processors, make a request of each
    /// resource, with a handler of its own.
    ///
    /// # Examples
    ///
    /// A handler that counts each interrupt for itself:
    ///
    /// ```
    #[doc = include_str!("examples/handler.txt")]
    #[doc = include_str!("examples/messages.txt")]
    /// struct Counts([u32; 2]);
    ///
    /// impl InterruptHandler for Counts {
    ///     fn service(&mut self, interrupt: &Interrupt<'_>) -> Serviced {
    ///         let Some(index) = interrupt.vector_index() else {
    ///             return Serviced::NotMine;
    ///         };
    ///         self.0[index] += 1;
    ///         Serviced::Claimed
    ///     }
    /// }
    ///
    /// let interrupts: Vec<_> = resources.iter().collect();
    /// let registration = FullySpecified::several(device, &interrupts).connect(Counts([0; 2]))?;
    /// model.raise(1);
    /// assert_eq!(registration.synchronize(|counts| counts.0), [0, 1]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn several(
        device: PhysicalDevice,
        resources: &[InterruptResource],
    ) -> SeveralFullySpecified<'_> {
        SeveralFullySpecified { device, resources, deferred: NoDeferred }
    }
}

impl<'a> SeveralFullySpecified<'a> {
    /// Adds a deferred half: a [`Dpc`](crate::Dpc), [`ThreadedDpc`](crate::ThreadedDpc) or
    /// [`WorkItem`](crate::WorkItem). Any IRQL.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("examples/handler.txt")]
    #[doc = include_str!("examples/messages.txt")]
    /// let interrupts: Vec<_> = resources.iter().collect();
    /// let registration = FullySpecified::several(device, &interrupts)
    ///     .deferred(Dpc::new(Completion::default()))
    ///     .connect(Handler::default())?;
    /// model.raise(0);
    /// model.raise(1);
    /// assert_eq!(registration.deferred().completed.load(Ordering::Relaxed), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn deferred<D: DeferredKind>(self, deferred: D) -> SeveralFullySpecified<'a, D> {
        SeveralFullySpecified { device: self.device, resources: self.resources, deferred }
    }
}

impl MessageBased {
    /// A request for the messages of `device`. Any IRQL.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("examples/handler.txt")]
    #[doc = include_str!("examples/messages.txt")]
    /// let registration = MessageBased::new(device).connect(Handler::default())?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn new(device: PhysicalDevice) -> Self {
        Self { device, fall_back_to_line: false, deferred: NoDeferred }
    }

    /// Adds a deferred half: a [`Dpc`](crate::Dpc), [`ThreadedDpc`](crate::ThreadedDpc) or
    /// [`WorkItem`](crate::WorkItem). Any IRQL.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("examples/handler.txt")]
    #[doc = include_str!("examples/messages.txt")]
    /// let registration = MessageBased::new(device)
    ///     .deferred(Dpc::new(Completion::default()))
    ///     .connect(Handler::default())?;
    /// model.raise_message(1);
    /// assert_eq!(registration.deferred().completed.load(Ordering::Relaxed), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn deferred<D: DeferredKind>(self, deferred: D) -> MessageBased<D> {
        MessageBased { device: self.device, fall_back_to_line: self.fall_back_to_line, deferred }
    }
}

impl<D: DeferredKind> MessageBased<D> {
    /// Lets the same handler serve the device's line when no message is assigned. Any IRQL.
    ///
    /// The handler sees which it is by [`Interrupt::message`](crate::Interrupt::message), the
    /// driver by [`InterruptRegistration::kind`]. Without this, a device that got no message is
    /// an error.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("examples/handler.txt")]
    #[doc = include_str!("examples/line.txt")]
    /// let request = MessageBased::new(device).fall_back_to_line();
    /// let registration = request.connect(Handler::default())?;
    /// // The device has a line only.
    /// assert_eq!(registration.kind(), ConnectionKind::LineBased);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
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
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("examples/handler.txt")]
    #[doc = include_str!("examples/line.txt")]
    /// // The device has a line only, and the request does not allow it.
    /// let error = MessageBased::new(device).connect(Handler::default()).unwrap_err();
    /// assert_eq!(error.kind(), ConnectErrorKind::NoMessages);
    ///
    /// let (handler, ()) = error.into_halves();
    /// let registration = MessageBased::new(device).fall_back_to_line().connect(handler)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn connect<H>(
        self,
        handler: H,
    ) -> Result<InterruptRegistration<H, D>, ConnectError<H, D::Inner>>
    where
        H: InterruptHandler<D>,
        D: DeferredHalf<H>,
    {
        let request = || Request::Messages { fall_back_to_line: self.fall_back_to_line };
        connect_value(request, self.device, handler, self.deferred)
    }

    /// As [`connect`](Self::connect), with a handler that is made where it stays: for one that is
    /// too large for the kernel stack.
    ///
    /// IRQL: `PASSIVE_LEVEL`.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("examples/handler.txt")]
    #[doc = include_str!("examples/messages.txt")]
    /// // SAFETY: it writes a handler.
    /// let make = unsafe { InPlace::new(|place: *mut Handler| place.write(Handler::default())) };
    /// let registration = MessageBased::new(device).connect_in_place(make)?;
    /// assert!(registration.synchronize(|handler| handler.enabled));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn connect_in_place<H, F>(
        self,
        make: InPlace<H, F>,
    ) -> Result<InterruptRegistration<H, D>, InPlaceError<F, H, D>>
    where
        H: InterruptHandler<D>,
        D: DeferredHalf<H>,
        F: FnOnce(*mut H),
    {
        let request = || Request::Messages { fall_back_to_line: self.fall_back_to_line };
        connect_in_place(request, self.device, make, self.deferred)
    }
}

impl<D: DeferredKind> SeveralFullySpecified<'_, D> {
    /// Connects `handler` as the ISR of all of them, and enables it.
    ///
    /// The ISR may run before this returns. The vectors' service contexts lie in a second block of
    /// nonpaged pool.
    ///
    /// IRQL: `PASSIVE_LEVEL`. May be called from several threads at once.
    ///
    /// # Errors
    ///
    /// None of them is connected, and both halves come back in the [`ConnectError`], which says
    /// why: [`NoVectors`](ConnectErrorKind::NoVectors) when there are none,
    /// [`NoDeviceIrql`](ConnectErrorKind::NoDeviceIrql) when one is a passive-level interrupt, and
    /// what the kernel says of the first that it refuses.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("examples/handler.txt")]
    #[doc = include_str!("examples/messages.txt")]
    /// let interrupts: Vec<_> = resources.iter().collect();
    /// let request = FullySpecified::several(device, &interrupts);
    /// let registration = request.connect(Handler::default())?;
    /// assert_eq!(registration.kind(), ConnectionKind::FullySpecified { vectors: 2 });
    /// let highest = interrupts.iter().map(|interrupt| interrupt.irql()).max();
    /// assert_eq!(Some(registration.synchronize_irql()), highest);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn connect<H>(
        self,
        handler: H,
    ) -> Result<InterruptRegistration<H, D>, ConnectError<H, D::Inner>>
    where
        H: InterruptHandler<D>,
        D: DeferredHalf<H>,
    {
        connect_value(|| Request::Several(self.resources), self.device, handler, self.deferred)
    }

    /// As [`connect`](Self::connect), with a handler that is made where it stays: for one that is
    /// too large for the kernel stack.
    ///
    /// IRQL: `PASSIVE_LEVEL`.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("examples/handler.txt")]
    #[doc = include_str!("examples/messages.txt")]
    /// let interrupts: Vec<_> = resources.iter().collect();
    /// // SAFETY: it writes a handler.
    /// let make = unsafe { InPlace::new(|place: *mut Handler| place.write(Handler::default())) };
    /// let registration = FullySpecified::several(device, &interrupts).connect_in_place(make)?;
    /// assert!(registration.synchronize(|handler| handler.enabled));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn connect_in_place<H, F>(
        self,
        make: InPlace<H, F>,
    ) -> Result<InterruptRegistration<H, D>, InPlaceError<F, H, D>>
    where
        H: InterruptHandler<D>,
        D: DeferredHalf<H>,
        F: FnOnce(*mut H),
    {
        connect_in_place(|| Request::Several(self.resources), self.device, make, self.deferred)
    }
}

/// The recipe of a handler that is made where it stays, in the registration's memory.
///
/// A handler that is given by value passes through the kernel stack, of which there are some twelve
/// kilobytes, and so does one that [`disconnect`](InterruptRegistration::disconnect) hands back.
/// One that is made in place and taken apart [in
/// place](InterruptRegistration::disconnect_in_place) does not.
///
/// # Handlers and kernel objects
///
/// A handler does not move while it is connected, but it may move before and after, and
/// `synchronize` lends it as `&mut`, by which safe code can exchange it for another. Therefore it
/// must not *be* what has to stay at its address: a `KEVENT`, a `LIST_ENTRY` that is linked, a
/// `KTIMER`. Such objects belong behind a pointer that the handler owns (`Pin<Box<_>>` from
/// nonpaged pool), which may move as it likes.
///
/// # Examples
///
/// A table of 64 KiB, which nobody makes on the stack:
///
/// ```
#[doc = include_str!("examples/handler.txt")]
#[doc = include_str!("examples/line.txt")]
/// struct Profile {
///     latencies: [u64; 8 * 1024],
///     calibration: u64,
/// }
///
/// impl InterruptHandler for Profile {
///     fn service(&mut self, _interrupt: &Interrupt<'_>) -> Serviced {
///         self.latencies[0] = self.calibration;
///         Serviced::Claimed
///     }
/// }
///
/// // SAFETY: the place is zeroed, zeroes are a table, and the rest is written.
/// let make = unsafe {
///     InPlace::new(|place: *mut Profile| (&raw mut (*place).calibration).write(42))
/// };
/// let registration = LineBased::new(device).connect_in_place(make)?;
/// assert_eq!(registration.synchronize(|profile| profile.calibration), 42);
/// drop(registration.disconnect_in_place()?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct InPlace<H, F> {
    make: F,
    handler: PhantomData<fn(*mut H)>,
}

impl<H, F> InPlace<H, F> {
    /// A recipe. `make` is called once, at `PASSIVE_LEVEL`, with the place of the handler: zeroed
    /// memory, aligned and valid for writing.
    ///
    /// # Safety
    ///
    /// `make` writes a complete value to the place before it returns.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("examples/handler.txt")]
    #[doc = include_str!("examples/line.txt")]
    /// struct Log {
    ///     entries: [u32; 16 * 1024],
    /// }
    /// # impl InterruptHandler for Log {
    /// #     fn service(&mut self, _interrupt: &Interrupt<'_>) -> Serviced { Serviced::Claimed }
    /// # }
    ///
    /// // SAFETY: zeroes are a complete log, and the place is zeroed.
    /// let make = unsafe { InPlace::new(|_place: *mut Log| ()) };
    /// let registration = LineBased::new(device).connect_in_place(make)?;
    /// assert_eq!(registration.synchronize(|log| log.entries[7]), 0);
    /// # drop(registration.disconnect_in_place()?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const unsafe fn new(make: F) -> Self
    where
        F: FnOnce(*mut H),
    {
        Self { make, handler: PhantomData }
    }

    /// Takes the closure out again. Any IRQL.
    ///
    /// # Examples
    ///
    /// What a recipe that was not used has captured:
    ///
    /// ```
    #[doc = include_str!("examples/handler.txt")]
    #[doc = include_str!("examples/line.txt")]
    /// # use wdm_interrupt_model::executive::{Call, Fault};
    /// # machine.fail(Call::ExAllocatePool2, 0, Fault::Status(0));
    /// let registers = String::from("a mapping");
    /// let make = |place: *mut Handler| {
    ///     // SAFETY: the place is valid for writing.
    ///     unsafe { place.write(Handler::default()) };
    ///     drop(registers);
    /// };
    /// // SAFETY: it writes a handler.
    /// let make = unsafe { InPlace::new(make) };
    /// let connected = LineBased::new(device).connect_in_place(make);
    /// let Err(InPlaceError::NotMade { make, .. }) = connected else {
    ///     unreachable!("there is no memory");
    /// };
    /// // The closure is as it was, and so is what it has captured.
    /// drop(make.into_inner());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn into_inner(self) -> F {
        self.make
    }
}

impl<H, F> fmt::Debug for InPlace<H, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InPlace").finish_non_exhaustive()
    }
}

/// Connects a handler that `make` makes. For `request`, see [`connect_value`].
fn connect_in_place<'a, H, D, F>(
    request: impl FnOnce() -> Request<'a>,
    device: PhysicalDevice,
    InPlace { make, .. }: InPlace<H, F>,
    deferred: D,
) -> Result<InterruptRegistration<H, D>, InPlaceError<F, H, D>>
where
    H: InterruptHandler<D>,
    D: DeferredHalf<H>,
    F: FnOnce(*mut H),
{
    let request = request();
    if let Err(kind) = request.check() {
        let (make, deferred) = (InPlace { make, handler: PhantomData }, deferred.into_inner());
        return Err(InPlaceError::NotMade { kind, make, deferred });
    }
    // SAFETY: `make` writes a handler to the place (`InPlace::new`).
    match unsafe { Block::allocate(make, deferred) } {
        Err((make, deferred)) => {
            let (kind, make) = (ConnectErrorKind::NoPool, InPlace { make, handler: PhantomData });
            Err(InPlaceError::NotMade { kind, make, deferred: deferred.into_inner() })
        }
        Ok(halves) => connect(request, device, halves)
            .map_err(|(kind, halves)| InPlaceError::NotConnected { kind, halves }),
    }
}

/// Connects a handler that is there already.
///
/// The request comes from a closure, so that this is compiled once for each kind of request, and a
/// driver has code for the kinds that it uses.
fn connect_value<'a, H, D>(
    request: impl FnOnce() -> Request<'a>,
    device: PhysicalDevice,
    handler: H,
    deferred: D,
) -> Result<InterruptRegistration<H, D>, ConnectError<H, D::Inner>>
where
    H: InterruptHandler<D>,
    D: DeferredHalf<H>,
{
    let request = request();
    if let Err(kind) = request.check() {
        return Err(ConnectError::new(kind, (handler, deferred.into_inner())));
    }
    match Block::allocate_with(handler, deferred) {
        Err((handler, deferred)) => {
            let kind = ConnectErrorKind::NoPool;
            Err(ConnectError::new(kind, (handler, deferred.into_inner())))
        }
        Ok(halves) => connect(request, device, halves)
            .map_err(|(kind, halves)| ConnectError::new(kind, halves.into_inner())),
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

impl<D: DeferredKind> fmt::Debug for SeveralFullySpecified<'_, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SeveralFullySpecified")
            .field("device", &self.device)
            .field("resources", &self.resources)
            .finish_non_exhaustive()
    }
}
