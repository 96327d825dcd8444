//! The local APIC of each processor, and the I/O APIC that lines come in by.

use core::ptr::{read_volatile, with_exposed_provenance_mut, write_volatile};
use core::sync::atomic::{AtomicUsize, Ordering};

use x86_64::instructions::port::Port;

use crate::sync::Lock;
use crate::time;

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
    pub(super) const LOCAL_VECTORS: [usize; 6] = [TIMER, 0x330, 0x340, 0x350, 0x360, 0x370];
    pub(super) const TIMER: usize = 0x320;
    pub(super) const TIMER_COUNT: usize = 0x380;
    pub(super) const TIMER_DIVIDER: usize = 0x3e0;
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
/// A level was delivered, and its end has not been told (read only).
const IN_SERVICE: u32 = 1 << 14;
const ACTIVE_LOW: u32 = 1 << 13;

/// Says where the controllers' registers are, masks the 8259 and every I/O APIC pin.
pub(crate) fn start(local: usize, io: usize) {
    LOCAL.store(local, Ordering::Relaxed);
    IO.store(io, Ordering::Relaxed);
    for port in [0x21, 0xa1] {
        // SAFETY: the mask registers of the two 8259; all interrupts come through APICs from here.
        unsafe { Port::<u8>::new(port).write(0xff) };
    }
    let _access = IO_ACCESS.lock();
    for pin in 0..pins() {
        // A level that is asserted before its pin is first unmasked comes then; of an edge, QEMU's I/O
        // APIC would not know any more.
        io_write(entry(pin), if pin < FIRST_PCI_PIN { MASKED } else { MASKED | PCI_LINE });
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

/// Interrupts the current processor with this vector once, after so many microseconds; after 0 never.
pub(crate) fn set_timer(vector: u8, microseconds: u32) {
    /// QEMU's counts nanoseconds; on others it is another moment.
    const COUNTS: u32 = 1_000;
    const BY_ONE: u32 = 0b1011;
    write(register::TIMER_DIVIDER, BY_ONE);
    write(register::TIMER, u32::from(vector));
    write(register::TIMER_COUNT, microseconds * COUNTS);
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

/// How many pins the I/O APIC has. The caller holds `IO_ACCESS`.
fn pins() -> u32 {
    ((io_read(1) >> 16) & 0xff) + 1
}

/// The first pin that is not one of ISA's.
const FIRST_PCI_PIN: u32 = 16;

/// PCI lines are active low by the book, but QEMU's I/O APIC wires them active high and ignores the
/// polarity bit; it is set as a real board would want it.
const PCI_LINE: u32 = LEVEL | ACTIVE_LOW;

/// Routes a pin to a processor.
pub(crate) fn route(pin: u32, vector: u8, apic_id: u32, level: bool) {
    wait_for_end_of_service(pin);
    let _access = IO_ACCESS.lock();
    let trigger = if level { PCI_LINE } else { 0 };
    io_write(entry(pin), trigger | MASKED);
    io_write(entry(pin) + 1, apic_id << 24);
    io_write(entry(pin), trigger | u32::from(vector));
}

/// Waits until another processor has told the end of an interrupt that it served when the pin was masked.
/// With another vector the pin would not take it for its own, and never interrupt again.
fn wait_for_end_of_service(pin: u32) {
    let end = time::now() + time::microseconds(100_000);
    let in_service = || {
        let _access = IO_ACCESS.lock();
        io_read(entry(pin)) & IN_SERVICE != 0
    };
    while in_service() && time::now() < end {
        core::hint::spin_loop();
    }
}

/// Silences a pin. It keeps its trigger mode and its vector: a level that is asserted meanwhile comes when it is
/// unmasked, and the end of an interrupt in service is still its.
pub(crate) fn mask(pin: u32) {
    let _access = IO_ACCESS.lock();
    io_write(entry(pin), io_read(entry(pin)) | MASKED);
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
