//! Taking part in a schedule.

use std::{
    any::Any,
    cell::Cell,
    string::{String, ToString},
    sync::Arc,
};

use super::{
    super::{machine::Inner, processor::Role},
    TaskId,
};

thread_local! {
    static THIS: Cell<Option<TaskId>> = const { Cell::new(None) };
}

/// The number of this thread, if a schedule says when it goes on.
pub(in crate::host) fn this_task() -> Option<TaskId> {
    THIS.get()
}

/// A place in a schedule, for a thread that is about to start.
pub(in crate::host) struct Place {
    machine: Arc<Inner>,
    task: TaskId,
}

impl Place {
    pub(in crate::host) const fn task(&self) -> TaskId {
        self.task
    }

    /// Waits for the first turn of this thread, which then has this place. It gives it up when what
    /// this gives is dropped.
    pub(in crate::host) fn begin(self) -> Turn {
        if let Some(schedule) = &self.machine.shared().schedule {
            schedule.begin(self.task);
        }
        THIS.set(Some(self.task));
        Turn(self)
    }
}

/// What a panic says.
pub(in crate::host) fn message_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "a panic without a message".to_string())
}

/// A thread takes part in a schedule while it has this.
pub(in crate::host) struct Turn(Place);

impl Turn {
    /// This thread has panicked with this.
    pub(in crate::host) fn note_panic(&self, panic: &(dyn Any + Send)) {
        let shared = self.0.machine.shared();
        if let Some(schedule) = &shared.schedule {
            schedule.state().note_panic(self.0.task, Some(shared.log.len()));
            schedule.note_message(self.0.task, message_of(panic));
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        THIS.set(None);
        if let Some(schedule) = &self.0.machine.shared().schedule {
            schedule.end(self.0.task);
        }
    }
}

impl Inner {
    /// A place for a thread that this one is about to start; none if there is no schedule.
    pub(in crate::host) fn place(self: &Arc<Self>, role: Role) -> Option<Place> {
        let schedule = self.shared().schedule.as_ref()?;
        Some(Place { machine: Arc::clone(self), task: schedule.join(role) })
    }

    /// The place of the test's own thread, whose turn it is.
    pub(in crate::host) fn first_place(self: &Arc<Self>) -> Place {
        Place { machine: Arc::clone(self), task: 0 }
    }
}
