//! A walk through all points at which starting a device can fail: the first call that can fails, then the
//! second, and so on until there is none.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};

use wdm_interrupt_model::executive::{FallibleCall, Fault};
use wdm_interrupt_model::nt::{
    DISPATCH_LEVEL, NTSTATUS, STATUS_BUFFER_OVERFLOW, STATUS_INSUFFICIENT_RESOURCES,
    STATUS_NOT_SUPPORTED,
};

use super::edu::{Outcome, load, require};
use super::status::Status;
use crate::image::Image;
use crate::kernel::EXECUTIVE;
use crate::pnp::node::Node;
use crate::pnp::resources::Choice;
use crate::pnp::{Driver, leftovers};
use crate::{exports, irql, pci};

/// What calls fail with: a lack of memory, another error, and a warning, which is no success either.
const STATUSES: [NTSTATUS; 3] =
    [STATUS_INSUFFICIENT_RESOURCES, STATUS_NOT_SUPPORTED, STATUS_BUFFER_OVERFLOW];

/// What else can go wrong in the call that connects an interrupt.
const OF_A_CONNECT: [Fault; 4] = [
    Fault::StatusAfterService(STATUS_INSUFFICIENT_RESOURCES),
    Fault::WritesNothing,
    Fault::StoresNull,
    Fault::Version(77),
];

/// The call that connects an interrupt.
const CONNECT: &str = "IoConnectInterruptEx";

/// Whether a device is being started with a call that fails.
static STARTING: AtomicBool = AtomicBool::new(false);

/// The run ends because something was not as it must be: says which call had failed, if one had.
pub(crate) fn say_what_failed() {
    if !STARTING.swap(false, Ordering::Relaxed) || irql::current() > DISPATCH_LEVEL as u8 {
        return;
    }
    let calls = EXECUTIVE.fallible_calls();
    if let Some(hit) = calls.iter().find(|call| call.fault.is_some()) {
        crate::serial::print_at_the_end(format_args!("bed: it was after {}\n", said(Some(hit))));
    }
}

/// In which part of a device's life calls fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum During {
    /// From `AddDevice` to the first START.
    FirstStart,
    /// In the START after a STOP.
    Restart,
}

impl During {
    /// What calls fail with. What a driver makes of a status it has shown when a restart comes.
    pub(super) fn statuses(self) -> &'static [NTSTATUS] {
        match self {
            Self::FirstStart => &STATUSES,
            Self::Restart => &STATUSES[..1],
        }
    }

    fn faults_of_a_connect(self) -> &'static [Fault] {
        match self {
            Self::FirstStart => &OF_A_CONNECT,
            Self::Restart => &OF_A_CONNECT[..1],
        }
    }
}

/// How far a device came.
#[derive(Clone, Copy)]
enum Came {
    /// `AddDevice` failed.
    NotAdded(Status),
    /// START failed.
    NotStarted(Status),
    Started,
}

/// One device after the other, with each of its calls failing in turn.
pub(super) struct Walk<'a> {
    pub(super) driver: &'a Driver,
    pub(super) function: pci::Function,
    pub(super) choice: Choice,
    pub(super) during: During,
}

impl Walk<'_> {
    /// Has each call fail with `fault`, or each call of this name; `exercise` is for a device that started
    /// nevertheless, as it must when nothing fails. Gives the calls that can fail, by their names.
    pub(super) fn take(
        &self,
        name: Option<&'static str>,
        fault: Fault,
        exercise: impl Fn(&Arc<Node>) -> Outcome,
    ) -> Outcome<Vec<&'static str>> {
        let before = leftovers::find(self.driver);
        for nth in 0..1000 {
            let node = Node::new(self.function.clone());
            if self.during == During::Restart {
                self.start_and_stop(&node)?;
            }
            EXECUTIVE.watch_fallible_calls();
            match name {
                Some(name) => EXECUTIVE.fail(name, nth, fault),
                None => EXECUTIVE.fail_nth(nth, fault),
            }
            STARTING.store(true, Ordering::Relaxed);
            let came = self.start(&node);
            STARTING.store(false, Ordering::Relaxed);
            let calls = EXECUTIVE.fallible_calls();
            // What was never reached is forgotten.
            EXECUTIVE.watch_fallible_calls();
            let hit = calls.iter().find(|call| call.fault.is_some());
            self.end(&node, came, hit, &exercise)?;
            let left = leftovers::find(self.driver);
            require!(left == before, "{}: left behind: {}", said(hit), left.join("; "));
            if hit.is_none() {
                return Ok(calls.iter().map(|call| call.name).collect());
            }
        }
        Err("START calls the kernel for ever".into())
    }

    /// Takes a device as far as a STOP, with nothing failing.
    fn start_and_stop(&self, node: &Arc<Node>) -> Outcome {
        let added = node.add(self.driver);
        added.map_err(|status| format!("AddDevice returned {}", Status(status)))?;
        let status = Status(node.start(self.choice, |_| ()));
        require!(status.0 >= 0, "the first START returned {status}");
        let status = Status(node.query_stop());
        require!(status.0 >= 0, "QUERY_STOP returned {status}");
        node.stop();
        Ok(())
    }

    fn start(&self, node: &Arc<Node>) -> Came {
        if self.during == During::FirstStart
            && let Err(status) = node.add(self.driver)
        {
            return Came::NotAdded(Status(status));
        }
        match Status(node.start(self.choice, |_| ())) {
            status if status.0 < 0 => Came::NotStarted(status),
            _ => Came::Started,
        }
    }

    /// Checks how far a device came, and ends it.
    fn end(
        &self,
        node: &Arc<Node>,
        came: Came,
        hit: Option<&FallibleCall>,
        exercise: impl Fn(&Arc<Node>) -> Outcome,
    ) -> Outcome {
        match came {
            Came::NotAdded(status) => require_failed("AddDevice", status, hit),
            Came::NotStarted(status) => {
                require_failed("START", status, hit)?;
                if self.during == During::Restart {
                    // What Windows does with a started device that does not start again.
                    node.surprise_removal();
                }
                node.remove();
                Ok(())
            }
            Came::Started => {
                crate::say!("bed: {}: it started", said(hit));
                exercise(node).map_err(|why| format!("{}: {why}", said(hit)))?;
                let status = Status(node.query_remove());
                require!(status.0 >= 0, "{}: QUERY_REMOVE returned {status}", said(hit));
                node.remove();
                Ok(())
            }
        }
    }
}

/// Requires that something failed, and that the status is its own if it had one.
fn require_failed(what: &str, status: Status, hit: Option<&FallibleCall>) -> Outcome {
    crate::say!("bed: {}: {what} returned {status}", said(hit));
    let Some(call) = hit else {
        return Err(format!("{what} returned {status}, and nothing failed"));
    };
    if let Some(Fault::Status(expected)) = call.fault
        && exports::returns_a_status(call.name)
    {
        let expected = Status(expected);
        require!(status.0 == expected.0, "{what} returned {status}, not {expected}");
    }
    Ok(())
}

/// What failed, for people.
fn said(hit: Option<&FallibleCall>) -> String {
    hit.map_or_else(
        || "nothing fails".into(),
        |call| match call.fault {
            Some(Fault::Status(status)) => format!("{} fails with {}", call.name, Status(status)),
            _ => call.to_string(),
        },
    )
}

/// Walks through the STARTs of the first device with any driver.
pub(crate) fn play(image: Image, choice: Choice) -> Outcome {
    let driver = load(image)?;
    let function = pci::functions().into_iter().next().ok_or("QEMU has no device")?;
    let mut tried = 0;
    for during in [During::FirstStart, During::Restart] {
        let walk = Walk { driver: &driver, function: function.clone(), choice, during };
        for &status in during.statuses() {
            let calls = walk.take(None, Fault::Status(status), |_| Ok(()))?;
            tried += calls.len();
            crate::say!("bed: {during:?}: {} calls can fail: {}", calls.len(), calls.join(", "));
        }
        for &fault in during.faults_of_a_connect() {
            let calls = walk.take(Some(CONNECT), fault, |_| Ok(()))?;
            tried += calls.iter().filter(|name| **name == CONNECT).count();
        }
    }
    driver.unload();
    crate::say!("bed: {tried} times a call failed; left behind: nothing");
    Ok(())
}
