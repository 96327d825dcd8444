//! Threads that are processors for a while.

use std::{
    cell::RefCell,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::Arc,
    thread::{self, ScopedJoinHandle},
    vec::Vec,
};

use super::{
    hal::wait_until,
    machine::Inner,
    processor::{Role, bind, current},
    schedule::{Place, TaskId},
};

/// Where threads are made processors, see [`Machine::scope`](super::Machine::scope).
pub struct Scope<'scope, 'env: 'scope> {
    inner: Arc<Inner>,
    threads: &'scope thread::Scope<'scope, 'env>,
    running: RefCell<Vec<Running<'scope>>>,
}

/// A thread of a scope.
struct Running<'scope> {
    thread: ScopedJoinHandle<'scope, ()>,
    /// Its number, if there is a schedule.
    task: Option<TaskId>,
}

impl Running<'_> {
    fn is_finished(&self, inner: &Inner) -> bool {
        match (&inner.shared().schedule, self.task) {
            (Some(schedule), Some(task)) => schedule.is_ended(task),
            _ => self.thread.is_finished(),
        }
    }
}

impl fmt::Debug for Scope<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope").field("running", &self.running.borrow().len()).finish()
    }
}

impl<'scope, 'env> Scope<'scope, 'env> {
    pub(super) fn run<R>(inner: &Arc<Inner>, f: impl for<'s> FnOnce(&Scope<'s, 'env>) -> R) -> R {
        thread::scope(|threads| {
            let scope = Scope { inner: Arc::clone(inner), threads, running: RefCell::default() };
            if inner.shared().schedule.is_none() {
                let result = f(&scope);
                scope.join();
                return result;
            }
            // The threads come to an end only if this one waits for them as the schedule wants it.
            catch_unwind(AssertUnwindSafe(|| {
                let result = f(&scope);
                scope.join();
                result
            }))
            .unwrap_or_else(|panic| {
                let current = current();
                current.put_off(&*panic);
                while !scope.running.borrow().iter().all(|it| it.is_finished(inner)) {
                    current.poll();
                    current.give_way(None, || ());
                }
                current.panicked.set(None);
                resume_unwind(panic)
            })
        })
    }

    /// Runs `f` on a thread that is `processor` meanwhile.
    ///
    /// # Panics
    ///
    /// In that thread, and so in [`Machine::scope`](super::Machine::scope), if the processor is
    /// another thread already, or if there is no such processor.
    pub fn spawn(&self, processor: usize, f: impl FnOnce() + Send + 'scope) {
        let known = self.inner.shared().known;
        assert!(processor < known, "there are {known} processors, and none is number {processor}");
        self.start(processor, Role::Processor(processor), f);
    }

    /// Runs `f` on a system thread: at `PASSIVE_LEVEL`, at the same time as all others, on a
    /// processor that drivers do not know of.
    ///
    /// # Panics
    ///
    /// If there are more than 32 system threads.
    pub fn spawn_system_thread(&self, f: impl FnOnce() + Send + 'scope) {
        let processor = self.inner.shared().threads.take_processor();
        let processor = processor.expect("there are too many system threads");
        self.start(processor, Role::System, f);
    }

    fn start(&self, processor: usize, role: Role, f: impl FnOnce() + Send + 'scope) {
        let inner = Arc::clone(&self.inner);
        let place = inner.place(role);
        let task = place.as_ref().map(Place::task);
        let thread = self.threads.spawn(move || {
            let turn = place.map(Place::begin);
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                // It is given back when this thread is no more on it.
                let on_loan = OnLoan { inner: &inner, processor, role };
                let bound = bind(&inner, processor, role);
                f();
                // What was asked of this processor last is done before the thread is gone.
                current().poll();
                drop(bound);
                drop(on_loan);
            }));
            if let Err(panic) = outcome {
                if let Some(turn) = &turn {
                    turn.note_panic(&*panic);
                }
                resume_unwind(panic);
            }
        });
        self.running.borrow_mut().push(Running { thread, task });
    }

    /// Waits for all threads, while this processor lets in what comes.
    fn join(&self) {
        let is_finished = |running: &Running<'_>| running.is_finished(&self.inner);
        while !self.running.borrow().is_empty() {
            wait_until("a thread of the scope", || is_finished(&self.running.borrow()[0]));
            let next = self.running.borrow_mut().remove(0);
            if let Err(panic) = next.thread.join() {
                resume_unwind(panic);
            }
        }
    }
}

/// Gives a system thread's processor back, also when unwinding.
struct OnLoan<'a> {
    inner: &'a Inner,
    processor: usize,
    role: Role,
}

impl Drop for OnLoan<'_> {
    fn drop(&mut self) {
        if self.role == Role::System {
            self.inner.shared().threads.give_processor_back(self.processor);
        }
    }
}
