//! A processor: a thread that is bound to a machine.

use std::{
    cell::{Cell, RefCell},
    marker::PhantomData,
    rc::Rc,
    sync::{
        Arc, MutexGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

use super::{hal::Shared, machine::Inner};
use crate::nt::DISPATCH_LEVEL;

const DISPATCH: u8 = DISPATCH_LEVEL.to_le_bytes()[0];
/// A level that is asserted after so many interrupts is not going to be deasserted.
const STORM: usize = 1000;

/// What a processor is asked for, by itself or by others.
#[derive(Debug, Default)]
pub(super) struct Requests {
    /// Whether a thread is this processor, for good or in its name.
    pub(super) occupied: AtomicBool,
    /// The vectors that wait. Equal ones coalesce.
    pending: [AtomicU64; 4],
    /// A `DISPATCH_LEVEL` interrupt waits.
    dispatch: AtomicBool,
    /// It may not be held back, since `KeFlushQueuedDpcs` waits for it.
    flush: AtomicBool,
}

impl Requests {
    pub(super) fn raise(&self, vector: u32) {
        self.pending[vector as usize / 64].fetch_or(1 << (vector % 64), Ordering::AcqRel);
    }

    pub(super) fn request_dispatch(&self) {
        self.dispatch.store(true, Ordering::Release);
    }

    pub(super) fn request_flush(&self) {
        self.flush.store(true, Ordering::Release);
        self.request_dispatch();
    }

    fn is_wanted(&self) -> bool {
        self.dispatch.load(Ordering::Acquire)
            || self.pending.iter().any(|word| word.load(Ordering::Acquire) != 0)
    }

    /// Takes the highest vector of those whose IRQL is above `irql`.
    fn take_above(&self, irql: u8) -> Option<u32> {
        let lowest = (u32::from(irql) + 1) * 16;
        self.take((lowest..256).rev())
    }

    /// Takes a vector that is served at `PASSIVE_LEVEL`.
    fn take_passive(&self) -> Option<u32> {
        self.take(0..16)
    }

    fn take(&self, vectors: impl Iterator<Item = u32>) -> Option<u32> {
        vectors.into_iter().find(|vector| {
            let bit = 1 << (vector % 64);
            let word = &self.pending[*vector as usize / 64];
            word.load(Ordering::Acquire) & bit != 0
                && word.fetch_and(!bit, Ordering::AcqRel) & bit != 0
        })
    }

    fn take_dispatch(&self, held_back: bool) -> bool {
        if held_back && !self.flush.load(Ordering::Acquire) {
            return false;
        }
        let wanted = self.dispatch.swap(false, Ordering::AcqRel);
        if wanted {
            self.flush.store(false, Ordering::Release);
        }
        wanted
    }
}

/// The thread's part of a processor.
pub(super) struct Binding {
    pub(super) inner: Arc<Inner>,
    processor: Cell<usize>,
    irql: Cell<u8>,
    /// A passive interrupt is being served: it is not interrupted by another.
    serving_passive: Cell<bool>,
    /// It acts in the name of another processor.
    acting: Cell<bool>,
}

/// On x64 a vector's IRQL is its upper half.
const fn irql_of(vector: u32) -> u8 {
    (vector >> 4).to_le_bytes()[0]
}

thread_local! {
    static CURRENT: RefCell<Option<Rc<Binding>>> = const { RefCell::new(None) };
}

/// The processor that this thread is.
pub(super) fn current() -> Rc<Binding> {
    CURRENT.with_borrow(std::clone::Clone::clone).expect(
        "this thread is no processor of a machine: \
         keep what Machine::enter gives, or use Machine::scope",
    )
}

/// Makes this thread a processor, until what this gives is dropped.
pub(super) fn bind(inner: &Arc<Inner>, processor: usize) -> Bound {
    let already = CURRENT.with_borrow(Option::is_some);
    assert!(!already, "this thread is a processor already");
    let requests = &inner.shared().processors[processor];
    // Another thread may act in its name for a moment.
    while requests.occupied.swap(true, Ordering::AcqRel) {
        let is_bound = inner.shared().is_bound(processor);
        assert!(!is_bound, "another thread is processor {processor} already");
        thread::yield_now();
    }
    inner.shared().set_bound(processor, true);
    let binding = Rc::new(Binding {
        inner: Arc::clone(inner),
        processor: Cell::new(processor),
        irql: Cell::new(0),
        serving_passive: Cell::new(false),
        acting: Cell::new(false),
    });
    CURRENT.set(Some(binding));
    Bound { inner: Arc::clone(inner), processor, marker: PhantomData }
}

/// A thread is a processor while it has this.
pub(super) struct Bound {
    inner: Arc<Inner>,
    processor: usize,
    /// Other threads may look at it, and it stays on its own.
    marker: PhantomData<MutexGuard<'static, ()>>,
}

impl Drop for Bound {
    fn drop(&mut self) {
        CURRENT.set(None);
        let shared = self.inner.shared();
        shared.set_bound(self.processor, false);
        shared.processors[self.processor].occupied.store(false, Ordering::Release);
    }
}

/// Leaves a processor to others, also when unwinding.
struct Vacate<'a>(&'a Requests);

impl Drop for Vacate<'_> {
    fn drop(&mut self) {
        self.0.occupied.store(false, Ordering::Release);
    }
}

/// Puts a cell back to what it was, also when unwinding.
struct Restore<'a, T: Copy> {
    cell: &'a Cell<T>,
    before: T,
}

const fn replace<T: Copy>(cell: &Cell<T>, value: T) -> Restore<'_, T> {
    Restore { cell, before: cell.replace(value) }
}

impl<T: Copy> Drop for Restore<'_, T> {
    fn drop(&mut self) {
        self.cell.set(self.before);
    }
}

impl Binding {
    pub(super) fn shared(&self) -> &Shared {
        self.inner.shared()
    }

    pub(super) const fn processor(&self) -> usize {
        self.processor.get()
    }

    pub(super) const fn irql(&self) -> u8 {
        self.irql.get()
    }

    fn requests(&self) -> &Requests {
        &self.shared().processors[self.processor()]
    }

    pub(super) fn set_irql(&self, irql: u8) {
        let before = self.irql.replace(irql);
        if irql < before {
            self.deliver();
        }
    }

    /// Serves an interrupt now, if the IRQL allows it, and says whether it was claimed.
    pub(super) fn interrupt(&self, vector: u32) -> Option<bool> {
        let irql = irql_of(vector);
        let allowed = if irql == 0 {
            self.irql() == 0 && !self.serving_passive.get()
        } else {
            irql > self.irql()
        };
        if !allowed {
            return None;
        }
        let raised = replace(&self.irql, irql);
        let passive = replace(&self.serving_passive, irql == 0 || self.serving_passive.get());
        let mut claimed = self.inner.executive().interrupt(vector);
        let mut rounds = 0;
        while self.shared().is_asserted(vector) && self.inner.executive().connected(vector) > 0 {
            rounds += 1;
            if rounds == STORM {
                let hal = self.inner.executive().hal();
                hal.storm(
                    "a service routine",
                    format_args!("the line of vector {vector:#x} is asserted after {STORM} calls"),
                );
            }
            claimed |= self.inner.executive().interrupt(vector);
        }
        drop(passive);
        drop(raised);
        self.deliver();
        Some(claimed)
    }

    /// Lets in whatever the IRQL allows.
    pub(super) fn deliver(&self) {
        // While a panic unwinds no code of the driver's is started, which might panic again.
        while !thread::panicking() {
            let requests = self.requests();
            if let Some(vector) = requests.take_above(self.irql()) {
                self.interrupt(vector);
                continue;
            }
            if self.irql() < DISPATCH && requests.take_dispatch(self.shared().holds_dpcs()) {
                self.retire_dpcs();
                continue;
            }
            if self.irql() == 0
                && !self.serving_passive.get()
                && let Some(vector) = requests.take_passive()
            {
                self.interrupt(vector);
                continue;
            }
            return;
        }
    }

    fn retire_dpcs(&self) {
        let raised = replace(&self.irql, DISPATCH);
        self.inner.executive().retire_dpcs();
        drop(raised);
    }

    /// Lets in whatever the IRQL allows, here and on processors that no thread is.
    pub(super) fn poll(&self) {
        self.deliver();
        if self.irql() != 0 || self.acting.get() || thread::panicking() {
            return;
        }
        for processor in 0..self.shared().processors.len() {
            if self.shared().processors[processor].is_wanted() {
                self.act_as(processor, Self::deliver);
            }
        }
    }

    /// Runs the DPCs of `processor` as far as this thread can; else asks the one that is it.
    pub(super) fn flush(&self, processor: usize) {
        if processor == self.processor() {
            self.retire_dpcs();
        } else if !self.act_as(processor, Self::retire_dpcs) {
            self.shared().processors[processor].request_flush();
        }
    }

    /// Acts in the name of a processor that no thread is; false if one is.
    fn act_as(&self, processor: usize, act: impl FnOnce(&Self)) -> bool {
        let requests = &self.shared().processors[processor];
        if requests.occupied.swap(true, Ordering::AcqRel) {
            return false;
        }
        let vacate = Vacate(requests);
        let name = replace(&self.processor, processor);
        let acting = replace(&self.acting, true);
        act(self);
        drop(acting);
        drop(name);
        drop(vacate);
        true
    }
}
