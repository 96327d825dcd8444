//! What the ISR is told lives as long as the ISR runs.

use wdm_interrupt::{Interrupt, PassiveInterrupt};

fn keep<'a>(interrupt: &'a Interrupt<'a>) -> &'static Interrupt<'static> {
    interrupt
}

fn keep_passive<'a>(interrupt: &'a PassiveInterrupt<'a>) -> &'static PassiveInterrupt<'static> {
    interrupt
}

fn main() {}
