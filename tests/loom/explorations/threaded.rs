//! A threaded DPC, which one thread runs at a time though the kernel can run it on two processors.

use std::sync::Arc;

use wdm_interrupt::{LineBased, ThreadedDpc};
use wdm_interrupt_model::exploration::Exploration;
use wdm_interrupt_model::machine::{self, Machine, Wiring, spawn};

use crate::device::{Hardware, physical_device};
use crate::halves::{Alone, Half, Handler};

#[test]
fn two_processors_take_turns() {
    Exploration { threads: "driver, ISR twice, DPC, DPC", preemptions: Some(2) }.run(|| {
        let machine = Machine::start(Wiring::LINE).with_dpc_processor().with_dpc_processor();
        let hardware = Hardware::silent();
        let half = ThreadedDpc::new(Alone::new(&hardware));
        let request = LineBased::new(physical_device()).deferred(half);
        let registration = request.connect(Handler::new(&hardware)).expect("connects");
        let device = Arc::clone(&hardware);
        let isr = spawn(move || [device.interrupt(), device.interrupt()]);
        isr.join().expect("no panic goes on");
        machine::flush();
        // Each request finds a run that begins after it.
        hardware.assert_all_completed();
        drop(registration);
        hardware.torn_down();
        machine.stop();
    });
}

#[test]
fn isr_threaded_dpc_and_drop() {
    Exploration { threads: "driver, ISR, DPC", preemptions: Some(4) }.run(|| {
        let machine = Machine::start(Wiring::LINE).with_dpc_processor();
        let hardware = Hardware::silent();
        let device = Arc::clone(&hardware);
        let isr = spawn(move || device.interrupt());
        let half = ThreadedDpc::new(Half::new(&hardware));
        let request = LineBased::new(physical_device()).deferred(half);
        let registration = request.connect(Handler::new(&hardware)).expect("connects");
        drop(registration);
        hardware.torn_down();
        hardware.assert_silent();
        isr.join().expect("no panic goes on");
        hardware.assert_all_completed();
        machine.stop();
    });
}
