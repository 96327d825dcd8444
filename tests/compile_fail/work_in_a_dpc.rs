//! What is written for `PASSIVE_LEVEL` does not run at `DISPATCH_LEVEL`, nor the other way round.

use wdm_interrupt::{
    Deferred, DeferredHandler, Dpc, FunctionDevice, Interrupt, InterruptHandler, LineBased,
    PhysicalDevice, Serviced, ThreadedDpc, Work, WorkHandler, WorkItem,
};

struct Handler;
struct Waits;
struct Hurries;

impl<D> InterruptHandler<D> for Handler {
    fn service(&mut self, _interrupt: &Interrupt<'_, D>) -> Serviced {
        Serviced::Claimed
    }
}

impl WorkHandler<Handler> for Waits {
    fn run(&self, _work: &Work<'_, Handler>) {}
}

impl DeferredHandler<Handler> for Hurries {
    fn run(&self, _deferred: &Deferred<'_, Handler>) {}
}

fn connect(device: PhysicalDevice, function: FunctionDevice) {
    let _ = LineBased::new(device).deferred(Dpc::new(Waits)).connect(Handler);
    let _ = LineBased::new(device).deferred(ThreadedDpc::new(Waits)).connect(Handler);
    let _ = LineBased::new(device).deferred(WorkItem::new(function, Hurries)).connect(Handler);
}

fn main() {}
