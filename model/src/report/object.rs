//! The kernel objects that a broken rule is about.

use core::fmt;

/// A kernel object that a report is about, by what a driver knows of it.
///
/// ```
/// use wdm_interrupt_model::report::Object;
///
/// let freed = Object::FreedInterrupt { address: 0xFFFF_E000_0010_0900, vector: 0x90 };
/// assert_eq!(freed.to_string(), "freed interrupt object 0xffffe00000100900, was vector 0x90");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Object {
    /// An interrupt object that is connected.
    Interrupt {
        /// Its address, as `IoConnectInterruptEx` stored it.
        address: usize,
        /// The vector that it is connected to.
        vector: u32,
    },
    /// An interrupt object that is no more.
    FreedInterrupt {
        /// Where it was.
        address: usize,
        /// The vector that it was connected to.
        vector: u32,
    },
    /// A message table, which is the connection context of messages.
    MessageTable {
        /// Its address, as `IoConnectInterruptEx` stored it.
        address: usize,
    },
    /// A message table that is no more.
    FreedMessageTable {
        /// Where it was.
        address: usize,
    },
    /// A vector.
    Vector {
        /// The vector.
        vector: u32,
    },
    /// A `KDPC`.
    Dpc {
        /// Its address.
        address: usize,
    },
    /// A `KEVENT`.
    Event {
        /// Its address.
        address: usize,
    },
    /// A `KSPIN_LOCK`.
    SpinLock {
        /// Its address.
        address: usize,
    },
    /// A work item.
    WorkItem {
        /// Its address, as `IoAllocateWorkItem` returned it.
        address: usize,
    },
    /// A device object.
    Device {
        /// Its address.
        address: usize,
    },
    /// Pool that is allocated.
    Pool {
        /// Its address.
        address: usize,
        /// How many bytes it has.
        bytes: usize,
        /// Its tag.
        tag: u32,
    },
    /// Pool that was freed.
    FreedPool {
        /// Where it was.
        address: usize,
        /// How many bytes it had.
        bytes: usize,
        /// The tag that it was allocated with.
        tag: u32,
    },
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Interrupt { address, vector } => {
                write!(f, "interrupt object {address:#x}, vector {vector:#x}")
            }
            Self::FreedInterrupt { address, vector } => {
                write!(f, "freed interrupt object {address:#x}, was vector {vector:#x}")
            }
            Self::MessageTable { address } => write!(f, "message table {address:#x}"),
            Self::FreedMessageTable { address } => write!(f, "freed message table {address:#x}"),
            Self::Vector { vector } => write!(f, "vector {vector:#x}"),
            Self::Dpc { address } => write!(f, "KDPC {address:#x}"),
            Self::Event { address } => write!(f, "event {address:#x}"),
            Self::SpinLock { address } => write!(f, "spin lock {address:#x}"),
            Self::WorkItem { address } => write!(f, "work item {address:#x}"),
            Self::Device { address } => write!(f, "device object {address:#x}"),
            Self::Pool { address, bytes, tag } => {
                write!(f, "pool {address:#x}, {bytes} bytes, tag '{}'", Tag(tag))
            }
            Self::FreedPool { address, bytes, tag } => {
                write!(f, "freed pool {address:#x}, was {bytes} bytes, tag '{}'", Tag(tag))
            }
        }
    }
}

/// A pool tag as people write it.
pub(crate) struct Tag(pub(crate) u32);

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.to_le_bytes().escape_ascii().fmt(f)
    }
}
