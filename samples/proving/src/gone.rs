//! A device that goes at the worst moment: in the middle of a service routine, of a DPC, while somebody
//! synchronises. Whoever pulls it out is told by the device itself when the moment has come.

use core::fmt;
use core::sync::atomic::{AtomicU32, Ordering};

use wdk_sys::{NTSTATUS, STATUS_IO_TIMEOUT};
use wdm_interrupt::{
    Deferred, DeferredHandler, Dpc, Interrupt, InterruptHandler, InterruptRegistration,
    MessageBased, Serviced,
};
use wdm_support::{Presence, Start};

use crate::clock::{spin_until, wait_until};
use crate::edu::{BIT, Edu, Shared};

/// When it goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Moment {
    Service,
    Deferred,
    Synchronizing,
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Service => "in the service routine",
            Self::Deferred => "in the deferred half",
            Self::Synchronizing => "while synchronizing",
        })
    }
}

/// What the device is told: now.
const NOW: u32 = 0x4E4F_5721;

/// How long the moment lasts, in milliseconds.
const PATIENCE: u32 = 5_000;

/// What a status was before the device went and after: neither, if it never went.
static BEFORE: AtomicU32 = AtomicU32::new(u32::MAX);
static AFTER: AtomicU32 = AtomicU32::new(0);

#[derive(Debug)]
struct Handler {
    registers: Shared,
    moment: Moment,
    /// Claimed, and the others.
    claimed: u32,
    not_mine: u32,
}

/// Says that the moment has come, and stays until the device is gone.
fn stay(registers: &Shared, before: u32) {
    registers.tell(NOW);
    spin_until(PATIENCE, || registers.status() == u32::MAX);
    AFTER.store(registers.status(), Ordering::SeqCst);
    BEFORE.store(before, Ordering::SeqCst);
}

impl InterruptHandler<Dpc<Half>> for Handler {
    fn service(&mut self, interrupt: &Interrupt<'_, Dpc<Half>>) -> Serviced {
        let raised = self.registers.status();
        if raised == 0 || raised == u32::MAX {
            self.not_mine += 1;
            return Serviced::NotMine;
        }
        if self.moment == Moment::Service {
            stay(&self.registers, raised);
        }
        // Goes nowhere, if the device has gone meanwhile; the interrupt was its all the same.
        self.registers.silence();
        self.claimed += 1;
        interrupt.queue_deferred();
        Serviced::Claimed
    }

    fn disable(&mut self) {
        self.registers.silence();
    }
}

#[derive(Debug)]
struct Half {
    registers: Shared,
    moment: Moment,
}

impl DeferredHandler<Handler> for Half {
    fn run(&self, deferred: &Deferred<'_, Handler>) {
        if self.moment == Moment::Deferred {
            stay(&self.registers, self.registers.status());
        }
        deferred.synchronize(|_| ());
    }
}

/// A device that has gone, though nobody has said so.
#[derive(Debug)]
pub(crate) struct Gone {
    /// First, so that it is gone before the registers are unmapped.
    registration: InterruptRegistration<Handler, Dpc<Half>>,
    device: Edu,
}

impl Gone {
    /// Connects, and returns when the device has gone.
    pub(crate) fn start(start: &Start<'_>, moment: Moment) -> Result<Self, NTSTATUS> {
        let device = Edu::map(start)?;
        // SAFETY: the registration is dropped before the device: fields in their order, and `stop`.
        let half = Half { registers: unsafe { device.share() }, moment };
        // SAFETY: as above.
        let registers = unsafe { device.share() };
        let handler = Handler { registers, moment, claimed: 0, not_mine: 0 };
        let request = MessageBased::new(start.physical).fall_back_to_line();
        let registration = request.deferred(Dpc::new(half)).connect(handler).map_err(|error| {
            wdk::println!("proving: {error}");
            error.status()
        })?;
        if moment == Moment::Synchronizing {
            registration
                .synchronize(|handler| stay(&handler.registers, handler.registers.status()));
        } else {
            device.raise(BIT);
        }
        let went = wait_until(|| BEFORE.load(Ordering::SeqCst) != u32::MAX);
        if !went || AFTER.load(Ordering::SeqCst) != u32::MAX {
            wdk::println!("proving: gone {moment}: it never went");
            return Err(STATUS_IO_TIMEOUT);
        }
        wdk::println!(
            "proving: gone {moment}: its status was {:#x}, then {:#x}",
            BEFORE.load(Ordering::SeqCst),
            AFTER.load(Ordering::SeqCst)
        );
        Ok(Self { registration, device })
    }

    /// Disconnects from what is not there any more.
    pub(crate) fn stop(self, presence: Presence) {
        let Self { registration, device } = self;
        let ended = match presence {
            Presence::Present => registration.disconnect(),
            Presence::Gone => registration.disconnect_removed(),
        };
        if let Ok((handler, _)) = ended {
            wdk::println!(
                "proving: disconnected as {presence:?}: {} claimed, {} not mine",
                handler.claimed,
                handler.not_mine
            );
        }
        drop(device);
    }
}
