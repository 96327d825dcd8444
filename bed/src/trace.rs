//! What happens, recorded if the command line asks for it, and sent out at the end by a channel of its own:
//! QEMU's isa-debugcon device, so that what the bed prints is the same with it and without.

use core::sync::atomic::{AtomicBool, Ordering};

use postcard::ser_flavors::Flavor;
use serde::Serialize;
use spin::Once;
use wdm_interrupt_model::hal::Event;
use wdm_interrupt_model::trace::{Record, Recorder};
use x86_64::instructions::{interrupts, port::Port};

use crate::{irql, processor, time};

const PORT: u16 = 0xe9;

/// Room for so many events. The demo has some thousands.
const CAPACITY: usize = 1 << 18;

static RECORDING: Once<Recording> = Once::new();
/// Whether it was sent.
static SENT: AtomicBool = AtomicBool::new(false);

#[derive(Debug)]
struct Recording {
    recorder: Recorder,
    /// The time stamp counter when it began.
    began: u64,
}

/// Begins to record.
pub(crate) fn start() {
    RECORDING.call_once(|| Recording { recorder: Recorder::new(CAPACITY), began: time::now() });
}

/// Whether anything is recorded.
pub(crate) fn is_on() -> bool {
    RECORDING.is_completed()
}

/// Records what happens here, if anything is.
pub(crate) fn record(event: Event) {
    let Some(Recording { recorder, began }) = RECORDING.get() else {
        return;
    };
    // What interrupts has a later time, and comes later.
    interrupts::without_interrupts(|| {
        let own = processor::current();
        recorder.record(Record {
            time: time::nanoseconds(time::now() - began),
            processor: own.number() as u32,
            context: own.threads.identity.load(Ordering::Relaxed) as u32,
            irql: irql::current(),
            event,
        });
    });
}

/// What is sent: it is read as a `Trace` of the model's.
#[derive(Serialize)]
struct Outgoing<'a> {
    /// Who started the machine knows better what was run.
    name: &'a str,
    processors: u32,
    lost: u64,
    records: &'a Recorder,
}

/// Sends all that was recorded, at the end of a run, however it ends. Allocates nothing, as the heap's lock may
/// be in anybody's hands.
pub(crate) fn send() {
    let Some(Recording { recorder, .. }) = RECORDING.get() else {
        return;
    };
    // A run can fail while it is ended already.
    if SENT.swap(true, Ordering::Relaxed) {
        return;
    }
    let trace = Outgoing {
        name: "",
        processors: processor::count() as u32,
        lost: recorder.lost(),
        records: recorder,
    };
    // The channel takes everything, and what is recorded has a length.
    let _ = postcard::serialize_with_flavor(&trace, Channel(Port::new(PORT)));
}

/// The port of isa-debugcon. Where it is missing the bytes go nowhere.
struct Channel(Port<u8>);

impl Flavor for Channel {
    type Output = ();

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        // SAFETY: the port is isa-debugcon's, or nobody's.
        unsafe { self.0.write(byte) };
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}
