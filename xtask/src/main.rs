//! `cargo xtask`: sets up what is missing, cross-builds drivers and the test bed, boots them, reports.
//!
//! Everything that is generated lies under the repository's `target/`. The parts, in the order in which
//! a driver meets them: [`packages`] and [`llvm`] find the host's tools, [`kit`] lays out the headers and
//! import libraries that stand for the WDK, [`vendor`] makes `wdk-build` fit a host that is not Windows,
//! [`toolchain`] picks a compiler, [`driver`] and [`bed`] build, [`qemu`] boots. [`demo`] and [`test`] use
//! them all.

#![expect(
    clippy::redundant_pub_crate,
    reason = "a binary has nothing that is public, and unreachable_pub asks for it to be said"
)]

mod bed;
mod demo;
mod driver;
mod kit;
mod layout;
mod llvm;
mod packages;
mod progress;
mod qemu;
mod setup;
mod test;
mod text;
mod toolchain;
mod vendor;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::driver::Profile;
use crate::layout::Layout;
use crate::qemu::Machine;

/// Builds Windows drivers in Rust on Linux and boots them on the test bed.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", version, about)]
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
    },
    /// Boots a driver on the test bed, with a device for it.
    Run {
        /// The driver.
        driver: PathBuf,
        #[command(flatten)]
        machine: Machine,
    },
    /// Sets up, builds the sample driver, and shows it serving real interrupts.
    Demo,
    /// Runs all tests: formatting, lints, the host's, the drivers', the test bed's.
    Test {
        /// Runs those only whose name has this in it.
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
        Command::Build { path, debug } => build(&layout, &path, Profile::from_debug_flag(debug)),
        Command::Run { driver, machine } => run(&layout, &driver, &machine),
        Command::Demo => demo::run(&layout),
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

fn build(layout: &Layout, path: &std::path::Path, profile: Profile) -> anyhow::Result<bool> {
    let host = setup::run(layout)?;
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
    if !boot.passed() {
        eprintln!("error: {}", boot.ending());
    }
    Ok(boot.passed())
}
