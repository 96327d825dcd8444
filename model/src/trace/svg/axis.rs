//! Time, from left to right, with pieces left out.

use std::{format, string::String, vec::Vec};

use super::real;

/// How wide a piece is that was left out.
const TEAR: f64 = 30.0;
/// At most so many pieces are left out.
const TEARS: usize = 5;

/// A stretch of time and where it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Piece {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) left: f64,
    pub(super) width: f64,
    /// Whether it was left out: then it is narrower than it is long.
    pub(super) torn: bool,
}

/// Where each moment is.
#[derive(Debug)]
pub(super) struct Axis {
    pub(super) pieces: Vec<Piece>,
}

impl Axis {
    /// From `left` on, `width` wide. `moments` are the times at which something changes, and `busy` says
    /// whether something is going on at a time: where nothing changes for long a piece is left out, and
    /// sooner where nothing is going on.
    pub(super) fn new(
        (start, end): (u64, u64),
        mut moments: Vec<u64>,
        busy: impl Fn(u64) -> bool,
        (left, width): (f64, f64),
    ) -> Self {
        moments.retain(|moment| (start..end).contains(moment));
        moments.sort_unstable();
        moments.dedup();
        // What is before the first and after the last is the picture's margin.
        let pairs = moments.windows(2).map(|pair| (pair[0], pair[1]));
        let still: Vec<Still> =
            pairs.map(|(start, end)| Still { start, end, busy: busy(start) }).collect();
        let mut torn = to_tear(still, end - start);
        torn.sort_unstable();
        let kept = (end - start) - torn.iter().map(|(from, to)| to - from).sum::<u64>();
        let tears: f64 = torn.iter().map(|_| TEAR).sum();
        let scale = (width - tears) / real(kept.max(1));
        let mut axis = Self { pieces: Vec::new() };
        let (mut time, mut x) = (start, left);
        let mut add = |from: u64, to: u64, torn: bool| {
            let width = if torn { TEAR } else { real(to - from) * scale };
            axis.pieces.push(Piece { start: from, end: to, left: x, width, torn });
            x += width;
        };
        for (from, to) in torn {
            add(time, from, false);
            add(from, to, true);
            time = to;
        }
        add(time, end, false);
        axis
    }

    /// Where a moment is: at an end, if it is beyond.
    pub(super) fn x(&self, time: u64) -> f64 {
        let piece = self.pieces.iter().find(|piece| time < piece.end);
        let Some(piece) = piece.or_else(|| self.pieces.last()) else {
            return 0.0;
        };
        let length = real((piece.end - piece.start).max(1));
        let into = real(time.clamp(piece.start, piece.end) - piece.start);
        (into / length).mul_add(piece.width, piece.left)
    }

    /// Where the axis is marked, and how: times since its start.
    pub(super) fn ticks(&self) -> Vec<(f64, String)> {
        let Some(first) = self.pieces.first() else { return Vec::new() };
        let origin = first.start;
        let straight = || self.pieces.iter().filter(|piece| !piece.torn);
        let kept: u64 = straight().map(|piece| piece.end - piece.start).sum();
        let step = nice(kept / 9);
        let in_milliseconds = kept > 10_000_000;
        let mut ticks: Vec<(f64, String)> = Vec::new();
        for piece in straight() {
            let first = (piece.start - origin).div_ceil(step);
            for number in first..=(piece.end - origin) / step {
                let x = self.x(origin + number * step);
                let label = label(number * step, step, in_milliseconds);
                if ticks.last().is_none_or(|(before, _)| x - before > 44.0) {
                    ticks.push((x, label));
                }
            }
        }
        ticks
    }
}

/// A stretch of time in which nothing changes.
#[derive(Clone, Copy)]
struct Still {
    start: u64,
    end: u64,
    /// Whether something is going on all the time.
    busy: bool,
}

/// What is left out: what takes more room than it deserves, the longest first.
fn to_tear(mut still: Vec<Still>, all: u64) -> Vec<(u64, u64)> {
    still.sort_by_key(|it| it.end - it.start);
    let (mut torn, mut kept) = (Vec::new(), all);
    for Still { start, end, busy } in still.into_iter().rev() {
        let length = end - start;
        let others = kept - length;
        let deserved = if busy { others * 8 } else { others / 4 };
        if torn.len() < TEARS && length > deserved && others > 0 {
            kept = others;
            torn.push((start, end));
        }
    }
    torn
}

/// The next of 1, 2, 5, 10, 20, 50 … nanoseconds.
fn nice(least: u64) -> u64 {
    let mut unit = 1;
    loop {
        for step in [unit, 2 * unit, 5 * unit] {
            if step >= least {
                return step;
            }
        }
        unit *= 10;
    }
}

/// A time as the axis has it, as exact as its steps are.
fn label(time: u64, step: u64, in_milliseconds: bool) -> String {
    let (unit, name) = if in_milliseconds { (1_000_000, "ms") } else { (1_000, "µs") };
    let digits = (0..3).find(|digits| step * 10_u64.pow(*digits) >= unit).unwrap_or(3);
    let value = real(time) / real(unit);
    format!("{value:.*} {name}", digits as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axis(moments: &[u64]) -> Axis {
        Axis::new((0, 1000), moments.to_vec(), |_| false, (100.0, 800.0))
    }

    /// Where these moments are, to a tenth of a pixel.
    fn places(axis: &Axis, times: [u64; 3]) -> [String; 3] {
        times.map(|time| format!("{:.1}", axis.x(time)))
    }

    #[test]
    fn where_something_happens_all_the_time_the_axis_is_straight() {
        let axis = axis(&[200, 400, 600, 800]);
        assert_eq!(axis.pieces.len(), 1);
        assert_eq!(places(&axis, [0, 500, 1000]), ["100.0", "500.0", "900.0"]);
    }

    #[test]
    fn a_long_time_of_quiet_is_left_out() {
        let axis = axis(&[50, 950]);
        let torn: Vec<bool> = axis.pieces.iter().map(|piece| piece.torn).collect();
        assert_eq!(torn, [false, true, false]);
        // The 900 left out are 30 wide, and the 100 that are kept have the rest.
        assert_eq!(places(&axis, [50, 950, 1000]), ["485.0", "515.0", "900.0"]);
    }

    #[test]
    fn marks_stand_at_round_times_of_what_is_shown() {
        let axis = axis(&[50, 950]);
        let labels: Vec<String> = axis.ticks().into_iter().map(|(_, label)| label).collect();
        assert_eq!(labels.first().map(String::as_str), Some("0.00 µs"));
        assert!(
            labels.iter().all(|label| label.as_str() < "0.06" || label.as_str() > "0.94"),
            "{labels:?}"
        );
    }
}
