//! Connecting: everything or nothing.

use core::hint::cold_path;
use core::ptr::{self, NonNull};

use crate::block::{Block, Halves};
use crate::connection::{Connected, Connection, Form, Vectors};
use crate::deferred::DeferredHalf;
use crate::deferred::sealed::Parts;
use crate::device::PhysicalDevice;
use crate::error::ConnectErrorKind;
use crate::handler::InterruptHandler;
use crate::irql::Irql;
use crate::registration::InterruptRegistration;
use crate::resource::{InterruptMode, InterruptResource};
use crate::teardown::{dismantle, drain};
use crate::{nt, routine};

/// The requests, once their types have said what they had to.
#[derive(Clone, Copy)]
pub(crate) enum Request<'a> {
    Line,
    Vector(InterruptResource),
    Several(&'a [InterruptResource]),
    Messages { fall_back_to_line: bool },
}

impl Request<'_> {
    /// Refuses what the kernel should not even be asked for.
    pub(crate) fn check(self) -> Result<(), ConnectErrorKind> {
        let irql = Irql::current();
        if irql != Irql::PASSIVE {
            cold_path();
            return Err(ConnectErrorKind::RaisedIrql(irql));
        }
        let resources = match &self {
            Self::Line | Self::Messages { .. } => return Ok(()),
            Self::Vector(resource) => core::slice::from_ref(resource),
            Self::Several(resources) => resources,
        };
        if resources.is_empty() {
            return Err(ConnectErrorKind::NoVectors);
        }
        resources
            .iter()
            .map(InterruptResource::irql)
            .find(|irql| !irql.is_a_devices())
            .map_or(Ok(()), |irql| Err(ConnectErrorKind::NoDeviceIrql(irql)))
    }

    /// Whether a successful connect may return `connection` for this request.
    #[inline]
    const fn allows(self, connection: &Connection) -> Result<(), ConnectErrorKind> {
        match (self, connection.form()) {
            (Self::Line, Form::LineBased)
            | (Self::Vector(_) | Self::Several(_), Form::FullySpecified)
            | (Self::Messages { .. }, Form::MessageBased) => Ok(()),
            (Self::Messages { fall_back_to_line }, Form::LineBased) => {
                if fall_back_to_line {
                    Ok(())
                } else {
                    Err(ConnectErrorKind::NoMessages)
                }
            }
            _ => Err(ConnectErrorKind::Unexpected { version: connection.version() }),
        }
    }
}

/// A service routine for a line or a vector, with the context that is its.
#[derive(Clone, Copy)]
pub(crate) struct Service {
    pub(crate) routine: nt::PKSERVICE_ROUTINE,
    pub(crate) context: nt::PVOID,
    /// NULL for the system's own.
    pub(crate) lock: *mut nt::KSPIN_LOCK,
}

/// A parameter block for `CONNECT_LINE_BASED`. The call stores the interrupt object in `written`.
pub(crate) fn line_parameters(
    device: PhysicalDevice,
    Service { routine, context, lock }: Service,
    written: *mut nt::PVOID,
) -> nt::IO_CONNECT_INTERRUPT_PARAMETERS {
    let mut parameters = nt::IO_CONNECT_INTERRUPT_PARAMETERS {
        Version: nt::CONNECT_LINE_BASED,
        ..Default::default()
    };
    parameters.__bindgen_anon_1.LineBased = nt::IO_CONNECT_INTERRUPT_LINE_BASED_PARAMETERS {
        PhysicalDeviceObject: device.as_ptr(),
        InterruptObject: written.cast(),
        ServiceRoutine: routine,
        ServiceContext: context,
        SpinLock: lock,
        ..Default::default()
    };
    parameters
}

/// A parameter block for `CONNECT_FULLY_SPECIFIED`, or `CONNECT_FULLY_SPECIFIED_GROUP` when the
/// resource is in another group than 0. The call stores the interrupt object in `written`.
pub(crate) fn vector_parameters(
    device: PhysicalDevice,
    resource: InterruptResource,
    synchronize_irql: Irql,
    Service { routine, context, lock }: Service,
    written: *mut nt::PVOID,
) -> nt::IO_CONNECT_INTERRUPT_PARAMETERS {
    let group = resource.group();
    let mut parameters = nt::IO_CONNECT_INTERRUPT_PARAMETERS {
        Version: if group == 0 {
            nt::CONNECT_FULLY_SPECIFIED
        } else {
            nt::CONNECT_FULLY_SPECIFIED_GROUP
        },
        ..Default::default()
    };
    parameters.__bindgen_anon_1.FullySpecified =
        nt::IO_CONNECT_INTERRUPT_FULLY_SPECIFIED_PARAMETERS {
            PhysicalDeviceObject: device.as_ptr(),
            InterruptObject: written.cast(),
            ServiceRoutine: routine,
            ServiceContext: context,
            SpinLock: lock,
            SynchronizeIrql: synchronize_irql.to_raw(),
            ShareVector: resource.is_shared().into(),
            Vector: resource.vector(),
            Irql: resource.irql().to_raw(),
            InterruptMode: match resource.mode() {
                InterruptMode::LevelSensitive => nt::_KINTERRUPT_MODE::LevelSensitive,
                InterruptMode::Latched => nt::_KINTERRUPT_MODE::Latched,
            },
            ProcessorEnableMask: resource.affinity(),
            Group: group,
            ..Default::default()
        };
    parameters
}

/// A parameter block for `CONNECT_MESSAGE_BASED`, or for another `version` with the same members.
/// The call stores the message table in `written`, or the interrupt object of the fallback.
pub(crate) fn message_parameters(
    device: PhysicalDevice,
    version: nt::ULONG,
    routine: nt::PKMESSAGE_SERVICE_ROUTINE,
    fallback: Service,
    written: *mut nt::PVOID,
) -> nt::IO_CONNECT_INTERRUPT_PARAMETERS {
    let Service { routine: fallback, context, lock } = fallback;
    let mut parameters =
        nt::IO_CONNECT_INTERRUPT_PARAMETERS { Version: version, ..Default::default() };
    let mut message = nt::IO_CONNECT_INTERRUPT_MESSAGE_BASED_PARAMETERS {
        PhysicalDeviceObject: device.as_ptr(),
        MessageServiceRoutine: routine,
        ServiceContext: context,
        SpinLock: lock,
        FallBackServiceRoutine: fallback,
        ..Default::default()
    };
    message.ConnectionContext.Generic = written;
    parameters.__bindgen_anon_1.MessageBased = message;
    parameters
}

/// `IoConnectInterruptEx`, from parameters to connection.
///
/// # Safety
///
/// - `PASSIVE_LEVEL`, and the device is started ([`PhysicalDevice::new`]);
/// - `parameters` returns those of one of the functions above, with the place it is given;
/// - the service context is complete and stays put until after the disconnect, so the routine may
///   run before this returns; routine and context go together.
#[inline(always)]
#[expect(clippy::inline_always, reason = "else what comes back goes through memory, twice")]
pub(crate) unsafe fn call_kernel(
    parameters: impl FnOnce(*mut nt::PVOID) -> nt::IO_CONNECT_INTERRUPT_PARAMETERS,
) -> Result<Connection, ConnectErrorKind> {
    let mut written: nt::PVOID = ptr::null_mut();
    let mut parameters = parameters(&raw mut written);
    // SAFETY:
    // - the parameters are zeroed, then filled for their Version (caller); `written` outlives the
    //   call;
    // - routine and context go together, and the routine may run at once (caller);
    // - a resource may say anything, since it can be made from any bytes: the kernel refuses a
    //   vector that is not assigned to the device, and the IRQL that comes of it is checked before
    //   anything is enabled;
    // - the device is started, and this is PASSIVE_LEVEL (caller).
    let status = unsafe { nt::IoConnectInterruptEx(&raw mut parameters) };
    // Status first: after a failure neither Version nor the out-pointer means anything.
    if !nt::nt_success(status) {
        return Err(ConnectErrorKind::Refused(status));
    }
    // SAFETY: both are of this call, a success.
    unsafe { Connection::from_success(parameters.Version, written) }
        .ok_or(ConnectErrorKind::NothingConnected)
}

/// Connects the halves, whatever the request: everything or nothing.
///
/// [`Request::check`] has been passed.
pub(crate) fn connect<H: InterruptHandler<D>, D: DeferredHalf<H>>(
    request: Request<'_>,
    device: PhysicalDevice,
    halves: Halves<H, D>,
) -> Result<InterruptRegistration<H, D>, (ConnectErrorKind, Halves<H, D>)> {
    let block = halves.into_block();
    // SAFETY: complete, and shared from here on until the kernel has let go of it.
    let shared = unsafe { block.as_ref() };
    let undone = match call(request, device, block) {
        Err(kind) => {
            // The kernel may have run the ISR before it failed, and the ISR may have queued the
            // DPC.
            // SAFETY: PASSIVE_LEVEL (`check`); the deferred half has not been opened; not
            // connected, since it failed. A success that wrote no object is taken for one that
            // connected nothing: the kernels that do so are stubs, and there is nothing that could
            // be disconnected.
            unsafe { drain(shared) };
            kind
        }
        Ok(judged) => {
            let published = judged.and_then(|Usable { object, messages }| {
                // SAFETY: PASSIVE_LEVEL (`check`); connected with the block's lock; not open yet,
                // and there is no registration yet.
                let published = unsafe { shared.publish(object, messages) };
                published.map_err(ConnectErrorKind::NoDeviceIrql)
            });
            match published {
                Ok(()) => {
                    // SAFETY: published, connected, and so until the teardown has closed it.
                    unsafe { shared.deferred().open() };
                    // SAFETY: connected with the block's lock, published and open; nobody else has
                    // it.
                    return Ok(unsafe { InterruptRegistration::new(block) });
                }
                Err(kind) => {
                    // SAFETY: PASSIVE_LEVEL (`check`); connected, the deferred half has not been
                    // opened, and there is no registration that could use it.
                    unsafe { dismantle(shared) };
                    kind
                }
            }
        }
    };
    // SAFETY: nothing of the kernel's has it any more, and there is no registration.
    Err((undone, unsafe { Halves::from_block(block) }))
}

/// Calls the kernel for a request: all of it is connected, and stored in the block, or none.
///
/// What is connected may not be what was asked for. Then it comes back as the inner error.
fn call<H: InterruptHandler<D>, D: DeferredHalf<H>>(
    request: Request<'_>,
    device: PhysicalDevice,
    block: NonNull<Block<H, D>>,
) -> Result<Result<Usable, ConnectErrorKind>, ConnectErrorKind> {
    // SAFETY: complete, and shared.
    let shared = unsafe { block.as_ref() };
    let lock = shared.lock();
    let line =
        Service { routine: Some(routine::line::<H, D>), context: block.as_ptr().cast(), lock };
    if let Request::Several(resources) = request {
        return call_for_each(resources, device, block);
    }
    let parameters = |written| match request {
        Request::Vector(resource) => {
            vector_parameters(device, resource, resource.irql(), line, written)
        }
        Request::Messages { fall_back_to_line } => {
            let fallback = if fall_back_to_line {
                line
            } else {
                Service { routine: Some(routine::refused_line), ..line }
            };
            let routine = Some(routine::message::<H, D> as _);
            message_parameters(device, nt::CONNECT_MESSAGE_BASED, routine, fallback, written)
        }
        Request::Line | Request::Several(_) => line_parameters(device, line, written),
    };
    // SAFETY: PASSIVE_LEVEL (`check`). Context and routine are the block and its; it is complete,
    // and stays until the teardown.
    let connection = unsafe { call_kernel(parameters) }?;
    let judged = judge(request, &connection);
    if let Request::Vector(resource) = request {
        // SAFETY: this thread alone reads or writes it until there is a registration.
        unsafe { shared.set_connected(Connected::Vector(connection, resource)) };
    } else {
        // SAFETY: as above.
        unsafe { shared.set_connected(Connected::One(connection)) };
    }
    Ok(judged)
}

/// As [`call`], once for each of several vectors. There is at least one.
fn call_for_each<H: InterruptHandler<D>, D: DeferredHalf<H>>(
    resources: &[InterruptResource],
    device: PhysicalDevice,
    block: NonNull<Block<H, D>>,
) -> Result<Result<Usable, ConnectErrorKind>, ConnectErrorKind> {
    // SAFETY: complete, and shared.
    let shared = unsafe { block.as_ref() };
    let lock = shared.lock();
    let vectors = Vectors::allocate(block.cast(), resources).ok_or(ConnectErrorKind::NoPool)?;
    // One lock for all is taken at one IRQL: the highest, so that none interrupts its holder.
    let highest = resources.iter().map(InterruptResource::irql).max().unwrap_or(Irql::PASSIVE);
    let mut first = None;
    for (index, &resource) in resources.iter().enumerate() {
        let routine = Some(routine::vector::<H, D> as _);
        let service = Service { routine, context: vectors.context(index), lock };
        let parameters = |written| vector_parameters(device, resource, highest, service, written);
        // SAFETY: PASSIVE_LEVEL (`check`). The routine takes a slot as its context, which is
        // complete and stays until all are disconnected, as the block does.
        let outcome = unsafe { call_kernel(parameters) }.and_then(|connection| {
            let judged = judge(Request::Several(resources), &connection);
            // SAFETY: of a slot, since there are as many as resources; this is the connecting
            // thread.
            unsafe { vectors.set(index, connection) };
            judged
        });
        match outcome {
            // All share the lock, so any of the objects does.
            Ok(usable) => first = first.or(Some(usable)),
            Err(kind) => {
                // SAFETY: PASSIVE_LEVEL, and nobody synchronises: nothing has been published.
                unsafe { vectors.disconnect() };
                return Err(kind);
            }
        }
    }
    // SAFETY: this thread alone reads or writes it until there is a registration.
    unsafe { shared.set_connected(Connected::Several(vectors)) };
    Ok(first.ok_or(ConnectErrorKind::NoVectors))
}

/// What ISR and synchronising need of what was connected.
struct Usable {
    /// The object to synchronise with.
    object: NonNull<nt::_KINTERRUPT>,
    /// How many messages there are; `u32::MAX` on a line or a vector, where there is no number to
    /// check.
    messages: u32,
}

/// Whether what was connected is what was asked for.
#[inline(always)]
#[expect(clippy::inline_always, reason = "else what comes back goes through memory, twice")]
fn judge(request: Request<'_>, connection: &Connection) -> Result<Usable, ConnectErrorKind> {
    request.allows(connection)?;
    // SAFETY: just looked at.
    let messages = unsafe { connection.read_messages() }.unwrap_or(u32::MAX);
    // SAFETY: likewise, and the number was just read.
    let Some(object) = (unsafe { connection.object(messages, 0) }) else {
        return Err(ConnectErrorKind::Unexpected { version: connection.version() });
    };
    Ok(Usable { object, messages })
}
