//! A handler outlives the function that connects it, so it must not borrow from it.

use wdm_interrupt::{Interrupt, InterruptHandler, LineBased, PhysicalDevice, Serviced};

struct Handler<'a> {
    count: &'a mut u32,
}

impl InterruptHandler for Handler<'_> {
    fn service(&mut self, _interrupt: &Interrupt<'_>) -> Serviced {
        *self.count += 1;
        Serviced::Claimed
    }
}

fn connect(device: PhysicalDevice) {
    let mut count = 0;
    let _ = LineBased::new(device).connect(Handler { count: &mut count });
}

fn main() {}
