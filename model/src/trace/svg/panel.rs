//! A scene, drawn.

use std::{collections::BTreeSet, format, string::String, vec::Vec};

use svg::node::element::{Group, Path, Rectangle, Text, Title, path::Data};

use super::{
    MARGIN, Push as _, WIDTH,
    axis::{Axis, Piece},
    class, duration,
    lane::{Band, Lane, ROW},
    put, round,
    scene::Scene,
    text_width,
};
use crate::trace::timeline::{Kind, Slice, Timeline};

/// Where the lanes begin.
const LEFT: f64 = 104.0;
/// Between two lanes.
const BETWEEN: f64 = 6.0;
/// No slice is drawn narrower than this.
const NARROWEST: f64 = 3.0;
/// How high slices are.
const BAR: f64 = 12.0;

/// A lane and where it is.
struct Placed {
    lane: Lane,
    top: f64,
}

impl Placed {
    fn ground(&self, band: Band) -> f64 {
        self.top + self.lane.ground(band)
    }

    /// The top of a slice.
    #[expect(clippy::cast_precision_loss, reason = "there are a handful of rows")]
    fn top_of(&self, slice: &Slice, row: usize) -> f64 {
        (row as f64).mul_add(-ROW, self.ground(Band::of(slice.irql)) - BAR)
    }
}

/// Draws a scene from `y` on, and gives where it ends.
pub(super) fn draw(
    content: &mut Group,
    timeline: &Timeline<'_>,
    scene: &Scene,
    number: u32,
    y: f64,
) -> f64 {
    let title = Text::new(format!("{number}  {}", scene.title)).set("class", "scene");
    put(content, title, MARGIN, y + 12.0);
    let when = format!("{} after the beginning", duration(scene.start));
    put(content, Text::new(when).set("class", "muted left"), WIDTH - MARGIN, y + 12.0);

    let (lanes, idle) = lanes(timeline, scene);
    let moments = lanes.iter().flat_map(|lane| lane.moments(timeline)).collect();
    let busy = |time| lanes.iter().any(|lane| lane.is_busy(timeline, time));
    let across = (LEFT, WIDTH - MARGIN - LEFT);
    let axis = Axis::new((scene.start, scene.end), moments, busy, across);
    let mut bottom = y + 20.0;
    let mut placed = Vec::new();
    for lane in lanes {
        let top = bottom;
        bottom += lane.height() + BETWEEN;
        placed.push(Placed { lane, top });
    }
    for lane in &placed {
        background(content, lane);
    }
    tears(content, &axis, y + 20.0, bottom - BETWEEN);
    ticks(content, &axis, y + 20.0, bottom - BETWEEN);
    for lane in &placed {
        level(content, lane, &axis, scene);
        for (index, (slice, row)) in lane.lane.slices.iter().enumerate() {
            let room = room(timeline, lane, index, &axis);
            bar(content, &timeline.slices[*slice], lane, *row, &axis, room);
        }
    }
    arrows(content, timeline, &placed, scene, &axis);
    bottom += 10.0;
    if !idle.is_empty() {
        let text = Text::new(idle_ones(&idle)).set("class", "muted");
        put(content, text, MARGIN, bottom + 8.0);
        bottom += 12.0;
    }
    bottom
}

/// The lanes of the processors that do something, and the numbers of the others.
fn lanes(timeline: &Timeline<'_>, scene: &Scene) -> (Vec<Lane>, Vec<u32>) {
    let trace = timeline.trace;
    let mut processors: BTreeSet<u32> = (0..trace.processors).collect();
    processors.extend(trace.records.iter().map(|record| record.processor));
    let lanes = processors.into_iter().map(|number| Lane::new(timeline, scene, number));
    let (idle, busy): (Vec<Lane>, Vec<Lane>) = lanes.partition(Lane::is_idle);
    let known = |lane: &Lane| (lane.processor < trace.processors).then_some(lane.processor);
    (busy, idle.iter().filter_map(known).collect())
}

fn idle_ones(processors: &[u32]) -> String {
    let numbers: Vec<String> = processors.iter().map(|number| format!("{number}")).collect();
    let plural = if processors.len() == 1 { "processor" } else { "processors" };
    format!("{plural} {}: idle", numbers.join(", "))
}

/// The lane's ground and its names.
fn background(content: &mut Group, placed: &Placed) {
    let ground = Rectangle::new()
        .set("class", "lane")
        .set("x", LEFT)
        .set("y", round(placed.top))
        .set("width", WIDTH - MARGIN - LEFT)
        .set("height", placed.lane.height());
    content.push(ground);
    let name = format!("processor {}", placed.lane.processor);
    put(content, Text::new(name), MARGIN, placed.top + placed.lane.height() - 3.0);
    let bands: Vec<(Band, u8)> = placed.lane.bands().collect();
    let count = bands.len();
    for (index, (band, irql)) in bands.into_iter().enumerate() {
        // The lowest stands beside the processor's name.
        let is_top = index > 0 && index + 1 == count;
        let name = if is_top { format!("IRQL {irql}") } else { format!("{irql}") };
        let name = Text::new(name).set("class", "muted left");
        put(content, name, LEFT - 5.0, placed.ground(band) - 3.0);
    }
}

/// The pieces that are left out, and how long they are.
fn tears(content: &mut Group, axis: &Axis, top: f64, bottom: f64) {
    let mut labelled = 0.0;
    for piece in axis.pieces.iter().filter(|piece| piece.torn) {
        let Piece { left, width, .. } = *piece;
        let gap = Rectangle::new()
            .set("class", "gap")
            .set("x", round(left + 3.0))
            .set("y", round(top))
            .set("width", round(width - 6.0))
            .set("height", round(bottom - top));
        let length = duration(piece.end - piece.start);
        let mut group = Group::new();
        group.push(Title::new(format!("{length} are left out here")));
        group.push(gap);
        content.push(group);
        for x in [left + 3.0, left + width - 3.0] {
            let mut data = Data::new().move_to((round(x), round(top)));
            let mut side = 2.5;
            for y in
                (1..).map(|step| 6.0_f64.mul_add(f64::from(step), top)).take_while(|y| *y < bottom)
            {
                data = data.line_to((round(x + side), round(y)));
                side = -side;
            }
            data = data.line_to((round(x), round(bottom)));
            content.push(Path::new().set("class", "tear").set("d", data));
        }
        // Of two that are close together the second is told when it is pointed at.
        let middle = left + width / 2.0;
        if middle - labelled > 60.0 {
            let label = Text::new(format!("+{length}")).set("class", "muted middle");
            put(content, label, middle, bottom + 12.0);
            labelled = middle;
        }
    }
}

fn ticks(content: &mut Group, axis: &Axis, top: f64, bottom: f64) {
    let taken: Vec<f64> = axis
        .pieces
        .iter()
        .filter(|piece| piece.torn)
        .map(|piece| piece.left + piece.width / 2.0)
        .collect();
    for (x, label) in axis.ticks() {
        let line =
            Data::new().move_to((round(x), round(top))).line_to((round(x), round(bottom + 2.0)));
        content.push(Path::new().set("class", "tick").set("d", line));
        let fits = x < WIDTH - MARGIN - 12.0;
        if fits && taken.iter().all(|other| (other - x).abs() > 46.0) {
            let label = Text::new(label).set("class", "muted middle");
            put(content, label, x, bottom + 12.0);
        }
    }
}

/// The IRQL, as a line that what is done stands on.
fn level(content: &mut Group, placed: &Placed, axis: &Axis, scene: &Scene) {
    let mut data = Data::new();
    let mut before = None;
    for (time, irql) in &placed.lane.irql {
        let (x, y) = (round(axis.x(*time)), round(placed.ground(Band::of(*irql))));
        data = match before {
            None => data.move_to((x, y)),
            Some(before) => data.line_to((x, before)).line_to((x, y)),
        };
        before = Some(y);
    }
    data = data.line_to((round(axis.x(scene.end)), before.unwrap_or_default()));
    content.push(Path::new().set("class", "irql").set("d", data));
}

/// The room at the right of a slice, to the next in its row.
fn room(timeline: &Timeline<'_>, placed: &Placed, index: usize, axis: &Axis) -> f64 {
    let (number, row) = placed.lane.slices[index];
    let slice = &timeline.slices[number];
    let band = Band::of(slice.irql);
    let mut after = placed.lane.slices[index + 1..].iter();
    let next = after.find(|(other, other_row)| {
        *other_row == row && Band::of(timeline.slices[*other].irql) == band
    });
    let end = next.map_or(WIDTH - MARGIN, |(other, _)| axis.x(timeline.slices[*other].start));
    end - axis.x(slice.end).max(axis.x(slice.start) + NARROWEST)
}

/// A slice.
fn bar(content: &mut Group, slice: &Slice, placed: &Placed, row: usize, axis: &Axis, room: f64) {
    let left = axis.x(slice.start);
    let width = (axis.x(slice.end) - left).max(NARROWEST);
    let top = placed.top_of(slice, row);
    let mut group = Group::new();
    group.push(Title::new(told(slice)));
    let shape = Rectangle::new()
        .set("class", class(slice.kind))
        .set("x", round(left))
        .set("y", round(top))
        .set("width", round(width))
        .set("height", BAR)
        .set("rx", 1.5);
    group.push(shape);
    let names = [slice.name.as_str(), short(slice)];
    if let Some(name) = names.into_iter().find(|name| text_width(name) < width - 4.0) {
        let inside = if slice.kind == Kind::Request { "" } else { "inside" };
        put(&mut group, Text::new(name).set("class", inside), left + 3.0, top + 9.5);
    } else if text_width(short(slice)) < room - 8.0 {
        let beside = Text::new(short(slice)).set("class", "muted");
        put(&mut group, beside, left + width + 3.0, top + 9.5);
    }
    content.push(group);
}

/// What a slice is called where there is little room.
fn short(slice: &Slice) -> &str {
    match slice.kind {
        Kind::Connect => "connect",
        Kind::Disconnect => "disconnect",
        Kind::Isr => "ISR",
        Kind::Synchronize => "synchronise",
        Kind::InterruptLock => "lock",
        Kind::Dpc => "DPC",
        Kind::Flush => "flush",
        Kind::WorkItem => "work",
        Kind::Request => slice.name.get("IRP_MN_".len()..).unwrap_or(&slice.name),
    }
}

/// All that is known of a slice.
fn told(slice: &Slice) -> String {
    let mut told = format!("{}, {}", slice.name, duration(slice.end - slice.start));
    for (name, value) in &slice.details {
        told.push('\n');
        told.push_str(name);
        told.push_str(": ");
        told.push_str(value);
    }
    if !slice.finished {
        told.push_str("\nnot left: the recording ended, or a broken rule did it");
    }
    told
}

/// From where something was queued to where it ran.
fn arrows(
    content: &mut Group,
    timeline: &Timeline<'_>,
    placed: &[Placed],
    scene: &Scene,
    axis: &Axis,
) {
    for flow in &timeline.flows {
        let slice = &timeline.slices[flow.slice];
        if flow.queued.time < scene.start || slice.start >= scene.end {
            continue;
        }
        let lane_of = |number: u32| placed.iter().find(|placed| placed.lane.processor == number);
        let (Some(from), Some(to)) = (lane_of(flow.queued.processor), lane_of(slice.processor))
        else {
            continue;
        };
        let Some((_, row)) = to.lane.slices.iter().find(|(number, _)| *number == flow.slice) else {
            continue;
        };
        // From below what queued it, to the left end of what ran.
        let (x, y) = (axis.x(flow.queued.time), from.ground(Band::of(flow.queued.irql)));
        let (to_x, to_y) = (axis.x(slice.start) - 1.0, to.top_of(slice, *row) + BAR / 2.0);
        content.push(arrow((x.min(to_x - 6.0), y), (to_x, to_y)));
    }
}

/// An arrow that leaves upwards or downwards and arrives from the left.
pub(super) fn arrow((x, y): (f64, f64), (to_x, to_y): (f64, f64)) -> Group {
    let corner = (round(x), round(to_y));
    let bend = (round(x + (to_x - x).min(14.0) - 4.0), round(to_y));
    let line = Data::new()
        .move_to((round(x), round(y)))
        .cubic_curve_to((corner.0, corner.1, corner.0, corner.1, bend.0, bend.1))
        .line_to((round(to_x - 4.0), round(to_y)));
    let head = Data::new()
        .move_to((round(to_x), round(to_y)))
        .line_to((round(to_x - 5.0), round(to_y - 3.0)))
        .line_to((round(to_x - 5.0), round(to_y + 3.0)))
        .close();
    let mut arrow = Group::new();
    arrow.push(Path::new().set("class", "arrow").set("d", line));
    arrow.push(Path::new().set("class", "head").set("d", head));
    arrow
}
