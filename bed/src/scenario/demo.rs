//! The demo: a driver's whole life, told as it happens.

use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;

use wdm_interrupt_model::nt::{STATUS_CANCELLED, STATUS_DEVICE_REMOVED, STATUS_INVALID_PARAMETER};

use super::edu::{
    Edu, FACTORIALS, GREATEST, Handle, Outcome, check_factorial, load, on_all_processors, require,
};
use super::status::Status;
use crate::hal;
use crate::image::Image;
use crate::pnp::resources::{Choice, Kind};
use crate::pnp::{bus_is_slow, leftovers};
use crate::{processor, smp};

/// Tells of one thing that happens.
macro_rules! tell {
    ($what:literal, $($argument:tt)*) => {
        $crate::say!("{:<10} {}", $what, format_args!($($argument)*))
    };
}
pub(super) use tell;

/// Plays the demo.
pub(crate) fn play(image: Image, choice: Choice) -> Outcome {
    let kind = choice.kind;
    tell!(
        "bed",
        "{} processors; {}, {} imports",
        processor::count(),
        image.name,
        image.imports.len()
    );
    let driver = load(image)?;
    let edu = Edu::add(&driver, 0)?;
    describe(&edu);
    start(&edu, kind, 5, 1)?;
    let handle = edu.open()?;
    one_by_one(&handle)?;
    let handle = all_at_once(handle)?;
    cancelled(&handle)?;
    raised(&handle)?;
    refused(&handle)?;
    stopped(&edu, &handle, kind)?;
    gone(&edu, handle)?;
    let left = leftovers::find(&driver);
    require!(left.is_empty(), "the removed device left behind: {}", left.join("; "));
    driver.unload();
    tell!("unloaded", "left behind: nothing");
    per_processor();
    crate::say!("all was as it must be");
    Ok(())
}

fn describe(edu: &Edu) {
    let function = edu.node.function();
    tell!(
        "device",
        "{:04x}:{:04x} (class {:#04x}, revision {:#x}) in slot {}{}",
        function.vendor,
        function.device,
        function.class,
        function.revision,
        function.address.device(),
        if function.messages() > 0 { ", can send a message" } else { "" },
    );
}

fn start(edu: &Edu, kind: Kind, irql: u8, processor: usize) -> Outcome {
    let processor = processor % processor::count();
    let choice = Choice { kind, irql, processor, messages: Choice::ALL };
    let status = Status(edu.node.start(choice, |resources| {
        for memory in &resources.memory {
            tell!("resource", "registers at {:#x}, {} KiB", memory.start, memory.length >> 10);
        }
        for interrupt in &resources.interrupts {
            tell!("resource", "{interrupt}");
        }
    }));
    require!(status.0 >= 0, "START returned {status}");
    Ok(())
}

fn one_by_one(handle: &Handle) -> Outcome {
    for number in 0..=GREATEST {
        let result = handle.factorial(number)?;
        let served = hal::last_served();
        let source = served.message.map_or_else(|| "line".into(), |id| format!("message {id}"));
        tell!(
            "request",
            "{number:>2}! = {result:<10} interrupt: {source}, vector {:#x}, IRQL {}, processor {}",
            served.vector,
            served.irql,
            served.processor
        );
    }
    Ok(())
}

fn all_at_once(handle: Handle) -> Outcome<Handle> {
    const EACH: u32 = 16;
    let before = handle.statistics()?.claimed;
    let shared = Arc::new(handle);
    let users = Arc::clone(&shared);
    on_all_processors(move |number| {
        let sent: Vec<_> = (0..EACH)
            .map(|index| (index + 5 * number as u32) % (GREATEST + 1))
            .map(|number| (number, users.send_factorial(number)))
            .collect();
        sent.iter().try_for_each(|(number, sent)| check_factorial(*number, sent).map(drop))
    })?;
    let handle = Arc::into_inner(shared).ok_or("a processor still has the handle")?;
    tell!(
        "requests",
        "{} from {} processors at once: all right, in {} interrupts",
        EACH as usize * processor::count(),
        processor::count(),
        handle.statistics()?.claimed - before
    );
    Ok(handle)
}

/// Sends many requests without waiting.
fn many(handle: &Handle, count: u32) -> Vec<(u32, crate::pnp::requests::Sent)> {
    (0..count)
        .map(|index| index % FACTORIALS.len() as u32)
        .map(|number| (number, handle.send_factorial(number)))
        .collect()
}

fn cancelled(handle: &Handle) -> Outcome {
    // Cancelling is a wish: a request that has been computed already ends as if nobody had wished.
    for _ in 0..100 {
        let sent = many(handle, 8);
        let (number, last) = sent.last().ok_or("nothing was sent")?;
        last.cancel();
        let status = Status(last.wait().status);
        for (number, sent) in &sent[..7] {
            check_factorial(*number, sent)?;
        }
        if status.0 == STATUS_CANCELLED {
            tell!("cancelled", "{number}!, queued behind 7 others: {status}");
            return Ok(());
        }
        check_factorial(*number, last)?;
    }
    Err("none of 100 queued requests could be cancelled".into())
}

fn raised(handle: &Handle) -> Outcome {
    const BITS: u32 = 0x30;
    let status = handle.raise(BITS);
    require!(status.0 == 0, "RAISE returned {status}");
    handle.wait_for("the raised bits reach the service routine", |statistics| {
        statistics.status_seen & BITS == BITS
    })?;
    tell!("raised", "status bits {BITS:#x}: the service routine saw them");
    Ok(())
}

fn refused(handle: &Handle) -> Outcome {
    let number = GREATEST + 1;
    let status = Status(handle.send_factorial(number).wait().status);
    require!(status.0 == STATUS_INVALID_PARAMETER, "{number}! ended with {status}");
    tell!("refused", "{number}!, which does not fit: {status}");
    Ok(())
}

fn stopped(edu: &Edu, handle: &Handle, kind: Kind) -> Outcome {
    let mut sent = many(handle, 6);
    let status = Status(edu.node.query_stop());
    require!(status.0 >= 0, "QUERY_STOP returned {status}");
    sent.extend(many(handle, 6));
    edu.node.stop();
    let waiting = sent.iter().filter(|(_, sent)| !sent.is_done()).count();
    tell!("stopped", "disconnected, resources taken away; {waiting} requests wait");
    bus_is_slow(true);
    start(edu, kind, 9, 2)?;
    bus_is_slow(false);
    for (number, sent) in &sent {
        check_factorial(*number, sent)?;
    }
    handle.factorial(GREATEST)?;
    let served = hal::last_served();
    tell!(
        "requests",
        "all {} are right; vector {:#x}, IRQL {}, processor {} now",
        sent.len(),
        served.vector,
        served.irql,
        served.processor
    );
    Ok(())
}

fn gone(edu: &Edu, handle: Handle) -> Outcome {
    edu.node.mute();
    let sent = many(&handle, 24);
    edu.node.unplug();
    tell!("unplugged", "the registers read as all ones");
    edu.node.surprise_removal();
    let mut removed = 0;
    for (number, sent) in sent {
        let status = Status(sent.wait().status);
        if status.0 == STATUS_DEVICE_REMOVED {
            removed += 1;
        } else {
            check_factorial(number, &sent)?;
        }
    }
    require!(removed > 0, "no request was pending when the device went");
    tell!("removed", "disconnected; {removed} requests were pending: STATUS_DEVICE_REMOVED");
    handle.0.close();
    edu.node.remove();
    tell!("removed", "the driver has let go of the device");
    // What was queued to another processor in the name of the device is through by now.
    smp::relax_passive();
    Ok(())
}

fn per_processor() {
    use core::sync::atomic::Ordering::Relaxed;
    for processor in processor::all() {
        tell!(
            "served",
            "processor {}: {:>3} interrupts, {:>3} claimed, {:>3} deferred routines",
            processor.number(),
            processor.interrupts.load(Relaxed),
            processor.claimed.load(Relaxed),
            processor.deferred.load(Relaxed)
        );
    }
}
