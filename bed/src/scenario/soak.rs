//! The soak: connecting and disconnecting without end, while all processors have the device work, and have it
//! interrupt at moments when nobody is connected.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use wdm_interrupt_model::nt::{STATUS_DEVICE_BUSY, STATUS_DEVICE_NOT_READY};

use super::edu::{Edu, Outcome, load, require};
use super::faults::claimed;
use super::proving::{
    CYCLE, Counts, Running, WORK, exercise, open, remove, start, wait_until, wrong,
};
use super::status::Status;
use crate::image::Image;
use crate::kernel::EXECUTIVE;
use crate::pnp::requests::File;
use crate::pnp::resources::Kind;
use crate::{processor, smp, time};

/// How long it goes on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Length {
    /// Connections that are ended by the driver, each by another.
    pub(crate) cycles: u64,
    /// Interrupts that are claimed.
    pub(crate) interrupts: u64,
}

impl Default for Length {
    fn default() -> Self {
        Self { cycles: 100, interrupts: 5_000 }
    }
}

/// After so many cycles the device is stopped, and started with other resources.
const CYCLES_OF_A_START: u64 = 50;

/// In so many ways the driver ends a connection.
const WAYS: u64 = 4;

/// A bit that no work uses.
const STRAY: u32 = 1 << 12;

/// What all processors share.
#[derive(Debug)]
struct Shared {
    edu: Edu,
    file: File,
    /// It is over.
    over: AtomicBool,
    /// The other processors do nothing, and say so.
    calm: AtomicBool,
    resting: AtomicUsize,
    /// Requests that were answered, and answered rightly.
    answered: AtomicU64,
    /// Requests that found nobody connected, after which the device interrupted just so.
    strays: AtomicU64,
}

impl Shared {
    /// Has the device work once; `false` if nobody is connected.
    fn work(&self, random: &mut u32) -> Outcome<bool> {
        let (number, right) = exercise(random);
        let outcome = self.file.control(WORK, &number.to_ne_bytes(), 8).wait();
        match outcome.status {
            STATUS_DEVICE_NOT_READY | STATUS_DEVICE_BUSY => Ok(false),
            status if status < 0 => Err(wrong("WORK", Status(status))),
            _ => {
                let answer = outcome.buffer.first_chunk().map(|bytes| u64::from_ne_bytes(*bytes));
                require!(answer == Some(right), "WORK with {number} gave {answer:?}, not {right}");
                self.answered.fetch_add(1, Ordering::Relaxed);
                Ok(true)
            }
        }
    }

    /// Has the device work until it is over.
    fn work_on(&self, mut random: u32) -> Outcome {
        while !self.over.load(Ordering::Relaxed) {
            if self.calm.load(Ordering::SeqCst) {
                self.rest();
            } else if !self.work(&mut random)? {
                self.edu.raise_directly(STRAY);
                self.strays.fetch_add(1, Ordering::Relaxed);
                smp::nap();
            }
        }
        Ok(())
    }

    /// Does nothing while the others must not.
    fn rest(&self) {
        self.resting.fetch_add(1, Ordering::SeqCst);
        while self.calm.load(Ordering::SeqCst) {
            smp::nap();
        }
        self.resting.fetch_sub(1, Ordering::SeqCst);
    }

    /// Has the device work while nobody else interrupts: no other interrupt makes up for one that is lost.
    fn work_alone(&self, random: &mut u32) -> Outcome {
        /// Enough that a loss now and then is met.
        const TIMES: usize = 32;
        for _ in 0..TIMES {
            require!(self.work(random)?, "nobody is connected");
        }
        Ok(())
    }

    /// Ends the connection in one of the ways, and makes another.
    fn cycle(&self, way: u64) -> Outcome {
        let status = self.file.control(CYCLE, &(way as u32).to_ne_bytes(), 0).wait().status;
        if status < 0 { Err(wrong("CYCLE", Status(status))) } else { Ok(()) }
    }

    /// Stops the device, and starts it with another interrupt, IRQL and processor. What is left while it
    /// is stopped must be what was left when it was first.
    fn restart(&self, round: u64, random: &mut u32, left_first: &mut Option<String>) -> Outcome {
        self.calm.store(true, Ordering::SeqCst);
        wait_until("the other processors rest", || {
            Ok(self.resting.load(Ordering::SeqCst) == processor::count() - 1)
        })?;
        self.work_alone(random)?;
        let status = Status(self.edu.node.query_stop());
        require!(status.0 >= 0, "QUERY_STOP returned {status}");
        self.edu.node.stop();
        let left = EXECUTIVE.left_behind().to_string();
        let first = left_first.get_or_insert_with(|| left.clone());
        require!(left == *first, "stopped for the first time it left {first}, now {left}");
        let kind = if round.is_multiple_of(2) { Kind::Line } else { Kind::Message };
        start(&self.edu, kind, 3 + (round % 10) as u8, round as usize % processor::count())?;
        self.work_alone(random)?;
        self.calm.store(false, Ordering::SeqCst);
        Ok(())
    }
}

/// Says how far it is, about once a second. How long that takes the host's clock knows better.
#[derive(Debug)]
struct Progress {
    next: u64,
}

impl Progress {
    fn new() -> Self {
        Self { next: time::now() + time::frequency() }
    }

    fn tell(&mut self, length: Length, cycles: u64) {
        if time::now() >= self.next {
            self.next += time::frequency();
            Self::tell_now(length, cycles);
        }
    }

    fn tell_now(length: Length, cycles: u64) {
        let Length { cycles: of_cycles, interrupts } = length;
        crate::say!(
            "soak: {cycles} of {of_cycles} cycles, {} of {interrupts} interrupts",
            claimed()
        );
    }
}

/// Plays it.
pub(crate) fn play(image: Image, length: Length) -> Outcome {
    let driver = load(image)?;
    let edu = Edu::add(&driver, 0)?;
    start(&edu, Kind::Message, 5, 1)?;
    let shared = Arc::new(Shared {
        file: open(&edu)?,
        edu,
        over: AtomicBool::new(false),
        calm: AtomicBool::new(false),
        resting: AtomicUsize::new(0),
        answered: AtomicU64::new(0),
        strays: AtomicU64::new(0),
    });
    let workers = (1..processor::count()).map(|number| {
        let shared = Arc::clone(&shared);
        Running::on(number, move || {
            shared.work_on(0x9e37_79b9 ^ number as u32).inspect_err(|why| crate::stop!("{why}"))
        })
    });
    let workers: alloc::vec::Vec<_> = workers.collect();
    let (mut progress, mut restarts, mut left) = (Progress::new(), 0, None);
    let mut random = 0x2545_f491;
    for cycle in 1..=length.cycles {
        // As many interrupts as come to one cycle of all, on this processor's account, too.
        while claimed() < length.interrupts * cycle / length.cycles {
            shared.work(&mut random)?;
        }
        shared.cycle(cycle % WAYS)?;
        if cycle.is_multiple_of(CYCLES_OF_A_START) {
            restarts += 1;
            shared.restart(restarts, &mut random, &mut left)?;
        }
        progress.tell(length, cycle);
    }
    shared.over.store(true, Ordering::Relaxed);
    for worker in workers {
        worker.wait()?;
    }
    wait_until("the device is quiet", || Ok(shared.edu.raised() == 0))?;
    let counts = Counts::of(&shared.file)?;
    Progress::tell_now(length, length.cycles);
    judge(&shared, counts, length.cycles + restarts + 1)?;
    crate::say!(
        "soak: {} connections: {} interrupts claimed, {} accounted for by the deferred half, \
         {} handed back",
        counts.connections,
        counts.claimed,
        counts.accounted,
        counts.returned
    );
    crate::say!(
        "soak: {} requests answered rightly on {} processors, {} strays; {restarts} starts with other resources",
        shared.answered.load(Ordering::Relaxed),
        processor::count(),
        shared.strays.load(Ordering::Relaxed)
    );
    let shared = Arc::into_inner(shared).ok_or("a processor still has the device")?;
    shared.file.close();
    remove(&shared.edu)?;
    driver.unload();
    crate::say!("soak: left behind: nothing");
    Ok(())
}

/// Nothing may be missing: neither of what the processors have counted, nor of what the driver has.
fn judge(shared: &Shared, counts: Counts, connections: u64) -> Outcome {
    let served = claimed();
    require!(
        counts.claimed == served,
        "the processors saw {served} interrupts claimed, the driver {counts:?}"
    );
    require!(
        counts.claimed == counts.accounted + counts.returned,
        "{} interrupts are missing: {counts:?}",
        counts.claimed - counts.accounted - counts.returned
    );
    require!(
        counts.connections == connections,
        "{} connections, not {connections}",
        counts.connections
    );
    let answered = shared.answered.load(Ordering::Relaxed);
    if answered == 0 { Err(format!("nothing was answered: {counts:?}")) } else { Ok(()) }
}
