//! DPCs.

use std::ptr;

use wdm_interrupt_model::{
    Rule,
    host::{Machine, kernel},
    nt,
    report::Object,
};

use super::{
    super::{
        broken::{breaks, stop},
        raw::{self, Dpc, allocate, flush, free},
    },
    address, dpc, freed_pool, pool,
};

/// Memory of a KDPC.
fn named(kdpc: *const nt::KDPC) -> Object {
    Object::Dpc { address: kdpc.addr() }
}

fn initialize(kdpc: *mut nt::KDPC) {
    // SAFETY: what a test initialises that it must not is what the verifier is to find.
    unsafe { kernel::KeInitializeDpc(kdpc, Some(nothing), ptr::null_mut()) };
}

fn insert(kdpc: *mut nt::KDPC) {
    // SAFETY: as above.
    unsafe { kernel::KeInsertQueueDpc(kdpc, ptr::null_mut(), ptr::null_mut()) };
}

nt::nt_fn! {
    unsafe fn nothing(_dpc: *mut nt::KDPC, _: nt::PVOID, _: nt::PVOID, _: nt::PVOID) {}
}

#[test]
fn dpc_initialised_not_at_all() {
    let machine = Machine::new(1).enter();
    let mut kdpc = nt::KDPC::default();
    let kdpc = &raw mut kdpc;
    let report = breaks(&machine, Rule::DpcInitialised, || insert(kdpc));
    report.is("KeInsertQueueDpc", 0, None, &[named(kdpc)]);
    let report = breaks(&machine, Rule::DpcInitialised, || insert(ptr::null_mut()));
    report.is("KeInsertQueueDpc", 0, None, &[named(ptr::null())]);
    breaks(&machine, Rule::DpcInitialised, || {
        // SAFETY: the breach.
        unsafe { kernel::KeInitializeDpc(kdpc, None, ptr::null_mut()) };
    })
    .is("KeInitializeDpc", 0, None, &[named(kdpc)]);
}

#[test]
fn dpc_initialised_while_queued() {
    let machine = Machine::new(1).enter();
    machine.hold_dpcs(true);
    let one = Dpc::new(|_, _| ());
    one.queue();
    let report = breaks(&machine, Rule::DpcInitialised, || initialize(one.pointer()));
    report.is("KeInitializeDpc", 0, None, &[dpc(&one)]);
    flush();
}

#[test]
fn dpc_overwritten_while_queued() {
    let machine = Machine::new(1).enter();
    machine.hold_dpcs(true);
    let one = Dpc::new(|_, _| ());
    one.queue();
    // SAFETY: the breach.
    unsafe { one.pointer().write(nt::KDPC::default()) };
    breaks(&machine, Rule::DpcOverwritten, flush).is("a deferred routine", 2, None, &[dpc(&one)]);
}

#[test]
fn dpc_target_that_there_is_not() {
    let machine = Machine::new(2).enter();
    let one = Dpc::new(|_, _| ());
    let kdpc = address(one.pointer());
    for (number, passed) in [(2, 2), (-1, 0xFF)] {
        breaks(&machine, Rule::DpcTarget, || {
            // SAFETY: the breach.
            unsafe { kernel::KeSetTargetProcessorDpc(one.pointer(), number) };
        })
        .is(
            "KeSetTargetProcessorDpc",
            0,
            stop(0xC7, [0x3, kdpc, passed, 2]),
            &[dpc(&one)],
        );
    }
    for importance in [4, -1] {
        let report = breaks(&machine, Rule::DpcTarget, || one.importance(importance));
        report.is("KeSetImportanceDpc", 0, None, &[dpc(&one)]);
    }
}

#[test]
fn dpc_queue_that_is_full() {
    let machine = Machine::new(1).enter();
    machine.hold_dpcs(true);
    let dpcs: Vec<Dpc<'_>> = (0..129).map(|_| Dpc::new(|_, _| ())).collect();
    let (last, waiting) = dpcs.split_last().expect("129 DPCs");
    assert!(waiting.iter().all(Dpc::queue));
    breaks(&machine, Rule::DpcQueue, || {
        last.queue();
    })
    .is("KeInsertQueueDpc", 0, None, &[dpc(last)]);
    flush();
}

#[test]
fn resident_a_dpc_in_paged_or_freed_memory() {
    let machine = Machine::new(1).enter();
    // SAFETY: no obligation.
    let paged = unsafe { kernel::ExAllocatePool2(nt::POOL_FLAG_PAGED, 64, raw::TAG) };
    let freed = allocate(64);
    initialize(freed.cast());
    free(freed);
    let in_paged = breaks(&machine, Rule::Resident, || initialize(paged.cast()));
    let in_freed = breaks(&machine, Rule::Resident, || insert(freed.cast()));
    let (start, end) = (address(paged), address(paged) + 64);
    in_paged.is(
        "KeInitializeDpc",
        0,
        stop(0xC7, [0x1, start, start, end]),
        &[named(paged.cast()), pool(paged, 64)],
    );
    let (start, end) = (address(freed), address(freed) + 64);
    in_freed.is(
        "KeInsertQueueDpc",
        0,
        stop(0xC7, [0x1, start, start, end]),
        &[named(freed.cast()), freed_pool(freed, 64)],
    );
    free(paged);
}

#[test]
fn flush_in_dpc_flushing_in_a_threaded_dpc() {
    let machine = Machine::new(1).enter();
    let threaded = Dpc::threaded(|_, _| flush());
    breaks(&machine, Rule::FlushInDpc, || {
        threaded.queue();
        machine.settle();
    })
    .is("KeFlushQueuedDpcs", 0, None, &[]);
}

#[test]
fn irql_wait_waiting_in_a_threaded_dpc() {
    let machine = Machine::new(1).enter();
    let event = raw::Event::notification();
    let threaded = Dpc::threaded(|_, _| event.wait());
    let report = breaks(&machine, Rule::IrqlWait, || {
        threaded.queue();
        machine.settle();
    });
    let report = report.is("KeWaitForSingleObject", 0, None, &[]);
    assert!(report.text.contains("threaded DPC"), "{report}");
}

#[test]
fn freed_in_use_a_dpc_that_is_queued_or_runs() {
    let machine = Machine::new(1).enter();
    machine.hold_dpcs(true);
    let memory = allocate(64);
    let kdpc = memory.cast::<nt::KDPC>();
    initialize(kdpc);
    insert(kdpc);
    let (start, end) = (address(memory), address(memory) + 64);
    let stopped = stop(0xC7, [0x1, start, start, end]);
    let objects = [pool(memory, 64), named(kdpc)];
    let report = breaks(&machine, Rule::FreedInUse, || free(memory));
    let report = report.is("ExFreePoolWithTag", 0, stopped, &objects);
    assert!(report.text.contains("is queued"), "{report}");
    flush();
    machine.hold_dpcs(false);

    nt::nt_fn! {
        unsafe fn frees(dpc: *mut nt::KDPC, _: nt::PVOID, _: nt::PVOID, _: nt::PVOID) {
            free(dpc.cast());
        }
    }
    // SAFETY: a KDPC fits, and is not queued.
    unsafe { kernel::KeInitializeDpc(kdpc, Some(frees), ptr::null_mut()) };
    let report = breaks(&machine, Rule::FreedInUse, || insert(kdpc));
    let report = report.is("ExFreePoolWithTag", 2, stopped, &objects);
    assert!(report.text.contains("is running"), "{report}");
    free(memory);
}
