//! A picture of a trace that needs no viewer: an SVG file, legible on light and on dark background.
//!
//! A run is mostly waiting, so the picture shows the moments worth looking at, each in a panel at a
//! scale of its own: a connect, an interrupt with its DPC, the moment at which most happened at
//! once, a disconnect. A run that is short is shown in one panel. Where nothing happens for long,
//! time is left out, and it says how much.
//!
//! In a panel each processor has a lane. Its line is the IRQL, and what the processor does stands on
//! it: service routines at the top, DPCs below, and what is done at `PASSIVE_LEVEL` at the bottom.

mod axis;
mod lane;
mod panel;
mod scene;

use std::{format, string::String, vec::Vec};

use svg::{
    Document,
    node::element::{Group, Path, Rectangle, Style, Text, Title, path::Data},
};

use super::{
    Trace,
    timeline::{Kind, Timeline},
};

/// The picture's width.
const WIDTH: f64 = 900.0;
const MARGIN: f64 = 16.0;

/// The colours of slices have enough contrast to white text, on any background.
const STYLE: &str = "
text { font: 10px system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif; fill: #1f2328 }
.title { font-size: 15px; font-weight: 600 }
.scene { font-size: 12px; font-weight: 600 }
.muted { fill: #59636e }
.inside { fill: #ffffff }
.left { text-anchor: end }
.middle { text-anchor: middle }
.paper { fill: #ffffff; stroke: #d1d9e0 }
.lane { fill: #f3f5f8 }
.gap { fill: #ffffff }
.tick, .tear { stroke: #c4ccd5; stroke-width: 1; fill: none }
.irql { fill: none; stroke: #8b949e; stroke-width: 1.2; stroke-linejoin: round }
.arrow { fill: none; stroke: #1f2328; stroke-width: 1.2; stroke-opacity: .75 }
.head { fill: #1f2328; fill-opacity: .75 }
.isr { fill: #c93c37 } .synchronize, .lock { fill: #8250df } .dpc { fill: #0969da }
.connect { fill: #1a7f37 } .disconnect { fill: #9a6700 } .flush { fill: #57606a }
.work { fill: #0f766e } .request { fill: #d0d7de }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 }
  .muted { fill: #9198a1 }
  .paper { fill: #0d1117; stroke: #30363d }
  .lane { fill: #161b22 }
  .gap { fill: #0d1117 }
  .tick, .tear { stroke: #3d444d }
  .irql { stroke: #768390 }
  .arrow { stroke: #e6edf3 }
  .head { fill: #e6edf3 }
  .request { fill: #373e47 }
}
";

/// Traces as one picture, one below the other.
///
/// ```
/// use wdm_interrupt_model::{host::Machine, trace::svg};
///
/// let machine = Machine::new(1).enter();
/// machine.executive().ke_flush_queued_dpcs();
/// let picture = svg::document(&[machine.trace()]);
/// assert!(picture.starts_with("<svg") && picture.contains("KeFlushQueuedDpcs"));
/// machine.leave();
/// ```
#[must_use]
pub fn document(traces: &[Trace]) -> String {
    let mut content = Group::new();
    let mut y = MARGIN;
    for trace in traces {
        let timeline = Timeline::of(trace);
        y = heading(&mut content, &timeline, y);
        for (scene, number) in scene::choose(&timeline).iter().zip(1..) {
            y = panel::draw(&mut content, &timeline, scene, number, y) + 14.0;
        }
    }
    let height = y;
    let paper = Rectangle::new()
        .set("class", "paper")
        .set("x", 0.5)
        .set("y", 0.5)
        .set("width", WIDTH - 1.0)
        .set("height", height - 1.0)
        .set("rx", 8);
    let names: Vec<&str> = traces.iter().map(|trace| trace.name.as_str()).collect();
    let document = Document::new()
        .set("viewBox", (0, 0, WIDTH, height))
        .set("width", WIDTH)
        .set("height", height)
        .set("role", "img")
        .add(Title::new(format!("What the processors did: {}", names.join("; "))))
        .add(Style::new(STYLE))
        .add(paper)
        .add(content);
    format!("{document}\n")
}

/// What was run, and what the colours mean; gives where it ends.
fn heading(content: &mut Group, timeline: &Timeline<'_>, y: f64) -> f64 {
    const LEGEND: [(Kind, &str); 8] = [
        (Kind::Isr, "ISR"),
        (Kind::Synchronize, "synchronise"),
        (Kind::Dpc, "DPC"),
        (Kind::WorkItem, "work item"),
        (Kind::Connect, "connect"),
        (Kind::Disconnect, "disconnect"),
        (Kind::Flush, "flush of DPCs"),
        (Kind::Request, "dispatch routine"),
    ];
    let trace = timeline.trace;
    put(content, Text::new(&trace.name).set("class", "title"), MARGIN, y + 14.0);
    let lost = match trace.lost {
        0 => String::new(),
        lost => format!(", and {lost} more that there was no room for"),
    };
    let about = format!(
        "{} processors, {} events{lost}. Each panel has its own scale.",
        trace.processors,
        trace.records.len()
    );
    put(content, Text::new(about).set("class", "muted left"), WIDTH - MARGIN, y + 14.0);
    let mut x = MARGIN;
    for (kind, name) in LEGEND {
        if timeline.slices.iter().all(|slice| slice.kind != kind) {
            continue;
        }
        let colour = Rectangle::new().set("class", class(kind)).set("rx", 2);
        let colour =
            colour.set("x", round(x)).set("y", y + 26.0).set("width", 10).set("height", 10);
        content.push(colour);
        put(content, Text::new(name), x + 14.0, y + 35.0);
        x += 28.0 + text_width(name);
    }
    let (left, line) = (round(x), round(y + 31.0));
    let level = Data::new().move_to((left, line)).line_to((left + 14.0, line));
    content.push(Path::new().set("class", "irql").set("d", level));
    put(content, Text::new("IRQL"), x + 18.0, y + 35.0);
    if !timeline.flows.is_empty() {
        content.push(panel::arrow((x + 58.0, y + 31.0), (x + 74.0, y + 31.0)));
        put(content, Text::new("queued, then run"), x + 78.0, y + 35.0);
    }
    y + 50.0
}

/// How slices of a kind are styled.
const fn class(kind: Kind) -> &'static str {
    match kind {
        Kind::Connect => "connect",
        Kind::Disconnect => "disconnect",
        Kind::Isr => "isr",
        Kind::Synchronize => "synchronize",
        Kind::InterruptLock => "lock",
        Kind::Dpc => "dpc",
        Kind::Flush => "flush",
        Kind::WorkItem => "work",
        Kind::Request => "request",
    }
}

/// Puts a text where it belongs.
fn put(content: &mut Group, text: Text, x: f64, y: f64) {
    content.push(text.set("x", round(x)).set("y", round(y)));
}

/// About how wide a text is: there is no font to ask.
#[expect(clippy::cast_precision_loss, reason = "a label has fewer than 2^52 letters")]
fn text_width(text: &str) -> f64 {
    text.chars().count() as f64 * 5.8
}

/// A tenth of a pixel is all that can be seen.
fn round(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

/// Nanoseconds as a coordinate.
#[expect(clippy::cast_precision_loss, reason = "a run of a day has fewer nanoseconds than 2^53")]
const fn real(time: u64) -> f64 {
    time as f64
}

/// A time for a person: three digits and a unit.
fn duration(nanoseconds: u64) -> String {
    let (value, unit) = match nanoseconds {
        0..1_000_000 => (real(nanoseconds) / 1e3, "µs"),
        1_000_000..1_000_000_000 => (real(nanoseconds) / 1e6, "ms"),
        _ => (real(nanoseconds) / 1e9, "s"),
    };
    let digits = match value {
        0.0..10.0 => 2,
        10.0..100.0 => 1,
        _ => 0,
    };
    format!("{value:.digits$} {unit}")
}

/// Adds to a group in place.
trait Push {
    fn push(&mut self, node: impl Into<std::boxed::Box<dyn svg::Node>>);
}

impl Push for Group {
    fn push(&mut self, node: impl Into<std::boxed::Box<dyn svg::Node>>) {
        svg::Node::append(self, node);
    }
}
