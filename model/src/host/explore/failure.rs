//! A seed that fails.

use std::{collections::BTreeMap, error::Error, fmt, string::String, vec::Vec};

use crate::{hal::Event, trace::Record};

/// So many events are shown.
const SHOWN: usize = 24;

/// A seed with which a test failed, and what happened; see [`Explore`](super::Explore).
#[derive(Clone, Debug)]
pub struct Failure {
    pub(super) seed: u64,
    pub(super) steps: u64,
    pub(super) message: String,
    pub(super) records: Vec<Record>,
    pub(super) test: Option<String>,
}

impl Failure {
    /// The seed.
    #[must_use]
    pub const fn seed(&self) -> u64 {
        self.seed
    }

    /// After how many steps it failed.
    #[must_use]
    pub const fn steps(&self) -> u64 {
        self.steps
    }

    /// What the panic said, or who waits for what.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What had happened by then. DPCs and work items are numbered from 1 on, in place of their
    /// addresses, which are not the same each time.
    #[must_use]
    pub fn records(&self) -> &[Record] {
        &self.records
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, steps, message, records, test } = self;
        writeln!(f, "seed {seed} fails after {steps} steps: {message}\n")?;
        let test = test.as_deref().unwrap_or("THE_TEST");
        writeln!(f, "It does so again with: WDM_INTERRUPT_SEED={seed} cargo test {test}\n")?;
        let shown = &records[records.len().saturating_sub(SHOWN)..];
        writeln!(f, "What happened last, {} of {} events:", shown.len(), records.len())?;
        writeln!(f, "{:>10}  processor  IRQL", "µs")?;
        for Record { time, context, irql, event, .. } in shown {
            let (whole, tenths) = (time / 1000, time / 100 % 10);
            writeln!(f, "{whole:>8}.{tenths}  {context:>9}  {irql:>4}  {event:?}")?;
        }
        Ok(())
    }
}

impl Error for Failure {}

/// Puts numbers in the place of addresses, in the order in which they come.
pub(super) fn numbered(mut records: Vec<Record>) -> Vec<Record> {
    let mut numbers = BTreeMap::new();
    for record in &mut records {
        if let Some(address) = address(&mut record.event) {
            let next = numbers.len() + 1;
            *address = *numbers.entry(*address).or_insert(next);
        }
    }
    records
}

/// The address that an event tells.
const fn address(event: &mut Event) -> Option<&mut usize> {
    match event {
        Event::DpcQueued { dpc: address, .. }
        | Event::DpcCoalesced { dpc: address }
        | Event::DpcRemoved { dpc: address }
        | Event::DpcEntered { dpc: address, .. }
        | Event::DpcLeft { dpc: address }
        | Event::WorkItemQueued { item: address }
        | Event::WorkItemEntered { item: address }
        | Event::WorkItemLeft { item: address } => Some(address),
        _ => None,
    }
}
