//! The ISR runs on any processor, so what a handler owns must be `Send`.

use std::rc::Rc;

use wdm_interrupt::{
    Interrupt, InterruptHandler, PassiveInterrupt, PassiveInterruptHandler, Serviced,
};

struct Handler {
    shared: Rc<u32>,
}

impl InterruptHandler for Handler {
    fn service(&mut self, _interrupt: &Interrupt<'_>) -> Serviced {
        Serviced::from(*self.shared > 0)
    }
}

struct Passive {
    shared: Rc<u32>,
}

impl PassiveInterruptHandler for Passive {
    fn service(&mut self, _interrupt: &PassiveInterrupt<'_>) -> Serviced {
        Serviced::from(*self.shared > 0)
    }
}

fn main() {}
