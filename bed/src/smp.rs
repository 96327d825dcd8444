//! The other processors: how they start, and how they are given something to do.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::sync::Lock;
use crate::threads::{self, Job};
use crate::{apic, irql, processor, time, trap};

/// Where the other processors begin: a page below 1 MiB that the firmware does not need any more.
const TRAMPOLINE: usize = 0x8000;
const STACK_BYTES: usize = 128 * 1024;

unsafe extern "C" {
    static trampoline_start: u8;
    static trampoline_end: u8;
    static mut trampoline_stack: u64;
    static mut trampoline_number: u64;
}

static JOBS: [Lock<VecDeque<Job>>; processor::MAXIMUM] =
    [const { Lock::new(VecDeque::new()) }; processor::MAXIMUM];

/// Starts the processors of these APIC numbers, except the one that runs this.
pub(crate) fn start(apic_ids: &[u32]) {
    let own = apic::current_id();
    // SAFETY: both symbols delimit the start-up code in the image.
    let code = unsafe {
        core::slice::from_raw_parts(
            &raw const trampoline_start,
            (&raw const trampoline_end).addr() - (&raw const trampoline_start).addr(),
        )
    };
    // SAFETY: conventional memory that only the start-up code uses; long enough for it.
    unsafe {
        core::ptr::copy_nonoverlapping(
            code.as_ptr(),
            core::ptr::with_exposed_provenance_mut(TRAMPOLINE),
            code.len(),
        );
    }
    let others = apic_ids.iter().filter(|id| **id != own).take(processor::MAXIMUM - 1);
    for (index, apic_id) in others.enumerate() {
        start_one(index + 1, *apic_id);
    }
}

fn start_one(number: usize, apic_id: u32) {
    let stack = Box::leak(alloc::vec![0_u128; STACK_BYTES / 16].into_boxed_slice());
    // SAFETY: one processor starts at a time, and only it reads this.
    unsafe { trampoline_stack = stack.as_ptr_range().end.addr() as u64 };
    // SAFETY: as above.
    unsafe { trampoline_number = number as u64 };
    core::sync::atomic::fence(Ordering::SeqCst);
    apic::send_init(apic_id);
    time::stall(200);
    for _ in 0..2 {
        apic::send_start_up(apic_id, (TRAMPOLINE >> 12) as u8);
        let end = time::now() + time::microseconds(1_000_000);
        while time::now() < end {
            if processor::by_number(number).is_some() {
                return;
            }
            core::hint::spin_loop();
        }
    }
    crate::stop!("processor {number} (APIC {apic_id}) does not start");
}

/// Where `boot.s` takes the other processors.
#[unsafe(no_mangle)]
extern "sysv64" fn other_processor(number: usize) -> ! {
    apic::start_local();
    trap::start();
    irql::set(0);
    processor::start(number, apic::current_id());
    idle()
}

/// Waits for something to do, for ever.
fn idle() -> ! {
    loop {
        x86_64::instructions::interrupts::disable();
        match take() {
            Some(job) => {
                x86_64::instructions::interrupts::enable();
                job();
            }
            None if threads::is_something_to_do() => {
                x86_64::instructions::interrupts::enable();
                threads::take_turns();
            }
            None => x86_64::instructions::interrupts::enable_and_hlt(),
        }
    }
}

fn take() -> Option<Job> {
    JOBS[processor::current().number()].lock().pop_front()
}

/// One turn of a wait at `APC_LEVEL` at most: other threads run. A machine with one processor has nobody else
/// for the jobs of processors either, so the waiting thread does them.
pub(crate) fn relax_passive() {
    if processor::count() == 1
        && let Some(job) = take()
    {
        job();
    }
    threads::take_turns();
    core::hint::spin_loop();
}

/// One turn of a long wait: as [`relax_passive`], and if there is nothing else to do the processor sleeps
/// for a moment, or until it is interrupted. The host has fewer processors than the machine.
pub(crate) fn nap() {
    const MOMENT_US: u32 = 100;
    relax_passive();
    x86_64::instructions::interrupts::disable();
    if threads::is_something_to_do() {
        x86_64::instructions::interrupts::enable();
        return;
    }
    apic::set_timer(irql::WAKE_VECTOR, MOMENT_US);
    x86_64::instructions::interrupts::enable_and_hlt();
    apic::set_timer(irql::WAKE_VECTOR, 0);
}

/// Something that runs on another processor.
#[derive(Debug, Clone)]
pub(crate) struct Running(Arc<AtomicBool>);

impl Running {
    /// Waits for its end.
    pub(crate) fn wait(&self) {
        while !self.is_done() {
            relax_passive();
        }
    }

    /// Whether it has ended.
    pub(crate) fn is_done(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Runs something at `PASSIVE_LEVEL` on a processor, now or when it is idle. The first processor is never
/// idle, unless it is the only one: then its waits do what is queued.
pub(crate) fn run_on(number: usize, job: impl FnOnce() + Send + 'static) -> Running {
    let done = Arc::new(AtomicBool::new(false));
    let finished = Arc::clone(&done);
    let job: Job = Box::new(move || {
        job();
        finished.store(true, Ordering::Release);
    });
    assert!(number > 0 || processor::count() == 1, "the first processor is busy");
    JOBS[number].lock().push_back(job);
    wake(number);
    Running(done)
}

/// Returns when every other processor has been idle once: service routines that had begun, or whose
/// interrupt was there already, have ended.
pub(crate) fn pass_through_all() {
    let passing: Vec<_> = (1..processor::count()).map(|number| run_on(number, || ())).collect();
    for processor in passing {
        processor.wait();
    }
}

/// A processor that becomes idle: another one than the current, if there is one.
pub(crate) fn another() -> usize {
    match processor::count() {
        1 => 0,
        count => 1 + processor::current().number() % (count - 1),
    }
}

/// Gives work to a thread of whichever processor is idle or waits.
pub(crate) fn queue_work(job: impl FnOnce() + Send + 'static) {
    threads::queue(job);
    for number in 0..processor::count() {
        wake(number);
    }
}

fn wake(number: usize) {
    if let Some(processor) = processor::by_number(number)
        && number != processor::current().number()
    {
        apic::send(processor.apic_id(), irql::WAKE_VECTOR);
    }
}

/// Whether the other processors wait, and how many do.
static HELD: AtomicBool = AtomicBool::new(false);
static WAITING: AtomicUsize = AtomicUsize::new(0);

/// Does something while no other processor does anything.
///
/// What changes where registers are decoded is done so: QEMU (7.2, with a thread for each processor) can
/// crash when another processor is just reaching for any register.
pub(crate) fn alone(job: impl FnOnce()) {
    let turn = take_turn();
    HELD.store(true, Ordering::SeqCst);
    send_to_others(irql::HOLD_VECTOR);
    while WAITING.load(Ordering::SeqCst) != processor::count() - 1 {
        core::hint::spin_loop();
    }
    job();
    HELD.store(false, Ordering::SeqCst);
    while WAITING.load(Ordering::SeqCst) != 0 {
        core::hint::spin_loop();
    }
    drop(turn);
}

/// Answers [`alone`].
pub(crate) fn hold() {
    WAITING.fetch_add(1, Ordering::SeqCst);
    while HELD.load(Ordering::SeqCst) {
        core::hint::spin_loop();
    }
    WAITING.fetch_sub(1, Ordering::SeqCst);
}

/// How many processors have yet to flush.
static FLUSHING: AtomicUsize = AtomicUsize::new(0);
/// Who wants something of all other processors has this.
static TURN: Lock<()> = Lock::new(());

/// Two at once would count each other's answers. Who waits for the turn must answer meanwhile, so it is
/// tried for with interrupts on.
fn take_turn() -> impl Drop {
    loop {
        if let Some(turn) = TURN.try_lock() {
            return turn;
        }
        core::hint::spin_loop();
    }
}

fn send_to_others(vector: u8) {
    let own = processor::current().number();
    for processor in processor::all().filter(|processor| processor.number() != own) {
        apic::send(processor.apic_id(), vector);
    }
}

/// Makes every processor forget what it cached of the page tables; waits until all have.
pub(crate) fn flush_everywhere() {
    x86_64::instructions::tlb::flush_all();
    let turn = take_turn();
    FLUSHING.store(processor::count() - 1, Ordering::Release);
    send_to_others(irql::FLUSH_VECTOR);
    while FLUSHING.load(Ordering::Acquire) != 0 {
        core::hint::spin_loop();
    }
    drop(turn);
}

/// Answers [`flush_everywhere`].
pub(crate) fn flushed() {
    x86_64::instructions::tlb::flush_all();
    FLUSHING.fetch_sub(1, Ordering::AcqRel);
}
