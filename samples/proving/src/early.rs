//! An interrupt inside `IoConnectInterruptEx`: the device holds its line before there is a service routine.

use core::sync::atomic::{AtomicU32, Ordering};

use wdk_sys::{NTSTATUS, STATUS_IO_TIMEOUT};
use wdm_interrupt::{
    Deferred, DeferredHandler, Dpc, Interrupt, InterruptHandler, LineBased, Serviced,
};
use wdm_support::Start;

use crate::clock::wait_until;
use crate::edu::{BIT, Edu, Shared};

/// Runs of the deferred half.
static RUNS: AtomicU32 = AtomicU32::new(0);

#[derive(Debug)]
struct Handler {
    registers: Shared,
    claimed: u32,
    /// What was claimed, and what the deferred half had done, when this was enabled: the first thing that
    /// happens once `IoConnectInterruptEx` has returned.
    at_enable: Option<(u32, u32)>,
}

impl InterruptHandler<Dpc<Half>> for Handler {
    fn service(&mut self, interrupt: &Interrupt<'_, Dpc<Half>>) -> Serviced {
        let claimed = self.registers.take().is_some();
        if claimed {
            self.claimed += 1;
            interrupt.queue_deferred();
        }
        claimed.into()
    }

    fn enable(&mut self) {
        self.at_enable.get_or_insert_with(|| (self.claimed, RUNS.load(Ordering::SeqCst)));
    }

    fn disable(&mut self) {
        self.registers.silence();
    }
}

/// The deferred half: counts.
#[derive(Debug)]
struct Half;

impl DeferredHandler<Handler> for Half {
    fn run(&self, deferred: &Deferred<'_, Handler>) {
        deferred.synchronize(|_| RUNS.fetch_add(1, Ordering::SeqCst));
    }
}

/// Raises first and connects then. On one processor, the line's, the interrupt comes before the call of
/// the kernel has returned.
pub(crate) fn play(start: &Start<'_>) -> Result<(), NTSTATUS> {
    let device = Edu::map(start)?;
    device.raise(BIT);
    // SAFETY: the registration ends below, before the device is dropped.
    let handler = Handler { registers: unsafe { device.share() }, claimed: 0, at_enable: None };
    let request = LineBased::new(start.physical).deferred(Dpc::new(Half));
    let registration = request.connect(handler).map_err(|error| {
        wdk::println!("proving: {error}");
        error.status()
    })?;
    let (claimed, at_enable) =
        registration.synchronize(|handler| (handler.claimed, handler.at_enable));
    let ran = wait_until(|| RUNS.load(Ordering::SeqCst) > 0);
    drop(registration);
    let (Some((early, parked)), true) = (at_enable, ran) else {
        wdk::println!(
            "proving: early: {claimed} claimed, {at_enable:?} when enabled, and the deferred half ran: {ran}"
        );
        return Err(STATUS_IO_TIMEOUT);
    };
    wdk::println!(
        "proving: early: {early} claimed and {parked} completed inside the call, \
         {claimed} claimed and {} completed after it",
        RUNS.load(Ordering::SeqCst)
    );
    Ok(())
}
