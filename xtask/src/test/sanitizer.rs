//! The host's tests under `AddressSanitizer` and `ThreadSanitizer`, which see what a passing test does not show.
//!
//! Both need unstable options of the compiler, and the runtimes that rustup's toolchains bring. `AddressSanitizer` is
//! content with the standard library as it is. `ThreadSanitizer` takes every lock in it for a data race unless it was
//! compiled for it as well, and Debian packages the library's source together with a compiler that fits: so that
//! compiler builds both, and links the runtime of rustup's. A program with a planted mistake shows that each sanitizer
//! is awake.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::host::{self, Program};
use super::runner::Runner;
use crate::layout::Layout;
use crate::progress::Step;
use crate::toolchain::{self, Toolchain};
use crate::vendor::Sources;
use crate::{packages, text};

/// The host, named so that build scripts and procedural macros are not compiled for the sanitizer too.
const HOST: &str = "x86_64-unknown-linux-gnu";

/// The packages whose tests are run.
const PACKAGES: [&str; 2] = ["wdm-interrupt", "wdm-interrupt-model"];

/// How many lines of a report are shown.
const SHOWN_LINES: usize = 60;

/// A sanitizer, and how it is used.
#[derive(Debug)]
struct Sanitizer {
    name: &'static str,
    /// What rustc calls it, and its runtime.
    option: &'static str,
    runtime: &'static str,
    /// Whether the standard library has to be compiled for it.
    whole: bool,
    /// The variable with its options, and these.
    options: (&'static str, &'static str),
    /// A mistake that it must find, what that is called, and what the report calls it.
    planted: &'static str,
    mistake: &'static str,
    reported: &'static str,
}

const SANITIZERS: [Sanitizer; 2] = [
    Sanitizer {
        name: "AddressSanitizer",
        option: "address",
        runtime: "asan",
        whole: false,
        // The model says what of a driver's memory is left behind; some tests forget a registration on purpose.
        options: ("ASAN_OPTIONS", "detect_leaks=0"),
        planted: "
fn main() {
    let pointer = Box::into_raw(Box::new(1_u32));
    drop(unsafe { Box::from_raw(pointer) });
    println!(\"{}\", unsafe { pointer.read_volatile() });
}
",
        mistake: "use after free",
        reported: "AddressSanitizer: heap-use-after-free",
    },
    Sanitizer {
        name: "ThreadSanitizer",
        option: "thread",
        runtime: "tsan",
        whole: true,
        options: ("TSAN_OPTIONS", "halt_on_error=1"),
        planted: "
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

static mut COUNT: u32 = 0;
static STARTED: AtomicU32 = AtomicU32::new(0);

fn main() {
    let add = || {
        // Both are here before one of them ends, and that makes no order between them.
        STARTED.fetch_add(1, Relaxed);
        while STARTED.load(Relaxed) < 2 {
            std::thread::yield_now();
        }
        for _ in 0..1000 {
            unsafe { COUNT += 1 };
            std::thread::yield_now();
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(add);
        scope.spawn(add);
    });
}
",
        mistake: "data race",
        reported: "ThreadSanitizer: data race",
    },
];

/// Runs all of this module's tests.
pub(super) fn run(layout: &Layout, runner: &mut Runner<'_>) {
    for sanitizer in &SANITIZERS {
        let name = sanitizer.name;
        runner.test(&format!("sanitizer: {name} finds a planted {}", sanitizer.mistake), || {
            sanitizer.find_planted(layout)
        });
        runner.test(&format!("sanitizer: the host's tests under {name}"), || {
            sanitizer.run_tests(layout)
        });
    }
}

impl Sanitizer {
    /// Builds and runs the program with the planted mistake, which must not go unnoticed.
    fn find_planted(&self, layout: &Layout) -> Result<()> {
        let folder = self.target(layout).join("planted");
        text::write_if_changed(
            &folder.join("Cargo.toml"),
            b"[package]\nname = \"planted\"\nedition = \"2024\"\n\n[workspace]\n",
        )?;
        text::write_if_changed(&folder.join("src").join("main.rs"), self.planted.as_bytes())?;
        let mut command = self.cargo(layout)?;
        command.current_dir(&folder).args(["build", "--offline"]);
        // What does not compile does not run, and there is nothing for a sanitizer to see in it.
        let runs = |program: &Program| !program.name.contains("compile_fail");
        for program in self.build(layout, &mut command)?.into_iter().filter(runs) {
            let (output, success) = self.run_program(&program)?;
            if success || !output.contains(self.reported) {
                bail!("it went unnoticed:\n{output}");
            }
        }
        Ok(())
    }

    /// Builds and runs the tests.
    fn run_tests(&self, layout: &Layout) -> Result<()> {
        let mut command = self.cargo(layout)?;
        command.args(["test", "--locked", "--no-run", "--tests"]);
        command.args(PACKAGES.iter().flat_map(|package| ["--package", package]));
        // What does not compile does not run, and there is nothing for a sanitizer to see in it.
        let runs = |program: &Program| !program.name.contains("compile_fail");
        for program in self.build(layout, &mut command)?.into_iter().filter(runs) {
            let (output, success) = self.run_program(&program)?;
            if !success {
                bail!("{}:\n{}", program.name, report(&output));
            }
        }
        Ok(())
    }

    /// Ends `command`, which builds programs, with what all builds for this sanitizer have, and runs it.
    fn build(&self, layout: &Layout, command: &mut Command) -> Result<Vec<Program>> {
        if self.whole {
            command.arg("-Zbuild-std=std,test,panic_unwind");
        }
        command.args(["--target", HOST, "--message-format", "json-render-diagnostics"]);
        let mut step = Step::begin(&layout.logs(), format!("building for {}", self.name));
        let messages = step.run(command)?;
        step.nothing_to_do();
        let programs = host::programs(layout, &messages, |_| true)?;
        if programs.is_empty() {
            bail!("nothing was built");
        }
        Ok(programs)
    }

    fn run_program(&self, program: &Program) -> Result<(String, bool)> {
        let mut command = Command::new(&program.executable);
        let (variable, options) = self.options;
        command.current_dir(&program.folder).env(variable, options).env("RUST_BACKTRACE", "0");
        // Tests that explore have each thread do the same in every schedule, so a few are enough here.
        command.env("WDM_INTERRUPT_SEEDS", "20");
        host::run_limited(&mut command, host::LIMIT)
    }

    /// `cargo` that compiles for this sanitizer.
    fn cargo(&self, layout: &Layout) -> Result<Command> {
        let runtime = toolchain::sanitizer_runtime(self.runtime, HOST).with_context(|| {
            format!("no toolchain of rustup's has the runtime of {}", self.name)
        })?;
        let mut flags = vec![format!("-Zsanitizer={}", self.option)];
        let mut command = if self.whole {
            packages::install_compiler(&layout.logs())?;
            let sources = Sources::of(layout, &Toolchain::Debian, layout.root())?;
            flags.extend(linking(&runtime));
            let mut command = Toolchain::Debian.cargo();
            command.env("CARGO_HOME", sources.home);
            command
        } else {
            host::cargo(layout, "")
        };
        command
            .current_dir(layout.root())
            .env("RUSTC_BOOTSTRAP", "1")
            .env("CARGO_TERM_PROGRESS_WHEN", "always")
            .env("CARGO_TERM_PROGRESS_WIDTH", "100")
            .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
            .env("CARGO_TARGET_DIR", self.target(layout));
        Ok(command)
    }

    /// Where programs for this sanitizer are built.
    fn target(&self, layout: &Layout) -> PathBuf {
        layout.target().join("sanitizer").join(self.option)
    }
}

/// The flags that link all of a runtime which is not the compiler's own, before anything that it replaces.
fn linking(runtime: &Path) -> impl Iterator<Item = String> {
    let runtime = runtime.display().to_string();
    ["-Wl,--whole-archive".to_owned(), runtime, "-Wl,--no-whole-archive".to_owned()]
        .map(|argument| format!("-Zpre-link-arg={argument}"))
        .into_iter()
        .chain(["-Zexternal-clangrt".to_owned()])
}

/// The first report of a sanitizer in what a program printed, or the end of it if there is none.
fn report(output: &str) -> String {
    let begin = |line: &str| line.contains("Sanitizer") && !line.starts_with("SUMMARY");
    let report: Vec<&str> =
        output.lines().skip_while(|line| !begin(line)).take(SHOWN_LINES).collect();
    if report.is_empty() { text::tail(output, SHOWN_LINES) } else { report.join("\n") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_shown_from_its_beginning() {
        let output =
            "test a ... ok\nWARNING: ThreadSanitizer: data race (pid=1)\n  Write of size 4\n";
        assert_eq!(
            report(output),
            "WARNING: ThreadSanitizer: data race (pid=1)\n  Write of size 4"
        );
    }

    #[test]
    fn a_failure_without_a_report_is_shown_by_its_end() {
        assert_eq!(report("one\ntwo"), "one\ntwo");
    }

    #[test]
    fn a_foreign_runtime_is_linked_as_a_whole() {
        let flags: Vec<String> = linking(Path::new("/r/tsan.a")).collect();
        assert_eq!(
            flags,
            [
                "-Zpre-link-arg=-Wl,--whole-archive",
                "-Zpre-link-arg=/r/tsan.a",
                "-Zpre-link-arg=-Wl,--no-whole-archive",
                "-Zexternal-clangrt",
            ]
        );
    }
}
