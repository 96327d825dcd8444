//! The requests for passive-level interrupts.

use core::fmt;
use core::ptr::{self, NonNull};
use core::sync::atomic::Ordering;

use super::{PassiveBlock, PassiveHalf, PassiveInterruptHandler, PassiveInterruptRegistration};
use crate::connect::{
    Service, call_kernel, line_parameters, message_parameters, vector_parameters,
};
use crate::connection::{Connection, Form};
use crate::deferred::{DeferredKind, NoDeferred};
use crate::device::PhysicalDevice;
use crate::error::{ConnectError, ConnectErrorKind};
use crate::irql::Irql;
use crate::link::measure_irql;
use crate::passive::sealed::Parts;
use crate::resource::InterruptResource;
use crate::teardown::{dismantle, drain};
use crate::{nt, routine};

/// A request for the device's lines, at `PASSIVE_LEVEL`: `CONNECT_LINE_BASED`.
///
/// See [Using passive-level interrupt service routines][page].
///
/// [page]: https://learn.microsoft.com/windows-hardware/drivers/kernel/using-passive-level-interrupt-handling-routines
///
/// # Examples
///
/// ```
#[doc = include_str!("../examples/passive.txt")]
/// let registration = PassiveLineBased::new(device).connect(Handler::default())?;
/// model.raise_line();
/// # machine.settle();
/// assert_eq!(registration.synchronize(|handler| handler.events), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "nothing is connected until `connect`"]
pub struct PassiveLineBased<D: DeferredKind = NoDeferred> {
    device: PhysicalDevice,
    deferred: D,
}

/// A request for one interrupt by its vector, at `PASSIVE_LEVEL`: `CONNECT_FULLY_SPECIFIED`.
///
/// See [Using passive-level interrupt service routines][page].
///
/// [page]: https://learn.microsoft.com/windows-hardware/drivers/kernel/using-passive-level-interrupt-handling-routines
///
/// # Examples
///
/// ```
#[doc = include_str!("../examples/passive.txt")]
/// let line = resources.iter().next().ok_or("no interrupt is assigned")?;
/// assert_eq!(line.irql(), Irql::PASSIVE);
/// let registration = PassiveFullySpecified::new(device, line).connect(Handler::default())?;
/// model.raise_line();
/// # machine.settle();
/// assert_eq!(registration.synchronize(|handler| handler.events), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "nothing is connected until `connect`"]
pub struct PassiveFullySpecified<D: DeferredKind = NoDeferred> {
    device: PhysicalDevice,
    resource: InterruptResource,
    deferred: D,
}

/// **Experimental.** A request for the device's messages, at `PASSIVE_LEVEL`:
/// `CONNECT_MESSAGE_BASED_PASSIVE`.
///
/// The constant is in the WDK's headers, and no page of the documentation describes it. That it
/// takes the members of a message-based request without a lock, and returns a message table, is an
/// assumption; it has been tried with this crate's model only. What the kernel returns is checked as
/// for the other requests. Not covered by this crate's promises of compatibility.
///
/// # Examples
///
/// ```
#[doc = include_str!("../examples/passive.txt")]
/// # let model = machine.device().messages(2).build();
/// # // SAFETY: the device is started while the example lasts.
/// # let device = unsafe { PhysicalDevice::new(model.physical_device_object()) }?;
/// let request = ExperimentalPassiveMessageBased::new(device);
/// let registration = request.connect(Handler::default())?;
/// model.raise_message(1);
/// # machine.settle();
/// assert_eq!(registration.synchronize(|handler| handler.events), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "nothing is connected until `connect`"]
pub struct ExperimentalPassiveMessageBased<D: DeferredKind = NoDeferred> {
    device: PhysicalDevice,
    deferred: D,
}

impl PassiveLineBased {
    /// A request for the lines of `device`. Any IRQL.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../examples/passive.txt")]
    /// let registration = PassiveLineBased::new(device).connect(Handler::default())?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn new(device: PhysicalDevice) -> Self {
        Self { device, deferred: NoDeferred }
    }

    /// Adds a deferred half: a [`WorkItem`](crate::WorkItem). Any IRQL.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../examples/passive.txt")]
    /// let work = WorkItem::new(function, Recovery::default());
    /// let request = PassiveLineBased::new(device).deferred(work);
    /// let registration = request.connect(Handler::default())?;
    /// model.raise_line();
    /// # machine.settle();
    /// assert_eq!(registration.deferred().recovered.load(Ordering::Relaxed), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn deferred<D: DeferredKind>(self, deferred: D) -> PassiveLineBased<D> {
        PassiveLineBased { device: self.device, deferred }
    }
}

impl<D: DeferredKind> PassiveLineBased<D> {
    /// Connects `handler` as the ISR, and enables it.
    ///
    /// The ISR may run before this returns.
    ///
    /// IRQL: `PASSIVE_LEVEL`. May be called from several threads at once.
    ///
    /// # Errors
    ///
    /// Nothing is connected, and both halves come back in the [`ConnectError`], which says why:
    /// among others [`NotPassive`](ConnectErrorKind::NotPassive) when the line is an ordinary one.
    ///
    /// # Examples
    ///
    /// A driver that learns at START which kind of line its device has:
    ///
    /// ```
    #[doc = include_str!("../examples/handler.txt")]
    #[doc = include_str!("../examples/line.txt")]
    /// let error = PassiveLineBased::new(device).connect(Slow).unwrap_err();
    /// assert!(matches!(error.kind(), ConnectErrorKind::NotPassive(_)));
    /// let (Slow, ()) = error.into_halves();
    /// let registration = LineBased::new(device).connect(Handler::default())?;
    /// # struct Slow;
    /// # impl PassiveInterruptHandler for Slow {
    /// #     fn service(&mut self, _interrupt: &PassiveInterrupt<'_>) -> Serviced {
    /// #         Serviced::NotMine
    /// #     }
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn connect<H>(
        self,
        handler: H,
    ) -> Result<PassiveInterruptRegistration<H, D>, ConnectError<H, D::Inner>>
    where
        H: PassiveInterruptHandler<D>,
        D: PassiveHalf<H>,
    {
        connect(Request::Line, self.device, handler, self.deferred)
    }
}

impl PassiveFullySpecified {
    /// A request for the interrupt `resource` of `device`, a passive-level one: its IRQL is
    /// `PASSIVE_LEVEL`. The call is for any IRQL.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../examples/passive.txt")]
    /// let line = resources.iter().next().ok_or("no interrupt is assigned")?;
    /// let registration = PassiveFullySpecified::new(device, line).connect(Handler::default())?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn new(device: PhysicalDevice, resource: InterruptResource) -> Self {
        Self { device, resource, deferred: NoDeferred }
    }

    /// Adds a deferred half: a [`WorkItem`](crate::WorkItem). Any IRQL.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../examples/passive.txt")]
    /// let line = resources.iter().next().ok_or("no interrupt is assigned")?;
    /// let request = PassiveFullySpecified::new(device, line)
    ///     .deferred(WorkItem::new(function, Recovery::default()));
    /// let registration = request.connect(Handler::default())?;
    /// model.raise_line();
    /// # machine.settle();
    /// assert_eq!(registration.deferred().recovered.load(Ordering::Relaxed), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn deferred<D: DeferredKind>(self, deferred: D) -> PassiveFullySpecified<D> {
        PassiveFullySpecified { device: self.device, resource: self.resource, deferred }
    }
}

impl<D: DeferredKind> PassiveFullySpecified<D> {
    /// Connects `handler` as the ISR, and enables it.
    ///
    /// The ISR may run before this returns.
    ///
    /// IRQL: `PASSIVE_LEVEL`. May be called from several threads at once.
    ///
    /// # Errors
    ///
    /// Nothing is connected, and both halves come back in the [`ConnectError`], which says why:
    /// among others [`NotPassive`](ConnectErrorKind::NotPassive) when the resource is an ordinary
    /// interrupt.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../examples/passive.txt")]
    /// let line = resources.iter().next().ok_or("no interrupt is assigned")?;
    /// let registration = PassiveFullySpecified::new(device, line).connect(Handler::default())?;
    /// assert_eq!(registration.kind(), ConnectionKind::FullySpecified { vectors: 1 });
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn connect<H>(
        self,
        handler: H,
    ) -> Result<PassiveInterruptRegistration<H, D>, ConnectError<H, D::Inner>>
    where
        H: PassiveInterruptHandler<D>,
        D: PassiveHalf<H>,
    {
        connect(Request::Vector(self.resource), self.device, handler, self.deferred)
    }
}

impl ExperimentalPassiveMessageBased {
    /// A request for the messages of `device`. Any IRQL.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../examples/passive.txt")]
    /// # let model = machine.device().messages(2).build();
    /// # // SAFETY: the device is started while the example lasts.
    /// # let device = unsafe { PhysicalDevice::new(model.physical_device_object()) }?;
    /// let request = ExperimentalPassiveMessageBased::new(device);
    /// let registration = request.connect(Handler::default())?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn new(device: PhysicalDevice) -> Self {
        Self { device, deferred: NoDeferred }
    }

    /// Adds a deferred half: a [`WorkItem`](crate::WorkItem). Any IRQL.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../examples/passive.txt")]
    /// # let model = machine.device().messages(2).build();
    /// # // SAFETY: the device is started while the example lasts.
    /// # let device = unsafe { PhysicalDevice::new(model.physical_device_object()) }?;
    /// let request = ExperimentalPassiveMessageBased::new(device)
    ///     .deferred(WorkItem::new(function, Recovery::default()));
    /// let registration = request.connect(Handler::default())?;
    /// model.raise_message(0);
    /// # machine.settle();
    /// assert_eq!(registration.deferred().recovered.load(Ordering::Relaxed), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn deferred<D: DeferredKind>(
        self,
        deferred: D,
    ) -> ExperimentalPassiveMessageBased<D> {
        ExperimentalPassiveMessageBased { device: self.device, deferred }
    }
}

impl<D: DeferredKind> ExperimentalPassiveMessageBased<D> {
    /// Connects `handler` as the ISR of all messages, under one lock, and enables it.
    ///
    /// IRQL: `PASSIVE_LEVEL`. May be called from several threads at once.
    ///
    /// # Errors
    ///
    /// Nothing is connected, and both halves come back in the [`ConnectError`], which says why:
    /// among others [`NoMessages`](ConnectErrorKind::NoMessages) when the kernel fell back to a
    /// line.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../examples/passive.txt")]
    /// # let model = machine.device().messages(2).build();
    /// # // SAFETY: the device is started while the example lasts.
    /// # let device = unsafe { PhysicalDevice::new(model.physical_device_object()) }?;
    /// let request = ExperimentalPassiveMessageBased::new(device);
    /// let registration = request.connect(Handler::default())?;
    /// assert_eq!(registration.kind(), ConnectionKind::MessageBased { messages: 2 });
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn connect<H>(
        self,
        handler: H,
    ) -> Result<PassiveInterruptRegistration<H, D>, ConnectError<H, D::Inner>>
    where
        H: PassiveInterruptHandler<D>,
        D: PassiveHalf<H>,
    {
        connect(Request::Messages, self.device, handler, self.deferred)
    }
}

impl<D: DeferredKind> fmt::Debug for PassiveLineBased<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PassiveLineBased").field("device", &self.device).finish_non_exhaustive()
    }
}

impl<D: DeferredKind> fmt::Debug for PassiveFullySpecified<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PassiveFullySpecified")
            .field("device", &self.device)
            .field("resource", &self.resource)
            .finish_non_exhaustive()
    }
}

impl<D: DeferredKind> fmt::Debug for ExperimentalPassiveMessageBased<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExperimentalPassiveMessageBased")
            .field("device", &self.device)
            .finish_non_exhaustive()
    }
}

/// The requests, once their types have said what they had to.
#[derive(Clone, Copy)]
enum Request {
    Line,
    Vector(InterruptResource),
    Messages,
}

impl Request {
    /// Refuses what the kernel should not even be asked for.
    fn check(self) -> Result<(), ConnectErrorKind> {
        let irql = Irql::current();
        if irql != Irql::PASSIVE {
            return Err(ConnectErrorKind::RaisedIrql(irql));
        }
        match self {
            Self::Vector(resource) if resource.irql() != Irql::PASSIVE => {
                Err(ConnectErrorKind::NotPassive(resource.irql()))
            }
            _ => Ok(()),
        }
    }

    /// Whether a successful connect may return `connection` for this request.
    const fn allows(self, connection: &Connection) -> Result<(), ConnectErrorKind> {
        match (self, connection.form()) {
            (Self::Line, Form::LineBased)
            | (Self::Vector(_), Form::FullySpecified)
            | (Self::Messages, Form::PassiveMessageBased) => Ok(()),
            (Self::Messages, Form::LineBased) => Err(ConnectErrorKind::NoMessages),
            _ => Err(ConnectErrorKind::Unexpected { version: connection.version() }),
        }
    }
}

/// Connects, whatever the request: everything or nothing.
fn connect<H: PassiveInterruptHandler<D>, D: PassiveHalf<H>>(
    request: Request,
    device: PhysicalDevice,
    handler: H,
    deferred: D,
) -> Result<PassiveInterruptRegistration<H, D>, ConnectError<H, D::Inner>> {
    if let Err(kind) = request.check() {
        return Err(ConnectError::new(kind, (handler, deferred.into_inner())));
    }
    let resource = match request {
        Request::Vector(resource) => Some(resource),
        Request::Line | Request::Messages => None,
    };
    let block = match PassiveBlock::<H, D>::allocate(handler, deferred, resource) {
        Ok(block) => block,
        Err((handler, deferred)) => {
            let halves = (handler, deferred.into_inner());
            return Err(ConnectError::new(ConnectErrorKind::NoPool, halves));
        }
    };
    // SAFETY: complete, and shared from here on until the kernel has let go of it.
    let shared = unsafe { block.as_ref() };
    let undone = match call(request, device, block) {
        Err(kind) => {
            // SAFETY: PASSIVE_LEVEL (`check`); never opened; not connected, since it failed.
            unsafe { drain(shared) };
            kind
        }
        Ok(connection) => {
            let published = publish(request, shared, &connection);
            // SAFETY: this thread alone reads or writes it until there is a registration.
            unsafe { *shared.interrupt.connection.get() = Some(connection) };
            match published {
                Ok(()) => {
                    // SAFETY: connected and published.
                    unsafe { shared.way() }.switch::<D>(H::enable);
                    // SAFETY: published, connected, and so until the teardown has closed it.
                    unsafe { shared.deferred.open() };
                    // INVARIANT: connected, published and open, and nobody else has it.
                    return Ok(PassiveInterruptRegistration { block });
                }
                Err(kind) => {
                    // SAFETY: PASSIVE_LEVEL (`check`); connected, never opened, and there is no
                    // registration that could use it.
                    unsafe { dismantle(shared) };
                    kind
                }
            }
        }
    };
    // SAFETY: nothing of the kernel's has it any more, and there is no registration.
    Err(ConnectError::new(undone, unsafe { PassiveBlock::free(block) }))
}

/// Calls the kernel for a request.
fn call<H: PassiveInterruptHandler<D>, D: PassiveHalf<H>>(
    request: Request,
    device: PhysicalDevice,
    block: NonNull<PassiveBlock<H, D>>,
) -> Result<Connection, ConnectErrorKind> {
    let context: nt::PVOID = block.as_ptr().cast();
    let line =
        Service { routine: Some(routine::passive_line::<H, D>), context, lock: ptr::null_mut() };
    let parameters = |written| match request {
        Request::Line => line_parameters(device, line, written),
        Request::Vector(resource) => {
            vector_parameters(device, resource, Irql::PASSIVE, line, written)
        }
        Request::Messages => {
            let refused = Service { routine: Some(routine::refused_line), ..line };
            let routine = Some(routine::passive_message::<H, D> as _);
            let version = nt::CONNECT_MESSAGE_BASED_PASSIVE;
            message_parameters(device, version, routine, refused, written)
        }
    };
    // SAFETY: PASSIVE_LEVEL (`check`). Context and routine are the block and its; it is complete,
    // and stays until the teardown.
    unsafe { call_kernel(parameters) }
}

/// Checks what was connected, and publishes what ISR and synchronising need.
fn publish<H: PassiveInterruptHandler<D>, D: PassiveHalf<H>>(
    request: Request,
    block: &PassiveBlock<H, D>,
    connection: &Connection,
) -> Result<(), ConnectErrorKind> {
    request.allows(connection)?;
    // SAFETY: just looked at.
    let messages = unsafe { connection.read_messages() }.unwrap_or(u32::MAX);
    // SAFETY: likewise, and the number was just read.
    let Some(object) = (unsafe { connection.object(messages, 0) }) else {
        return Err(ConnectErrorKind::Unexpected { version: connection.version() });
    };
    // SAFETY: PASSIVE_LEVEL (`check`), and connected.
    let synchronize_irql = unsafe { measure_irql(object) };
    if synchronize_irql != Irql::PASSIVE {
        return Err(ConnectErrorKind::NotPassive(synchronize_irql));
    }
    block.interrupt.messages.store(messages, Ordering::Relaxed);
    // SAFETY: nobody reads it yet: there is no registration, and the deferred half is not open.
    unsafe { *block.core.object.get() = object };
    Ok(())
}
