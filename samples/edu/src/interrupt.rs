//! The service routine and its deferred half.
//!
//! How the device signals: raising a bit sets it in the interrupt status and asserts the line or,
//! if messages are enabled, sends one; it sends another for each further raise, also of a bit that
//! is set already. Acknowledging clears bits, and releases the line when none is left. So the
//! service routine acknowledges exactly what it has read. A bit raised after the read stays set:
//! on a line it keeps the level, and the routine is called again; as a message it has sent its
//! own. Nothing is lost, and no loop is needed. Two raises that one read sees count as one call,
//! and the message that then comes finds nothing: that is `NotMine`, and legal.

use alloc::vec::Vec;

use wdk_sys::{NTSTATUS, STATUS_INSUFFICIENT_RESOURCES};
use wdm_interrupt::{
    Deferred, DeferredHandler, Dpc, Interrupt, InterruptHandler, InterruptRegistration, Serviced,
};

use crate::device::DeviceRef;
use crate::registers::{FACTORIAL_COMPLETE, Registers};

/// The device's connection: an ISR with its deferred half.
pub(crate) type Registration = InterruptRegistration<EduInterrupt, Dpc<Completion>>;

/// What the service routine owns. Everyone else reaches it through `synchronize` only.
#[derive(Debug)]
pub(crate) struct EduInterrupt {
    registers: Registers,
    /// The device may be told to do something: it is connected, and not asleep.
    awake: bool,
    /// A factorial was completed, and the deferred half has not taken it yet.
    complete: bool,
    counters: Counters,
}

/// What is counted from one START to the next.
#[derive(Debug)]
pub(crate) struct Counters {
    pub(crate) claimed: u64,
    pub(crate) not_mine: u64,
    pub(crate) line: u64,
    /// By message. Nonpaged, as all that the driver allocates, so the service routine may use it;
    /// as long as there are messages, which is known only when the device is started.
    pub(crate) messages: Vec<u64>,
    pub(crate) deferred_runs: u64,
    pub(crate) status_seen: u32,
}

impl EduInterrupt {
    /// A handler for the device behind `registers`, which has been given this many messages.
    ///
    /// # Errors
    ///
    /// `STATUS_INSUFFICIENT_RESOURCES`: no memory for the counters.
    pub(crate) fn new(registers: Registers, messages: usize) -> Result<Self, NTSTATUS> {
        let mut by_message = Vec::new();
        // Never what aborts when memory is short: a driver fails the request instead.
        by_message.try_reserve_exact(messages).map_err(|_| STATUS_INSUFFICIENT_RESOURCES)?;
        by_message.resize(messages, 0);
        Ok(Self {
            registers,
            awake: false,
            complete: false,
            counters: Counters {
                claimed: 0,
                not_mine: 0,
                line: 0,
                messages: by_message,
                deferred_runs: 0,
                status_seen: 0,
            },
        })
    }

    /// Begins to compute the factorial of `number`. The device is not computing.
    pub(crate) fn compute(&mut self, number: u32) {
        // A completion that was not taken belongs to nobody any more.
        self.complete = false;
        self.registers.compute(number);
    }

    /// Raises `bits`; `false` if the device sleeps.
    pub(crate) fn raise(&self, bits: u32) -> bool {
        if self.awake {
            self.registers.raise(bits);
        }
        self.awake
    }

    /// The result, if the device has completed a factorial since the last one was begun.
    fn take_result(&mut self) -> Option<u32> {
        self.counters.deferred_runs += 1;
        // A device that still computes has not completed: the interrupt was of an earlier one.
        if !self.complete || self.registers.is_busy() {
            return None;
        }
        self.complete = false;
        let factorial = self.registers.factorial();
        // Only a device that is still there afterwards has given this result. The request of one
        // that is gone stays in the queue until the removal is announced.
        self.registers.is_present().then_some(factorial)
    }

    /// What has been counted.
    pub(crate) const fn counters(&self) -> &Counters {
        &self.counters
    }
}

impl InterruptHandler<Dpc<Completion>> for EduInterrupt {
    fn service(&mut self, interrupt: &Interrupt<'_, Dpc<Completion>>) -> Serviced {
        let raised = self.registers.raised();
        // Nothing: another device on the line. All ones: this one is gone, or asleep. That cannot
        // be a status, for bit 8 is DMA's, which this driver does not use.
        if raised == 0 || raised == u32::MAX {
            self.counters.not_mine += 1;
            return Serviced::NotMine;
        }
        self.registers.acknowledge(raised);
        self.complete |= raised & FACTORIAL_COMPLETE != 0;
        self.counters.claimed += 1;
        self.counters.status_seen |= raised;
        match interrupt.message() {
            None => self.counters.line += 1,
            Some(message) => {
                if let Some(counter) = self.counters.messages.get_mut(message.index()) {
                    *counter += 1;
                }
            }
        }
        // What is to be done is in `complete`, not in the request, which is lost when one is
        // queued already.
        interrupt.queue_deferred();
        Serviced::Claimed
    }

    /// Lets the device interrupt: when connected, and when it wakes up.
    fn enable(&mut self) {
        if !self.awake {
            self.awake = true;
            self.registers.unmask();
        }
    }

    /// Silences the device: before disconnecting, and before it sleeps.
    fn disable(&mut self) {
        if self.awake {
            self.awake = false;
            self.registers.silence();
            self.registers.acknowledge(self.registers.raised());
        }
    }
}

/// The deferred half: completes the request, and has the device begin the next.
#[derive(Debug)]
pub(crate) struct Completion {
    device: DeviceRef,
}

impl Completion {
    /// The deferred half for the requests of `device`.
    pub(crate) const fn new(device: DeviceRef) -> Self {
        Self { device }
    }
}

impl DeferredHandler<EduInterrupt> for Completion {
    fn run(&self, deferred: &Deferred<'_, EduInterrupt>) {
        // This can run on two processors at once. One of them gets the result.
        let Some(factorial) = deferred.synchronize(EduInterrupt::take_result) else {
            return;
        };
        let queue = &self.device.queue;
        queue.finish(factorial);
        if let Some(request) = queue.begin() {
            deferred.synchronize(|handler| handler.compute(request.number()));
        }
    }
}
