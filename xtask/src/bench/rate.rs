//! How many interrupts the bed sustains in a second: of this machine, so for information.

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::regions::Subject;
use crate::qemu::{Boot, Interrupt};

/// Odd, so that there is a median.
const ROUNDS: usize = 7;

/// Interrupts in a second, with both drivers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rates {
    pub(super) rounds: usize,
    /// The medians of each.
    pub(super) rust: f64,
    pub(super) c: f64,
    /// The median of the rounds' ratios.
    pub(super) ratio: f64,
}

impl Rates {
    pub(super) fn text(self) -> String {
        format!(
            "Interrupts a second, by message, with DPC (for information: it depends on the machine and what else it does):\n\
             Rust {:.0}, C {:.0}, ratio {:.2}; medians of {} rounds by turns",
            self.rust, self.c, self.ratio, self.rounds
        )
    }

    pub(super) fn json(self) -> Value {
        json!({
            "information_only": true,
            "rounds": self.rounds,
            "rust": self.rust.round(),
            "c": self.c.round(),
            "ratio": self.ratio,
        })
    }
}

/// Measures both by turns: what else the machine does then slows both.
pub(super) fn compare(rust: Subject<'_>, c: Subject<'_>, interrupt: Interrupt) -> Result<Rates> {
    let command = format!("bench rate interrupt={interrupt}");
    let measure = |subject: Subject<'_>| Batch::read(&subject.boot(interrupt, &command, false)?);
    let mut pairs = Vec::new();
    for round in 0..ROUNDS {
        // Who comes first takes turns, too.
        pairs.push(if round % 2 == 0 {
            let first = measure(rust)?;
            (first, measure(c)?)
        } else {
            let first = measure(c)?;
            (measure(rust)?, first)
        });
    }
    // The bed finds out how often the clock ticks, more or less well. It is the same clock in each boot.
    let second = median(pairs.iter().flat_map(|(rust, c)| [rust.second, c.second]));
    Ok(Rates {
        rounds: ROUNDS,
        rust: second / median(pairs.iter().map(|(rust, _)| rust.each)),
        c: second / median(pairs.iter().map(|(_, c)| c.each)),
        ratio: median(pairs.iter().map(|(rust, c)| c.each / rust.each)),
    })
}

/// What a boot came to.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Batch {
    /// Ticks of the clock an interrupt.
    each: f64,
    /// Ticks of the clock in a second.
    second: f64,
}

impl Batch {
    /// By the line that says how long so many took.
    fn read(boot: &Boot) -> Result<Self> {
        let read = |line: &str| -> Option<[f64; 3]> {
            let (count, rest) = line.strip_prefix("rate: ")?.split_once(" interrupts in ")?;
            let (ticks, second) = rest.strip_suffix(" a second")?.split_once(" ticks of ")?;
            Some([count.parse().ok()?, ticks.parse().ok()?, second.parse().ok()?])
        };
        let found = boot.lines.iter().find_map(|line| read(&line.text));
        let [count, ticks, second] = found.context("no rate was measured")?;
        if ticks <= 0.0 || count <= 0.0 {
            bail!("{count} interrupts took {ticks} ticks");
        }
        Ok(Self { each: ticks / count, second })
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_read_from_a_line() {
        let batch = |line: &str| Batch::read(&Boot::of_lines(&["edu: awake", line], true)).ok();
        let measured = batch("rate: 500 interrupts in 10000 ticks of 2000000 a second");
        assert_eq!(measured, Some(Batch { each: 20.0, second: 2e6 }));
        assert_eq!(batch("rate: 500 interrupts in 0 ticks of 2000000 a second"), None);
        assert_eq!(batch("rate: none"), None);
    }

    #[test]
    fn a_median_is_not_moved_by_one_that_is_far_out() {
        assert!((median([1.0, 900.0, 2.0].into_iter()) - 2.0).abs() < f64::EPSILON);
    }
}
