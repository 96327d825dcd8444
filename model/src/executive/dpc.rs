//! Deferred procedure calls.

use core::{mem::offset_of, ptr};

use super::{
    Call, Executive,
    breach::Breach,
    dpc_queue::{CAPACITY, Kind, Queued},
};
use crate::{
    hal::{Event, Hal},
    nt::{
        _KDPC_IMPORTANCE, BOOLEAN, CCHAR, KDPC, KDPC_IMPORTANCE, NTSTATUS, PKDEFERRED_ROUTINE,
        PKDPC, PPROCESSOR_NUMBER, PVOID, STATUS_INVALID_PARAMETER, STATUS_SUCCESS, UCHAR, USHORT,
    },
    report::{Object, Rule},
};

/// KDPC.Type: `DpcObject`.
const DPC_OBJECT: UCHAR = 0x13;
/// KDPC.Type: `ThreadedDpcObject`.
const THREADED_DPC_OBJECT: UCHAR = 0x18;
const LOW_IMPORTANCE: UCHAR = _KDPC_IMPORTANCE::LowImportance.to_le_bytes()[0];
const MEDIUM_IMPORTANCE: UCHAR = _KDPC_IMPORTANCE::MediumImportance.to_le_bytes()[0];
const HIGH_IMPORTANCE: UCHAR = _KDPC_IMPORTANCE::HighImportance.to_le_bytes()[0];
/// KDPC.Number is a processor's number from here on; below, the DPC has no target.
const TARGETED: USHORT = 0x500;

impl<H: Hal> Executive<H> {
    fn require_dpc(&self, dpc: PKDPC, call: &'static str) {
        let objects = [named(dpc)];
        if dpc.is_null() || !dpc.is_aligned() {
            let breach = Breach::new(Rule::DpcInitialised, call).of(&objects);
            self.violate(breach, format_args!("{dpc:p} is no KDPC's address"));
        }
        // SAFETY: the caller of the kernel call promises that a KDPC's bytes are there.
        let kind = unsafe { dpc.cast::<UCHAR>().read() };
        if kind != DPC_OBJECT && kind != THREADED_DPC_OBJECT {
            self.require_resident(named(dpc), dpc.addr(), call);
            let breach = Breach::new(Rule::DpcInitialised, call).of(&objects);
            self.violate(breach, format_args!("{dpc:p} was not initialised: it is no KDPC"));
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
        // SAFETY: the caller's promise.
        unsafe { self.initialize_dpc(dpc, DPC_OBJECT, routine, context, "KeInitializeDpc") };
    }

    /// `KeInitializeThreadedDpc`: a DPC that runs at `PASSIVE_LEVEL` in a thread, or at
    /// `DISPATCH_LEVEL` as any other if the system has no such threads.
    ///
    /// # Safety
    ///
    /// `dpc` can be written to.
    pub unsafe fn ke_initialize_threaded_dpc(
        &self,
        dpc: PKDPC,
        routine: PKDEFERRED_ROUTINE,
        context: PVOID,
    ) {
        const CALL: &str = "KeInitializeThreadedDpc";
        // SAFETY: the caller's promise.
        unsafe { self.initialize_dpc(dpc, THREADED_DPC_OBJECT, routine, context, CALL) };
    }

    /// # Safety
    ///
    /// `dpc` can be written to.
    unsafe fn initialize_dpc(
        &self,
        dpc: PKDPC,
        kind: UCHAR,
        routine: PKDEFERRED_ROUTINE,
        context: PVOID,
        call: &'static str,
    ) {
        let objects = [named(dpc)];
        let breach = Breach::new(Rule::DpcInitialised, call).of(&objects);
        if dpc.is_null() || !dpc.is_aligned() || routine.is_none() {
            self.violate(breach, format_args!("{dpc:p}, or its routine, is NULL"));
        }
        self.require_resident(named(dpc), dpc.addr(), call);
        if self.dispatch.lock(&self.hal).dpcs.is_queued(dpc) {
            self.violate(breach, format_args!("{dpc:p} is queued"));
        }
        let mut fresh =
            KDPC { DeferredRoutine: routine, DeferredContext: context, ..KDPC::default() };
        fresh.__bindgen_anon_1.TargetInfoAsUlong =
            u32::from_le_bytes([kind, MEDIUM_IMPORTANCE, 0, 0]);
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
        let known = [
            _KDPC_IMPORTANCE::LowImportance,
            _KDPC_IMPORTANCE::MediumImportance,
            _KDPC_IMPORTANCE::HighImportance,
            _KDPC_IMPORTANCE::MediumHighImportance,
        ];
        let valid = UCHAR::try_from(importance).ok().filter(|_| known.contains(&importance));
        let Some(importance) = valid else {
            let breach = Breach::new(Rule::DpcTarget, CALL);
            self.violate(
                breach.of(&[named(dpc)]),
                format_args!("there is no importance {importance}"),
            );
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
            let breach = Breach::new(Rule::DpcTarget, CALL);
            // The number as it was passed: a CHAR that is negative is no less wrong.
            let passed = u64::from(number.cast_unsigned());
            let parameters = [0x3, dpc.addr() as u64, passed, processors as u64];
            self.violate(
                breach.stops(0xC7, parameters).of(&[named(dpc)]),
                format_args!("there is no processor {number}, but {processors} of them"),
            );
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
        if let Some(fault) = self.fault(Call::KeSetTargetProcessorDpcEx) {
            return fault.status();
        }
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
            let breach = Breach::new(Rule::DpcInitialised, CALL);
            self.violate(breach.of(&[named(dpc)]), format_args!("{dpc:p} has no routine"));
        };
        let processor = match target.Number.checked_sub(TARGETED) {
            Some(number) if usize::from(number) < self.hal.processors() => usize::from(number),
            _ => self.hal.processor(),
        };
        let threaded = target.Type == THREADED_DPC_OBJECT && self.hal.has_dpc_threads();
        let kind = if threaded { Kind::Threaded } else { Kind::Dispatch };
        let sequence = dispatch.dpcs.next_sequence;
        let queue = &mut dispatch.dpcs.queue(kind, processor).waiting;
        if queue.len() == CAPACITY {
            drop(dispatch);
            let breach = Breach::new(Rule::DpcQueue, CALL);
            self.violate(
                breach.of(&[named(dpc)]),
                format_args!("{CAPACITY} DPCs are queued on processor {processor} already"),
            );
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
        let event = Event::DpcQueued { dpc: dpc.addr(), processor, threaded, sequence };
        self.hal.trace(&event);
        drop(dispatch);
        match kind {
            Kind::Threaded => self.hal.request_dpc_thread(processor),
            Kind::Dispatch if target.Importance == LOW_IMPORTANCE => {
                self.hal.request_dispatch_sometime(processor);
            }
            Kind::Dispatch => self.hal.request_dispatch(processor),
        }
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
        if !dispatch.dpcs.remove(dpc) {
            return 0;
        }
        // SAFETY: a KDPC, by the caller's promise; the executive writes to it under the lock only.
        unsafe { set_pointer(dpc, offset_of!(KDPC, DpcData), ptr::null_mut()) };
        drop(dispatch);
        self.hal.trace(&Event::DpcRemoved { dpc: dpc.addr() });
        1
    }
}

fn named(dpc: PKDPC) -> Object {
    Object::Dpc { address: dpc.addr() }
}

/// Writes one of a KDPC's pointers, and nothing else: another processor may be looking at the rest.
///
/// # Safety
///
/// `dpc` is a KDPC with a pointer at `offset`.
pub(super) const unsafe fn set_pointer(dpc: PKDPC, offset: usize, value: PVOID) {
    // SAFETY: inside a KDPC.
    let field = unsafe { dpc.byte_add(offset) };
    // SAFETY: the caller's promise.
    unsafe { field.cast::<PVOID>().write(value) };
}
