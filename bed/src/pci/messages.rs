//! How a function sends messages: by MSI, whose one address and data are in configuration space and serve
//! a block of vectors, or by MSI-X, whose table in the function's memory has an entry a message.

use pci_types::capability::{MsiCapability, MsixCapability, MultipleMessageSupport};

use super::{Memory, Ports};
use crate::{memory, time};

/// The capability that a function sends messages by.
#[derive(Debug, Clone, Copy)]
pub(super) enum Messages {
    Msi(MsiCapability),
    MsiX(Table),
}

/// An MSI-X capability and where its table is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Table {
    capability: MsixCapability,
    /// Physical address of the first entry.
    entries: u64,
}

/// Words of a table entry: address, its upper half, data, and control, whose bit 0 masks.
mod entry {
    pub(super) const WORDS: usize = 4;
    pub(super) const ADDRESS: usize = 0;
    pub(super) const ADDRESS_UPPER: usize = 1;
    pub(super) const DATA: usize = 2;
    pub(super) const CONTROL: usize = 3;
    pub(super) const MASKED: u32 = 1;
}

impl Table {
    /// The table of a capability, if it lies in one of the function's memory BARs.
    pub(super) fn new(capability: MsixCapability, memory: &[Memory]) -> Option<Self> {
        let bar = memory.iter().find(|memory| memory.bar == capability.table_bar())?;
        Some(Self { capability, entries: bar.start + u64::from(capability.table_offset()) })
    }

    /// Writes a word of an entry. The function decodes its memory, or the write goes nowhere.
    fn write(&self, message: u16, word: usize, value: u32) {
        let first = memory::physical::<u32>(self.entries as usize);
        let place = first.wrapping_add(usize::from(message) * entry::WORDS + word);
        // SAFETY: a word of the function's MSI-X table, which only the bed writes to.
        unsafe { place.write_volatile(value) };
    }

    fn mask(&self, message: u16, masked: bool) {
        self.write(message, entry::CONTROL, if masked { entry::MASKED } else { 0 });
    }
}

impl Messages {
    /// How many messages there can be.
    pub(super) fn count(&self) -> usize {
        match self {
            Self::Msi(msi) => 1 << msi.multiple_message_capable() as u8,
            Self::MsiX(table) => usize::from(table.capability.table_size()),
        }
    }

    /// Lets the function send this message as a write of `data` to `address`; the other messages stay as
    /// they are. `count` is how many it was given.
    pub(super) fn unmask(&mut self, message: u16, count: usize, address: u64, data: u32) {
        match self {
            // The messages of a block are told apart by the low bits of the data, which the function sets.
            Self::Msi(msi) => {
                let first = data - u32::from(message);
                msi.set_multiple_message_enable(multiple(count), Ports);
                msi.set_message_info(address, first, Ports);
                msi.set_enabled(true, Ports);
            }
            Self::MsiX(table) => {
                table.begin();
                // A masked entry may be changed, and sends when it is unmasked what came meanwhile.
                table.mask(message, true);
                table.write(message, entry::ADDRESS, address as u32);
                table.write(message, entry::ADDRESS_UPPER, (address >> 32) as u32);
                table.write(message, entry::DATA, data);
                table.mask(message, false);
            }
        }
    }

    /// Keeps the function from sending this message. By MSI, whose vectors cannot all be masked one by
    /// one, it sends none from the first that is masked on; a driver disconnects them together.
    pub(super) fn mask(&self, message: u16) {
        match self {
            Self::Msi(msi) => msi.set_enabled(false, Ports),
            Self::MsiX(table) => table.mask(message, true),
        }
    }

    /// Keeps the function from sending any. What it sends nevertheless may come when it is allowed to
    /// again: a message with nothing to do.
    pub(super) fn silence(&mut self) {
        match self {
            Self::Msi(msi) => msi.set_enabled(false, Ports),
            Self::MsiX(table) => table.capability.set_function_mask(true, Ports),
        }
    }

    /// Has the function use its line instead.
    pub(super) fn disable(&mut self) {
        match self {
            Self::Msi(msi) => msi.set_enabled(false, Ports),
            Self::MsiX(table) if table.capability.enabled(Ports) => {
                table.capability.set_function_mask(true, Ports);
                time::stall(SETTLING_US);
                table.capability.set_enabled(false, Ports);
            }
            Self::MsiX(_) => {}
        }
    }
}

/// How long a function is left alone before it goes from line to MSI-X or back.
///
/// QEMU's e1000e holds interrupts back for some 128 µs by timers of its own, and QEMU aborts if MSI-X is not as
/// it was when one of them runs out.
const SETTLING_US: u64 = 20_000;

impl Table {
    /// Enables MSI-X with every entry masked, unless it is. While that is done the function mask keeps all
    /// silent: the entries may be those of an earlier START. Those beyond what the function was given stay
    /// masked.
    fn begin(&mut self) {
        if self.capability.enabled(Ports) && !self.capability.function_mask(Ports) {
            return;
        }
        self.capability.set_function_mask(true, Ports);
        if !self.capability.enabled(Ports) {
            time::stall(SETTLING_US);
            self.capability.set_enabled(true, Ports);
        }
        for message in 0..self.capability.table_size() {
            self.mask(message, true);
        }
        self.capability.set_function_mask(false, Ports);
    }
}

/// The field of the MSI control register that stands for at least so many messages.
const fn multiple(count: usize) -> MultipleMessageSupport {
    match count {
        0 | 1 => MultipleMessageSupport::Int1,
        2 => MultipleMessageSupport::Int2,
        3..=4 => MultipleMessageSupport::Int4,
        5..=8 => MultipleMessageSupport::Int8,
        9..=16 => MultipleMessageSupport::Int16,
        _ => MultipleMessageSupport::Int32,
    }
}
