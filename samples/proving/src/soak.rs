//! Connecting and disconnecting without end, while every processor has the device work and others have it
//! interrupt. The device is edu, one of it.
//!
//! WORK is answered by service routine and deferred half, wherever it is asked for; it is asked for on
//! several processors at once, so it does not go through the lock that the other requests have. CYCLE ends
//! the connection and makes another. What was claimed, and what came of it, is added up over all
//! connections: nothing may be missing in the end.

use core::ffi::c_void;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use wdk_sys::{
    NTSTATUS, STATUS_DEVICE_BUSY, STATUS_DEVICE_NOT_READY, STATUS_INTERNAL_ERROR,
    STATUS_INVALID_DEVICE_REQUEST, STATUS_INVALID_PARAMETER, STATUS_IO_TIMEOUT,
};
use wdm_interrupt::{
    Deferred, DeferredHandler, Dpc, Interrupt, InterruptHandler, InterruptRegistration,
    MessageBased, PhysicalDevice, Serviced,
};
use wdm_support::{Control, Presence, Start, pause};

use crate::clock::{spin_briefly_until, wait_until};
use crate::control::{COUNTS, CYCLE, Counts, WORK};
use crate::edu::{BIT, Edu, Shared};

/// The registration that there is.
type Registration = InterruptRegistration<Handler, Dpc<Half>>;

/// How many pieces of work the device has at once, each with a bit of its status.
const SLOTS: usize = 4;

/// Who uses the registration is inside; closed, nobody comes in any more.
static GATE: Gate = Gate::new();
/// The registration while the gate is open.
static REGISTRATION: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());
/// Which slots are taken, bit 0 for the first.
static TAKEN: AtomicU32 = AtomicU32::new(0);
/// The answers; [`NONE`] while there is none.
static ANSWERS: [AtomicU64; SLOTS] = [const { AtomicU64::new(NONE) }; SLOTS];
const NONE: u64 = u64::MAX;

/// What all handlers that are no more have counted, in the order of [`Counts`].
static TOTALS: [AtomicU64; 6] = [const { AtomicU64::new(0) }; 6];

/// What WORK answers to a number.
const fn answer(number: u32) -> u64 {
    let number = number as u64;
    number * number + number + 41
}

/// Counts who is inside, and keeps everyone out while it is closed.
struct Gate(AtomicUsize);

/// Goes out when dropped.
struct Inside<'a>(&'a Gate);

impl Gate {
    const CLOSED: usize = 1 << 31;

    /// A closed one.
    const fn new() -> Self {
        Self(AtomicUsize::new(Self::CLOSED))
    }

    fn enter(&self) -> Option<Inside<'_>> {
        let before = self.0.fetch_add(1, Ordering::SeqCst);
        let inside = Inside(self);
        (before & Self::CLOSED == 0).then_some(inside)
    }

    fn open(&self) {
        self.0.fetch_and(!Self::CLOSED, Ordering::SeqCst);
    }

    /// Closes it, and waits until nobody is inside. `PASSIVE_LEVEL`.
    fn close(&self) {
        self.0.fetch_or(Self::CLOSED, Ordering::SeqCst);
        while self.0.load(Ordering::SeqCst) != Self::CLOSED {
            pause(1);
        }
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A slot that is taken; free when dropped.
struct Slot(usize);

impl Slot {
    fn take() -> Option<Self> {
        (0..SLOTS)
            .find(|slot| TAKEN.fetch_or(1 << slot, Ordering::SeqCst) >> slot & 1 == 0)
            .map(Self)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        TAKEN.fetch_and(!(1 << self.0), Ordering::SeqCst);
    }
}

/// What the service routine owns.
#[derive(Debug)]
struct Handler {
    registers: Shared,
    counts: Counts,
    /// What was claimed, and nothing done about it since.
    pending: u64,
    /// What the device has said since the deferred half looked last.
    signalled: u32,
    /// What is asked for.
    asked: [Option<u32>; SLOTS],
}

impl Handler {
    /// Has the device work; when it interrupts it is done.
    fn ask(&mut self, slot: usize, number: u32) {
        self.asked[slot] = Some(number);
        self.registers.raise(BIT << slot);
    }

    /// What the device has done, and what was asked for.
    fn complete(&mut self) -> [Option<u32>; SLOTS] {
        self.counts.runs += 1;
        self.counts.accounted += core::mem::take(&mut self.pending);
        let signalled = core::mem::take(&mut self.signalled);
        let mut done = [None; SLOTS];
        for (slot, (done, asked)) in done.iter_mut().zip(&mut self.asked).enumerate() {
            if signalled & BIT << slot != 0 {
                *done = asked.take();
            }
        }
        done
    }

    /// Prints how it stands, of a handler that does not answer.
    fn tell(&mut self) {
        wdk::println!(
            "proving: soak: no answer: raised {:#x}, signalled {:#x}, asked {:?}, pending {}, {:?}",
            self.registers.status(),
            self.signalled,
            self.asked,
            self.pending,
            self.counts
        );
    }

    /// What is counted of this handler as it is.
    const fn counts(&self) -> Counts {
        Counts { returned: self.pending, ..self.counts }
    }
}

/// Adds to the totals what this handler has counted. What is pending has come back with it.
impl Drop for Handler {
    fn drop(&mut self) {
        let Counts { claimed, not_mine, runs, accounted, returned, .. } = self.counts();
        let own = [claimed, not_mine, runs, accounted, returned, 1];
        for (total, own) in TOTALS.iter().zip(own) {
            total.fetch_add(own, Ordering::SeqCst);
        }
    }
}

impl InterruptHandler<Dpc<Half>> for Handler {
    fn service(&mut self, interrupt: &Interrupt<'_, Dpc<Half>>) -> Serviced {
        let Some(raised) = self.registers.take() else {
            self.counts.not_mine += 1;
            return Serviced::NotMine;
        };
        self.counts.claimed += 1;
        self.pending += 1;
        self.signalled |= raised;
        interrupt.queue_deferred();
        Serviced::Claimed
    }

    fn disable(&mut self) {
        self.registers.silence();
    }
}

/// The deferred half: answers.
#[derive(Debug)]
struct Half;

impl DeferredHandler<Handler> for Half {
    fn run(&self, deferred: &Deferred<'_, Handler>) {
        let done = deferred.synchronize(Handler::complete);
        for (place, number) in ANSWERS.iter().zip(done) {
            if let Some(number) = number {
                place.store(answer(number), Ordering::SeqCst);
            }
        }
    }
}

/// The ways to end a connection, by their numbers.
fn end(way: u32, registration: Registration) -> Result<(), NTSTATUS> {
    let ended = match way {
        0 => registration.disconnect(),
        1 => registration.disconnect_removed(),
        2 => {
            drop(registration);
            return Ok(());
        }
        3 => {
            let halves = registration.disconnect_in_place();
            return halves.map(drop).map_err(|_| STATUS_INTERNAL_ERROR);
        }
        _ => return Err(STATUS_INVALID_PARAMETER),
    };
    ended.map(drop).map_err(|_| STATUS_INTERNAL_ERROR)
}

/// A device that is connected most of the time.
#[derive(Debug)]
pub(crate) struct Soak {
    physical: PhysicalDevice,
    device: Edu,
}

impl Soak {
    /// Connects.
    pub(crate) fn start(start: &Start<'_>) -> Result<Self, NTSTATUS> {
        let soak = Self { physical: start.physical, device: Edu::map(start)? };
        soak.connect()?;
        Ok(soak)
    }

    fn connect(&self) -> Result<(), NTSTATUS> {
        let handler = Handler {
            // SAFETY: the registration ends in `disconnect`, before the device is dropped.
            registers: unsafe { self.device.share() },
            counts: Counts::default(),
            pending: 0,
            signalled: 0,
            asked: [None; SLOTS],
        };
        let request = MessageBased::new(self.physical).fall_back_to_line();
        let registration = request.deferred(Dpc::new(Half)).connect(handler).map_err(|error| {
            wdk::println!("proving: {error}");
            error.status()
        })?;
        REGISTRATION.store(registration.into_raw().as_ptr(), Ordering::SeqCst);
        GATE.open();
        Ok(())
    }

    fn disconnect(way: u32) -> Result<(), NTSTATUS> {
        GATE.close();
        let raw = REGISTRATION.swap(ptr::null_mut(), Ordering::SeqCst);
        let raw = NonNull::new(raw).ok_or(STATUS_DEVICE_NOT_READY)?;
        // SAFETY: of a registration of this type, taken out of its place this once; nobody is inside
        // who would borrow it.
        end(way, unsafe { Registration::from_raw(raw) })
    }

    /// Disconnects, and says what was counted in all.
    pub(crate) fn stop(self, presence: Presence) {
        let ended = Self::disconnect(u32::from(presence == Presence::Gone));
        if ended.is_err() {
            wdk::println!("proving: soak: there was no connection to end");
        }
        drop(self.device);
    }

    /// Answers CYCLE and COUNTS.
    pub(crate) fn control(&self, request: &mut Control<'_, '_>) -> Result<(), NTSTATUS> {
        match request.code() {
            CYCLE => {
                Self::disconnect(number_in(request)?)?;
                self.connect()
            }
            COUNTS => request.reply(&counts()?.to_bytes()),
            _ => Err(STATUS_INVALID_DEVICE_REQUEST),
        }
    }

    /// Answers WORK, on any number of processors at once.
    pub(crate) fn control_at_once(request: &mut Control<'_, '_>) -> Option<Result<(), NTSTATUS>> {
        (request.code() == WORK).then(|| {
            let number = number_in(request)?;
            request.reply(&work(number)?.to_ne_bytes())
        })
    }
}

/// The number that a request brings.
fn number_in(request: &Control<'_, '_>) -> Result<u32, NTSTATUS> {
    let number = request.input().first_chunk().ok_or(STATUS_INVALID_PARAMETER)?;
    Ok(u32::from_ne_bytes(*number))
}

/// Has the device work, and waits for the answer.
fn work(number: u32) -> Result<u64, NTSTATUS> {
    let inside = GATE.enter().ok_or(STATUS_DEVICE_NOT_READY)?;
    let slot = Slot::take().ok_or(STATUS_DEVICE_BUSY)?;
    let place = &ANSWERS[slot.0];
    place.store(NONE, Ordering::SeqCst);
    let raw = NonNull::new(REGISTRATION.load(Ordering::SeqCst)).ok_or(STATUS_DEVICE_NOT_READY)?;
    // SAFETY: of a registration of this type, which nobody takes back while this is inside.
    let registration = unsafe { Registration::borrow_raw(raw) };
    registration.synchronize(|handler| handler.ask(slot.0, number));
    let is_there = || place.load(Ordering::SeqCst) != NONE;
    // The processor that is interrupted has its answer at once; the others leave it the time.
    let answered = spin_briefly_until(is_there) || wait_until(is_there);
    if !answered {
        registration.synchronize(Handler::tell);
        return Err(STATUS_IO_TIMEOUT);
    }
    drop(inside);
    Ok(place.load(Ordering::SeqCst))
}

/// What all handlers have counted, the one that there is included.
fn counts() -> Result<Counts, NTSTATUS> {
    let inside = GATE.enter().ok_or(STATUS_DEVICE_NOT_READY)?;
    let raw = NonNull::new(REGISTRATION.load(Ordering::SeqCst)).ok_or(STATUS_DEVICE_NOT_READY)?;
    // SAFETY: of a registration of this type, which nobody takes back while this is inside.
    let registration = unsafe { Registration::borrow_raw(raw) };
    let now = registration.synchronize(|handler| handler.counts());
    drop(inside);
    let [claimed, not_mine, runs, accounted, returned, connections] =
        TOTALS.each_ref().map(|total| total.load(Ordering::SeqCst));
    Ok(Counts {
        claimed: claimed + now.claimed,
        not_mine: not_mine + now.not_mine,
        runs: runs + now.runs,
        accounted: accounted + now.accounted,
        returned: returned + now.returned,
        connections: connections + 1,
    })
}
