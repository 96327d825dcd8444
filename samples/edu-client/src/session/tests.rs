//! The order of things, on a system that is made up.

use std::sync::Mutex;

use edu_interface::{BadRequest, Connection, FactorialReply, Request, Statistics};

use super::*;

/// What happened to the made-up device, and what it has counted.
#[derive(Debug)]
struct State {
    there: bool,
    open: u32,
    most_open: u32,
    /// How often the devices are asked for until one that was enabled is there.
    absent_for: u32,
    statistics: Statistics,
    log: Vec<&'static str>,
}

/// A system with one device, which is opened, disabled and enabled.
struct MadeUp {
    state: Mutex<State>,
    /// Whether disabling does nothing.
    sticks: bool,
    /// How often the devices are asked for until one that was enabled is there.
    delay: u32,
}

const NEW: Statistics = Statistics {
    connection: Connection::Messages(1),
    claimed: 0,
    not_mine: 0,
    line: 0,
    messages: [0; 4],
    deferred_runs: 0,
    computed: 0,
    cancelled: 0,
    status_seen: 0,
    pending: 0,
};

impl MadeUp {
    fn new() -> Self {
        let state = State {
            there: true,
            open: 0,
            most_open: 0,
            absent_for: 0,
            statistics: NEW,
            log: Vec::new(),
        };
        Self { state: Mutex::new(state), sticks: false, delay: 0 }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

/// An open handle, which counts as one until it is dropped.
struct Open<'a>(&'a MadeUp);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.state().open -= 1;
    }
}

impl Device for Open<'_> {
    type Error = io::Error;

    fn control(&self, code: u32, input: &[u8], output: &mut [u8]) -> io::Result<usize> {
        let mut state = self.0.state();
        let counts = &mut state.statistics;
        let mut interrupt = |bits| {
            counts.claimed += 1;
            counts.messages[0] += 1;
            counts.deferred_runs += 1;
            counts.status_seen |= bits;
        };
        let answer = match Request::decode(code, input, output.len()) {
            Err(BadRequest::OutOfRange) => return Err(io::ErrorKind::InvalidInput.into()),
            Err(bad) => return Err(io::Error::other(bad)),
            Ok(Request::Raise(request)) => {
                interrupt(request.bits());
                Vec::new()
            }
            Ok(Request::Statistics) => counts.to_bytes().to_vec(),
            Ok(Request::Factorial(request)) => {
                interrupt(1);
                counts.computed += 1;
                let (number, factorial) = (request.number(), (1..=request.number()).product());
                FactorialReply { number, factorial }.to_bytes().to_vec()
            }
        };
        drop(state);
        output.copy_from_slice(&answer);
        Ok(answer.len())
    }

    fn is_invalid_parameter(error: &io::Error) -> bool {
        error.kind() == io::ErrorKind::InvalidInput
    }
}

impl<'a> System for &'a MadeUp {
    type Device = Open<'a>;

    fn devices(&self) -> io::Result<Vec<String>> {
        let mut state = self.state();
        if state.there && state.absent_for > 0 {
            state.absent_for -= 1;
            return Ok(Vec::new());
        }
        Ok(state.there.then(|| "PCI\\EDU".to_owned()).into_iter().collect())
    }

    fn open(&self, device: &str) -> io::Result<Open<'a>> {
        assert_eq!(device, "PCI\\EDU");
        let mut state = self.state();
        state.open += 1;
        state.most_open = state.most_open.max(state.open);
        Ok(Open(self))
    }

    fn disable(&self, _device: &str) -> io::Result<()> {
        let mut state = self.state();
        state.log.push("disable");
        if state.open > 0 {
            return Err(io::Error::other("vetoed"));
        }
        state.there = self.sticks;
        state.statistics = NEW;
        Ok(())
    }

    fn enable(&self, _device: &str) -> io::Result<()> {
        let mut state = self.state();
        state.log.push("enable");
        state.there = true;
        state.absent_for = self.delay;
        Ok(())
    }
}

fn options(rounds: u32, threads: u32, cycles: u32) -> Options {
    Options { rounds: rounds.try_into().unwrap(), threads: threads.try_into().unwrap(), cycles }
}

fn report_of(system: &MadeUp, options: Options) -> Result<String, Error> {
    let mut report = Vec::new();
    run(options, &system, &mut report)?;
    Ok(String::from_utf8(report).unwrap())
}

#[test]
fn a_run_says_what_it_did_with_which_device() {
    let report = report_of(&MadeUp::new(), options(2, 1, 0)).unwrap();
    assert!(report.starts_with("device      PCI\\EDU\nconnected   by message (1 of them)\n"));
    let all = "all right   rounds 2, factorials 28, interrupts since START 30\n";
    assert!(report.ends_with(all), "{report}");
}

#[test]
fn each_thread_has_a_handle_of_its_own_and_none_is_open_when_the_device_is_disabled() {
    let system = MadeUp::new();
    let report = report_of(&system, options(50, 3, 2)).unwrap();
    assert!(report.contains("all right   rounds 150, factorials 2100, "), "{report}");
    assert!(report.contains("\ncycle 1     disabled, enabled: rounds 150, "), "{report}");
    let state = system.state();
    assert_eq!(state.log, ["disable", "enable", "disable", "enable"]);
    assert!(state.most_open <= 3 && state.open == 0, "{state:?}");
}

#[test]
fn a_device_that_takes_a_while_to_come_back_is_waited_for() {
    let system = MadeUp { delay: 3, ..MadeUp::new() };
    let report = report_of(&system, options(1, 1, 1)).unwrap();
    assert!(report.ends_with(
        "cycle 1     disabled, enabled: rounds 1, factorials 14, interrupts since START 15\n"
    ));
    assert_eq!(system.state().absent_for, 0);
}

#[test]
fn a_device_that_stays_though_it_was_disabled_is_an_error_and_enabled_all_the_same() {
    let system = MadeUp { sticks: true, ..MadeUp::new() };
    let outcome = report_of(&system, options(1, 1, 1));
    assert!(matches!(outcome, Err(Error::StillThere)), "{outcome:?}");
    assert_eq!(system.state().log, ["disable", "enable"]);
}

#[test]
fn without_a_device_the_error_says_where_to_look() {
    let system = MadeUp::new();
    system.state().there = false;
    let error = report_of(&system, options(1, 1, 0)).unwrap_err();
    assert!(error.to_string().contains("Device Manager"), "{error}");
}

#[test]
fn the_command_line_is_consistent() {
    use clap::CommandFactory as _;
    Options::command().debug_assert();
    let read = Options::try_parse_from(["edu-client", "--threads", "2", "--loop", "5"]).unwrap();
    assert_eq!(read, options(1, 2, 5));
    assert!(Options::try_parse_from(["edu-client", "--rounds", "0"]).is_err());
}
