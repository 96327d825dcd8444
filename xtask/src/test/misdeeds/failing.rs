//! What a driver does wrong only where a call of the kernel fails: the walk through all such calls stops at it.

use std::path::Path;

use super::super::machine::{Expected, Job};
use super::{NONE, job, title};

/// Each misdeed that shows only where a call fails, and what the walk through the failures says of it: the call that
/// failed, and what was wrong then.
pub(super) const MISDEEDS: [(&str, &[&str]); 5] = [
    (
        "believes_a_connect_that_failed",
        &[
            "IoConnectInterruptEx with StatusAfterService",
            "InterruptObject broken in IoDisconnectInterruptEx on processor 0",
        ],
    ),
    (
        "keeps_pool_when_it_cannot_connect",
        &["FAILED: IoConnectInterruptEx fails with STATUS_INSUFFICIENT_RESOURCES: left behind: \
             pool 'Misb': 1 blocks"],
    ),
    (
        "keeps_registers_mapped_when_it_cannot_connect",
        &["FAILED: IoConnectInterruptEx fails with STATUS_INSUFFICIENT_RESOURCES: left behind: \
             1 mapped registers"],
    ),
    (
        "forgets_to_complete_when_it_cannot_connect",
        &[
            "IrpPending broken in a dispatch routine on processor 0",
            "bed: it was after IoConnectInterruptEx fails with STATUS_INSUFFICIENT_RESOURCES",
        ],
    ),
    (
        "forgets_to_disconnect_when_an_allocation_fails",
        &[
            "ExAllocatePool2 fails with STATUS_INSUFFICIENT_RESOURCES: it started",
            "ResourcesInUse broken in the PnP manager on processor 0",
        ],
    ),
];

/// For each of them a walk that must stop, and a run in which nothing fails, that shows nothing; and a walk with the
/// driver as it is without a misdeed.
pub(super) fn jobs(driver: &Path) -> impl Iterator<Item = Job> {
    let sound = Job {
        name: "caught: nothing that a driver without a misdeed does when calls fail".to_owned(),
        ..walk(driver, NONE, Expected::Success(&["times a call failed; left behind: nothing"]))
    };
    let misdeeds = MISDEEDS.iter().flat_map(move |(name, said)| {
        let unnoticed = Job {
            name: format!("not {} while no call fails", title(name)),
            ..job(driver, name, Expected::Success(&["left behind: nothing"]))
        };
        [walk(driver, name, Expected::Refusal(said)), unnoticed]
    });
    std::iter::once(sound).chain(misdeeds)
}

fn walk(driver: &Path, name: &str, expected: Expected) -> Job {
    let mut job = job(driver, name, expected);
    "failures".clone_into(&mut job.machine.play);
    job.command = job.machine.run_command();
    job
}
