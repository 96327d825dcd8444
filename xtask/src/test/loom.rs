//! The explorations of `tests/loom`: every order in which the library's threads can go on.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, anyhow};
use clap::Args;

use super::host::{self, Program};
use super::libtest;
use super::loom_steps;
use super::runner::Runner;
use crate::layout::Layout;
use crate::progress::Step;
use crate::text;

/// Where the explorations are, below the repository's root.
pub(super) const FOLDER: &str = "tests/loom";

/// What a line begins with in which an exploration says how far it went.
const EXPLORED: &str = "explored: ";

/// The variable with how many preemptions more than usual are explored.
const DEEPER: &str = "LOOM_DEEPER";

/// What `cargo xtask loom` is asked for.
#[derive(Debug, Args)]
pub(crate) struct Wanted {
    /// How many preemptions more than in the tests are explored. Each takes about ten times as long.
    #[arg(long, default_value_t = 1)]
    deeper: u32,
    /// Explores what has this in its name.
    filter: Option<String>,
}

/// Explores further than the tests do, and says whether nothing was found.
pub(crate) fn explore(layout: &Layout, wanted: &Wanted) -> Result<bool> {
    let mut command = host::cargo(layout, FOLDER);
    command.env(DEEPER, wanted.deeper.to_string()).args(["test", "--locked", "--"]);
    command.args(["--nocapture"]).args(&wanted.filter);
    Ok(command.status().context("cannot start cargo")?.success())
}

/// Runs all of this module's tests.
pub(super) fn run(layout: &Layout, runner: &mut Runner<'_>) {
    runner.test("format: the explorations", || {
        let mut step = Step::begin(&layout.logs(), "formatting of the explorations");
        let mut command = host::cargo(layout, FOLDER);
        step.run(command.args([
            "fmt",
            "-p",
            "wdm-interrupt-explored",
            "-p",
            "loom-kernel",
            "--check",
        ]))?;
        step.nothing_to_do();
        Ok(())
    });
    runner.test("lint: the explorations, and the library as they see it", || {
        let mut step = Step::begin(&layout.logs(), "clippy of the explorations");
        let mut command = host::cargo(layout, FOLDER);
        command.args([
            "clippy",
            "--locked",
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ]);
        step.run_without_warnings(&mut command)?;
        step.nothing_to_do();
        Ok(())
    });
    if runner.may_want("loom") {
        match program(layout, host::cargo(layout, FOLDER), "building the explorations") {
            Ok(program) => report(runner, &program),
            Err(error) => runner.prevented("loom: the explorations build", &error),
        }
        loom_steps::run(layout, runner);
    }
}

/// Builds the program of explorations with `cargo`.
pub(super) fn program(layout: &Layout, mut cargo: Command, what: &str) -> Result<PathBuf> {
    let mut step = Step::begin(&layout.logs(), what);
    let messages = step.run(cargo.args([
        "test",
        "--locked",
        "--no-run",
        "--message-format",
        "json-render-diagnostics",
    ]))?;
    step.nothing_to_do();
    let mut programs = host::programs(layout, &messages, |artifact| artifact.profile.test)?;
    let Program { executable, .. } = programs.pop().context("no program was built")?;
    Ok(executable)
}

/// Runs all explorations, and reports each.
fn report(runner: &mut Runner<'_>, program: &PathBuf) {
    let mut command = Command::new(program);
    host::forget_this_package(&mut command);
    command.env("RUST_BACKTRACE", "0").arg("--show-output");
    let (output, success) = match host::run_limited(&mut command, host::LIMIT) {
        Ok(ended) => ended,
        Err(error) => return runner.prevented("loom: the explorations", &error),
    };
    let results = libtest::results(&output);
    let explained = success || results.iter().any(|result| result.outcome.is_err());
    for result in results {
        let name = format!("loom: {}", result.name);
        let extent = extent(&output, &result.name);
        runner.report(&name, None, result.outcome);
        if let Some(extent) = extent.filter(|_extent| runner.wants(&name)) {
            println!("    {extent}");
        }
    }
    if !explained {
        runner.prevented("loom: the explorations", &anyhow!(text::tail(&output, 60)));
    }
}

/// How far an exploration says that it went.
fn extent(output: &str, name: &str) -> Option<String> {
    let heading = format!("---- {name} stdout ----");
    let mut lines = output.lines().skip_while(|line| *line != heading).skip(1);
    lines.find_map(|line| line.strip_prefix(EXPLORED)).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_explored_is_told_for_each() {
        let output = "\
---- line::one stdout ----
explored: driver, ISR; any number of preemptions; 12 executions in 0.1 s

---- line::two stdout ----
explored: driver, DPC; at most 3 preemptions; 7 executions in 0.1 s
";
        let expected = "driver, DPC; at most 3 preemptions; 7 executions in 0.1 s";
        assert_eq!(extent(output, "line::two").as_deref(), Some(expected));
        assert_eq!(extent(output, "line::three"), None);
    }
}
