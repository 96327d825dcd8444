//! PCI: configuration space by the two old ports, the functions of bus 0, their BARs and interrupts.

mod messages;

use alloc::vec::Vec;

use messages::{Messages, Table};
use pci_types::capability::PciCapability;
use pci_types::{
    Bar, CommandRegister, ConfigRegionAccess, EndpointHeader, HeaderType, PciAddress, PciHeader,
};
use spin::LazyLock;
use x86_64::instructions::port::Port;

use crate::smp;
use crate::sync::Lock;

/// Configuration space, one access at a time.
#[derive(Debug, Clone, Copy)]
struct Ports;

static ACCESS: Lock<()> = Lock::new(());

const ADDRESS_PORT: u16 = 0xcf8;
const VALUE_PORT: u16 = 0xcfc;

impl Ports {
    fn select(address: PciAddress, offset: u16) {
        let value = 1 << 31
            | u32::from(address.bus()) << 16
            | u32::from(address.device()) << 11
            | u32::from(address.function()) << 8
            | u32::from(offset & 0xfc);
        // SAFETY: the address port; the caller holds `ACCESS`.
        unsafe { Port::new(ADDRESS_PORT).write(value) };
    }
}

impl ConfigRegionAccess for Ports {
    unsafe fn read(&self, address: PciAddress, offset: u16) -> u32 {
        let _access = ACCESS.lock();
        Self::select(address, offset);
        // SAFETY: reading configuration space has no effect on the devices that the bed knows.
        unsafe { Port::new(VALUE_PORT).read() }
    }

    unsafe fn write(&self, address: PciAddress, offset: u16, value: u32) {
        let _access = ACCESS.lock();
        Self::select(address, offset);
        // SAFETY: the caller knows what the register does.
        unsafe { Port::new(VALUE_PORT).write(value) };
    }
}

/// A memory BAR.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Memory {
    /// Number of the BAR.
    bar: u8,
    /// Physical address, as the firmware assigned it.
    pub(crate) start: u64,
    /// Bytes.
    pub(crate) length: u32,
    pub(crate) prefetchable: bool,
}

/// A PCI function with a type 0 header: a device.
#[derive(Debug, Clone)]
pub(crate) struct Function {
    pub(crate) address: PciAddress,
    pub(crate) vendor: u16,
    pub(crate) device: u16,
    pub(crate) revision: u8,
    pub(crate) class: u8,
    pub(crate) memory: Vec<Memory>,
    /// The line's pin, 0 for INTA#.
    pub(crate) pin: Option<u8>,
    messages: Option<Messages>,
}

/// The devices on bus 0, without those that are part of the chip set: slots 0 and 31.
///
/// They are looked for once: finding out how long their registers are moves these for a moment.
pub(crate) fn functions() -> Vec<Function> {
    static FOUND: LazyLock<Vec<Function>> = LazyLock::new(|| {
        (1..31).flat_map(|slot| (0..8).filter_map(move |function| read(slot, function))).collect()
    });
    FOUND.clone()
}

fn read(slot: u8, function: u8) -> Option<Function> {
    let address = PciAddress::new(0, 0, slot, function);
    let header = PciHeader::new(address);
    let (vendor, device) = header.id(Ports);
    if vendor == 0xffff || header.header_type(Ports) != HeaderType::Endpoint {
        return None;
    }
    let (revision, class, _, _) = header.revision_and_class(Ports);
    let endpoint = EndpointHeader::from_header(header, Ports)?;
    let mut memory = Vec::new();
    let mut bar = 0;
    while bar < 6 {
        match endpoint.bar(bar, Ports) {
            Some(Bar::Memory32 { address, size, prefetchable }) => {
                let start = u64::from(address);
                memory.push(Memory { bar, start, length: size, prefetchable });
            }
            Some(Bar::Memory64 { address, size, prefetchable }) => {
                memory.push(Memory { bar, start: address, length: size as u32, prefetchable });
                bar += 1;
            }
            Some(Bar::Io { .. }) | None => {}
        }
        bar += 1;
    }
    let (pin, _) = endpoint.interrupt(Ports);
    // MSI-X before MSI, if there are both, as Windows chooses.
    let capabilities = || endpoint.capabilities(Ports);
    let table = capabilities().find_map(|capability| match capability {
        PciCapability::MsiX(capability) => Table::new(capability, &memory).map(Messages::MsiX),
        _ => None,
    });
    let messages = table.or_else(|| {
        capabilities().find_map(|capability| match capability {
            PciCapability::Msi(msi) => Some(Messages::Msi(msi)),
            _ => None,
        })
    });
    Some(Function {
        address,
        vendor,
        device,
        revision,
        class,
        memory,
        pin: pin.checked_sub(1),
        messages,
    })
}

impl Function {
    /// The I/O APIC pin of its line, on q35: the slot and the pin choose one of four.
    ///
    /// The Interrupt Line register says something else, for the 8259.
    pub(crate) fn line(&self) -> Option<u32> {
        self.pin.map(|pin| 20 + ((u32::from(self.address.device()) + u32::from(pin)) & 3))
    }

    /// How many messages it can send, if it can send any.
    pub(crate) fn messages(&self) -> usize {
        self.messages.as_ref().map_or(0, Messages::count)
    }

    /// Whether its messages must have vectors that follow each other, for one processor.
    pub(crate) const fn messages_are_a_block(&self) -> bool {
        matches!(self.messages, Some(Messages::Msi(_)))
    }

    /// Gets its registers decoded, or not: then they read as all ones.
    pub(crate) fn decode(&self, on: bool) {
        self.update(CommandRegister::MEMORY_ENABLE, on);
    }

    /// Lets it use its line.
    pub(crate) fn enable_line(&self) {
        if let Some(mut messages) = self.messages {
            messages.disable();
        }
        self.update(CommandRegister::INTERRUPT_DISABLE, false);
    }

    /// Keeps it from using its line.
    pub(crate) fn disable_line(&self) {
        self.update(CommandRegister::INTERRUPT_DISABLE, true);
    }

    /// Lets it send one of the `count` messages that it was given, instead of using its line. A message is
    /// a write to memory, so without bus mastering it would be dropped, and nobody told.
    pub(crate) fn unmask_message(&self, message: u16, count: usize, address: u64, data: u32) {
        let Some(mut messages) = self.messages else { return };
        self.update(CommandRegister::INTERRUPT_DISABLE, true);
        self.update(CommandRegister::BUS_MASTER_ENABLE, true);
        messages.unmask(message, count, address, data);
    }

    /// Keeps it from sending one of its messages.
    pub(crate) fn mask_message(&self, message: u16) {
        if let Some(messages) = &self.messages {
            messages.mask(message);
        }
    }

    /// Keeps it from sending messages.
    pub(crate) fn silence_messages(&self) {
        if let Some(mut messages) = self.messages {
            messages.silence();
        }
    }

    fn update(&self, bit: CommandRegister, on: bool) {
        let mut header = PciHeader::new(self.address);
        if header.command(Ports).contains(bit) == on {
            return;
        }
        smp::alone(|| {
            header.update_command(Ports, |mut command| {
                command.set(bit, on);
                command
            });
        });
    }
}
