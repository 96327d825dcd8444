//! Calls that fail because a test asked for it: by name, by count, with any status.

use std::ptr;

use wdm_interrupt_model::{
    executive::{CANNOT_FAIL, Call, Fault, UnknownCall},
    host::{Device, Machine, kernel},
    nt::{self, NT_SUCCESS, NTSTATUS},
};

use super::raw::{self, Dpc, Event, Service};

/// Statuses that say each of what a status can: an error, a warning, an information, a success; also
/// one that nobody has heard of.
const STATUSES: [NTSTATUS; 6] = [
    nt::STATUS_UNSUCCESSFUL,
    0xC0FF_EE00_u32.cast_signed(),
    nt::STATUS_BUFFER_OVERFLOW,
    0x4000_0000,
    nt::STATUS_PENDING,
    nt::STATUS_TIMEOUT,
];

/// What a call is made with, and whether it did what it is for.
struct Bench<'a> {
    device: &'a Device,
    service: &'a Service<'a>,
    dpc: &'a Dpc<'a>,
    event: &'a Event,
}

/// What a call said.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Said {
    Null,
    Pointer,
    Status(NTSTATUS),
}

impl Bench<'_> {
    /// Makes the call, and undoes what it did. A new call cannot be forgotten here.
    fn call(&self, call: Call) -> Said {
        let pointer = |is_null: bool| if is_null { Said::Null } else { Said::Pointer };
        match call {
            Call::ExAllocatePool2 => {
                const TAG: u32 = u32::from_le_bytes(*b"fail");
                // SAFETY: PASSIVE_LEVEL.
                let memory = unsafe { kernel::ExAllocatePool2(nt::POOL_FLAG_NON_PAGED, 16, TAG) };
                if !memory.is_null() {
                    // SAFETY: allocated above.
                    unsafe { kernel::ExFreePoolWithTag(memory, TAG) };
                }
                pointer(memory.is_null())
            }
            Call::IoAllocateWorkItem => {
                // SAFETY: a device object of the model's.
                let item =
                    unsafe { kernel::IoAllocateWorkItem(self.device.function_device_object()) };
                if !item.is_null() {
                    // SAFETY: allocated above, and not queued.
                    unsafe { kernel::IoFreeWorkItem(item) };
                }
                pointer(item.is_null())
            }
            Call::IoConnectInterruptEx => {
                let (status, connection) =
                    raw::try_line(self.device, self.service, ptr::null_mut());
                if status == nt::STATUS_SUCCESS {
                    connection.disconnect();
                }
                Said::Status(status)
            }
            Call::KeSetTargetProcessorDpcEx => Said::Status(self.dpc.target(0)),
            Call::KeWaitForSingleObject => {
                let mut at_once = nt::LARGE_INTEGER { QuadPart: 0 };
                Said::Status(raw::wait(self.event.pointer(), &raw mut at_once))
            }
            _ => panic!("{call} is not tried"),
        }
    }
}

/// Runs `test` with all that the calls need.
fn with_bench(test: impl FnOnce(&Machine, &Bench<'_>)) {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let (service, dpc) = (Service::new(|_| true), Dpc::new(|_, _| ()));
    let event = Event::notification();
    event.set();
    test(&machine, &Bench { device: &device, service: &service, dpc: &dpc, event: &event });
    machine.leave();
}

#[test]
fn each_call_fails_with_any_status_when_its_turn_comes_and_not_before_or_after() {
    with_bench(|machine, bench| {
        for call in Call::ALL {
            let succeeded = bench.call(call);
            let fails_as = |status| match succeeded {
                Said::Status(_) => Said::Status(status),
                _ => Said::Null,
            };
            for &status in STATUSES.iter().chain(call.statuses()) {
                for nth in 0..3 {
                    machine.fail(call, nth, status);
                    for _ in 0..nth {
                        assert_eq!(bench.call(call), succeeded, "{call}: before its turn");
                    }
                    assert_eq!(machine.faults_left(), 1);
                    assert_eq!(bench.call(call), fails_as(status), "{call}: {status:#x}");
                    assert_eq!(machine.faults_left(), 0);
                    assert_eq!(bench.call(call), succeeded, "{call}: after its turn");
                }
            }
            assert!(machine.left_behind().is_empty(), "{call}");
        }
    });
}

#[test]
fn a_call_that_was_made_to_fail_has_done_nothing() {
    with_bench(|machine, bench| {
        machine.fail(Call::KeSetTargetProcessorDpcEx, 0, nt::STATUS_SUCCESS);
        bench.dpc.target(0);
        // SAFETY: a KDPC that nobody uses.
        let dpc = unsafe { bench.dpc.pointer().read() };
        // SAFETY: all members of the union are integers.
        let target = unsafe { dpc.__bindgen_anon_1.__bindgen_anon_1 };
        assert_eq!(target.Number, 0, "a processor was written");

        let event = Event::new(nt::_EVENT_TYPE::SynchronizationEvent);
        event.set();
        machine.fail(Call::KeWaitForSingleObject, 0, nt::STATUS_TIMEOUT);
        assert!(!event.wait_for(0));
        assert!(event.wait_for(0), "the event was taken by the wait that failed");
    });
}

#[test]
fn a_wait_without_a_timeout_cannot_fail() {
    with_bench(|machine, bench| {
        machine.fail(Call::KeWaitForSingleObject, 0, nt::STATUS_TIMEOUT);
        bench.event.wait();
        assert_eq!(machine.faults_left(), 1);
        assert!(!bench.event.wait_for(0));
    });
}

#[test]
fn the_nth_call_fails_whatever_its_name_and_the_log_names_it() {
    with_bench(|machine, bench| {
        let calls = Call::ALL;
        for nth in 0..=calls.len() {
            machine.watch_fallible_calls();
            machine.fail_nth(nth, nt::STATUS_NOT_FOUND);
            let said = calls.map(|call| bench.call(call));
            let failed =
                said.map(|said| matches!(said, Said::Null | Said::Status(nt::STATUS_NOT_FOUND)));
            let expected: Vec<bool> = (0..calls.len()).map(|index| index == nth).collect();
            assert_eq!(failed, expected[..], "{:?}", machine.fallible_calls());
            assert_eq!(machine.faults_left(), usize::from(nth == calls.len()));
            let log = machine.fallible_calls();
            let names: Vec<_> = log.iter().map(|call| call.name).collect();
            assert_eq!(names, calls.map(Call::name));
            let faults = log.iter().map(|call| call.fault.is_some());
            assert_eq!(faults.collect::<Vec<_>>(), expected);
            if let Some(failed) = log.get(nth) {
                let name = calls[nth].name();
                assert_eq!(failed.to_string(), format!("{name} that fails with 0xc0000225"));
            }
        }
        // To watch anew is to forget what still waits.
        machine.watch_fallible_calls();
        assert_eq!((machine.faults_left(), machine.fallible_calls()), (0, Vec::new()));
    });
}

#[test]
fn a_name_and_a_count_are_two_ways_to_one_call_and_both_have_their_turn() {
    with_bench(|machine, bench| {
        machine.fail(Call::ExAllocatePool2, 0, nt::STATUS_NOT_FOUND);
        machine.fail_nth(0, nt::STATUS_NOT_FOUND);
        let said = [(); 3].map(|()| bench.call(Call::ExAllocatePool2));
        assert_eq!(said, [Said::Null, Said::Null, Said::Pointer]);
    });
}

#[test]
fn what_only_a_connect_can_have_go_wrong_fails_other_calls_as_unsuccessful() {
    with_bench(|machine, bench| {
        for call in [Call::KeSetTargetProcessorDpcEx, Call::KeWaitForSingleObject] {
            machine.fail(call, 0, Fault::WritesNothing);
            assert_eq!(bench.call(call), Said::Status(nt::STATUS_UNSUCCESSFUL));
        }
    });
}

#[test]
fn a_connect_can_succeed_with_another_status_than_success() {
    with_bench(|machine, bench| {
        machine.fail(Call::IoConnectInterruptEx, 0, Fault::SucceedsWith(nt::STATUS_PENDING));
        let (status, connection) = raw::try_line(bench.device, bench.service, ptr::null_mut());
        assert!(status == nt::STATUS_PENDING && NT_SUCCESS(status));
        // It is connected as any other.
        connection.disconnect();
    });
}

#[test]
fn a_call_is_its_name() {
    for call in Call::ALL {
        assert_eq!(call.to_string().parse(), Ok(call));
    }
    for name in ["", "ExAllocatePool", "exallocatepool2", "IoDisconnectInterruptEx"] {
        assert_eq!(name.parse::<Call>(), Err(UnknownCall));
    }
    let message = UnknownCall.to_string();
    assert!(Call::ALL.iter().all(|call| message.contains(call.name())), "{message}");
}

#[test]
fn every_call_of_the_model_can_fail_or_has_a_reason_why_it_cannot() {
    const SOURCE: &str = include_str!("../../src/host/kernel.rs");
    let (mut there, mut with_status) = (Vec::new(), Vec::new());
    for function in SOURCE.split("pub unsafe fn ").skip(1) {
        let name = function.split('(').next().unwrap();
        there.push(name);
        let head = function.split('{').next().unwrap();
        if head.contains("-> NTSTATUS") {
            with_status.push(name);
        }
    }
    let mut listed: Vec<_> = Call::ALL.iter().map(|call| call.name()).collect();
    listed.extend(CANNOT_FAIL.iter().map(|(name, _)| *name));
    there.sort_unstable();
    listed.sort_unstable();
    assert_eq!(there, listed);
    assert!(!with_status.is_empty());
    for name in with_status {
        assert!(name.parse::<Call>().is_ok(), "{name} returns a status and cannot be made to fail");
    }
}
