//! Steps of the library taken out, one after the other: an exploration must find each.
//!
//! A copy of the sources has a condition before each step of the [`list`]. It is compiled once, and the environment of a
//! run says which of the conditions fails. So what finds a mistake is known to find it, and a step that nobody would
//! miss is known, too.

mod list;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use self::list::STEPS;
use super::loom::{self, FOLDER};
use super::runner::Runner;
use super::{host, libtest};
use crate::layout::Layout;
use crate::text;

/// What stands for the condition in a [`Step`].
const OUT: &str = "OUT";

/// The variable that says which step is taken out.
const VARIABLE: &str = "LOOM_TAKES_OUT";

/// After how long a run is taken for finding nothing.
const LIMIT: Duration = Duration::from_mins(3);

/// A step of the library.
#[derive(Debug, Clone, Copy)]
struct Step {
    name: &'static str,
    /// The file, below `src`.
    file: &'static str,
    /// What is in it, once.
    from: &'static str,
    /// What is there instead: without the step where [`OUT`] is true.
    to: &'static str,
    /// The exploration that it is put to.
    exploration: &'static str,
    outcome: Outcome,
}

/// What comes of a run without the step.
#[derive(Debug, Clone, Copy)]
enum Outcome {
    /// The exploration fails, and this is among what it says.
    Found(&'static str),
    /// It does not: something else does the same. The list says what, and why the step is there all the same.
    Needless,
}

/// What was found, and how long it took.
type Ended = (Result<(), String>, Duration);

impl Step {
    /// `source` with the condition before the step; `number` is the step's in the environment.
    fn edit(self, source: &str, number: usize) -> Result<String> {
        if source.matches(self.from).count() != 1 {
            bail!("src/{} has not once what the list says of the step {:?}", self.file, self.name);
        }
        let condition = format!("wdm_interrupt_model::takes_out(\"{number}\")");
        Ok(source.replace(self.from, &self.to.replace(OUT, &condition)))
    }

    /// Runs the exploration without the step.
    fn run(self, program: &Path, number: usize) -> Result<(), String> {
        let mut command = Command::new(program);
        host::forget_this_package(&mut command);
        command.env(VARIABLE, number.to_string()).env("RUST_BACKTRACE", "0");
        command.args(["--exact", self.exploration, "--nocapture"]);
        let (output, success) =
            host::run_limited(&mut command, LIMIT).map_err(|error| format!("{error:#}"))?;
        if success && libtest::results(&output).len() != 1 && !output.contains("1 passed") {
            return Err(format!("there is no exploration {}", self.exploration));
        }
        match self.outcome {
            Outcome::Found(said) if !success && output.contains(said) => Ok(()),
            Outcome::Found(_) if success => {
                Err(format!("{} does not find that it is missing", self.exploration))
            }
            Outcome::Found(said) => Err(format!(
                "it was not {said:?} that was found, but:\n{}",
                text::tail(&output, 30)
            )),
            Outcome::Needless if success => Ok(()),
            Outcome::Needless => {
                Err(format!("the list says that nobody misses it:\n{}", text::tail(&output, 30)))
            }
        }
    }

    fn test_name(self) -> String {
        match self.outcome {
            Outcome::Found(_) => format!("loom: taken out, it is found: {}", self.name),
            Outcome::Needless => format!("loom: taken out, it is not missed: {}", self.name),
        }
    }
}

/// Runs all of this module's tests.
pub(super) fn run(layout: &Layout, runner: &mut Runner<'_>) {
    let wanted: Vec<usize> =
        (0..STEPS.len()).filter(|&number| runner.wants(&STEPS[number].test_name())).collect();
    if wanted.is_empty() {
        return;
    }
    match build(layout) {
        Ok(program) => {
            for (number, (outcome, took)) in run_all(&program, &wanted) {
                runner.report(&STEPS[number].test_name(), Some(took), outcome);
            }
        }
        Err(error) => runner.prevented("loom: the explorations build without the steps", &error),
    }
}

/// Runs the steps of these numbers, as many at once as there are processors.
fn run_all(program: &Path, wanted: &[usize]) -> Vec<(usize, Ended)> {
    let next = AtomicUsize::new(0);
    let ended = Mutex::new(Vec::new());
    let processors = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _processor in 0..processors {
            scope.spawn(|| {
                while let Some(&number) = wanted.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let begun = Instant::now();
                    let outcome = STEPS[number].run(program, number);
                    let ended = ended.lock();
                    ended
                        .unwrap_or_else(PoisonError::into_inner)
                        .push((number, (outcome, begun.elapsed())));
                }
            });
        }
    });
    let mut ended = ended.into_inner().unwrap_or_else(PoisonError::into_inner);
    ended.sort_by_key(|&(number, _)| number);
    ended
}

/// Builds the explorations of a library that has a condition before each step.
fn build(layout: &Layout) -> Result<PathBuf> {
    let root = layout.target().join("loom-steps");
    let sources = layout.root().join("src");
    copy(&sources, &root.join("src"), &|path, content| {
        edited(path.strip_prefix(&sources)?, content)
    })?;
    for folder in ["docs", "tests/loom/explorations"] {
        copy(&layout.root().join(folder), &root.join(folder), &|_path, content| Ok(content))?;
    }
    let here = layout.root().join(FOLDER);
    let there = root.join(FOLDER);
    for file in ["build.rs", "README.md", "Cargo.lock"] {
        text::write_if_changed(&there.join(file), text::read(&here.join(file))?.as_bytes())?;
    }
    let manifest = text::read(&here.join("Cargo.toml"))?;
    let kernel = here.join("kernel");
    let manifest = manifest
        .replace("path = \"kernel\"", &format!("path = \"{}\"", kernel.display()))
        .replace("members = [\"kernel\"]\n", "");
    text::write_if_changed(&there.join("Cargo.toml"), manifest.as_bytes())?;
    let mut cargo = host::cargo(layout, FOLDER);
    // In the same target folder, where what the library is built of has been compiled already.
    cargo.current_dir(&there);
    loom::program(layout, cargo, "building the explorations without steps")
}

/// The content of the library's file `path` with all conditions in it.
fn edited(path: &Path, content: String) -> Result<String> {
    let mut steps = STEPS.iter().enumerate().filter(|(_, step)| path == Path::new(step.file));
    steps.try_fold(content, |content, (number, step)| step.edit(&content, number))
}

/// Copies the text files of a folder, each as `edit` makes it.
fn copy(from: &Path, to: &Path, edit: &impl Fn(&Path, String) -> Result<String>) -> Result<()> {
    let entries = fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))?;
    for entry in entries {
        let path = entry.with_context(|| format!("cannot read {}", from.display()))?.path();
        let name = path.file_name().context("a file without a name")?;
        if path.is_dir() {
            copy(&path, &to.join(name), edit)?;
        } else {
            let content = edit(&path, text::read(&path)?)?;
            text::write_if_changed(&to.join(name), content.as_bytes())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: Step = Step {
        name: "the step",
        file: "file.rs",
        from: "step();",
        to: "if !OUT { step(); }",
        exploration: "none",
        outcome: Outcome::Needless,
    };

    #[test]
    fn a_step_gets_its_condition() {
        let edited = STEP.edit("before();\nstep();\n", 7).unwrap_or_default();
        assert_eq!(edited, "before();\nif !wdm_interrupt_model::takes_out(\"7\") { step(); }\n");
    }

    #[test]
    fn a_step_that_is_there_no_more_or_twice_is_named() {
        let named = |error: anyhow::Error| error.to_string().contains("the step");
        assert!(STEP.edit("before();\n", 0).is_err_and(named));
        assert!(STEP.edit("step(); step();", 0).is_err_and(named));
    }
}
