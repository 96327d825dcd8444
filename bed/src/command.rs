//! The kernel command line: what to do with the driver.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::str::FromStr;

use crate::image::Image;
use crate::pnp::resources::{Choice, Kind};
use crate::qemu::Outcome;
use crate::{faults, hal, scenario, trace};

/// How the bed is used, for a command line that it does not understand.
const USAGE: &str = "commands: demo; bench [steps|ticks|rate|scale]; messages; run; failures; devfund [PART]; soak; test NAME; \
                     list [edu|e1000e]. With any of them: \
                     interrupt=message|line|passive|imagined, messages=N, threaded-dpcs=off, trace=on, service=NAME, \
                     fail=CALL:COUNT:STATUS, fail-nth=COUNT:STATUS; \
                     with soak: cycles=N, interrupts=N; with devfund: seed=N, rounds=N";

/// What follows the command, in any order.
#[derive(Debug, Clone, Copy)]
struct Options<'a> {
    kind: Kind,
    messages: usize,
    /// What the first driver is installed as, if not as its file.
    service: Option<&'a str>,
    /// How long a soak goes on.
    length: scenario::Length,
    seed: u32,
    rounds: usize,
    /// The word without a `=`: a test, a part, or a device.
    name: Option<&'a str>,
}

impl<'a> Options<'a> {
    fn read(words: impl Iterator<Item = &'a str>) -> Result<Self, String> {
        let mut options = Self {
            kind: Kind::Message,
            messages: Choice::ALL,
            service: None,
            length: scenario::Length::default(),
            seed: 1,
            rounds: 4,
            name: None,
        };
        for word in words {
            match word.split_once('=') {
                None if options.name.is_none() => options.name = Some(word),
                Some(("interrupt", "message")) => options.kind = Kind::Message,
                Some(("interrupt", "line")) => options.kind = Kind::Line,
                Some(("interrupt", "passive")) => options.kind = Kind::PassiveLine,
                Some(("interrupt", "imagined")) => options.kind = Kind::Imagined,
                Some(("threaded-dpcs", "off")) => hal::turn_dpc_threads_off(),
                Some(("trace", "on")) => trace::start(),
                Some(("messages", count)) => options.messages = number(count)?,
                Some(("cycles", count)) => options.length.cycles = number(count)?,
                Some(("interrupts", count)) => options.length.interrupts = number(count)?,
                Some(("seed", seed)) => options.seed = number(seed)?,
                Some(("rounds", count)) => options.rounds = number(count)?,
                Some(("service", name)) => options.service = Some(name),
                Some(("fail", text)) => faults::of_a_name(text)?,
                Some(("fail-nth", text)) => faults::of_a_place(text)?,
                _ => return Err(format!("{word:?} means nothing here. {USAGE}")),
            }
        }
        Ok(options)
    }

    const fn choice(&self) -> Choice {
        Choice { kind: self.kind, irql: 5, processor: 1, messages: self.messages }
    }

    const fn devfund(&self) -> scenario::Wanted<'a> {
        let Self { seed, rounds, name, .. } = *self;
        scenario::Wanted { choice: self.choice(), part: name, seed, rounds }
    }
}

/// A number of something.
fn number<T: FromStr>(word: &str) -> Result<T, String> {
    word.parse().map_err(|_| format!("{word:?} is no number. {USAGE}"))
}

/// Does what the command line says.
pub(crate) fn run(line: &str, images: Result<Vec<Image>, String>) -> Outcome {
    let mut words = line.split_whitespace();
    let command = words.next().unwrap_or_default();
    let options = match Options::read(words) {
        Ok(options) => options,
        Err(why) => return failed(&why),
    };
    if command == "list" {
        let of_device = |test: &&&scenario::Test| options.name.is_none_or(|one| one == test.device);
        for test in scenario::tests().filter(|test| of_device(&test)) {
            crate::say!("test {}", test.name);
        }
        return Outcome::Success;
    }
    let mut images = match images {
        Ok(images) => images,
        Err(why) => return failed(&format!("the driver is not loaded: {why}")),
    };
    let Some(first) = images.first_mut() else {
        return failed("there is no driver; give one as -initrd");
    };
    if let Some(service) = options.service {
        service.clone_into(&mut first.service);
    }
    let result = if command == "test" {
        let name = options.name.unwrap_or_default();
        let test = scenario::tests().find(|test| test.name == name);
        test.ok_or_else(|| format!("there is no test {name:?}")).and_then(|test| test.play(images))
    } else {
        match <[Image; 1]>::try_from(images) {
            Ok([image]) => play(command, image, &options),
            Err(images) => Err(format!("{command:?} takes one driver, not {}", images.len())),
        }
    };
    match result {
        Ok(()) => Outcome::Success,
        Err(why) => failed(&why),
    }
}

/// Does what takes one driver.
fn play(command: &str, image: Image, options: &Options<'_>) -> Result<(), String> {
    match command {
        "bench" => scenario::bench(image, options.choice(), options.name),
        "demo" => scenario::demo(image, options.choice()),
        "messages" => scenario::messages(image, options.choice()),
        "run" => scenario::run(image, options.choice()),
        "devfund" => scenario::devfund(image, options.devfund()),
        "failures" => scenario::failures(image, options.choice()),
        "soak" => scenario::soak(image, options.length),
        _ => Err(format!("{command:?} is no command. {USAGE}")),
    }
}

fn failed(why: &str) -> Outcome {
    crate::say!("FAILED: {why}");
    Outcome::Failure
}
