//! The driver's private IOCTLs, and what is in their buffers.

/// `CTL_CODE(FILE_DEVICE_UNKNOWN, function, METHOD_BUFFERED, FILE_ANY_ACCESS)`.
const fn code(function: u32) -> u32 {
    const FILE_DEVICE_UNKNOWN: u32 = 0x22;
    FILE_DEVICE_UNKNOWN << 16 | function << 2
}

/// What was counted: [`Counts`].
pub(crate) const COUNTS: u32 = code(0x900);

/// Work for the device: a number of 32 bits. The answer is another one, of 64 bits.
pub(crate) const WORK: u32 = code(0x901);

/// Ends the connection in the way of this number, and connects again.
pub(crate) const CYCLE: u32 = code(0x902);

/// What a driver has counted, numbers of 64 bits in this order.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Counts {
    /// Interrupts that a service routine claimed.
    pub(crate) claimed: u64,
    /// Calls of a service routine for something else.
    pub(crate) not_mine: u64,
    /// Runs of the deferred half.
    pub(crate) runs: u64,
    /// Interrupts that the deferred half has completed, of those claimed.
    pub(crate) accounted: u64,
    /// Interrupts that came back with the handler when it was disconnected, of those claimed.
    pub(crate) returned: u64,
    /// Connections that there have been.
    pub(crate) connections: u64,
}

impl Counts {
    /// Bytes of a reply.
    pub(crate) const SIZE: usize = 6 * 8;

    /// The reply.
    pub(crate) fn to_bytes(self) -> [u8; Self::SIZE] {
        let Self { claimed, not_mine, runs, accounted, returned, connections } = self;
        let fields = [claimed, not_mine, runs, accounted, returned, connections];
        let mut bytes = [0; Self::SIZE];
        for (bytes, field) in bytes.chunks_exact_mut(8).zip(fields) {
            bytes.copy_from_slice(&field.to_ne_bytes());
        }
        bytes
    }
}
