//! The test bed: a small kernel that boots Windows drivers, unmodified `.sys` files, under QEMU.
//!
//! It has several processors, real interrupts through local and I/O APICs, the kernel routines that
//! drivers import, and a `PnP` manager that plays a device's life. What the interrupt routines mean and
//! which rules they check is `wdm-interrupt-model`; the bed gives it the hardware.
#![no_std]
#![no_main]
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::cast_ptr_alignment,
    reason = "a kernel for one 64-bit architecture: addresses and register fields are cut on purpose"
)]

extern crate alloc;

mod apic;
mod boot;
mod command;
mod exports;
mod faults;
mod hal;
mod heap;
mod image;
mod io;
mod irql;
mod kernel;
mod memory;
mod pci;
mod pnp;
mod processor;
mod qemu;
mod scenario;
mod serial;
mod smp;
mod stepping;
mod sync;
mod tables;
mod threads;
mod time;
mod trace;
mod trap;
mod verify;

use alloc::vec::Vec;

/// Where `boot.s` takes the first processor, with the address of the loader's start information.
#[unsafe(no_mangle)]
extern "sysv64" fn first_processor(start_info: usize) -> ! {
    serial::start();
    // SAFETY: this is the loader's pointer, and nothing was written yet but the start-up tables, which
    // lie in the image.
    let Some(boot) = (unsafe { boot::Boot::read(start_info) }) else {
        stop!("the loader gave no PVH start information");
    };
    let (address, size) = boot.free;
    // SAFETY: the region is in nobody's use.
    unsafe { heap::start(address, size) };
    // SAFETY: the address is the loader's.
    let machine = match unsafe { tables::Machine::read(boot.rsdp) } {
        Ok(machine) => machine,
        Err(why) => stop!("{why}"),
    };
    apic::start(machine.local_apic, machine.io_apic);
    apic::start_local();
    kernel::registers::start(machine.empty_bus);
    trap::prepare();
    trap::start();
    processor::start(0, apic::current_id());
    irql::set(0);
    time::calibrate();
    x86_64::instructions::interrupts::enable();
    // The images' pages get their access before the other processors can cache another one.
    let images = boot.module.map_or_else(|| Ok(Vec::new()), image::load_all);
    smp::start(&machine.processors);
    memory::unmap(0, memory::PAGE);
    qemu::exit(command::run(boot.command_line, images))
}

/// A panic of the bed itself.
#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    stop!("\nthe bed panics on processor {}: {info}", processor::current().number())
}
