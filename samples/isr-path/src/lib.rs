//! `isr_path.sys`: every kind of ISR that the library makes, with handlers that read one register.
//!
//! It is built and never loaded. `cargo xtask test` disassembles its service routines: what is in them besides the
//! read is the library's, and must not be more than what a driver in C has there.

#![no_std]

// A panic is a bug check.
extern crate wdk_panic;

use core::slice;

use wdk_sys::{DRIVER_OBJECT, NTSTATUS, PCUNICODE_STRING, STATUS_SUCCESS};
use wdm_interrupt::{
    Deferred, DeferredHandler, Dpc, EachMessage, FullySpecified, FunctionDevice, Interrupt,
    InterruptHandler, InterruptResources, LineBased, MessageBased, PhysicalDevice, Serviced,
    SharedDeferred, SharedDeferredHandler, SharedDpc, ThreadedDpc, Work, WorkHandler, WorkItem,
};

/// The register that says whether the device interrupts; reading it acknowledges the interrupt.
#[derive(Clone, Copy)]
struct Status(*const u32);

// SAFETY: a device's register is there for every thread.
unsafe impl Send for Status {}

impl Status {
    fn read(self) -> Serviced {
        // SAFETY: mapped as long as the handler is there; a register is read whenever one likes.
        let value = unsafe { self.0.read_volatile() };
        if value == 0 { Serviced::NotMine } else { Serviced::Claimed }
    }
}

/// Does it all in the ISR.
struct Polled(Status);

impl InterruptHandler for Polled {
    fn service(&mut self, _interrupt: &Interrupt<'_>) -> Serviced {
        self.0.read()
    }
}

/// Remembers which message it was, or which vector.
struct Numbered {
    status: Status,
    last: usize,
}

impl InterruptHandler for Numbered {
    fn service(&mut self, interrupt: &Interrupt<'_>) -> Serviced {
        if let Some(message) = interrupt.message() {
            self.last = message.index();
        }
        if let Some(vector) = interrupt.vector_index() {
            self.last = vector;
        }
        self.status.read()
    }
}

/// Leaves the rest to a deferred half.
struct Deferring(Status);

/// Implements the handler for a kind of deferred half, all of which are queued in one way.
macro_rules! deferring {
    ($half:ty) => {
        impl InterruptHandler<$half> for Deferring {
            fn service(&mut self, interrupt: &Interrupt<'_, $half>) -> Serviced {
                let serviced = self.0.read();
                if serviced == Serviced::Claimed {
                    interrupt.queue_deferred();
                }
                serviced
            }
        }
    };
}

deferring!(Dpc<Completion>);
deferring!(ThreadedDpc<Completion>);
deferring!(WorkItem<Completion>);
deferring!(SharedDpc<Completion>);

/// The rest.
#[derive(Clone, Copy)]
struct Completion;

impl DeferredHandler<Deferring> for Completion {
    fn run(&self, _deferred: &Deferred<'_, Deferring>) {}
}

impl WorkHandler<Deferring> for Completion {
    fn run(&self, _work: &Work<'_, Deferring>) {}
}

impl SharedDeferredHandler<Deferring> for Completion {
    fn run(&self, _deferred: &SharedDeferred<'_, Deferring>) {}
}

/// Connects every kind of interrupt, and disconnects it again.
///
/// # Safety
///
/// For the I/O manager only, which never gets to see it.
// SAFETY: no other item of the image has this name; it is the one that the linker makes the entry.
#[unsafe(export_name = "DriverEntry")]
pub unsafe extern "system" fn driver_entry(
    driver: *mut DRIVER_OBJECT,
    registry_path: PCUNICODE_STRING,
) -> NTSTATUS {
    // SAFETY: the I/O manager's object.
    let object = unsafe { (*driver).DeviceObject };
    // SAFETY: the I/O manager's string.
    let path = unsafe { &*registry_path };
    // SAFETY: a string has as many bytes as it says.
    let list = unsafe { slice::from_raw_parts(path.Buffer.cast::<u8>(), path.Length.into()) };
    // SAFETY: the physical device object of a started device, by the contract of this function.
    let device = unsafe { PhysicalDevice::new(object) };
    // SAFETY: a device object of this driver, as above.
    let function = unsafe { FunctionDevice::new(object) };
    if let (Ok(device), Ok(function)) = (device, function) {
        connect_lines(device, function, Status(object.cast()));
        connect_messages(device, Status(object.cast()));
        connect_vectors(device, list, Status(object.cast()));
    }
    STATUS_SUCCESS
}

fn connect_lines(device: PhysicalDevice, function: FunctionDevice, status: Status) {
    let line = || LineBased::new(device);
    drop(line().connect(Polled(status)));
    drop(line().deferred(Dpc::new(Completion)).connect(Deferring(status)));
    drop(line().deferred(ThreadedDpc::new(Completion)).connect(Deferring(status)));
    drop(line().deferred(WorkItem::new(function, Completion)).connect(Deferring(status)));
}

fn connect_messages(device: PhysicalDevice, status: Status) {
    let numbered = || Numbered { status, last: 0 };
    drop(MessageBased::new(device).connect(numbered()));
    drop(MessageBased::new(device).deferred(Dpc::new(Completion)).connect(Deferring(status)));

    let each = || EachMessage::new(device, 4).fall_back_to_line();
    drop(each().connect(|_| numbered()));
    drop(each().deferred(SharedDpc::new(Completion)).connect(|_| Deferring(status)));
    drop(each().connect_with_deferred(|_| (Deferring(status), Dpc::new(Completion))));
}

fn connect_vectors(device: PhysicalDevice, list: &[u8], status: Status) {
    let Ok(resources) = InterruptResources::parse(list, list) else { return };
    let mut resources = resources.iter();
    let (Some(one), Some(other)) = (resources.next(), resources.next()) else { return };
    drop(FullySpecified::new(device, one).connect(Polled(status)));
    let both = [one, other];
    let several = || FullySpecified::several(device, &both);
    drop(several().connect(Numbered { status, last: 0 }));
    drop(several().deferred(Dpc::new(Completion)).connect(Deferring(status)));
}
