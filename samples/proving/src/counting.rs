//! A service routine that counts, and a deferred half that accounts for what was counted: on a shared line,
//! and under more interrupts than can be served. The device is edu.

use wdk_sys::{NTSTATUS, STATUS_INVALID_DEVICE_REQUEST, STATUS_IO_TIMEOUT};
use wdm_interrupt::{
    Deferred, DeferredHandler, Dpc, Interrupt, InterruptHandler, InterruptRegistration,
    MessageBased, Serviced,
};
use wdm_support::{Control, Presence, Start};

use crate::clock::wait_until;
use crate::control::{COUNTS, Counts};
use crate::edu::{BIT, Edu, Shared};

/// What the service routine owns.
#[derive(Debug)]
struct Handler {
    registers: Shared,
    counts: Counts,
    /// Every bit that was seen raised.
    seen: u32,
    /// What was claimed, and nothing done about it since.
    pending: u64,
    /// Whether what is raised is taken back.
    acknowledges: bool,
}

impl InterruptHandler<Dpc<Half>> for Handler {
    fn service(&mut self, interrupt: &Interrupt<'_, Dpc<Half>>) -> Serviced {
        if !self.acknowledges && self.registers.status() != 0 {
            return Serviced::Claimed;
        }
        let Some(raised) = self.registers.take() else {
            self.counts.not_mine += 1;
            return Serviced::NotMine;
        };
        self.seen |= raised;
        self.counts.claimed += 1;
        self.pending += 1;
        interrupt.queue_deferred();
        Serviced::Claimed
    }

    fn disable(&mut self) {
        self.registers.silence();
    }
}

/// The deferred half: accounts for what is pending.
#[derive(Debug)]
struct Half;

impl DeferredHandler<Handler> for Half {
    fn run(&self, deferred: &Deferred<'_, Handler>) {
        deferred.synchronize(|handler| {
            handler.counts.runs += 1;
            handler.counts.accounted += core::mem::take(&mut handler.pending);
        });
    }
}

/// A connected device that counts.
#[derive(Debug)]
pub(crate) struct Counting {
    /// First, so that it is gone before the registers are unmapped.
    registration: InterruptRegistration<Handler, Dpc<Half>>,
    device: Edu,
}

impl Counting {
    fn connect(start: &Start<'_>, acknowledges: bool) -> Result<Self, NTSTATUS> {
        let device = Edu::map(start)?;
        let handler = Handler {
            // SAFETY: the registration is dropped before the device: fields in their order, and
            // `stop`.
            registers: unsafe { device.share() },
            counts: Counts::default(),
            seen: 0,
            pending: 0,
            acknowledges,
        };
        let request = MessageBased::new(start.physical).fall_back_to_line();
        let registration = request.deferred(Dpc::new(Half)).connect(handler).map_err(|error| {
            wdk::println!("proving: {error}");
            error.status()
        })?;
        Ok(Self { registration, device })
    }

    /// A device that is interrupted from elsewhere, and is asked what it counted.
    pub(crate) fn start(start: &Start<'_>) -> Result<Self, NTSTATUS> {
        Self::connect(start, true)
    }

    /// Disconnects, and says what was counted.
    pub(crate) fn stop(self, presence: Presence) {
        let Self { registration, device } = self;
        let ended = match presence {
            Presence::Present => registration.disconnect(),
            Presence::Gone => registration.disconnect_removed(),
        };
        if let Ok((handler, Half)) = ended {
            wdk::println!("proving: disconnected: {:?}", handler.counts);
        }
        drop(device);
    }

    /// Answers COUNTS.
    pub(crate) fn control(&self, request: &mut Control<'_, '_>) -> Result<(), NTSTATUS> {
        if request.code() != COUNTS {
            return Err(STATUS_INVALID_DEVICE_REQUEST);
        }
        let counts = self.registration.synchronize(|handler| handler.counts);
        request.reply(&counts.to_bytes())
    }
}

/// More interrupts than can be served: raised as fast as the bus goes, without a wait, many times over.
/// They may coalesce; none of a new kind may be lost, and every one that was claimed is accounted for.
pub(crate) fn hammered(start: &Start<'_>) -> Result<(), NTSTATUS> {
    const ROUNDS: u32 = 20;
    /// Fewer than the test bed takes for a storm, were they all served one by one.
    const RAISES: u32 = 2_000;
    let counting = Counting::connect(start, true)?;
    let mut lost = 0;
    for round in 0..ROUNDS {
        let bit = BIT << (round % 4);
        counting.registration.synchronize(|handler| handler.seen = 0);
        for _ in 0..RAISES {
            counting.device.raise(bit);
        }
        let settled = wait_until(|| {
            let quiet = counting.device.status() == 0;
            let (seen, counts) =
                counting.registration.synchronize(|handler| (handler.seen, handler.counts));
            quiet && seen == bit && counts.claimed == counts.accounted
        });
        lost += u32::from(!settled);
    }
    let counts = counting.registration.synchronize(|handler| handler.counts);
    let served = counts.claimed + counts.not_mine;
    if lost > 0 || served > u64::from(ROUNDS * RAISES) {
        wdk::println!("proving: hammered: {lost} rounds did not end as they must: {counts:?}");
        return Err(STATUS_IO_TIMEOUT);
    }
    wdk::println!(
        "proving: hammered: {} raises, none lost; {} claimed, {} accounted for",
        ROUNDS * RAISES,
        counts.claimed,
        counts.accounted
    );
    counting.stop(Presence::Present);
    Ok(())
}

/// A device whose interrupts are claimed and never acknowledged: on a line, for ever.
pub(crate) fn unanswered(start: &Start<'_>) -> Result<(), NTSTATUS> {
    let counting = Counting::connect(start, false)?;
    counting.device.raise(BIT);
    // The storm is on another processor, and leaves this one in peace.
    wait_until(|| counting.device.status() == 0);
    wdk::println!("proving: unanswered: nobody has noticed");
    counting.stop(Presence::Present);
    Ok(())
}
