//! The counters that the driver keeps, and how they lie in the reply.

/// The driver's counters.
///
/// What concerns the interrupt counts from the last START on, because each START is a new
/// connection; requests count from the time that the driver was attached to the device.
///
/// In the output buffer the fields follow each other in the order of this page without gaps; the
/// connection is two 32-bit numbers, 1 for a line and 2 for messages, and the number of messages.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Statistics {
    /// How the interrupt is connected.
    pub connection: Connection,
    /// Calls of the service routine that found an interrupt of this device.
    pub claimed: u64,
    /// Calls that did not: another device's on a shared line, or a message that came late.
    pub not_mine: u64,
    /// Of the claimed ones, those that came by line.
    pub line: u64,
    /// Of the claimed ones, those that came by message 0, 1, 2, 3. The device has one message;
    /// any beyond the fourth are counted with the fourth.
    pub messages: [u64; Self::MESSAGES],
    /// Runs of the deferred half. Requests coalesce, so there can be fewer than claimed.
    pub deferred_runs: u64,
    /// Factorials computed and delivered.
    pub computed: u64,
    /// Requests completed as cancelled, also when cancelled while the device was computing.
    pub cancelled: u64,
    /// Every bit that the service routine has seen in the device's interrupt status.
    pub status_seen: u32,
    /// Requests that are waiting or being computed now.
    pub pending: u32,
}

/// How the interrupt is connected.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Connection {
    /// By line.
    Line,
    /// By messages (MSI or MSI-X), this many.
    Messages(u32),
}

impl Statistics {
    /// How many messages have a counter of their own.
    pub const MESSAGES: usize = 4;

    /// Bytes in the output buffer.
    pub const SIZE: usize = 8 + 8 * (6 + Self::MESSAGES) + 2 * 4;

    /// Calls of the service routine.
    #[must_use]
    pub const fn interrupts(&self) -> u64 {
        self.claimed + self.not_mine
    }

    /// The output buffer.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::SIZE] {
        let (kind, count) = match self.connection {
            Connection::Line => (1, 0),
            Connection::Messages(count) => (2, count),
        };
        let [first, second, third, fourth] = self.messages;
        let counters = [
            self.claimed,
            self.not_mine,
            self.line,
            first,
            second,
            third,
            fourth,
            self.deferred_runs,
            self.computed,
            self.cancelled,
        ];
        let fields = [u32::to_ne_bytes(kind), u32::to_ne_bytes(count)]
            .into_iter()
            .flatten()
            .chain(counters.into_iter().flat_map(u64::to_ne_bytes))
            .chain(self.status_seen.to_ne_bytes())
            .chain(self.pending.to_ne_bytes());
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
        let [claimed, not_mine, line] = take_counters(rest)?;
        let messages = take_counters(rest)?;
        let [deferred_runs, computed, cancelled] = take_counters(rest)?;
        let status_seen = u32::from_ne_bytes(take(rest)?);
        let pending = u32::from_ne_bytes(take(rest)?);
        Some(Self {
            connection,
            claimed,
            not_mine,
            line,
            messages,
            deferred_runs,
            computed,
            cancelled,
            status_seen,
            pending,
        })
    }
}

/// Reads `N` bytes from the front of `rest`, and moves it past.
fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (value, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(*value)
}

fn take_counters<const N: usize>(rest: &mut &[u8]) -> Option<[u64; N]> {
    let mut counters = [0; N];
    for counter in &mut counters {
        *counter = u64::from_ne_bytes(take(rest)?);
    }
    Some(counters)
}
