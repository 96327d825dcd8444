//! `e1000e.sys`: a WDM driver for the interrupts of an Intel 82574 (`PCI\VEN_8086&DEV_10D3`), which is
//! QEMU's e1000e.
//!
//! The controller has five causes of interrupts and five MSI-X messages. The driver has one handler for
//! each message, with a DPC of its own: messages are served in parallel, each under its own lock. Given
//! fewer messages, several causes share one; given none, the first handler serves the line.
//!
//! | module | idea |
//! |---|---|
//! | here | START, STOP, power, the IOCTLs |
//! | `interrupt` | the handler of one message, and its DPC |
//! | `registers` | the registers that interrupts are about |

#![no_std]

mod interrupt;
mod registers;

// A panic is a bug check.
extern crate wdk_panic;

use e1000e_interface::{
    BadRequest, CAUSES, Connection, Counts, DEVICE_INTERFACE, MessageCounts, RaiseRequest, Request,
};
use wdk_sys::{GUID, NTSTATUS, PCUNICODE_STRING, PDRIVER_OBJECT, STATUS_DEVICE_NOT_READY};
use wdm_interrupt::{ConnectionKind, Dpc, EachMessage, MessageRegistration};
use wdm_support::{Control, Function, Presence, Start, fill};

use crate::interrupt::{MessageHandler, Tally};
use crate::registers::Registers;

/// A started device.
#[derive(Debug)]
struct E1000e {
    /// First, so that it is gone before what its handlers share.
    registration: MessageRegistration<MessageHandler, Dpc<Tally>>,
    registers: Registers,
    asleep: bool,
}

// SAFETY: `stop` ends the registration and then the mapping; `start` fails with both dropped.
unsafe impl Function for E1000e {
    const NAME: &'static str = "e1000e";

    const INTERFACE: Option<GUID> = Some(GUID {
        Data1: DEVICE_INTERFACE.data1,
        Data2: DEVICE_INTERFACE.data2,
        Data3: DEVICE_INTERFACE.data3,
        Data4: DEVICE_INTERFACE.data4,
    });

    fn start(start: &Start<'_>) -> Result<Self, NTSTATUS> {
        let registers = Registers::map(start)?;
        registers.reset()?;
        // None promised is a line, which the first handler serves.
        let promised = start.interrupts.message_count().max(1);
        let registration = EachMessage::new(start.physical, promised)
            .fall_back_to_line()
            .connect_with_deferred(|message| {
                // SAFETY: the registration, which has the handlers, ends before the registers do.
                let registers = unsafe { registers.share() };
                let handler = MessageHandler::new(registers, message.index(), promised as usize);
                (handler, Dpc::new(Tally))
            })
            .map_err(|error| {
                wdk::println!("e1000e: {error}");
                error.status()
            })?;
        // The system may connect fewer messages than it promised: their causes go to the others.
        let count = registration.count();
        if count != promised as usize {
            for message in registration.messages() {
                message.synchronize(|handler| handler.divide(count));
            }
        }
        match registration.kind() {
            ConnectionKind::MessageBased { messages } => {
                wdk::println!("e1000e: connected by {messages} messages");
            }
            _ => wdk::println!("e1000e: connected by line"),
        }
        Ok(Self { registration, registers, asleep: false })
    }

    fn stop(self, presence: Presence) {
        let ended = match presence {
            Presence::Present => self.registration.disconnect(),
            Presence::Gone => self.registration.disconnect_removed(),
        };
        let Ok(halves) = ended else { panic!("PnP IRPs come at PASSIVE_LEVEL") };
        let handlers = (0..halves.count()).filter_map(|index| halves.handler(index));
        let serviced: u64 = handlers.map(|handler| handler.counts().serviced).sum();
        wdk::println!("e1000e: disconnected: {serviced} interrupts served");
    }

    fn sleep(&mut self) {
        self.asleep = true;
        // Silences the device first: every handler's `disable`.
        self.registration.report_inactive();
    }

    fn wake(&mut self) {
        // Every handler's `enable` last: the device has forgotten what it was told.
        self.registration.report_active();
        self.asleep = false;
    }

    fn control(
        function: Result<&mut Self, NTSTATUS>,
        request: &mut Control<'_, '_>,
    ) -> Result<(), NTSTATUS> {
        let decoded = Request::decode(request.code(), request.input(), request.output_length())
            .map_err(BadRequest::status)?;
        let function = function?;
        match decoded {
            Request::Raise(_) if function.asleep => Err(STATUS_DEVICE_NOT_READY),
            Request::Raise(causes) => {
                function.raise(causes);
                Ok(())
            }
            Request::Counts => request.reply(&function.counts().to_bytes()),
        }
    }
}

impl E1000e {
    fn raise(&self, request: RaiseRequest) {
        self.registers.raise(request.causes());
    }

    /// What every handler has counted, each under its own lock.
    fn counts(&self) -> Counts {
        let connection = match self.registration.kind() {
            ConnectionKind::MessageBased { messages } => Connection::Messages(messages),
            _ => Connection::Line,
        };
        let mut messages = [MessageCounts::default(); CAUSES];
        for (counts, message) in messages.iter_mut().zip(self.registration.messages()) {
            *counts = message.synchronize(|handler| handler.counts());
        }
        Counts { connection, messages }
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
    unsafe { fill::<E1000e>(driver) }
}
