//! What the program does, in which order: apart from how the system is asked.

use std::fmt;
use std::io::{self, Write};
use std::num::NonZeroU32;
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use edu_client::{Device, Failure, Round, play};

/// How long a device that was enabled may take to be there again.
const PATIENCE: Duration = Duration::from_secs(30);

/// Asks the sample driver edu.sys for factorials and says whether all is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Parser)]
#[command(name = "edu-client", version)]
pub(crate) struct Options {
    /// How often all that can be asked is asked.
    #[arg(long, value_name = "N", default_value = "1")]
    pub(crate) rounds: NonZeroU32,
    /// How many threads ask at once, each with a handle of its own.
    #[arg(long, value_name = "N", default_value = "1")]
    pub(crate) threads: NonZeroU32,
    /// Disables and enables the device so many times, and asks again after each. Takes an administrator.
    #[arg(long = "loop", value_name = "N", default_value = "0")]
    pub(crate) cycles: u32,
}

/// The system, as far as the program needs it.
pub(crate) trait System: Sync {
    /// An open device.
    type Device: Device<Error = io::Error>;

    /// The names of the devices that are started.
    fn devices(&self) -> io::Result<Vec<String>>;

    /// Opens a device by its name.
    fn open(&self, device: &str) -> io::Result<Self::Device>;

    /// Disables a device: its driver is detached when this returns.
    fn disable(&self, device: &str) -> io::Result<()>;

    /// Enables a device again. It may be there a little later.
    fn enable(&self, device: &str) -> io::Result<()>;
}

/// Why the program ends.
#[derive(Debug)]
pub(crate) enum Error {
    /// There is nothing to talk to.
    NoDevice,
    /// What the system was asked, and what it said.
    System(&'static str, io::Error),
    /// The device or its driver did something wrong.
    Device(Failure<io::Error>),
    /// The device is still there after it was disabled.
    StillThere,
    /// The device was enabled, and did not come back.
    NotBack,
    /// The report could not be written.
    Report(io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDevice => f.write_str(
                "no device of edu.sys is started: is there an edu device, is the driver installed, \
                 and what does the Device Manager say of it?",
            ),
            Self::System(what, error) => write!(f, "cannot {what}: {error}"),
            Self::Device(failure) => failure.fmt(f),
            Self::StillThere => f.write_str("the device is still there after it was disabled"),
            Self::NotBack => {
                write!(f, "the device did not come back within {} s", PATIENCE.as_secs())
            }
            Self::Report(error) => write!(f, "cannot write the report: {error}"),
        }
    }
}

impl std::error::Error for Error {}

/// Does what `options` say with each device, and writes what comes of it to `report`.
pub(crate) fn run(
    options: Options,
    system: &impl System,
    report: &mut impl Write,
) -> Result<(), Error> {
    let devices = devices(system)?;
    if devices.is_empty() {
        return Err(Error::NoDevice);
    }
    for device in &devices {
        writeln!(report, "device      {device}").map_err(Error::Report)?;
        let first = rounds(options, system, device)?;
        writeln!(report, "{}", first.last).map_err(Error::Report)?;
        writeln!(report, "all right   {first}").map_err(Error::Report)?;
        for cycle in 1..=options.cycles {
            disable_and_enable(system, device)?;
            let played = rounds(options, system, device)?;
            writeln!(report, "cycle {cycle:<5} disabled, enabled: {played}")
                .map_err(Error::Report)?;
        }
    }
    Ok(())
}

fn devices(system: &impl System) -> Result<Vec<String>, Error> {
    system.devices().map_err(|error| Error::System("list the devices", error))
}

fn is_there(system: &impl System, device: &str) -> Result<bool, Error> {
    Ok(devices(system)?.iter().any(|present| present == device))
}

/// Disables a device, looks that it is gone, and enables it again.
fn disable_and_enable(system: &impl System, device: &str) -> Result<(), Error> {
    system
        .disable(device)
        .map_err(|error| Error::System("disable the device (as an administrator?)", error))?;
    let gone = !is_there(system, device)?;
    // Enabled in any case: whoever looks at a failure afterwards has a device to look at.
    system.enable(device).map_err(|error| Error::System("enable the device", error))?;
    if !gone {
        return Err(Error::StillThere);
    }
    let end = Instant::now() + PATIENCE;
    while !is_there(system, device)? {
        if Instant::now() > end {
            return Err(Error::NotBack);
        }
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// What came of the rounds of all threads.
#[derive(Debug)]
struct Played {
    rounds: u64,
    factorials: u64,
    interrupts: u64,
    /// The last round of one thread.
    last: Round,
}

impl fmt::Display for Played {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rounds, factorials, interrupts, .. } = self;
        write!(f, "rounds {rounds}, factorials {factorials}, interrupts since START {interrupts}")
    }
}

/// Plays the rounds from all threads. When this returns no handle is open any more: an open one would veto
/// that the device is disabled.
fn rounds(options: Options, system: &impl System, device: &str) -> Result<Played, Error> {
    let threads = options.threads.get();
    let outcomes: Vec<Result<Round, Error>> = thread::scope(|scope| {
        let running: Vec<_> = (0..threads)
            .map(|_| scope.spawn(|| rounds_of_a_thread(options, system, device)))
            .collect();
        running
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    let mut last: Option<Round> = None;
    for outcome in outcomes {
        let round = outcome?;
        // Of several threads, the one whose counters are the latest.
        if last.is_none_or(|other| other.after.claimed <= round.after.claimed) {
            last = Some(round);
        }
    }
    let last = last.ok_or(Error::NoDevice)?;
    let rounds = u64::from(threads) * u64::from(options.rounds.get());
    Ok(Played {
        rounds,
        factorials: rounds * Round::COMPUTED,
        interrupts: last.after.claimed,
        last,
    })
}

fn rounds_of_a_thread(
    options: Options,
    system: &impl System,
    device: &str,
) -> Result<Round, Error> {
    let open = system.open(device).map_err(|error| Error::System("open the device", error))?;
    let mut round = play(&open).map_err(Error::Device)?;
    for _ in 1..options.rounds.get() {
        round = play(&open).map_err(Error::Device)?;
    }
    Ok(round)
}

#[cfg(test)]
mod tests;
