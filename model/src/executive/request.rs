//! What a driver asks `IoConnectInterruptEx` for.

use super::{
    Refused,
    object::{MessageRoutine, ServiceRoutine},
};
use crate::nt::{
    CONNECT_FULLY_SPECIFIED, CONNECT_FULLY_SPECIFIED_GROUP, CONNECT_LINE_BASED,
    CONNECT_MESSAGE_BASED, CONNECT_MESSAGE_BASED_PASSIVE,
    IO_CONNECT_INTERRUPT_FULLY_SPECIFIED_PARAMETERS, IO_CONNECT_INTERRUPT_PARAMETERS, PKSPIN_LOCK,
    PVOID, STATUS_INVALID_PARAMETER_1, ULONG,
};

/// A parameter block, whatever its version.
pub(super) struct Request {
    pub(super) version: ULONG,
    pub(super) device: usize,
    pub(super) out: *mut PVOID,
    pub(super) line: Option<ServiceRoutine>,
    pub(super) message: Option<MessageRoutine>,
    pub(super) context: PVOID,
    pub(super) lock: PKSPIN_LOCK,
    pub(super) synchronize_irql: u8,
    pub(super) floating_save: bool,
    pub(super) full: Option<IO_CONNECT_INTERRUPT_FULLY_SPECIFIED_PARAMETERS>,
    /// Whether what is behind its version's members is zero.
    pub(super) is_zeroed: bool,
}

impl Request {
    pub(super) fn read(block: &IO_CONNECT_INTERRUPT_PARAMETERS) -> Refused<Self> {
        let version = block.Version;
        match version {
            CONNECT_FULLY_SPECIFIED | CONNECT_FULLY_SPECIFIED_GROUP => {
                // SAFETY: Version says that this is the member.
                let full = unsafe { block.__bindgen_anon_1.FullySpecified };
                Ok(Self {
                    version,
                    device: full.PhysicalDeviceObject.addr(),
                    out: full.InterruptObject.cast(),
                    line: full.ServiceRoutine,
                    message: None,
                    context: full.ServiceContext,
                    lock: full.SpinLock,
                    synchronize_irql: full.SynchronizeIrql,
                    floating_save: full.FloatingSave != 0,
                    full: Some(full),
                    is_zeroed: true,
                })
            }
            CONNECT_LINE_BASED => {
                // SAFETY: Version says that this is the member.
                let line = unsafe { block.__bindgen_anon_1.LineBased };
                Ok(Self {
                    version,
                    device: line.PhysicalDeviceObject.addr(),
                    out: line.InterruptObject.cast(),
                    line: line.ServiceRoutine,
                    message: None,
                    context: line.ServiceContext,
                    lock: line.SpinLock,
                    synchronize_irql: line.SynchronizeIrql,
                    floating_save: line.FloatingSave != 0,
                    full: None,
                    is_zeroed: is_zero_behind(block, size_of_val(&line)),
                })
            }
            CONNECT_MESSAGE_BASED | CONNECT_MESSAGE_BASED_PASSIVE => {
                // SAFETY: Version says that this is the member.
                let message = unsafe { block.__bindgen_anon_1.MessageBased };
                Ok(Self {
                    version,
                    device: message.PhysicalDeviceObject.addr(),
                    // SAFETY: every member of the union is a pointer to a pointer.
                    out: unsafe { message.ConnectionContext.Generic },
                    line: message.FallBackServiceRoutine,
                    message: message.MessageServiceRoutine,
                    context: message.ServiceContext,
                    lock: message.SpinLock,
                    synchronize_irql: message.SynchronizeIrql,
                    floating_save: message.FloatingSave != 0,
                    full: None,
                    is_zeroed: is_zero_behind(block, size_of_val(&message)),
                })
            }
            _ => Err(STATUS_INVALID_PARAMETER_1),
        }
    }

    /// Whether the routine that this version needs is there.
    pub(super) const fn has_routine(&self) -> bool {
        match self.version {
            CONNECT_MESSAGE_BASED | CONNECT_MESSAGE_BASED_PASSIVE => self.message.is_some(),
            _ => self.line.is_some(),
        }
    }

    /// Whether it asks for a service routine at `PASSIVE_LEVEL`, whatever the interrupt's own IRQL.
    pub(super) const fn is_passive(&self) -> bool {
        match self.full {
            Some(full) => full.Irql == 0 && full.SynchronizeIrql == 0,
            None => self.version == CONNECT_MESSAGE_BASED_PASSIVE,
        }
    }
}

/// Whether the union of a block is zero from its byte `used` on: what its version has no member for.
fn is_zero_behind(block: &IO_CONNECT_INTERRUPT_PARAMETERS, used: usize) -> bool {
    let members = (&raw const block.__bindgen_anon_1).cast::<u8>();
    (used..size_of_val(&block.__bindgen_anon_1)).all(|offset| {
        // SAFETY: inside the union, whose members are as many bytes at most.
        let byte = unsafe { members.add(offset) };
        // SAFETY: as above; the driver zeroed the block, or wrote something else there.
        unsafe { byte.read_volatile() == 0 }
    })
}
