//! What the host's own toolchain says: formatting, lints, documentation, tests.

use std::env;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use cargo_metadata::{Artifact, Message};

use super::libtest;
use super::runner::Runner;
use crate::layout::Layout;
use crate::progress::Step;
use crate::text;

/// After how long a test program is taken for hanging.
pub(super) const LIMIT: Duration = Duration::from_mins(10);

/// A workspace whose tests run on the host.
struct Workspace {
    /// The folder below the repository's root.
    folder: &'static str,
    /// Packages with host tests, or all of them.
    packages: &'static [&'static str],
    /// Packages with examples in their documentation.
    documented: &'static [&'static str],
}

const WORKSPACES: [Workspace; 3] = [
    Workspace { folder: "", packages: &[], documented: &["wdm-interrupt", "wdm-interrupt-model"] },
    // The drivers themselves are for Windows only; what they share with programs is not.
    Workspace {
        folder: "samples",
        packages: &["e1000e-interface", "edu-device", "edu-interface"],
        documented: &[],
    },
    // The targets are built for libFuzzer elsewhere; what they are made of are host tests, too.
    Workspace { folder: "fuzz", packages: &["wdm-interrupt-fuzz"], documented: &[] },
];

/// The packages that docs.rs documents, and the features that their manifests ask it for.
const DOCUMENTED: [(&str, &[&str]); 2] =
    [("wdm-interrupt", &[]), ("wdm-interrupt-model", &["--all-features"])];

impl Workspace {
    fn selection(&self) -> Vec<&'static str> {
        if self.packages.is_empty() {
            return vec!["--workspace"];
        }
        self.packages.iter().flat_map(|package| ["--package", package]).collect()
    }

    const fn name(&self) -> &'static str {
        if self.folder.is_empty() { "the library, its model and xtask" } else { self.folder }
    }
}

/// The cargo that runs this program, in `folder` of the repository.
pub(crate) fn cargo(layout: &Layout, folder: &str) -> Command {
    let mut command =
        Command::new(env::var_os("CARGO").unwrap_or_else(|| PathBuf::from("cargo").into()));
    forget_this_package(&mut command);
    command
        .current_dir(layout.root().join(folder))
        .env("CARGO_TERM_PROGRESS_WHEN", "always")
        .env("CARGO_TERM_PROGRESS_WIDTH", "100");
    if !folder.is_empty() {
        command.env("CARGO_TARGET_DIR", layout.target().join(folder));
    }
    command
}

/// Keeps from `command` what cargo tells this program about its own package.
pub(crate) fn forget_this_package(command: &mut Command) {
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(describes_this_package) {
            command.env_remove(name);
        }
    }
}

/// Whether a variable tells this program about its own package, which says nothing about another.
fn describes_this_package(name: &str) -> bool {
    ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"]
        .iter()
        .any(|prefix| name.starts_with(prefix))
}

/// Runs all of this module's tests.
pub(super) fn run(layout: &Layout, runner: &mut Runner<'_>) {
    for (folder, name) in [
        ("", "the root workspace"),
        ("bed", "the bed"),
        ("samples", "the samples"),
        ("fuzz", "the fuzz targets"),
    ] {
        runner.test(&format!("format: {name}"), || {
            let mut step = Step::begin(&layout.logs(), format!("formatting of {name}"));
            let mut command = cargo(layout, folder);
            step.run(command.args(["fmt", "--check", "--", "--color", "never"]))?;
            step.nothing_to_do();
            Ok(())
        });
    }
    for workspace in &WORKSPACES {
        runner.test(&format!("lint: {} (clippy, on the host)", workspace.name()), || {
            let mut step = Step::begin(&layout.logs(), format!("clippy of {}", workspace.name()));
            let mut command = cargo(layout, workspace.folder);
            command
                .args(["clippy", "--locked", "--all-targets"])
                .args(workspace.selection())
                .args(["--", "-D", "warnings"]);
            step.run_without_warnings(&mut command)?;
            step.nothing_to_do();
            Ok(())
        });
    }
    for (package, features) in DOCUMENTED {
        runner.test(&format!("lint: documentation of {package}, as docs.rs builds it"), || {
            let mut step = Step::begin(&layout.logs(), format!("rustdoc of {package}"));
            let mut command = cargo(layout, "");
            command
                .env("DOCS_RS", "1")
                .env("RUSTDOCFLAGS", "--cfg docsrs -D warnings")
                // Its flags are not those of the documentation that is built to be read.
                .env("CARGO_TARGET_DIR", layout.target().join("docs.rs"))
                .args(["doc", "--locked", "--no-deps", "--lib", "--package", package])
                .args(features);
            step.run_without_warnings(&mut command)?;
            step.nothing_to_do();
            Ok(())
        });
    }
    if runner.may_want("host") {
        for workspace in &WORKSPACES {
            run_tests(layout, runner, workspace);
        }
    }
}

/// Runs the tests of a workspace, and its documentation's examples.
fn run_tests(layout: &Layout, runner: &mut Runner<'_>, workspace: &Workspace) {
    match test_programs(layout, workspace) {
        Ok(programs) => {
            for program in programs {
                let mut command = Command::new(&program.executable);
                forget_this_package(&mut command);
                command.current_dir(&program.folder);
                report(runner, &program.name, &mut command);
            }
        }
        Err(error) => {
            runner.prevented(&format!("host: {} builds", workspace.name()), &error);
        }
    }
    for package in workspace.documented {
        let mut command = cargo(layout, workspace.folder);
        command.env_remove("CARGO_TERM_PROGRESS_WHEN").args([
            "test",
            "--locked",
            "--doc",
            "--package",
            package,
        ]);
        report(runner, &format!("{package}, documentation"), &mut command);
    }
}

/// A program that cargo built.
pub(super) struct Program {
    pub(super) name: String,
    pub(super) executable: PathBuf,
    /// Where its tests expect to run.
    pub(super) folder: PathBuf,
}

/// Builds the test programs of a workspace.
fn test_programs(layout: &Layout, workspace: &Workspace) -> Result<Vec<Program>> {
    let mut step =
        Step::begin(&layout.logs(), format!("building the tests of {}", workspace.name()));
    let messages = step.run(
        cargo(layout, workspace.folder)
            .args(["test", "--locked", "--no-run"])
            .args(["--message-format", "json-render-diagnostics"])
            .args(workspace.selection()),
    )?;
    step.nothing_to_do();
    programs(layout, &messages, |artifact| artifact.profile.test)
}

/// The programs among what cargo says that it built, as far as they are wanted.
pub(super) fn programs(
    layout: &Layout,
    messages: &str,
    wanted: impl Fn(&Artifact) -> bool,
) -> Result<Vec<Program>> {
    let mut programs = Vec::new();
    for message in Message::parse_stream(messages.as_bytes()) {
        if let Message::CompilerArtifact(artifact) =
            message.context("cannot read cargo's output")?
            && wanted(&artifact)
            && let Some(executable) = artifact.executable
        {
            let folder = artifact.manifest_path.parent().map(PathBuf::from);
            let folder = folder.unwrap_or_default();
            let package = crate::vendor::short_name(&folder);
            let package =
                if folder == layout.root() { "wdm-interrupt".to_owned() } else { package };
            let name = if artifact.target.is_test() {
                format!("{package}, {}", artifact.target.name)
            } else {
                package
            };
            programs.push(Program { name, executable: executable.into(), folder });
        }
    }
    Ok(programs)
}

/// Runs a program of tests, and reports each of them.
fn report(runner: &mut Runner<'_>, program: &str, command: &mut Command) {
    let (output, success) = match run_limited(command, LIMIT) {
        Ok(ended) => ended,
        Err(error) => {
            runner.prevented(&format!("host: {program}"), &error);
            return;
        }
    };
    let results = libtest::results(&output);
    let explained = success || results.iter().any(|result| result.outcome.is_err());
    for result in results {
        runner.report(&format!("host: {program}: {}", result.name), None, result.outcome);
    }
    if !explained {
        runner.prevented(&format!("host: {program}"), &anyhow!(text::tail(&output, 60)));
    }
}

/// Runs a program, for so long at most, and returns what it printed and whether it succeeded.
pub(super) fn run_limited(command: &mut Command, limit: Duration) -> Result<(String, bool)> {
    let program = Path::new(command.get_program()).display().to_string();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {program}"))?;
    let stdout = child.stdout.take().map(read_all);
    let stderr = child.stderr.take().map(read_all);
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().context("lost the test program")? {
            break status;
        }
        if begun.elapsed() > limit {
            child.kill().context("cannot stop the test program")?;
            child.wait().context("lost the test program")?;
            bail!("{program} was stopped after {} s", limit.as_secs());
        }
        thread::sleep(Duration::from_millis(10));
    };
    let mut output = String::new();
    for reader in [stdout, stderr].into_iter().flatten() {
        output.push_str(&reader.join().unwrap_or_default());
    }
    Ok((output, status.success()))
}

fn read_all<R: Read + Send + 'static>(mut pipe: R) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // What could be read before an error is what there is.
        drop(pipe.read_to_end(&mut bytes));
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_hangs_is_stopped() {
        let mut command = Command::new("sleep");
        let outcome = run_limited(command.arg("60"), Duration::from_millis(50));
        assert!(outcome.is_err_and(|error| error.to_string().contains("was stopped")));
    }

    #[test]
    fn what_a_program_prints_and_its_status_are_told() {
        let mut command = Command::new("sh");
        let outcome = run_limited(command.args(["-c", "echo out; exit 3"]), LIMIT);
        assert_eq!(outcome.ok(), Some(("out\n".to_owned(), false)));
    }
}
