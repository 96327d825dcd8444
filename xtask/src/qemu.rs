//! Boots a driver on the test bed under QEMU.

use std::fmt;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};

use wdm_interrupt_model::trace::Trace;

use crate::archive::Archive;
use crate::packages::QEMU;
use crate::trace::Channel;

/// What QEMU's isa-debug-exit makes of the value that the bed writes on success.
const PASSED: i32 = (0x10 << 1) | 1;

/// What it makes of the value that the bed writes on failure.
const FAILED: i32 = (0x11 << 1) | 1;

/// The slots that devices get, in order. They are equal modulo 4, so that their lines are one line.
const SLOTS: [u32; 3] = [4, 8, 12];

/// How many lines a failure shows.
const SHOWN_LINES: usize = 12;

/// What the bed gives the device for an interrupt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Interrupt {
    /// A message, if the device has the capability.
    Message,
    /// A line only.
    Line,
    /// A line that is served at `PASSIVE_LEVEL`.
    Passive,
}

impl fmt::Display for Interrupt {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Message => "message",
            Self::Line => "line",
            Self::Passive => "passive",
        })
    }
}

/// The machine that is booted.
#[derive(Debug, Clone, Args)]
pub(crate) struct Machine {
    /// A device, by the name that QEMU has for it; may be given several times.
    #[arg(long = "device", default_value = "edu")]
    pub(crate) devices: Vec<String>,
    /// How many processors the machine has.
    #[arg(long, default_value_t = 4)]
    pub(crate) smp: u32,
    /// What the device is given.
    #[arg(long, value_enum, default_value_t = Interrupt::Message)]
    pub(crate) interrupt: Interrupt,
    /// At most how many messages the device is given; 0 makes it a line.
    #[arg(long)]
    pub(crate) messages: Option<u32>,
    /// Has threaded DPCs run as the others, at `DISPATCH_LEVEL`.
    #[arg(long)]
    pub(crate) no_dpc_threads: bool,
    /// What the bed does with the driver: `run`, `failures`, `devfund`, `demo`, `messages`, or `test NAME`.
    #[arg(long, default_value = "run")]
    pub(crate) play: String,
    /// After how many seconds the machine is stopped.
    #[arg(long, default_value_t = 120)]
    pub(crate) seconds: u64,
    /// Another driver that is loaded beside the first, for what takes two; may be given several times.
    #[arg(long = "with", value_name = "DRIVER")]
    pub(crate) others: Vec<PathBuf>,
    /// Counts time in instructions, `-icount shift=0,sleep=off`: one tick of the time stamp counter is one.
    #[arg(long)]
    pub(crate) icount: bool,
    /// The name of the service that the driver is started as, if not its own.
    #[arg(long)]
    pub(crate) service: Option<String>,
    /// Writes what happened to this file, for ui.perfetto.dev, and a picture of it beside it.
    #[arg(long, value_name = "FILE")]
    pub(crate) trace: Option<PathBuf>,
}

impl Machine {
    /// A machine with four processors and `count` edu devices.
    pub(crate) fn with_edu(count: usize, interrupt: Interrupt) -> Self {
        Self::with("edu", count, interrupt)
    }

    /// A machine with four processors and `count` devices of one kind.
    pub(crate) fn with(device: &str, count: usize, interrupt: Interrupt) -> Self {
        Self {
            devices: vec![device.to_owned(); count],
            smp: 4,
            interrupt,
            messages: None,
            no_dpc_threads: false,
            play: "run".to_owned(),
            seconds: 120,
            others: Vec::new(),
            icount: false,
            service: None,
            trace: None,
        }
    }

    /// The bed's command line for running a driver.
    pub(crate) fn run_command(&self) -> String {
        let messages = self.messages.map(|count| format!(" messages={count}"));
        let service = self.service.as_ref().map(|name| format!(" service={name}"));
        let threads = if self.no_dpc_threads { " threaded-dpcs=off" } else { "" };
        let words = messages.unwrap_or_default() + &service.unwrap_or_default();
        format!("{} interrupt={}{words}{threads}", self.play, self.interrupt)
    }

    /// By which clock the processors run: each in a thread, or in turns, counted.
    const fn clock_arguments(&self) -> &'static [&'static str] {
        if self.icount {
            &["-accel", "tcg,thread=single", "-icount", "shift=0,sleep=off"]
        } else {
            &["-accel", "tcg,thread=multi"]
        }
    }

    /// The devices with a slot each.
    fn device_arguments(&self) -> Result<Vec<String>> {
        if self.devices.len() > SLOTS.len() {
            bail!("{} devices, and {} is the most", self.devices.len(), SLOTS.len());
        }
        let slots = self.devices.iter().zip(SLOTS);
        Ok(slots.flat_map(|(device, slot)| one_device(device, slot)).collect())
    }
}

/// QEMU's arguments for a device in a slot.
///
/// A network controller would ask for the file of a program that boots from it, and for a network.
fn one_device(device: &str, slot: u32) -> Vec<String> {
    let argument = |option: &str, value: String| [option.to_owned(), value];
    if device.starts_with("e1000e") {
        let network = argument("-netdev", format!("user,id=network{slot},restrict=on"));
        let device = format!("{device},addr={slot},romfile=,netdev=network{slot}");
        return network.into_iter().chain(argument("-device", device)).collect();
    }
    argument("-device", format!("{device},addr={slot}")).into()
}

/// One line that the machine printed.
#[derive(Debug, Clone)]
pub(crate) struct Printed {
    pub(crate) text: String,
    /// Since QEMU was started.
    pub(crate) at: Duration,
}

/// What came of a boot.
#[derive(Debug)]
pub(crate) struct Boot {
    pub(crate) lines: Vec<Printed>,
    pub(crate) took: Duration,
    /// What was recorded, if it was to be.
    pub(crate) trace: Option<Trace>,
    end: End,
}

/// How a machine ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// By itself, with this exit code; without one, by a signal.
    Exited(Option<i32>),
    TimedOut(u64),
}

impl Boot {
    /// Whether the bed said that all was as it must be.
    pub(crate) fn passed(&self) -> bool {
        self.end == End::Exited(Some(PASSED))
    }

    /// Whether the bed said that something was not as it must be.
    pub(crate) fn failed(&self) -> bool {
        self.end == End::Exited(Some(FAILED))
    }

    /// Whether the machine was stopped because its time was over.
    pub(crate) const fn timed_out(&self) -> bool {
        matches!(self.end, End::TimedOut(_))
    }

    /// How the machine ended, in words.
    pub(crate) fn ending(&self) -> String {
        match self.end {
            End::Exited(Some(PASSED)) => "the run passed".to_owned(),
            End::Exited(Some(FAILED)) => "the run failed".to_owned(),
            End::Exited(Some(code)) => {
                format!("the machine ended without a verdict (QEMU exited with {code})")
            }
            End::Exited(None) => "the machine ended without a verdict (QEMU was killed)".to_owned(),
            End::TimedOut(seconds) => format!("the machine was stopped after {seconds} s"),
        }
    }

    /// When the driver's entry was reached.
    pub(crate) fn driver_reached(&self) -> Option<Duration> {
        self.lines.iter().find(|line| line.text.ends_with(": DriverEntry")).map(|line| line.at)
    }
}

impl fmt::Display for Boot {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.ending())?;
        if self.passed() {
            return Ok(());
        }
        formatter.write_str("; its last lines were")?;
        for line in &self.lines[self.lines.len().saturating_sub(SHOWN_LINES)..] {
            write!(formatter, "\n    {}", line.text)?;
        }
        Ok(())
    }
}

/// Boots `driver` on `bed`, with `command` on the bed's command line, and calls `seen` for each line as
/// it is printed.
///
/// # Errors
///
/// QEMU or one of the files is not there. A run that fails is not an error but a [`Boot`] that did not
/// pass.
pub(crate) fn boot(
    bed: &Path,
    driver: &Path,
    machine: &Machine,
    command: &str,
    mut seen: impl FnMut(&Printed),
) -> Result<Boot> {
    let others = machine.others.iter().map(PathBuf::as_path);
    for file in [bed, driver].into_iter().chain(others.clone()) {
        if !file.is_file() {
            bail!("there is no file {}", file.display());
        }
    }
    let archive = if machine.others.is_empty() {
        None
    } else {
        Some(Archive::of(std::iter::once(driver).chain(others))?)
    };
    let mut qemu = Command::new(QEMU);
    qemu.args(["-machine", "q35", "-cpu", "max", "-m", "256"])
        .args(machine.clock_arguments())
        .args(["-nodefaults", "-display", "none", "-no-reboot", "-serial", "stdio"])
        .args(["-smp", &machine.smp.to_string()])
        .args(["-device", "isa-debug-exit,iobase=0xf4,iosize=0x04"])
        .args(["-append", &with_recording(command, machine)])
        .arg("-kernel")
        .arg(bed)
        .arg("-initrd")
        .arg(archive.as_ref().map_or(driver, Archive::path));
    qemu.args(machine.device_arguments()?);
    let channel = machine.trace.as_ref().map(|_| Channel::open()).transpose()?;
    if let Some(channel) = &channel {
        qemu.args(channel.arguments());
    }
    let begun = Instant::now();
    let mut child = qemu
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {QEMU}"))?;
    let (sender, receiver) = mpsc::channel();
    let readers = [
        child.stdout.take().map(|pipe| forward(pipe, sender.clone(), begun)),
        child.stderr.take().map(|pipe| forward(pipe, sender, begun)),
    ];
    let mut lines = Vec::new();
    let deadline = begun + Duration::from_secs(machine.seconds);
    let timed_out = loop {
        match receiver.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                seen(&line);
                lines.push(line);
            }
            Err(RecvTimeoutError::Timeout) => break true,
            Err(RecvTimeoutError::Disconnected) => break false,
        }
    };
    if timed_out {
        child.kill().context("cannot stop QEMU")?;
    }
    let status = child.wait().context("lost QEMU")?;
    for reader in readers.into_iter().flatten() {
        // A reader that panicked has said so on standard error; the status decides.
        drop(reader.join());
    }
    lines.extend(receiver.try_iter());
    let took = begun.elapsed();
    let end = if timed_out { End::TimedOut(machine.seconds) } else { End::Exited(status.code()) };
    let trace = match (channel, end) {
        (Some(channel), End::Exited(Some(PASSED | FAILED))) => Some(channel.read()?),
        // Without a verdict the bed has sent nothing either.
        _ => None,
    };
    Ok(Boot { lines, took, trace, end })
}

/// The bed's command line, by which it records if somebody wants to see it.
fn with_recording(command: &str, machine: &Machine) -> String {
    let recording = if machine.trace.is_some() { " trace=on" } else { "" };
    format!("{command}{recording}")
}

/// Sends each line that `pipe` brings, with its time.
fn forward<R: Read + Send + 'static>(
    pipe: R,
    sender: mpsc::Sender<Printed>,
    begun: Instant,
) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        for line in BufReader::new(pipe).split(b'\n') {
            let Ok(line) = line else { break };
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            if sender.send(Printed { text, at: begun.elapsed() }).is_err() {
                break;
            }
        }
    })
}

#[cfg(test)]
impl Boot {
    /// A boot that printed `lines` and ended with a verdict.
    pub(crate) fn of_lines(lines: &[&str], passed: bool) -> Self {
        let code = if passed { PASSED } else { FAILED };
        let printed = |text: &&str| Printed { text: (*text).to_owned(), at: Duration::ZERO };
        Self {
            lines: lines.iter().map(printed).collect(),
            took: Duration::ZERO,
            trace: None,
            end: End::Exited(Some(code)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boot_with(end: End) -> Boot {
        let line = Printed {
            text: "driver edu.sys: DriverEntry".to_owned(),
            at: Duration::from_millis(300),
        };
        Boot { lines: vec![line], took: Duration::from_secs(1), trace: None, end }
    }

    #[test]
    fn only_the_beds_own_word_is_success() {
        assert!(boot_with(End::Exited(Some(PASSED))).passed());
        assert!(!boot_with(End::Exited(Some(0))).passed());
        assert!(!boot_with(End::TimedOut(120)).passed());
    }

    #[test]
    fn a_machine_that_was_stopped_says_so_and_shows_its_last_lines() {
        let text = boot_with(End::TimedOut(120)).to_string();
        assert_eq!(
            text,
            "the machine was stopped after 120 s; its last lines were\n    driver edu.sys: DriverEntry"
        );
    }

    #[test]
    fn the_drivers_entry_is_timed_by_the_line_that_announces_it() {
        assert_eq!(boot_with(End::TimedOut(1)).driver_reached(), Some(Duration::from_millis(300)));
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let machine = Machine::with_edu(1, Interrupt::Line);
        let bed = Path::new("no-such-bed");
        let error = boot(bed, Path::new("no.sys"), &machine, "list", |_| ()).map(drop);
        let text = error.map_err(|error| error.to_string());
        assert_eq!(text, Err("there is no file no-such-bed".to_owned()));
    }

    #[test]
    fn more_devices_than_slots_are_an_error() {
        let machine = Machine::with_edu(4, Interrupt::Line);
        let text = machine.device_arguments().map_err(|error| error.to_string());
        assert_eq!(text, Err("4 devices, and 3 is the most".to_owned()));
    }

    #[test]
    fn a_service_is_named_to_the_bed() {
        let mut machine = Machine::with_edu(1, Interrupt::Line);
        assert_eq!(machine.run_command(), "run interrupt=line");
        machine.service = Some("other".to_owned());
        assert_eq!(machine.run_command(), "run interrupt=line service=other");
    }

    #[test]
    fn what_is_played_and_with_how_many_messages_is_named_to_the_bed() {
        let mut machine = Machine::with("e1000e", 1, Interrupt::Message);
        machine.play = "messages".to_owned();
        machine.messages = Some(3);
        assert_eq!(machine.run_command(), "messages interrupt=message messages=3");
        machine.interrupt = Interrupt::Passive;
        machine.no_dpc_threads = true;
        assert_eq!(
            machine.run_command(),
            "messages interrupt=passive messages=3 threaded-dpcs=off"
        );
    }

    #[test]
    fn a_network_controller_boots_nothing_and_has_a_network_of_its_own() {
        let machine = Machine::with("e1000e", 1, Interrupt::Message);
        let arguments = machine.device_arguments().unwrap_or_default().join(" ");
        assert_eq!(
            arguments,
            "-netdev user,id=network4,restrict=on -device e1000e,addr=4,romfile=,netdev=network4"
        );
    }

    #[test]
    fn two_devices_share_a_line() {
        let machine = Machine::with_edu(2, Interrupt::Line);
        let arguments = machine.device_arguments().ok();
        assert_eq!(
            arguments.as_deref(),
            Some(&["-device", "edu,addr=4", "-device", "edu,addr=8"].map(str::to_owned)[..])
        );
    }
}
