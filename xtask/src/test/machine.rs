//! What happens on the test bed's machine: its own tests, and drivers that it must refuse.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::runner::Runner;
use crate::qemu::{self, Boot, Interrupt, Machine};
use crate::text;

/// How many machines run at once. Each has four processors, on a thread each.
const AT_ONCE: usize = 2;

/// How many of its last lines a failed test shows.
const SHOWN_LINES: usize = 60;

/// One boot, and what must come of it.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) name: String,
    pub(super) driver: PathBuf,
    pub(super) machine: Machine,
    /// The bed's command line.
    pub(super) command: String,
    pub(super) expected: Expected,
}

/// What must come of a boot.
#[derive(Debug)]
pub(super) enum Expected {
    /// The bed says that all was well, and these are among what is printed.
    Success(&'static [&'static str]),
    /// The bed says that it was not, and these are among what is printed.
    Refusal(&'static [&'static str]),
    /// The machine does not come to an end by itself.
    Stopped,
}

/// The bed's own tests of the device that the driver is named after, with it.
pub(super) fn own_tests(bed: &Path, driver: &Path) -> Result<Vec<Job>> {
    let device = driver.file_stem().unwrap_or_default().to_string_lossy();
    // Two, for the tests in which devices share a line.
    let machine = Machine::with(&device, 2, Interrupt::Message);
    let boot = qemu::boot(bed, driver, &machine, &format!("list {device}"), |_| ())?;
    if !boot.passed() {
        bail!("the bed does not list its tests: {boot}");
    }
    let jobs: Vec<Job> = boot
        .lines
        .iter()
        .filter_map(|line| line.text.strip_prefix("test "))
        .map(|name| Job {
            name: name.to_owned(),
            driver: driver.to_path_buf(),
            machine: machine.clone(),
            command: format!("test {name}"),
            expected: Expected::Success(&[]),
        })
        .collect();
    if jobs.is_empty() {
        bail!("the bed lists no test");
    }
    Ok(jobs)
}

/// Boots a machine for each job that is wanted, and reports as they end.
pub(super) fn run(runner: &mut Runner<'_>, bed: &Path, jobs: &[Job]) {
    let wanted: Vec<&Job> = jobs.iter().filter(|job| runner.wants(&title(job))).collect();
    let next = AtomicUsize::new(0);
    let (sender, results) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            let sender = sender.clone();
            scope.spawn(|| {
                let sender = sender;
                while let Some(job) = wanted.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let (took, outcome) = boot(bed, job);
                    if sender.send((title(job), took, outcome)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        for (title, took, outcome) in results {
            runner.report(&title, took, outcome);
        }
    });
}

fn title(job: &Job) -> String {
    format!("bed: {}", job.name)
}

fn boot(bed: &Path, job: &Job) -> (Option<Duration>, Result<(), String>) {
    match qemu::boot(bed, &job.driver, &job.machine, &job.command, |_| ()) {
        Ok(boot) => {
            let outcome = judge(&boot, &job.expected);
            (Some(boot.took), outcome.map_err(|error| format!("{error:#}")))
        }
        Err(error) => (None, Err(format!("{error:#}"))),
    }
}

/// Whether the boot came to what was expected.
fn judge(boot: &Boot, expected: &Expected) -> Result<()> {
    let (as_expected, said): (bool, &[&str]) = match expected {
        Expected::Success(said) => (boot.passed(), said),
        Expected::Refusal(said) => (boot.failed(), said),
        Expected::Stopped => (boot.timed_out(), &[]),
    };
    let printed: Vec<&str> = boot.lines.iter().map(|line| line.text.as_str()).collect();
    let printed = printed.join("\n");
    let shown = || text::tail(&printed, SHOWN_LINES);
    if !as_expected {
        bail!("expected {expected:?}, but {}\n{}", boot.ending(), shown());
    }
    let missing = said.iter().find(|words| !printed.contains(**words));
    missing
        .map_or(Ok(()), |words| Err(anyhow::anyhow!("{words:?} was not printed\n{}", shown())))
        .context(boot.ending())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(passed: bool, line: &str) -> Boot {
        Boot::of_lines(&[line], passed)
    }

    #[test]
    fn a_success_is_the_status_and_the_words() {
        let expected = Expected::Success(&["goodbye"]);
        assert!(judge(&ended(true, "stranger: goodbye"), &expected).is_ok());
        assert!(judge(&ended(true, "stranger: hello"), &expected).is_err());
        assert!(judge(&ended(false, "stranger: goodbye"), &expected).is_err());
    }

    #[test]
    fn a_refusal_is_no_success_and_names_what_is_wrong() {
        let expected = Expected::Refusal(&["not a PE image"]);
        assert!(judge(&ended(false, "FAILED: not a PE image: …"), &expected).is_ok());
        assert!(judge(&ended(false, "FAILED: …"), &expected).is_err());
        assert!(judge(&ended(true, "not a PE image"), &expected).is_err());
    }

    #[test]
    fn what_ended_by_itself_was_not_stopped() {
        assert!(judge(&ended(true, ""), &Expected::Stopped).is_err());
    }
}
