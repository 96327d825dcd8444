//! Deferred procedure calls.

use alloc::{collections::VecDeque, vec::Vec};
use core::{mem::offset_of, ops::Range, ptr};

use super::Executive;
use crate::{
    hal::{Event, Hal},
    nt::{
        _KDPC_IMPORTANCE, BOOLEAN, CCHAR, DISPATCH_LEVEL, KDPC, KDPC_IMPORTANCE, NTSTATUS,
        PASSIVE_LEVEL, PKDEFERRED_ROUTINE, PKDPC, PPROCESSOR_NUMBER, PVOID,
        STATUS_INVALID_PARAMETER, STATUS_SUCCESS, UCHAR, USHORT,
    },
    report::Rule,
};

/// How many DPCs can be queued on a processor at once.
const CAPACITY: usize = 128;
/// KDPC.Type: `DpcObject`.
const DPC_OBJECT: UCHAR = 0x13;
const MEDIUM_IMPORTANCE: UCHAR = _KDPC_IMPORTANCE::MediumImportance.to_le_bytes()[0];
const HIGH_IMPORTANCE: UCHAR = _KDPC_IMPORTANCE::HighImportance.to_le_bytes()[0];
/// KDPC.Number is a processor's number from here on; below, the DPC has no target.
const TARGETED: USHORT = 0x500;

type DeferredRoutine =
    crate::nt_fn_pointer!(fn(dpc: *mut KDPC, context: PVOID, first: PVOID, second: PVOID));

/// A DPC in a queue, with what its KDPC said when it was queued.
#[derive(Clone, Copy)]
struct Queued {
    dpc: PKDPC,
    routine: DeferredRoutine,
    context: PVOID,
    first: PVOID,
    second: PVOID,
    sequence: u64,
}

// SAFETY: the pointers are the driver's, and it promised that they may be used on any processor.
unsafe impl Send for Queued {}

/// One processor's DPCs.
struct Processor {
    /// Its capacity is there from the start: queueing allocates nothing.
    queue: VecDeque<Queued>,
    running: Option<(usize, u64)>,
}

/// All processors' DPCs.
pub(super) struct DpcQueues {
    processors: Vec<Processor>,
    next_sequence: u64,
}

impl DpcQueues {
    pub(super) fn new(processors: usize) -> Self {
        let mut queues = Vec::with_capacity(processors);
        for _ in 0..processors {
            queues.push(Processor { queue: VecDeque::with_capacity(CAPACITY), running: None });
        }
        Self { processors: queues, next_sequence: 0 }
    }

    fn is_queued(&self, dpc: PKDPC) -> bool {
        self.processors.iter().flat_map(|one| &one.queue).any(|queued| queued.dpc == dpc)
    }

    pub(super) fn queued(&self) -> usize {
        self.processors.iter().map(|one| one.queue.len()).sum()
    }

    /// A KDPC in this range of memory that is queued or running.
    pub(super) fn in_use(&self, range: &Range<usize>) -> Option<(usize, &'static str)> {
        self.processors.iter().find_map(|one| {
            let queued = one.queue.iter().map(|queued| (queued.dpc.addr(), "queued"));
            let running = one.running.iter().map(|&(dpc, _)| (dpc, "running"));
            queued.chain(running).find(|(address, _)| range.contains(address))
        })
    }

    /// Whether a processor has a DPC that was queued before `sequence` and is not finished.
    fn owes(&self, processor: usize, sequence: u64) -> bool {
        let one = &self.processors[processor];
        one.running.is_some_and(|(_, other)| other < sequence)
            || one.queue.iter().any(|queued| queued.sequence < sequence)
    }
}

/// Marks that a DPC runs, also until its routine has unwound.
struct Running<'a, H: Hal> {
    executive: &'a Executive<H>,
    processor: usize,
}

impl<H: Hal> Drop for Running<'_, H> {
    fn drop(&mut self) {
        let mut dispatch = self.executive.dispatch.lock(&self.executive.hal);
        dispatch.dpcs.processors[self.processor].running = None;
    }
}

impl<H: Hal> Executive<H> {
    fn require_dpc(&self, dpc: PKDPC, call: &'static str) {
        if dpc.is_null() || !dpc.is_aligned() {
            self.violate(Rule::DpcInitialised, call, format_args!("{dpc:p} is no KDPC's address"));
        }
        // SAFETY: the caller of the kernel call promises that a KDPC's bytes are there.
        if unsafe { dpc.cast::<UCHAR>().read() } != DPC_OBJECT {
            self.violate(Rule::DpcInitialised, call, format_args!("{dpc:p} is no KDPC"));
        }
    }

    /// `KeInitializeDpc`.
    ///
    /// # Safety
    ///
    /// `dpc` can be written to.
    pub unsafe fn ke_initialize_dpc(
        &self,
        dpc: PKDPC,
        routine: PKDEFERRED_ROUTINE,
        context: PVOID,
    ) {
        const CALL: &str = "KeInitializeDpc";
        if dpc.is_null() || !dpc.is_aligned() || routine.is_none() {
            self.violate(
                Rule::DpcInitialised,
                CALL,
                format_args!("{dpc:p}, or its routine, is NULL"),
            );
        }
        if self.dispatch.lock(&self.hal).dpcs.is_queued(dpc) {
            self.violate(Rule::DpcInitialised, CALL, format_args!("{dpc:p} is queued"));
        }
        let mut fresh =
            KDPC { DeferredRoutine: routine, DeferredContext: context, ..KDPC::default() };
        fresh.__bindgen_anon_1.TargetInfoAsUlong =
            u32::from_le_bytes([DPC_OBJECT, MEDIUM_IMPORTANCE, 0, 0]);
        // SAFETY: the caller's promise.
        unsafe { dpc.write(fresh) };
    }

    /// `KeSetImportanceDpc`.
    ///
    /// # Safety
    ///
    /// `dpc` is a KDPC, and nothing else uses it meanwhile.
    pub unsafe fn ke_set_importance_dpc(&self, dpc: PKDPC, importance: KDPC_IMPORTANCE) {
        const CALL: &str = "KeSetImportanceDpc";
        self.require_dpc(dpc, CALL);
        let Ok(importance) = UCHAR::try_from(importance) else {
            self.violate(Rule::DpcInitialised, CALL, format_args!("no importance: {importance}"));
        };
        // SAFETY: Importance is the second byte of a KDPC.
        let field = unsafe { dpc.byte_add(1) };
        // SAFETY: the caller's promise.
        unsafe { field.cast::<UCHAR>().write(importance) };
    }

    /// `KeSetTargetProcessorDpc`.
    ///
    /// # Safety
    ///
    /// `dpc` is a KDPC, and nothing else uses it meanwhile.
    pub unsafe fn ke_set_target_processor_dpc(&self, dpc: PKDPC, number: CCHAR) {
        const CALL: &str = "KeSetTargetProcessorDpc";
        self.require_dpc(dpc, CALL);
        let processors = self.hal.processors();
        let known = u8::try_from(number).ok().filter(|it| usize::from(*it) < processors);
        let Some(known) = known else {
            self.violate(Rule::DpcInitialised, CALL, format_args!("no processor: {number}"));
        };
        // SAFETY: Number is at the third byte of a KDPC, which is aligned to 8.
        let field = unsafe { dpc.byte_add(2) };
        // SAFETY: the caller's promise; fewer than 64 processors fit.
        unsafe { field.cast::<USHORT>().write(TARGETED + USHORT::from(known)) };
    }

    /// `KeSetTargetProcessorDpcEx`.
    ///
    /// # Safety
    ///
    /// `dpc` is a KDPC, and nothing else uses it meanwhile; `number` can be read.
    pub unsafe fn ke_set_target_processor_dpc_ex(
        &self,
        dpc: PKDPC,
        number: PPROCESSOR_NUMBER,
    ) -> NTSTATUS {
        // SAFETY: the caller's promise.
        let number = unsafe { number.read() };
        if number.Group != 0 || usize::from(number.Number) >= self.hal.processors() {
            return STATUS_INVALID_PARAMETER;
        }
        // SAFETY: the caller's promise; fewer than 64 processors fit.
        unsafe { self.ke_set_target_processor_dpc(dpc, number.Number.cast_signed()) };
        STATUS_SUCCESS
    }

    /// `KeInsertQueueDpc`; at any IRQL.
    ///
    /// # Safety
    ///
    /// `dpc` is a KDPC that stays in place until it is neither queued nor running.
    pub unsafe fn ke_insert_queue_dpc(&self, dpc: PKDPC, first: PVOID, second: PVOID) -> BOOLEAN {
        const CALL: &str = "KeInsertQueueDpc";
        self.require_dpc(dpc, CALL);
        let mut dispatch = self.dispatch.lock(&self.hal);
        if dispatch.dpcs.is_queued(dpc) {
            drop(dispatch);
            self.hal.trace(&Event::DpcCoalesced { dpc: dpc.addr() });
            return 0;
        }
        // SAFETY: a KDPC, by the caller's promise; the executive writes to it under the lock only.
        let content = unsafe { dpc.read() };
        // SAFETY: all members of the union are integers.
        let target = unsafe { content.__bindgen_anon_1.__bindgen_anon_1 };
        let Some(routine) = content.DeferredRoutine else {
            drop(dispatch);
            self.violate(Rule::DpcInitialised, CALL, format_args!("{dpc:p} has no routine"));
        };
        let processor = match target.Number.checked_sub(TARGETED) {
            Some(number) if usize::from(number) < self.hal.processors() => usize::from(number),
            _ => self.hal.processor(),
        };
        let sequence = dispatch.dpcs.next_sequence;
        let queue = &mut dispatch.dpcs.processors[processor].queue;
        if queue.len() == CAPACITY {
            drop(dispatch);
            self.violate(Rule::DpcState, CALL, format_args!("{CAPACITY} DPCs are queued already"));
        }
        let queued =
            Queued { dpc, routine, context: content.DeferredContext, first, second, sequence };
        if target.Importance == HIGH_IMPORTANCE {
            queue.push_front(queued);
        } else {
            queue.push_back(queued);
        }
        dispatch.dpcs.next_sequence += 1;
        // SAFETY: as above.
        unsafe { set_pointer(dpc, offset_of!(KDPC, SystemArgument1), first) };
        // SAFETY: as above.
        unsafe { set_pointer(dpc, offset_of!(KDPC, SystemArgument2), second) };
        // SAFETY: as above.
        unsafe { set_pointer(dpc, offset_of!(KDPC, DpcData), dpc.cast()) };
        drop(dispatch);
        self.hal.trace(&Event::DpcQueued { dpc: dpc.addr(), processor });
        self.hal.request_dispatch(processor);
        1
    }

    /// `KeRemoveQueueDpc`; TRUE if it was queued. At any IRQL.
    ///
    /// # Safety
    ///
    /// `dpc` is a KDPC.
    pub unsafe fn ke_remove_queue_dpc(&self, dpc: PKDPC) -> BOOLEAN {
        self.require_dpc(dpc, "KeRemoveQueueDpc");
        let mut dispatch = self.dispatch.lock(&self.hal);
        for processor in &mut dispatch.dpcs.processors {
            let found = processor.queue.iter().position(|queued| queued.dpc == dpc);
            if let Some(index) = found {
                processor.queue.remove(index);
                // SAFETY: a KDPC, by the caller's promise.
                unsafe { set_pointer(dpc, offset_of!(KDPC, DpcData), ptr::null_mut()) };
                return 1;
            }
        }
        0
    }

    /// `KeFlushQueuedDpcs`: returns when all that was queued when it was called has run.
    pub fn ke_flush_queued_dpcs(&self) {
        const CALL: &str = "KeFlushQueuedDpcs";
        self.require_irql(Rule::IrqlPassive, CALL, PASSIVE_LEVEL);
        let until = self.dispatch.lock(&self.hal).dpcs.next_sequence;
        loop {
            let mut idle = true;
            for processor in 0..self.hal.processors() {
                if self.dispatch.lock(&self.hal).dpcs.owes(processor, until) {
                    idle = false;
                    self.hal.flush_dispatch(processor);
                }
            }
            if idle {
                return;
            }
            self.hal.relax();
        }
    }

    /// Runs the DPCs that are queued on this processor. For the HAL, at `DISPATCH_LEVEL`.
    ///
    /// Those that are queued meanwhile had a [`Hal::request_dispatch`] of their own, and so a DPC
    /// that always queues itself again keeps nobody waiting here.
    pub fn retire_dpcs(&self) {
        const CALL: &str = "a deferred routine";
        let processor = self.hal.processor();
        let until = self.dispatch.lock(&self.hal).dpcs.next_sequence;
        loop {
            let mut dispatch = self.dispatch.lock(&self.hal);
            let one = &mut dispatch.dpcs.processors[processor];
            // A DPC that runs in this processor's name keeps the others waiting.
            if one.running.is_some() {
                return;
            }
            let due = one.queue.iter().position(|queued| queued.sequence < until);
            let Some(next) = due.and_then(|index| one.queue.remove(index)) else {
                return;
            };
            one.running = Some((next.dpc.addr(), next.sequence));
            // SAFETY: it was queued, so it is in place.
            let content = unsafe { next.dpc.read() };
            let intact =
                content.DeferredRoutine.is_some_and(|it| ptr::fn_addr_eq(it, next.routine))
                    && content.DeferredContext == next.context
                    && content.DpcData == next.dpc.cast();
            if intact {
                // SAFETY: as above.
                unsafe { set_pointer(next.dpc, offset_of!(KDPC, DpcData), ptr::null_mut()) };
            }
            drop(dispatch);
            let running = Running { executive: self, processor };
            if !intact {
                let dpc = next.dpc;
                self.violate(Rule::DpcOverwritten, CALL, format_args!("{dpc:p} changed"));
            }
            let dpc = next.dpc.addr();
            self.hal.trace(&Event::DpcEntered { dpc });
            // SAFETY: the driver gave this routine to be called so.
            unsafe { (next.routine)(next.dpc, next.context, next.first, next.second) };
            self.hal.trace(&Event::DpcLeft { dpc });
            let (irql, locks) = (self.hal.irql(), self.locks_held());
            if u32::from(irql) != DISPATCH_LEVEL || locks != 0 {
                self.violate(
                    Rule::DpcState,
                    CALL,
                    format_args!("{dpc:#x} returned at IRQL {irql} with {locks} locks held"),
                );
            }
            drop(running);
        }
    }
}

/// Writes one of a KDPC's pointers, and nothing else: another processor may be looking at the rest.
///
/// # Safety
///
/// `dpc` is a KDPC with a pointer at `offset`.
const unsafe fn set_pointer(dpc: PKDPC, offset: usize, value: PVOID) {
    // SAFETY: inside a KDPC.
    let field = unsafe { dpc.byte_add(offset) };
    // SAFETY: the caller's promise.
    unsafe { field.cast::<PVOID>().write(value) };
}
