//! Several vectors with one handler, each connected by itself, under one lock.

use loom::sync::Arc;
use loom::thread::JoinHandle;
use wdm_interrupt::{Dpc, FullySpecified, InterruptResource, InterruptResources};
use wdm_interrupt_model::exploration::Exploration;
use wdm_interrupt_model::machine::{Delivery, Machine, Wiring, spawn};

use crate::device::{Hardware, physical_device};
use crate::halves::{Half, Handler};

/// Two lines.
const WIRING: Wiring = Wiring::lines(2);

/// What START brings for them.
fn resources() -> Vec<InterruptResource> {
    let list = WIRING.resources();
    let resources = InterruptResources::parse(&list, &list).expect("a list");
    resources.iter().collect()
}

/// The device interrupts on each vector once.
fn interrupt(hardware: &std::sync::Arc<Hardware>) -> [JoinHandle<Delivery>; 2] {
    [0, 1].map(|vector| {
        let device = std::sync::Arc::clone(hardware);
        spawn(move || device.interrupt_on(vector))
    })
}

/// The end of an orderly teardown.
fn end(hardware: &Hardware, isrs: [JoinHandle<Delivery>; 2], machine: Machine) {
    hardware.torn_down();
    hardware.assert_silent();
    for isr in isrs {
        isr.join().expect("no panic goes on");
    }
    hardware.assert_all_completed();
    machine.stop();
}

#[test]
fn isrs_on_two_vectors_synchronize_and_drop() {
    let threads = "driver, synchronize, ISR, another vector's ISR";
    Exploration { threads, preemptions: Some(3) }.run(|| {
        let machine = Machine::start(WIRING);
        let hardware = Hardware::silent();
        let isrs = interrupt(&hardware);
        let resources = resources();
        let request = FullySpecified::several(physical_device(), &resources);
        let registration = Arc::new(request.connect(Handler::new(&hardware)).expect("connects"));
        let shared = Arc::clone(&registration);
        // Whoever lets go of it last tears it down.
        let other = spawn(move || shared.synchronize(Handler::complete));
        drop(registration);
        other.join().expect("no panic goes on");
        end(&hardware, isrs, machine);
    });
}

#[test]
fn isrs_on_two_vectors_dpc_and_drop() {
    let threads = "driver, ISR, another vector's ISR, DPC";
    Exploration { threads, preemptions: Some(3) }.run(|| {
        let machine = Machine::start(WIRING).with_dpc_processor();
        let hardware = Hardware::silent();
        let isrs = interrupt(&hardware);
        let resources = resources();
        let request = FullySpecified::several(physical_device(), &resources);
        let half = Dpc::new(Half::new(&hardware));
        let connected = request.deferred(half).connect(Handler::new(&hardware));
        drop(connected.expect("connects"));
        end(&hardware, isrs, machine);
    });
}
