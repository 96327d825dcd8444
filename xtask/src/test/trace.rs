//! What the demo traces is what it says: the two are counted at different places, by the bed's HAL and by the driver
//! on the one hand, by the model's executive on the other.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use wdm_interrupt_model::trace::chrome;

use crate::qemu::{self, Interrupt, Machine};

/// Boots the demo both ways, and compares.
pub(super) fn check(bed: &Path, driver: &Path) -> Result<()> {
    for interrupt in [Interrupt::Message, Interrupt::Line] {
        // Here the trace is looked at and not written.
        let trace = Some(PathBuf::new());
        let machine = Machine { trace, ..Machine::with_edu(1, interrupt) };
        let command = format!("demo interrupt={interrupt}");
        let boot = qemu::boot(bed, driver, &machine, &command, |_| ())?;
        if !boot.passed() {
            bail!("{boot}");
        }
        let trace = boot.trace.context("nothing was recorded")?;
        let lines: Vec<&str> = boot.lines.iter().map(|line| line.text.as_str()).collect();
        let traced = Facts::traced(&chrome::document(&[trace]));
        agree(&traced?, &Facts::said(&lines)?).with_context(|| format!("with a {interrupt}"))?;
    }
    Ok(())
}

/// What both tell of a run.
#[derive(Debug, Default, PartialEq, Eq)]
struct Facts {
    connects: usize,
    disconnects: usize,
    /// The calls of service routines.
    calls: usize,
    /// How many of them claimed the interrupt, by processor.
    claimed: BTreeMap<u64, usize>,
    /// How many deferred routines ran, by processor.
    deferred: BTreeMap<u64, usize>,
    /// Where interrupts were served: vector, IRQL, processor.
    places: BTreeSet<(u64, u64, u64)>,
}

fn agree(traced: &Facts, said: &Facts) -> Result<()> {
    ensure!(said.calls > 0, "the demo says of no interrupt");
    ensure!(said.connects == said.disconnects, "not every connect has its disconnect: {said:?}");
    ensure!(traced == said, "the trace has {traced:#?}\nand the demo says {said:#?}");
    Ok(())
}

impl Facts {
    /// What the demo printed.
    fn said(lines: &[&str]) -> Result<Self> {
        let mut facts = Self::default();
        for line in lines {
            let numbers = numbers(line);
            if line.starts_with("edu: connected by") {
                facts.connects += 1;
            } else if line.starts_with("edu: disconnected") {
                facts.disconnects += 1;
                // So many served, and so many that were not its own.
                facts.calls += numbers.iter().sum::<usize>();
            } else if line.starts_with("served ") {
                let [processor, _, claimed, deferred] = numbers[..] else {
                    bail!("{line:?} has other numbers than it had");
                };
                facts.claimed.insert(processor as u64, claimed);
                facts.deferred.insert(processor as u64, deferred);
            } else if line.starts_with("resource ")
                && let Some((_, place)) = line.split_once("vector 0x")
            {
                let mut words = place.split(", ");
                let vector = words.next().and_then(|it| u64::from_str_radix(it, 16).ok());
                let mut after = |name| {
                    let number = words.next().and_then(|it: &str| it.strip_prefix(name));
                    number.and_then(|it| it.trim().parse::<u64>().ok())
                };
                let place = (vector, after("IRQL"), after("processor"));
                let (Some(vector), Some(irql), Some(processor)) = place else {
                    bail!("{line:?} says otherwise than it did where the interrupt goes");
                };
                facts.places.insert((vector, irql, processor));
            }
        }
        facts.claimed.retain(|_, count| *count > 0);
        facts.deferred.retain(|_, count| *count > 0);
        Ok(facts)
    }

    /// What somebody finds who opens the trace.
    fn traced(document: &str) -> Result<Self> {
        let document: Value = serde_json::from_str(document).context("the trace is no JSON")?;
        ensure!(document["otherData"]["events that were lost"] == 0, "events were lost");
        let mut facts = Self::default();
        // What is under way in each thread, one inside the other, and whether an arrow led there; and the IRQL of each
        // processor.
        let mut open = BTreeMap::<u64, Vec<(&Value, bool)>>::new();
        let mut irql = BTreeMap::<u64, u64>::new();
        let mut arrows = BTreeSet::new();
        let mut reachable = 0_usize;
        for event in document["traceEvents"].as_array().context("there are no events")? {
            let name = event["name"].as_str().context("an event has no name")?;
            let thread = event["tid"].as_u64().context("an event has no thread")?;
            let stack = open.entry(thread).or_default();
            match event["ph"].as_str().context("an event has no phase")? {
                "B" if name.starts_with("ISR, ") => {
                    let detail = |key: &str| event["args"][key].as_str().unwrap_or_default();
                    let vector =
                        u64::from_str_radix(detail("vector").trim_start_matches("0x"), 16)?;
                    let at: u64 = detail("IRQL").parse()?;
                    ensure!(
                        irql.get(&thread) == Some(&at),
                        "{event} begins when the processor's IRQL is {:?}",
                        irql.get(&thread)
                    );
                    ensure!(reachable > 0, "{event} comes while nothing is connected");
                    facts.places.insert((vector, at, thread));
                    facts.calls += 1;
                    stack.push((event, false));
                }
                "B" => stack.push((event, false)),
                "E" => {
                    let (begun, queued) = stack.pop().context("what ends has not begun")?;
                    ensure!(begun["name"] == event["name"], "{begun} ends as {event}");
                    ensure!(event["args"]["end"] == "left", "{begun} was not left");
                    facts.end(name, thread, begun, queued)?;
                }
                "s" => ensure!(arrows.insert(event["id"].to_string()), "{event} is there twice"),
                "f" => {
                    ensure!(arrows.remove(&event["id"].to_string()), "{event} comes from nowhere");
                    let (begun, queued) = stack.last_mut().context("an arrow leads nowhere")?;
                    ensure!(begun["name"] == event["name"], "{event} leads to {begun}");
                    *queued = true;
                }
                "C" => drop(irql.insert(thread, event["args"]["IRQL"].as_u64().unwrap_or(0))),
                "i" if name.starts_with("connected: ") => reachable += 1,
                "i" if name.starts_with("disconnected: ") => {
                    reachable = reachable.checked_sub(1).context("more goes than came")?;
                }
                _ => {}
            }
        }
        ensure!(reachable == 0, "{reachable} service routines can still be reached at the end");
        ensure!(arrows.is_empty(), "arrows lead nowhere: {arrows:?}");
        Ok(facts)
    }

    /// Something has ended; `queued` says whether an arrow led to its beginning.
    fn end(&mut self, name: &str, processor: u64, begun: &Value, queued: bool) -> Result<()> {
        match name {
            "DPC" => {
                ensure!(queued, "no arrow leads to {begun}");
                *self.deferred.entry(processor).or_default() += 1;
            }
            "IoConnectInterruptEx" => self.connects += 1,
            "IoDisconnectInterruptEx" => self.disconnects += 1,
            _ if name.starts_with("ISR, ") && begun["args"]["claimed"] == "true" => {
                *self.claimed.entry(processor).or_default() += 1;
            }
            _ => {}
        }
        Ok(())
    }
}

/// The numbers in a line.
fn numbers(line: &str) -> Vec<usize> {
    line.split(|letter: char| !letter.is_ascii_digit())
        .filter_map(|word| word.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use wdm_interrupt_model::hal::Event;
    use wdm_interrupt_model::trace::{Record, Trace};

    use super::*;

    const SAID: [&str; 4] = [
        "resource   line 20 (level, shared), vector 0x50, IRQL 5, processor 0",
        "edu: connected by line",
        "edu: disconnected: 1 interrupts served, 0 not mine",
        "served     processor 0:   1 interrupts,   1 claimed,   1 deferred routines",
    ];

    /// A run with one interrupt, without the event of this number.
    fn document(without: Option<usize>) -> String {
        let (vector, irql, message, dpc, processor) = (0x50, 5, None, 1, 0);
        let (threaded, sequence, version) = (false, 1, 2);
        let events = [
            Event::ConnectEntered { version },
            Event::Connected { vector, irql, message },
            Event::ConnectLeft { version, status: 0 },
            Event::Irql { from: 0, to: irql },
            Event::IsrEntered { vector, message, irql },
            Event::DpcQueued { dpc, processor, threaded, sequence },
            Event::IsrLeft { vector, claimed: true },
            Event::Irql { from: irql, to: 2 },
            Event::DpcEntered { dpc, processor, threaded, sequence },
            Event::DpcLeft { dpc },
            Event::DisconnectEntered { version },
            Event::Disconnected { vector },
            Event::DisconnectLeft,
        ];
        let records = events.into_iter().enumerate().filter(|(number, _)| Some(*number) != without);
        let record = |event| Record { time: 0, processor: 0, context: 0, irql: 0, event };
        let records = records.map(|(_, event)| record(event)).collect();
        chrome::document(&[Trace { processors: 1, records, ..Trace::default() }])
    }

    fn compared(without: Option<usize>) -> Result<()> {
        agree(&Facts::traced(&document(without))?, &Facts::said(&SAID)?)
    }

    #[test]
    fn a_trace_that_has_all_that_was_said_agrees() -> Result<()> {
        compared(None)
    }

    #[test]
    fn a_trace_that_lacks_any_event_disagrees() {
        for without in 0..13 {
            // The IRQL of a DPC is not looked at.
            assert_eq!(compared(Some(without)).is_ok(), without == 7, "without event {without}");
        }
    }
}
