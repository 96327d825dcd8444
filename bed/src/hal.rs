//! The bed's hardware as the model's executive sees it: IRQL is CR8, DPCs are self-interrupts, lines come
//! by the I/O APIC and messages by the device's own capability.

use alloc::boxed::Box;
use core::sync::atomic::{AtomicU64, Ordering};

use wdm_interrupt_model::hal::{Event, Hal, InterruptState, Source};
use wdm_interrupt_model::{Report, Rule};
use x86_64::instructions::interrupts;

use crate::kernel::EXECUTIVE;
use crate::pnp::routes;
use crate::sync::Lock;
use crate::{apic, irql, processor};

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
const STORM: u32 = 5_000;

/// The last interrupt that was claimed: vector, IRQL, message + 1, processor, one byte each from the
/// lowest up.
static LAST: AtomicU64 = AtomicU64::new(0);
static ENTERED: [AtomicU64; processor::MAXIMUM] = [const { AtomicU64::new(0) }; processor::MAXIMUM];

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

/// The dispatch interrupt: deferred routines run.
pub(crate) fn dispatch() {
    EXECUTIVE.retire_dpcs();
}

/// A device's interrupt, at its IRQL.
pub(crate) fn device_interrupt(vector: u8) {
    EXECUTIVE.interrupt(u32::from(vector));
}

/// A device's interrupt was served on this processor, and the controller told; `again` says whether it is
/// there again already. One that always is keeps the processor from everything else.
pub(crate) fn served(vector: u8, again: bool) {
    let processor = processor::current();
    if !again {
        processor.on_end.store(0, Ordering::Relaxed);
    } else if processor.on_end.fetch_add(1, Ordering::Relaxed) > STORM {
        BedHal.violation(&Report {
            rule: Rule::Storm,
            call: "a service routine",
            processor: processor.number(),
            irql: irql::current(),
            detail: format_args!(
                "vector {vector:#x} was there again {STORM} times as soon as it had been served"
            ),
        });
    }
}

impl Hal for BedHal {
    fn processors(&self) -> usize {
        processor::count()
    }

    fn processor(&self) -> usize {
        processor::current().number()
    }

    fn irql(&self) -> u8 {
        irql::current()
    }

    fn set_irql(&self, irql: u8) {
        irql::set(irql);
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
        if let Some(processor) = processor::by_number(processor) {
            apic::send(processor.apic_id(), irql::DISPATCH_VECTOR);
        }
    }

    fn relax(&self) {
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
        crate::stop!("\n{report}")
    }

    fn trace(&self, event: &Event) {
        let processor = processor::current();
        match *event {
            Event::IsrEntered { vector, message, irql } => {
                let message = message.map_or(0, |message| message + 1);
                let seen =
                    [vector as u8, irql, message as u8, processor.number() as u8, 0, 0, 0, 0];
                ENTERED[processor.number()].store(u64::from_le_bytes(seen), Ordering::Relaxed);
            }
            Event::IsrLeft { claimed: true, .. } => {
                processor.claimed.fetch_add(1, Ordering::Relaxed);
                let seen = ENTERED[processor.number()].load(Ordering::Relaxed);
                LAST.store(seen, Ordering::Relaxed);
            }
            Event::DpcEntered { .. } => {
                processor.deferred.fetch_add(1, Ordering::Relaxed);
            }
            _ => {}
        }
    }
}
