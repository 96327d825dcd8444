//! The system's threads, in which work items and passive-level interrupts run. Each processor has a few
//! beside the one it began with, and they never leave it.
//!
//! They take turns where one waits, at `APC_LEVEL` at most, and nowhere else: so a routine that blocks keeps
//! nobody else from going on, and one that computes is interrupted by interrupts only.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::arch::global_asm;
use core::fmt;
use core::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

use crate::sync::Lock;
use crate::{irql, processor};

global_asm!(include_str!("threads.s"), options(att_syntax));

unsafe extern "sysv64" {
    fn threads_switch(save: *mut u64, load: u64);
}

/// How many threads a processor has beside its first.
const WORKERS: usize = 4;
const STACK_BYTES: usize = 64 * 1024;

/// A job for whichever thread is free.
pub(crate) type Job = Box<dyn FnOnce() + Send>;

static WORK: Lock<VecDeque<Job>> = Lock::new(VecDeque::new());

/// A processor's threads. Only the processor itself uses them, and no interrupt of its changes them.
#[derive(Debug)]
pub(crate) struct Threads {
    /// Number of the thread that runs: 0 for the first.
    current: AtomicUsize,
    /// Which threads have something to do, bit 0 for the first, which always has.
    busy: AtomicU32,
    /// Where those that do not run go on.
    stack_pointers: [AtomicU64; WORKERS + 1],
    /// As what the executive knows who runs: a thread's number among all, or the processor's while an
    /// interrupt is served.
    pub(crate) identity: AtomicUsize,
}

impl Threads {
    pub(crate) const fn new(processor: usize) -> Self {
        Self {
            current: AtomicUsize::new(0),
            busy: AtomicU32::new(1),
            stack_pointers: [const { AtomicU64::new(0) }; WORKERS + 1],
            identity: AtomicUsize::new(processor),
        }
    }

    /// A thread that has nothing to do.
    fn free(&self) -> Option<usize> {
        let free = self.busy.load(Ordering::Relaxed).trailing_ones() as usize;
        (free <= WORKERS).then_some(free)
    }

    /// The next thread after the current that has something to do: the current, if no other has.
    fn next(&self) -> usize {
        let (busy, current) = (self.busy.load(Ordering::Relaxed), self.current());
        let others = (1..=WORKERS).map(|step| (current + step) % (WORKERS + 1));
        others.into_iter().find(|other| busy >> other & 1 != 0).unwrap_or(current)
    }

    fn current(&self) -> usize {
        self.current.load(Ordering::Relaxed)
    }

    /// Whether a thread other than the first has something to do.
    fn has_workers(&self) -> bool {
        self.busy.load(Ordering::Relaxed) != 1
    }
}

/// What stands for a thread of a processor in the executive: the processor's number for the first, one above
/// all processors' for the others.
fn identity(processor: usize, thread: usize) -> usize {
    match thread {
        0 => processor,
        worker => processor::count() + processor * (WORKERS + 1) + worker,
    }
}

/// What stands for the thread that threaded DPCs of a processor run in.
pub(crate) fn dpc_identity(processor: usize) -> usize {
    processor::count() + processor * (WORKERS + 1)
}

/// How many identities there are.
pub(crate) fn identities() -> usize {
    processor::count() * (WORKERS + 2)
}

/// The processor that an identity belongs to.
pub(crate) fn home(identity: usize) -> usize {
    let above = identity.checked_sub(processor::count());
    above.map_or(identity, |number| number / (WORKERS + 1))
}

/// All identities of a processor.
pub(crate) fn identities_of(processor: usize) -> impl Iterator<Item = usize> {
    let first = dpc_identity(processor);
    core::iter::once(processor).chain(first..=first + WORKERS)
}

/// Gives a job to whichever thread is free, of a processor that is idle or waits.
pub(crate) fn queue(job: impl FnOnce() + Send + 'static) {
    WORK.lock().push_back(Box::new(job));
}

/// Whether there is something that a thread of the current processor could do.
pub(crate) fn is_something_to_do() -> bool {
    let threads = &processor::current().threads;
    threads.has_workers() || (threads.free().is_some() && !WORK.lock().is_empty())
}

/// One turn of a wait: other threads of this processor run. At a raised IRQL none does.
pub(crate) fn take_turns() {
    let level = irql::current();
    if level > 1 {
        return;
    }
    let threads = &processor::current().threads;
    if let Some(worker) = threads.free() {
        let job = WORK.lock().pop_front();
        if let Some(job) = job {
            begin(threads, worker, job);
        }
    }
    let next = threads.next();
    if next != threads.current() {
        switch_to(threads, next);
    }
    irql::set(level);
}

/// Makes a thread ready to run a job.
fn begin(threads: &Threads, worker: usize, job: Job) {
    /// What `threads_switch` takes from a stack before it returns, in words.
    const FRAME: usize = 168 / 8 + 6;
    /// All exceptions of SSE masked, as the architecture begins.
    const MXCSR: u64 = 0x1f80;

    let mut stack = alloc::vec![0_u64; STACK_BYTES / 8];
    // A function is entered with the stack pointer eight bytes above a multiple of sixteen.
    let last = stack.len() - 2;
    let top = last - (&raw const stack[last]).addr() / 8 % 2;
    let entry = entry as extern "sysv64" fn() -> ! as *const ();
    stack[top] = entry.expose_provenance() as u64;
    stack[top - FRAME + 160 / 8] = MXCSR;
    let pointer = (&raw mut stack[top - FRAME]).expose_provenance();
    STARTING.lock().push(Starting { processor: processor::current().number(), worker, job, stack });
    threads.stack_pointers[worker].store(pointer as u64, Ordering::Relaxed);
    threads.busy.fetch_or(1 << worker, Ordering::Relaxed);
}

/// A thread that has not run yet.
struct Starting {
    processor: usize,
    worker: usize,
    job: Job,
    stack: Vec<u64>,
}

static STARTING: Lock<Vec<Starting>> = Lock::new(Vec::new());
/// The stacks of threads that ended on each processor: the last one's is still in use until another
/// thread runs.
static ENDED: [Lock<Option<Vec<u64>>>; processor::MAXIMUM] =
    [const { Lock::new(None) }; processor::MAXIMUM];

/// Where a thread begins.
extern "sysv64" fn entry() -> ! {
    irql::set(0);
    let own = processor::current();
    let worker = own.threads.current();
    let mut starting = STARTING.lock();
    let index = starting
        .iter()
        .position(|one| (one.processor, one.worker) == (own.number(), worker))
        .expect("a thread that begins was made ready");
    let Starting { job, stack, .. } = starting.swap_remove(index);
    drop(starting);
    job();
    // The stack of the thread that ended before this one is in nobody's use.
    let before = ENDED[own.number()].lock().replace(stack);
    drop(before);
    own.threads.busy.fetch_and(!(1 << worker), Ordering::Relaxed);
    switch_to(&own.threads, 0);
    unreachable!("a thread that has ended runs");
}

/// Goes on with another thread of this processor, until this one has its turn again.
fn switch_to(threads: &Threads, next: usize) {
    let own = threads.current();
    let before = threads.identity.load(Ordering::Relaxed);
    threads.identity.store(identity(processor::current().number(), next), Ordering::Relaxed);
    threads.current.store(next, Ordering::Relaxed);
    let load = threads.stack_pointers[next].load(Ordering::Relaxed);
    // SAFETY: the other thread saved this pointer when it was switched away from, or `begin` made it; this
    // one's goes where only this processor looks for it.
    unsafe { threads_switch(threads.stack_pointers[own].as_ptr(), load) };
    threads.identity.store(before, Ordering::Relaxed);
}

/// The thread that runs, for people.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Name {
    processor: usize,
    thread: usize,
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "thread {} of processor {}", self.thread, self.processor)
    }
}

/// The thread that runs.
pub(crate) fn current() -> Name {
    let own = processor::current();
    Name { processor: own.number(), thread: own.threads.current() }
}

impl Name {
    /// A number that no other thread has, and that is not 0.
    pub(crate) fn number(self) -> usize {
        4 * (identity(self.processor, self.thread) + 1)
    }
}
