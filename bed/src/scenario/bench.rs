//! The bench: counts a driver's instructions in its service routine, in its deferred routine, and between
//! markers that it prints, `bench: begin NAME` and `bench: end`. On a machine with one processor.

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
use crate::stepping::{self, Count};
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
static COUNTED: Lock<Vec<(Region, Count)>> = Lock::new(Vec::new());
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
            let count = stepping::end();
            let message = BY_MESSAGE.load(Ordering::Relaxed);
            COUNTED.lock().push((Region::Isr { message, claimed }, count));
        }
        Event::DpcEntered { .. } => stepping::begin(),
        Event::DpcLeft { .. } => {
            let count = stepping::end();
            COUNTED.lock().push((Region::Deferred, count));
        }
        _ => {}
    }
}

/// The driver prints a line. Whether it was a marker.
pub(crate) fn printed(line: &str) -> bool {
    let Some(marker) = line.trim_end().strip_prefix("bench: ") else {
        return false;
    };
    if let Some(name) = marker.strip_prefix("begin ") {
        *MARKED.lock() = Some(name.to_string());
        stepping::begin();
    } else {
        let count = stepping::end();
        let name = MARKED.lock().take();
        if let Some(name) = name {
            report(&name, count);
        }
    }
    true
}

fn report(name: &str, count: Count) {
    let Count { own, others, stack } = count;
    crate::say!(
        "counted {name}: {own} instructions, {others} of the kernel's, {stack} bytes of stack"
    );
}

/// Counts what a driver for edu does: `edu.sys`, or one that marks regions at START.
pub(crate) fn play(image: Image, choice: Choice) -> Outcome {
    require!(processor::count() == 1, "instructions are counted on one processor, so -smp 1");
    COUNTED.lock().reserve(REGIONS);
    let driver = load(image)?;
    let edu = Edu::add(&driver, 0)?;
    let status = edu.node.start(Choice { processor: 0, ..choice }, |_| ());
    require!(status >= 0, "START returned {status:#x}");
    memory_in_use(&edu);
    // A driver that nobody can open has marked at START what is to be counted.
    if !interface::enabled(edu.node.pdo()).is_empty() {
        count_interrupts(&edu)?;
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

fn count_interrupts(edu: &Edu) -> Outcome {
    let handle = edu.open()?;
    for _ in 0..ROUNDS {
        one_of_each(edu, &handle)?;
    }
    let counted = core::mem::take(&mut *COUNTED.lock());
    let mut regions: Vec<Region> = Vec::new();
    for (region, count) in &counted {
        if regions.contains(region) {
            continue;
        }
        regions.push(*region);
        let same = counted.iter().filter(|(other, _)| other == region);
        // The caches and the branch predictors are not counted, so nothing may differ.
        let own: Vec<u64> = same.map(|(_, count)| count.own).collect();
        require!(
            own.iter().all(|one| *one == count.own),
            "{} cost {own:?} instructions",
            region.name()
        );
        report(region.name(), *count);
    }
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
