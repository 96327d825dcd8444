//! One line a test, and the count at the end.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::Result;

/// What the tests' names begin with.
const GROUPS: [&str; 10] =
    ["format", "lint", "host", "sanitizer", "fuzz", "loom", "repository", "inf", "driver", "bed"];

/// Prints what comes of each test, and counts.
#[derive(Debug)]
pub(super) struct Runner<'a> {
    filter: Option<&'a str>,
    /// The names of the tests that could be run, wanted or not.
    offered: BTreeSet<String>,
    passed: usize,
    failed: usize,
}

impl<'a> Runner<'a> {
    /// Runs tests whose name contains `filter`, or those of a group if it is the group's name.
    pub(super) const fn new(filter: Option<&'a str>) -> Self {
        Self { filter, offered: BTreeSet::new(), passed: 0, failed: 0 }
    }

    /// Whether a test of this name is to be run.
    pub(super) fn wants(&self, name: &str) -> bool {
        self.filter.is_none_or(|filter| match name.split_once(": ") {
            Some((group, _)) if GROUPS.contains(&filter) => group == filter,
            _ => name.contains(filter),
        })
    }

    /// Whether the group `group: …`, whose names are only known once it is built, can have a test that is
    /// to be run. A filter that is another group's name, or begins with one, rules it out.
    pub(super) fn may_want(&self, group: &str) -> bool {
        self.filter.is_none_or(|filter| {
            if GROUPS.contains(&filter) {
                return group == filter;
            }
            filter.split_once(": ").is_none_or(|(named, _)| group.ends_with(named))
        })
    }

    /// The names of the tests so far that could be run, wanted or not, except those that are only known once they are
    /// built.
    pub(super) const fn offered(&self) -> &BTreeSet<String> {
        &self.offered
    }

    /// Runs one test.
    pub(super) fn test(&mut self, name: &str, body: impl FnOnce() -> Result<()>) {
        self.offered.insert(name.to_owned());
        if !self.wants(name) {
            return;
        }
        let begun = Instant::now();
        let outcome = body();
        self.report(name, Some(begun.elapsed()), outcome.map_err(|error| format!("{error:#}")));
    }

    /// Prints and counts a test that has been run.
    pub(super) fn report(
        &mut self,
        name: &str,
        took: Option<Duration>,
        outcome: Result<(), String>,
    ) {
        if self.wants(name) {
            self.print(name, took, outcome);
        }
    }

    /// Prints and counts what kept tests from being run, whatever their names are.
    pub(super) fn prevented(&mut self, name: &str, error: &anyhow::Error) {
        self.print(name, None, Err(format!("{error:#}")));
    }

    fn print(&mut self, name: &str, took: Option<Duration>, outcome: Result<(), String>) {
        match outcome {
            Ok(()) => {
                self.passed += 1;
                println!("{}", ok_line(name, took));
            }
            Err(output) => {
                self.failed += 1;
                println!("FAILED {name}");
                for line in output.lines() {
                    println!("    {line}");
                }
            }
        }
    }

    /// Prints the closing line, and says whether all is well.
    pub(super) fn close(self) -> bool {
        if self.passed + self.failed == 0 {
            println!("no test has {:?} in its name", self.filter.unwrap_or(""));
        }
        println!("{} passed, {} failed", self.passed, self.failed);
        self.failed == 0 && self.passed > 0
    }
}

fn ok_line(name: &str, took: Option<Duration>) -> String {
    took.map_or_else(
        || format!("ok {name}"),
        |took| format!("ok {name} ({:.1} s)", took.as_secs_f64()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_the_time_where_it_is_known() {
        let took = Duration::from_millis(1240);
        assert_eq!(ok_line("bed: a_b", Some(took)), "ok bed: a_b (1.2 s)");
        assert_eq!(ok_line("host: a::b", None), "ok host: a::b");
    }

    #[test]
    fn a_filter_picks_by_a_part_of_the_name() {
        let runner = Runner::new(Some("two_devices"));
        assert!(runner.wants("bed: two_devices_share_a_line"));
        assert!(!runner.wants("bed: another"));
        assert!(runner.may_want("bed") && runner.may_want("host"));
    }

    #[test]
    fn a_filter_that_names_a_group_rules_the_others_out() {
        let runner = Runner::new(Some("bed: two"));
        assert!(runner.may_want("bed"));
        assert!(!runner.may_want("host"));
    }

    #[test]
    fn a_filter_that_is_a_groups_name_means_the_group() {
        let runner = Runner::new(Some("format"));
        assert!(runner.wants("format: the bed"));
        assert!(!runner.wants("host: xtask: the_format_is_read"));
        assert!(runner.may_want("format") && !runner.may_want("bed"));
    }

    #[test]
    fn what_could_be_run_is_known_though_it_is_not() {
        let mut runner = Runner::new(Some("bed"));
        runner.test("inf: a", || anyhow::bail!("it was run"));
        assert!(runner.offered().contains("inf: a"));
    }

    #[test]
    fn one_failure_is_no_success_and_neither_is_no_test() {
        let mut runner = Runner::new(None);
        runner.report("good", None, Ok(()));
        runner.report("bad", None, Err("because".to_owned()));
        assert!(!runner.close());
        assert!(!Runner::new(Some("nothing")).close());
    }

    #[test]
    fn what_keeps_tests_from_running_is_a_failure_whatever_the_filter() {
        let mut runner = Runner::new(Some("bed: two"));
        runner.prevented("bed: the bed is built", &anyhow::anyhow!("it does not compile"));
        assert!(!runner.close());
    }
}
