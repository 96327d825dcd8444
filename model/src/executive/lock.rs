//! Spin locks: a driver's own, and those of interrupts.

use alloc::{vec, vec::Vec};
use core::{
    mem,
    ops::Range,
    sync::atomic::{AtomicU64, Ordering},
};

use super::Executive;
use crate::{
    hal::Hal,
    nt::{DISPATCH_LEVEL, KIRQL, PKINTERRUPT, PKSPIN_LOCK},
    report::Rule,
};

const DISPATCH: u8 = DISPATCH_LEVEL.to_le_bytes()[0];
/// How many locks a processor can hold at once.
const DEPTH: usize = 16;

/// A lock that a processor holds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Held {
    address: usize,
    /// The IRQL below which the processor must not go meanwhile.
    irql: u8,
}

/// The locks that each processor holds, in the order of acquiring.
pub(super) struct HeldLocks {
    processors: Vec<([Held; DEPTH], usize)>,
    /// The lock that each processor waits for, or 0.
    waiting: Vec<usize>,
}

impl HeldLocks {
    pub(super) fn new(processors: usize) -> Self {
        Self {
            processors: vec![([Held::default(); DEPTH], 0); processors],
            waiting: vec![0; processors],
        }
    }

    fn of(&self, processor: usize) -> &[Held] {
        let (locks, count) = &self.processors[processor];
        &locks[..*count]
    }

    pub(super) fn holds(&self, processor: usize, address: usize) -> bool {
        self.of(processor).iter().any(|held| held.address == address)
    }

    pub(super) fn count(&self, processor: usize) -> usize {
        self.processors[processor].1
    }

    pub(super) fn total(&self) -> usize {
        self.processors.iter().map(|(_, count)| count).sum()
    }

    /// The IRQL that the processor must not go below.
    pub(super) fn lowest_irql(&self, processor: usize) -> u8 {
        self.of(processor).iter().map(|held| held.irql).max().unwrap_or(0)
    }

    pub(super) fn any_in(&self, range: &Range<usize>) -> Option<usize> {
        (0..self.processors.len())
            .flat_map(|processor| self.of(processor))
            .map(|held| held.address)
            .find(|address| range.contains(address))
    }

    /// Whether the lock that `processor` waits for is held by one that waits for one that is held
    /// by one … that waits for one that `processor` holds.
    fn is_deadlocked(&self, processor: usize) -> bool {
        let mut waiter = processor;
        for _ in 0..self.processors.len() {
            let lock = self.waiting[waiter];
            let mut others = 0..self.processors.len();
            let Some(owner) = others.find(|other| lock != 0 && self.holds(*other, lock)) else {
                return false;
            };
            if owner == processor {
                return true;
            }
            waiter = owner;
        }
        false
    }

    fn push(&mut self, processor: usize, held: Held) -> bool {
        let (locks, count) = &mut self.processors[processor];
        let Some(slot) = locks.get_mut(*count) else {
            return false;
        };
        *slot = held;
        *count += 1;
        true
    }

    /// Forgets a lock; false if the processor does not hold it.
    fn remove(&mut self, processor: usize, address: usize) -> bool {
        let (locks, count) = &mut self.processors[processor];
        let Some(index) = locks[..*count].iter().position(|held| held.address == address) else {
            return false;
        };
        locks.copy_within(index + 1..*count, index);
        *count -= 1;
        true
    }
}

/// An interrupt's lock, held while a routine of the driver's runs.
pub(super) struct Holding<'a, H: Hal> {
    executive: &'a Executive<H>,
    word: *mut u64,
    processor: usize,
}

impl<H: Hal> Drop for Holding<'_, H> {
    fn drop(&mut self) {
        let mut dispatch = self.executive.dispatch.lock(&self.executive.hal);
        dispatch.held.remove(self.processor, self.word.addr());
        drop(dispatch);
        // SAFETY: the lock is in use, so it is in place: it is the object's own, or it was
        // supplied and freeing it meanwhile is a reported breach.
        unsafe { AtomicU64::from_ptr(self.word) }.store(0, Ordering::Release);
    }
}

/// Notes that a processor waits for a lock. An interrupt that comes meanwhile may wait for another,
/// so what was noted before comes back.
struct Waiting<'a, H: Hal> {
    executive: &'a Executive<H>,
    processor: usize,
    before: usize,
}

impl<'a, H: Hal> Waiting<'a, H> {
    fn new(executive: &'a Executive<H>, processor: usize, lock: usize) -> Self {
        let mut dispatch = executive.dispatch.lock(&executive.hal);
        let before = mem::replace(&mut dispatch.held.waiting[processor], lock);
        drop(dispatch);
        Self { executive, processor, before }
    }
}

impl<H: Hal> Drop for Waiting<'_, H> {
    fn drop(&mut self) {
        let mut dispatch = self.executive.dispatch.lock(&self.executive.hal);
        dispatch.held.waiting[self.processor] = self.before;
    }
}

impl<H: Hal> Executive<H> {
    /// Acquires the lock at `word` for a routine that runs at `irql`.
    pub(super) fn hold(&self, word: *mut u64, irql: u8, call: &'static str) -> Holding<'_, H> {
        self.acquire(word, irql, call);
        Holding { executive: self, word, processor: self.hal.processor() }
    }

    /// Whether this processor holds the lock at `word`, and nobody else wrote to it.
    pub(super) fn is_held(&self, word: *mut u64) -> bool {
        // SAFETY: as in `acquire`.
        let value = unsafe { AtomicU64::from_ptr(word) }.load(Ordering::Relaxed);
        let processor = self.hal.processor();
        let held = self.dispatch.lock(&self.hal).held.holds(processor, word.addr());
        held && value != 0
    }

    /// How many locks this processor holds.
    pub(super) fn locks_held(&self) -> usize {
        let processor = self.hal.processor();
        self.dispatch.lock(&self.hal).held.count(processor)
    }

    fn acquire(&self, word: *mut u64, irql: u8, call: &'static str) {
        let processor = self.hal.processor();
        if self.dispatch.lock(&self.hal).held.holds(processor, word.addr()) {
            self.violate(Rule::Deadlock, call, format_args!("lock {word:p} is held here already"));
        }
        // SAFETY: the caller of the kernel call promises that the lock is in place and aligned;
        // everyone writes to it through atomics.
        let lock = unsafe { AtomicU64::from_ptr(word) };
        let mut waiting = None;
        while lock.compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed).is_err() {
            waiting.get_or_insert_with(|| Waiting::new(self, processor, word.addr()));
            if self.dispatch.lock(&self.hal).held.is_deadlocked(processor) {
                self.violate(
                    Rule::Deadlock,
                    call,
                    format_args!("the holder of lock {word:p} waits for one that is held here"),
                );
            }
            self.hal.relax();
        }
        drop(waiting);
        let held = Held { address: word.addr(), irql };
        let kept = self.dispatch.lock(&self.hal).held.push(processor, held);
        if !kept {
            lock.store(0, Ordering::Release);
            self.violate(
                Rule::Deadlock,
                call,
                format_args!("more than {DEPTH} locks held at once"),
            );
        }
    }

    fn release(&self, word: *mut u64, call: &'static str) {
        let processor = self.hal.processor();
        if !self.dispatch.lock(&self.hal).held.remove(processor, word.addr()) {
            self.violate(Rule::LockOwner, call, format_args!("lock {word:p} is not held here"));
        }
        // SAFETY: as in `acquire`.
        let before = unsafe { AtomicU64::from_ptr(word) }.swap(0, Ordering::Release);
        if before == 0 {
            self.violate(Rule::LockWord, call, format_args!("lock {word:p} is 0 while held"));
        }
    }

    fn require_lock(&self, lock: PKSPIN_LOCK, call: &'static str) {
        if lock.is_null() || !lock.is_aligned() {
            self.violate(Rule::LockWord, call, format_args!("{lock:p} is no address of a lock"));
        }
        if self.dispatch.lock(&self.hal).chains.is_supplied(lock) {
            self.violate(
                Rule::LockOfInterrupt,
                call,
                format_args!("lock {lock:p} was supplied for an interrupt that is connected"),
            );
        }
    }

    /// `KeAcquireSpinLockRaiseToDpc`; gives the IRQL from before.
    ///
    /// # Safety
    ///
    /// `lock` is in place, and stays until it is released.
    pub unsafe fn ke_acquire_spin_lock_raise_to_dpc(&self, lock: PKSPIN_LOCK) -> KIRQL {
        const CALL: &str = "KeAcquireSpinLockRaiseToDpc";
        self.require_irql(Rule::IrqlDispatch, CALL, DISPATCH_LEVEL);
        self.require_lock(lock, CALL);
        let before = self.hal.irql();
        let raised = self.raised(DISPATCH);
        self.acquire(lock, DISPATCH, CALL);
        // Raised it stays, until the lock is released.
        mem::forget(raised);
        before
    }

    /// `KeReleaseSpinLock`.
    ///
    /// # Safety
    ///
    /// `lock` is in place.
    pub unsafe fn ke_release_spin_lock(&self, lock: PKSPIN_LOCK, new_irql: KIRQL) {
        const CALL: &str = "KeReleaseSpinLock";
        self.require_at_dispatch(CALL);
        if u32::from(new_irql) > DISPATCH_LEVEL {
            self.violate(Rule::LockOwner, CALL, format_args!("new IRQL {new_irql}"));
        }
        self.release(lock, CALL);
        self.lower(new_irql, CALL);
    }

    /// `KeAcquireSpinLockAtDpcLevel`.
    ///
    /// # Safety
    ///
    /// `lock` is in place, and stays until it is released.
    pub unsafe fn ke_acquire_spin_lock_at_dpc_level(&self, lock: PKSPIN_LOCK) {
        const CALL: &str = "KeAcquireSpinLockAtDpcLevel";
        self.require_at_dispatch(CALL);
        self.require_lock(lock, CALL);
        self.acquire(lock, DISPATCH, CALL);
    }

    /// `KeReleaseSpinLockFromDpcLevel`.
    ///
    /// # Safety
    ///
    /// `lock` is in place.
    pub unsafe fn ke_release_spin_lock_from_dpc_level(&self, lock: PKSPIN_LOCK) {
        const CALL: &str = "KeReleaseSpinLockFromDpcLevel";
        self.require_at_dispatch(CALL);
        self.release(lock, CALL);
    }

    fn require_at_dispatch(&self, call: &'static str) {
        let irql = self.hal.irql();
        if u32::from(irql) != DISPATCH_LEVEL {
            self.violate(Rule::LockOwner, call, format_args!("called at IRQL {irql}, not 2"));
        }
    }

    /// `KeAcquireInterruptSpinLock`; gives the IRQL from before.
    ///
    /// # Safety
    ///
    /// The lock that was supplied for the interrupt, if any, is in place.
    pub unsafe fn ke_acquire_interrupt_spin_lock(&self, interrupt: PKINTERRUPT) -> KIRQL {
        const CALL: &str = "KeAcquireInterruptSpinLock";
        let object = self.connected_object(interrupt, CALL);
        if object.is_passive() {
            self.violate(
                Rule::PassiveInterruptLock,
                CALL,
                format_args!("vector {:#x} is served at PASSIVE_LEVEL", object.vector),
            );
        }
        let before = self.hal.irql();
        if before > object.synchronize_irql {
            self.violate(
                Rule::SynchronizeIrql,
                CALL,
                format_args!("the SynchronizeIrql is {}", object.synchronize_irql),
            );
        }
        let processor = self.hal.processor();
        let lowest = self.dispatch.lock(&self.hal).held.lowest_irql(processor);
        if u32::from(lowest) > DISPATCH_LEVEL {
            self.violate(
                Rule::LockNested,
                CALL,
                format_args!("a lock that needs IRQL {lowest} is held here already"),
            );
        }
        let raised = self.raised(object.synchronize_irql);
        self.acquire(object.lock_word(), object.synchronize_irql, CALL);
        mem::forget(raised);
        before
    }

    /// `KeReleaseInterruptSpinLock`.
    ///
    /// # Safety
    ///
    /// The lock that was supplied for the interrupt, if any, is in place.
    pub unsafe fn ke_release_interrupt_spin_lock(&self, interrupt: PKINTERRUPT, old_irql: KIRQL) {
        const CALL: &str = "KeReleaseInterruptSpinLock";
        let object = self.connected_object(interrupt, CALL);
        let irql = self.hal.irql();
        if irql != object.synchronize_irql || old_irql > irql {
            self.violate(
                Rule::LockOwner,
                CALL,
                format_args!("held at IRQL {}, to go to {old_irql}", object.synchronize_irql),
            );
        }
        self.release(object.lock_word(), CALL);
        drop(object);
        self.lower(old_irql, CALL);
    }
}
