//! The demo: the same driver, booted with a message and with a line.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use wdm_interrupt_model::trace::Trace;

use crate::driver::Profile;
use crate::layout::Layout;
use crate::qemu::{Interrupt, Machine};
use crate::{bed, driver, qemu, setup, trace};

/// Sets up, builds, boots twice, and says whether all was as it must be.
///
/// What happened is written to `trace`, if there is to be one.
pub(crate) fn run(layout: &Layout, trace: Option<&Path>) -> Result<bool> {
    let begun = Instant::now();
    let host = setup::run(layout)?;
    let built = driver::build(layout, &host, &layout.sample(), Profile::Release)?;
    let bed = bed::build(layout, &host)?;
    let ready = begun.elapsed();
    let mut verdicts = Vec::new();
    let mut traces = Vec::new();
    for interrupt in [Interrupt::Message, Interrupt::Line] {
        println!();
        println!("=== edu.sys, given a {interrupt} ===");
        let machine =
            Machine { trace: trace.map(Path::to_path_buf), ..Machine::with_edu(1, interrupt) };
        let command = format!("demo interrupt={interrupt}");
        let boot = qemu::boot(&bed, &built.drivers[0], &machine, &command, |line| {
            println!("{}", line.text);
        })?;
        let (passed, driver_reached) = (boot.passed(), boot.driver_reached());
        if !passed {
            println!("{}", boot.ending());
        }
        if let Some(trace) = boot.trace {
            traces.push(Trace { name: format!("edu.sys, given a {interrupt}"), ..trace });
        }
        verdicts.push(Verdict { interrupt, passed, driver_reached, took: boot.took });
    }
    println!();
    for verdict in &verdicts {
        println!("{}", verdict.timing());
    }
    println!(
        "set-up and build {:.1} s, whole demo {:.1} s",
        ready.as_secs_f64(),
        begun.elapsed().as_secs_f64()
    );
    if let Some(file) = trace {
        trace::write(&traces, file)?;
    }
    println!("{}", conclusion(&verdicts));
    Ok(verdicts.iter().all(|verdict| verdict.passed))
}

/// What came of one of the two boots.
#[derive(Debug)]
struct Verdict {
    interrupt: Interrupt,
    passed: bool,
    driver_reached: Option<Duration>,
    took: Duration,
}

impl Verdict {
    fn timing(&self) -> String {
        let reached = self.driver_reached.map_or_else(
            || "the driver was not reached".to_owned(),
            |at| format!("{:.2} s from power-on to the driver's entry", at.as_secs_f64()),
        );
        format!("with a {}: {reached}, {:.2} s in all", self.interrupt, self.took.as_secs_f64())
    }
}

/// The last line: whether all was as it must be, and if not, where.
fn conclusion(verdicts: &[Verdict]) -> String {
    let failed: Vec<String> = verdicts
        .iter()
        .filter(|verdict| !verdict.passed)
        .map(|verdict| format!("with a {}", verdict.interrupt))
        .collect();
    if failed.is_empty() {
        "all as it must be: edu.sys served real interrupts by message and by line, and left nothing \
         behind"
            .to_owned()
    } else {
        format!("NOT as it must be: the run {} failed", failed.join(" and the run "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(interrupt: Interrupt, passed: bool) -> Verdict {
        Verdict { interrupt, passed, driver_reached: None, took: Duration::ZERO }
    }

    #[test]
    fn the_last_line_names_the_run_that_failed() {
        let line =
            conclusion(&[verdict(Interrupt::Message, true), verdict(Interrupt::Line, false)]);
        assert_eq!(line, "NOT as it must be: the run with a line failed");
    }

    #[test]
    fn the_last_line_of_two_good_runs_says_that_all_was_good() {
        let line = conclusion(&[verdict(Interrupt::Message, true), verdict(Interrupt::Line, true)]);
        assert!(line.starts_with("all as it must be"));
    }
}
