//! What the firmware's ACPI tables say of processors and interrupt controllers.

use alloc::vec::Vec;
use core::pin::Pin;
use core::ptr::NonNull;

use acpi::sdt::madt::{Madt, MadtEntry};
use acpi::sdt::mcfg::Mcfg;
use acpi::{AcpiTables, Handler, PciAddress, PhysicalMapping};

/// The interrupt hardware, as the MADT lists it.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    /// Physical address of the local APIC's registers.
    pub(crate) local_apic: usize,
    /// Physical address of the I/O APIC that global interrupt 0 belongs to.
    pub(crate) io_apic: usize,
    /// The processors' local APIC numbers.
    pub(crate) processors: Vec<u32>,
    /// Physical address of the last PCI bus's memory-mapped configuration space, 1 MiB of it. No device
    /// is there, so it reads as all ones.
    pub(crate) empty_bus: Option<usize>,
}

/// Processor enabled, in a local APIC entry's flags.
const ENABLED: u32 = 1;

impl Machine {
    /// Reads the tables, beginning at the root pointer.
    ///
    /// # Errors
    ///
    /// Says what is missing or damaged.
    ///
    /// # Safety
    ///
    /// `rsdp` is the address the loader gave, and the tables are untouched.
    pub(crate) unsafe fn read(rsdp: usize) -> Result<Self, &'static str> {
        // SAFETY: the caller vouches for the address.
        let tables = unsafe { AcpiTables::from_rsdp(Identity, rsdp) }
            .map_err(|_| "the ACPI tables are damaged")?;
        let madt = tables.find_table::<Madt>().ok_or("the ACPI tables have no MADT")?;
        let madt: Pin<&Madt> = madt.get();
        let mut machine = Self {
            local_apic: madt.local_apic_address as usize,
            io_apic: 0,
            processors: Vec::new(),
            empty_bus: tables.find_table::<Mcfg>().and_then(|mcfg| {
                let entry = mcfg.get().entries().first().copied()?;
                let buses = usize::from(entry.bus_number_end - entry.bus_number_start);
                Some(entry.base_address as usize + (buses << 20))
            }),
        };
        for entry in madt.entries() {
            match entry {
                MadtEntry::LocalApic(entry) if entry.flags & ENABLED != 0 => {
                    machine.processors.push(u32::from(entry.apic_id));
                }
                MadtEntry::IoApic(entry) if entry.global_system_interrupt_base == 0 => {
                    machine.io_apic = entry.io_apic_address as usize;
                }
                _ => {}
            }
        }
        if machine.io_apic == 0 {
            return Err("the MADT lists no I/O APIC");
        }
        Ok(machine)
    }
}

/// Physical memory as the ACPI library sees it: mapped identically. Reading static tables needs no
/// more than that; what only the AML interpreter would ask for ends the run.
#[derive(Debug, Clone, Copy)]
struct Identity;

/// Defines the handler's methods that reading static tables never calls.
macro_rules! not_for_tables {
    ($(fn $name:ident($($argument:ident: $kind:ty),*) $(-> $result:ty)?;)*) => {
        $(fn $name(&self, $($argument: $kind),*) $(-> $result)? {
            $(let _ = $argument;)*
            unreachable!("static ACPI tables do not need {}", stringify!($name))
        })*
    };
}

impl Handler for Identity {
    unsafe fn map_physical_region<T>(
        &self,
        physical_address: usize,
        size: usize,
    ) -> PhysicalMapping<Self, T> {
        PhysicalMapping {
            physical_start: physical_address,
            virtual_start: NonNull::new(core::ptr::with_exposed_provenance_mut(physical_address))
                .expect("ACPI tables do not lie at address 0"),
            region_length: size,
            mapped_length: size,
            handler: *self,
        }
    }

    fn unmap_physical_region<T>(_: &PhysicalMapping<Self, T>) {}

    not_for_tables! {
        fn read_u8(address: usize) -> u8;
        fn read_u16(address: usize) -> u16;
        fn read_u32(address: usize) -> u32;
        fn read_u64(address: usize) -> u64;
        fn write_u8(address: usize, value: u8);
        fn write_u16(address: usize, value: u16);
        fn write_u32(address: usize, value: u32);
        fn write_u64(address: usize, value: u64);
        fn read_io_u8(port: u16) -> u8;
        fn read_io_u16(port: u16) -> u16;
        fn read_io_u32(port: u16) -> u32;
        fn write_io_u8(port: u16, value: u8);
        fn write_io_u16(port: u16, value: u16);
        fn write_io_u32(port: u16, value: u32);
        fn read_pci_u8(address: PciAddress, offset: u16) -> u8;
        fn read_pci_u16(address: PciAddress, offset: u16) -> u16;
        fn read_pci_u32(address: PciAddress, offset: u16) -> u32;
        fn write_pci_u8(address: PciAddress, offset: u16, value: u8);
        fn write_pci_u16(address: PciAddress, offset: u16, value: u16);
        fn write_pci_u32(address: PciAddress, offset: u16, value: u32);
        fn nanos_since_boot() -> u64;
        fn stall(microseconds: u64);
        fn sleep(milliseconds: u64);
    }
}
