//! One DPC on two processors at once: it can be queued again as soon as it runs. The device is an e1000e,
//! whose messages go to several processors.

use core::sync::atomic::{AtomicU32, Ordering};

use wdk_sys::{NTSTATUS, STATUS_IO_TIMEOUT};
use wdm_interrupt::{
    Deferred, DeferredHandler, Dpc, Interrupt, InterruptHandler, MessageBased, MessageId, Serviced,
};
use wdm_support::{Start, current_processor};

use crate::clock::wait_until;
use crate::e1000e::{CAUSES, E1000e, Shared};
use crate::meeting::Meeting;

static MEETING: Meeting = Meeting::new();
/// Bit n for processor n.
static PROCESSORS: AtomicU32 = AtomicU32::new(0);

#[derive(Debug)]
struct Handler {
    registers: Shared,
    claimed: u32,
    /// What the DPC has found of them.
    completed: u32,
}

impl InterruptHandler<Dpc<Half>> for Handler {
    fn service(&mut self, interrupt: &Interrupt<'_, Dpc<Half>>) -> Serviced {
        let message = interrupt.message().map_or(0, MessageId::index);
        let Some(_) = (0..CAUSES).nth(message).filter(|cause| self.registers.take(*cause)) else {
            return Serviced::NotMine;
        };
        self.claimed += 1;
        interrupt.queue_deferred();
        Serviced::Claimed
    }

    fn enable(&mut self) {
        self.registers.enable();
    }

    fn disable(&mut self) {
        self.registers.silence();
    }
}

/// The deferred half: comes to a meeting of two.
#[derive(Debug)]
struct Half;

impl DeferredHandler<Handler> for Half {
    fn run(&self, deferred: &Deferred<'_, Handler>) {
        PROCESSORS.fetch_or(1 << (current_processor() % u32::BITS), Ordering::SeqCst);
        MEETING.attend(2);
        deferred.synchronize(|handler| handler.completed = handler.claimed);
    }
}

/// Has two messages sent, the second while the DPC of the first runs.
pub(crate) fn play(start: &Start<'_>) -> Result<(), NTSTATUS> {
    let device = E1000e::map(start)?;
    // SAFETY: the registration ends below, before the device is dropped.
    let handler = Handler { registers: unsafe { device.share() }, claimed: 0, completed: 0 };
    let request = MessageBased::new(start.physical).deferred(Dpc::new(Half));
    let registration = request.connect(handler).map_err(|error| {
        wdk::println!("proving: {error}");
        error.status()
    })?;
    device.raise(0);
    let begun = wait_until(|| MEETING.there() > 0 || MEETING.most() > 0);
    device.raise(1);
    let both = wait_until(|| {
        registration.synchronize(|handler| (handler.claimed, handler.completed)) == (2, 2)
    });
    let ended = wait_until(|| MEETING.there() == 0);
    drop(registration);
    if !(begun && both && ended) {
        wdk::println!("proving: twice: the DPC did not run for both messages");
        return Err(STATUS_IO_TIMEOUT);
    }
    wdk::println!(
        "proving: twice: the DPC ran on {} processors at once, on processors {:#b}",
        MEETING.most(),
        PROCESSORS.load(Ordering::SeqCst)
    );
    Ok(())
}
