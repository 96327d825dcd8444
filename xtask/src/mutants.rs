//! `cargo xtask mutants`: changes the library in one place at a time, and looks whether a test notices.
//!
//! `cargo-mutants` makes the changes and runs the tests. It is run on a copy of the repository that [`tree`] prepares,
//! so that it sees unsafe functions and the kernel's routines, too, and finds the tests in one program. What need not
//! be noticed is in `.cargo/mutants.toml`, each with its reason, which [`list`] reads.

pub(crate) mod list;
mod tree;

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::Value;

use crate::layout::Layout;
use crate::test::host;
use crate::text;

/// The release of `cargo-mutants` whose mutants the list is about.
const VERSION: &str = "27.1.0";

/// After how many seconds the tests of a mutant are stopped. They themselves wait 20 s for what does not come.
const PATIENCE: u32 = 90;

/// How to look for mutants that no test notices.
#[derive(Debug, Args)]
pub(crate) struct Mutants {
    /// How many mutants are tried at a time.
    #[arg(long, short, default_value_t = 2)]
    jobs: u32,
    /// Tries one part of the mutants only: 1/4 is the second of four.
    #[arg(long, value_name = "K/N")]
    shard: Option<String>,
    /// Tries the mutants of this file only.
    #[arg(long, value_name = "FILE")]
    file: Vec<String>,
    /// Lists the mutants, and tries none.
    #[arg(long)]
    list: bool,
}

impl Mutants {
    const fn is_for_all(&self) -> bool {
        self.shard.is_none() && self.file.is_empty()
    }
}

/// Tries the mutants, prints the figure, and says whether each was noticed or is left out with a reason.
pub(crate) fn run(layout: &Layout, wanted: &Mutants) -> Result<bool> {
    let begun = Instant::now();
    let list = list::read(layout)?;
    let folder = layout.target().join("mutants");
    let tree = folder.join("tree");
    tree::prepare(layout, &tree)?;
    let tool = install(layout)?;
    let all = names(&tool, &tree, wanted)?;
    if wanted.list {
        println!("{}", all.join("\n"));
        return Ok(true);
    }
    let left_out = list::left_out(&list, &all)?;
    if wanted.is_for_all()
        && let Some((entry, _)) = left_out.iter().find(|(_, mutants)| *mutants == 0)
    {
        bail!("{}: no mutant is called {}", list::FILE, entry.pattern);
    }
    let mut command = cargo_mutants(&tool, &tree, wanted);
    command
        .arg("--output")
        .arg(&folder)
        .args(["--jobs", &wanted.jobs.to_string(), "--timeout", &PATIENCE.to_string()])
        .args(["--build-timeout", "600"]);
    for argument in ["--lib", "--test", tree::TOGETHER] {
        command.arg(format!("--cargo-arg={argument}"));
    }
    // The first failure is enough. The option of the test programs is not stable, and the variable lets them take it.
    command.env("RUSTC_BOOTSTRAP", "1").args(["--", "--", "-Zunstable-options", "--fail-fast"]);
    let status = command.status().context("cannot start cargo-mutants")?;
    let outcomes = folder.join("mutants.out");
    // 0: all were noticed; 2 and 3: some were not, or never ended. What else there is, is no outcome.
    if !matches!(status.code(), Some(0 | 2 | 3)) {
        bail!("cargo-mutants failed ({status}); its logs are in {}", outcomes.display());
    }
    let left_out = left_out.iter().map(|(_, mutants)| mutants).sum();
    let figure = Figure { left_out, ..Figure::read(&outcomes)? };
    println!("{figure} ({} min)", begun.elapsed().as_secs().div_ceil(60));
    Ok(figure.missed == 0)
}

/// `cargo-mutants` of the one version: the one in the path, or the one in `target`, which is installed if need be.
fn install(layout: &Layout) -> Result<PathBuf> {
    let folder = layout.target().join("tools");
    let ours = folder.join("bin").join("cargo-mutants");
    for tool in [Path::new("cargo-mutants"), &ours] {
        let version = Command::new(tool).args(["mutants", "--version"]).output();
        if version.is_ok_and(|said| said.stdout.ends_with(format!(" {VERSION}\n").as_bytes())) {
            return Ok(tool.to_path_buf());
        }
    }
    println!("installing cargo-mutants {VERSION}");
    let status = host::cargo(layout, "")
        .args(["install", "--locked", "--version", VERSION, "--root"])
        .arg(&folder)
        .arg("cargo-mutants")
        .status()
        .context("cannot start cargo")?;
    if !status.success() {
        bail!("cargo-mutants cannot be installed ({status})");
    }
    Ok(ours)
}

/// The part of the command that every use has.
fn cargo_mutants(tool: &Path, tree: &Path, wanted: &Mutants) -> Command {
    let mut command = Command::new(tool);
    host::forget_this_package(&mut command);
    command
        .args(["mutants", "--package", "wdm-interrupt", "--dir"])
        .arg(tree)
        // The tree lies in a folder that git ignores.
        .arg("--gitignore=false");
    if let Some(shard) = &wanted.shard {
        command.args(["--sharding", "slice", "--shard", shard]);
    }
    for file in &wanted.file {
        command.args(["--file", file]);
    }
    command
}

/// The names of all mutants, those that are left out included.
fn names(tool: &Path, tree: &Path, wanted: &Mutants) -> Result<Vec<String>> {
    let output = cargo_mutants(tool, tree, wanted)
        .args(["--list", "--no-config"])
        .output()
        .context("cannot start cargo-mutants")?;
    if !output.status.success() {
        bail!("cargo-mutants cannot list: {}", String::from_utf8_lossy(&output.stderr));
    }
    let listed = String::from_utf8_lossy(&output.stdout);
    Ok(listed.lines().filter(|name| name.starts_with("src/")).map(str::to_owned).collect())
}

/// What became of the mutants that compile.
#[derive(Debug, Default, PartialEq, Eq)]
struct Figure {
    caught: usize,
    /// Not tried, since they cannot matter.
    left_out: usize,
    missed: usize,
    /// Their tests did not end, which is noticed as well, though none had failed by then.
    hung: usize,
}

impl Figure {
    /// Counts what `cargo-mutants` wrote into a folder, and prints what is not as it should be.
    fn read(outcomes: &Path) -> Result<Self> {
        let written: Value = serde_json::from_str(&text::read(&outcomes.join("outcomes.json"))?)
            .context("cannot read what cargo-mutants wrote")?;
        Self::count(&written, |log| text::read(&outcomes.join(log)))
    }

    fn count(written: &Value, log: impl Fn(&str) -> Result<String>) -> Result<Self> {
        let mut figure = Self::default();
        for outcome in written["outcomes"].as_array().context("there are no outcomes")? {
            let name = outcome["scenario"]["Mutant"]["name"].as_str().unwrap_or_default();
            match outcome["summary"].as_str() {
                Some("CaughtMutant") => figure.caught += 1,
                Some("MissedMutant") => {
                    println!("no test noticed {name}");
                    figure.missed += 1;
                }
                Some("Timeout")
                    if a_test_failed(&log(outcome["log_path"].as_str().unwrap_or(""))?) =>
                {
                    figure.caught += 1;
                }
                Some("Timeout") => {
                    println!("no test ended with {name}");
                    figure.hung += 1;
                }
                _ => {}
            }
        }
        Ok(figure)
    }
}

/// Whether a test had failed by the time when the tests were stopped.
fn a_test_failed(log: &str) -> bool {
    log.lines().any(|line| line.starts_with("test ") && line.ends_with(" ... FAILED"))
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { caught, left_out, missed, hung } = self;
        let mutants = caught + left_out + missed + hung;
        write!(
            f,
            "{mutants} mutants: {caught} failed a test, {hung} kept one from ending, {left_out} are left out because they \
             cannot matter, {missed} were missed"
        )
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn outcome(summary: &str) -> Value {
        json!({
            "summary": summary,
            "log_path": format!("log/{summary}.log"),
            "scenario": { "Mutant": { "name": "src/lib.rs:1:1: replace it" } },
        })
    }

    #[test]
    fn outcomes_are_counted_and_what_does_not_compile_is_none() {
        let summaries = ["Success", "CaughtMutant", "MissedMutant", "Unviable", "CaughtMutant"];
        let written = json!({ "outcomes": summaries.map(outcome) });
        let figure = Figure::count(&written, |_| bail!("no log is needed"));
        assert_eq!(figure.ok(), Some(Figure { caught: 2, missed: 1, ..Figure::default() }));
    }

    #[test]
    fn tests_that_do_not_end_have_noticed_if_one_has_failed() {
        let written = json!({ "outcomes": [outcome("Timeout")] });
        let count = |log: &str| Figure::count(&written, |_| Ok(log.to_owned())).ok();
        let failed = "test a::b ... ok\ntest c ... FAILED\n";
        assert_eq!(count(failed), Some(Figure { caught: 1, ..Figure::default() }));
        let hanging = "test a::b ... ok\ntest c has been running for over 60 seconds\n";
        assert_eq!(count(hanging), Some(Figure { hung: 1, ..Figure::default() }));
    }

    #[test]
    fn the_figure_adds_up() {
        let figure = Figure { caught: 5, left_out: 2, missed: 1, hung: 1 };
        assert!(figure.to_string().starts_with("9 mutants: 5 failed a test, 1 kept"), "{figure}");
    }
}
