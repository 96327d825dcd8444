//! The bench: what a driver's service routine costs, its deferred routine, and what lies between markers that it
//! prints, `bench: begin NAME` and `bench: end`. On a machine with one processor.

mod rate;
mod scale;

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};

use wdm_interrupt_model::hal::Event;

use super::edu::{Edu, Handle, Outcome, load, require};
use super::traffic::finish;
use crate::image::Image;
use crate::io::interface;
use crate::kernel::EXECUTIVE;
use crate::pnp::resources::Choice;
use crate::stepping::{self, Cost, Count};
use crate::sync::Lock;
use crate::{apic, hal, processor, smp};

/// How often each thing is done. It must cost the same each time.
const ROUNDS: usize = 3;

/// Bits of the device's status that mean nothing to a driver.
const BITS: u32 = 0x30;

/// Room for so many regions: what is counted in an interrupt must not allocate.
const REGIONS: usize = 64;

/// Whether service routines and deferred routines are counted.
static WATCHING: AtomicBool = AtomicBool::new(false);
static COUNTED: Lock<Vec<(Region, Cost)>> = Lock::new(Vec::new());
/// The name of the region that a marker began.
static MARKED: Lock<Option<String>> = Lock::new(None);

/// A region between two events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Region {
    Isr { message: bool, claimed: bool },
    Deferred,
}

impl Region {
    const fn name(self) -> &'static str {
        match self {
            Self::Isr { message: true, claimed: true } => "ISR, message",
            Self::Isr { message: true, claimed: false } => "ISR, message, nothing to do",
            Self::Isr { message: false, claimed: true } => "ISR, line",
            Self::Isr { message: false, claimed: false } => "ISR, line, not mine",
            Self::Deferred => "DPC",
        }
    }
}

/// Whether the interrupt that is served is a message.
static BY_MESSAGE: AtomicBool = AtomicBool::new(false);

/// Something happens. What is counted begins with the return from here, and ends with the call.
pub(crate) fn observe(event: &Event) {
    if !WATCHING.load(Ordering::Relaxed) {
        return;
    }
    match *event {
        Event::IsrEntered { message, .. } => {
            BY_MESSAGE.store(message.is_some(), Ordering::Relaxed);
            stepping::begin();
        }
        Event::IsrLeft { claimed, .. } => {
            let cost = stepping::end();
            let message = BY_MESSAGE.load(Ordering::Relaxed);
            keep(Region::Isr { message, claimed }, cost);
        }
        Event::DpcEntered { .. } => stepping::begin(),
        Event::DpcLeft { .. } => {
            let cost = stepping::end();
            keep(Region::Deferred, cost);
        }
        _ => {}
    }
}

/// Keeps what a region came to, at a high IRQL: without allocating.
fn keep(region: Region, cost: Cost) {
    let mut counted = COUNTED.lock();
    if counted.len() < REGIONS {
        counted.push((region, cost));
    }
}

/// The driver prints a line. Whether it was a marker: of a region, `pool NAME` for the bytes that it has of pool now, or
/// `bytes NAME: COUNT` for what it knows itself.
pub(crate) fn printed(line: &str) -> bool {
    let Some(marker) = line.trim_end().strip_prefix("bench: ") else {
        return false;
    };
    if let Some(name) = marker.strip_prefix("pool ") {
        let bytes: u64 = EXECUTIVE.pool_by_tag().iter().map(|one| one.bytes() as u64).sum();
        crate::say!("bytes {name}: {bytes}");
    } else if let Some(stated) = marker.strip_prefix("bytes ") {
        crate::say!("bytes {stated}");
    } else if let Some(name) = marker.strip_prefix("begin ") {
        *MARKED.lock() = Some(name.to_string());
        stepping::begin();
    } else {
        let cost = stepping::end();
        let name = MARKED.lock().take();
        if let Some(name) = name {
            report(&name, cost);
            if let Cost::Steps(count) = cost {
                list(&name, count);
            }
        }
    }
    true
}

/// Says what a region came to.
fn report(name: &str, cost: Cost) {
    match cost {
        Cost::Steps(Count { own, others, stack, .. }) => crate::say!(
            "counted {name}: {own} instructions, {others} of the kernel's, {stack} bytes of stack"
        ),
        Cost::Ticks(ticks) => crate::say!("timed {name}: {ticks} ticks"),
    }
}

/// Says which the driver's instructions were, by their offsets in the image.
fn list(name: &str, count: Count) {
    let offsets: Vec<String> = stepping::steps(count).map(|offset| format!("{offset:x}")).collect();
    crate::say!("steps {name}: {}", offsets.join(" "));
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Measure {
    /// The instructions of regions, one by one.
    Steps,
    /// The ticks of the time stamp counter in the same regions.
    Ticks,
    /// How many interrupts there are in a second.
    Rate,
    /// The instructions of regions, of a device that has more messages than any of QEMU's.
    Scale,
}

impl Measure {
    fn named(name: Option<&str>) -> Outcome<Self> {
        match name {
            None | Some("steps") => Ok(Self::Steps),
            Some("ticks") => Ok(Self::Ticks),
            Some("rate") => Ok(Self::Rate),
            Some("scale") => Ok(Self::Scale),
            Some(name) => Err(format!("{name:?} is nothing that is measured")),
        }
    }
}

/// Measures what a driver for edu does: `edu.sys`, or one that marks regions at START. `measure` is `steps`, unless
/// it is `ticks`, `rate` or `scale`.
pub(crate) fn play(image: Image, choice: Choice, measure: Option<&str>) -> Outcome {
    let measure = Measure::named(measure)?;
    require!(processor::count() == 1, "this is measured on one processor, so -smp 1");
    if measure == Measure::Ticks {
        stepping::by_ticks();
    }
    COUNTED.lock().reserve(REGIONS);
    let driver = load(image)?;
    let edu = Edu::add(&driver, 0)?;
    let choice = Choice { processor: 0, ..choice };
    let mut interrupts = Vec::new();
    let status = edu.node.start(choice, |resources| interrupts.clone_from(&resources.interrupts));
    require!(status >= 0, "START returned {status:#x}");
    memory_in_use(&edu);
    match measure {
        Measure::Rate => rate::measure(&edu)?,
        Measure::Scale => scale::measure(&interrupts)?,
        // A driver that nobody can open has marked at START what is to be counted.
        Measure::Steps | Measure::Ticks if interface::enabled(edu.node.pdo()).is_empty() => {}
        Measure::Steps | Measure::Ticks => count_interrupts(&edu)?,
    }
    finish(driver, &edu)
}

/// What the driver has of nonpaged memory: its device extension, and pool.
fn memory_in_use(edu: &Edu) {
    // SAFETY: the device is started, so the top of the stack is the driver's device object.
    let size = unsafe { (*edu.node.top()).Size };
    let extension = usize::from(size) - size_of::<wdm_interrupt_model::nt::DEVICE_OBJECT>();
    crate::say!("memory device extension: {extension} bytes");
    for one in EXECUTIVE.pool_by_tag().iter().filter(|one| one.bytes() != 0) {
        crate::say!("memory pool {one}");
    }
}

/// Says what was kept. Each time a thing is done its own instructions must be the same.
fn report_kept() -> Outcome {
    // The caches and the branch predictors are not counted, so nothing may differ.
    let own = |cost: &Cost| match cost {
        Cost::Steps(count) => Some(count.own),
        Cost::Ticks(_) => None,
    };
    let counted = core::mem::take(&mut *COUNTED.lock());
    for (region, cost) in &counted {
        let other = counted.iter().find(|(other, _)| other == region);
        let first = other.map_or(cost, |(_, first)| first);
        require!(
            own(cost) == own(first),
            "{} cost {:?} instructions, and then {:?}",
            region.name(),
            own(first),
            own(cost)
        );
        report(region.name(), *cost);
        if let (Cost::Steps(count), true) = (cost, core::ptr::eq(cost, first)) {
            list(region.name(), *count);
        }
    }
    Ok(())
}

fn count_interrupts(edu: &Edu) -> Outcome {
    let handle = edu.open()?;
    for _ in 0..ROUNDS {
        one_of_each(edu, &handle)?;
    }
    report_kept()?;
    handle.0.close();
    Ok(())
}

/// An interrupt that is the device's, and one that is not.
fn one_of_each(edu: &Edu, handle: &Handle) -> Outcome {
    let before = handle.statistics()?;
    WATCHING.store(true, Ordering::Relaxed);
    edu.raise_directly(BITS);
    while COUNTED.lock().last().is_none_or(|(region, _)| *region != Region::Deferred) {
        smp::relax_passive();
    }
    let so_many = COUNTED.lock().len();
    // Nobody has raised it, as when another device on the line has, or a message was late.
    apic::send(processor::current().apic_id(), hal::last_served().vector as u8);
    while COUNTED.lock().len() == so_many {
        smp::relax_passive();
    }
    WATCHING.store(false, Ordering::Relaxed);
    let after = handle.statistics()?;
    let (claimed, not_mine) = (after.claimed - before.claimed, after.not_mine - before.not_mine);
    require!(
        (claimed, not_mine) == (1, 1),
        "{}",
        format!("{claimed} interrupts were claimed and {not_mine} not, where one each was raised")
    );
    Ok(())
}
