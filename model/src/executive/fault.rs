//! Faults that a test asks for.
//!
//! A call is made to fail by its name and count ([`Executive::fail`]), or by its count among all calls
//! that can fail, whatever their names ([`Executive::fail_nth`]). With the second a test walks
//! through every point at which what it tests can fail: the first call, then the second, until
//! [nothing was left to fail](Executive::faults_left). What could have failed, and what did, is written
//! down meanwhile ([`Executive::fallible_calls`]).

mod call;

use alloc::vec::Vec;
use core::fmt;

pub use self::call::{CANNOT_FAIL, Call, UnknownCall};
use super::Executive;
use crate::{
    hal::Hal,
    nt::{NTSTATUS, STATUS_UNSUCCESSFUL, ULONG},
};

/// What goes wrong.
///
/// All that is not a status is the business of `IoConnectInterruptEx`; other calls fail with
/// `STATUS_UNSUCCESSFUL` then. A call that has no status fails in its one way, whatever this says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// It does nothing and returns this status at once, which may be any: also a warning, or a success
    /// that did nothing.
    Status(NTSTATUS),
    /// It fails with this status after interrupts were live, so service routines may have run
    /// and DPCs may be queued ([`Hal::connected`] is called as usual).
    StatusAfterService(NTSTATUS),
    /// It fails with this status at this of its interrupts, by their order in the resource list:
    /// those before it were live. Otherwise as [`StatusAfterService`](Self::StatusAfterService).
    StatusAt {
        /// How many interrupts were live.
        interrupt: usize,
        /// The status.
        status: NTSTATUS,
    },
    /// It succeeds and says so with this status instead of `STATUS_SUCCESS`.
    SucceedsWith(NTSTATUS),
    /// It succeeds, connects nothing and writes nothing.
    WritesNothing,
    /// It succeeds, connects nothing and stores NULL.
    StoresNull,
    /// It succeeds and returns this Version, which disconnecting must then be given.
    Version(ULONG),
    /// It succeeds with a message table that says to have this many entries. Those for which there
    /// is no message are zero.
    MessageCount(ULONG),
}

impl Fault {
    /// The status that a call returns which has no more than that to go wrong with.
    ///
    /// ```
    /// use wdm_interrupt_model::{executive::Fault, nt};
    ///
    /// assert_eq!(Fault::Status(nt::STATUS_NOT_FOUND).status(), nt::STATUS_NOT_FOUND);
    /// assert_eq!(Fault::StoresNull.status(), nt::STATUS_UNSUCCESSFUL);
    /// ```
    #[must_use]
    pub const fn status(self) -> NTSTATUS {
        match self {
            Self::Status(status)
            | Self::StatusAfterService(status)
            | Self::StatusAt { status, .. } => status,
            _ => STATUS_UNSUCCESSFUL,
        }
    }
}

impl From<NTSTATUS> for Fault {
    fn from(status: NTSTATUS) -> Self {
        Self::Status(status)
    }
}

/// A call that was made and could have failed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FallibleCall {
    /// The kernel's name for it.
    pub name: &'static str,
    /// What went wrong, if a test asked for it.
    pub fault: Option<Fault>,
}

impl fmt::Display for FallibleCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, fault } = self;
        match fault {
            None => f.write_str(name),
            Some(Fault::Status(status)) => write!(f, "{name} that fails with {status:#010x}"),
            Some(fault) => write!(f, "{name} with {fault:x?}"),
        }
    }
}

/// The faults of an executive, and the calls that could have had one.
pub(super) struct Faults {
    waiting: Vec<Injected>,
    /// Empty and without room until somebody watches.
    calls: Vec<FallibleCall>,
    watching: bool,
}

/// A fault that waits for its call.
struct Injected {
    /// Any, if it has none.
    call: Option<&'static str>,
    remaining: usize,
    fault: Fault,
}

impl Faults {
    /// So many calls are written down.
    const LOGGED: usize = 1024;

    pub(super) const fn new() -> Self {
        Self { waiting: Vec::new(), calls: Vec::new(), watching: false }
    }

    /// What is to go wrong in a call that is made now.
    fn meet(&mut self, call: &'static str) -> Option<Fault> {
        let mut due = None;
        self.waiting.retain_mut(|injected| {
            if injected.call.is_some_and(|name| name != call) {
                return true;
            }
            if injected.remaining > 0 {
                injected.remaining -= 1;
                return true;
            }
            // Of two that are due at once the first has its turn, the other the next call.
            if due.is_some() {
                return true;
            }
            due = Some(injected.fault);
            false
        });
        // The room was made in advance: who calls may be above DISPATCH_LEVEL.
        if self.watching && self.calls.len() < Self::LOGGED {
            self.calls.push(FallibleCall { name: call, fault: due });
        }
        due
    }
}

impl<H: Hal> Executive<H> {
    /// Makes a call go wrong, once: the next one if `nth` is 0, the one after it if it is 1.
    ///
    /// The call is one of [`Call`], or the name of one that the platform
    /// [has besides](Self::platform_fault).
    pub fn fail(&self, call: impl Into<&'static str>, nth: usize, fault: impl Into<Fault>) {
        self.inject(Some(call.into()), nth, fault.into());
    }

    /// Makes a call go wrong, once: the next one that can fail if `nth` is 0, whatever its name, the
    /// one after it if it is 1.
    pub fn fail_nth(&self, nth: usize, fault: impl Into<Fault>) {
        self.inject(None, nth, fault.into());
    }

    fn inject(&self, call: Option<&'static str>, nth: usize, fault: Fault) {
        let injected = Injected { call, remaining: nth, fault };
        self.faults.lock(&self.hal).waiting.push(injected);
    }

    /// How many faults wait for their calls.
    pub fn faults_left(&self) -> usize {
        self.faults.lock(&self.hal).waiting.len()
    }

    /// Forgets the faults that wait for their calls, and begins to write down anew which calls are
    /// made that can fail; the first 1,024. At most `DISPATCH_LEVEL`.
    pub fn watch_fallible_calls(&self) {
        let room = Vec::with_capacity(Faults::LOGGED);
        let new = Faults { waiting: Vec::new(), calls: room, watching: true };
        let old = core::mem::replace(&mut *self.faults.lock(&self.hal), new);
        drop(old);
    }

    /// The calls that were made and could have failed, in order, since they are
    /// [watched](Self::watch_fallible_calls).
    pub fn fallible_calls(&self) -> Vec<FallibleCall> {
        let mut copy = Vec::with_capacity(Faults::LOGGED);
        copy.extend_from_slice(&self.faults.lock(&self.hal).calls);
        copy
    }

    /// What is to go wrong in a call that can fail and that the executive does not have: for the
    /// platform, at the beginning of each such call, which is counted as the executive's own are.
    pub fn platform_fault(&self, call: &'static str) -> Option<Fault> {
        self.faults.lock(&self.hal).meet(call)
    }

    /// What is to go wrong in this call.
    pub(super) fn fault(&self, call: Call) -> Option<Fault> {
        self.platform_fault(call.name())
    }
}
