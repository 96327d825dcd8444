//! `probe.sys`: connects, synchronises and disconnects when it is started, and says where each begins
//! and ends, so that the bed counts the instructions between. `../twin/probe.c` does the same in C.

#![no_std]

// A panic is a bug check.
extern crate wdk_panic;

use core::ffi::CStr;
use core::hint::black_box;

use wdk_sys::{GUID, NTSTATUS, PCUNICODE_STRING, PDRIVER_OBJECT, ntddk::DbgPrint};
use wdm_interrupt::{
    Deferred, DeferredHandler, Dpc, Interrupt, InterruptHandler, InterruptRegistration,
    MessageBased, PhysicalDevice, Serviced,
};
use wdm_support::{Function, Presence, Registers, Start, fill};

// Registers, by their offsets, of `LENGTH` bytes.
const FACTORIAL: u32 = 0x08;
const CONTROL: u32 = 0x20;
const STATUS: u32 = 0x24;
const ACKNOWLEDGE: u32 = 0x64;
const LENGTH: u32 = 0x100;

/// `CONTROL`: the device interrupts when it has computed.
const INTERRUPT: u32 = 1 << 7;

/// The second time everything must cost the same.
const ROUNDS: u32 = 2;

#[derive(Debug)]
struct Edu {
    registers: Registers,
    pending: u32,
}

impl InterruptHandler<Dpc<Completion>> for Edu {
    fn service(&mut self, interrupt: &Interrupt<'_, Dpc<Completion>>) -> Serviced {
        let status = self.registers.read(STATUS);
        if status == 0 || status == u32::MAX {
            return Serviced::NotMine;
        }
        self.registers.write(ACKNOWLEDGE, status);
        self.pending |= status;
        interrupt.queue_deferred();
        Serviced::Claimed
    }

    fn enable(&mut self) {
        self.registers.write(CONTROL, INTERRUPT);
    }

    fn disable(&mut self) {
        self.registers.write(CONTROL, 0);
        self.registers.write(ACKNOWLEDGE, self.registers.read(STATUS));
    }
}

#[derive(Debug)]
struct Completion;

impl DeferredHandler<Edu> for Completion {
    fn run(&self, deferred: &Deferred<'_, Edu>) {
        let (status, result) = deferred
            .synchronize(|edu| (core::mem::take(&mut edu.pending), edu.registers.read(FACTORIAL)));
        black_box((status, result));
    }
}

type Registration = InterruptRegistration<Edu, Dpc<Completion>>;

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

/// Says to the bed that what has this name begins.
fn begin(name: &CStr) {
    // SAFETY: the format takes one string.
    unsafe { DbgPrint(c"bench: begin %s\n".as_ptr(), name.as_ptr()) };
}

/// Says to the bed that it has ended.
fn end() {
    // SAFETY: the format takes no argument.
    unsafe { DbgPrint(c"bench: end\n".as_ptr()) };
}

#[derive(Debug)]
struct Probe;

// SAFETY: everything has been disconnected and unmapped when `start` returns.
unsafe impl Function for Probe {
    const NAME: &'static str = "probe";
    const INTERFACE: Option<GUID> = None;

    fn start(start: &Start<'_>) -> Result<Self, NTSTATUS> {
        let mut edu = Edu { registers: start.registers(LENGTH)?, pending: 0 };
        for _ in 0..ROUNDS {
            begin(c"connect");
            let connected = connect(start.physical, edu);
            end();
            let registration = connected?;

            begin(c"synchronize");
            synchronize(&registration);
            end();

            begin(c"disconnect");
            let disconnected = disconnect(registration);
            end();
            let Some(handed_back) = disconnected else {
                panic!("START comes at PASSIVE_LEVEL");
            };
            edu = handed_back;
        }
        Ok(Self)
    }

    fn stop(self, _presence: Presence) {}
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
