//! The local APIC of each processor, and the I/O APIC that lines come in by.

use core::ptr::{read_volatile, with_exposed_provenance_mut, write_volatile};
use core::sync::atomic::{AtomicUsize, Ordering};

use x86_64::instructions::port::Port;

use crate::sync::Lock;

/// Vector of the spurious interrupt: what a raised task priority leaves of a pending one.
pub(crate) const SPURIOUS_VECTOR: u8 = 0xff;

static LOCAL: AtomicUsize = AtomicUsize::new(0);
static IO: AtomicUsize = AtomicUsize::new(0);
/// The I/O APIC is reached through an index register: one processor at a time.
static IO_ACCESS: Lock<()> = Lock::new(());

mod register {
    pub(super) const ID: usize = 0x20;
    pub(super) const END_OF_INTERRUPT: usize = 0xb0;
    pub(super) const SPURIOUS: usize = 0xf0;
    /// The vectors that wait to be taken, 32 in each of eight registers.
    pub(super) const REQUESTS: usize = 0x200;
    pub(super) const COMMAND_LOW: usize = 0x300;
    pub(super) const COMMAND_HIGH: usize = 0x310;
    pub(super) const LOCAL_VECTORS: [usize; 6] = [0x320, 0x330, 0x340, 0x350, 0x360, 0x370];
}

/// Bits of the interrupt command register.
mod command {
    pub(super) const INIT: u32 = 0x500;
    pub(super) const START_UP: u32 = 0x600;
    pub(super) const ASSERT: u32 = 0x4000;
    pub(super) const PENDING: u32 = 0x1000;
}

const MASKED: u32 = 1 << 16;
const LEVEL: u32 = 1 << 15;
const ACTIVE_LOW: u32 = 1 << 13;

/// Says where the controllers' registers are, masks the 8259 and every I/O APIC pin.
pub(crate) fn start(local: usize, io: usize) {
    LOCAL.store(local, Ordering::Relaxed);
    IO.store(io, Ordering::Relaxed);
    for port in [0x21, 0xa1] {
        // SAFETY: the mask registers of the two 8259; all interrupts come through APICs from here.
        unsafe { Port::<u8>::new(port).write(0xff) };
    }
    for pin in 0..pins() {
        mask(pin);
    }
}

/// Switches the current processor's local APIC on.
pub(crate) fn start_local() {
    for entry in register::LOCAL_VECTORS {
        write(entry, MASKED);
    }
    write(register::SPURIOUS, 0x100 | u32::from(SPURIOUS_VECTOR));
}

/// The current processor's APIC number.
pub(crate) fn current_id() -> u32 {
    read(register::ID) >> 24
}

/// Says that the interrupt in service was handled.
pub(crate) fn end_of_interrupt() {
    write(register::END_OF_INTERRUPT, 0);
}

/// Whether an interrupt with this vector waits for the current processor to take it.
pub(crate) fn is_waiting(vector: u8) -> bool {
    let (register, bit) = (usize::from(vector / 32), vector % 32);
    read(register::REQUESTS + register * 0x10) >> bit & 1 != 0
}

/// Interrupts the processor with this APIC number; it may be the current one.
pub(crate) fn send(apic_id: u32, vector: u8) {
    send_command(apic_id, command::ASSERT | u32::from(vector));
}

/// Resets a processor, first of two steps to start it.
pub(crate) fn send_init(apic_id: u32) {
    send_command(apic_id, command::ASSERT | command::INIT);
}

/// Starts a processor at a page below 1 MiB.
pub(crate) fn send_start_up(apic_id: u32, page: u8) {
    send_command(apic_id, command::ASSERT | command::START_UP | u32::from(page));
}

fn send_command(apic_id: u32, command: u32) {
    // The register pair must not be interleaved with that of an interrupt handler.
    x86_64::instructions::interrupts::without_interrupts(|| {
        write(register::COMMAND_HIGH, apic_id << 24);
        write(register::COMMAND_LOW, command);
        while read(register::COMMAND_LOW) & command::PENDING != 0 {
            core::hint::spin_loop();
        }
    });
}

/// How many pins the I/O APIC has.
pub(crate) fn pins() -> u32 {
    let _access = IO_ACCESS.lock();
    ((io_read(1) >> 16) & 0xff) + 1
}

/// Routes a pin to a processor.
pub(crate) fn route(pin: u32, vector: u8, apic_id: u32, level: bool) {
    let _access = IO_ACCESS.lock();
    // PCI lines are active low by the book, but QEMU's I/O APIC wires them active high and ignores
    // the polarity bit; it is set as a real board would want it.
    let trigger = if level { LEVEL | ACTIVE_LOW } else { 0 };
    io_write(entry(pin), MASKED);
    io_write(entry(pin) + 1, apic_id << 24);
    io_write(entry(pin), trigger | u32::from(vector));
}

/// Silences a pin.
pub(crate) fn mask(pin: u32) {
    let _access = IO_ACCESS.lock();
    io_write(entry(pin), MASKED);
}

const fn entry(pin: u32) -> u32 {
    0x10 + pin * 2
}

fn read(register: usize) -> u32 {
    let address = with_exposed_provenance_mut(LOCAL.load(Ordering::Relaxed) + register);
    // SAFETY: a register of the local APIC; the first 4 GiB are mapped.
    unsafe { read_volatile(address) }
}

fn write(register: usize, value: u32) {
    let address = with_exposed_provenance_mut(LOCAL.load(Ordering::Relaxed) + register);
    // SAFETY: a register of the local APIC; the first 4 GiB are mapped.
    unsafe { write_volatile(address, value) };
}

/// Selects an I/O APIC register; the caller holds `IO_ACCESS`.
fn select(register: u32) -> *mut u32 {
    let base = IO.load(Ordering::Relaxed);
    // SAFETY: the I/O APIC's index register.
    unsafe { write_volatile(with_exposed_provenance_mut(base), register) };
    with_exposed_provenance_mut(base + 0x10)
}

fn io_read(register: u32) -> u32 {
    let window = select(register);
    // SAFETY: the I/O APIC's data window, the register just selected.
    unsafe { read_volatile(window) }
}

fn io_write(register: u32, value: u32) {
    let window = select(register);
    // SAFETY: the I/O APIC's data window, the register just selected.
    unsafe { write_volatile(window, value) };
}
