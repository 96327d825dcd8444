//! A handler and a deferred half that write down what happens to them.

use std::sync::{Arc, Mutex};

use wdm_interrupt::{
    Deferred, DeferredHandler, Dpc, Interrupt, InterruptHandler, Irql, MessageId, PhysicalDevice,
    Serviced,
};
use wdm_interrupt_model::host::Device;

/// What happened, in order.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Happened {
    Service(Option<MessageId>),
    Enable,
    Disable,
    Run,
    HandlerDropped,
    DeferredDropped,
}

use Happened::{DeferredDropped, Disable, Enable, HandlerDropped, Run, Service};

/// The diary of a handler and its deferred half, shared with the test.
#[derive(Clone, Debug, Default)]
pub(crate) struct Diary(Arc<Mutex<Vec<Happened>>>);

impl Diary {
    pub(crate) fn write(&self, happened: Happened) {
        self.0.lock().unwrap().push(happened);
    }

    pub(crate) fn read(&self) -> Vec<Happened> {
        self.0.lock().unwrap().clone()
    }

    pub(crate) fn count(&self, wanted: Happened) -> usize {
        self.read().into_iter().filter(|&happened| happened == wanted).count()
    }
}

/// A handler that claims everything, unless told otherwise, and queues its deferred half.
#[derive(Debug)]
pub(crate) struct Handler {
    pub(crate) diary: Diary,
    pub(crate) claims: bool,
    /// Claimed and not yet taken by the deferred half.
    pub(crate) events: u32,
    /// The IRQL at which it ran last.
    pub(crate) irql: Option<Irql>,
}

impl Handler {
    pub(crate) fn new(diary: &Diary) -> Self {
        Self { diary: diary.clone(), claims: true, events: 0, irql: None }
    }

    fn serviced(&mut self, message: Option<MessageId>) -> Serviced {
        self.diary.write(Service(message));
        self.irql = Some(Irql::current());
        self.events += u32::from(self.claims);
        self.claims.into()
    }
}

impl Drop for Handler {
    fn drop(&mut self) {
        self.diary.write(HandlerDropped);
    }
}

impl InterruptHandler for Handler {
    fn service(&mut self, interrupt: &Interrupt<'_>) -> Serviced {
        self.serviced(interrupt.message())
    }

    fn enable(&mut self) {
        self.diary.write(Enable);
    }

    fn disable(&mut self) {
        self.diary.write(Disable);
    }
}

impl InterruptHandler<Dpc<Completion>> for Handler {
    fn service(&mut self, interrupt: &Interrupt<'_, Dpc<Completion>>) -> Serviced {
        interrupt.queue_deferred();
        self.serviced(interrupt.message())
    }

    fn enable(&mut self) {
        self.diary.write(Enable);
    }

    fn disable(&mut self) {
        self.diary.write(Disable);
    }
}

/// A deferred half that takes the handler's events.
#[derive(Debug)]
pub(crate) struct Completion {
    pub(crate) diary: Diary,
    /// How many events it has taken.
    pub(crate) taken: Mutex<u32>,
}

impl Completion {
    pub(crate) fn new(diary: &Diary) -> Self {
        Self { diary: diary.clone(), taken: Mutex::new(0) }
    }
}

impl Drop for Completion {
    fn drop(&mut self) {
        self.diary.write(DeferredDropped);
    }
}

impl DeferredHandler<Handler> for Completion {
    fn run(&self, deferred: &Deferred<'_, Handler>) {
        assert_eq!(Irql::current(), Irql::DISPATCH);
        self.diary.write(Run);
        let events = deferred.synchronize(|handler| std::mem::take(&mut handler.events));
        *self.taken.lock().unwrap() += events;
    }
}

/// The library's view of a device of the model.
pub(crate) fn physical_device(device: &Device) -> PhysicalDevice {
    // SAFETY: the tests end their registrations before the device is stopped, and a device of the
    // model is there as long as its machine.
    unsafe { PhysicalDevice::new(device.physical_device_object()) }.unwrap()
}
