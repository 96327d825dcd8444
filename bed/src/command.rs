//! The kernel command line: what to do with the driver.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;

use crate::image::{Image, LoadError};
use crate::pnp::resources::Kind;
use crate::qemu::Outcome;
use crate::scenario;

/// How the bed is used, for a command line that it does not understand.
const USAGE: &str = "commands: demo interrupt=message|line; run interrupt=message|line; test NAME; \
                     list. With any of them: service=NAME, what the driver is installed as";

/// What the name of the driver's service follows.
const SERVICE: &str = "service=";

/// Does what the command line says.
pub(crate) fn run(line: &str, image: Option<Result<Image, LoadError>>) -> Outcome {
    let service = line.split_whitespace().find_map(|word| word.strip_prefix(SERVICE));
    let mut words = line.split_whitespace().filter(|word| !word.starts_with(SERVICE));
    let command = words.next().unwrap_or_default();
    if command == "list" {
        for test in scenario::tests() {
            crate::say!("test {}", test.name);
        }
        return Outcome::Success;
    }
    let mut image = match image {
        Some(Ok(image)) => image,
        Some(Err(why)) => return failed(&format!("the driver is not loaded: {why}")),
        None => return failed("there is no driver; give one as -initrd"),
    };
    if let Some(service) = service {
        service.clone_into(&mut image.service);
    }
    let result = match command {
        "demo" => kind(words.next()).and_then(|kind| scenario::demo(image, kind)),
        "run" => kind(words.next()).and_then(|kind| scenario::run(image, kind)),
        "test" => {
            let name = words.next().unwrap_or_default();
            let test = scenario::tests().find(|test| test.name == name);
            test.ok_or_else(|| format!("there is no test {name:?}"))
                .and_then(|test| (test.run)(image))
        }
        _ => Err(format!("{line:?} is no command. {USAGE}")),
    };
    match result {
        Ok(()) => Outcome::Success,
        Err(why) => failed(&why),
    }
}

fn kind(word: Option<&str>) -> Result<Kind, String> {
    match word {
        Some("interrupt=message") | None => Ok(Kind::Message),
        Some("interrupt=line") => Ok(Kind::Line),
        Some(other) => Err(format!("{other:?} is no choice of interrupt. {USAGE}")),
    }
}

fn failed(why: &str) -> Outcome {
    crate::say!("FAILED: {why}");
    Outcome::Failure
}
