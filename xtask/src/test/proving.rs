//! What only real interrupts on several processors can show, an experiment a boot.
//!
//! It is one driver, `samples/proving`, that does what its service's name says and prints what came of it; some of
//! it is played with from the test bed's side. A test demands the evidence, not only that nothing broke.

use std::path::Path;

use super::machine::{Expected, Job};
use crate::qemu::{Interrupt, Machine};
use crate::soak::Length;

/// An experiment on a machine, and what must be printed.
struct Experiment {
    title: &'static str,
    /// The service.
    name: &'static str,
    /// What the bed plays.
    play: &'static str,
    devices: &'static [&'static str],
    processors: u32,
    interrupt: Interrupt,
    expected: Expected,
}

impl Experiment {
    /// One that takes place in START, of an edu device on four processors.
    const fn of_edu(
        title: &'static str,
        name: &'static str,
        interrupt: Interrupt,
        expected: Expected,
    ) -> Self {
        Self { title, name, play: "run", devices: &["edu"], processors: 4, interrupt, expected }
    }

    /// One that takes place in START, of an e1000e with five messages of IRQL 5 to 9.
    const fn of_e1000e(
        title: &'static str,
        name: &'static str,
        processors: u32,
        expected: Expected,
    ) -> Self {
        let (play, interrupt) = ("run", Interrupt::Message);
        Self { title, name, play, devices: &["e1000e"], processors, interrupt, expected }
    }
}

const EXPERIMENTS: [Experiment; 20] = [
    Experiment::of_e1000e(
        "messages are served on all processors at once",
        "parallel",
        4,
        Expected::Success(&[
            "parallel: 4 service routines at once, on processors 0b1111",
            "left behind: nothing",
        ]),
    ),
    Experiment::of_e1000e(
        "messages under one lock are served one at a time, wherever they come",
        "one_lock",
        4,
        Expected::Success(&[
            "one lock: 1 service routine at once, on processors 0b1111; 0 served inside the first",
            "0 at IRQL 9",
            "4 at IRQL 9",
            "left behind: nothing",
        ]),
    ),
    Experiment::of_e1000e(
        "messages under one lock keep each other off a processor, at the highest IRQL of them",
        "one_lock",
        1,
        Expected::Success(&[
            "one lock: 1 service routine at once, on processors 0b1; 0 served inside the first",
            "one lock: 0 at IRQL 9, 4 at IRQL 9, 3 at IRQL 9, 2 at IRQL 9, 1 at IRQL 9",
            "left behind: nothing",
        ]),
    ),
    Experiment::of_e1000e(
        "a message of a higher IRQL is served inside one of a lower, five deep",
        "nested",
        1,
        Expected::Success(&[
            "nested: 5 service routines deep: 0 at IRQL 5, 1 at IRQL 6, 2 at IRQL 7, 3 at IRQL 8, 4 at IRQL 9",
            "left behind: nothing",
        ]),
    ),
    Experiment::of_e1000e(
        "messages of lower IRQLs wait for one of a higher, and come by their IRQLs",
        "not_nested",
        1,
        Expected::Success(&[
            "not nested: 0 served inside the first, 1 deep: \
             4 at IRQL 9, 3 at IRQL 8, 2 at IRQL 7, 1 at IRQL 6, 0 at IRQL 5",
            "left behind: nothing",
        ]),
    ),
    Experiment::of_e1000e(
        "one DPC runs on two processors at once",
        "twice",
        4,
        Expected::Success(&[
            "twice: the DPC ran on 2 processors at once, on processors 0b110",
            "left behind: nothing",
        ]),
    ),
    Experiment {
        processors: 1,
        ..Experiment::of_edu(
            "an interrupt inside IoConnectInterruptEx is served there, and completed after it",
            "early",
            Interrupt::Line,
            Expected::Success(&[
                "early: 1 claimed and 0 completed inside the call, 1 claimed and 1 completed after it",
                "left behind: nothing",
            ]),
        )
    },
    Experiment::of_edu(
        "disconnecting waits for a service routine on another processor, by message",
        "ending",
        Interrupt::Message,
        Expected::Success(&ENDED),
    ),
    Experiment::of_edu(
        "disconnecting waits for a service routine on another processor, by line",
        "ending",
        Interrupt::Line,
        Expected::Success(&ENDED),
    ),
    Experiment::of_edu(
        "more messages than can be served lose nothing",
        "hammered",
        Interrupt::Message,
        Expected::Success(&["hammered: 40000 raises, none lost", "left behind: nothing"]),
    ),
    Experiment::of_edu(
        "a line that is raised more often than can be served loses nothing",
        "hammered",
        Interrupt::Line,
        Expected::Success(&["hammered: 40000 raises, none lost", "left behind: nothing"]),
    ),
    Experiment::of_edu(
        "a line that nobody acknowledges is reported as a storm",
        "unanswered",
        Interrupt::Line,
        Expected::Refusal(&STORM),
    ),
    Experiment {
        play: "test two_devices_of_a_driver_on_a_line_the_first_connected_first",
        devices: &["edu", "edu"],
        ..Experiment::of_edu(
            "two devices of a driver share a line, and one goes while the other goes on",
            "shared",
            Interrupt::Line,
            Expected::Success(&["on a line, both in flight", "left behind: nothing"]),
        )
    },
    Experiment {
        play: "test two_devices_of_a_driver_on_a_line_the_second_connected_first",
        devices: &["edu", "edu"],
        ..Experiment::of_edu(
            "two devices of a driver share a line, connected the other way round",
            "shared",
            Interrupt::Line,
            Expected::Success(&["on a line, both in flight", "left behind: nothing"]),
        )
    },
    gone(
        "a device goes in the middle of its service routine, by message",
        "gone_in_service",
        Interrupt::Message,
        &["gone in the service routine: its status was 0x10, then 0xffffffff", GONE, NOTHING_LEFT],
    ),
    gone(
        "a device goes in the middle of its service routine, by line",
        "gone_in_service",
        Interrupt::Line,
        &["gone in the service routine: its status was 0x10, then 0xffffffff", GONE, NOTHING_LEFT],
    ),
    gone(
        "a device goes while its DPC runs",
        "gone_in_dpc",
        Interrupt::Message,
        &["gone in the deferred half: its status was 0x0, then 0xffffffff", GONE, NOTHING_LEFT],
    ),
    gone(
        "a device goes while somebody synchronizes, by message",
        "gone_in_synchronize",
        Interrupt::Message,
        &["gone while synchronizing: its status was 0x0, then 0xffffffff", NOTHING_LEFT],
    ),
    gone(
        "a device goes while somebody synchronizes, by line",
        "gone_in_synchronize",
        Interrupt::Line,
        &["gone while synchronizing: its status was 0x0, then 0xffffffff", NOTHING_LEFT],
    ),
    gone(
        "a device on a line goes while its DPC runs",
        "gone_in_dpc",
        Interrupt::Line,
        &["gone in the deferred half: its status was 0x0, then 0xffffffff", GONE, NOTHING_LEFT],
    ),
];

const NOTHING_LEFT: &str = "left behind: nothing";

/// Its interrupt was claimed, and it was disconnected without being touched.
const GONE: &str = "disconnected as Gone: 1 claimed, 0 not mine";

/// What is printed of the three ways to disconnect.
const ENDED: [&str; 4] = [
    "ending by disconnect: begun inside the service routine, ended after it, 0 calls after it",
    "ending by disconnect_removed: begun inside the service routine, ended after it, 0 calls after it",
    "ending by drop: begun inside the service routine, ended after it, 0 calls after it",
    NOTHING_LEFT,
];

/// What is printed of a storm.
const STORM: [&str; 1] = ["Storm broken in a service routine on processor 1 at IRQL 5"];

/// A device that goes when the driver says so.
const fn gone(
    title: &'static str,
    name: &'static str,
    interrupt: Interrupt,
    said: &'static [&'static str],
) -> Experiment {
    let play = match interrupt {
        Interrupt::Message => "test a_device_goes_in_the_middle_by_message",
        Interrupt::Line | Interrupt::Passive => "test a_device_goes_in_the_middle_by_line",
    };
    Experiment { play, ..Experiment::of_edu(title, name, interrupt, Expected::Success(said)) }
}

/// What lies to the sample driver until its line storms: the tests of the bed, by name.
const STORMS: [(&str, &str); 2] = [
    (
        "a status that never clears is a storm on a line",
        "a_status_that_never_clears_is_a_storm_on_a_line",
    ),
    (
        "a device on a line that reads as all ones is a storm",
        "a_device_that_reads_as_all_ones_is_a_storm_on_a_line",
    ),
];

/// Two drivers on one line: the tests of the bed, by name, and who is there to the end.
const PAIRS: [(&str, &str, Expected); 2] = [
    (
        "two drivers share a line, and the first is unloaded while the second goes on",
        "two_drivers_share_a_line_and_the_first_is_unloaded",
        Expected::Success(&[ASKED_BOTH[0], ASKED_BOTH[1], "proving is gone", NOTHING_LEFT]),
    ),
    (
        "two drivers share a line, and the second is unloaded while the first goes on",
        "two_drivers_share_a_line_and_the_second_is_unloaded",
        Expected::Success(&[ASKED_BOTH[0], ASKED_BOTH[1], "edu is gone", NOTHING_LEFT]),
    ),
];

/// Each service routine was asked for the other's interrupts.
const ASKED_BOTH: [&str; 2] = ["only edu's device interrupts", "only proving's device interrupts"];

/// The short form of the soak.
const SHORT: Length = Length { cycles: 100, interrupts: 10_000 };

pub(super) fn jobs(driver: &Path, edu: &Path) -> impl Iterator<Item = Job> {
    let experiments = EXPERIMENTS.into_iter().map(|experiment| {
        let name = title(experiment.title);
        let machine = Machine {
            devices: experiment.devices.iter().map(|device| (*device).to_owned()).collect(),
            smp: experiment.processors,
            play: experiment.play.to_owned(),
            service: Some(experiment.name.to_owned()),
            ..Machine::with_edu(1, experiment.interrupt)
        };
        let command = machine.run_command();
        let expected = experiment.expected;
        Job { name, driver: driver.to_path_buf(), machine, command, expected }
    });
    let storms = STORMS.into_iter().map(|(words, test)| {
        let machine = Machine::with_edu(1, Interrupt::Line);
        Job {
            name: title(words),
            driver: edu.to_path_buf(),
            command: format!("test {test}"),
            machine,
            expected: Expected::Refusal(&STORM),
        }
    });
    let pairs = PAIRS.into_iter().map(|(words, test, expected)| {
        let machine = Machine {
            others: vec![edu.to_path_buf()],
            play: format!("test {test}"),
            service: Some("shared".to_owned()),
            ..Machine::with_edu(2, Interrupt::Line)
        };
        let command = machine.run_command();
        Job { name: title(words), driver: driver.to_path_buf(), machine, command, expected }
    });
    let soak = Job {
        name: title("a short soak loses nothing and leaves nothing"),
        driver: driver.to_path_buf(),
        machine: crate::soak::machine(120),
        command: crate::soak::command(SHORT),
        expected: Expected::Success(&["soak: 103 connections", "soak: left behind: nothing"]),
    };
    experiments.chain(storms).chain(pairs).chain([soak])
}

fn title(words: &str) -> String {
    format!("proving: {words}")
}

#[cfg(test)]
mod tests {
    use anyhow::Result;

    use super::*;
    use crate::layout::Layout;
    use crate::text;

    /// The names in the driver's table, whose rows are `("name", Experiment::…),`.
    fn of_the_driver(source: &str) -> impl Iterator<Item = &str> {
        source.lines().filter_map(|line| {
            let (name, experiment) = line.trim().strip_prefix("(\"")?.split_once("\", ")?;
            experiment.starts_with("Experiment::").then_some(name)
        })
    }

    #[test]
    fn every_experiment_of_the_driver_is_made() -> Result<()> {
        let layout = Layout::of_this_repository();
        let source = text::read(&layout.root().join("samples/proving/src/lib.rs"))?;
        let mut there: Vec<&str> = of_the_driver(&source).collect();
        let mut made: Vec<&str> = EXPERIMENTS.iter().map(|one| one.name).collect();
        made.push(crate::soak::SERVICE);
        there.sort_unstable();
        made.sort_unstable();
        made.dedup();
        assert_eq!(there, made);
        Ok(())
    }

    #[test]
    fn no_two_have_one_title() {
        let jobs = jobs(Path::new("proving.sys"), Path::new("edu.sys"));
        let mut titles: Vec<String> = jobs.map(|job| job.name).collect();
        let all = titles.len();
        titles.sort_unstable();
        titles.dedup();
        assert_eq!(titles.len(), all);
    }
}
