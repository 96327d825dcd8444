//! What happened, when and where: kept while it happens, and afterwards shown to a person.
//!
//! A [`Trace`] is what a run left: [`Record`]s, each an [`Event`] with its time, its processor and
//! that processor's IRQL. The host's machine gives it as `Machine::trace`; a HAL of one's own keeps
//! it with a [`Recorder`].
//!
//! With the feature `trace` it is written out in two forms. `Trace::write` writes both.
//!
//! - The *Trace Event Format* (`chrome`), which <https://ui.perfetto.dev> and `chrome://tracing`
//!   open: a track for each processor and system thread, the IRQL as a counter, an arrow from where
//!   a DPC was queued to where it ran.
//! - A picture (`svg`) of the moments worth looking at, which needs no viewer.

#[cfg(feature = "trace")]
pub mod chrome;
#[cfg(feature = "trace")]
mod file;
#[cfg(feature = "trace")]
mod names;
mod recorder;
#[cfg(feature = "trace")]
pub mod svg;
#[cfg(feature = "trace")]
mod timeline;

use alloc::{string::String, vec::Vec};

pub use self::recorder::Recorder;
use crate::hal::Event;

/// An event, with time and place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Record {
    /// When, in nanoseconds since the recording began.
    pub time: u64,
    /// The processor.
    pub processor: u32,
    /// What ran there, as [`Hal::processor`](crate::hal::Hal::processor) numbers it: the processor's
    /// own number, or that of a system thread.
    pub context: u32,
    /// The processor's IRQL.
    pub irql: u8,
    /// What happened.
    pub event: Event,
}

/// What was recorded of a run.
///
/// ```
/// use wdm_interrupt_model::{hal::Event, host::Machine};
///
/// let machine = Machine::new(1).enter();
/// machine.executive().ke_flush_queued_dpcs();
/// let trace = machine.trace();
/// let events: Vec<Event> = trace.records.iter().map(|record| record.event).collect();
/// assert_eq!(events, [Event::FlushEntered, Event::FlushLeft]);
/// machine.leave();
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Trace {
    /// What was run, for the person who looks at it.
    pub name: String,
    /// How many processors drivers know of.
    pub processors: u32,
    /// How many events came after there was no more room.
    pub lost: u64,
    /// What happened, in the order of time.
    pub records: Vec<Record>,
}
