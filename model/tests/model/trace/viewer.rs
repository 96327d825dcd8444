//! A viewer of the Trace Event Format that takes nothing that is not right.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// A moment in a thread of a process.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Place {
    pub(super) process: u64,
    pub(super) thread: u64,
    /// In microseconds.
    pub(super) time: f64,
}

/// Something that took time.
#[derive(Debug)]
pub(super) struct Slice {
    pub(super) name: String,
    pub(super) start: Place,
    pub(super) end: f64,
    /// Whether it says that it was left.
    pub(super) left: bool,
}

/// From something to something.
#[derive(Debug)]
pub(super) struct Arrow {
    pub(super) name: String,
    pub(super) from: Place,
    pub(super) to: Place,
}

/// What is in a document.
#[derive(Debug, Default)]
pub(super) struct Viewed {
    /// The name of the last process.
    pub(super) process: String,
    /// The names of its threads.
    pub(super) threads: BTreeMap<u64, String>,
    pub(super) slices: Vec<Slice>,
    pub(super) arrows: Vec<Arrow>,
    pub(super) moments: Vec<String>,
    /// A counter's name, its place and its value.
    counters: Vec<(String, Place, u64)>,
}

impl Viewed {
    /// Reads a document.
    pub(super) fn of(document: &str) -> Self {
        let document: Value = serde_json::from_str(document).expect("it is JSON");
        let events = document["traceEvents"].as_array().expect("there are events");
        let mut viewed = Self::default();
        let mut open = BTreeMap::<(u64, u64), Vec<(String, Place)>>::new();
        let mut arrows = BTreeMap::<String, (String, Place)>::new();
        let mut used = BTreeSet::new();
        let mut before = (0, 0.0);
        for event in events {
            let number =
                |key: &str| event[key].as_u64().unwrap_or_else(|| panic!("{key}: {event}"));
            let text = |key: &str| event[key].as_str().unwrap_or_else(|| panic!("{key}: {event}"));
            let time = event["ts"].as_f64().unwrap_or_else(|| panic!("ts: {event}"));
            let place = Place { process: number("pid"), thread: number("tid"), time };
            let phase = text("ph");
            if phase != "M" {
                assert!(before.0 < place.process || before.1 <= time, "time goes back: {event}");
                before = (place.process, time);
            }
            let name = text("name").to_owned();
            let stack = open.entry((place.process, place.thread)).or_default();
            match phase {
                "B" => stack.push((name, place)),
                "E" => {
                    let (began, start) = stack.pop().expect("what ends has begun");
                    assert_eq!(began, name, "slices are one inside the other");
                    let left = event["args"]["end"] == "left";
                    viewed.slices.push(Slice { name, start, end: time, left });
                }
                "s" => {
                    let id = text("id").to_owned();
                    assert!(used.insert(id.clone()), "two arrows are called {id}");
                    arrows.insert(id, (name, place));
                }
                "f" => {
                    assert_eq!(text("bp"), "e");
                    let (began, from) = arrows.remove(text("id")).expect("an arrow has begun");
                    assert_eq!(began, name);
                    viewed.arrows.push(Arrow { name, from, to: place });
                }
                "i" => viewed.moments.push(name),
                "C" => {
                    let value = event["args"]["IRQL"].as_u64().expect("a counter has a value");
                    viewed.counters.push((name, place, value));
                }
                "M" if name == "process_name" => {
                    event["args"]["name"]
                        .as_str()
                        .unwrap_or_default()
                        .clone_into(&mut viewed.process);
                }
                "M" if name == "thread_name" => {
                    let named = event["args"]["name"].as_str().unwrap_or_default().to_owned();
                    viewed.threads.insert(place.thread, named);
                }
                "M" => assert!(name.ends_with("_sort_index"), "{event}"),
                other => panic!("there is no phase {other}: {event}"),
            }
        }
        assert!(open.values().all(Vec::is_empty), "something has no end: {open:?}");
        assert!(arrows.is_empty(), "arrows have no end: {arrows:?}");
        viewed
    }

    /// The innermost slice around a place.
    pub(super) fn innermost(&self, place: Place) -> Option<&Slice> {
        let around = |slice: &&Slice| {
            (slice.start.process, slice.start.thread) == (place.process, place.thread)
                && slice.start.time <= place.time
                && place.time <= slice.end
        };
        let started = |slice: &&Slice| slice.start.time;
        self.slices
            .iter()
            .filter(around)
            .max_by(|one, other| started(one).total_cmp(&started(other)))
    }

    /// What the counter of a processor says at a place.
    pub(super) fn irql_at(&self, place: Place) -> u64 {
        let counter = format!("IRQL, processor {}", place.thread);
        let counters = self.counters.iter().filter(|(name, _, _)| *name == counter);
        let before =
            counters.filter(|(_, at, _)| at.process == place.process && at.time <= place.time);
        before
            .max_by(|one, other| one.1.time.total_cmp(&other.1.time))
            .map_or(0, |(_, _, value)| *value)
    }
}
