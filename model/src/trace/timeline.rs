//! What a trace comes to: not that something was entered and something left, but that it lasted from
//! here to there; not that a DPC ran, but from where it was queued.

use std::{
    collections::{BTreeMap, VecDeque},
    format,
    string::String,
    vec,
    vec::Vec,
};

use super::{Record, Trace, names};
use crate::hal::Event;

/// What takes time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Connect,
    Disconnect,
    Isr,
    Synchronize,
    InterruptLock,
    Dpc,
    Flush,
    WorkItem,
    Request,
}

/// What else is known, by name.
pub(super) type Details = Vec<(&'static str, String)>;

/// Something that took time.
#[derive(Debug)]
pub(super) struct Slice {
    pub(super) kind: Kind,
    pub(super) name: String,
    pub(super) details: Details,
    pub(super) processor: u32,
    pub(super) context: u32,
    pub(super) irql: u8,
    pub(super) start: u64,
    pub(super) end: u64,
    /// For a service routine: whether it claimed the interrupt.
    pub(super) claimed: bool,
    /// Whether it was left, and not just over because the recording was.
    pub(super) finished: bool,
}

/// That something was queued here and ran there.
#[derive(Debug)]
pub(super) struct Flow {
    /// When and on which processor it was queued.
    pub(super) queued: Record,
    /// What ran.
    pub(super) slice: usize,
}

/// One thing after the other, by number where it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Begin(usize),
    End(usize),
    /// Where a flow begins.
    Queue(usize),
    /// Where a flow ends: its slice has just begun.
    Run(usize),
    /// A record that is worth a mark of its own.
    Moment(usize),
    Irql(usize),
}

/// All that a trace comes to.
#[derive(Debug)]
pub(super) struct Timeline<'a> {
    pub(super) trace: &'a Trace,
    pub(super) slices: Vec<Slice>,
    pub(super) flows: Vec<Flow>,
    /// With the context that it happened in and the time.
    pub(super) steps: Vec<(Step, u64)>,
    /// The slices that are under way, one inside the other, by context.
    open: BTreeMap<u32, Vec<usize>>,
    /// The steps at which something was queued that has not run, by what tells it from others.
    waiting: BTreeMap<Waiting, VecDeque<usize>>,
}

/// What tells something that is queued from everything else that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Waiting {
    Dpc(u64),
    WorkItem(usize),
}

impl<'a> Timeline<'a> {
    pub(super) fn of(trace: &'a Trace) -> Self {
        let mut timeline = Self {
            trace,
            slices: Vec::new(),
            flows: Vec::new(),
            steps: Vec::new(),
            open: BTreeMap::new(),
            waiting: BTreeMap::new(),
        };
        // What several processors record at once can be a little out of order.
        let mut order: Vec<usize> = (0..trace.records.len()).collect();
        order.sort_by_key(|index| trace.records[*index].time);
        for index in &order {
            timeline.add(*index);
        }
        let last = order.last().map_or(0, |index| trace.records[*index].time);
        for open in std::mem::take(&mut timeline.open).into_values() {
            for slice in open.into_iter().rev() {
                timeline.slices[slice].end = last;
                timeline.steps.push((Step::End(slice), last));
            }
        }
        timeline
    }

    fn add(&mut self, index: usize) {
        let record = self.trace.records[index];
        let Record { time, event, .. } = record;
        if names::moment(&event).is_some() {
            self.steps.push((Step::Moment(index), time));
        }
        match event {
            Event::Irql { .. } => self.steps.push((Step::Irql(index), time)),
            Event::DpcQueued { sequence, .. } => self.queue(Waiting::Dpc(sequence), index),
            Event::WorkItemQueued { item } => self.queue(Waiting::WorkItem(item), index),
            Event::ConnectLeft { version, status } => {
                self.end(&record, Kind::Connect, |slice| {
                    slice.details.push(("returned", names::version(version).into()));
                    slice.details.push(("status", names::status(status)));
                });
            }
            Event::DisconnectLeft => self.end(&record, Kind::Disconnect, |_| ()),
            Event::IsrLeft { claimed, .. } => self.end(&record, Kind::Isr, |slice| {
                slice.claimed = claimed;
                slice.details.push(("claimed", format!("{claimed}")));
            }),
            Event::SynchronizeLeft { .. } => self.end(&record, Kind::Synchronize, |_| ()),
            Event::InterruptLockReleased { .. } => self.end(&record, Kind::InterruptLock, |_| ()),
            Event::DpcLeft { .. } => self.end(&record, Kind::Dpc, |_| ()),
            Event::FlushLeft => self.end(&record, Kind::Flush, |_| ()),
            Event::WorkItemLeft { .. } => self.end(&record, Kind::WorkItem, |_| ()),
            Event::RequestLeft { status } => self.end(&record, Kind::Request, |slice| {
                slice.details.push(("status", names::status(status)));
            }),
            _ => {
                if let Some((kind, name, details)) = entered(&event) {
                    self.begin(&record, kind, name, details);
                }
            }
        }
    }

    fn begin(&mut self, record: &Record, kind: Kind, name: String, details: Details) {
        let Record { time, processor, context, irql, event } = *record;
        let slice = self.slices.len();
        self.slices.push(Slice {
            kind,
            name,
            details,
            processor,
            context,
            irql,
            start: time,
            end: time,
            claimed: false,
            finished: false,
        });
        self.steps.push((Step::Begin(slice), time));
        self.open.entry(context).or_default().push(slice);
        let waiting = match event {
            Event::DpcEntered { sequence, .. } => Waiting::Dpc(sequence),
            Event::WorkItemEntered { item } => Waiting::WorkItem(item),
            _ => return,
        };
        let Some(queued) = self.waiting.get_mut(&waiting).and_then(VecDeque::pop_front) else {
            return;
        };
        let (Step::Moment(index), _) = self.steps[queued] else {
            return;
        };
        let flow = self.flows.len();
        self.flows.push(Flow { queued: self.trace.records[index], slice });
        // What was queued and never ran has no arrow, so it is known only now that this is one.
        self.steps[queued].0 = Step::Queue(flow);
        self.steps.push((Step::Run(flow), time));
    }

    /// Ends the innermost slice of this kind, and those inside it, which a broken rule has ended.
    fn end(&mut self, record: &Record, kind: Kind, tell: impl FnOnce(&mut Slice)) {
        let open = self.open.entry(record.context).or_default();
        let Some(at) = open.iter().rposition(|slice| self.slices[*slice].kind == kind) else {
            return;
        };
        let ended = open.split_off(at);
        for slice in ended.iter().rev() {
            self.slices[*slice].end = record.time;
            self.slices[*slice].finished = *slice == ended[0];
            self.steps.push((Step::End(*slice), record.time));
        }
        tell(&mut self.slices[ended[0]]);
    }

    /// Something was queued, which has its mark already.
    fn queue(&mut self, what: Waiting, index: usize) {
        let step = self.steps.len() - 1;
        debug_assert_eq!(self.steps[step].0, Step::Moment(index), "queueing has a mark");
        self.waiting.entry(what).or_default().push_back(step);
    }
}

/// What was entered, if the event says that something was.
fn entered(event: &Event) -> Option<(Kind, String, Details)> {
    let vector_and_irql = |vector: u32, irql: u8| {
        vec![("vector", format!("{vector:#x}")), ("IRQL", format!("{irql}"))]
    };
    Some(match *event {
        Event::ConnectEntered { version } => (
            Kind::Connect,
            "IoConnectInterruptEx".into(),
            vec![("asked for", names::version(version).into())],
        ),
        Event::DisconnectEntered { version } => (
            Kind::Disconnect,
            "IoDisconnectInterruptEx".into(),
            vec![("version", names::version(version).into())],
        ),
        Event::IsrEntered { vector, message, irql } => {
            let mut details = vector_and_irql(vector, irql);
            details.push(("source", names::source(message)));
            (Kind::Isr, format!("ISR, {}", names::source(message)), details)
        }
        Event::SynchronizeEntered { vector, irql } => {
            (Kind::Synchronize, "KeSynchronizeExecution".into(), vector_and_irql(vector, irql))
        }
        Event::InterruptLockAcquired { vector, irql } => {
            (Kind::InterruptLock, "interrupt spin lock".into(), vector_and_irql(vector, irql))
        }
        Event::DpcEntered { dpc, threaded, .. } => {
            let name = if threaded { "threaded DPC" } else { "DPC" };
            (Kind::Dpc, name.into(), vec![("KDPC", format!("{dpc:#x}"))])
        }
        Event::FlushEntered => (Kind::Flush, "KeFlushQueuedDpcs".into(), Vec::new()),
        Event::WorkItemEntered { item } => {
            (Kind::WorkItem, "work item".into(), vec![("item", format!("{item:#x}"))])
        }
        Event::RequestEntered { major, minor } => {
            (Kind::Request, names::request(major, minor), Vec::new())
        }
        _ => return None,
    })
}
