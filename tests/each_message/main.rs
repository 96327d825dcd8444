//! One handler a message: who gets what, what comes back, and what runs in parallel.

#[path = "../common/mod.rs"]
mod common;

mod connecting;
mod deferred;
mod memory;
mod parallel;
mod teardown;

use common::Happened::Service;
use common::{Completion, Diary, Handler, physical_device};
use wdm_interrupt::{
    ConnectEachError, Dpc, EachMessage, InterruptResources, Irql, MessageRegistration,
};
use wdm_interrupt_model::host::{Device, kernel};

/// A diary for each handler.
fn diaries(count: usize) -> Vec<Diary> {
    (0..count).map(|_| Diary::default()).collect()
}

/// A request for as many messages as there are diaries.
fn each_message(device: &Device, diaries: &[Diary]) -> EachMessage {
    EachMessage::new(physical_device(device), u32::try_from(diaries.len()).unwrap())
}

fn connect(
    device: &Device,
    diaries: &[Diary],
) -> Result<MessageRegistration<Handler>, ConnectEachError<Handler>> {
    each_message(device, diaries).connect(|message| Handler::new(&diaries[message.index()]))
}

/// Handlers with a deferred half each, which write into the same diary.
fn connect_with_deferred(
    device: &Device,
    diaries: &[Diary],
) -> Result<MessageRegistration<Handler, Dpc<Completion>>, ConnectEachError<Handler, Dpc<Completion>>>
{
    each_message(device, diaries).connect_with_deferred(|message| {
        let diary = &diaries[message.index()];
        (Handler::new(diary), Dpc::new(Completion::new(diary)))
    })
}

/// How many messages the device's resources promise.
fn promised(device: &Device) -> u32 {
    // SAFETY: the model's lists are complete and stay until the device is stopped.
    let resources = unsafe {
        InterruptResources::from_start_device(device.raw_resources(), device.translated_resources())
    };
    resources.unwrap().message_count()
}

/// How often a handler's ISR was called, for whatever.
fn services(diary: &Diary) -> usize {
    diary.read().into_iter().filter(|happened| matches!(happened, Service(_))).count()
}

/// Runs `with` at `irql`.
fn at_irql<R>(irql: Irql, with: impl FnOnce() -> R) -> R {
    // SAFETY: raises, and lowers below.
    let old = unsafe { kernel::KfRaiseIrql(irql.to_raw()) };
    let result = with();
    // SAFETY: lowers to what it was.
    unsafe { kernel::KeLowerIrql(old) };
    result
}
