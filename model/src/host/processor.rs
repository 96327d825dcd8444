//! A processor: a thread that is bound to a machine.

use std::{
    cell::{Cell, RefCell},
    fmt,
    marker::PhantomData,
    rc::Rc,
    sync::{
        Arc, MutexGuard,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use super::{
    hal::Shared,
    machine::Inner,
    requests::{Requests, irql_of},
    schedule::{Doing, TaskId, this_task},
};
use crate::{
    hal::Event,
    nt::{DISPATCH_LEVEL, HANDLE},
};

const DISPATCH: u8 = DISPATCH_LEVEL.to_le_bytes()[0];
/// A level that is asserted after so many interrupts is not going to be deasserted.
const STORM: usize = 1000;

/// What a thread is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// A processor of the test's.
    Processor(usize),
    /// A system thread that the test started.
    System,
    /// Runs work items.
    Worker,
    /// Serves a passive interrupt.
    Passive(u32),
    /// Runs the threaded DPCs of a processor.
    Dpcs(usize),
    /// Does what a processor is asked for that no thread is. Only where a schedule says who goes on;
    /// otherwise any thread does that.
    Idle(usize),
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Processor(number) => write!(f, "processor {number}"),
            Self::System => f.write_str("a system thread"),
            Self::Worker => f.write_str("a work item's thread"),
            Self::Passive(vector) => {
                write!(f, "the thread that serves the passive vector {vector:#x}")
            }
            Self::Dpcs(processor) => write!(f, "the DPC thread of processor {processor}"),
            Self::Idle(processor) => write!(f, "processor {processor}, idle otherwise"),
        }
    }
}

/// The thread's part of a processor.
pub(super) struct Binding {
    pub(super) inner: Arc<Inner>,
    processor: Cell<usize>,
    irql: Cell<u8>,
    pub(super) role: Role,
    /// It acts in the name of another processor.
    acting: Cell<bool>,
    /// Its number, if a schedule says when it goes on.
    pub(super) task: Option<TaskId>,
    /// It looks whether what it waits for is there, which is no scheduling point.
    pub(super) looking: Cell<bool>,
    /// How many events there were when it panicked, if that panic is put off.
    pub(super) panicked: Cell<Option<usize>>,
    /// What it is doing, the innermost last.
    pub(super) doing: RefCell<Vec<Doing>>,
}

static THREADS: AtomicUsize = AtomicUsize::new(1);

thread_local! {
    static CURRENT: RefCell<Option<Rc<Binding>>> = const { RefCell::new(None) };
    /// Thread ids are multiples of four, as on Windows.
    static THREAD_ID: usize = THREADS.fetch_add(1, Ordering::Relaxed) * 4;
}

/// The processor that this thread is.
pub(super) fn current() -> Rc<Binding> {
    try_current().expect(
        "this thread is no processor of a machine: \
         keep what Machine::enter gives, or use Machine::scope",
    )
}

/// As [`current`], if it is one.
pub(super) fn try_current() -> Option<Rc<Binding>> {
    CURRENT.with_borrow(std::clone::Clone::clone)
}

/// The id of this thread.
pub(super) fn thread_id() -> HANDLE {
    let scheduled = this_task().map(|task| (task + 1) * 4);
    std::ptr::without_provenance_mut(scheduled.unwrap_or_else(|| THREAD_ID.with(|id| *id)))
}

/// Makes this thread a processor, until what this gives is dropped.
pub(super) fn bind(inner: &Arc<Inner>, processor: usize, role: Role) -> Bound {
    let already = CURRENT.with_borrow(Option::is_some);
    assert!(!already, "this thread is a processor already");
    let requests = &inner.shared().processors[processor];
    let binding = Binding::new(inner, processor, role);
    // Another thread may act in its name for a moment.
    while requests.occupied.swap(true, Ordering::AcqRel) {
        assert!(
            !requests.bound.load(Ordering::Acquire),
            "another thread is processor {processor} already"
        );
        binding.give_way(None, thread::yield_now);
    }
    requests.bound.store(true, Ordering::Release);
    CURRENT.set(Some(Rc::new(binding)));
    Bound { inner: Arc::clone(inner), processor, marker: PhantomData }
}

/// Makes this thread a processor, for what that is asked for while no thread is it; none if one is.
pub(super) fn stand_in(inner: &Arc<Inner>, processor: usize) -> Option<Bound> {
    let requests = &inner.shared().processors[processor];
    if requests.occupied.swap(true, Ordering::AcqRel) {
        return None;
    }
    let binding = Binding::new(inner, processor, Role::Idle(processor));
    CURRENT.set(Some(Rc::new(binding)));
    Some(Bound { inner: Arc::clone(inner), processor, marker: PhantomData })
}

/// Something waits for `processor`. Where a schedule says who goes on, a thread of its own sees to
/// it if no other is that processor; otherwise any thread does that [polls](Binding::poll).
pub(super) fn notify(inner: &Arc<Inner>, processor: usize) {
    let shared = inner.shared();
    let Some(schedule) = &shared.schedule else {
        return;
    };
    schedule.change();
    let requests = &shared.processors[processor];
    let occupied = requests.occupied.load(Ordering::Acquire);
    if !occupied && requests.is_due(shared.holds_dpcs()) {
        shared.threads.stand_in(inner, processor);
    }
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
        let requests = &self.inner.shared().processors[self.processor];
        requests.bound.store(false, Ordering::Release);
        requests.occupied.store(false, Ordering::Release);
        notify(&self.inner, self.processor);
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
pub(super) struct Restore<'a, T: Copy> {
    cell: &'a Cell<T>,
    before: T,
}

pub(super) const fn replace<T: Copy>(cell: &Cell<T>, value: T) -> Restore<'_, T> {
    Restore { cell, before: cell.replace(value) }
}

impl<T: Copy> Drop for Restore<'_, T> {
    fn drop(&mut self) {
        self.cell.set(self.before);
    }
}

/// Puts the IRQL back to what it was, also when unwinding.
struct Raised<'a> {
    binding: &'a Binding,
    before: u8,
}

impl Drop for Raised<'_> {
    fn drop(&mut self) {
        self.binding.change_irql(self.before);
    }
}

impl Binding {
    fn new(inner: &Arc<Inner>, processor: usize, role: Role) -> Self {
        let task = this_task();
        let scheduled = inner.shared().schedule.is_some();
        assert!(
            scheduled == task.is_some(),
            "of a test that explores, all threads are started by Machine::scope"
        );
        Self {
            inner: Arc::clone(inner),
            processor: Cell::new(processor),
            irql: Cell::new(0),
            role,
            acting: Cell::new(false),
            task,
            looking: Cell::new(false),
            panicked: Cell::new(None),
            doing: RefCell::default(),
        }
    }

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
        if irql > self.irql() && self.is_scheduled() {
            self.give_others_a_turn();
            self.deliver();
        }
        if irql < self.change_irql(irql) {
            self.give_others_a_turn();
            self.deliver();
        }
    }

    /// Changes the IRQL, which is recorded, and gives what it was.
    fn change_irql(&self, irql: u8) -> u8 {
        let before = self.irql.replace(irql);
        if irql != before {
            self.shared().record(self.processor(), irql, Event::Irql { from: before, to: irql });
        }
        before
    }

    /// Changes the IRQL, which is as before again when what this gives is dropped.
    fn raised(&self, irql: u8) -> Raised<'_> {
        Raised { binding: self, before: self.change_irql(irql) }
    }

    /// Serves an interrupt now, if the IRQL allows it, and says whether it was claimed.
    pub(super) fn interrupt(&self, vector: u32) -> Option<bool> {
        let irql = irql_of(vector);
        if irql <= self.irql() {
            return None;
        }
        let raised = self.raised(irql);
        let claimed = self.serve(vector);
        drop(raised);
        self.deliver();
        Some(claimed)
    }

    /// Calls the service routines of a vector at this IRQL, until its line is not asserted.
    pub(super) fn serve(&self, vector: u32) -> bool {
        let _serving = self.meanwhile(Doing::Service(vector));
        self.give_others_a_turn();
        let mut claimed = self.inner.executive().interrupt(vector);
        let mut rounds = 0;
        while self.shared().is_asserted(vector) && self.inner.executive().connected(vector) > 0 {
            rounds += 1;
            if rounds == STORM {
                self.inner.executive().storm(
                    vector,
                    "a service routine",
                    format_args!("the line of vector {vector:#x} is asserted after {STORM} calls"),
                );
            }
            claimed |= self.inner.executive().interrupt(vector);
        }
        claimed
    }

    /// Has a vector served here: now, or as soon as the IRQL allows, or by a system thread if it
    /// is served at `PASSIVE_LEVEL`. What became of it is known in the first case only.
    pub(super) fn raise(&self, vector: u32) -> Option<bool> {
        if self.inner.executive().is_passive(vector) {
            self.shared().threads.raise_passive(&self.inner, vector);
            return None;
        }
        let served = self.interrupt(vector);
        if served.is_none() {
            self.requests().raise(vector);
        }
        served
    }

    /// Lets in whatever the IRQL allows.
    pub(super) fn deliver(&self) {
        // While a panic unwinds no code of the driver's is started, which might panic again.
        while !self.is_panicking() {
            let requests = self.requests();
            if let Some(vector) = requests.take_above(self.irql()) {
                self.interrupt(vector);
                continue;
            }
            if self.irql() < DISPATCH && requests.take_dispatch(self.shared().holds_dpcs()) {
                self.retire_dpcs();
                continue;
            }
            return;
        }
    }

    fn retire_dpcs(&self) {
        let _retiring = self.meanwhile(Doing::Dpcs);
        let raised = self.raised(DISPATCH);
        self.inner.executive().retire_dpcs();
        drop(raised);
    }

    /// Lets in whatever the IRQL allows, here and on processors that no thread is.
    pub(super) fn poll(&self) {
        self.deliver();
        if self.irql() != 0 || self.acting.get() || self.is_panicking() {
            return;
        }
        // What a system thread ended with is the test's business.
        if matches!(self.role, Role::Processor(_) | Role::System)
            && let Some(panic) = self.shared().threads.take_panic()
        {
            std::panic::resume_unwind(panic);
        }
        // Where there is a schedule, such a processor has a thread of its own; see `notify`.
        if self.is_scheduled() {
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
        } else if self.is_scheduled() || !self.act_as(processor, Self::retire_dpcs) {
            let news = self.shared().processors[processor].request_flush();
            if news {
                notify(&self.inner, processor);
            }
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
