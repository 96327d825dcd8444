//! What `IoConnectInterruptEx` returned, and with it the way to remove the ISR again.

use core::ptr::NonNull;

use crate::nt;

/// What removing the ISR needs.
///
/// The documentation has the driver save one of two things, depending on the Version: see
/// [Removing an ISR][page]. Which of them it is, is decided by the Version that the successful
/// call *returned*, not by the one asked for: a message-based request can come back as line-based.
///
/// # Invariants
///
/// Exists only after `IoConnectInterruptEx` succeeded, and until `IoDisconnectInterruptEx` is
/// called with it: the pointer in it is the one that the call wrote, and the Version the one that
/// it returned.
///
/// [page]: https://learn.microsoft.com/windows-hardware/drivers/kernel/removing-an-isr
#[derive(Debug)]
pub(crate) enum Connection {
    /// `CONNECT_LINE_BASED`: asked for, or fallen back to.
    LineBased(NonNull<nt::_KINTERRUPT>),
    /// `CONNECT_FULLY_SPECIFIED`, or `CONNECT_FULLY_SPECIFIED_GROUP`.
    FullySpecified { version: nt::ULONG, object: NonNull<nt::_KINTERRUPT> },
    /// `CONNECT_MESSAGE_BASED`.
    MessageBased {
        table: NonNull<nt::IO_INTERRUPT_MESSAGE_INFO>,
        /// The table's count, read once.
        messages: u32,
    },
    /// A Version that does not go with the request. Good for disconnecting, for nothing else.
    Unknown { version: nt::ULONG, context: NonNull<nt::_KINTERRUPT> },
}

impl Connection {
    /// Reads the outcome of a connect that the kernel reported as a success.
    ///
    /// `asked` is the Version asked for, `version` the parameter block's after the call, `written`
    /// what the call wrote through the out-pointer. `None`: nothing was written, so nothing is
    /// connected.
    ///
    /// # Safety
    ///
    /// They come from one call of `IoConnectInterruptEx` that returned a success.
    pub(crate) unsafe fn from_success(
        asked: nt::ULONG,
        version: nt::ULONG,
        written: nt::PVOID,
    ) -> Option<Self> {
        let written = NonNull::new(written)?;
        // INVARIANT: the caller vouches for the success; version and pointer are its.
        Some(match (asked, version) {
            (nt::CONNECT_LINE_BASED | nt::CONNECT_MESSAGE_BASED, nt::CONNECT_LINE_BASED) => {
                Self::LineBased(written.cast())
            }
            (
                nt::CONNECT_FULLY_SPECIFIED | nt::CONNECT_FULLY_SPECIFIED_GROUP,
                nt::CONNECT_FULLY_SPECIFIED | nt::CONNECT_FULLY_SPECIFIED_GROUP,
            ) => Self::FullySpecified { version, object: written.cast() },
            (nt::CONNECT_MESSAGE_BASED, nt::CONNECT_MESSAGE_BASED) => {
                let table = written.cast::<nt::IO_INTERRUPT_MESSAGE_INFO>();
                // SAFETY: with this Version the context is the connection's message table.
                let messages = unsafe { (*table.as_ptr()).MessageCount };
                Self::MessageBased { table, messages }
            }
            _ => Self::Unknown { version, context: written.cast() },
        })
    }

    /// The Version that the connect returned.
    pub(crate) const fn version(&self) -> nt::ULONG {
        match *self {
            Self::LineBased(_) => nt::CONNECT_LINE_BASED,
            Self::MessageBased { .. } => nt::CONNECT_MESSAGE_BASED,
            Self::FullySpecified { version, .. } | Self::Unknown { version, .. } => version,
        }
    }

    /// The pointer that the connect wrote.
    const fn context(&self) -> nt::PVOID {
        match *self {
            Self::LineBased(object)
            | Self::FullySpecified { object, .. }
            | Self::Unknown { context: object, .. } => object.as_ptr().cast(),
            Self::MessageBased { table, .. } => table.as_ptr().cast(),
        }
    }

    /// How many messages the device got; `None` on a line.
    pub(crate) const fn messages(&self) -> Option<u32> {
        match *self {
            Self::MessageBased { messages, .. } => Some(messages),
            _ => None,
        }
    }

    /// The object to synchronise with.
    ///
    /// All messages share the lock that was supplied when connecting, and with it the IRQL, so any
    /// message's object does; this is the first one's. `None` when the table is empty or lacks
    /// the object, or the connection is not what was asked for.
    pub(crate) fn synchronization_object(&self) -> Option<NonNull<nt::_KINTERRUPT>> {
        match *self {
            Self::LineBased(object) | Self::FullySpecified { object, .. } => Some(object),
            Self::MessageBased { messages: 0, .. } | Self::Unknown { .. } => None,
            Self::MessageBased { table, .. } => {
                let table = table.as_ptr();
                // SAFETY: the table has at least one entry, so the place lies within it. The
                // table is a flexible array, hence the pointer to the field and not the field.
                let entry = unsafe { &raw const (*table).MessageInfo }
                    .cast::<nt::IO_INTERRUPT_MESSAGE_INFO_ENTRY>();
                // SAFETY: the first entry exists and is readable while connected.
                NonNull::new(unsafe { (*entry).InterruptObject })
            }
        }
    }

    /// `IoDisconnectInterruptEx`: after it the ISR runs no more, anywhere.
    ///
    /// That the call waits for an ISR in progress on another processor is nowhere said in so many
    /// words. It frees the interrupt object and with it the lock that the ISR holds, so it must,
    /// and KMDF relies on it. This is the crate's one assumption about the kernel that no page
    /// states; whoever frees what the ISR uses stands on it.
    ///
    /// # Safety
    ///
    /// `PASSIVE_LEVEL`; nothing uses the interrupt object or the message table any more, and
    /// nothing will.
    pub(crate) unsafe fn disconnect(self) {
        let mut parameters = nt::IO_DISCONNECT_INTERRUPT_PARAMETERS {
            Version: self.version(),
            ..Default::default()
        };
        // The union's members are all one pointer; `Generic` is the one that names none of them.
        parameters.ConnectionContext.Generic = self.context();
        // SAFETY:
        // - Version and context are the pair that the successful connect returned (invariant);
        // - taking `self` makes this the only disconnect;
        // - the caller vouches for the IRQL, and that nobody uses what is freed.
        unsafe { nt::IoDisconnectInterruptEx(&raw mut parameters) };
    }
}
