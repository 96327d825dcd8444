//! The request for one handler a message, and connecting it: everything or nothing.

use core::fmt;
use core::mem::ManuallyDrop;
use core::ptr::{self, NonNull};

use super::block::MessageBlock;
use super::error::ConnectEachError;
use super::halves::MessageHalves;
use super::registration::MessageRegistration;
use super::{MessageHalf, laid};
use crate::connect::{Service, call_kernel, line_parameters, message_parameters};
use crate::connection::{Connection, Form};
use crate::deferred::sealed::Parts;
use crate::deferred::{NoDeferred, SharedDpc};
use crate::device::PhysicalDevice;
use crate::error::ConnectErrorKind;
use crate::handler::{InterruptHandler, MessageId};
use crate::irql::Irql;
use crate::link::measure_irql;
use crate::teardown::{dismantle, drain};
use crate::{nt, routine};

/// A request for all of the device's messages, with one handler each: `CONNECT_MESSAGE_BASED`
/// without a lock of the driver's.
///
/// Each message has the system's lock of its own and its own IRQL, so messages are serviced in
/// parallel on different processors. For one handler and one lock for all of them see
/// [`MessageBased`](crate::MessageBased).
///
/// Handlers are made for as many messages as the resources promise. The kernel may connect fewer:
/// the surplus handlers are then dropped, without having been enabled. If it connects more, all is
/// undone.
///
/// See [Using interrupt resource descriptors][page].
///
/// [page]: https://learn.microsoft.com/windows-hardware/drivers/kernel/using-interrupt-resource-descriptors
///
/// # Examples
///
/// ```
#[doc = include_str!("../examples/handler.txt")]
#[doc = include_str!("../examples/messages.txt")]
/// let registration = EachMessage::new(device, resources.message_count())
///     .fall_back_to_line()
///     .connect(|_message| Handler::default())?;
/// model.raise_message(1);
/// let events = |index| Some(registration.message(index)?.synchronize(|handler| handler.events));
/// assert_eq!((events(0), events(1)), (Some(0), Some(1)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "nothing is connected until `connect`"]
pub struct EachMessage<S = NoDeferred> {
    device: PhysicalDevice,
    messages: u32,
    fall_back_to_line: bool,
    shared: S,
}

impl EachMessage {
    /// A request for the messages of `device`, of which the resources promise `messages`. Any IRQL.
    ///
    /// [`InterruptResources::message_count`](crate::InterruptResources::message_count) counts
    /// them. It may be 0 when the request may [fall back to the line](Self::fall_back_to_line), for
    /// which one handler is made.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../examples/handler.txt")]
    #[doc = include_str!("../examples/messages.txt")]
    /// let request = EachMessage::new(device, resources.message_count());
    /// let registration = request.connect(|_message| Handler::default())?;
    /// assert_eq!(registration.count(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn new(device: PhysicalDevice, messages: u32) -> Self {
        Self { device, messages, fall_back_to_line: false, shared: NoDeferred }
    }

    /// Adds a deferred half that all messages share. Any IRQL.
    ///
    /// For one a message, see
    /// [`connect_with_deferred`](Self::connect_with_deferred).
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../examples/handler.txt")]
    #[doc = include_str!("../examples/messages.txt")]
    /// let registration = EachMessage::new(device, resources.message_count())
    ///     .deferred(SharedDpc::new(Completion::default()))
    ///     .connect(|_message| Handler::default())?;
    /// model.raise_message(0);
    /// model.raise_message(1);
    /// assert_eq!(registration.deferred().completed.load(Ordering::Relaxed), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn deferred<T>(self, shared: SharedDpc<T>) -> EachMessage<SharedDpc<T>> {
        let Self { device, messages, fall_back_to_line, shared: NoDeferred } = self;
        EachMessage { device, messages, fall_back_to_line, shared }
    }

    /// As [`connect`](Self::connect), with a deferred half for each message.
    ///
    /// `make` returns a handler and its [`Dpc`](crate::Dpc) or [`ThreadedDpc`](crate::ThreadedDpc).
    ///
    /// IRQL: `PASSIVE_LEVEL`. May be called from several threads at once.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    ///
    /// # Examples
    ///
    /// The DPC of each message on a processor of its own:
    ///
    /// ```
    #[doc = include_str!("../examples/handler.txt")]
    #[doc = include_str!("../examples/messages.txt")]
    /// let registration = EachMessage::new(device, resources.message_count())
    ///     .connect_with_deferred(|message| {
    ///         let processor = ProcessorNumber { group: 0, number: message.index() as u8 };
    ///         (Handler::default(), Dpc::new(Completion::default()).target(processor))
    ///     })?;
    /// model.raise_message(0);
    /// let first = registration.message(0).ok_or("there are no messages")?;
    /// assert_eq!(first.deferred().completed.load(Ordering::Relaxed), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn connect_with_deferred<H, D>(
        self,
        make: impl FnMut(MessageId) -> (H, D),
    ) -> Result<MessageRegistration<H, D>, ConnectEachError<H, D>>
    where
        H: InterruptHandler<D>,
        D: MessageHalf<H> + laid::LaidEach<H, Own = D, Shared = NoDeferred>,
    {
        self.connect_all(make)
    }
}

impl<S> EachMessage<S> {
    /// Lets the first handler serve the device's line when no message is assigned. Any IRQL.
    ///
    /// It sees which it is by [`Interrupt::message`](crate::Interrupt::message). Without this, a device that got no message
    /// is an error. The line is connected by a call of its own, under one lock for all of the
    /// device's lines.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../examples/handler.txt")]
    #[doc = include_str!("../examples/line.txt")]
    /// let registration = EachMessage::new(device, 4)
    ///     .fall_back_to_line()
    ///     .connect(|_message| Handler::default())?;
    /// // The device has a line only, which the first of four handlers serves.
    /// assert_eq!(registration.kind(), ConnectionKind::LineBased);
    /// assert_eq!(registration.count(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn fall_back_to_line(self) -> Self {
        Self { fall_back_to_line: true, ..self }
    }

    /// Connects handlers that `make` makes, one for each message in order, and enables them.
    ///
    /// Their ISRs may run before this returns, and while later handlers are still to be enabled.
    ///
    /// IRQL: `PASSIVE_LEVEL`. May be called from several threads at once.
    ///
    /// # Errors
    ///
    /// Nothing is connected, and all handlers come back in the [`ConnectEachError`], which says
    /// why: among others [`TooManyMessages`](ConnectErrorKind::TooManyMessages), and
    /// [`NoMessages`](ConnectErrorKind::NoMessages) when there is only a line, or none was promised,
    /// and [`fall_back_to_line`](Self::fall_back_to_line) was not called.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../examples/handler.txt")]
    #[doc = include_str!("../examples/messages.txt")]
    /// let registration = EachMessage::new(device, resources.message_count())
    ///     .connect(|_message| Handler::default())?;
    /// for message in registration.messages() {
    ///     assert!(message.synchronize(|handler| handler.enabled));
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn connect<H>(
        self,
        mut make: impl FnMut(MessageId) -> H,
    ) -> Result<MessageRegistration<H, S>, ConnectEachError<H, S>>
    where
        H: InterruptHandler<S>,
        S: MessageHalf<H> + laid::LaidEach<H, Own = NoDeferred, Shared = S>,
    {
        self.connect_all(|message| (make(message), NoDeferred))
    }

    fn connect_all<H, D>(
        self,
        make: impl FnMut(MessageId) -> (H, D::Own),
    ) -> Result<MessageRegistration<H, D>, ConnectEachError<H, D>>
    where
        H: InterruptHandler<D>,
        D: MessageHalf<H> + laid::LaidEach<H, Shared = S>,
    {
        let Self { device, messages, fall_back_to_line, shared } = self;
        // The line has a handler, too.
        let messages = messages.max(fall_back_to_line.into());
        let irql = Irql::current();
        let kind = if irql != Irql::PASSIVE {
            ConnectErrorKind::RaisedIrql(irql)
        } else if messages == 0 {
            ConnectErrorKind::NoMessages
        } else {
            match MessageBlock::<H, D>::allocate(messages, shared, make) {
                Ok(halves) => {
                    let connected = connect(device, fall_back_to_line, halves);
                    return connected
                        .map_err(|(kind, halves)| ConnectEachError::NotConnected { kind, halves });
                }
                Err(shared) => {
                    let (kind, deferred) = (ConnectErrorKind::NoPool, D::shared_inner(shared));
                    return Err(ConnectEachError::NotMade { kind, deferred });
                }
            }
        };
        Err(ConnectEachError::NotMade { kind, deferred: D::shared_inner(shared) })
    }
}

impl<S> fmt::Debug for EachMessage<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EachMessage")
            .field("device", &self.device)
            .field("messages", &self.messages)
            .field("fall_back_to_line", &self.fall_back_to_line)
            .finish_non_exhaustive()
    }
}

/// Connects the halves: everything or nothing.
///
/// `PASSIVE_LEVEL`.
fn connect<H: InterruptHandler<D>, D: MessageHalf<H>>(
    device: PhysicalDevice,
    fall_back_to_line: bool,
    halves: MessageHalves<H, D>,
) -> Result<MessageRegistration<H, D>, (ConnectErrorKind, MessageHalves<H, D>)> {
    let block = ManuallyDrop::new(halves).block;
    // SAFETY: complete, and shared from here on until the kernel has let go of it.
    let shared = unsafe { block.as_ref() };
    let undone = match call(device, fall_back_to_line, block) {
        Err(kind) => {
            // SAFETY: PASSIVE_LEVEL (caller); never opened; not connected, since it failed.
            unsafe { drain(shared) };
            kind
        }
        Ok(connection) => {
            let published = publish(shared, &connection);
            // SAFETY: this thread alone reads or writes it until there is a registration.
            unsafe { *shared.state.connection.get() = Some(connection) };
            match published {
                Ok(connected) => {
                    // SAFETY: PASSIVE_LEVEL (caller), the connecting thread, never opened. The
                    // kernel's MessageID is an index into its table, so no ISR has a surplus cell.
                    unsafe { MessageBlock::drop_surplus(block, connected) };
                    // SAFETY: connected and published.
                    for way in unsafe { shared.ways() } {
                        // SAFETY: PASSIVE_LEVEL (caller).
                        unsafe { way.enable() };
                    }
                    // SAFETY: published, connected, and so until the teardown has closed it.
                    unsafe { shared.shared.open() };
                    for cell in shared.cells() {
                        // SAFETY: as above.
                        unsafe { cell.deferred.open() };
                    }
                    // INVARIANT: connected, published and open, and nobody else has it.
                    return Ok(MessageRegistration { block });
                }
                Err(kind) => {
                    // SAFETY: PASSIVE_LEVEL (caller); connected, never opened, and there is no
                    // registration that could use it.
                    unsafe { dismantle(shared) };
                    kind
                }
            }
        }
    };
    // INVARIANT: nothing of the kernel's has it any more, and there is no registration.
    Err((undone, MessageHalves { block }))
}

/// Calls the kernel, for the messages and if need be for the line. What was connected for the line is
/// a line; what was connected for the messages is not.
fn call<H: InterruptHandler<D>, D: MessageHalf<H>>(
    device: PhysicalDevice,
    fall_back_to_line: bool,
    block: NonNull<MessageBlock<H, D>>,
) -> Result<Connection, ConnectErrorKind> {
    let context: nt::PVOID = block.as_ptr().cast();
    // A fallback that comes with the messages' request would have the system's locks, and nobody
    // promises that one of them covers all of the device's lines. So it claims nothing, and the
    // line is connected by a call of its own, with a lock of our own.
    let refused = Service { routine: Some(routine::refused_line), context, lock: ptr::null_mut() };
    let routine = Some(routine::each_message::<H, D> as _);
    let parameters =
        |written| message_parameters(device, nt::CONNECT_MESSAGE_BASED, routine, refused, written);
    // SAFETY: PASSIVE_LEVEL (caller). Context and routine are the block and its; it is complete,
    // and stays until the teardown.
    let connection = unsafe { call_kernel(parameters) }?;
    if connection.form() != Form::LineBased {
        return Ok(connection);
    }
    // SAFETY: PASSIVE_LEVEL (caller), and nobody synchronises: nothing has been published.
    unsafe { connection.disconnect() };
    if !fall_back_to_line {
        return Err(ConnectErrorKind::NoMessages);
    }
    // SAFETY: complete, and shared.
    let lock = unsafe { block.as_ref() }.state.lock.get();
    let routine = Some(routine::each_line::<H, D> as _);
    let line = Service { routine, context, lock };
    let parameters = |written| line_parameters(device, line, written);
    // SAFETY: as above.
    let connection = unsafe { call_kernel(parameters) }?;
    if connection.form() == Form::LineBased {
        return Ok(connection);
    }
    let version = connection.version();
    // SAFETY: as above.
    unsafe { connection.disconnect() };
    Err(ConnectErrorKind::Unexpected { version })
}

/// Checks what was connected, and publishes what synchronising needs. Returns how many handlers
/// have an interrupt.
fn publish<H: InterruptHandler<D>, D: MessageHalf<H>>(
    block: &MessageBlock<H, D>,
    connection: &Connection,
) -> Result<u32, ConnectErrorKind> {
    let unexpected = ConnectErrorKind::Unexpected { version: connection.version() };
    if !matches!(connection.form(), Form::LineBased | Form::MessageBased) {
        return Err(unexpected);
    }
    // SAFETY: allowed: a line comes from the call for a line only, messages from that for messages.
    let messages = unsafe { connection.read_messages() };
    let connected = match messages {
        None => 1,
        Some(messages) if messages > block.made() => {
            return Err(ConnectErrorKind::TooManyMessages { handlers: block.made(), messages });
        }
        Some(0) => return Err(unexpected),
        Some(messages) => messages,
    };
    // SAFETY: as above, and the number was just read.
    let table = unsafe { connection.table(connected) };
    for index in 0..connected {
        let object = table.map_or_else(
            // SAFETY: as above.
            || unsafe { connection.object(connected, 0) },
            |table| table.object(index as usize),
        );
        let object = object.ok_or(unexpected)?;
        // SAFETY: PASSIVE_LEVEL (caller), and connected.
        let irql = unsafe { measure_irql(object) };
        if !irql.is_a_devices() {
            return Err(ConnectErrorKind::NoDeviceIrql(irql));
        }
        // SAFETY: at most as many as there are handlers.
        let guarded = &unsafe { block.cell(index) }.guarded;
        // SAFETY: not open yet, and there is no registration yet.
        unsafe { guarded.set_object(object) };
        // SAFETY: as above.
        unsafe { guarded.set_synchronize_irql(irql) };
    }
    Ok(connected)
}
