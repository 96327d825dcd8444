//! Spin locks: a driver's own, and those of interrupts.

use core::{
    mem,
    sync::atomic::{AtomicU64, Ordering},
};

use super::{
    Executive,
    breach::Breach,
    held::{DEPTH, Held},
};
use crate::{
    hal::{Event, Hal},
    nt::{DISPATCH_LEVEL, KIRQL, PKINTERRUPT, PKSPIN_LOCK},
    report::{Object, Rule},
};

const DISPATCH: u8 = DISPATCH_LEVEL.to_le_bytes()[0];

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
        let (processor, address) = (self.hal.processor(), word.addr());
        if self.dispatch.lock(&self.hal).held.holds(processor, address) {
            let breach = Breach::new(Rule::Deadlock, call);
            self.violate(
                breach.verifier(0x1000, [address as u64, 0, 0]).of(&[Object::SpinLock { address }]),
                format_args!("lock {word:p} is held here already"),
            );
        }
        // SAFETY: the caller of the kernel call promises that the lock is in place and aligned;
        // everyone writes to it through atomics.
        let lock = unsafe { AtomicU64::from_ptr(word) };
        let mut waiting = None;
        while let Err(value) = lock.compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed) {
            if value != 1 {
                self.refuse_lock_word(word, value, call);
            }
            waiting.get_or_insert_with(|| Waiting::new(self, processor, address));
            if self.dispatch.lock(&self.hal).held.is_deadlocked(processor) {
                let breach = Breach::new(Rule::Deadlock, call);
                self.violate(
                    breach
                        .verifier(0x1001, [address as u64, 0, 0])
                        .of(&[Object::SpinLock { address }]),
                    format_args!("the holder of lock {word:p} waits for one that is held here"),
                );
            }
            self.hal.relax();
        }
        drop(waiting);
        let held = Held { address, irql };
        let kept = self.dispatch.lock(&self.hal).held.push(processor, held);
        if !kept {
            lock.store(0, Ordering::Release);
            self.violate(
                Breach::new(Rule::Deadlock, call).of(&[Object::SpinLock { address }]),
                format_args!("more than {DEPTH} locks held at once"),
            );
        }
    }

    /// A lock's word is neither free nor taken.
    fn refuse_lock_word(&self, word: *mut u64, value: u64, call: &'static str) -> ! {
        let address = word.addr();
        self.require_resident(Object::SpinLock { address }, address, call);
        let breach = Breach::new(Rule::LockWord, call);
        self.violate(
            breach.verifier(0x1002, [address as u64, 0, 0]).of(&[Object::SpinLock { address }]),
            format_args!("lock {word:p} was not initialised, or written to: it is {value:#x}"),
        );
    }

    /// A KDPC, an event or a spin lock is where it can be used at raised IRQL.
    pub(super) fn require_resident(&self, object: Object, address: usize, call: &'static str) {
        if let Some((what, pool)) = self.residence(address).unfit() {
            let breach = Breach::new(Rule::Resident, call);
            let breach = match (object, pool) {
                (
                    Object::Dpc { .. },
                    Object::Pool { address: start, bytes, .. }
                    | Object::FreedPool { address: start, bytes, .. },
                ) => {
                    let end = start + bytes;
                    breach.stops(0xC7, [0x1, address as u64, start as u64, end as u64])
                }
                _ => breach.verifier(0xE1, [address as u64, 0, 0]),
            };
            self.violate(breach.of(&[object, pool]), format_args!("the {object} is in {what}"));
        }
    }

    fn release(&self, word: *mut u64, call: &'static str) {
        let processor = self.hal.processor();
        let address = word.addr();
        let mut dispatch = self.dispatch.lock(&self.hal);
        let removed = dispatch.held.remove(processor, address);
        let elsewhere = dispatch.held.is_held(address);
        drop(dispatch);
        if !removed {
            let breach = Breach::new(Rule::LockOwner, call);
            // For who releases what another has, Windows names the threads.
            let unacquired = breach.verifier(0x1007, [address as u64, 0, 0]);
            let breach = if elsewhere { breach } else { unacquired };
            self.violate(
                breach.of(&[Object::SpinLock { address }]),
                format_args!("lock {word:p} is not held here"),
            );
        }
        // SAFETY: as in `acquire`.
        let before = unsafe { AtomicU64::from_ptr(word) }.swap(0, Ordering::Release);
        if before == 0 {
            self.violate(
                Breach::new(Rule::LockWord, call).of(&[Object::SpinLock { address }]),
                format_args!("lock {word:p} is 0 while held"),
            );
        }
    }

    fn require_lock(&self, lock: PKSPIN_LOCK, call: &'static str) {
        if lock.is_null() || !lock.is_aligned() {
            let breach = Breach::new(Rule::LockWord, call);
            self.violate(breach, format_args!("{lock:p} is no address of a lock"));
        }
        let address = lock.addr();
        if self.dispatch.lock(&self.hal).chains.is_supplied(lock) {
            let breach = Breach::new(Rule::LockOfInterrupt, call);
            self.violate(
                breach.verifier(0x1008, [address as u64, 0, 0]).of(&[Object::SpinLock { address }]),
                format_args!("lock {lock:p} was supplied for an interrupt that is connected"),
            );
        }
        // One in freed memory is found out by its word, which is poison.
        if self.is_paged(address) {
            self.require_resident(Object::SpinLock { address }, address, call);
        }
    }

    /// `KeAcquireSpinLockRaiseToDpc`; gives the IRQL from before.
    ///
    /// # Safety
    ///
    /// `lock` is in place, and stays until it is released.
    pub unsafe fn ke_acquire_spin_lock_raise_to_dpc(&self, lock: PKSPIN_LOCK) -> KIRQL {
        const CALL: &str = "KeAcquireSpinLockRaiseToDpc";
        let address = lock.addr();
        let objects = [Object::SpinLock { address }];
        self.require_irql_or(DISPATCH_LEVEL, |irql| {
            let breach = Breach::new(Rule::IrqlDispatch, CALL).of(&objects);
            breach.verifier(0x42, [irql, address as u64, 0])
        });
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
        self.require_at_dispatch(lock, Some(0x32), CALL);
        if u32::from(new_irql) > DISPATCH_LEVEL {
            let breach = Breach::new(Rule::LockOwner, CALL);
            self.violate(
                breach.of(&[Object::SpinLock { address: lock.addr() }]),
                format_args!("new IRQL {new_irql}"),
            );
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
        self.require_at_dispatch(lock, self.below_dispatch(0x40), CALL);
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
        self.require_at_dispatch(lock, self.below_dispatch(0x41), CALL);
        self.release(lock, CALL);
    }

    /// A kind of Driver Verifier's violations that is documented for calls below `DISPATCH_LEVEL`.
    fn below_dispatch(&self, kind: u64) -> Option<u64> {
        (self.hal.irql() < DISPATCH).then_some(kind)
    }

    fn require_at_dispatch(&self, lock: PKSPIN_LOCK, kind: Option<u64>, call: &'static str) {
        let irql = self.hal.irql();
        if u32::from(irql) != DISPATCH_LEVEL {
            let address = lock.addr();
            let objects = [Object::SpinLock { address }];
            let breach = Breach::new(Rule::LockOwner, call).of(&objects);
            let documented =
                kind.map(|kind| breach.verifier(kind, [irql.into(), address as u64, 0]));
            self.violate(
                documented.unwrap_or(breach),
                format_args!("called at IRQL {irql}, not 2"),
            );
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
            let breach = Breach::new(Rule::PassiveInterruptLock, CALL);
            self.violate(
                breach.stops(0x13B, [0x1, object.token() as u64, 0, 0]).of(&[object.report()]),
                format_args!("vector {:#x} is served at PASSIVE_LEVEL", object.vector),
            );
        }
        let before = self.hal.irql();
        if before > object.synchronize_irql {
            self.violate(
                Breach::new(Rule::SynchronizeIrql, CALL).of(&[object.report()]),
                format_args!("the SynchronizeIrql is {}", object.synchronize_irql),
            );
        }
        let processor = self.hal.processor();
        let lowest = self.dispatch.lock(&self.hal).held.lowest_irql(processor);
        if u32::from(lowest) > DISPATCH_LEVEL {
            self.violate(
                Breach::new(Rule::LockNested, CALL).of(&[object.report()]),
                format_args!("a lock that needs IRQL {lowest} is held here already"),
            );
        }
        let raised = self.raised(object.synchronize_irql);
        self.acquire(object.lock_word(), object.synchronize_irql, CALL);
        mem::forget(raised);
        let (vector, irql) = (object.vector, object.synchronize_irql);
        self.hal.trace(&Event::InterruptLockAcquired { vector, irql });
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
                Breach::new(Rule::LockOwner, CALL).of(&[object.report()]),
                format_args!("held at IRQL {}, to go to {old_irql}", object.synchronize_irql),
            );
        }
        self.release(object.lock_word(), CALL);
        self.hal.trace(&Event::InterruptLockReleased { vector: object.vector });
        drop(object);
        self.lower(old_irql, CALL);
    }
}
