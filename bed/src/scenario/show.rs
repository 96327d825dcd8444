//! The life of a device with several messages, told as it happens.

use alloc::string::ToString;

use e1000e_interface::CAUSES;

use super::demo::tell;
use super::e1000e::{E1000e, choice};
use super::edu::{Outcome, load, require};
use super::messages::{all_at_once, one_by_one};
use crate::image::Image;
use crate::pnp::leftovers;
use crate::pnp::resources::Choice;
use crate::processor;

/// Plays it.
pub(crate) fn play(image: Image, first: Choice) -> Outcome {
    tell!("bed", "{} processors; {}", processor::count(), image.name);
    let driver = load(image)?;
    let device = E1000e::add(&driver)?;
    device.start(first)?;
    tell_resources(&device);
    let handle = device.open()?;
    let messages = device.messages();
    if messages > 0 {
        for (cause, served) in one_by_one(&device, &handle)?.iter().enumerate() {
            tell!(
                "raised",
                "cause {cause}: message {}, vector {:#x}, IRQL {}, processor {}",
                served.message.unwrap_or_default(),
                served.vector,
                served.irql,
                served.processor
            );
        }
        let most = all_at_once(&device, &handle)?;
        tell!("at once", "{most} processors were in service routines at the same time");
    }
    for fewer in (0..messages.min(CAUSES)).rev() {
        device.restart(choice(fewer))?;
        handle.raise_all(fewer)?;
        let kind = match fewer {
            0 => "the line".to_string(),
            count => alloc::format!("{count} messages"),
        };
        tell!("restarted", "with {kind}: every cause was served");
    }
    device.node.unplug();
    device.node.surprise_removal();
    handle.0.close();
    device.node.remove();
    let left = leftovers::find(&driver);
    require!(left.is_empty(), "the removed device left behind: {}", left.join("; "));
    driver.unload();
    tell!("unloaded", "left behind: nothing");
    Ok(())
}

fn tell_resources(device: &E1000e) {
    for memory in &device.node.function().memory {
        tell!("resource", "registers at {:#x}, {} KiB", memory.start, memory.length >> 10);
    }
    for interrupt in device.node.interrupts() {
        tell!("resource", "{interrupt}");
    }
}
