//! The Trace Event Format, which <https://ui.perfetto.dev> and `chrome://tracing` open.
//!
//! It is described in [Trace Event Format][format]. Each [`Trace`] is a process, each processor and
//! system thread a thread of it. A slice is a pair of `B` and `E`, an arrow one of `s` and `f`, and the
//! IRQL a counter (`C`).
//!
//! [format]: https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU

use std::{collections::BTreeMap, format, string::String, vec::Vec};

use serde_json::{Value, json};

use super::{
    Record, Trace, names,
    timeline::{Slice, Step, Timeline},
};
use crate::hal::Event;

/// Traces as one document, each a process of its own.
///
/// ```
/// use wdm_interrupt_model::{host::Machine, trace::chrome};
///
/// let machine = Machine::new(1).enter();
/// machine.executive().ke_flush_queued_dpcs();
/// let document = chrome::document(&[machine.trace()]);
/// assert!(document.contains(r#""name":"KeFlushQueuedDpcs""#));
/// machine.leave();
/// ```
#[must_use]
pub fn document(traces: &[Trace]) -> String {
    let mut events = Vec::new();
    for (trace, process) in traces.iter().zip(1..) {
        Process { number: process, timeline: Timeline::of(trace) }.write(&mut events);
    }
    let lost: u64 = traces.iter().map(|trace| trace.lost).sum();
    let other = json!({ "events that were lost": lost });
    // A line an event, for a person who has no viewer at hand.
    let events: Vec<String> = events.iter().map(Value::to_string).collect();
    let events = events.join(",\n");
    format!("{{\"displayTimeUnit\":\"ns\",\"otherData\":{other},\"traceEvents\":[\n{events}\n]}}\n")
}

/// One trace, as the process that it is in the document.
struct Process<'a> {
    number: u32,
    timeline: Timeline<'a>,
}

impl Process<'_> {
    fn write(&self, events: &mut Vec<Value>) {
        let trace = self.timeline.trace;
        self.name(events);
        for (step, time) in &self.timeline.steps {
            let mut event = match *step {
                Step::Begin(slice) => begin(&self.timeline.slices[slice]),
                Step::End(slice) => end(&self.timeline.slices[slice]),
                Step::Queue(flow) => {
                    let queued = &self.timeline.flows[flow].queued;
                    events.push(self.at(*time, moment(queued)));
                    self.arrow("s", flow, queued.context)
                }
                Step::Run(flow) => {
                    let slice = &self.timeline.slices[self.timeline.flows[flow].slice];
                    self.arrow("f", flow, slice.context)
                }
                Step::Moment(record) => moment(&trace.records[record]),
                Step::Irql(record) => irql(&trace.records[record]),
            };
            if let Step::Run(_) = step {
                // The arrow ends at the slice that is around its end, not at the next.
                event["bp"] = json!("e");
            }
            events.push(self.at(*time, event));
        }
    }

    /// Says what the process and its threads are.
    fn name(&self, events: &mut Vec<Value>) {
        let trace = self.timeline.trace;
        let mut say = |what: &str, thread: u32, arguments: Value| {
            let event = json!({ "ph": "M", "name": what, "tid": thread, "args": arguments });
            events.push(self.at(0, event));
        };
        let lost = match trace.lost {
            0 => String::new(),
            lost => format!(" ({lost} events came when there was no more room, and are not here)"),
        };
        say("process_name", 0, json!({ "name": format!("{}{lost}", trace.name) }));
        say("process_sort_index", 0, json!({ "sort_index": self.number }));
        let mut threads: BTreeMap<u32, u32> = (0..trace.processors).map(|it| (it, it)).collect();
        threads.extend(trace.records.iter().map(|record| (record.context, record.processor)));
        for (context, processor) in threads {
            let name = thread_name(context, processor, trace.processors);
            say("thread_name", context, json!({ "name": name }));
            // System threads come below their processor.
            say("thread_sort_index", context, json!({ "sort_index": processor * 1000 + context }));
        }
    }

    /// An event of this process at this time, in microseconds.
    fn at(&self, time: u64, mut event: Value) -> Value {
        event["pid"] = json!(self.number);
        event["ts"] = microseconds(time);
        event
    }

    fn arrow(&self, phase: &str, flow: usize, context: u32) -> Value {
        let slice = &self.timeline.slices[self.timeline.flows[flow].slice];
        // Two processes have no arrow in common.
        let id = format!("{}.{flow}", self.number);
        json!({ "ph": phase, "cat": "queued", "name": slice.name, "id": id, "tid": context })
    }
}

/// What a processor or thread is called.
fn thread_name(context: u32, processor: u32, processors: u32) -> String {
    if context < processors {
        format!("processor {context}")
    } else if processor < processors {
        format!("processor {processor}, system thread {context}")
    } else {
        format!("system thread {context}")
    }
}

/// Thousandths of a microsecond are nanoseconds, and as a decimal fraction they are exact.
#[expect(clippy::cast_precision_loss, reason = "a run of a day has fewer nanoseconds than 2^53")]
fn microseconds(time: u64) -> Value {
    json!(time as f64 / 1000.0)
}

fn begin(slice: &Slice) -> Value {
    let arguments: serde_json::Map<String, Value> =
        slice.details.iter().map(|(name, value)| ((*name).into(), json!(value))).collect();
    json!({
        "ph": "B",
        "cat": format!("{:?}", slice.kind),
        "name": slice.name,
        "tid": slice.context,
        "args": arguments,
    })
}

fn end(slice: &Slice) -> Value {
    let name = if slice.finished { "left" } else { "not left" };
    json!({ "ph": "E", "name": slice.name, "tid": slice.context, "args": { "end": name } })
}

fn moment(record: &Record) -> Value {
    json!({
        "ph": "i",
        "s": "t",
        "cat": "moment",
        "name": names::moment(&record.event),
        "tid": record.context,
    })
}

fn irql(record: &Record) -> Value {
    let Event::Irql { to, .. } = record.event else { return Value::Null };
    json!({
        "ph": "C",
        "name": format!("IRQL, processor {}", record.processor),
        "tid": record.processor,
        "args": { "IRQL": to },
    })
}
