//! The handler cannot leave the closure that synchronises.

use wdm_interrupt::{Interrupt, InterruptHandler, InterruptRegistration, Serviced};

struct Handler;

impl InterruptHandler for Handler {
    fn service(&mut self, _interrupt: &Interrupt<'_>) -> Serviced {
        Serviced::Claimed
    }
}

fn keep(registration: &InterruptRegistration<Handler>) -> &mut Handler {
    registration.synchronize(|handler| handler)
}

fn main() {}
