//! `facets.sys`: is connected in one of the ways that there are, and has its device interrupt, to see that
//! service routine and deferred half run where they must. Which way, the last part of the registry path
//! says: the name of the service.
//!
//! Its device is QEMU's edu, or its e1000e, which has several messages.
//!
//! | module | idea |
//! |---|---|
//! | here | START exercises the device and prints what came of it |
//! | `facet` | the ways to connect, and what they have in common |
//! | `isr` | the service routine and the deferred half, which are the same for all |
//! | `device` | what is done with the devices' registers |

#![no_std]

mod device;
mod facet;
mod isr;

// A panic is a bug check.
extern crate wdk_panic;

use core::slice;

use wdk_sys::{
    GUID, NTSTATUS, PCUNICODE_STRING, PDRIVER_OBJECT, STATUS_INVALID_PARAMETER, STATUS_IO_TIMEOUT,
    STATUS_OBJECT_NAME_NOT_FOUND,
};
use wdm_support::{Function, Presence, Registers, Start, fill, pause};

use crate::device::Device;
use crate::facet::{Connected, Facet};
use crate::isr::Counts;

/// A started device.
#[derive(Debug)]
struct Started {
    /// First, so that it is gone before the registers are unmapped.
    connected: Connected,
    registers: Registers,
}

// SAFETY: `stop` ends the registration and then the mapping; `start` fails with both dropped.
unsafe impl Function for Started {
    const NAME: &'static str = "facets";

    const INTERFACE: Option<GUID> = None;

    fn start(start: &Start<'_>) -> Result<Self, NTSTATUS> {
        let registers = start.registers(Device::LENGTH)?;
        let facet = Facet::chosen();
        let connected = facet.connect(start, &registers)?;
        let started = Self { connected, registers };
        let device = Device::behind(&started.registers)?;
        let counts = started.exercise(&device)?;
        wdk::println!("facets: {facet}: {}, {counts}", started.connected.kind());
        if facet == Facet::Power {
            started.sleep_and_wake(&device)?;
        }
        Ok(started)
    }

    fn stop(self, presence: Presence) {
        let claimed = self.connected.disconnect(presence);
        wdk::println!("facets: disconnected: {claimed} interrupts served");
    }

    fn sleep(&mut self) {
        self.connected.report_inactive();
    }

    fn wake(&mut self) {
        self.connected.report_active();
    }
}

impl Started {
    /// Raises every interrupt of the device several times, and waits each time until it has been served
    /// and the deferred half has run.
    fn exercise(&self, device: &Device<'_>) -> Result<Counts, NTSTATUS> {
        const ROUNDS: u32 = 4;
        for _ in 0..ROUNDS {
            for source in 0..device.sources() {
                let before = self.connected.counts();
                device.raise(source);
                self.wait_until(|now| now.claimed > before.claimed && now.runs > before.runs)?;
            }
        }
        Ok(self.connected.counts())
    }

    /// Reports the interrupts inactive and active again, a few times.
    fn sleep_and_wake(&self, device: &Device<'_>) -> Result<(), NTSTATUS> {
        for _ in 0..3 {
            self.connected.report_inactive();
            // Twice is as good as once.
            self.connected.report_inactive();
            let asleep = self.connected.counts();
            self.connected.report_active();
            let awake = self.connected.counts();
            wdk::println!(
                "facets: inactive: {}, active: {}",
                if asleep.enabled { "enabled" } else { "silenced" },
                if awake.enabled { "enabled" } else { "silenced" }
            );
            self.exercise(device)?;
        }
        Ok(())
    }

    fn wait_until(&self, done: impl Fn(Counts) -> bool) -> Result<(), NTSTATUS> {
        /// Milliseconds.
        const PATIENCE: u32 = 2_000;
        for _ in 0..PATIENCE {
            if done(self.connected.counts()) {
                return Ok(());
            }
            pause(1);
        }
        wdk::println!("facets: no interrupt was served: {}", self.connected.counts());
        Err(STATUS_IO_TIMEOUT)
    }
}

/// Chooses the way to connect and fills in the driver object.
///
/// # Safety
///
/// For the I/O manager only: `driver` is the driver object made for this image, `registry_path` the
/// path of its service's key. `PASSIVE_LEVEL`.
// SAFETY: no other item of the image has this name; it is the one that the linker makes the entry.
#[unsafe(export_name = "DriverEntry")]
pub unsafe extern "system" fn driver_entry(
    driver: PDRIVER_OBJECT,
    registry_path: PCUNICODE_STRING,
) -> NTSTATUS {
    // SAFETY: the I/O manager's string, which stays until this returns.
    let Some(path) = (unsafe { registry_path.as_ref() }) else {
        return STATUS_INVALID_PARAMETER;
    };
    // SAFETY: a string has as many bytes as it says, two for each character.
    let path = unsafe { slice::from_raw_parts(path.Buffer, usize::from(path.Length) / 2) };
    let service = path.rsplit(|unit| *unit == u16::from(b'\\')).next().unwrap_or_default();
    if !Facet::choose(service) {
        wdk::println!("facets: the name of the service is no way to connect");
        return STATUS_OBJECT_NAME_NOT_FOUND;
    }
    // SAFETY: this driver's one function, and the argument of DriverEntry.
    unsafe { fill::<Started>(driver) }
}
