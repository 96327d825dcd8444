//! What the driver counts, and how it lies in the reply.

use crate::CAUSES;

/// What the driver has counted since the last START: each START is a new connection.
///
/// In the output buffer the fields follow each other in the order of this page without gaps; the
/// connection is two 32-bit numbers, 1 for a line and 2 for messages, and the number of messages.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Counts {
    /// How the interrupts are connected.
    pub connection: Connection,
    /// By message, those that are not connected all zero. What came by line is counted in the first.
    pub messages: [MessageCounts; CAUSES],
}

/// How the interrupts are connected.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Connection {
    /// By line.
    Line,
    /// By messages, this many.
    Messages(u32),
}

/// What was counted of one message, or of the line.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct MessageCounts {
    /// Calls of the service routine that found an interrupt of this device.
    pub serviced: u64,
    /// Calls that did not.
    pub not_mine: u64,
    /// The processors that the service routine ran on, bit 0 for processor 0.
    pub processors: u64,
    /// Every cause that the service routine has seen, bit 0 for cause 0.
    pub causes: u64,
    /// Runs of the deferred half. Requests coalesce, so there can be fewer than serviced.
    pub deferred_runs: u64,
}

impl MessageCounts {
    /// Bytes in the output buffer.
    const SIZE: usize = 5 * 8;
}

impl Counts {
    /// Bytes in the output buffer.
    pub const SIZE: usize = 2 * 4 + CAUSES * MessageCounts::SIZE;

    /// The output buffer.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::SIZE] {
        let (kind, count) = match self.connection {
            Connection::Line => (1_u32, 0),
            Connection::Messages(count) => (2, count),
        };
        let counters = self.messages.iter().flat_map(|one| {
            [one.serviced, one.not_mine, one.processors, one.causes, one.deferred_runs]
        });
        let fields = [kind.to_ne_bytes(), count.to_ne_bytes()]
            .into_iter()
            .flatten()
            .chain(counters.flat_map(u64::to_ne_bytes));
        let mut bytes = [0; Self::SIZE];
        for (byte, field) in bytes.iter_mut().zip(fields) {
            *byte = field;
        }
        bytes
    }

    /// Reads an output buffer; `None` if it is too short or names no known kind of connection.
    #[must_use]
    pub fn from_bytes(mut bytes: &[u8]) -> Option<Self> {
        let rest = &mut bytes;
        let kind = u32::from_ne_bytes(take(rest)?);
        let count = u32::from_ne_bytes(take(rest)?);
        let connection = match kind {
            1 => Connection::Line,
            2 => Connection::Messages(count),
            _ => return None,
        };
        let mut messages = [MessageCounts::default(); CAUSES];
        for message in &mut messages {
            *message = MessageCounts {
                serviced: take(rest).map(u64::from_ne_bytes)?,
                not_mine: take(rest).map(u64::from_ne_bytes)?,
                processors: take(rest).map(u64::from_ne_bytes)?,
                causes: take(rest).map(u64::from_ne_bytes)?,
                deferred_runs: take(rest).map(u64::from_ne_bytes)?,
            };
        }
        Some(Self { connection, messages })
    }
}

/// Reads `N` bytes from the front of `rest`, and moves it past.
fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (value, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(*value)
}
