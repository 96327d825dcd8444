//! What the Device Fundamentals tests of the HLK do to an interrupt, on the test bed; and the page that says which of
//! ours stands for which of theirs.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Result, bail};
use regex::Regex;

use super::machine::{Expected, Job};
use super::scenarios;
use crate::layout::Layout;
use crate::qemu::{Interrupt, Machine};
use crate::text;

/// The parts of `devfund`.
const PARTS: [&str; 10] = [
    "disable_and_enable",
    "cancel_remove",
    "cancel_stop",
    "stop",
    "new_resources",
    "fail_restart",
    "surprise_remove",
    "sleep",
    "reinstall",
    "chaos",
];

/// What is printed of a driver that is sent requests, and of every driver at the end.
const BUSY: &[&str] =
    &["factorials from the other processors all the while", "devfund: left behind: nothing"];

/// The drivers that are tried.
#[derive(Debug, Clone, Copy)]
pub(super) struct Drivers<'a> {
    pub(super) edu: &'a Path,
    pub(super) twin: &'a Path,
    pub(super) e1000e: &'a Path,
    pub(super) minimal: &'a Path,
}

/// One boot a part with `edu.sys`, and some that are all of it.
pub(super) fn jobs(drivers: Drivers<'_>) -> Vec<Job> {
    let parts = PARTS.iter().map(|part| {
        let play = format!("devfund {part} rounds=2");
        job(part, drivers.edu, Machine { play, ..edu(Interrupt::Message) }, BUSY)
    });
    let more = [
        ("chaos, by line", drivers.edu, chaos(edu(Interrupt::Line), 2), BUSY),
        ("chaos, of the twin in C", drivers.twin, chaos(edu(Interrupt::Message), 3), BUSY),
        (
            "all of it, with e1000e",
            drivers.e1000e,
            all(Machine::with("e1000e", 1, Interrupt::Message)),
            &["interrupts of every message before and after", "devfund: left behind: nothing"],
        ),
        (
            "all of it, without requests",
            drivers.minimal,
            all(edu(Interrupt::Line)),
            &["no requests that are known", "devfund: left behind: nothing"],
        ),
    ];
    parts
        .chain(more.map(|(name, driver, machine, said)| job(name, driver, machine, said)))
        .collect()
}

fn edu(interrupt: Interrupt) -> Machine {
    Machine::with_edu(1, interrupt)
}

fn chaos(machine: Machine, seed: u32) -> Machine {
    Machine { play: format!("devfund chaos rounds=2 seed={seed}"), ..machine }
}

fn all(machine: Machine) -> Machine {
    Machine { play: "devfund".to_owned(), ..machine }
}

fn job(name: &str, driver: &Path, machine: Machine, said: &'static [&'static str]) -> Job {
    Job {
        name: format!("devfund: {name}"),
        driver: driver.to_path_buf(),
        command: machine.run_command(),
        machine,
        expected: Expected::Success(said),
    }
}

/// Fails if `docs/hlk.md` names a test or a part that does not exist, or leaves a part out. `own` are the tests of this
/// program.
pub(super) fn check(layout: &Layout, own: &BTreeSet<String>) -> Result<()> {
    let page = text::read(&layout.root().join("docs").join("hlk.md"))?;
    let mut known = scenarios::names(layout, own)?;
    let nowhere = Path::new("");
    let drivers = Drivers { edu: nowhere, twin: nowhere, e1000e: nowhere, minimal: nowhere };
    known.extend(jobs(drivers).into_iter().map(|job| format!("bed: {}", job.name)));
    let objections = objections(&page, &known)?;
    if !objections.is_empty() {
        bail!("{}", objections.join("\n"));
    }
    Ok(())
}

/// What is wrong with the page.
fn objections(page: &str, known: &BTreeSet<String>) -> Result<Vec<String>> {
    let test = Regex::new("`(bed: [^`]+)`")?;
    let part = Regex::new("[`\"]devfund ([a-z_]+)")?;
    let tests = test.captures_iter(page).filter_map(|found| found.get(1));
    let mut objections: Vec<String> = tests
        .map(|name| name.as_str())
        .filter(|name| !known.contains(*name))
        .map(|name| format!("docs/hlk.md: there is no test `{name}`"))
        .collect();
    let parts: BTreeSet<&str> =
        part.captures_iter(page).filter_map(|found| Some(found.get(1)?.as_str())).collect();
    let wrong = parts.iter().filter(|part| !PARTS.contains(part));
    objections.extend(wrong.map(|part| format!("docs/hlk.md: devfund has no part {part}")));
    let missing = PARTS.iter().filter(|part| !parts.contains(*part));
    objections.extend(missing.map(|part| format!("docs/hlk.md: devfund's {part} is not there")));
    // A row of the table without a test would pass for one that is covered.
    let rows = page.lines().filter(|line| line.starts_with("| DF - "));
    let bare = rows.filter(|row| !test.is_match(row));
    objections.extend(bare.map(|row| format!("docs/hlk.md: no test in the row {row}")));
    Ok(objections)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_the_beds_is_tested() -> Result<()> {
        let layout = Layout::of_this_repository();
        let source = text::read(&layout.bed().join("src/scenario/devfund.rs"))?;
        let row = Regex::new(r#"(?m)^    \("([a-z_]+)", Life::"#)?;
        let there: Vec<String> = row.captures_iter(&source).map(|one| one[1].to_owned()).collect();
        assert_eq!(there, PARTS[..PARTS.len() - 1]);
        Ok(())
    }

    /// A page with all parts, and this as a row.
    fn page_with(row: &str) -> String {
        let parts: Vec<String> = PARTS.iter().map(|part| format!("`devfund {part}`")).collect();
        format!("{}\n{row}\n", parts.join(" "))
    }

    fn objections_to(row: &str) -> Vec<String> {
        let known = BTreeSet::from(["bed: it_works".to_owned()]);
        objections(&page_with(row), &known).unwrap_or_default()
    }

    #[test]
    fn a_page_of_existing_tests_is_fine() {
        assert!(objections_to("| DF - A | what | `devfund stop` | `bed: it_works` |").is_empty());
    }

    #[test]
    fn a_test_and_a_part_that_do_not_exist_are_found() {
        assert_eq!(
            objections_to("| DF - A | what | `devfund start` | `bed: it_worked` |"),
            [
                "docs/hlk.md: there is no test `bed: it_worked`",
                "docs/hlk.md: devfund has no part start"
            ]
        );
    }

    #[test]
    fn a_row_without_a_test_and_a_part_that_is_left_out_are_found() {
        assert_eq!(
            objections_to("| DF - A | what | how | none |"),
            ["docs/hlk.md: no test in the row | DF - A | what | how | none |"]
        );
        let found = objections("", &BTreeSet::new()).unwrap_or_default();
        assert_eq!(found.len(), PARTS.len(), "{found:?}");
    }
}
