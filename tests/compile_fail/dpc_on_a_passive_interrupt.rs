//! A passive-level interrupt has no DPC; its deferred half is a work item.

use wdm_interrupt::{
    Deferred, DeferredHandler, Dpc, PassiveInterrupt, PassiveInterruptHandler, PassiveLineBased,
    PhysicalDevice, Serviced,
};

struct Handler;
struct Completion;

impl PassiveInterruptHandler<Dpc<Completion>> for Handler {
    fn service(&mut self, _interrupt: &PassiveInterrupt<'_, Dpc<Completion>>) -> Serviced {
        Serviced::Claimed
    }
}

impl DeferredHandler<Handler> for Completion {
    fn run(&self, _deferred: &Deferred<'_, Handler>) {}
}

fn connect(device: PhysicalDevice) {
    let _ = PassiveLineBased::new(device).deferred(Dpc::new(Completion)).connect(Handler);
}

fn main() {}
