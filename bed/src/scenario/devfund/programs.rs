//! What programs do with a device while its life goes on: on all processors but the first, requests without end.
//!
//! Which requests, the device's interface says. Of a driver that has none the bed knows of, nothing is asked.

use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use wdm_interrupt_model::nt::{
    STATUS_CANCELLED, STATUS_DELETE_PENDING, STATUS_DEVICE_NOT_READY, STATUS_DEVICE_REMOVED,
};

use super::Random;
use crate::io::interface;
use crate::pnp::node::Node;
use crate::scenario::e1000e::E1000e;
use crate::scenario::edu::{Edu, GREATEST, Handle, Outcome, check_factorial};
use crate::scenario::proving::{Running, wait_until};
use crate::{processor, smp};

/// What can be asked of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Requests {
    /// Factorials, each of which takes an interrupt.
    Factorials,
    /// Interrupts by every message, or the line; they are not asked for while the device is on the move.
    Causes,
    None,
}

impl Requests {
    /// What can be asked of a started device.
    pub(super) fn of(node: &Node) -> Self {
        let names = interface::enabled(node.pdo());
        let has = |first: u32| {
            let class = format!("{{{first:08x}-");
            names.iter().any(|name| name.contains(&class))
        };
        if has(edu_interface::DEVICE_INTERFACE.data1) {
            Self::Factorials
        } else if has(e1000e_interface::DEVICE_INTERFACE.data1) {
            Self::Causes
        } else {
            Self::None
        }
    }

    /// Asks for each thing once, and checks the answers: before and after something happens to the device.
    pub(super) fn make(self, node: &Arc<Node>) -> Outcome {
        match self {
            Self::Factorials => {
                let handle = Edu { node: Arc::clone(node) }.open()?;
                (0..=GREATEST).try_for_each(|number| handle.factorial(number).map(drop))?;
                handle.0.close();
            }
            Self::Causes => {
                let device = E1000e { node: Arc::clone(node) };
                let handle = device.open()?;
                handle.raise_all(device.messages())?;
                handle.0.close();
            }
            Self::None => {}
        }
        Ok(())
    }

    /// How it is said.
    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::Factorials => "factorials from the other processors all the while",
            Self::Causes => "interrupts of every message before and after",
            Self::None => "no requests that are known",
        }
    }
}

/// How requests ended, and when they may be refused.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) right: AtomicU64,
    pub(super) cancelled: AtomicU64,
    pub(super) removed: AtomicU64,
    pub(super) refused: AtomicU64,
    /// How often the device began or ended to be stopped or asleep: odd while it is.
    turns: AtomicU64,
}

impl Tally {
    /// The device is about to be stopped or sent to sleep, or was started or woken.
    pub(super) fn turn(&self) {
        self.turns.fetch_add(1, Ordering::SeqCst);
    }

    /// The device is as any other that has started.
    pub(super) fn begin_anew(&self) {
        self.turns.store(0, Ordering::SeqCst);
    }
}

/// The programs.
pub(super) struct Programs {
    over: Arc<AtomicBool>,
    tally: Arc<Tally>,
    running: Vec<Running>,
}

impl Programs {
    /// Starts one on each processor but the first, if there is something to ask.
    pub(super) fn start(
        requests: Requests,
        node: &Arc<Node>,
        tally: &Arc<Tally>,
        random: &mut Random,
    ) -> Outcome<Self> {
        let over = Arc::new(AtomicBool::new(false));
        let mut running = Vec::new();
        if requests == Requests::Factorials {
            for number in 1..processor::count() {
                let handle = Edu { node: Arc::clone(node) }.open()?;
                let (over, tally) = (Arc::clone(&over), Arc::clone(tally));
                let random = random.branch();
                running.push(Running::on(number, move || run(handle, &over, &tally, random)));
            }
        }
        let programs = Self { over, tally: Arc::clone(tally), running };
        programs.go_on()?;
        Ok(programs)
    }

    /// Whether there are any.
    pub(super) const fn are_some(&self) -> bool {
        !self.running.is_empty()
    }

    /// Waits until they have got so many answers from here on: that the device works, and that it is busy.
    pub(super) fn go_on(&self) -> Outcome {
        const ANSWERS: u64 = 8;
        if !self.are_some() {
            return Ok(());
        }
        let right = || self.tally.right.load(Ordering::Relaxed);
        let wanted = right() + ANSWERS;
        wait_until("programs get answers", || {
            smp::nap();
            // One that has found something wrong waits for nothing any more.
            Ok(right() >= wanted || self.running.iter().any(Running::is_done))
        })
    }

    /// Ends them: their handles are closed. What they found wrong is the error.
    pub(super) fn end(self) -> Outcome {
        self.over.store(true, Ordering::Relaxed);
        self.running.into_iter().try_for_each(Running::wait)
    }
}

/// A program: sends a few requests at a time, takes one back now and then, and checks every answer. It ends when
/// it is told to, or when the device is removed.
fn run(handle: Handle, over: &AtomicBool, tally: &Tally, mut random: Random) -> Outcome {
    const AT_ONCE: usize = 4;
    let mut gone = false;
    while !gone && !over.load(Ordering::Relaxed) {
        let turns = tally.turns.load(Ordering::SeqCst);
        let sent: Vec<_> = (0..AT_ONCE)
            .map(|_| random.below(GREATEST + 1))
            .map(|number| (number, handle.send_factorial(number)))
            .collect();
        let taken_back = random.below(16) == 0;
        if taken_back {
            sent[AT_ONCE - 1].1.cancel();
        }
        for (index, (number, sent)) in sent.iter().enumerate() {
            while !sent.is_done() {
                smp::nap();
            }
            match sent.wait().status {
                STATUS_DEVICE_REMOVED | STATUS_DELETE_PENDING => {
                    tally.removed.fetch_add(1, Ordering::Relaxed);
                    gone = true;
                }
                STATUS_CANCELLED if taken_back && index == AT_ONCE - 1 => {
                    tally.cancelled.fetch_add(1, Ordering::Relaxed);
                }
                STATUS_DEVICE_NOT_READY
                    if turns % 2 == 1 || turns != tally.turns.load(Ordering::SeqCst) =>
                {
                    tally.refused.fetch_add(1, Ordering::Relaxed);
                    smp::nap();
                }
                _ => {
                    check_factorial(*number, sent)?;
                    tally.right.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }
    handle.0.close();
    Ok(())
}
