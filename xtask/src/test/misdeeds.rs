//! Drivers that break a rule: the bed must stop at it, and say which, in what call and on which processor.
//!
//! It is one driver, `samples/misbehaving`, that does what its service's name says.

mod failing;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::machine::{Expected, Job};
use crate::driver::{self, Profile};
use crate::layout::Layout;
use crate::qemu::{Interrupt, Machine};
use crate::setup::Host;

/// The misdeed that is none.
const NONE: &str = "none";

/// Each misdeed, and what is said of it: the rule, the call in which it was found broken, where.
const MISDEEDS: [(&str, &[&str]); 54] = [
    ("leaves_its_device_initializing", &["DeviceInitializing broken in AddDevice on processor 0"]),
    (
        "connects_at_dispatch_level",
        &["IrqlPassive broken in IoConnectInterruptEx on processor 0 at IRQL 2"],
    ),
    (
        "connects_for_its_own_device_object",
        &["PhysicalDevice broken in IoConnectInterruptEx on processor 0"],
    ),
    ("never_claims", &["Storm broken in a service routine on processor 1 at IRQL 5"]),
    (
        "never_acknowledges",
        &[
            "Storm broken in a service routine on processor 1 at IRQL 5",
            "*** STOP: 0x000000F2 (",
            "HARDWARE_INTERRUPT_STORM",
        ],
    ),
    (
        "disconnects_with_another_version",
        &[
            "DisconnectVersion broken in IoDisconnectInterruptEx on processor 0",
            "*** STOP: 0x000000CA (0x0000000000000009,0x0000000000000003,",
            "PNP_DETECTED_FATAL_ERROR",
        ],
    ),
    ("disconnects_twice", &["InterruptObject broken in IoDisconnectInterruptEx on processor 0"]),
    (
        "disconnects_at_dispatch_level",
        &["IrqlPassive broken in IoDisconnectInterruptEx on processor 0 at IRQL 2"],
    ),
    ("stays_connected_at_remove", &["ResourcesInUse broken in the PnP manager on processor 0"]),
    (
        "synchronizes_above_its_irql",
        &["SynchronizeIrql broken in KeSynchronizeExecution on processor 0 at IRQL 13"],
    ),
    (
        "synchronizes_with_what_is_disconnected",
        &[
            "InterruptObject broken in KeSynchronizeExecution on processor 0",
            "freed interrupt object 0xffffe",
            "was vector 0x",
        ],
    ),
    (
        "reads_an_interrupt_object_that_it_disconnected",
        &[
            "exception 14 (page fault) on processor 0 at IRQL 0",
            "at misbehaving.sys+0x",
            "address ffffe",
        ],
    ),
    (
        "sets_an_event_in_its_service_routine",
        &["IrqlSetEvent broken in KeSetEvent on processor 1 at IRQL 5"],
    ),
    (
        "allocates_in_its_service_routine",
        &["IrqlPool broken in ExAllocatePool2 on processor 1 at IRQL 5"],
    ),
    (
        "leaves_its_service_routine_at_another_irql",
        &[
            "IsrState broken in a service routine on processor 1 at IRQL 12",
            "*** STOP: 0x000000C4 (0x0000000000000111,",
        ],
    ),
    ("frees_a_queued_dpc", &["FreedInUse broken in ExFreePoolWithTag on processor 0", "KDPC"]),
    (
        "leaves_pool_behind",
        &[
            "LeftBehind broken in the driver's unload on processor 0",
            "pool 'Misb'",
            "*** STOP: 0x000000C4 (0x0000000000000060,",
        ],
    ),
    (
        "writes_behind_its_pool",
        &[
            "PoolOverrun broken in ExFreePoolWithTag on processor 0",
            "'Misb'",
            "*** STOP: 0x000000C1 (",
            "SPECIAL_POOL_DETECTED_MEMORY_CORRUPTION",
        ],
    ),
    (
        "writes_to_pool_that_it_freed",
        &[
            "PoolUseAfterFree broken in the end of the run on processor 0",
            "'Misb'",
            "*** STOP: 0x000000C6 (",
            "DRIVER_CAUGHT_MODIFYING_FREED_POOL",
        ],
    ),
    (
        "frees_pool_twice",
        &[
            "PoolFree broken in ExFreePoolWithTag on processor 0",
            "freed already",
            "*** STOP: 0x000000C2 (0x0000000000000007,",
            "BAD_POOL_CALLER",
        ],
    ),
    (
        "frees_pool_with_another_tag",
        &[
            "PoolTag broken in ExFreePoolWithTag on processor 0",
            "has tag 'Misb', not 'bsiM'",
            "*** STOP: 0x000000C2 (0x000000000000000A,",
        ],
    ),
    (
        "connects_its_line_twice",
        &[
            "LineBasedOnce broken in IoConnectInterruptEx on processor 0",
            "interrupt object 0xffffe",
        ],
    ),
    (
        "queues_a_dpc_that_it_did_not_initialise",
        &["DpcInitialised broken in KeInsertQueueDpc on processor 0"],
    ),
    (
        "queues_a_dpc_that_it_freed",
        &[
            "Resident broken in KeInsertQueueDpc on processor 0",
            "concerned: freed pool",
            "tag 'Misb'",
            "*** STOP: 0x000000C7 (0x0000000000000001,",
            "TIMER_OR_DPC_INVALID",
        ],
    ),
    (
        "leaves_its_dpc_at_another_irql",
        &["DpcState broken in a deferred routine on processor 0 at IRQL 12"],
    ),
    (
        "acquires_a_lock_that_it_did_not_initialise",
        &[
            "LockWord broken in KeAcquireSpinLockRaiseToDpc on processor 0 at IRQL 2",
            "it is 0xdead",
            "*** STOP: 0x000000C4 (0x0000000000001002,",
        ],
    ),
    (
        "releases_a_lock_that_it_does_not_hold",
        &[
            "LockOwner broken in KeReleaseSpinLock on processor 0 at IRQL 2",
            "*** STOP: 0x000000C4 (0x0000000000001007,",
        ],
    ),
    (
        "leaves_registers_mapped",
        &["LeftBehind broken in the driver's unload on processor 0", "1 mapped registers"],
    ),
    (
        "reads_registers_that_it_unmapped",
        &["exception 14 (page fault) on processor 0 at IRQL 0", "at misbehaving.sys+0x"],
    ),
    (
        "waits_at_dispatch_level",
        &["IrqlWait broken in KeWaitForSingleObject on processor 0 at IRQL 2"],
    ),
    (
        "delays_at_dispatch_level",
        &["Irql broken in KeDelayExecutionThread on processor 0 at IRQL 2"],
    ),
    (
        "waits_for_a_mutex_at_dispatch_level",
        &["Wait broken in KeWaitForSingleObject on processor 0 at IRQL 2"],
    ),
    (
        "acquires_a_fast_mutex_twice",
        &["Wait broken in ExAcquireFastMutex on processor 0", "this thread has it already"],
    ),
    (
        "waits_in_its_service_routine",
        &["IrqlWait broken in KeWaitForSingleObject on processor 1 at IRQL 5"],
    ),
    (
        "waits_for_a_work_item_in_its_service_routine",
        &["IrqlDispatch broken in IoAllocateWorkItem on processor 1 at IRQL 5"],
    ),
    (
        "frees_a_queued_work_item",
        &["WorkItemState broken in IoFreeWorkItem on processor 0", "is queued"],
    ),
    (
        "leaves_a_work_item_behind",
        &["LeftBehind broken in the driver's unload on processor 0", "1 work items"],
    ),
    (
        "flushes_dpcs_in_a_threaded_dpc",
        &["FlushInDpc broken in KeFlushQueuedDpcs on processor 0 at IRQL 0"],
    ),
    (
        "waits_in_a_threaded_dpc",
        &["IrqlWait broken in KeWaitForSingleObject on processor 0 at IRQL 0"],
    ),
    // On a line it is legal to acquire the lock, and not to keep it.
    (
        "acquires_the_spin_lock_of_its_interrupt",
        &["Irql broken in IofCompleteRequest on processor 0 at IRQL 5"],
    ),
    (
        "acquires_a_lock_twice",
        &["Deadlock broken in KeAcquireSpinLockRaiseToDpc on processor 0 at IRQL 2"],
    ),
    (
        "completes_twice",
        &["IrpCompletion broken in IofCompleteRequest on processor 0", "completed already"],
    ),
    ("returns_at_raised_irql", &["DispatchState broken in IofCallDriver on processor 0 at IRQL 2"]),
    (
        "deletes_an_attached_device",
        &["DeviceObject broken in IoDeleteDevice on processor 0", "still attached"],
    ),
    ("unmaps_another_length", &["Unmapped broken in MmUnmapIoSpace on processor 0"]),
    (
        "marks_pending_and_returns_success",
        &["IrpPending broken in a dispatch routine on processor 0"],
    ),
    ("completes_with_a_cancel_routine", &["IrpCancel broken in IofCompleteRequest on processor 0"]),
    ("passes_down_with_a_cancel_routine", &["IrpCancel broken in IofCallDriver on processor 0"]),
    ("sends_an_irp_without_stack_locations", &["IrpStack broken in IofCallDriver on processor 0"]),
    ("frees_an_irp_twice", &["IrpFreed broken in IoFreeIrp on processor 0"]),
    ("writes_to_an_irp_that_it_freed", &["IrpFreed broken in the check at the end on processor 0"]),
    (
        "releases_a_remove_lock_that_it_does_not_hold",
        &["RemoveLock broken in IoReleaseRemoveLockEx on processor 0"],
    ),
    ("panics", &["bug check 0x52504e43", "on processor 0 at IRQL 0"]),
    ("fails_its_removal", &["PnpStatus broken in REMOVE_DEVICE on processor 0"]),
];

/// What the driver also does, as the service of this name, and what comes of it on another machine.
struct Deed {
    title: &'static str,
    service: &'static str,
    interrupt: Interrupt,
    no_dpc_threads: bool,
    expected: Expected,
}

/// Each deed of the driver that is not a misdeed, or one on some machines only.
const DEEDS: [Deed; 6] = [
    Deed {
        title: "a passive-level service routine may wait",
        service: "waits_in_its_service_routine",
        interrupt: Interrupt::Passive,
        no_dpc_threads: false,
        expected: Expected::Success(&["left behind: nothing"]),
    },
    Deed {
        title: "other threads run while a passive-level service routine waits",
        service: "waits_for_a_work_item_in_its_service_routine",
        interrupt: Interrupt::Passive,
        no_dpc_threads: false,
        expected: Expected::Success(&["a work item ran while the service routine waited"]),
    },
    Deed {
        title: "caught: a driver that acquires the spin lock of a passive-level interrupt",
        service: "acquires_the_spin_lock_of_its_interrupt",
        interrupt: Interrupt::Passive,
        no_dpc_threads: false,
        expected: Expected::Refusal(&[
            "PassiveInterruptLock broken in KeAcquireInterruptSpinLock on processor 0",
            "*** STOP: 0x0000013B (0x0000000000000001,0xFFFFE",
            "PASSIVE_INTERRUPT_ERROR",
        ]),
    },
    Deed {
        title: "caught: a driver that never claims a passive-level interrupt",
        service: "never_claims",
        interrupt: Interrupt::Passive,
        no_dpc_threads: false,
        expected: Expected::Refusal(&["Storm broken in a service routine"]),
    },
    Deed {
        title: "a threaded DPC runs at PASSIVE_LEVEL, and other DPCs meanwhile",
        service: "runs_a_threaded_dpc",
        interrupt: Interrupt::Line,
        no_dpc_threads: false,
        expected: Expected::Success(&["threaded DPC runs at IRQL 0", "a DPC ran meanwhile"]),
    },
    Deed {
        title: "a threaded DPC runs at DISPATCH_LEVEL where there are no threads for it",
        service: "runs_a_threaded_dpc",
        interrupt: Interrupt::Line,
        no_dpc_threads: true,
        expected: Expected::Success(&["threaded DPC runs at IRQL 2"]),
    },
];

/// A boot for each misdeed, one of the same driver without any, and one for each of its deeds.
pub(super) fn jobs(driver: &Path) -> impl Iterator<Item = Job> {
    let sound =
        job(driver, NONE, Expected::Success(&["misbehaving: none", "left behind: nothing"]));
    let misdeeds = MISDEEDS.iter().map(|(name, said)| job(driver, name, Expected::Refusal(said)));
    let deeds = DEEDS.into_iter().map(|deed| {
        let mut machine = Machine::with_edu(1, deed.interrupt);
        machine.service = Some(deed.service.to_owned());
        machine.no_dpc_threads = deed.no_dpc_threads;
        Job {
            name: deed.title.to_owned(),
            driver: driver.to_path_buf(),
            command: machine.run_command(),
            machine,
            expected: deed.expected,
        }
    });
    std::iter::once(sound).chain(misdeeds).chain(failing::jobs(driver)).chain(deeds)
}

/// Each misdeed that the bed finds broken a rule of the model's, with the rule.
pub(super) fn rules() -> impl Iterator<Item = (&'static str, &'static str)> {
    let refused = DEEDS.into_iter().filter_map(|deed| match deed.expected {
        Expected::Refusal(said) => Some((deed.service, said)),
        Expected::Success(_) | Expected::Stopped => None,
    });
    let all = MISDEEDS.into_iter().chain(refused);
    all.filter_map(|(name, said)| Some((name, said.first()?.split_once(" broken in ")?.0)))
}

/// The names of these tests.
pub(super) fn titles() -> impl Iterator<Item = String> {
    let deeds = DEEDS.into_iter().map(|deed| deed.title.to_owned());
    let misdeeds = MISDEEDS.iter().chain(&failing::MISDEEDS).map(|(name, _)| *name);
    std::iter::once(NONE).chain(misdeeds).map(title).chain(deeds)
}

fn job(driver: &Path, name: &str, expected: Expected) -> Job {
    let mut machine = Machine::with_edu(1, Interrupt::Line);
    machine.service = Some(name.to_owned());
    Job {
        name: title(name),
        driver: driver.to_path_buf(),
        command: machine.run_command(),
        machine,
        expected,
    }
}

/// The sentence that a misdeed's name is the end of.
fn title(name: &str) -> String {
    match name {
        NONE => "caught: nothing that a driver without a misdeed does".to_owned(),
        name => format!("caught: a driver that {}", name.replace('_', " ")),
    }
}

/// Builds the driver.
pub(super) fn build(layout: &Layout, host: &Host) -> Result<PathBuf> {
    let built = driver::build(layout, host, &folder(layout), Profile::Release)?;
    built.drivers.into_iter().next().context("no driver was built")
}

/// The driver's crate.
fn folder(layout: &Layout) -> PathBuf {
    layout.root().join("samples").join("misbehaving")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text;

    /// The names in the driver's table, whose rows are `misdeed!(Moment, subject::name),`.
    fn of_the_driver(source: &str) -> impl Iterator<Item = &str> {
        source.lines().filter_map(|line| {
            let row = line.trim().strip_prefix("misdeed!(")?;
            row.split_once(')')?.0.rsplit([':', ' ']).next()
        })
    }

    #[test]
    fn every_misdeed_of_the_driver_is_expected_to_be_caught() -> Result<()> {
        let layout = Layout::of_this_repository();
        let source = text::read(&folder(&layout).join("src").join("misdeeds.rs"))?;
        let mut there: Vec<&str> = of_the_driver(&source).collect();
        let mut expected: Vec<&str> = MISDEEDS
            .iter()
            .chain(&failing::MISDEEDS)
            .map(|(name, _)| *name)
            .chain(DEEDS.iter().map(|deed| deed.service))
            .chain([NONE])
            .collect();
        there.sort_unstable();
        expected.sort_unstable();
        expected.dedup();
        assert_eq!(there, expected);
        Ok(())
    }

    #[test]
    fn every_rule_of_the_beds_own_is_broken_by_a_misdeed() -> Result<()> {
        let layout = Layout::of_this_repository();
        let source = text::read(&layout.bed().join("src").join("verify.rs"))?;
        let (_, rules) = source.split_once("\nrules! {\n").context("there are no rules")?;
        let (rules, _) = rules.split_once("\n}").context("the rules have no end")?;
        let rules: Vec<&str> =
            rules.lines().filter_map(|line| Some(line.trim().split_once(": \"")?.0)).collect();
        assert!(rules.contains(&"IrpCompletion"), "{rules:?} are not the rules");
        for rule in rules {
            let report = format!("{rule} broken in ");
            let mut expected = MISDEEDS.iter().flat_map(|(_, said)| said.iter());
            assert!(expected.any(|said| said.starts_with(&report)), "no misdeed breaks {rule}");
        }
        Ok(())
    }

    #[test]
    fn a_misdeeds_name_makes_a_sentence() {
        assert_eq!(title("frees_pool_twice"), "caught: a driver that frees pool twice");
    }
}
