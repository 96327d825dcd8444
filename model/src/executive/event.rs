//! Events, and waiting for them.

use core::sync::atomic::{AtomicI32, Ordering};

use super::{Call, Executive, breach::Breach};
use crate::{
    hal::{Hal, Threads},
    nt::{
        _EVENT_TYPE, _KWAIT_REASON, _MODE, APC_LEVEL, BOOLEAN, DISPATCH_LEVEL, EVENT_TYPE, KEVENT,
        KPRIORITY, KPROCESSOR_MODE, KWAIT_REASON, LIST_ENTRY, LONG, NTSTATUS, PLARGE_INTEGER,
        PRKEVENT, PVOID, STATUS_SUCCESS, STATUS_TIMEOUT,
    },
    report::{Object, Rule},
};

/// `DISPATCHER_HEADER.Size` of an event: its size in words of 4 bytes.
const EVENT_SIZE: i32 = 6;

/// An initialised event that a driver means.
#[derive(Clone, Copy)]
struct Event<'a> {
    synchronization: bool,
    state: &'a AtomicI32,
}

impl Event<'_> {
    /// Takes what a satisfied wait takes; false if the event is not set.
    fn take(&self) -> bool {
        if self.synchronization {
            return self.state.swap(0, Ordering::AcqRel) != 0;
        }
        self.state.load(Ordering::Acquire) != 0
    }
}

fn named(event: PRKEVENT) -> Object {
    Object::Event { address: event.addr() }
}

/// Notes that a thread waits for the event at this address, also until its wait has unwound.
struct Waiter<'a, H: Hal> {
    executive: &'a Executive<H>,
    event: usize,
}

impl<H: Hal> Drop for Waiter<'_, H> {
    fn drop(&mut self) {
        let mut waits = self.executive.waits.lock(&self.executive.hal);
        if let Some(index) = waits.iter().position(|event| *event == self.event) {
            waits.swap_remove(index);
        }
    }
}

impl<H: Hal> Executive<H> {
    /// `KeInitializeEvent`; at any IRQL.
    ///
    /// # Safety
    ///
    /// `event` can be written to.
    pub unsafe fn ke_initialize_event(&self, event: PRKEVENT, kind: EVENT_TYPE, state: BOOLEAN) {
        const CALL: &str = "KeInitializeEvent";
        let known = [_EVENT_TYPE::NotificationEvent, _EVENT_TYPE::SynchronizationEvent];
        if event.is_null() || !event.is_aligned() || !known.contains(&kind) {
            self.violate(
                Breach::new(Rule::EventInitialised, CALL).of(&[named(event)]),
                format_args!("{event:p} as an event of type {kind}"),
            );
        }
        self.require_resident(named(event), event.addr(), CALL);
        // SAFETY: the caller's promise; only the address is taken.
        let list = unsafe { &raw mut (*event).Header.WaitListHead };
        let mut fresh = KEVENT::default();
        fresh.Header.Lock = kind | EVENT_SIZE << 16;
        fresh.Header.SignalState = (state != 0).into();
        fresh.Header.WaitListHead = LIST_ENTRY { Flink: list, Blink: list };
        // SAFETY: the caller's promise.
        unsafe { event.write(fresh) };
    }

    /// The event at this address, which must have been initialised there.
    ///
    /// # Safety
    ///
    /// A KEVENT's bytes are there and stay for `'a`, and after it was initialised its state is
    /// accessed by the kernel's calls only.
    unsafe fn event<'a>(&self, event: PRKEVENT, call: &'static str) -> Event<'a> {
        let objects = [named(event)];
        if event.is_null() || !event.is_aligned() {
            let breach = Breach::new(Rule::EventInitialised, call).of(&objects);
            self.violate(breach, format_args!("{event:p} is no event's address"));
        }
        // SAFETY: the caller's promise: these bytes change no more once they are initialised.
        let lock = unsafe { (*event).Header.Lock };
        // SAFETY: as above.
        let first = unsafe { (*event).Header.WaitListHead.Flink };
        // SAFETY: the caller's promise; only the address is taken.
        let list = unsafe { &raw const (*event).Header.WaitListHead };
        let kind = lock & 0xFF;
        if lock >> 16 != EVENT_SIZE || kind > 1 || first.addr() != list.addr() {
            self.require_resident(named(event), event.addr(), call);
            self.violate(
                Breach::new(Rule::EventInitialised, call).of(&objects),
                format_args!("{event:p} was not initialised, or it was moved since"),
            );
        }
        // SAFETY: the caller's promise; only the address is taken.
        let state = unsafe { &raw mut (*event).Header.SignalState };
        // SAFETY: the caller's promise: everyone uses atomics.
        let state = unsafe { AtomicI32::from_ptr(state) };
        Event { synchronization: kind == _EVENT_TYPE::SynchronizationEvent, state }
    }

    /// `KeSetEvent`; gives whether it was set already.
    ///
    /// # Safety
    ///
    /// `event` is initialised.
    pub unsafe fn ke_set_event(
        &self,
        event: PRKEVENT,
        _increment: KPRIORITY,
        wait: BOOLEAN,
    ) -> LONG {
        const CALL: &str = "KeSetEvent";
        // Wait says that a wait follows at once, so it is legal where waiting is.
        let highest = if wait == 0 { DISPATCH_LEVEL } else { APC_LEVEL };
        let objects = [named(event)];
        self.require_irql_or(highest, |irql| {
            let breach = Breach::new(Rule::IrqlSetEvent, CALL).of(&objects);
            if irql > u64::from(DISPATCH_LEVEL) {
                breach.verifier(0x80, [irql, event.addr() as u64, 0])
            } else {
                breach.compliance(0x20016)
            }
        });
        // SAFETY: the caller's promise.
        let event = unsafe { self.event(event, CALL) };
        event.state.swap(1, Ordering::AcqRel)
    }

    /// `KeClearEvent`.
    ///
    /// # Safety
    ///
    /// `event` is initialised.
    pub unsafe fn ke_clear_event(&self, event: PRKEVENT) {
        const CALL: &str = "KeClearEvent";
        self.require_event_irql(event, CALL);
        // SAFETY: the caller's promise.
        let event = unsafe { self.event(event, CALL) };
        event.state.store(0, Ordering::Release);
    }

    /// `KeReadStateEvent`.
    ///
    /// # Safety
    ///
    /// `event` is initialised.
    pub unsafe fn ke_read_state_event(&self, event: PRKEVENT) -> LONG {
        const CALL: &str = "KeReadStateEvent";
        self.require_event_irql(event, CALL);
        // SAFETY: the caller's promise.
        let event = unsafe { self.event(event, CALL) };
        event.state.load(Ordering::Acquire)
    }

    /// The calls that the compliance rule `IrqlKeDispatchLte` names.
    fn require_event_irql(&self, event: PRKEVENT, call: &'static str) {
        let objects = [named(event)];
        self.require_irql_or(DISPATCH_LEVEL, |_| {
            Breach::new(Rule::IrqlDispatch, call).of(&objects).compliance(0x20011)
        });
    }

    /// Whether a thread waits for an event in this range of memory.
    pub(super) fn awaited_in(&self, range: &core::ops::Range<usize>) -> Option<usize> {
        self.waits.lock(&self.hal).iter().copied().find(|event| range.contains(event))
    }
}

impl<H: Threads> Executive<H> {
    /// `KeWaitForSingleObject`, for events and for waits of the kernel's own kind: not alertable,
    /// in kernel mode.
    ///
    /// A wait that has no timeout and does not end within [`Threads::patience`] is a broken rule.
    ///
    /// # Safety
    ///
    /// `object` is an initialised event that stays until this returns, and `timeout` is NULL or
    /// can be read.
    pub unsafe fn ke_wait_for_single_object(
        &self,
        object: PVOID,
        reason: KWAIT_REASON,
        mode: KPROCESSOR_MODE,
        alertable: BOOLEAN,
        timeout: PLARGE_INTEGER,
    ) -> NTSTATUS {
        const CALL: &str = "KeWaitForSingleObject";
        let limit = (!timeout.is_null()).then(|| {
            // SAFETY: the caller's promise.
            let limit = unsafe { timeout.read() };
            // SAFETY: all members are made of the same integers.
            unsafe { limit.QuadPart }
        });
        let objects = [Object::Event { address: object.addr() }];
        let highest = if limit == Some(0) { DISPATCH_LEVEL } else { APC_LEVEL };
        self.require_irql_or(highest, |irql| {
            let kind = match limit {
                _ if irql > u64::from(DISPATCH_LEVEL) => 0x120,
                None => 0x121,
                Some(_) => 0x122,
            };
            let parameters = [0, object.addr() as u64, timeout.addr() as u64];
            Breach::new(Rule::IrqlWait, CALL).of(&objects).verifier(kind, parameters)
        });
        if limit != Some(0) {
            self.require_no_threaded_dpc(Rule::IrqlWait, CALL);
        }
        let mode = i32::from(mode);
        if reason != _KWAIT_REASON::Executive || mode != _MODE::KernelMode || alertable != 0 {
            self.violate(
                Breach::new(Rule::WaitParameters, CALL).of(&objects),
                format_args!("reason {reason}, mode {mode}, alertable {alertable}"),
            );
        }
        let address = object.addr();
        // SAFETY: the caller's promise.
        let event = unsafe { self.event(object.cast(), CALL) };
        let fault = limit.and_then(|_| self.fault(Call::KeWaitForSingleObject));
        if let Some(fault) = fault {
            return fault.status();
        }
        if event.take() {
            return STATUS_SUCCESS;
        }
        if limit == Some(0) {
            return STATUS_TIMEOUT;
        }
        self.waits.lock(&self.hal).push(address);
        let _waiter = Waiter { executive: self, event: address };
        let start = self.hal.time();
        // A negative timeout is relative, a positive one is a time.
        let end = limit
            .map(|limit| u64::try_from(limit).unwrap_or_else(|_| start + limit.unsigned_abs()));
        while !event.take() {
            let now = self.hal.time();
            if end.is_some_and(|end| now >= end) {
                return STATUS_TIMEOUT;
            }
            if end.is_none() && now - start > self.hal.patience() {
                let who = self.hal.thread();
                self.violate(
                    Breach::new(Rule::WaitEnds, CALL).of(&objects),
                    format_args!("{who} waits for the event {address:#x}, which nobody sets"),
                );
            }
            self.hal.block_until(end);
        }
        STATUS_SUCCESS
    }
}
