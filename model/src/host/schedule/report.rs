//! Who waits for what.

use std::{
    fmt::{self, Write},
    string::String,
};

use super::{super::processor::Role, State, Status};

/// What a thread is doing, for reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::host) enum Doing {
    /// A kernel call.
    Call(&'static str),
    /// The service routines of a vector.
    Service(u32),
    /// The DPCs of its processor.
    Dpcs,
    /// It waits, on behalf of the test, for this.
    Waiting(&'static str),
}

impl fmt::Display for Doing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Call(name) => f.write_str(name),
            Self::Service(vector) => write!(f, "the service routines of vector {vector:#x}"),
            Self::Dpcs => f.write_str("DPCs"),
            Self::Waiting(what) => f.write_str(what),
        }
    }
}

/// Where a thread is, for reports.
#[derive(Clone, Copy, Debug)]
pub(in crate::host) struct Whereabouts {
    pub(in crate::host) role: Role,
    pub(in crate::host) processor: usize,
    pub(in crate::host) irql: u8,
    /// The innermost first.
    pub(in crate::host) doing: [Option<Doing>; 4],
}

impl Whereabouts {
    /// Of a thread that has not begun.
    pub(super) const fn beginning(role: Role) -> Self {
        Self { role, processor: 0, irql: 0, doing: [None; 4] }
    }
}

impl State {
    /// Who waits for what.
    pub(super) fn report(&self, what: fmt::Arguments<'_>) -> String {
        let mut report = String::new();
        // Writing to a string does not fail.
        let _ = write!(report, "{what}:");
        for task in self.tasks.iter().filter(|task| task.status != Status::Ended) {
            let Whereabouts { role, processor, irql, doing } = task.place;
            let _ = write!(report, "\n    {role}");
            if role != Role::Processor(processor) {
                let _ = write!(report, ", as processor {processor}");
            }
            let _ = write!(report, ", at IRQL {irql}");
            let state = match task.status {
                Status::Ready => "runs",
                Status::Waiting { .. } => "waits",
                Status::Ended => "has ended",
            };
            let _ = write!(report, ", {state}");
            for (index, doing) in doing.iter().flatten().enumerate() {
                let within = match (index, doing) {
                    (0, Doing::Waiting(_)) => " for",
                    (0, _) => " in",
                    (_, Doing::Waiting(_)) => ", and before for",
                    _ => ", within",
                };
                let _ = write!(report, "{within} {doing}");
            }
            if task.panicked_at.is_some() {
                let _ = write!(report, ", and is unwinding from a panic");
            }
        }
        report
    }
}
