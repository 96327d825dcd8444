//! What of a run is worth looking at.

use std::{cmp::Reverse, collections::BTreeSet, format, string::String, vec, vec::Vec};

use crate::trace::timeline::{Flow, Kind, Slice, Timeline};

/// A stretch of time, and why it is shown.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Scene {
    pub(super) title: String,
    pub(super) start: u64,
    pub(super) end: u64,
}

/// A run in which no more happened than this is shown as a whole.
const FEW: usize = 250;
/// Of the busiest moment so many slices are shown.
const BUSY: usize = 24;
/// What takes longer than so many usual interrupts is no moment.
const MOMENT: u64 = 40;

/// Chooses what is shown, in the order in which a device lives.
pub(super) fn choose(timeline: &Timeline<'_>) -> Vec<Scene> {
    let records = &timeline.trace.records;
    let mut times: Vec<u64> = records.iter().map(|record| record.time).collect();
    times.sort_unstable();
    let (Some(&first), Some(&last)) = (times.first(), times.last()) else {
        return Vec::new();
    };
    if records.len() <= FEW {
        return vec![Scene { title: "All that happened".into(), start: first, end: last }];
    }
    let mut scenes = Vec::new();
    scenes.extend(connect(&timeline.slices));
    scenes.extend(interrupt(timeline));
    scenes.extend(busiest(timeline));
    scenes.extend(disconnect(&timeline.slices));
    for scene in &mut scenes {
        scene.end = scene.end.min(last);
    }
    if scenes.is_empty() {
        // No device, or one that never interrupted.
        scenes.push(Scene { title: "The beginning".into(), start: first, end: times[FEW] });
    }
    scenes
}

/// The shortest of a kind: the one that the host has disturbed least.
fn shortest(slices: &[Slice], kind: Kind) -> Option<&Slice> {
    slices.iter().filter(|slice| slice.kind == kind && slice.finished).min_by_key(|it| length(it))
}

const fn length(slice: &Slice) -> u64 {
    slice.end - slice.start
}

/// What the caller does just before and after `slice`, in the same go: the flushes and
/// synchronised routines that begin or end within `reach` of it.
fn with_neighbours(slices: &[Slice], slice: &Slice, reach: u64) -> (u64, u64) {
    let (mut start, mut end) = (slice.start, slice.end);
    let near = |other: &&Slice| {
        other.context == slice.context && matches!(other.kind, Kind::Flush | Kind::Synchronize)
    };
    for other in slices.iter().rev().filter(near) {
        if other.end <= start && start - other.end < reach {
            start = other.start;
        }
    }
    for other in slices.iter().filter(near) {
        if other.start >= end && other.start - end < reach {
            end = other.end;
        }
    }
    (start, end)
}

fn connect(slices: &[Slice]) -> Option<Scene> {
    let slice = shortest(slices, Kind::Connect)?;
    let (start, end) = with_neighbours(slices, slice, length(slice) / 2);
    Some(framed("Connecting", start, end))
}

fn disconnect(slices: &[Slice]) -> Option<Scene> {
    let slice = shortest(slices, Kind::Disconnect)?;
    let (start, end) = with_neighbours(slices, slice, length(slice).max(10_000));
    Some(framed("Disconnecting", start, end))
}

/// Of the interrupts that were claimed and queued a DPC, the middle one by how long that took. It is
/// one during which nothing else interrupted, if there is one.
fn interrupt(timeline: &Timeline<'_>) -> Option<Scene> {
    let served: Vec<Served> =
        timeline.flows.iter().filter_map(|flow| Served::by(timeline, flow)).collect();
    let mut alone: Vec<&Served> =
        served.iter().filter(|it| it.is_alone(&timeline.slices)).collect();
    if alone.is_empty() {
        alone.extend(&served);
    }
    alone.sort_by_key(|it| it.end - it.start);
    let Served { start, end, .. } = **alone.get(alone.len() / 2)?;
    let title = "An interrupt: a service routine, and the DPC that it queued";
    Some(framed(title, start, end))
}

/// A service routine, and the DPC that it queued.
struct Served {
    processor: u32,
    start: u64,
    end: u64,
}

impl Served {
    fn by(timeline: &Timeline<'_>, flow: &Flow) -> Option<Self> {
        let dpc = &timeline.slices[flow.slice];
        let queued = flow.queued.time;
        let around = |slice: &&Slice| {
            slice.kind == Kind::Isr
                && slice.claimed
                && slice.context == flow.queued.context
                && (slice.start..=slice.end).contains(&queued)
        };
        let isr = timeline.slices.iter().find(around)?;
        let (processor, start, end) = (isr.processor, isr.start, dpc.end);
        (dpc.kind == Kind::Dpc && dpc.finished).then_some(Self { processor, start, end })
    }

    /// Whether there was no other service routine or DPC at the time.
    fn is_alone(&self, slices: &[Slice]) -> bool {
        let there = |slice: &&Slice| {
            matches!(slice.kind, Kind::Isr | Kind::Dpc)
                && slice.processor == self.processor
                && slice.start < self.end
                && slice.end > self.start
        };
        slices.iter().filter(there).count() == 2
    }
}

/// Of all stretches of so many slices, the one in which service routines ran on the most processors;
/// of these, the one in which anything at all ran on the most; of these, the shortest.
fn busiest(timeline: &Timeline<'_>) -> Option<Scene> {
    let usual = interrupt(timeline)?;
    let longest = (usual.end - usual.start) * MOMENT;
    let slices = &timeline.slices;
    let stretches = slices.windows(BUSY.min(slices.len())).map(|stretch| {
        let on = |wanted: fn(&Slice) -> bool| {
            let processors = stretch.iter().filter(|slice| wanted(slice));
            processors.map(|slice| slice.processor).collect::<BTreeSet<_>>().len()
        };
        let start = stretch[0].start;
        // What is under way at the end is shown as far as it got.
        let end = stretch.iter().map(|slice| slice.start).max().unwrap_or(start);
        (on(|slice| slice.kind == Kind::Isr), on(|_| true), Reverse(end - start), start, end)
    });
    let moments = stretches.filter(|(_, _, _, start, end)| end - start <= longest);
    let (serving, active, _, start, end) = moments.max()?;
    let title = match (serving, active) {
        (_, 0 | 1) => return None,
        (0 | 1, _) => format!("The busiest moment: {active} processors at work"),
        _ => format!("The busiest moment: service routines on {serving} processors"),
    };
    Some(framed(&title, start, end))
}

/// With some room around it.
fn framed(title: &str, start: u64, end: u64) -> Scene {
    let room = (end - start) / 16;
    Scene { title: title.into(), start: start.saturating_sub(room), end: end + room }
}
