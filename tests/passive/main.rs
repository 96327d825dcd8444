//! Passive-level interrupts.

#[expect(dead_code, reason = "the diary is for other tests")]
#[path = "../common/mod.rs"]
mod common;
#[expect(dead_code, reason = "this has handlers of its own")]
#[path = "../common/counter.rs"]
mod counter;
#[expect(dead_code, reason = "nothing here must spin")]
#[path = "../common/gate.rs"]
mod gate;

mod connecting;
mod serving;
mod synchronizing;
mod work;

use std::panic::{AssertUnwindSafe, catch_unwind};

use common::physical_device;
use wdm_interrupt::{
    Interrupt, InterruptHandler, InterruptResource, InterruptResources, Irql, PassiveInterrupt,
    PassiveInterruptHandler, PassiveInterruptRegistration, PassiveLineBased, Serviced, Work,
    WorkHandler, WorkItem,
};
use wdm_interrupt_model::host::{Device, kernel};

/// A handler that does what a closure does, and writes down what is done to it.
struct Isr<F> {
    service: F,
    switches: Vec<&'static str>,
}

const fn isr<F>(service: F) -> Isr<F>
where
    F: FnMut(&PassiveInterrupt<'_>) -> Serviced + Send + 'static,
{
    Isr { service, switches: Vec::new() }
}

impl<F> PassiveInterruptHandler for Isr<F>
where
    F: FnMut(&PassiveInterrupt<'_>) -> Serviced + Send + 'static,
{
    fn service(&mut self, interrupt: &PassiveInterrupt<'_>) -> Serviced {
        (self.service)(interrupt)
    }

    fn enable(&mut self) {
        assert_eq!(Irql::current(), Irql::PASSIVE);
        self.switches.push("enable");
    }

    fn disable(&mut self) {
        assert_eq!(Irql::current(), Irql::PASSIVE);
        self.switches.push("disable");
    }
}

/// A handler that counts, and queues its work item if it has one.
#[derive(Debug, Default)]
struct Counter {
    events: u32,
}

impl PassiveInterruptHandler for Counter {
    fn service(&mut self, _interrupt: &PassiveInterrupt<'_>) -> Serviced {
        self.events += 1;
        Serviced::Claimed
    }
}

impl<T> PassiveInterruptHandler<WorkItem<T>> for Counter {
    fn service(&mut self, interrupt: &PassiveInterrupt<'_, WorkItem<T>>) -> Serviced {
        self.events += 1;
        interrupt.queue_deferred();
        Serviced::Claimed
    }
}

impl InterruptHandler for Counter {
    fn service(&mut self, _interrupt: &Interrupt<'_>) -> Serviced {
        self.events += 1;
        Serviced::Claimed
    }
}

/// Work that a closure does.
struct Working<F>(F);

impl<F: Fn(&Work<'_, Counter>) + Send + Sync + 'static> WorkHandler<Counter> for Working<F> {
    fn run(&self, work: &Work<'_, Counter>) {
        (self.0)(work);
    }
}

fn connect<H: PassiveInterruptHandler>(
    device: &Device,
    handler: H,
) -> PassiveInterruptRegistration<H> {
    PassiveLineBased::new(physical_device(device)).connect(handler).unwrap()
}

fn resource(device: &Device) -> InterruptResource {
    // SAFETY: the model's lists are complete and stay until the device is stopped.
    let resources = unsafe {
        InterruptResources::from_start_device(device.raw_resources(), device.translated_resources())
    };
    resources.unwrap().iter().next().unwrap()
}

/// What `f` panics with.
fn panic_of(f: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(f)).expect_err("it should have panicked");
    panic
        .downcast_ref::<String>()
        .cloned()
        .unwrap_or_else(|| (*panic.downcast_ref::<&str>().expect("a message")).to_owned())
}

/// Runs `with` at `irql`.
fn at_irql<R>(irql: Irql, with: impl FnOnce() -> R) -> R {
    // SAFETY: raises, and lowers below.
    let old = unsafe { kernel::KfRaiseIrql(irql.to_raw()) };
    let result = catch_unwind(AssertUnwindSafe(with));
    // SAFETY: lowers to what it was.
    unsafe { kernel::KeLowerIrql(old) };
    result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
