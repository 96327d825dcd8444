//! Connecting: everything or nothing.

use core::ptr::{self, NonNull};

use crate::block::{Block, Link};
use crate::connection::Connection;
use crate::deferred::DeferredHalf;
use crate::device::PhysicalDevice;
use crate::error::{ConnectError, ConnectErrorKind};
use crate::handler::InterruptHandler;
use crate::irql::Irql;
use crate::registration::{InterruptRegistration, dismantle, drain};
use crate::resource::{InterruptMode, InterruptResource};
use crate::{nt, routine};

/// The three requests, once their types have said what they had to.
#[derive(Clone, Copy)]
pub(crate) enum Request {
    Line,
    Vector(InterruptResource),
    Messages { fall_back_to_line: bool },
}

impl Request {
    /// Whether a successful connect may return `connection` for this request.
    const fn allows(self, connection: &Connection) -> Result<(), ConnectErrorKind> {
        match (self, connection) {
            (Self::Line, Connection::LineBased(_))
            | (Self::Vector(_), Connection::FullySpecified { .. })
            | (Self::Messages { .. }, Connection::MessageBased { .. }) => Ok(()),
            (Self::Messages { fall_back_to_line }, Connection::LineBased(_)) => {
                if fall_back_to_line { Ok(()) } else { Err(ConnectErrorKind::NoMessages) }
            }
            _ => Err(ConnectErrorKind::Unexpected { version: connection.version() }),
        }
    }

    /// Fills the parameter block, zeroed before, for `block` as service context.
    ///
    /// `written` is where the call stores the interrupt object or the message table.
    fn parameters<H: InterruptHandler<D>, D: DeferredHalf<H>>(
        self,
        device: PhysicalDevice,
        block: NonNull<Block<H, D>>,
        lock: *mut nt::KSPIN_LOCK,
        written: *mut nt::PVOID,
    ) -> nt::IO_CONNECT_INTERRUPT_PARAMETERS {
        let mut parameters = nt::IO_CONNECT_INTERRUPT_PARAMETERS::default();
        let device = device.as_ptr();
        let context: nt::PVOID = block.as_ptr().cast();
        match self {
            Self::Line => {
                parameters.Version = nt::CONNECT_LINE_BASED;
                parameters.__bindgen_anon_1.LineBased =
                    nt::IO_CONNECT_INTERRUPT_LINE_BASED_PARAMETERS {
                        PhysicalDeviceObject: device,
                        InterruptObject: written.cast(),
                        ServiceRoutine: Some(routine::line::<H, D>),
                        ServiceContext: context,
                        SpinLock: lock,
                        ..Default::default()
                    };
            }
            Self::Vector(resource) => {
                let group = resource.group();
                parameters.Version = if group == 0 {
                    nt::CONNECT_FULLY_SPECIFIED
                } else {
                    nt::CONNECT_FULLY_SPECIFIED_GROUP
                };
                parameters.__bindgen_anon_1.FullySpecified =
                    nt::IO_CONNECT_INTERRUPT_FULLY_SPECIFIED_PARAMETERS {
                        PhysicalDeviceObject: device,
                        InterruptObject: written.cast(),
                        ServiceRoutine: Some(routine::line::<H, D>),
                        ServiceContext: context,
                        SpinLock: lock,
                        SynchronizeIrql: resource.irql().to_raw(),
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
            }
            Self::Messages { fall_back_to_line } => {
                parameters.Version = nt::CONNECT_MESSAGE_BASED;
                parameters.__bindgen_anon_1.MessageBased =
                    nt::IO_CONNECT_INTERRUPT_MESSAGE_BASED_PARAMETERS {
                        PhysicalDeviceObject: device,
                        ConnectionContext:
                            nt::_IO_CONNECT_INTERRUPT_MESSAGE_BASED_PARAMETERS__bindgen_ty_1 {
                                Generic: written,
                            },
                        MessageServiceRoutine: Some(routine::message::<H, D>),
                        ServiceContext: context,
                        SpinLock: lock,
                        FallBackServiceRoutine: if fall_back_to_line {
                            Some(routine::line::<H, D>)
                        } else {
                            Some(routine::refused_line)
                        },
                        ..Default::default()
                    };
            }
        }
        parameters
    }
}

/// Connects, whatever the request: everything or nothing.
pub(crate) fn connect<H: InterruptHandler<D>, D: DeferredHalf<H>>(
    request: Request,
    device: PhysicalDevice,
    handler: H,
    deferred: D::Inner,
) -> Result<InterruptRegistration<H, D>, ConnectError<H, D::Inner>> {
    let irql = Irql::current();
    if irql != Irql::PASSIVE {
        return Err(ConnectError::new(ConnectErrorKind::RaisedIrql(irql), (handler, deferred)));
    }
    if let Request::Vector(resource) = request
        && resource.irql() <= Irql::DISPATCH
    {
        let kind = ConnectErrorKind::NoDeviceIrql(resource.irql());
        return Err(ConnectError::new(kind, (handler, deferred)));
    }
    let block = match Block::allocate(handler, deferred) {
        Ok(block) => block,
        Err(halves) => return Err(ConnectError::new(ConnectErrorKind::NoPool, halves)),
    };

    let connection = match call_kernel(request, device, block) {
        Ok(connection) => connection,
        Err(kind) => {
            // The kernel may have run the ISR before it failed, and the ISR may have queued the
            // DPC.
            // SAFETY: PASSIVE_LEVEL (above); Connecting, and not connected, since it failed.
            let halves = unsafe { drain(block) };
            return Err(ConnectError::new(kind, halves));
        }
    };
    if let Err(kind) = enable(request, block, &connection) {
        // SAFETY: PASSIVE_LEVEL (above); connected, still Connecting, and there is no registration
        // that could use it.
        let halves = unsafe { dismantle(block, connection) };
        return Err(ConnectError::new(kind, halves));
    }

    // SAFETY: the block lives until the teardown, which nobody can have begun.
    let shared = unsafe { block.as_ref() };
    if shared.life.run() {
        // SAFETY: a DPC has parked, so there is one, initialised with the block. What `enable`
        // published is visible to it, because Running was set after.
        unsafe { nt::KeInsertQueueDpc(shared.dpc(), ptr::null_mut(), ptr::null_mut()) };
    }
    // SAFETY: connected with the block's lock, published, Running; nobody else has the two.
    Ok(unsafe { InterruptRegistration::new(block, connection) })
}

/// `IoConnectInterruptEx`, from request to connection.
fn call_kernel<H: InterruptHandler<D>, D: DeferredHalf<H>>(
    request: Request,
    device: PhysicalDevice,
    block: NonNull<Block<H, D>>,
) -> Result<Connection, ConnectErrorKind> {
    // SAFETY: just allocated, complete, and shared from here on.
    let lock = unsafe { block.as_ref() }.core().lock();
    let mut written: nt::PVOID = ptr::null_mut();
    let mut parameters = request.parameters(device, block, lock, &raw mut written);
    let asked = parameters.Version;
    // SAFETY:
    // - the parameters are zeroed, then filled for their Version; `written` outlives the call;
    // - the service context is complete and stays put until after the disconnect, so the routine
    //   may run before this call returns;
    // - the routine and its context have the same type parameters;
    // - a resource may say anything, since it can be made from any bytes: the kernel refuses a
    //   vector that is not assigned to the device, and `enable` checks the IRQL that comes of it;
    // - the device is started (`PhysicalDevice::new`), and this is PASSIVE_LEVEL (`connect`).
    let status = unsafe { nt::IoConnectInterruptEx(&raw mut parameters) };
    // Status first: after a failure neither Version nor the out-pointer means anything.
    if !nt::nt_success(status) {
        return Err(ConnectErrorKind::Refused(status));
    }
    // SAFETY: all are of this call, a success.
    unsafe { Connection::from_success(asked, parameters.Version, written) }
        .ok_or(ConnectErrorKind::NothingConnected)
}

/// Checks the connection, publishes what synchronising needs, and enables the device.
fn enable<H: InterruptHandler<D>, D: DeferredHalf<H>>(
    request: Request,
    block: NonNull<Block<H, D>>,
    connection: &Connection,
) -> Result<(), ConnectErrorKind> {
    request.allows(connection)?;
    let Some(object) = connection.synchronization_object() else {
        return Err(ConnectErrorKind::Unexpected { version: connection.version() });
    };
    // SAFETY: the block lives until the teardown.
    let core = unsafe { block.as_ref() }.core();
    // The kernel chose the IRQL; inside a synchronised routine it is the current one. The handler
    // stays out of it: were this a passive-level interrupt, the lock would not be held.
    let nothing = NonNull::<()>::dangling().as_ptr();
    let read_irql = |&mut (): &mut ()| Irql::current();
    // SAFETY: connected; PASSIVE_LEVEL is at most any synchronize IRQL; nothing is touched.
    let synchronize_irql = unsafe { routine::synchronize(object, nothing, read_irql) };
    if synchronize_irql <= Irql::DISPATCH {
        return Err(ConnectErrorKind::NoDeviceIrql(synchronize_irql));
    }
    let link = Link { object, synchronize_irql };
    // SAFETY: not Running yet, and there is no registration yet.
    unsafe { core.publish(link, connection.messages()) };
    // SAFETY: just published, and connected.
    unsafe { core.synchronize(H::enable) };
    Ok(())
}
