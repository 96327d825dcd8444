//! The message table.

use core::ptr::NonNull;

use super::{Executive, object::Object, pool::Block};
use crate::{
    hal::{Hal, Source},
    nt::{
        _KINTERRUPT_MODE, _KINTERRUPT_POLARITY, IO_INTERRUPT_MESSAGE_INFO,
        IO_INTERRUPT_MESSAGE_INFO_ENTRY, PHYSICAL_ADDRESS, ULONG,
    },
};

/// An `IO_INTERRUPT_MESSAGE_INFO` with all its entries, one block.
pub(super) struct MessageTable {
    block: Block,
    /// Its content's, once it is filled.
    fingerprint: u64,
}

const ENTRIES: usize = core::mem::offset_of!(IO_INTERRUPT_MESSAGE_INFO, MessageInfo);
const TAG: ULONG = u32::from_le_bytes(*b"IoMt");

impl MessageTable {
    /// A table of `objects`, which says that it has `count` entries. Entries that it says it has
    /// and for which there is no object are zero.
    pub(super) fn new<'a>(
        unified_irql: u8,
        count: ULONG,
        objects: impl ExactSizeIterator<Item = (&'a Object, u64)>,
    ) -> Option<Self> {
        let entries = objects.len().max(count as usize);
        let size = ENTRIES + entries * size_of::<IO_INTERRUPT_MESSAGE_INFO_ENTRY>();
        let block = Block::allocate(size, TAG, 0)?;
        let mut table = Self { block, fingerprint: 0 };
        let header = table.pointer();
        let head = IO_INTERRUPT_MESSAGE_INFO {
            UnifiedIrql: unified_irql,
            MessageCount: count,
            ..Default::default()
        };
        // SAFETY: the block has at least the header's `ENTRIES` bytes; all of it is written but
        // the first entry, which need not be there.
        unsafe {
            core::ptr::copy_nonoverlapping(
                (&raw const head).cast::<u8>(),
                header.as_ptr().cast::<u8>(),
                ENTRIES,
            );
        }
        for (index, (object, affinity)) in objects.enumerate() {
            let offset = ENTRIES + index * size_of::<IO_INTERRUPT_MESSAGE_INFO_ENTRY>();
            // SAFETY: the block has room for all objects' entries from `ENTRIES`.
            let entry = unsafe { header.as_ptr().byte_add(offset) };
            // SAFETY: inside the block, which is aligned to 16.
            unsafe {
                entry.cast::<IO_INTERRUPT_MESSAGE_INFO_ENTRY>().write(message(object, affinity));
            }
        }
        table.fingerprint = table.block.fingerprint();
        Some(table)
    }

    /// Whether it is as the driver was given it, and so is what is next to it.
    pub(super) fn is_intact(&self) -> bool {
        self.block.damage().is_none() && self.block.fingerprint() == self.fingerprint
    }

    pub(super) const fn pointer(&self) -> NonNull<IO_INTERRUPT_MESSAGE_INFO> {
        self.block.pointer().cast()
    }
}

const fn message(object: &Object, affinity: u64) -> IO_INTERRUPT_MESSAGE_INFO_ENTRY {
    let (address, data) = match object.source {
        Source::Message { address, data } => (address, data),
        Source::Line { .. } => (0, 0),
    };
    IO_INTERRUPT_MESSAGE_INFO_ENTRY {
        MessageAddress: PHYSICAL_ADDRESS { QuadPart: address.cast_signed() },
        TargetProcessorSet: affinity,
        InterruptObject: object.pointer(),
        MessageData: data,
        Vector: object.vector,
        Irql: object.irql,
        Mode: _KINTERRUPT_MODE::Latched,
        Polarity: _KINTERRUPT_POLARITY::InterruptActiveHigh,
    }
}

impl<H: Hal> Executive<H> {
    /// Takes a table away: what the driver still reads there is poison.
    pub(super) fn discard(&self, table: MessageTable) {
        self.quarantine(table.block, "IoDisconnectInterruptEx");
    }
}
