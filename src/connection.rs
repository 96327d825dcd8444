//! What `IoConnectInterruptEx` returned, and with it the way to remove the ISR again.

use core::alloc::Layout;
use core::ffi::c_void;
use core::ptr::{self, NonNull};

use crate::resource::InterruptResource;
use crate::table::MessageTable;
use crate::{nt, pool};

/// What removing the ISR needs.
///
/// The documentation has the driver save one of two things, depending on the Version: see
/// [Removing an ISR][page]. Which of them it is, is decided by the Version that the successful
/// call *returned*, not by the one asked for: a message-based request can come back as line-based.
///
/// # Invariants
///
/// Exists only after `IoConnectInterruptEx` succeeded, and until `IoDisconnectInterruptEx` is
/// called with it: `context` is the pointer that the call wrote, and `version` the Version that it
/// returned.
///
/// [page]: https://learn.microsoft.com/windows-hardware/drivers/kernel/removing-an-isr
#[derive(Debug)]
pub(crate) struct Connection {
    version: nt::ULONG,
    context: NonNull<c_void>,
}

/// What a connection is, by its Version.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Form {
    /// `CONNECT_LINE_BASED`: asked for, or fallen back to. The context is the interrupt object.
    LineBased,
    /// `CONNECT_FULLY_SPECIFIED`, or `CONNECT_FULLY_SPECIFIED_GROUP`. The context is the interrupt
    /// object.
    FullySpecified,
    /// `CONNECT_MESSAGE_BASED`. The context is the message table.
    MessageBased,
    /// The undocumented `CONNECT_MESSAGE_BASED_PASSIVE`. The context is the message table.
    PassiveMessageBased,
    /// Another Version. Good for disconnecting, for nothing else.
    Unknown,
}

impl Connection {
    /// Reads the outcome of a connect that the kernel reported as a success.
    ///
    /// `version` is the parameter block's after the call, `written` what the call wrote through
    /// the out-pointer. `None`: nothing was written, so nothing is connected.
    ///
    /// # Safety
    ///
    /// They come from one call of `IoConnectInterruptEx` that returned a success.
    pub(crate) unsafe fn from_success(version: nt::ULONG, written: nt::PVOID) -> Option<Self> {
        // INVARIANT: the caller vouches for the success; version and pointer are its.
        Some(Self { version, context: NonNull::new(written)? })
    }

    /// The Version that the connect returned.
    pub(crate) const fn version(&self) -> nt::ULONG {
        self.version
    }

    /// What the Version says. Whether it goes with what was asked for, is for the request to say.
    pub(crate) const fn form(&self) -> Form {
        match self.version {
            nt::CONNECT_LINE_BASED => Form::LineBased,
            nt::CONNECT_FULLY_SPECIFIED | nt::CONNECT_FULLY_SPECIFIED_GROUP => Form::FullySpecified,
            nt::CONNECT_MESSAGE_BASED => Form::MessageBased,
            nt::CONNECT_MESSAGE_BASED_PASSIVE => Form::PassiveMessageBased,
            _ => Form::Unknown,
        }
    }

    /// How many messages the kernel's table says the device got; `None` on a line.
    ///
    /// # Safety
    ///
    /// The connection is of a form that its request allows.
    pub(crate) const unsafe fn read_messages(&self) -> Option<u32> {
        match self.form() {
            Form::MessageBased | Form::PassiveMessageBased => {
                let table = self.context.cast::<nt::IO_INTERRUPT_MESSAGE_INFO>();
                // SAFETY: in this form the context is the connection's message table.
                Some(unsafe { (*table.as_ptr()).MessageCount })
            }
            _ => None,
        }
    }

    /// The message table; `None` on a line.
    ///
    /// # Safety
    ///
    /// The connection is of a form that its request allows, and `messages` what was [read] from it,
    /// or less.
    ///
    /// [read]: Self::read_messages
    pub(crate) const unsafe fn table(&self, messages: u32) -> Option<MessageTable<'_>> {
        match self.form() {
            Form::MessageBased | Form::PassiveMessageBased => {
                // SAFETY: the table and its count are this connection's (caller), which is there
                // while it is borrowed: disconnecting takes it.
                Some(unsafe { MessageTable::new(self.context.cast(), messages) })
            }
            _ => None,
        }
    }

    /// The interrupt object of message `index`, or of the line; `None` past the last message, or
    /// when the table lacks it.
    ///
    /// All messages share the lock that was supplied when connecting, if there was one, and with it
    /// the IRQL. Then any message's object does for synchronising.
    ///
    /// # Safety
    ///
    /// As for [`table`](Self::table).
    pub(crate) unsafe fn object(
        &self,
        messages: u32,
        index: u32,
    ) -> Option<NonNull<nt::_KINTERRUPT>> {
        // SAFETY: as the caller promises.
        let table = unsafe { self.table(messages) };
        table.map_or_else(|| Some(self.context.cast()), |table| table.object(index as usize))
    }

    /// `IoReportInterruptActive`, or `IoReportInterruptInactive`.
    ///
    /// # Safety
    ///
    /// At most `DISPATCH_LEVEL`.
    pub(crate) unsafe fn report(&self, active: bool) {
        let mut parameters = nt::IO_REPORT_INTERRUPT_ACTIVE_STATE_PARAMETERS {
            Version: self.version,
            ..Default::default()
        };
        parameters.ConnectionContext.Generic = self.context.as_ptr();
        let parameters = &raw mut parameters;
        if active {
            // SAFETY: Version and context are the pair that the successful connect returned, and
            // it is connected (invariant); the IRQL is low enough (caller).
            unsafe { nt::IoReportInterruptActive(parameters) };
        } else {
            // SAFETY: as above.
            unsafe { nt::IoReportInterruptInactive(parameters) };
        }
    }

    /// `IoDisconnectInterruptEx`: after it the ISR runs no more, anywhere.
    ///
    /// That the call waits for an ISR in progress on another processor is nowhere said in so many
    /// words. It frees the interrupt object and with it the lock that the ISR holds, so it must,
    /// and KMDF relies on it. No page states this assumption; whoever frees what the ISR uses stands
    /// on it.
    ///
    /// # Safety
    ///
    /// `PASSIVE_LEVEL`; nothing uses the interrupt object or the message table any more, and
    /// nothing will.
    #[inline]
    pub(crate) unsafe fn disconnect(self) {
        let mut parameters =
            nt::IO_DISCONNECT_INTERRUPT_PARAMETERS { Version: self.version, ..Default::default() };
        // The union's members are all one pointer; `Generic` is the one that names none of them.
        parameters.ConnectionContext.Generic = self.context.as_ptr();
        // SAFETY:
        // - Version and context are the pair that the successful connect returned (invariant);
        // - taking `self` makes this the only disconnect;
        // - the caller vouches for the IRQL, and that nobody uses what is freed.
        unsafe { nt::IoDisconnectInterruptEx(&raw mut parameters) };
    }
}

/// All that one request has connected.
#[derive(Debug)]
pub(crate) enum Connected {
    /// One call's connection.
    One(Connection),
    /// One call's connection, which was fully specified.
    Vector(Connection, InterruptResource),
    /// One connection for each vector.
    Several(Vectors),
}

impl Connected {
    /// The connections, in the request's order.
    pub(crate) fn connections(&self) -> impl Iterator<Item = &Connection> {
        let (one, several) = match self {
            Self::One(connection) | Self::Vector(connection, _) => (Some(connection), None),
            Self::Several(vectors) => (None, Some(vectors)),
        };
        let several = several.into_iter().flat_map(Vectors::slots);
        one.into_iter().chain(several.filter_map(|slot| slot.connection.as_ref()))
    }

    /// The resources of a fully specified connection, in the request's order; none otherwise.
    pub(crate) fn resources(&self) -> impl Iterator<Item = InterruptResource> {
        let (one, several) = match self {
            Self::One(_) => (None, None),
            Self::Vector(_, resource) => (Some(*resource), None),
            Self::Several(vectors) => (None, Some(vectors)),
        };
        let several = several.into_iter().flat_map(Vectors::slots);
        one.into_iter().chain(several.map(|slot| slot.resource))
    }

    /// The first connection: all share the lock, so it does for synchronising.
    pub(crate) fn first(&self) -> Option<&Connection> {
        match self {
            Self::One(connection) | Self::Vector(connection, _) => Some(connection),
            Self::Several(vectors) => vectors.slots().next()?.connection.as_ref(),
        }
    }

    /// Disconnects all, in the request's order.
    ///
    /// # Safety
    ///
    /// As [`Connection::disconnect`].
    #[inline]
    pub(crate) unsafe fn disconnect(self) {
        match self {
            Self::One(connection) | Self::Vector(connection, _) => {
                // SAFETY: as the caller promises.
                unsafe { connection.disconnect() };
            }
            // SAFETY: as the caller promises.
            Self::Several(vectors) => unsafe { vectors.disconnect() },
        }
    }
}

/// The service context of one of several vectors.
#[derive(Debug)]
pub(crate) struct Slot {
    /// The registration's block.
    pub(crate) block: NonNull<()>,
    pub(crate) index: u32,
    pub(crate) resource: InterruptResource,
    /// Known once connected; the ISR does not look at it.
    connection: Option<Connection>,
}

/// The slots of several vectors, in a block of pool of their own.
///
/// # Invariants
///
/// `length` slots lie from `slots` on. While an ISR may run, `connection` of a slot is written by
/// the connecting thread only, and nothing else of it by anybody.
#[derive(Debug)]
pub(crate) struct Vectors {
    slots: NonNull<Slot>,
    length: usize,
}

impl Vectors {
    /// Slots for `resources`, with `block` as the registration; `None` when there is no memory.
    ///
    /// IRQL: at most `DISPATCH_LEVEL`. There is at least one resource.
    pub(crate) fn allocate(block: NonNull<()>, resources: &[InterruptResource]) -> Option<Self> {
        let layout = Layout::array::<Slot>(resources.len()).ok()?;
        let slots = pool::allocate(layout)?.cast::<Slot>();
        for (index, (&resource, number)) in resources.iter().zip(0..).enumerate() {
            let slot = Slot { block, index: number, resource, connection: None };
            // SAFETY: within the memory, which has room for as many as there are resources.
            let place = unsafe { slots.add(index) };
            // SAFETY: fresh memory.
            unsafe { place.write(slot) };
        }
        // INVARIANT: as many as there are resources have been written; no ISR has them.
        Some(Self { slots, length: resources.len() })
    }

    /// A slot's address, which is a service context.
    pub(crate) const fn context(&self, index: usize) -> nt::PVOID {
        self.slots.as_ptr().wrapping_add(index).cast()
    }

    /// Stores what the kernel returned for a slot.
    ///
    /// # Safety
    ///
    /// `index` is that of a slot; the connecting thread, and nobody else reads it meanwhile.
    pub(crate) unsafe fn set(&self, index: usize, connection: Connection) {
        // SAFETY: within the slots (caller).
        let slot = unsafe { self.slots.add(index) }.as_ptr();
        // SAFETY: within the slot.
        let place = unsafe { &raw mut (*slot).connection };
        // SAFETY: the connecting thread's alone (caller); the ISR does not look at it. `None`
        // before, which needs no drop.
        unsafe { place.write(Some(connection)) };
    }

    fn slots(&self) -> impl Iterator<Item = &Slot> {
        // SAFETY: as many complete slots lie there (invariant).
        unsafe { NonNull::slice_from_raw_parts(self.slots, self.length).as_ref() }.iter()
    }

    /// Disconnects those that are connected, and frees the slots.
    ///
    /// # Safety
    ///
    /// As [`Connection::disconnect`], for each.
    #[cold]
    pub(crate) unsafe fn disconnect(self) {
        for index in 0..self.length {
            // SAFETY: within the slots (invariant).
            let slot = unsafe { self.slots.add(index) }.as_ptr();
            // SAFETY: within the slot.
            let connection = unsafe { &raw const (*slot).connection };
            // SAFETY: complete, and read once.
            let connection = unsafe { ptr::read(connection) };
            if let Some(connection) = connection {
                // SAFETY: as the caller promises.
                unsafe { connection.disconnect() };
            }
        }
        // SAFETY: none is connected any more, so no ISR has a slot.
        unsafe { pool::free(self.slots) };
    }
}
