//! The bed's hardware as the model's executive sees it: IRQL is CR8, DPCs are self-interrupts, lines come
//! by the I/O APIC and messages by the device's own capability.

use alloc::boxed::Box;
use core::fmt;
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use wdm_interrupt_model::Report;
use wdm_interrupt_model::hal::{Event, Hal, InterruptState, Source, Threads};
use wdm_interrupt_model::nt::{PDEVICE_OBJECT, PIO_WORKITEM};
use x86_64::instructions::interrupts;

use crate::io::device;
use crate::kernel::EXECUTIVE;
use crate::pnp::routes;
use crate::sync::Lock;
use crate::{apic, irql, processor, scenario, smp, threads, time, trace};

/// The hardware.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BedHal;

/// What a scenario does the moment a service routine can be reached, while `IoConnectInterruptEx` has not
/// returned: given the vectors.
type Adversary = Box<dyn Fn(&[u32]) + Send + Sync>;

static ADVERSARY: Lock<Option<alloc::sync::Arc<Adversary>>> = Lock::new(None);

/// Sets what happens inside every `IoConnectInterruptEx` from now on.
pub(crate) fn set_adversary(adversary: impl Fn(&[u32]) + Send + Sync + 'static) {
    *ADVERSARY.lock() = Some(alloc::sync::Arc::new(Box::new(adversary)));
}

/// After so many interrupts on end with no end in sight, the machine would do nothing else.
///
/// QEMU helps a level that stays on: after 10 000 it gives the machine a pause.
pub(crate) const STORM: u32 = 5_000;

/// The last interrupt that was claimed: vector, IRQL, message + 1, processor, one byte each from the
/// lowest up.
static LAST: AtomicU64 = AtomicU64::new(0);
/// The service routines that were entered, by processor and vector: one can be interrupted by another.
static ENTERED: [[AtomicU64; 256]; processor::MAXIMUM] =
    [const { [const { AtomicU64::new(0) }; 256] }; processor::MAXIMUM];

/// The processors that are in a service routine, bit 0 for processor 0.
static INSIDE: AtomicU64 = AtomicU64::new(0);
/// The most processors that have been in service routines at once since [`meet`].
static MOST_INSIDE: AtomicUsize = AtomicUsize::new(0);
/// How many are to be in service routines at once.
static MEETING: AtomicUsize = AtomicUsize::new(0);

/// Service routines wait from now on, for up to a second, until so many processors are in one at once.
/// Those that share a lock cannot come to that.
pub(crate) fn meet(processors: usize) {
    MOST_INSIDE.store(0, Ordering::SeqCst);
    MEETING.store(processors, Ordering::SeqCst);
}

/// The most processors that have been in service routines at once since [`meet`], which this ends.
pub(crate) fn met() -> usize {
    MEETING.store(0, Ordering::SeqCst);
    MOST_INSIDE.load(Ordering::SeqCst)
}

/// A service routine is about to be called, and holds its lock.
fn come_in(processor: &processor::Processor) {
    let bit = 1 << processor.number();
    let inside = (INSIDE.fetch_or(bit, Ordering::SeqCst) | bit).count_ones() as usize;
    MOST_INSIDE.fetch_max(inside, Ordering::SeqCst);
    let end = time::now() + time::microseconds(1_000_000);
    while MOST_INSIDE.load(Ordering::SeqCst) < MEETING.load(Ordering::SeqCst) && time::now() < end {
        core::hint::spin_loop();
    }
}

/// A service routine returned.
fn go_out(processor: &processor::Processor) {
    if processor.nesting.load(Ordering::Relaxed) <= 1 {
        INSIDE.fetch_and(!(1 << processor.number()), Ordering::SeqCst);
    }
}

/// An interrupt that a service routine claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Served {
    pub(crate) vector: u32,
    pub(crate) irql: u8,
    pub(crate) message: Option<u32>,
    pub(crate) processor: usize,
}

/// The last interrupt that a service routine claimed.
pub(crate) fn last_served() -> Served {
    let [vector, irql, message, processor, ..] = LAST.load(Ordering::Relaxed).to_le_bytes();
    Served {
        vector: u32::from(vector),
        irql,
        message: message.checked_sub(1).map(u32::from),
        processor: usize::from(processor),
    }
}

/// Whether threaded DPCs run in threads, and not as the others at `DISPATCH_LEVEL`.
static DPC_THREADS: AtomicBool = AtomicBool::new(true);

/// Has threaded DPCs run as the others.
pub(crate) fn turn_dpc_threads_off() {
    DPC_THREADS.store(false, Ordering::Relaxed);
}

/// The dispatch interrupt: the deferred routines run that were queued to this processor, or by one of its
/// threads.
pub(crate) fn dispatch() {
    let own = processor::current();
    for identity in threads::identities_of(own.number()) {
        own.threads.identity.store(identity, Ordering::Relaxed);
        EXECUTIVE.retire_dpcs();
    }
    own.threads.identity.store(own.number(), Ordering::Relaxed);
}

/// The end of the dispatch interrupt, where a thread at `PASSIVE_LEVEL` would go on: threaded DPCs come first,
/// at `PASSIVE_LEVEL`. They never wait, so the interrupted thread's stack serves.
///
/// Interrupts are off before and after.
pub(crate) fn run_threaded_dpcs() {
    let own = processor::current();
    if own.threaded_run.swap(true, Ordering::Relaxed) {
        return;
    }
    let identity = threads::dpc_identity(own.number());
    let before = own.threads.identity.swap(identity, Ordering::Relaxed);
    while own.threaded_due.swap(false, Ordering::Relaxed) {
        irql::set(0);
        interrupts::enable();
        EXECUTIVE.retire_threaded_dpcs(own.number());
        interrupts::disable();
    }
    own.threads.identity.store(before, Ordering::Relaxed);
    own.threaded_run.store(false, Ordering::Relaxed);
}

/// A device's interrupt, at its IRQL.
pub(crate) fn device_interrupt(vector: u8) {
    routes::serve(u32::from(vector));
}

/// A device's interrupt was served on this processor, and the controller told; `again` says whether it is
/// there again already. One that always is keeps the processor from everything else.
pub(crate) fn served(vector: u8, again: bool) {
    let processor = processor::current();
    if !again {
        processor.on_end.store(0, Ordering::Relaxed);
    } else if processor.on_end.fetch_add(1, Ordering::Relaxed) > STORM {
        storm(u32::from(vector));
    }
}

/// Ends the run: a device interrupts for ever.
pub(crate) fn storm(vector: u32) -> ! {
    EXECUTIVE.storm(
        vector,
        "a service routine",
        format_args!(
            "vector {vector:#x} was there again {STORM} times as soon as it had been served"
        ),
    )
}

impl Threads for BedHal {
    fn time(&self) -> u64 {
        time::hundreds_of_nanoseconds()
    }

    fn block(&self) {
        smp::relax_passive();
    }

    fn thread(&self) -> impl fmt::Display {
        threads::current()
    }

    fn queue_work(&self, item: PIO_WORKITEM) {
        let item = item.addr();
        smp::queue_work(move || {
            EXECUTIVE.run_work_item(core::ptr::without_provenance_mut(item));
        });
    }

    fn reference(&self, device: PDEVICE_OBJECT) -> bool {
        device::reference(device)
    }

    fn dereference(&self, device: PDEVICE_OBJECT) {
        device::dereference(device);
    }
}

impl Hal for BedHal {
    fn processors(&self) -> usize {
        processor::count()
    }

    fn contexts(&self) -> usize {
        threads::identities()
    }

    fn processor(&self) -> usize {
        processor::current().threads.identity.load(Ordering::Relaxed)
    }

    fn irql(&self) -> u8 {
        irql::current()
    }

    fn set_irql(&self, irql: u8) {
        irql::set(irql);
        let own = processor::current();
        // What was asked for at APC_LEVEL.
        if irql == 0
            && own.threaded_due.load(Ordering::Relaxed)
            && !own.threaded_run.load(Ordering::Relaxed)
        {
            apic::send(own.apic_id(), irql::DISPATCH_VECTOR);
        }
    }

    fn interrupts_off(&self) -> InterruptState {
        let were_on = interrupts::are_enabled();
        interrupts::disable();
        InterruptState(usize::from(were_on))
    }

    fn interrupts_restore(&self, state: InterruptState) {
        if state.0 != 0 {
            interrupts::enable();
        }
    }

    fn request_dispatch(&self, processor: usize) {
        if let Some(processor) = processor::by_number(threads::home(processor)) {
            apic::send(processor.apic_id(), irql::DISPATCH_VECTOR);
        }
    }

    fn has_dpc_threads(&self) -> bool {
        DPC_THREADS.load(Ordering::Relaxed)
    }

    fn request_dpc_thread(&self, processor: usize) {
        if let Some(processor) = processor::by_number(threads::home(processor)) {
            processor.threaded_due.store(true, Ordering::Relaxed);
            apic::send(processor.apic_id(), irql::DISPATCH_VECTOR);
        }
    }

    fn relax(&self) {
        threads::take_turns();
        core::hint::spin_loop();
    }

    fn unmask(&self, vector: u32, source: Source) {
        routes::unmask(vector, source);
    }

    fn mask(&self, vector: u32, source: Source) {
        routes::mask(vector, source);
    }

    fn connected(&self, vectors: &[u32]) {
        let adversary = ADVERSARY.lock().clone();
        if let Some(adversary) = adversary {
            adversary(vectors);
        }
    }

    fn violation(&self, report: &Report<'_>) -> ! {
        // The executive counts threads as processors; a person wants the one that there is.
        let processor = processor::current().number();
        let report = Report { processor, ..*report };
        crate::stop!("\n{report}")
    }

    fn trace(&self, event: &Event) {
        trace::record(*event);
        scenario::observe(event);
        let processor = processor::current();
        match *event {
            Event::IsrEntered { vector, message, irql } => {
                let message = message.map_or(0, |message| message + 1);
                let seen =
                    [vector as u8, irql, message as u8, processor.number() as u8, 0, 0, 0, 0];
                ENTERED[processor.number()][usize::from(vector as u8)]
                    .store(u64::from_le_bytes(seen), Ordering::Relaxed);
                come_in(processor);
            }
            Event::IsrLeft { vector, claimed } => {
                go_out(processor);
                if claimed {
                    processor.claimed.fetch_add(1, Ordering::Relaxed);
                    let seen = ENTERED[processor.number()][usize::from(vector as u8)]
                        .load(Ordering::Relaxed);
                    LAST.store(seen, Ordering::Relaxed);
                }
            }
            Event::DpcEntered { .. } => {
                processor.deferred.fetch_add(1, Ordering::Relaxed);
            }
            _ => {}
        }
    }
}
