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
/// returned. With [`Form::MessageBased`] `context` is the message table, and `messages` its count;
/// with [`Form::LineBased`] and [`Form::FullySpecified`] `context` is the interrupt object.
///
/// [page]: https://learn.microsoft.com/windows-hardware/drivers/kernel/removing-an-isr
#[derive(Debug)]
pub(crate) struct Connection {
    version: nt::ULONG,
    form: Form,
    /// The table's count, read once; 0 when there is no table.
    messages: u32,
    context: NonNull<c_void>,
}

/// What of three a connection is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Form {
    /// `CONNECT_LINE_BASED`: asked for, or fallen back to.
    LineBased,
    /// `CONNECT_FULLY_SPECIFIED`, or `CONNECT_FULLY_SPECIFIED_GROUP`.
    FullySpecified,
    /// `CONNECT_MESSAGE_BASED`, or the undocumented `CONNECT_MESSAGE_BASED_PASSIVE`.
    MessageBased,
    /// A Version that does not go with the request. Good for disconnecting, for nothing else.
    Unknown,
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
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "else what comes back goes through memory, twice")]
    pub(crate) unsafe fn from_success(
        asked: nt::ULONG,
        version: nt::ULONG,
        written: nt::PVOID,
    ) -> Option<Self> {
        let context = NonNull::new(written)?;
        let (form, messages) = match (asked, version) {
            (
                nt::CONNECT_LINE_BASED
                | nt::CONNECT_MESSAGE_BASED
                | nt::CONNECT_MESSAGE_BASED_PASSIVE,
                nt::CONNECT_LINE_BASED,
            ) => (Form::LineBased, 0),
            (
                nt::CONNECT_FULLY_SPECIFIED | nt::CONNECT_FULLY_SPECIFIED_GROUP,
                nt::CONNECT_FULLY_SPECIFIED | nt::CONNECT_FULLY_SPECIFIED_GROUP,
            ) => (Form::FullySpecified, 0),
            (nt::CONNECT_MESSAGE_BASED, nt::CONNECT_MESSAGE_BASED)
            | (nt::CONNECT_MESSAGE_BASED_PASSIVE, nt::CONNECT_MESSAGE_BASED_PASSIVE) => {
                let table = context.cast::<nt::IO_INTERRUPT_MESSAGE_INFO>();
                // SAFETY: with this Version the context is the connection's message table.
                let messages = unsafe { (*table.as_ptr()).MessageCount };
                (Form::MessageBased, messages)
            }
            _ => (Form::Unknown, 0),
        };
        // INVARIANT: the caller vouches for the success; version and pointer are its, and the form
        // is that of both Versions.
        Some(Self { version, form, messages, context })
    }

    /// The Version that the connect returned.
    pub(crate) const fn version(&self) -> nt::ULONG {
        self.version
    }

    pub(crate) const fn form(&self) -> Form {
        self.form
    }

    /// How many messages the device got; `None` on a line.
    pub(crate) const fn messages(&self) -> Option<u32> {
        match self.form {
            Form::MessageBased => Some(self.messages),
            _ => None,
        }
    }

    /// The message table; `None` on a line.
    pub(crate) const fn table(&self) -> Option<MessageTable<'_>> {
        let Form::MessageBased = self.form else {
            return None;
        };
        // SAFETY: the table and its count are this connection's, which is there while it is
        // borrowed: disconnecting takes it.
        Some(unsafe { MessageTable::new(self.context.cast(), self.messages) })
    }

    /// The object to synchronise with, when all share one lock.
    ///
    /// All messages share the lock that was supplied when connecting, and with it the IRQL, so any
    /// message's object does; this is the first one's. `None` when the table is empty or lacks
    /// the object, or the connection is not what was asked for.
    pub(crate) fn synchronization_object(&self) -> Option<NonNull<nt::_KINTERRUPT>> {
        match self.form {
            Form::LineBased | Form::FullySpecified => Some(self.context.cast()),
            Form::MessageBased => self.table()?.object(0),
            Form::Unknown => None,
        }
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
