//! Scheduling points: where a thread lets others go on, and lets in what waits for its processor.

use std::{any::Any, ops::Deref, rc::Rc, thread};

use super::{
    processor::{Binding, current, replace},
    schedule::{Doing, Whereabouts, message_of},
};

/// A kernel call has begun. Another may come in between: now, and when what this gives is dropped.
pub(super) fn enter(call: &'static str) -> KernelCall {
    let binding = current();
    let depth = binding.begin(Doing::Call(call));
    let call = KernelCall { binding, depth };
    call.point();
    call
}

/// A kernel call that has not returned.
pub(super) struct KernelCall {
    binding: Rc<Binding>,
    depth: usize,
}

impl Deref for KernelCall {
    type Target = Binding;

    fn deref(&self) -> &Binding {
        &self.binding
    }
}

impl Drop for KernelCall {
    fn drop(&mut self) {
        self.binding.finish(self.depth);
        let looking = self.binding.looking.get();
        if self.binding.is_scheduled() && !looking && !thread::panicking() {
            self.binding.give_others_a_turn();
            // What a system thread panicked with waits until the next call: this one has returned.
            self.binding.deliver();
        }
    }
}

/// What a thread does meanwhile, also until it has unwound.
pub(super) struct Meanwhile<'a> {
    binding: &'a Binding,
    depth: usize,
}

impl Drop for Meanwhile<'_> {
    fn drop(&mut self) {
        self.binding.finish(self.depth);
    }
}

impl Binding {
    pub(super) const fn is_scheduled(&self) -> bool {
        self.task.is_some()
    }

    /// Others may go on before this thread does, and then what waits for its processor is let in.
    pub(super) fn point(&self) {
        if !self.looking.get() {
            self.give_others_a_turn();
            self.poll();
        }
    }

    /// Others may go on before this thread does, if a schedule says who goes on.
    pub(super) fn give_others_a_turn(&self) {
        if self.looking.get() {
            return;
        }
        if let (Some(schedule), Some(task)) = (&self.shared().schedule, self.task) {
            schedule.point(task, self.whereabouts(), self.unwinding_since());
        }
    }

    /// Whether what this thread waits for is there. Looking is no scheduling point: it is not what
    /// others wait for.
    pub(super) fn look(&self, is_there: impl FnOnce() -> bool) -> bool {
        let looking = replace(&self.looking, true);
        let found = is_there();
        drop(looking);
        found
    }

    /// This thread waits for others, in units of 100 ns since the beginning of 1601 until then at
    /// most: a turn of a loop. Without a schedule it does `otherwise`.
    pub(super) fn give_way(&self, until: Option<u64>, otherwise: impl FnOnce()) {
        match (&self.shared().schedule, self.task) {
            (Some(schedule), Some(task)) => {
                schedule.wait(task, self.whereabouts(), self.unwinding_since(), until);
            }
            _ => otherwise(),
        }
    }

    /// This thread does `doing`, until what this gives is dropped.
    pub(super) fn meanwhile(&self, doing: Doing) -> Meanwhile<'_> {
        let depth = self.begin(doing);
        Meanwhile { binding: self, depth }
    }

    fn begin(&self, doing: Doing) -> usize {
        let mut all = self.doing.borrow_mut();
        all.push(doing);
        all.len() - 1
    }

    fn finish(&self, depth: usize) {
        self.doing.borrow_mut().truncate(depth);
    }

    fn whereabouts(&self) -> Whereabouts {
        let all = self.doing.borrow();
        let mut innermost = all.iter().rev().copied();
        Whereabouts {
            role: self.role,
            processor: self.processor(),
            irql: self.irql(),
            doing: std::array::from_fn(|_| innermost.next()),
        }
    }

    /// This thread has caught a panic, which it will go on with when it has waited for others.
    pub(super) fn put_off(&self, panic: &(dyn Any + Send)) {
        self.panicked.set(Some(self.shared().log.len()));
        if let (Some(schedule), Some(task)) = (&self.shared().schedule, self.task) {
            schedule.note_message(task, message_of(panic));
        }
    }

    pub(super) fn is_panicking(&self) -> bool {
        thread::panicking() || self.panicked.get().is_some()
    }

    /// How many events there are, or were, if this thread panics.
    fn unwinding_since(&self) -> Option<usize> {
        let now = || thread::panicking().then(|| self.shared().log.len());
        self.panicked.get().or_else(now)
    }
}
