//! Disconnecting takes the registration, so nobody synchronises with what is gone.

use wdm_interrupt::{Interrupt, InterruptHandler, InterruptRegistration, Serviced};

struct Handler;

impl InterruptHandler for Handler {
    fn service(&mut self, _interrupt: &Interrupt<'_>) -> Serviced {
        Serviced::Claimed
    }
}

fn use_after(registration: InterruptRegistration<Handler>) {
    let _ = registration.disconnect();
    registration.synchronize(|_| ());
}

fn end_inside(registration: InterruptRegistration<Handler>) {
    registration.synchronize(|_| drop(registration));
}

fn main() {}
