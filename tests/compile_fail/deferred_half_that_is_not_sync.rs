//! A DPC can run on two processors at once, and a registration lends its deferred half to any
//! thread, so it must be `Sync`.

use std::cell::Cell;

use wdm_interrupt::{
    Deferred, DeferredHandler, SharedDeferred, SharedDeferredHandler, Work, WorkHandler,
};

struct Completion {
    completed: Cell<u32>,
}

impl<H> DeferredHandler<H> for Completion {
    fn run(&self, _deferred: &Deferred<'_, H>) {
        self.completed.set(self.completed.get() + 1);
    }
}

impl<H> WorkHandler<H> for Completion {
    fn run(&self, _work: &Work<'_, H>) {
        self.completed.set(self.completed.get() + 1);
    }
}

impl<H> SharedDeferredHandler<H> for Completion {
    fn run(&self, _deferred: &SharedDeferred<'_, H>) {
        self.completed.set(self.completed.get() + 1);
    }
}

fn main() {}
