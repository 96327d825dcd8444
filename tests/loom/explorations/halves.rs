//! The ISR's half and the deferred half of a driver, for all kinds of registration.
//!
//! The handler's state lies in a cell of `loom`'s, which everyone enters for writing who has `&mut` to the
//! handler: two at once, or one after the other with no order between them, and the exploration fails.

use std::sync::Arc;

use loom::cell::UnsafeCell;
use wdm_interrupt::{
    Deferred, DeferredHandler, Dpc, Interrupt, InterruptHandler, PassiveInterrupt,
    PassiveInterruptHandler, Serviced, SharedDeferred, SharedDeferredHandler, SharedDpc,
    ThreadedDpc, Work, WorkHandler, WorkItem,
};

use crate::device::Hardware;

/// The ISR's half.
#[derive(Debug)]
pub(crate) struct Handler {
    hardware: Arc<Hardware>,
    /// How much has been claimed and not completed.
    left: UnsafeCell<u32>,
}

impl Handler {
    pub(crate) fn new(hardware: &Arc<Hardware>) -> Self {
        Self { hardware: Arc::clone(hardware), left: UnsafeCell::new(0) }
    }

    /// Claims what the device asks for, and has `queue` see to the rest.
    #[expect(clippy::needless_pass_by_ref_mut, reason = "the state is the handler's")]
    fn claim(&mut self, queue: impl FnOnce()) -> Serviced {
        let claimed = self.hardware.acknowledge();
        // SAFETY: `&mut self`, which `loom` checks.
        self.left.with_mut(|left| unsafe { *left += u32::from(claimed) });
        if claimed {
            queue();
        }
        claimed.into()
    }

    /// Takes what has been claimed.
    #[expect(clippy::needless_pass_by_ref_mut, reason = "the state is the handler's")]
    fn take(&mut self) -> u32 {
        // SAFETY: `&mut self`, which `loom` checks.
        self.left.with_mut(|left| unsafe { left.replace(0) })
    }

    /// Completes what has been claimed.
    pub(crate) fn complete(&mut self) {
        let done = self.take();
        self.hardware.complete(done);
    }

    /// Lets the device interrupt.
    pub(crate) fn unmask(&mut self) {
        self.hardware.unmask();
    }

    fn switch_on(&self) {
        self.hardware.publish();
        self.hardware.unmask();
    }

    fn switch_off(&self) {
        self.hardware.silence();
    }
}

impl Drop for Handler {
    fn drop(&mut self) {
        // A failed exploration is explained by what failed first.
        if !std::thread::panicking() {
            let left = self.take();
            self.hardware.give_back(left);
        }
    }
}

/// Implements the ISR for the kinds of deferred half that it queues.
macro_rules! isr {
    ($($kind:ty),+) => {$(
        impl InterruptHandler<$kind> for Handler {
            fn service(&mut self, interrupt: &Interrupt<'_, $kind>) -> Serviced {
                self.claim(|| {
                    interrupt.queue_deferred();
                })
            }

            fn enable(&mut self) {
                self.switch_on();
            }

            fn disable(&mut self) {
                self.switch_off();
            }
        }
    )+};
}

isr!(Dpc<Half>, ThreadedDpc<Half>, ThreadedDpc<Alone>, WorkItem<Half>, SharedDpc<Half>);

impl InterruptHandler for Handler {
    fn service(&mut self, _interrupt: &Interrupt<'_>) -> Serviced {
        let serviced = self.claim(|| ());
        self.complete();
        serviced
    }

    fn enable(&mut self) {
        self.switch_on();
    }

    fn disable(&mut self) {
        self.switch_off();
    }
}

impl PassiveInterruptHandler<WorkItem<Half>> for Handler {
    fn service(&mut self, interrupt: &PassiveInterrupt<'_, WorkItem<Half>>) -> Serviced {
        self.claim(|| {
            interrupt.queue_deferred();
        })
    }

    fn enable(&mut self) {
        self.switch_on();
    }

    fn disable(&mut self) {
        self.switch_off();
    }
}

/// The deferred half: completes what has been claimed.
#[derive(Debug)]
pub(crate) struct Half {
    hardware: Arc<Hardware>,
    /// Whether it lets the device interrupt again when it is through.
    unmasks: bool,
}

impl Half {
    pub(crate) fn new(hardware: &Arc<Hardware>) -> Self {
        Self { hardware: Arc::clone(hardware), unmasks: false }
    }

    /// One that lets the device interrupt again when it is through.
    pub(crate) fn that_unmasks(hardware: &Arc<Hardware>) -> Self {
        Self { unmasks: true, ..Self::new(hardware) }
    }

    fn complete(&self, handler: &mut Handler) {
        handler.complete();
        if self.unmasks {
            handler.unmask();
        }
    }
}

impl DeferredHandler<Handler> for Half {
    fn run(&self, deferred: &Deferred<'_, Handler>) {
        self.hardware.assert_published();
        deferred.synchronize(|handler| self.complete(handler));
    }
}

impl WorkHandler<Handler> for Half {
    fn run(&self, work: &Work<'_, Handler>) {
        self.hardware.assert_published();
        work.synchronize(|handler| self.complete(handler));
    }
}

impl SharedDeferredHandler<Handler> for Half {
    fn run(&self, deferred: &SharedDeferred<'_, Handler>) {
        self.hardware.assert_published();
        for message in deferred.iter() {
            message.synchronize(|handler| self.complete(handler));
        }
    }
}

/// A deferred half that counts on being run by one thread at a time.
#[derive(Debug)]
pub(crate) struct Alone {
    half: Half,
    own: UnsafeCell<u32>,
}

// SAFETY: `loom` fails the exploration in which two threads use it at once.
unsafe impl Sync for Alone {}

impl Alone {
    pub(crate) fn new(hardware: &Arc<Hardware>) -> Self {
        Self { half: Half::new(hardware), own: UnsafeCell::new(0) }
    }
}

impl DeferredHandler<Handler> for Alone {
    fn run(&self, deferred: &Deferred<'_, Handler>) {
        self.own.with_mut(|own| {
            // SAFETY: nobody else has it, which `loom` checks.
            unsafe { *own += 1 };
            DeferredHandler::run(&self.half, deferred);
        });
    }
}
