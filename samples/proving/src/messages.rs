//! Messages in parallel, nested, and under one lock. The device is an e1000e.

use core::fmt;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use wdk_sys::{NTSTATUS, STATUS_DEVICE_CONFIGURATION_ERROR, STATUS_IO_TIMEOUT};
use wdm_interrupt::{
    ConnectError, EachMessage, Interrupt, InterruptHandler, Irql, MessageBased, MessageId, Serviced,
};
use wdm_support::{Start, current_processor};

use crate::clock::{spin, spin_until, wait_until};
use crate::e1000e::{CAUSES, E1000e, Shared};
use crate::meeting::Meeting;

/// What a handler does while it serves its message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Conduct {
    /// Waits until so many handlers run at once.
    Meet(usize),
    /// Has the next message sent, of a higher IRQL, and waits until that has been served, nested.
    Climb,
    /// The first that is served has all others sent, and stays for a while.
    SendTheOthers,
}

/// How long a routine stays that nothing must interrupt, in milliseconds.
const STAY: u32 = 5;

/// How long a routine waits for what must interrupt it, in milliseconds.
const PATIENCE: u32 = 5_000;

static MEETING: Meeting = Meeting::new();
/// How many service routines are on their way, and the most that ever were.
static DEPTH: AtomicUsize = AtomicUsize::new(0);
static DEEPEST: AtomicUsize = AtomicUsize::new(0);
/// Bit n for processor n.
static PROCESSORS: AtomicU32 = AtomicU32::new(0);
/// What was served, in the order in which the routines were entered.
static ENTRIES: [Entry; CAUSES as usize] = [const { Entry::new() }; CAUSES as usize];
static ENTERED: AtomicUsize = AtomicUsize::new(0);
/// How many had been served when the first that sent the others was about to return.
static MEANWHILE: AtomicUsize = AtomicUsize::new(0);

/// A service routine's call.
#[derive(Debug)]
struct Entry {
    message: AtomicU32,
    irql: AtomicU32,
}

impl Entry {
    const fn new() -> Self {
        Self { message: AtomicU32::new(0), irql: AtomicU32::new(0) }
    }
}

/// A handler: of one message, or of all.
#[derive(Debug)]
struct Handler {
    registers: Shared,
    conduct: Conduct,
}

impl InterruptHandler for Handler {
    fn service(&mut self, interrupt: &Interrupt<'_>) -> Serviced {
        let message = interrupt.message().map_or(0, MessageId::index);
        let Some(cause) = (0..CAUSES).nth(message).filter(|cause| self.registers.take(*cause))
        else {
            return Serviced::NotMine;
        };
        let depth = DEPTH.fetch_add(1, Ordering::SeqCst) + 1;
        DEEPEST.fetch_max(depth, Ordering::SeqCst);
        PROCESSORS.fetch_or(1 << (current_processor() % u32::BITS), Ordering::SeqCst);
        let place = ENTERED.fetch_add(1, Ordering::SeqCst);
        if let Some(entry) = ENTRIES.get(place) {
            entry.message.store(cause, Ordering::SeqCst);
            entry.irql.store(Irql::current().to_raw().into(), Ordering::SeqCst);
        }
        match self.conduct {
            Conduct::Meet(enough) => MEETING.attend(enough),
            Conduct::Climb if cause + 1 < CAUSES => {
                self.registers.raise(cause + 1);
                spin_until(PATIENCE, || DEEPEST.load(Ordering::SeqCst) > depth);
            }
            Conduct::SendTheOthers if place == 0 => {
                for other in (0..CAUSES).filter(|other| *other != cause) {
                    self.registers.raise(other);
                }
                spin(STAY);
                MEANWHILE.store(ENTERED.load(Ordering::SeqCst) - 1, Ordering::SeqCst);
            }
            Conduct::Climb | Conduct::SendTheOthers => {}
        }
        DEPTH.fetch_sub(1, Ordering::SeqCst);
        Serviced::Claimed
    }

    fn enable(&mut self) {
        self.registers.enable();
    }

    fn disable(&mut self) {
        self.registers.silence();
    }
}

/// The calls in their order.
struct Entries;

impl fmt::Display for Entries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entered = ENTERED.load(Ordering::SeqCst);
        for (index, entry) in ENTRIES.iter().take(entered).enumerate() {
            let before = if index == 0 { "" } else { ", " };
            let (message, irql) = (&entry.message, &entry.irql);
            let (message, irql) = (message.load(Ordering::SeqCst), irql.load(Ordering::SeqCst));
            write!(f, "{before}{message} at IRQL {irql}")?;
        }
        Ok(())
    }
}

/// Waits until every cause has been served once, and every routine has returned.
fn all_served() -> Result<(), NTSTATUS> {
    let done =
        || ENTERED.load(Ordering::SeqCst) >= CAUSES as usize && DEPTH.load(Ordering::SeqCst) == 0;
    if wait_until(done) {
        return Ok(());
    }
    wdk::println!("proving: not every message was served: {}", Entries);
    Err(STATUS_IO_TIMEOUT)
}

fn refused<H, T>(error: &ConnectError<H, T>) -> NTSTATUS {
    wdk::println!("proving: {error}");
    error.status()
}

/// Connects a handler for each message, or one for all, has `raise` begin, and waits for the end.
fn play(
    start: &Start<'_>,
    conduct: Conduct,
    one_handler: bool,
    raise: impl FnOnce(&E1000e),
) -> Result<(), NTSTATUS> {
    let device = E1000e::map(start)?;
    // SAFETY: the registrations end below, before the device is dropped.
    let handler = || Handler { registers: unsafe { device.share() }, conduct };
    let outcome;
    if one_handler {
        let request = MessageBased::new(start.physical);
        let registration = request.connect(handler()).map_err(|error| refused(&error))?;
        raise(&device);
        outcome = all_served();
        drop(registration);
    } else {
        let request = EachMessage::new(start.physical, start.interrupts.message_count());
        let registration = request.connect(|_| handler()).map_err(|error| {
            wdk::println!("proving: {error}");
            error.status()
        })?;
        if registration.count() != CAUSES as usize {
            return Err(STATUS_DEVICE_CONFIGURATION_ERROR);
        }
        raise(&device);
        outcome = all_served();
        drop(registration);
    }
    outcome
}

/// A handler for each message: as many run at once as there are processors.
pub(crate) fn parallel(start: &Start<'_>) -> Result<(), NTSTATUS> {
    /// Messages go to processors in turn, and there are more than these.
    const PROCESSORS_AT_MOST: usize = 4;
    play(start, Conduct::Meet(PROCESSORS_AT_MOST), false, E1000e::raise_all)?;
    wdk::println!(
        "proving: parallel: {} service routines at once, on processors {:#b}",
        MEETING.most(),
        PROCESSORS.load(Ordering::SeqCst)
    );
    Ok(())
}

/// One handler for all messages: one runs at a time, at the highest IRQL of them, wherever they come.
pub(crate) fn one_lock(start: &Start<'_>) -> Result<(), NTSTATUS> {
    play(start, Conduct::SendTheOthers, true, |device| device.raise(0))?;
    wdk::println!(
        "proving: one lock: {} service routine at once, on processors {:#b}; {} served inside the first",
        DEEPEST.load(Ordering::SeqCst),
        PROCESSORS.load(Ordering::SeqCst),
        MEANWHILE.load(Ordering::SeqCst)
    );
    wdk::println!("proving: one lock: {}", Entries);
    Ok(())
}

/// A message of a higher IRQL is served inside the service routine of a lower one. For one processor.
pub(crate) fn nested(start: &Start<'_>) -> Result<(), NTSTATUS> {
    play(start, Conduct::Climb, false, |device| device.raise(0))?;
    wdk::println!(
        "proving: nested: {} service routines deep: {}",
        DEEPEST.load(Ordering::SeqCst),
        Entries
    );
    Ok(())
}

/// Messages of lower IRQLs wait until the service routine of a higher one has returned, and come by
/// their IRQLs then. For one processor.
pub(crate) fn not_nested(start: &Start<'_>) -> Result<(), NTSTATUS> {
    play(start, Conduct::SendTheOthers, false, |device| device.raise(CAUSES - 1))?;
    wdk::println!(
        "proving: not nested: {} served inside the first, {} deep: {}",
        MEANWHILE.load(Ordering::SeqCst),
        DEEPEST.load(Ordering::SeqCst),
        Entries
    );
    Ok(())
}
