//! What the Device Fundamentals tests of the Windows HLK do to an interrupt, done to any driver: `docs/hlk.md` says
//! which part stands for which of them.
//!
//! A seed decides what is random: the resources of each START, the order in the part `chaos`, which requests are
//! taken back. The other processors are not held to it.

mod programs;

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use programs::{Programs, Requests, Tally};
use wdm_interrupt_model::executive::Call;
use wdm_interrupt_model::nt::{
    PowerSystemSleeping3, PowerSystemWorking, STATUS_INSUFFICIENT_RESOURCES,
};

use super::edu::{Outcome, load, require};
use super::faults::claimed;
use super::status::Status;
use crate::image::Image;
use crate::kernel::EXECUTIVE;
use crate::pnp::node::Node;
use crate::pnp::resources::{Choice, Kind};
use crate::pnp::{Driver, leftovers};
use crate::{pci, processor, time};

/// What is wanted of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) choice: Choice,
    /// One part; all of them if it is not said.
    pub(crate) part: Option<&'a str>,
    pub(crate) seed: u32,
    /// How often each thing is done.
    pub(crate) rounds: usize,
}

/// A part: its name, and what is done to a started device, which leaves one.
type Part = (&'static str, fn(&mut Life) -> Outcome);

/// The parts that are one thing again and again. `cargo xtask test` looks for these rows.
const PARTS: [Part; 9] = [
    ("disable_and_enable", Life::disable_and_enable),
    ("cancel_remove", Life::cancel_remove),
    ("cancel_stop", Life::cancel_stop),
    ("stop", Life::stop),
    ("new_resources", Life::new_resources),
    ("fail_restart", Life::fail_restart),
    ("surprise_remove", Life::surprise_remove),
    ("sleep", Life::sleep),
    ("reinstall", Life::reinstall),
];

/// Those after which the device is gone while programs use it.
const GOING: [&str; 2] = ["fail_restart", "surprise_remove"];

/// The part in which all of these come in any order.
const CHAOS: &str = "chaos";

/// Numbers that look random.
#[derive(Debug)]
struct Random(u32);

impl Random {
    /// A number less than this.
    const fn below(&mut self, limit: u32) -> u32 {
        // xorshift: any sequence that does not repeat soon will do.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0 % limit
    }

    /// Another sequence.
    const fn branch(&mut self) -> Self {
        Self(self.below(u32::MAX) | 1)
    }
}

/// A driver with a started device, and programs that use it.
struct Life {
    /// `None` only while it is reinstalled.
    driver: Option<Driver>,
    function: pci::Function,
    /// What was asked for; what is given at each START is drawn from it.
    choice: Choice,
    random: Random,
    node: Arc<Node>,
    requests: Requests,
    programs: Option<Programs>,
    tally: Arc<Tally>,
    /// What was there before the first device.
    before: Vec<String>,
}

impl Life {
    fn begin(image: Image, wanted: &Wanted<'_>) -> Outcome<Self> {
        let driver = load(image)?;
        let function = pci::functions().into_iter().next().ok_or("QEMU has no device")?;
        let before = leftovers::find(&driver);
        let node = Node::new(function.clone());
        let mut life = Self {
            driver: Some(driver),
            function,
            choice: wanted.choice,
            // Zero would be zero for ever.
            random: Random(wanted.seed.wrapping_mul(0x9e37_79b9) | 1),
            node,
            requests: Requests::None,
            programs: None,
            tally: Arc::new(Tally::default()),
            before,
        };
        life.enable()?;
        life.requests = Requests::of(&life.node);
        Ok(life)
    }

    /// Other resources: the IRQL and the processor, so the vector; for drivers that are known to take either, a
    /// line for the messages, and another number of messages.
    fn other_resources(&mut self) -> Choice {
        let irql = 3 + self.random.below(10) as u8;
        let processor = self.random.below(processor::count() as u32) as usize;
        let takes_both = self.choice.kind == Kind::Message && self.requests != Requests::None;
        let kind =
            if takes_both && self.random.below(3) == 0 { Kind::Line } else { self.choice.kind };
        let messages = match self.requests {
            Requests::Causes => 1 + self.random.below(e1000e_interface::CAUSES as u32) as usize,
            Requests::Factorials | Requests::None => Choice::ALL,
        };
        Choice { kind, irql, processor, messages: messages.min(self.choice.messages) }
    }

    fn driver(&self) -> Outcome<&Driver> {
        self.driver.as_ref().ok_or_else(|| "the driver is not loaded".into())
    }

    /// `AddDevice` and START of a device that is new, or was removed.
    fn enable(&mut self) -> Outcome {
        let node = Node::new(self.function.clone());
        let added = node.add(self.driver()?);
        added.map_err(|status| format!("AddDevice returned {}", Status(status)))?;
        self.node = node;
        let choice = self.other_resources();
        self.start(choice)
    }

    fn start(&self, choice: Choice) -> Outcome {
        let status = Status(self.node.start(choice, |_| ()));
        require!(status.0 >= 0, "START with {choice:?} returned {status}");
        Ok(())
    }

    /// STOP, after which requests may be refused.
    fn stopped(&self) -> Outcome {
        self.query_stop()?;
        self.tally.turn();
        self.node.stop();
        Ok(())
    }

    /// START of a device that was stopped.
    fn restart(&self, choice: Choice) -> Outcome {
        self.start(choice)?;
        self.tally.turn();
        Ok(())
    }

    /// Programs use the device from here.
    fn use_device(&mut self) -> Outcome {
        self.tally.begin_anew();
        self.requests.make(&self.node)?;
        let programs = Programs::start(self.requests, &self.node, &self.tally, &mut self.random)?;
        self.programs = Some(programs);
        Ok(())
    }

    /// The programs close their handles.
    fn leave_device(&mut self) -> Outcome {
        self.programs.take().map_or(Ok(()), Programs::end)
    }

    /// The device works as before, for the programs too.
    fn is_working(&self) -> Outcome {
        self.requests.make(&self.node)?;
        self.programs.as_ref().map_or(Ok(()), Programs::go_on)
    }

    /// REMOVE of a device that nobody has open, after which nothing is left.
    fn remove(&self) -> Outcome {
        self.node.remove();
        let left = leftovers::find(self.driver()?);
        require!(left == self.before, "after REMOVE there is still: {}", left.join("; "));
        Ok(())
    }

    fn query_remove(&self) -> Outcome {
        let status = Status(self.node.query_remove());
        require!(status.0 >= 0, "QUERY_REMOVE returned {status}");
        Ok(())
    }

    fn query_stop(&self) -> Outcome {
        let status = Status(self.node.query_stop());
        require!(status.0 >= 0, "QUERY_STOP returned {status}");
        Ok(())
    }

    /// As Windows disables a device: nobody has it open, `QUERY_REMOVE`, REMOVE.
    fn disable(&mut self) -> Outcome {
        self.leave_device()?;
        self.requests.make(&self.node)?;
        self.query_remove()?;
        self.remove()
    }

    fn disable_and_enable(&mut self) -> Outcome {
        self.disable()?;
        self.enable()?;
        self.use_device()
    }

    fn cancel_remove(&mut self) -> Outcome {
        self.query_remove()?;
        self.node.cancel_remove();
        self.is_working()
    }

    fn cancel_stop(&mut self) -> Outcome {
        self.query_stop()?;
        self.node.cancel_stop();
        self.is_working()
    }

    /// Rebalances: one to get what it is, the other after which the device has what it had.
    fn stop(&mut self) -> Outcome {
        let choice = self.other_resources();
        for _ in 0..2 {
            self.stopped()?;
            self.restart(choice)?;
            self.is_working()?;
        }
        Ok(())
    }

    fn new_resources(&mut self) -> Outcome {
        let before = self.node.interrupts();
        self.stopped()?;
        let mut choice = self.other_resources();
        // Another IRQL is another vector, whatever was drawn.
        if before.iter().any(|one| one.vector() >> 4 == u32::from(choice.irql)) {
            choice.irql = 3 + (choice.irql - 3 + 1) % 10;
        }
        self.restart(choice)?;
        let after = self.node.interrupts();
        let same = before.iter().zip(&after).filter(|(one, other)| one == other).count();
        require!(same == 0 || before.len() > 1, "the new resources are the old: {before:?}");
        self.is_working()
    }

    /// The START after a STOP fails: in the driver, whose connect fails, or above it, when the driver has already
    /// started. Either way `SURPRISE_REMOVAL` follows.
    fn fail_restart(&mut self) -> Outcome {
        self.stopped()?;
        let choice = self.other_resources();
        if self.random.below(2) == 0 {
            EXECUTIVE.fail(Call::IoConnectInterruptEx, 0, STATUS_INSUFFICIENT_RESOURCES);
            let status = Status(self.node.start(choice, |_| ()));
            // A driver that connects nothing is not hit.
            let hit = EXECUTIVE.faults_left() == 0;
            EXECUTIVE.watch_fallible_calls();
            require!(!hit || status.0 < 0, "START returned {status} though connecting failed");
        } else {
            self.start(choice)?;
        }
        self.goes()
    }

    /// The device goes without a warning: truly, or only by what the driver is told, as in the HLK.
    fn surprise_remove(&mut self) -> Outcome {
        if self.random.below(2) == 0 {
            self.node.unplug();
        }
        self.goes()
    }

    /// `SURPRISE_REMOVAL`, REMOVE when all handles are closed, and the device is there again.
    fn goes(&mut self) -> Outcome {
        self.node.surprise_removal();
        self.leave_device()?;
        self.remove()?;
        self.enable()?;
        self.use_device()
    }

    fn sleep(&mut self) -> Outcome {
        self.tally.turn();
        self.node.set_system_power(PowerSystemSleeping3);
        time::stall(self.random.below(500).into());
        self.node.set_system_power(PowerSystemWorking);
        self.tally.turn();
        self.is_working()
    }

    /// The driver is unloaded, and loaded anew.
    fn reinstall(&mut self) -> Outcome {
        self.disable()?;
        let driver = self.driver.take().ok_or("the driver is not loaded")?;
        let again = driver.image().again().map_err(|why| format!("{why}"))?;
        driver.unload();
        self.driver = Some(load(again)?);
        self.enable()?;
        self.use_device()
    }

    /// Any of them in any order, some of them often; but the driver is not reinstalled, for which there is room a
    /// few times only.
    fn chaos(&mut self) -> Outcome {
        let (name, part) = PARTS[self.random.below(PARTS.len() as u32 - 1) as usize];
        part(self).map_err(|why| format!("{name}: {why}"))
    }

    /// Does one part so many times, and says what came of it.
    fn play(&mut self, (name, part): Part, rounds: usize) -> Outcome {
        let count = |counter: &AtomicU64| counter.swap(0, Ordering::Relaxed);
        let interrupts = claimed();
        self.use_device()?;
        for round in 0..rounds {
            part(self).map_err(|why| format!("{name}, round {round}: {why}"))?;
        }
        let have_programs = self.programs.as_ref().is_some_and(Programs::are_some);
        self.leave_device()?;
        self.requests.make(&self.node)?;
        let removed = count(&self.tally.removed);
        require!(
            removed > 0 || !have_programs || !GOING.contains(&name),
            "{name}: no request was pending when the device went"
        );
        crate::say!(
            "devfund: {name}: {rounds} times, {} interrupts; requests of programs: {} right, \
             {} refused while stopped or asleep, {} cancelled, {} removed",
            claimed() - interrupts,
            count(&self.tally.right),
            count(&self.tally.refused),
            count(&self.tally.cancelled),
            removed,
        );
        Ok(())
    }

    /// The last removal, after which the driver goes.
    fn end(mut self) -> Outcome {
        self.disable()?;
        self.driver.take().ok_or("the driver is not loaded")?.unload();
        Ok(())
    }
}

/// Plays the parts with the first device.
pub(crate) fn play(image: Image, wanted: Wanted<'_>) -> Outcome {
    let chaos: Part = (CHAOS, Life::chaos);
    let all = || PARTS.into_iter().chain([chaos]);
    let parts: Vec<Part> =
        all().filter(|(name, _)| wanted.part.is_none_or(|one| one == *name)).collect();
    if parts.is_empty() {
        let names: Vec<&str> = all().map(|(name, _)| name).collect();
        let part = wanted.part.unwrap_or_default();
        return Err(format!("{part:?} is no part; there are {}", names.join(", ")));
    }
    let mut life = Life::begin(image, &wanted)?;
    crate::say!("devfund: seed {}; {}", wanted.seed, life.requests.words());
    for part in parts {
        let rounds = if part.0 == CHAOS { PARTS.len() * wanted.rounds } else { wanted.rounds };
        life.play(part, rounds)?;
    }
    life.end()?;
    crate::say!("devfund: left behind: nothing");
    Ok(())
}
