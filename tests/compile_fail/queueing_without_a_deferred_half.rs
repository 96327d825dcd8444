//! Without a deferred half there is nothing to queue.

use wdm_interrupt::{
    Interrupt, InterruptHandler, InterruptRegistration, PassiveInterrupt, PassiveInterruptHandler,
    PassiveInterruptRegistration, Serviced,
};

struct Handler;

impl InterruptHandler for Handler {
    fn service(&mut self, interrupt: &Interrupt<'_>) -> Serviced {
        interrupt.queue_deferred();
        Serviced::Claimed
    }
}

impl PassiveInterruptHandler for Handler {
    fn service(&mut self, interrupt: &PassiveInterrupt<'_>) -> Serviced {
        interrupt.queue_deferred();
        Serviced::Claimed
    }
}

fn queue(
    registration: &InterruptRegistration<Handler>,
    passive: &PassiveInterruptRegistration<Handler>,
) {
    registration.queue_deferred();
    passive.queue_deferred();
}

fn main() {}
