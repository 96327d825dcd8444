//! Nor can it leave the one of a deferred half, or of work, or of a passive-level interrupt.

use wdm_interrupt::{
    Deferred, PassiveInterrupt, PassiveInterruptHandler, PassiveInterruptRegistration, Serviced,
    Work,
};

struct Handler;

impl PassiveInterruptHandler for Handler {
    fn service(&mut self, _interrupt: &PassiveInterrupt<'_>) -> Serviced {
        Serviced::Claimed
    }
}

fn by_deferred<'a>(deferred: &Deferred<'a, Handler>) -> &'a mut Handler {
    deferred.synchronize(|handler| handler)
}

fn by_work<'a>(work: &Work<'a, Handler>) -> &'a mut Handler {
    work.synchronize(|handler| handler)
}

fn by_passive(registration: &PassiveInterruptRegistration<Handler>) -> Option<&mut Handler> {
    registration.try_synchronize(|handler| handler)
}

fn main() {}
