//! `cargo xtask fuzz`: arbitrary inputs for the targets in `fuzz/`, steered by the code that they reach.
//!
//! The targets are compiled for `libFuzzer` and `AddressSanitizer`. Both take unstable options, which the stable
//! compiler has under `RUSTC_BOOTSTRAP`, so no other toolchain is needed. What is found on the way is kept below
//! `target/fuzz`, and on demand the part of it that reaches more goes into the corpus in the tree.

use std::fmt;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};

use crate::layout::Layout;
use crate::llvm::Llvm;
use crate::progress::Step;
use crate::test::host;
use crate::{packages, text};

/// The host, named so that build scripts and procedural macros are not compiled for the fuzzer too.
const HOST: &str = "x86_64-unknown-linux-gnu";

/// What the compiler adds: the sanitizer, and the counters and comparisons that `libFuzzer` goes by.
const FLAGS: [&str; 7] = [
    "--cfg=fuzzing",
    "-Zsanitizer=address",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];

/// How to fuzz.
#[derive(Debug, Args)]
pub(crate) struct Wanted {
    /// The target; all of them if none is named.
    target: Option<Target>,
    /// For how many seconds each.
    #[arg(default_value_t = 60)]
    seconds: u32,
    /// Adds the inputs that reach more code to the corpus in the tree.
    #[arg(long)]
    keep: bool,
}

/// A program in `fuzz/fuzz_targets`.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum Target {
    /// Resource lists of arbitrary bytes.
    ResourceList,
    /// Arbitrary sequences of operations on devices and their registrations.
    Operations,
}

impl Target {
    /// The name of the program, and of its corpus.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::ResourceList => "resource_list",
            Self::Operations => "operations",
        }
    }

    /// How long an input may be.
    const fn longest(self) -> usize {
        match self {
            Self::ResourceList => 1024,
            Self::Operations => 512,
        }
    }
}

/// Fuzzes, and says whether nothing was found.
pub(crate) fn run(layout: &Layout, wanted: &Wanted) -> Result<bool> {
    build(layout)?;
    let all = Target::value_variants().iter().copied();
    for target in all.filter(|&target| wanted.target.is_none_or(|it| it == target)) {
        let places = Places::of(layout, target)?;
        let figures = places.fuzz(wanted.seconds, |line| {
            if is_worth_showing(line) {
                println!("{line}");
            }
        })?;
        println!("{}: {figures}", target.name());
        if wanted.keep {
            places.keep()?;
        }
    }
    Ok(true)
}

/// Whether a line is shown: not each input that was found, and not the words that were of use.
fn is_worth_showing(line: &str) -> bool {
    let figures = [" INITED ", " pulse ", " DONE "].iter().any(|it| has(line, it));
    figures || !line.starts_with(['#', '"', '\t'])
}

/// Whether a line of figures is of this kind.
fn has(line: &str, kind: &str) -> bool {
    line.replace('\t', " ").contains(kind)
}

/// Builds the targets.
pub(crate) fn build(layout: &Layout) -> Result<()> {
    let mut command = host::cargo(layout, "fuzz");
    if let Some(compiler) = other_compiler(layout)? {
        command.env("CXX", compiler);
    }
    command
        .args(["build", "--locked", "--release", "--target", HOST])
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\x1f"));
    let mut step = Step::begin(&layout.logs(), "building the fuzz targets");
    step.run(&mut command)?;
    step.nothing_to_do();
    Ok(())
}

/// `libFuzzer` is C++. Where the system has no compiler for it, LLVM's is one, and its package brings the library.
fn other_compiler(layout: &Layout) -> Result<Option<PathBuf>> {
    let mut system = Command::new("c++");
    system.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    if system.status().is_ok_and(|status| status.success()) {
        return Ok(None);
    }
    if Llvm::newest().is_none() {
        packages::install_missing(&layout.logs())?;
    }
    let llvm = Llvm::newest().context("there is no compiler for C++")?;
    Ok(Some(llvm.clang().with_file_name("clang++")))
}

/// Where a target's things are.
#[derive(Debug)]
pub(crate) struct Places {
    target: Target,
    program: PathBuf,
    /// Inputs that are in the tree.
    corpus: PathBuf,
    /// Inputs that were found since.
    grown: PathBuf,
    /// Inputs that something is wrong with.
    failures: PathBuf,
}

impl Places {
    /// Those of `target`, whose folders are made if need be.
    pub(crate) fn of(layout: &Layout, target: Target) -> Result<Self> {
        let folder = layout.target().join("fuzz");
        let places = Self {
            target,
            program: folder.join(HOST).join("release").join(target.name()),
            corpus: corpora(layout).join(target.name()),
            grown: folder.join("corpus").join(target.name()),
            failures: folder.join("failures").join(target.name()),
        };
        text::create_folder(&places.grown)?;
        text::create_folder(&places.failures)?;
        Ok(places)
    }

    /// Runs the target for so long, and shows what it prints. What it finds is an error.
    pub(crate) fn fuzz(&self, seconds: u32, mut show: impl FnMut(&str)) -> Result<Figures> {
        let mut command = self.command();
        command
            .arg(format!("-max_total_time={seconds}"))
            .arg(format!("-artifact_prefix={}/", self.failures.display()))
            // Long inputs from the beginning: what they do is what is of interest.
            .arg("-len_control=0")
            .args([&self.grown, &self.corpus])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command.spawn().context("cannot start the target")?;
        let mut output = String::new();
        for line in BufReader::new(child.stderr.take().context("no output")?).split(b'\n') {
            let line = line.context("lost the target's output")?;
            let line = String::from_utf8_lossy(&line);
            show(&line);
            output.push_str(&line);
            output.push('\n');
        }
        if !child.wait().context("lost the target")?.success() {
            bail!("{}\n{}", self.script_of(&output), text::tail(&output, 60));
        }
        Figures::read(&output).context("the target said nothing of what it did")
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command
            .arg(format!("-max_len={}", self.target.longest()))
            // The model says what is left behind.
            .env("ASAN_OPTIONS", "detect_leaks=0");
        command
    }

    /// The input that something is wrong with, readable, and how to run it again.
    fn script_of(&self, output: &str) -> String {
        let said = "Test unit written to ";
        let Some(input) = output.lines().find_map(|line| Some(line.split_once(said)?.1)) else {
            return "it ended, and left no input".to_owned();
        };
        let script = self.failures.join("script");
        let mut command = self.command();
        command.arg(input).env("RUST_LIBFUZZER_DEBUG_PATH", &script).stderr(Stdio::null());
        // What cannot be printed is in the file still.
        let printed = command.status().ok().and_then(|_status| fs::read_to_string(&script).ok());
        let again = format!("{} {input}", self.program.display());
        format!("{}\nagain with: {again}", printed.unwrap_or_default())
    }

    /// Adds inputs that reach code which no input of the corpus reaches.
    fn keep(&self) -> Result<()> {
        let mut command = self.command();
        command
            .arg("-set_cover_merge=1")
            // How often code is run makes no other input of it.
            .arg("-use_counters=0")
            .args([&self.corpus, &self.grown]);
        let output = command.output().context("cannot start the target")?;
        if !output.status.success() {
            bail!("{}", text::tail(&String::from_utf8_lossy(&output.stderr), 20));
        }
        let inputs = inputs(&self.corpus)?.len();
        println!("{}: {inputs} inputs in the tree", self.target.name());
        Ok(())
    }
}

/// Where the corpora are in the tree.
fn corpora(layout: &Layout) -> PathBuf {
    layout.root().join("fuzz").join("corpus")
}

fn inputs(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = folder.read_dir().with_context(|| format!("no {}", folder.display()))?;
    entries.map(|entry| Ok(entry?.path())).collect()
}

/// Each corpus belongs to a target and has inputs, and each target has one.
pub(crate) fn check_corpora(layout: &Layout) -> Result<()> {
    let mut expected: Vec<PathBuf> =
        Target::value_variants().iter().map(|target| corpora(layout).join(target.name())).collect();
    let mut present = inputs(&corpora(layout))?;
    expected.sort();
    present.sort();
    if present != expected {
        bail!("there are {present:?}, and the targets are {:?}", Target::value_variants());
    }
    for folder in present {
        if inputs(&folder)?.is_empty() {
            bail!("{} is empty", folder.display());
        }
    }
    Ok(())
}

/// What a run of a target did.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Figures {
    runs: u64,
    per_second: u64,
    /// Of the edges between blocks of code, those that were reached, and how many there are.
    reached: u64,
    edges: u64,
}

impl Figures {
    /// Those in what `libFuzzer` prints.
    fn read(output: &str) -> Option<Self> {
        let counters = output.lines().find_map(|line| line.split_once(" inline 8-bit counters"))?.0;
        let done = output.lines().find(|line| has(line, " DONE "))?;
        let mut words = done.split_whitespace();
        let runs = words.next()?.strip_prefix('#')?.parse().ok()?;
        let words: Vec<&str> = words.collect();
        let figure = |name| {
            let place = words.iter().position(|word| *word == name)?;
            words.get(place + 1)?.parse().ok()
        };
        Some(Self {
            runs,
            per_second: figure("exec/s:")?,
            reached: figure("cov:")?,
            edges: counters.rsplit('(').next()?.parse().ok()?,
        })
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { runs, per_second, reached, edges } = self;
        write!(
            formatter,
            "{runs} inputs, {per_second} a second; {reached} of {edges} edges reached"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "\
INFO: Loaded 1 modules   (9246 inline 8-bit counters): 9246 [0x1, 0x2),
#2\tINITED cov: 16 ft: 16 corp: 1/1b exec/s: 0 rss: 32Mb
#46983\tDONE   cov: 4570 ft: 9006 corp: 383/9184b lim: 38 exec/s: 1515 rss: 391Mb
";

    #[test]
    fn the_figures_are_read_from_what_libfuzzer_prints() {
        let figures = Figures::read(OUTPUT);
        let expected = Figures { runs: 46983, per_second: 1515, reached: 4570, edges: 9246 };
        assert_eq!(figures, Some(expected));
        assert_eq!(Figures::read("#2\tINITED cov: 16"), None);
    }

    #[test]
    fn of_what_libfuzzer_prints_the_figures_are_shown_and_all_that_is_no_routine() {
        let shown =
            ["#2\tINITED cov: 16 ft: 16", "==1== ERROR: AddressSanitizer: heap-use-after-free"];
        assert!(shown.into_iter().all(is_worth_showing));
        let hidden = ["#31\tNEW    cov: 19 ft: 19", "\"\\001\\000\" # Uses: 342859", "###### End"];
        assert!(!hidden.into_iter().any(is_worth_showing));
    }

    #[test]
    fn a_target_is_asked_for_by_the_name_of_its_program() {
        for target in Target::value_variants() {
            assert_eq!(Target::from_str(target.name(), false), Ok(*target));
        }
    }
}
