//! What is played with a driver: the demo, the tests, and a plain run of any driver.

mod bench;
mod client;
mod demo;
mod devfund;
mod e1000e;
mod edu;
mod failures;
mod faults;
mod lies;
mod life;
mod messages;
mod pair;
mod proving;
mod show;
mod soak;
mod status;
mod traffic;

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use status::Status;

use crate::image::Image;
use crate::pnp::Driver;
use crate::pnp::node::Node;
use crate::pnp::resources::Choice;
use crate::{pci, processor, time};

pub(crate) use bench::{observe, play as bench, printed};
pub(crate) use demo::play as demo;
pub(crate) use devfund::{Wanted, play as devfund};
pub(crate) use failures::{play as failures, say_what_failed};
pub(crate) use show::play as messages;
pub(crate) use soak::{Length, play as soak};

/// A test: a name that reads as a sentence, and what it does.
#[derive(Debug)]
pub(crate) struct Test {
    /// What QEMU calls the device whose driver it plays with.
    pub(crate) device: &'static str,
    pub(crate) name: &'static str,
    play: Play,
}

/// What a test does with as many drivers as it takes.
#[derive(Debug, Clone, Copy)]
enum Play {
    One(fn(Image) -> Result<(), String>),
    /// Two drivers, in the order in which they were given.
    Pair(fn(Image, Image) -> Result<(), String>),
}

impl Test {
    /// Plays it.
    pub(crate) fn play(&self, images: Vec<Image>) -> Result<(), String> {
        let count = images.len();
        let mut images = images.into_iter();
        match (self.play, images.next(), images.next(), images.next()) {
            (Play::One(play), Some(image), None, None) => play(image),
            (Play::Pair(play), Some(first), Some(second), None) => play(first, second),
            (Play::One(_), ..) => Err(format!("this test takes one driver, not {count}")),
            (Play::Pair(_), ..) => Err(format!("this test takes two drivers, not {count}")),
        }
    }
}

/// A test named as its function.
macro_rules! test {
    ($name:ident) => {
        test!("edu", $name)
    };
    ($device:literal, $name:ident) => {
        test!($device, One, $name)
    };
    ($device:literal, $play:ident, $name:ident) => {
        $crate::scenario::Test {
            device: $device,
            name: stringify!($name),
            play: $crate::scenario::Play::$play($name),
        }
    };
}
use test;

/// All tests.
pub(crate) fn tests() -> impl Iterator<Item = &'static Test> {
    let of_edu = traffic::TESTS.iter().chain(life::TESTS).chain(faults::TESTS).chain(lies::TESTS);
    of_edu.chain(client::TESTS).chain(messages::TESTS).chain(proving::TESTS).chain(pair::TESTS)
}

/// Boots any driver: `DriverEntry`, and for each device `AddDevice`, START, a short while, REMOVE; Unload.
pub(crate) fn run(image: Image, choice: Choice) -> Result<(), String> {
    let driver = Driver::start(image)
        .map_err(|status| format!("DriverEntry returned {}", Status(status)))?;
    if !driver.has_add_device() {
        crate::say!("bed: the driver has no AddDevice, so it gets no devices");
        driver.unload();
        crate::say!("bed: left behind: nothing");
        return Ok(());
    }
    for function in pci::functions() {
        crate::say!(
            "bed: device {:04x}:{:04x} at slot {}",
            function.vendor,
            function.device,
            function.address.device()
        );
        let node = Node::new(function);
        node.add(&driver).map_err(|status| format!("AddDevice returned {}", Status(status)))?;
        let choice = Choice { processor: choice.processor % processor::count(), ..choice };
        let status = node.start(choice, |resources| {
            for memory in &resources.memory {
                crate::say!("bed: registers at {:#x}, {} KiB", memory.start, memory.length >> 10);
            }
            for interrupt in &resources.interrupts {
                crate::say!("bed: {interrupt}");
            }
        });
        crate::say!("bed: START returned {}", Status(status));
        time::stall(50_000);
        node.remove();
        if status < 0 {
            driver.unload();
            return Err(format!("the device did not start: {}", Status(status)));
        }
    }
    driver.unload();
    crate::say!("bed: left behind: nothing");
    Ok(())
}
