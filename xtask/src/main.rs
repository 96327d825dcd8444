//! `cargo xtask`: sets up what is missing, cross-builds drivers and the test bed, boots them, reports.
//!
//! Everything that is generated lies under the repository's `target/`. The parts, in the order in which
//! a driver meets them: [`packages`] and [`llvm`] find the host's tools, [`kit`] lays out the headers and
//! import libraries that stand for the WDK, [`vendor`] makes `wdk-build` fit a host that is not Windows,
//! [`toolchain`] picks a compiler for a [`processor`], [`driver`] and [`bed`] build, [`package`] makes what Windows
//! installs, [`qemu`] boots. [`demo`] and [`test`] use them all.

#![expect(
    clippy::redundant_pub_crate,
    reason = "a binary has nothing that is public, and unreachable_pub asks for it to be said"
)]

mod archive;
mod bed;
mod bench;
mod client;
mod demo;
mod driver;
mod fuzz;
mod image;
mod inf;
mod kit;
mod layout;
mod llvm;
mod mutants;
mod package;
mod packages;
mod processor;
mod progress;
mod qemu;
mod setup;
mod soak;
mod test;
mod text;
mod toolchain;
mod trace;
mod twin;
mod vendor;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use wdm_interrupt_model::trace::Trace;

use crate::driver::Profile;
use crate::layout::Layout;
use crate::mutants::Mutants;
use crate::processor::Processor;
use crate::qemu::{Boot, Interrupt, Machine};

/// Builds Windows drivers in Rust on Linux and boots them on the test bed.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Finds or installs what is missing, and lays out the kit.
    Setup,
    /// Builds a WDM driver crate to a .sys file.
    Build {
        /// Folder of the driver's crate, or of a workspace of drivers.
        #[arg(default_value = "samples/edu")]
        path: PathBuf,
        /// Builds the dev profile instead of the release profile.
        #[arg(long)]
        debug: bool,
        /// What it is built for. A driver for Arm64 is compiled and linked, and not run by anything here.
        #[arg(long, value_enum, default_value_t)]
        target: Processor,
    },
    /// Makes what Windows installs of a driver: INF, driver and catalogue with a test signature, symbols.
    Package {
        /// Folder of the driver's crate. Its INX is there, or in the repository's folder `inf`.
        #[arg(default_value = "samples/edu")]
        path: PathBuf,
    },
    /// Builds the sample's user program, for Windows.
    Client,
    /// Boots a driver on the test bed, with a device for it.
    Run {
        /// The driver.
        driver: PathBuf,
        #[command(flatten)]
        machine: Machine,
    },
    /// Sets up, builds the sample driver, and shows it serving real interrupts.
    Demo {
        /// Writes what happened to this file, for ui.perfetto.dev, and a picture of it beside it.
        #[arg(long, value_name = "FILE")]
        trace: Option<PathBuf>,
    },
    /// Changes the library in one place at a time, and looks whether a test notices. Takes about an hour.
    Mutants(Mutants),
    /// Measures drivers in Rust beside the same drivers in C: instructions, memory, size, interrupts a second.
    Bench(bench::Wanted),
    /// Connects and disconnects a driver thousands of times while its device interrupts on four processors.
    Soak {
        #[command(flatten)]
        length: soak::Length,
        /// After how many seconds the machine is stopped.
        #[arg(long, default_value_t = 3600)]
        seconds: u64,
    },
    /// Feeds the library with arbitrary inputs, and looks whether one of them shows a mistake.
    Fuzz {
        #[command(flatten)]
        wanted: fuzz::Wanted,
    },
    /// Explores more orders of the library's threads than the tests do. One preemption more takes about ten times as
    /// long: minutes.
    Loom {
        #[command(flatten)]
        wanted: test::loom::Wanted,
    },
    /// Runs all tests: formatting, lints, the host's, the drivers', the test bed's.
    Test {
        /// Runs those only whose name has this in it, or a group: format, lint, host, sanitizer, fuzz, loom,
        /// repository, inf, driver, bed.
        filter: Option<String>,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let layout = Layout::of_this_repository();
    let outcome = match arguments.command {
        Command::Setup => setup::run(&layout).map(|host| {
            println!("ready: {host}");
            true
        }),
        Command::Build { path, debug, target } => {
            build(&layout, &path, Profile::from_debug_flag(debug), target)
        }
        Command::Package { path } => package::run(&layout, &path),
        Command::Client => client::build(&layout).map(|program| {
            println!("{}", program.display());
            true
        }),
        Command::Run { driver, machine } => run(&layout, &driver, &machine),
        Command::Demo { trace } => demo::run(&layout, trace.as_deref()),
        Command::Bench(wanted) => bench::run(&layout, &wanted),
        Command::Mutants(wanted) => mutants::run(&layout, &wanted),
        Command::Soak { length, seconds } => soak::run(&layout, length, seconds),
        Command::Fuzz { wanted } => fuzz::run(&layout, &wanted),
        Command::Loom { wanted } => test::loom::explore(&layout, &wanted),
        Command::Test { filter } => test::run(&layout, filter.as_deref()),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn build(
    layout: &Layout,
    path: &std::path::Path,
    profile: Profile,
    processor: Processor,
) -> anyhow::Result<bool> {
    let host = setup::run(layout)?.for_processor(layout, processor)?;
    for driver in driver::build(layout, &host, path, profile)?.drivers {
        println!("{}", driver.display());
    }
    Ok(true)
}

fn run(layout: &Layout, driver: &std::path::Path, machine: &Machine) -> anyhow::Result<bool> {
    if !driver.is_file() {
        anyhow::bail!("there is no file {}", driver.display());
    }
    let host = setup::run(layout)?;
    let bed = bed::build(layout, &host)?;
    let boot = qemu::boot(&bed, driver, machine, &machine.run_command(), |line| {
        println!("{}", line.text);
    })?;
    if let (Some(file), Some(trace)) = (&machine.trace, &boot.trace) {
        let name = format!("{}: {}", file_name(driver), machine.play);
        trace::write(&[Trace { name, ..trace.clone() }], file)?;
    }
    if !boot.passed() {
        eprintln!("error: {}", boot.ending());
    }
    if lacks_messages(&boot, machine) {
        eprintln!(
            "help: the device cannot send messages (MSI, MSI-X); give it a line: `--interrupt line`"
        );
    }
    Ok(boot.passed())
}

fn file_name(path: &std::path::Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Whether the bed could not give the device a message, which is what it gets if nothing else is asked for.
fn lacks_messages(boot: &Boot, machine: &Machine) -> bool {
    let said = "the device has no such interrupt";
    matches!(machine.interrupt, Interrupt::Message)
        && !boot.passed()
        && boot.lines.iter().any(|line| line.text.ends_with(said))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_without_messages_is_told_from_one_without_the_line_that_was_asked_for() {
        let boot = Boot::of_lines(&["Message: the device has no such interrupt"], false);
        assert!(lacks_messages(&boot, &Machine::with_edu(1, Interrupt::Message)));
        assert!(!lacks_messages(&boot, &Machine::with_edu(1, Interrupt::Line)));
    }

    #[test]
    fn other_failures_say_nothing_of_messages() {
        let boot = Boot::of_lines(&["START returned STATUS_UNSUCCESSFUL"], false);
        assert!(!lacks_messages(&boot, &Machine::with_edu(1, Interrupt::Message)));
    }

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory as _;
        Arguments::command().debug_assert();
    }
}
