//! `probe.sys`: connects, synchronises and disconnects when it is started, and says where each begins
//! and ends, so that the bed counts the instructions between. `../twin/probe.c` does the same in C.
//!
//! Then it connects a handler for each message it was given, of any number, and stays connected: so it
//! is seen what a message costs among many. In C there is no counterpart.

#![no_std]

// A panic is a bug check.
extern crate wdk_panic;

use core::ffi::CStr;
use core::hint::black_box;
use core::ptr::NonNull;
use core::sync::atomic::{Ordering, fence};

use wdk_sys::{GUID, NTSTATUS, PCUNICODE_STRING, PDRIVER_OBJECT, ntddk::DbgPrint};
use wdm_interrupt::{
    Deferred, DeferredHandler, Dpc, EachMessage, Interrupt, InterruptHandler,
    InterruptRegistration, MessageBased, MessageRegistration, PhysicalDevice, Serviced,
};
use wdm_support::{Function, Presence, Start, fill};

/// Registers, by their offsets: within `LENGTH` bytes.
#[derive(Clone, Copy, Debug)]
#[repr(usize)]
enum Register {
    Factorial = 0x08,
    Control = 0x20,
    Status = 0x24,
    Acknowledge = 0x64,
}

const LENGTH: u32 = 0x100;

/// `CONTROL`: the device interrupts when it has computed.
const INTERRUPT: u32 = 1 << 7;

/// The second time everything must cost the same.
const ROUNDS: u32 = 2;

/// Registers that are mapped as long as this exists, and whose places are known when compiling, as
/// they are to a driver in C.
///
/// # Invariants
///
/// `LENGTH` bytes from the address on are mapped.
#[derive(Clone, Copy, Debug)]
struct Registers(NonNull<u32>);

// SAFETY: the mapping is in system space, which is the same in every thread.
unsafe impl Send for Registers {}

impl Registers {
    const fn place(self, register: Register) -> NonNull<u32> {
        // SAFETY: every register lies within LENGTH (invariant).
        unsafe { self.0.byte_add(register as usize) }
    }

    /// `READ_REGISTER_ULONG`.
    fn read(self, register: Register) -> u32 {
        // SAFETY: within the mapping.
        let value = unsafe { self.place(register).read_volatile() };
        fence(Ordering::Acquire);
        value
    }

    /// `WRITE_REGISTER_ULONG`.
    fn write(self, register: Register, value: u32) {
        fence(Ordering::Release);
        // SAFETY: within the mapping.
        unsafe { self.place(register).write_volatile(value) };
        fence(Ordering::SeqCst);
    }
}

#[derive(Debug)]
struct Edu {
    registers: Registers,
    pending: u32,
}

impl InterruptHandler<Dpc<Completion>> for Edu {
    fn service(&mut self, interrupt: &Interrupt<'_, Dpc<Completion>>) -> Serviced {
        let status = self.registers.read(Register::Status);
        if status == 0 || status == u32::MAX {
            return Serviced::NotMine;
        }
        self.registers.write(Register::Acknowledge, status);
        self.pending |= status;
        interrupt.queue_deferred();
        Serviced::Claimed
    }

    fn enable(&mut self) {
        self.registers.write(Register::Control, INTERRUPT);
    }

    fn disable(&mut self) {
        self.registers.write(Register::Control, 0);
        self.registers.write(Register::Acknowledge, self.registers.read(Register::Status));
    }
}

#[derive(Debug)]
struct Completion;

impl DeferredHandler<Edu> for Completion {
    fn run(&self, deferred: &Deferred<'_, Edu>) {
        let (status, result) = deferred.synchronize(|edu| {
            (core::mem::take(&mut edu.pending), edu.registers.read(Register::Factorial))
        });
        black_box((status, result));
    }
}

type Registration = InterruptRegistration<Edu, Dpc<Completion>>;

/// The handler of one message among many. It has no device: the bed has it called.
#[derive(Debug)]
struct Counter {
    events: u32,
}

impl InterruptHandler<Dpc<Count>> for Counter {
    fn service(&mut self, interrupt: &Interrupt<'_, Dpc<Count>>) -> Serviced {
        self.events += 1;
        interrupt.queue_deferred();
        Serviced::Claimed
    }
}

/// Its deferred half.
#[derive(Debug)]
struct Count;

impl DeferredHandler<Counter> for Count {
    fn run(&self, deferred: &Deferred<'_, Counter>) {
        black_box(deferred.synchronize(|counter| core::mem::take(&mut counter.events)));
    }
}

type Counters = MessageRegistration<Counter, Dpc<Count>>;

// Each of these is a function by itself, so that its stack is seen.

#[inline(never)]
fn connect(physical: PhysicalDevice, edu: Edu) -> Result<Registration, NTSTATUS> {
    MessageBased::new(physical)
        .fall_back_to_line()
        .deferred(Dpc::new(Completion))
        .connect(edu)
        .map_err(|error| error.status())
}

#[inline(never)]
fn synchronize(registration: &Registration) {
    registration.synchronize(|_| ());
}

#[inline(never)]
fn disconnect(registration: Registration) -> Option<Edu> {
    registration.disconnect().ok().map(|(edu, _completion)| edu)
}

#[inline(never)]
fn connect_each(physical: PhysicalDevice, messages: u32) -> Result<Counters, NTSTATUS> {
    EachMessage::new(physical, messages)
        .connect_with_deferred(|_message| (Counter { events: 0 }, Dpc::new(Count)))
        .map_err(|error| error.status())
}

#[inline(never)]
fn disconnect_each(counters: Counters) -> bool {
    counters.disconnect().is_ok()
}

/// Says to the bed that what has this name begins. A function by itself, as the next: so that every
/// marker costs the same.
#[inline(never)]
fn begin(name: &CStr) {
    // SAFETY: the format takes one string.
    unsafe { DbgPrint(c"bench: begin %s\n".as_ptr(), name.as_ptr()) };
}

/// Says to the bed that it has ended.
#[inline(never)]
fn end() {
    // SAFETY: the format takes no argument.
    unsafe { DbgPrint(c"bench: end\n".as_ptr()) };
}

/// Has the bed say how many bytes of pool there are now, as what has this name.
fn pool(name: &CStr) {
    // SAFETY: the format takes one string.
    unsafe { DbgPrint(c"bench: pool %s\n".as_ptr(), name.as_ptr()) };
}

/// Connects, synchronises and disconnects. A function by itself, so that it is the same code each time.
#[inline(never)]
fn round(physical: PhysicalDevice, edu: Edu) -> Result<Edu, NTSTATUS> {
    begin(c"nothing");
    end();

    begin(c"connect");
    let connected = connect(physical, edu);
    end();
    let registration = connected?;
    pool(c"registration");

    begin(c"synchronize");
    synchronize(&registration);
    end();

    begin(c"disconnect");
    let disconnected = disconnect(registration);
    end();
    let Some(handed_back) = disconnected else {
        panic!("START comes at PASSIVE_LEVEL");
    };
    Ok(handed_back)
}

/// A handler for each message, if there are messages.
#[derive(Debug)]
struct Probe(Option<Counters>);

// SAFETY: `stop` disconnects what `start` has left connected, and nothing is mapped when `start` returns.
unsafe impl Function for Probe {
    const NAME: &'static str = "probe";
    const INTERFACE: Option<GUID> = None;

    fn start(start: &Start<'_>) -> Result<Self, NTSTATUS> {
        let registers = start.registers(LENGTH)?;
        let mut edu = Edu { registers: Registers(registers.base()), pending: 0 };
        let handler = size_of::<Edu>() + size_of::<Completion>();
        // SAFETY: the format takes one 64-bit number.
        unsafe { DbgPrint(c"bench: bytes handler: %llu\n".as_ptr(), handler) };
        for _ in 0..ROUNDS {
            edu = round(start.physical, edu)?;
        }
        let messages = start.interrupts.message_count();
        if messages == 0 {
            return Ok(Self(None));
        }
        begin(c"connect each");
        let counters = connect_each(start.physical, messages);
        end();
        pool(c"connected each");
        Ok(Self(Some(counters?)))
    }

    fn stop(self, _presence: Presence) {
        if let Some(counters) = self.0 {
            begin(c"disconnect each");
            let disconnected = disconnect_each(counters);
            end();
            assert!(disconnected, "STOP comes at PASSIVE_LEVEL");
        }
    }
}

/// Fills in the driver object. The I/O manager calls it once, after loading the image.
///
/// # Safety
///
/// For the I/O manager only: `driver` is the driver object made for this image. `PASSIVE_LEVEL`.
// SAFETY: no other item of the image has this name; it is the one that the linker makes the entry.
#[unsafe(export_name = "DriverEntry")]
pub unsafe extern "system" fn driver_entry(
    driver: PDRIVER_OBJECT,
    _registry_path: PCUNICODE_STRING,
) -> NTSTATUS {
    // SAFETY: this driver's one function, and the argument of DriverEntry.
    unsafe { fill::<Probe>(driver) }
}
