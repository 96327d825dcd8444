//! A work item that a DPC asks for.

use std::sync::Arc;

use wdm_interrupt::{FunctionDevice, LineBased, WorkItem};
use wdm_interrupt_model::exploration::Exploration;
use wdm_interrupt_model::machine::{self, Delivery, Machine, Wiring, spawn};

use crate::device::{Hardware, physical_device};
use crate::halves::{Half, Handler};

/// The deferred half, as a work item.
pub(crate) fn work_item(hardware: &Arc<Hardware>) -> WorkItem<Half> {
    // SAFETY: nobody asks anything of it, and it stays.
    let function = unsafe { FunctionDevice::new(machine::device()) }.expect("it is not null");
    WorkItem::new(function, Half::new(hardware))
}

#[test]
fn isr_dpc_work_item_and_drop() {
    Exploration { threads: "driver, ISR, DPC, worker", preemptions: Some(2) }.run(|| {
        let machine = Machine::start(Wiring::LINE).with_dpc_processor().with_worker();
        let hardware = Hardware::silent();
        let device = Arc::clone(&hardware);
        let isr = spawn(move || device.interrupt());
        let request = LineBased::new(physical_device()).deferred(work_item(&hardware));
        let registration = request.connect(Handler::new(&hardware)).expect("connects");
        drop(registration);
        hardware.torn_down();
        hardware.assert_silent();
        isr.join().expect("no panic goes on");
        hardware.assert_all_completed();
        machine.stop();
    });
}

#[test]
fn an_isr_before_connect_has_returned() {
    Exploration { threads: "driver, ISR, DPC, worker", preemptions: Some(2) }.run(|| {
        let machine = Machine::start(Wiring::LINE).with_dpc_processor().with_worker();
        let hardware = Hardware::enabled_by_firmware();
        let device = Arc::clone(&hardware);
        let isr = spawn(move || device.interrupt());
        let request = LineBased::new(physical_device()).deferred(work_item(&hardware));
        let registration = request.connect(Handler::new(&hardware)).expect("connects");
        isr.join().expect("no panic goes on");
        drop(registration);
        hardware.torn_down();
        hardware.assert_all_completed();
        machine.stop();
    });
}

#[test]
fn what_was_claimed_before_the_teardown_is_completed() {
    Exploration { threads: "driver and ISR twice and DPC, worker", preemptions: Some(3) }.run(
        || {
            let machine = Machine::start(Wiring::LINE).with_worker();
            let hardware = Hardware::silent();
            let request = LineBased::new(physical_device()).deferred(work_item(&hardware));
            let registration = request.connect(Handler::new(&hardware)).expect("connects");
            for _interrupt in 0..2 {
                // The second is asked for while the first runs, or before, or after.
                assert_eq!(hardware.interrupt(), Delivery::Claimed);
                machine::flush();
            }
            drop(registration);
            hardware.torn_down();
            hardware.assert_all_completed();
            machine.stop();
        },
    );
}
