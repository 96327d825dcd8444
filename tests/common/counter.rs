//! A handler that counts, and deferred halves made of closures.

use std::sync::atomic::{AtomicU32, Ordering};

use wdm_interrupt::{
    Deferred, DeferredHandler, Dpc, FunctionDevice, Interrupt, InterruptHandler, Serviced,
    ThreadedDpc, Work, WorkHandler, WorkItem,
};
use wdm_interrupt_model::host::Device;

/// A handler that claims everything, counts it, and queues its deferred half.
#[derive(Debug, Default)]
pub(crate) struct Counter {
    /// Claimed and not yet taken by the deferred half.
    pub(crate) events: u32,
    pub(crate) enabled: bool,
}

impl Counter {
    pub(crate) fn take(&mut self) -> u32 {
        std::mem::take(&mut self.events)
    }
}

macro_rules! queues {
    ($($half:ident)*) => { $(
        impl<T> InterruptHandler<$half<T>> for Counter {
            fn service(&mut self, interrupt: &Interrupt<'_, $half<T>>) -> Serviced {
                self.events += 1;
                interrupt.queue_deferred();
                Serviced::Claimed
            }

            fn enable(&mut self) {
                self.enabled = true;
            }

            fn disable(&mut self) {
                self.enabled = false;
            }
        }
    )* };
}

queues!(Dpc ThreadedDpc WorkItem);

impl InterruptHandler for Counter {
    fn service(&mut self, _interrupt: &Interrupt<'_>) -> Serviced {
        self.events += 1;
        Serviced::Claimed
    }
}

/// A deferred half that is a closure.
pub(crate) struct Doing<F>(pub(crate) F);

impl<F> DeferredHandler<Counter> for Doing<F>
where
    F: Fn(&Deferred<'_, Counter>) + Send + Sync + 'static,
{
    fn run(&self, deferred: &Deferred<'_, Counter>) {
        (self.0)(deferred);
    }
}

impl<F: Fn(&Work<'_, Counter>) + Send + Sync + 'static> WorkHandler<Counter> for Doing<F> {
    fn run(&self, work: &Work<'_, Counter>) {
        (self.0)(work);
    }
}

/// How often something ran, and how often at once.
#[derive(Debug, Default)]
pub(crate) struct Census {
    runs: AtomicU32,
    inside: AtomicU32,
    most: AtomicU32,
}

impl Census {
    /// Somebody runs, until what this gives is dropped.
    pub(crate) fn enter(&self) -> Inside<'_> {
        self.runs.fetch_add(1, Ordering::SeqCst);
        self.most.fetch_max(self.inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        Inside(self)
    }

    pub(crate) fn runs(&self) -> u32 {
        self.runs.load(Ordering::SeqCst)
    }

    pub(crate) fn inside(&self) -> u32 {
        self.inside.load(Ordering::SeqCst)
    }

    /// The most that ran at once.
    pub(crate) fn most(&self) -> u32 {
        self.most.load(Ordering::SeqCst)
    }
}

pub(crate) struct Inside<'a>(&'a Census);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.inside.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Something that the routines of a test share with it. It is there as long as they like.
pub(crate) fn shared<T: Default>() -> &'static T {
    Box::leak(Box::default())
}

/// The library's view of a device's function device object.
pub(crate) fn function_device(device: &Device) -> FunctionDevice {
    // SAFETY: it is there as long as the machine, and the tests end their registrations before.
    unsafe { FunctionDevice::new(device.function_device_object()) }.unwrap()
}
