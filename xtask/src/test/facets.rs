//! Each way to connect, on real interrupts: where service routine and deferred half run.
//!
//! It is one driver, `samples/facets`, that is connected as its service's name says, has its device interrupt, and
//! prints what came of it.

use std::path::Path;

use super::machine::{Expected, Job};
use crate::qemu::{Interrupt, Machine};

/// A way to connect on a machine, and what the driver must print.
struct Facet {
    title: &'static str,
    /// The service.
    name: &'static str,
    device: &'static str,
    interrupt: Interrupt,
    no_dpc_threads: bool,
    expected: Expected,
}

impl Facet {
    /// One of an edu device.
    const fn of_edu(
        title: &'static str,
        name: &'static str,
        interrupt: Interrupt,
        expected: Expected,
    ) -> Self {
        Self { title, name, device: "edu", interrupt, no_dpc_threads: false, expected }
    }

    /// One of a device with five messages, the first of IRQL 5 and the last of IRQL 9.
    const fn of_e1000e(title: &'static str, name: &'static str, expected: Expected) -> Self {
        let interrupt = Interrupt::Message;
        Self { title, name, device: "e1000e", interrupt, no_dpc_threads: false, expected }
    }
}

/// On the test bed the first interrupt has IRQL 5 and is for processor 1.
const FACETS: [Facet; 20] = [
    Facet::of_edu(
        "a line is served at its IRQL, and its DPC runs at DISPATCH_LEVEL",
        "dpc",
        Interrupt::Line,
        Expected::Success(&[
            "dpc: by line, service routine at IRQL 5 on processor 1, deferred half at IRQL 2 on processor 1",
            "left behind: nothing",
        ]),
    ),
    Facet::of_e1000e(
        "all messages are served by one handler, at the highest IRQL of them",
        "dpc",
        Expected::Success(&[
            "dpc: by 5 messages, service routine at IRQL 9 on processor 0+1+2+3",
            "interrupts 0+1+2+3+4",
            "left behind: nothing",
        ]),
    ),
    Facet::of_edu(
        "a threaded DPC is a deferred half at PASSIVE_LEVEL",
        "threaded",
        Interrupt::Message,
        Expected::Success(&[
            "threaded: by 1 messages, service routine at IRQL 5 on processor 1, deferred half at IRQL 0",
            "left behind: nothing",
        ]),
    ),
    Facet {
        no_dpc_threads: true,
        ..Facet::of_edu(
            "a threaded DPC is a deferred half at DISPATCH_LEVEL where there are no threads for it",
            "threaded",
            Interrupt::Line,
            Expected::Success(&[
                "threaded: by line, service routine at IRQL 5 on processor 1, deferred half at IRQL 2",
                "left behind: nothing",
            ]),
        )
    },
    Facet::of_edu(
        "a work item is a deferred half at PASSIVE_LEVEL of a line",
        "work",
        Interrupt::Line,
        Expected::Success(&[
            "work: by line, service routine at IRQL 5 on processor 1, deferred half at IRQL 0",
            "left behind: nothing",
        ]),
    ),
    Facet::of_e1000e(
        "a work item is a deferred half at PASSIVE_LEVEL of all messages",
        "work",
        Expected::Success(&[
            "work: by 5 messages, service routine at IRQL 9 on processor 0+1+2+3, deferred half at IRQL 0",
            "left behind: nothing",
        ]),
    ),
    Facet::of_edu(
        "a DPC runs on the processor that it is meant for",
        "importance",
        Interrupt::Message,
        Expected::Success(&[
            "service routine at IRQL 5 on processor 1, deferred half at IRQL 2 on processor 3",
            "left behind: nothing",
        ]),
    ),
    Facet::of_edu(
        "a handler too large for the stack is made and taken apart where it stays",
        "inplace",
        Interrupt::Message,
        Expected::Success(&[
            "inplace: by 1 messages, service routine at IRQL 5",
            "disconnected: 4 interrupts served",
            "left behind: nothing",
        ]),
    ),
    Facet::of_edu(
        "a line is silenced and inactive, and active again",
        "power",
        Interrupt::Line,
        Expected::Success(&[
            "inactive: silenced, active: enabled",
            "disconnected: 16 interrupts served",
            "left behind: nothing",
        ]),
    ),
    Facet::of_e1000e(
        "all messages are silenced and inactive, and active again",
        "power",
        Expected::Success(&[
            "inactive: silenced, active: enabled",
            "disconnected: 80 interrupts served",
            "left behind: nothing",
        ]),
    ),
    Facet::of_e1000e(
        "each message has its handler, and one DPC is for all of them",
        "shared",
        Expected::Success(&[
            "shared: by 5 messages, service routine at IRQL 5+6+7+8+9 on processor 0+1+2+3",
            "interrupts 0+1+2+3+4",
            "left behind: nothing",
        ]),
    ),
    Facet::of_edu(
        "a line is served by the first handler of those for messages",
        "shared",
        Interrupt::Line,
        Expected::Success(&[
            "shared: by line, service routine at IRQL 5 on processor 1, deferred half at IRQL 2",
            "left behind: nothing",
        ]),
    ),
    Facet::of_edu(
        "a line is connected by its vector",
        "vector",
        Interrupt::Line,
        Expected::Success(&[
            "vector: by 1 vectors, service routine at IRQL 5 on processor 1, deferred half at IRQL 2",
            "left behind: nothing",
        ]),
    ),
    Facet::of_e1000e(
        "one of several messages is connected by its vector",
        "vector",
        Expected::Success(&[
            "vector: by 1 vectors, service routine at IRQL 5 on processor 1, deferred half at IRQL 2",
            "left behind: nothing",
        ]),
    ),
    Facet::of_e1000e(
        "several vectors have one handler, at the highest IRQL of them",
        "several",
        Expected::Success(&[
            "several: by 5 vectors, service routine at IRQL 9 on processor 0+1+2+3",
            "interrupts 0+1+2+3+4",
            "left behind: nothing",
        ]),
    ),
    Facet::of_edu(
        "a line is one of several",
        "several",
        Interrupt::Line,
        Expected::Success(&[
            "several: by 1 vectors, service routine at IRQL 5 on processor 1",
            "interrupts 0",
            "left behind: nothing",
        ]),
    ),
    Facet::of_edu(
        "a passive-level line is served at PASSIVE_LEVEL, and so is its deferred half",
        "passive",
        Interrupt::Passive,
        Expected::Success(&[
            "passive: by line, service routine at IRQL 0",
            "deferred half at IRQL 0",
            "disconnected: 4 interrupts served",
            "left behind: nothing",
        ]),
    ),
    Facet::of_edu(
        "a passive-level line is connected by its vector",
        "passive_vector",
        Interrupt::Passive,
        Expected::Success(&[
            "passive_vector: by 1 vectors, service routine at IRQL 0",
            "left behind: nothing",
        ]),
    ),
    Facet::of_edu(
        "a passive-level handler does not get an interrupt of another IRQL",
        "passive",
        Interrupt::Line,
        Expected::Refusal(&["a PassiveInterruptHandler serves interrupts at PASSIVE_LEVEL only"]),
    ),
    Facet::of_edu(
        "a handler does not get a passive-level interrupt",
        "vector",
        Interrupt::Passive,
        Expected::Refusal(&["PASSIVE_LEVEL", "the device did not start"]),
    ),
];

/// What can fail while a driver connects: the bed has each call fail in turn, in each way.
const FAILURES: [(&str, &str); 2] = [
    ("connect", "each_connect_can_fail_and_leaves_nothing"),
    ("allocation", "each_allocation_can_fail_and_leaves_nothing"),
];

/// The ways to connect that are tried with interrupts that come inside each connect: those with more than one
/// call, or memory of more than one kind.
const FAILING: [(&str, &str, Interrupt); 6] = [
    ("several", "e1000e", Interrupt::Message),
    ("shared", "e1000e", Interrupt::Message),
    ("shared", "e1000e", Interrupt::Line),
    ("work", "e1000e", Interrupt::Message),
    ("threaded", "e1000e", Interrupt::Line),
    ("inplace", "e1000e", Interrupt::Message),
];

fn failures(driver: &Path) -> impl Iterator<Item = Job> {
    FAILING.into_iter().flat_map(move |(service, device, interrupt)| {
        FAILURES.into_iter().map(move |(what, test)| {
            let mut machine = Machine::with(device, 1, interrupt);
            machine.service = Some(service.to_owned());
            machine.play = format!("test {test}");
            let by = match interrupt {
                Interrupt::Message => "messages",
                Interrupt::Line | Interrupt::Passive => "line",
            };
            Job {
                name: format!("facets: each {what} of {service} can fail, by {by}"),
                driver: driver.to_path_buf(),
                command: machine.run_command(),
                machine,
                expected: Expected::Success(&[]),
            }
        })
    })
}

/// What is printed at the end of a walk.
const WALKED: &str = "times a call failed; left behind: nothing";

/// The ways to connect that work, each with what shows that the walk went through it: what it calls that can
/// fail, besides what every driver calls, and what it prints when nothing fails.
fn walked(facet: &Facet) -> Option<&'static [&'static str]> {
    if matches!(facet.expected, Expected::Refusal(_)) {
        return None;
    }
    Some(match facet.name {
        // One DPC, or none to be aimed, and one connect.
        "dpc" | "threaded" | "inplace" | "power" | "shared" | "vector" => {
            &["MmMapIoSpaceEx, ExAllocatePool2, IoConnectInterruptEx, ", WALKED]
        }
        "importance" => &[
            "ExAllocatePool2, KeSetTargetProcessorDpcEx, IoConnectInterruptEx, ",
            "KeSetTargetProcessorDpcEx fails with STATUS_NOT_SUPPORTED: it started",
            WALKED,
        ],
        "work" | "passive" | "passive_vector" => {
            &["ExAllocatePool2, IoAllocateWorkItem, IoConnectInterruptEx, ", WALKED]
        }
        // Memory for the vectors, too.
        "several" if facet.device == "edu" => {
            &["ExAllocatePool2, ExAllocatePool2, IoConnectInterruptEx, ", WALKED]
        }
        // A connect for each.
        "several" => &[
            "ExAllocatePool2, ExAllocatePool2, IoConnectInterruptEx, IoConnectInterruptEx, \
             IoConnectInterruptEx, IoConnectInterruptEx, IoConnectInterruptEx, ",
            WALKED,
        ],
        other => unreachable!("nobody has thought of what can fail in {other}"),
    })
}

/// A boot for each way to connect, in which each call of its START and of its restart fails in turn.
fn walks(driver: &Path) -> impl Iterator<Item = Job> {
    FACETS.into_iter().filter_map(move |facet| {
        let mut machine = machine(&facet);
        "failures".clone_into(&mut machine.play);
        Some(Job {
            name: format!("facets: whichever call fails, nothing is left: {}", title_of(&facet)),
            driver: driver.to_path_buf(),
            command: machine.run_command(),
            machine,
            expected: Expected::Success(walked(&facet)?),
        })
    })
}

/// The way to connect, in short.
fn title_of(Facet { name, device, interrupt, no_dpc_threads, .. }: &Facet) -> String {
    let threads = if *no_dpc_threads { ", without DPC threads" } else { "" };
    format!("{name} of {device} by {interrupt}{threads}")
}

fn machine(facet: &Facet) -> Machine {
    let mut machine = Machine::with(facet.device, 1, facet.interrupt);
    machine.service = Some(facet.name.to_owned());
    machine.no_dpc_threads = facet.no_dpc_threads;
    machine
}

pub(super) fn jobs(driver: &Path) -> impl Iterator<Item = Job> {
    let connected = FACETS.into_iter().map(|facet| {
        let machine = machine(&facet);
        Job {
            name: title(&facet),
            driver: driver.to_path_buf(),
            command: machine.run_command(),
            machine,
            expected: facet.expected,
        }
    });
    connected.chain(failures(driver)).chain(walks(driver))
}

fn title(facet: &Facet) -> String {
    format!("facets: {}", facet.title)
}

#[cfg(test)]
mod tests {
    use anyhow::Result;

    use super::*;
    use crate::layout::Layout;
    use crate::text;

    /// The names in the driver's table, whose rows are `("name", Facet::Name),`.
    fn of_the_driver(source: &str) -> impl Iterator<Item = &str> {
        source.lines().filter_map(|line| {
            let (name, facet) = line.trim().strip_prefix("(\"")?.split_once("\", ")?;
            facet.starts_with("Facet::").then_some(name)
        })
    }

    #[test]
    fn every_facet_of_the_driver_is_looked_at() -> Result<()> {
        let layout = Layout::of_this_repository();
        let source = text::read(&layout.root().join("samples/facets/src/facet.rs"))?;
        let mut there: Vec<&str> = of_the_driver(&source).collect();
        let mut looked_at: Vec<&str> = FACETS.iter().map(|facet| facet.name).collect();
        there.sort_unstable();
        looked_at.sort_unstable();
        looked_at.dedup();
        assert_eq!(there, looked_at);
        Ok(())
    }

    #[test]
    fn every_facet_of_the_driver_is_walked_through() -> Result<()> {
        let layout = Layout::of_this_repository();
        let source = text::read(&layout.root().join("samples/facets/src/facet.rs"))?;
        for name in of_the_driver(&source) {
            let mut of_it = FACETS.iter().filter(|facet| facet.name == name);
            assert!(of_it.any(|facet| walked(facet).is_some()), "{name}");
        }
        Ok(())
    }

    #[test]
    fn no_two_have_one_title() {
        let all: Vec<String> = jobs(Path::new("")).map(|job| job.name).collect();
        let mut titles = all.clone();
        titles.sort_unstable();
        titles.dedup();
        assert_eq!(titles.len(), all.len());
    }
}
