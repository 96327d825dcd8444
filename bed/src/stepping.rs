//! What a driver's regions cost: their instructions, one by one, or the processor's clock.
//!
//! By steps: the processor's trap flag has a debug exception come after each instruction, which looks where that
//! was. By ticks: the time stamp counter, before and after. Where QEMU counts time in instructions both must come
//! to the same. For one region at a time, on one processor.

use core::arch::asm;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use crate::{image, time};

/// What a region came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cost {
    Steps(Count),
    Ticks(u64),
}

/// The instructions of a region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Count {
    /// Instructions of the driver's image.
    pub(crate) own: u64,
    /// Instructions of the kernel's, which the driver called or which called it.
    pub(crate) others: u64,
    /// Bytes of stack between the driver's first instruction and the lowest that it went. What the
    /// kernel uses in between is in it, where the kernel calls the driver back.
    pub(crate) stack: u64,
    /// Where in [`STEPS`] the first is.
    kept_from: usize,
}

/// Whether regions are timed, and not stepped through.
static BY_TICKS: AtomicBool = AtomicBool::new(false);
/// When a region began that is timed.
static BEGUN: AtomicU64 = AtomicU64::new(0);

static OWN: AtomicU64 = AtomicU64::new(0);
static OTHERS: AtomicU64 = AtomicU64::new(0);
/// Where the instruction lies that is executed now.
static AT: AtomicU64 = AtomicU64::new(0);
/// The stack pointer at the first instruction of the driver's, 0 before it.
static FIRST: AtomicU64 = AtomicU64::new(0);
static LOWEST: AtomicU64 = AtomicU64::new(0);
/// The driver's instructions of the last regions, in the order in which they were executed, by their offsets in its
/// image: as many as there is room for.
static STEPS: [AtomicU32; 16384] = [const { AtomicU32::new(0) }; 16384];
/// Where in [`STEPS`] the region begins, and where it has come to.
static KEPT_FROM: AtomicUsize = AtomicUsize::new(0);
static KEPT_TO: AtomicUsize = AtomicUsize::new(0);

/// The flag that has the processor stop after each instruction.
const TRAP_FLAG: u64 = 1 << 8;

/// Has regions timed from now on.
pub(crate) fn by_ticks() {
    BY_TICKS.store(true, Ordering::Relaxed);
}

/// The driver's instructions in one of the last regions, by their offsets in its image: the first ones, if there are
/// many.
pub(crate) fn steps(count: Count) -> impl Iterator<Item = u32> {
    let steps = STEPS.iter().skip(count.kept_from).take(count.own as usize);
    steps.map(|step| step.load(Ordering::Relaxed))
}

/// Begins a region. What interrupts it is not counted, but timed.
///
/// Never inlined, like [`end`]: so what is counted of both is the same in every region.
#[inline(never)]
pub(crate) fn begin() {
    for counter in [&OWN, &OTHERS, &AT, &FIRST] {
        counter.store(0, Ordering::Relaxed);
    }
    LOWEST.store(u64::MAX, Ordering::Relaxed);
    let kept = KEPT_TO.load(Ordering::Relaxed);
    KEPT_FROM.store(if kept < STEPS.len() / 2 { kept } else { 0 }, Ordering::Relaxed);
    if BY_TICKS.load(Ordering::Relaxed) {
        BEGUN.store(time::now(), Ordering::Relaxed);
        return;
    }
    // SAFETY: the debug exception is served by `step`, which changes nothing that runs; the stack is the
    // routine's own, which has no red zone.
    unsafe { asm!("pushfq", "or qword ptr [rsp], {flag}", "popfq", flag = const TRAP_FLAG) };
}

/// Ends the region.
#[inline(never)]
pub(crate) fn end() -> Cost {
    if BY_TICKS.load(Ordering::Relaxed) {
        return Cost::Ticks(time::now() - BEGUN.load(Ordering::Relaxed));
    }
    // SAFETY: only the flag is changed that `begin` set.
    unsafe {
        asm!("pushfq", "and qword ptr [rsp], {mask}", "popfq", mask = const !(TRAP_FLAG as i32));
    };
    let (first, lowest) = (FIRST.load(Ordering::Relaxed), LOWEST.load(Ordering::Relaxed));
    Cost::Steps(Count {
        own: OWN.load(Ordering::Relaxed),
        others: OTHERS.load(Ordering::Relaxed),
        stack: first.saturating_sub(lowest),
        kept_from: KEPT_FROM.load(Ordering::Relaxed),
    })
}

/// An instruction has been executed, and the next lies at `next`. Called in the debug exception.
pub(crate) fn step(next: u64, stack: u64) {
    let at = AT.load(Ordering::Relaxed);
    if at != 0 {
        count(at);
        // QEMU raises no debug exception behind STI, but behind the instruction that follows it.
        if next != at + 1 && is_sti(at) {
            count(at + 1);
        }
    }
    AT.store(next, Ordering::Relaxed);
    if image::contains(next as usize) {
        if FIRST.load(Ordering::Relaxed) == 0 {
            FIRST.store(stack, Ordering::Relaxed);
        }
        LOWEST.fetch_min(stack, Ordering::Relaxed);
    }
}

/// Counts the instruction at an address. The exception is one of this processor's, with interrupts off, so nobody else
/// counts.
fn count(at: u64) {
    let add_one = |counter: &AtomicU64| {
        let before = counter.load(Ordering::Relaxed);
        counter.store(before + 1, Ordering::Relaxed);
        before
    };
    if !image::contains(at as usize) {
        add_one(&OTHERS);
        return;
    }
    let place = KEPT_FROM.load(Ordering::Relaxed) + add_one(&OWN) as usize;
    if let Some(step) = STEPS.get(place) {
        step.store(image::offset(at as usize), Ordering::Relaxed);
        KEPT_TO.store(place + 1, Ordering::Relaxed);
    }
}

/// Whether the instruction at an address, which has just been executed, lets interrupts in.
const fn is_sti(at: u64) -> bool {
    const STI: u8 = 0xfb;
    let code: *const u8 = core::ptr::with_exposed_provenance(at as usize);
    // SAFETY: what was executed can be read, and nobody writes it.
    (unsafe { code.read() }) == STI
}
