//! The soak: `samples/proving` is connected and disconnected thousands of times while four processors have the
//! device interrupt. The test bed says how far it is, and the host's clock gives the rate.

use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;

use crate::driver::{self, Profile};
use crate::layout::Layout;
use crate::qemu::{Boot, Interrupt, Machine};
use crate::{bed, qemu, setup};

/// The experiment of the driver.
pub(crate) const SERVICE: &str = "soak";

/// How long it goes on.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Length {
    /// How many interrupts are claimed.
    #[arg(long, default_value_t = 1_000_000)]
    pub(crate) interrupts: u64,
    /// How many connections are ended and made again.
    #[arg(long, default_value_t = 10_000)]
    pub(crate) cycles: u64,
}

/// The bed's command line for it.
pub(crate) fn command(length: Length) -> String {
    let Length { interrupts, cycles } = length;
    format!("soak service={SERVICE} cycles={cycles} interrupts={interrupts}")
}

/// A machine that is stopped after so many seconds.
pub(crate) fn machine(seconds: u64) -> Machine {
    Machine { seconds, ..Machine::with_edu(1, Interrupt::Message) }
}

/// Soaks, and says whether all was as it must be.
pub(crate) fn run(layout: &Layout, length: Length, seconds: u64) -> Result<bool> {
    let host = setup::run(layout)?;
    let folder = layout.root().join("samples").join("proving");
    let built = driver::build(layout, &host, &folder, Profile::Release)?;
    let driver = built.drivers.first().context("no driver was built")?;
    let bed = bed::build(layout, &host)?;
    println!(
        "{} interrupts over {} cycles of disconnect and connect, on four processors",
        length.interrupts, length.cycles
    );
    let mut begun = None;
    let boot = qemu::boot(&bed, driver, &machine(seconds), &command(length), |line| {
        if let Some(far) = Far::read(&line.text) {
            let (at, before) = *begun.get_or_insert((line.at, far));
            let rate = far.rate_since(before, line.at.saturating_sub(at));
            println!("{:6.1} s: {}{rate}", line.at.as_secs_f64(), line.text);
        } else {
            println!("{}", line.text);
        }
    })?;
    println!("{}", conclusion(&boot));
    Ok(boot.passed())
}

/// The last line.
fn conclusion(boot: &Boot) -> String {
    if boot.passed() {
        format!("nothing lost, nothing left: {:.1} s from power-on", boot.took.as_secs_f64())
    } else {
        format!("NOT as it must be: {boot}")
    }
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Far {
    cycles: u64,
    interrupts: u64,
}

impl Far {
    /// Reads the bed's `soak: N of … cycles, N of … interrupts`.
    fn read(line: &str) -> Option<Self> {
        let mut parts = line.strip_prefix("soak: ")?.split(", ");
        let mut number = |what: &str| {
            let part = parts.next()?.strip_suffix(what)?;
            part.split_once(" of ")?.0.parse().ok()
        };
        let cycles = number(" cycles")?;
        Some(Self { cycles, interrupts: number(" interrupts")? })
    }

    /// How fast it has been since `before`, in so much time of the host's.
    fn rate_since(self, before: Self, time: Duration) -> String {
        if time < Duration::from_millis(500) {
            return String::new();
        }
        format!(
            "; {:.0} interrupts/s, {:.0} cycles/s",
            each_second(self.interrupts.saturating_sub(before.interrupts), time),
            each_second(self.cycles.saturating_sub(before.cycles), time)
        )
    }
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people")]
fn each_second(number: u64, time: Duration) -> f64 {
    number as f64 / time.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_what_the_bed_understands() {
        let length = Length { interrupts: 1_000, cycles: 10 };
        assert_eq!(command(length), "soak service=soak cycles=10 interrupts=1000");
    }

    #[test]
    fn how_far_it_is_is_read_from_the_beds_lines() {
        let line = "soak: 40 of 10000 cycles, 4000 of 1000000 interrupts";
        assert_eq!(Far::read(line), Some(Far { cycles: 40, interrupts: 4_000 }));
        assert_eq!(Far::read("soak: 205 connections: 20000 interrupts claimed, all well"), None);
        assert_eq!(Far::read("proving: driver loaded"), None);
    }

    #[test]
    fn the_rate_is_what_came_since_by_the_time() {
        let before = Far { cycles: 10, interrupts: 1_000 };
        let far = Far { cycles: 30, interrupts: 5_000 };
        let rate = far.rate_since(before, Duration::from_secs(2));
        assert_eq!(rate, "; 2000 interrupts/s, 10 cycles/s");
        assert_eq!(far.rate_since(before, Duration::ZERO), "");
    }

    #[test]
    fn the_last_line_tells_success_from_failure() {
        assert!(
            conclusion(&Boot::of_lines(&["soak: left behind: nothing"], true))
                .starts_with("nothing lost")
        );
        assert!(
            conclusion(&Boot::of_lines(&["FAILED: …"], false)).starts_with("NOT as it must be")
        );
    }
}
