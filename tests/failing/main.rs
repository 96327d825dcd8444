//! Connecting, when the kernel's calls fail: every version of connect, with every kind of deferred half,
//! at every point at which it can fail, in every way. Nothing leaks, nothing stays connected, and the
//! halves come back.

mod attempt;
#[expect(dead_code, reason = "the diary is for other tests")]
#[path = "../common/mod.rs"]
mod common;
#[expect(dead_code, reason = "this has handlers of its own")]
#[path = "../common/counter.rs"]
mod counter;
mod halves;
mod source;
mod versions;
mod walk;

use std::collections::{BTreeMap, BTreeSet};

use walk::{By, Meanwhile, Walk};
use wdm_interrupt::{PassiveInterrupt, PassiveInterruptHandler, PassiveLineBased, Serviced};
use wdm_interrupt_model::executive::{Call, Fault};
use wdm_interrupt_model::host::Machine;
use wdm_interrupt_model::nt::{self, NTSTATUS};

/// Statuses that no documentation of these calls has: errors, warnings, and one of nobody's.
const ODD: [NTSTATUS; 4] = [
    nt::STATUS_UNSUCCESSFUL,
    nt::STATUS_BUFFER_OVERFLOW,
    nt::STATUS_DEVICE_BUSY,
    0xE0AD_BEEF_u32.cast_signed(),
];

/// Successes that are not `STATUS_SUCCESS`: a wait's, an unfinished one, and an information.
const SUCCESSES: [NTSTATUS; 3] = [nt::STATUS_TIMEOUT, nt::STATUS_PENDING, 0x4000_0000];

/// A failure of memory, and a warning, which is no success either.
const TWO: [NTSTATUS; 2] = [nt::STATUS_INSUFFICIENT_RESOURCES, nt::STATUS_BUFFER_OVERFLOW];

/// How often something went wrong, by version.
type Tally = BTreeMap<String, usize>;

/// Walks each version with each of `faults`, with all that can happen meanwhile.
fn walk_all(by: By, meanwhile: &[Meanwhile], faults: &[Fault]) -> Tally {
    let mut tally = Tally::new();
    for version in versions::all() {
        let machine = Machine::new(2).enter();
        let device = version.device(&machine);
        for &meanwhile in meanwhile {
            for &fault in faults {
                let (machine, version, device) = (&*machine, &version, &device);
                let found = Walk { machine, version, device, meanwhile }.take(by, fault);
                let expected = match by {
                    By::Place => version.points,
                    By::Name(_) => version.setting.connects,
                };
                assert_eq!(found, expected, "{version}: points at which it can fail");
                *tally.entry(version.to_string()).or_default() += found;
            }
        }
        machine.leave();
    }
    tally
}

/// How many there were of all.
fn total(tally: &Tally) -> usize {
    tally.values().sum()
}

/// Failures of `IoConnectInterruptEx` after interrupts were live.
fn late() -> Vec<Fault> {
    let [status, other] = TWO;
    let at = |interrupt| Fault::StatusAt { interrupt, status };
    (0..=3)
        .map(at)
        .chain(TWO.map(Fault::StatusAfterService))
        .chain([Fault::StatusAt { interrupt: 1, status: other }])
        .collect()
}

/// Successes of `IoConnectInterruptEx` with something wrong about them.
fn odd_successes() -> Vec<Fault> {
    let statuses = SUCCESSES
        .into_iter()
        .flat_map(|status| [Fault::Status(status), Fault::SucceedsWith(status)]);
    let versions = [0, 77, u32::MAX].map(Fault::Version);
    let counts = [0, 1, 2, 4].map(Fault::MessageCount);
    let stored = [Fault::WritesNothing, Fault::StoresNull];
    statuses.chain(versions).chain(counts).chain(stored).collect()
}

#[test]
fn whichever_call_fails_the_halves_come_back_and_nothing_is_left() {
    let all = TWO.map(Fault::Status);
    let tally = walk_all(By::Place, &Meanwhile::ALL, &all);
    for version in versions::all() {
        println!("{version}: {} calls can fail", version.points);
    }
    println!("{} versions, {} failures", tally.len(), total(&tally));
    assert!(tally.len() >= 92, "there were more versions than {}", tally.len());
    assert!(total(&tally) >= 2_000, "there were more failures than {}", total(&tally));
}

#[test]
fn whatever_the_status_is_the_error_has_it_and_names_it() {
    let documented = Call::IoConnectInterruptEx.statuses();
    let statuses = documented.iter().chain(&ODD).copied();
    let faults: Vec<Fault> = statuses.map(Fault::Status).collect();
    let tally = walk_all(By::Place, &[Meanwhile::Nothing], &faults);
    println!("{} failures", total(&tally));
    assert!(total(&tally) >= 2_500, "there were more failures than {}", total(&tally));
}

#[test]
fn a_connect_that_fails_after_interrupts_were_live_is_undone() {
    let tally = walk_all(By::Name(Call::IoConnectInterruptEx), &Meanwhile::ALL, &late());
    println!("{} connects failed late", total(&tally));
    assert!(total(&tally) >= 3_500, "there were more than {}", total(&tally));
}

#[test]
fn a_success_is_taken_for_what_it_is_and_what_does_not_fit_is_undone() {
    let meanwhile = [Meanwhile::Nothing, Meanwhile::InterruptsWithDpcsHeld];
    let by = By::Name(Call::IoConnectInterruptEx);
    let tally = walk_all(by, &meanwhile, &odd_successes());
    println!("{} connects said something odd", total(&tally));
    assert!(total(&tally) >= 4_000, "there were more than {}", total(&tally));
}

#[test]
fn every_way_to_connect_that_the_library_has_is_walked() {
    let walked: BTreeSet<_> = versions::all()
        .iter()
        .map(|version| (version.request.to_owned(), version.method.to_owned()))
        .collect();
    assert_eq!(walked, source::ways_to_connect());
}

#[test]
fn every_kind_of_deferred_half_that_the_library_has_is_walked() {
    let walked: BTreeSet<_> = versions::all()
        .iter()
        .map(|version| version.half.trim_start_matches("an aimed ").to_owned())
        .collect();
    assert_eq!(walked, source::deferred_halves());
}

/// A passive-level handler that claims everything.
struct Passive;

impl PassiveInterruptHandler for Passive {
    fn service(&mut self, _interrupt: &PassiveInterrupt<'_>) -> Serviced {
        Serviced::Claimed
    }
}

#[test]
fn a_lock_that_could_not_be_had_at_once_was_not_taken() {
    let machine = Machine::new(1).enter();
    let device = machine.device().passive_line().build();
    let registration =
        PassiveLineBased::new(common::physical_device(&device)).connect(Passive).unwrap();
    for status in ODD.into_iter().chain([nt::STATUS_TIMEOUT, nt::STATUS_PENDING]) {
        machine.watch_fallible_calls();
        machine.fail_nth(0, status);
        assert_eq!(registration.try_synchronize(|_| ()), None, "{status:#x}");
        let calls = machine.fallible_calls();
        assert_eq!(calls[0].name, Call::KeWaitForSingleObject.name());
        assert_eq!(machine.left_behind().critical_regions, 0, "{status:#x}");
        // Nobody has it, so the next one gets it.
        assert_eq!(registration.try_synchronize(|_| ()), Some(()), "{status:#x}");
        registration.synchronize(|_| ());
    }
    drop(registration);
    machine.leave();
}
