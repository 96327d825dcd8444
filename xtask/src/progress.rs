//! One line a step, which shows that the step is alive and how far it is.
//!
//! On a terminal the line turns and counts seconds. Elsewhere a line is printed every quarter of a
//! minute. What the step's program printed goes to a log, and is shown when the step fails.

use std::fs;
use std::io::{BufRead, BufReader, IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::text;

/// How often a step that is not on a terminal says that it is alive.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// How often the programs' output is looked at.
const TICK: Duration = Duration::from_millis(100);

/// How many lines of a failed step's output are shown.
const SHOWN_LINES: usize = 60;

/// A step under way.
#[derive(Debug)]
pub(crate) struct Step {
    name: String,
    begun: Instant,
    spoke: Instant,
    /// What the running program last said about how far it is.
    progress: String,
    log: PathBuf,
    bar: ProgressBar,
}

impl Step {
    /// Begins a step whose programs log into `logs`.
    pub(crate) fn begin(logs: &Path, name: impl Into<String>) -> Self {
        let name = name.into();
        let bar = ProgressBar::new_spinner().with_message(name.clone());
        if std::io::stderr().is_terminal() {
            if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}  {elapsed}") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(TICK);
        } else {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        let file = name.replace(|c: char| !c.is_ascii_alphanumeric(), "-");
        let now = Instant::now();
        Self {
            name,
            begun: now,
            spoke: now,
            progress: String::new(),
            log: logs.join(format!("{file}.log")),
            bar,
        }
    }

    /// Ends the step with a line that says what came of it.
    pub(crate) fn done(self, outcome: &str) {
        self.bar.finish_and_clear();
        eprintln!("{}: {outcome} ({:.1} s)", self.name, self.begun.elapsed().as_secs_f64());
    }

    /// Ends the step without a word: there was nothing to do.
    pub(crate) fn nothing_to_do(self) {
        self.bar.finish_and_clear();
    }

    /// Runs a program to its end and returns what it wrote to standard output. Warnings among the rest
    /// are shown.
    ///
    /// # Errors
    ///
    /// The program cannot be started, or ends with another status than success; the error has the last
    /// lines of what it printed, and the place of the rest.
    pub(crate) fn run(&mut self, command: &mut Command) -> Result<String> {
        let (printed, warnings) = self.run_to_the_end(command)?;
        if let Some(warnings) = warnings {
            self.bar.suspend(|| eprintln!("{warnings}"));
        }
        Ok(printed)
    }

    /// Like [`run`](Self::run), but a warning is an error.
    pub(crate) fn run_without_warnings(&mut self, command: &mut Command) -> Result<String> {
        let (printed, warnings) = self.run_to_the_end(command)?;
        match warnings {
            None => Ok(printed),
            Some(warnings) => bail!("there are warnings:\n{warnings}"),
        }
    }

    /// Runs a program, and returns its standard output and the warnings on its standard error.
    fn run_to_the_end(&mut self, command: &mut Command) -> Result<(String, Option<String>)> {
        let program = command.get_program().display().to_string();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("{}: cannot start {program}", self.name))?;
        let (sender, receiver) = mpsc::channel();
        let stdout = child.stdout.take().map(|pipe| forward(pipe, sender.clone(), Line::Out));
        let stderr = child.stderr.take().map(|pipe| forward(pipe, sender, Line::Error));
        let mut printed = String::new();
        let mut log = String::new();
        self.progress.clear();
        loop {
            self.say_alive();
            match receiver.recv_timeout(TICK) {
                Ok(Line::Out(line)) => {
                    printed.push_str(&line);
                    printed.push('\n');
                }
                Ok(Line::Error(line)) => {
                    if let Some(progress) = how_far(&line) {
                        self.bar.set_message(format!("{}: {progress}", self.name));
                        self.progress = progress;
                    } else {
                        log.push_str(&line);
                        log.push('\n');
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        for reader in [stdout, stderr].into_iter().flatten() {
            // A reader that panicked has said so on standard error; the child's status decides.
            drop(reader.join());
        }
        let status = child.wait().with_context(|| format!("{}: lost {program}", self.name))?;
        text::create_folder(self.log.parent().unwrap_or_else(|| Path::new(".")))?;
        fs::write(&self.log, &log)
            .with_context(|| format!("cannot write {}", self.log.display()))?;
        if !status.success() {
            self.bar.finish_and_clear();
            let shown = if log.trim().is_empty() { printed } else { without_chatter(&log) };
            bail!(
                "{}: {program} failed ({status}); its last lines were\n{}\nall of them are in {}",
                self.name,
                text::tail(&shown, SHOWN_LINES),
                self.log.display()
            );
        }
        let warned = log.lines().any(|line| line.starts_with("warning"));
        Ok((printed, warned.then(|| without_chatter(&log))))
    }

    fn say_alive(&mut self) {
        if self.bar.is_hidden() && self.spoke.elapsed() >= HEARTBEAT {
            self.spoke = Instant::now();
            let elapsed = self.begun.elapsed().as_secs();
            let separator = if self.progress.is_empty() { "" } else { ", " };
            eprintln!("{}: {elapsed} s{separator}{} …", self.name, self.progress);
        }
    }
}

/// What a compiler printed, without the lines that only say what it was at.
fn without_chatter(log: &str) -> String {
    const AT_WORK: [&str; 6] =
        ["Compiling", "Finished", "Checking", "Fresh", "Documenting", "Vendoring"];
    let lines =
        log.lines().filter(|line| !AT_WORK.iter().any(|word| line.trim_start().starts_with(word)));
    lines.collect::<Vec<_>>().join("\n")
}

/// A line of a program's output.
#[derive(Debug)]
enum Line {
    Out(String),
    Error(String),
}

/// Sends each line that `pipe` brings; cargo ends the lines of its progress bar with a return only.
fn forward<R: Read + Send + 'static>(
    pipe: R,
    sender: mpsc::Sender<Line>,
    kind: fn(String) -> Line,
) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        for chunk in BufReader::new(pipe).split(b'\n') {
            let Ok(chunk) = chunk else { break };
            for line in String::from_utf8_lossy(&chunk).split('\r') {
                if !line.trim().is_empty() && sender.send(kind(line.trim_end().to_owned())).is_err()
                {
                    return;
                }
            }
        }
    })
}

/// What cargo's progress bar says, if this line is one: `57/135: wdk-sys`.
fn how_far(line: &str) -> Option<String> {
    let plain = line.trim_start_matches(|c: char| !c.is_ascii_alphabetic());
    let bar = plain.strip_prefix("Building")?.trim_start().strip_prefix('[')?;
    let (_, count) = bar.split_once(']')?;
    Some(count.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_progress_bar_of_cargo_tells_how_far_it_is() {
        assert_eq!(
            how_far("    Building [====>     ] 57/135: wdk-sys(build)").as_deref(),
            Some("57/135: wdk-sys(build)")
        );
    }

    #[test]
    fn warnings_are_shown_without_what_was_compiled() {
        let log = "   Compiling edu v0.1.0\nwarning: unused\n --> src/lib.rs\n    Finished";
        assert_eq!(without_chatter(log), "warning: unused\n --> src/lib.rs");
    }

    #[test]
    fn other_lines_are_no_progress() {
        assert_eq!(how_far("   Compiling wdk-sys v0.5.2"), None);
    }
}
