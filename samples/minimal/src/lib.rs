//! `minimal.sys`: the least that a WDM driver of a PCI device with an interrupt is.
//!
//! Its device is QEMU's edu, which it has compute a factorial at START. All that does not depend on the
//! device is in `wdm-support`.

#![no_std]

// A panic is a bug check.
extern crate wdk_panic;

use wdk_sys::{GUID, NTSTATUS, PCUNICODE_STRING, PDRIVER_OBJECT};
use wdm_interrupt::{
    Deferred, DeferredHandler, Dpc, Interrupt, InterruptHandler, InterruptRegistration,
    MessageBased, Serviced,
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

/// What the service routine owns. The registers are unmapped when it is dropped.
#[derive(Debug)]
struct Edu {
    registers: Registers,
    pending: u32,
}

impl InterruptHandler<Dpc<Completion>> for Edu {
    /// The service routine: at device IRQL, under the interrupt's lock.
    fn service(&mut self, interrupt: &Interrupt<'_, Dpc<Completion>>) -> Serviced {
        let status = self.registers.read(STATUS);
        // Nothing: another device on the line. All ones: this one is gone.
        if status == 0 || status == u32::MAX {
            return Serviced::NotMine;
        }
        self.registers.write(ACKNOWLEDGE, status);
        self.pending |= status;
        interrupt.queue_deferred();
        Serviced::Claimed
    }

    /// Called when connected, and when the device has its power back.
    fn enable(&mut self) {
        self.registers.write(CONTROL, INTERRUPT);
    }

    /// Called before disconnecting, and before the device loses its power.
    fn disable(&mut self) {
        self.registers.write(CONTROL, 0);
        self.registers.write(ACKNOWLEDGE, self.registers.read(STATUS));
    }
}

/// What the service routine leaves for later, at `DISPATCH_LEVEL`.
#[derive(Debug)]
struct Completion;

impl DeferredHandler<Edu> for Completion {
    fn run(&self, deferred: &Deferred<'_, Edu>) {
        let (status, result) = deferred
            .synchronize(|edu| (core::mem::take(&mut edu.pending), edu.registers.read(FACTORIAL)));
        wdk::println!("minimal: status {status:#x}: 5! = {result}");
    }
}

/// The device between START and STOP.
#[derive(Debug)]
struct Device(InterruptRegistration<Edu, Dpc<Completion>>);

// SAFETY: `stop` ends the registration, and with it the mapping; a `start` that fails has dropped both.
unsafe impl Function for Device {
    const NAME: &'static str = "minimal";
    const INTERFACE: Option<GUID> = None;

    fn start(start: &Start<'_>) -> Result<Self, NTSTATUS> {
        let edu = Edu { registers: start.registers(LENGTH)?, pending: 0 };
        let registration = MessageBased::new(start.physical)
            .fall_back_to_line()
            .deferred(Dpc::new(Completion))
            .connect(edu)
            .map_err(|error| error.status())?;
        registration.synchronize(|edu| edu.registers.write(FACTORIAL, 5));
        Ok(Self(registration))
    }

    fn stop(self, presence: Presence) {
        let ended = match presence {
            Presence::Present => self.0.disconnect(),
            Presence::Gone => self.0.disconnect_removed(),
        };
        assert!(ended.is_ok(), "PnP IRPs come at PASSIVE_LEVEL");
    }

    fn sleep(&mut self) {
        self.0.report_inactive();
    }

    fn wake(&mut self) {
        self.0.report_active();
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
    unsafe { fill::<Device>(driver) }
}
