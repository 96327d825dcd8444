//! What is played with a driver: the demo, the tests, and a plain run of any driver.

mod bench;
mod demo;
mod e1000e;
mod edu;
mod failures;
mod faults;
mod lies;
mod life;
mod messages;
mod proving;
mod show;
mod soak;
mod status;
mod traffic;

use alloc::format;
use alloc::string::String;

use status::Status;

use crate::image::Image;
use crate::pnp::Driver;
use crate::pnp::node::Node;
use crate::pnp::resources::Choice;
use crate::{pci, processor, time};

pub(crate) use bench::{observe, play as bench, printed};
pub(crate) use demo::play as demo;
pub(crate) use failures::play as failures;
pub(crate) use show::play as messages;
pub(crate) use soak::{Length, play as soak};

/// A test: a name that reads as a sentence, and what it does.
#[derive(Debug)]
pub(crate) struct Test {
    /// What QEMU calls the device whose driver it plays with.
    pub(crate) device: &'static str,
    pub(crate) name: &'static str,
    pub(crate) run: fn(Image) -> Result<(), String>,
}

/// A test named as its function.
macro_rules! test {
    ($name:ident) => {
        test!("edu", $name)
    };
    ($device:literal, $name:ident) => {
        $crate::scenario::Test { device: $device, name: stringify!($name), run: $name }
    };
}
use test;

/// All tests.
pub(crate) fn tests() -> impl Iterator<Item = &'static Test> {
    let of_edu = traffic::TESTS.iter().chain(life::TESTS).chain(faults::TESTS).chain(lies::TESTS);
    of_edu.chain(messages::TESTS).chain(proving::TESTS)
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
