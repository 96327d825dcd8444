//! The handler of one message, and its DPC.
//!
//! Handlers of other messages run at the same time on other processors. What this one has is its own
//! counters, under the lock of its message, and registers of which it touches its own causes' bits only.

use e1000e_interface::{CAUSES, MessageCounts, message_of};
use wdm_interrupt::{Deferred, DeferredHandler, Dpc, Interrupt, InterruptHandler, Serviced};
use wdm_support::current_processor;

use crate::registers::Causes;

/// What the service routine of one message owns.
#[derive(Debug)]
pub(crate) struct MessageHandler {
    registers: Causes,
    /// Which message it is; of a line, 0.
    message: usize,
    /// How many messages there are.
    messages: usize,
    counts: MessageCounts,
    enabled: bool,
}

impl MessageHandler {
    /// The handler of message `message`, of so many `messages`.
    pub(crate) fn new(registers: Causes, message: usize, messages: usize) -> Self {
        let counts = MessageCounts::default();
        Self { registers, message, messages, counts, enabled: false }
    }

    /// There are so many messages, and not as many as were promised: a handler has other causes now.
    pub(crate) fn divide(&mut self, messages: usize) {
        self.messages = messages;
        if self.enabled {
            self.enable();
        }
    }

    /// What has been counted.
    pub(crate) const fn counts(&self) -> MessageCounts {
        self.counts
    }

    /// Its causes, bit 0 for cause 0.
    fn causes(&self) -> u32 {
        (0..CAUSES)
            .filter(|cause| message_of(*cause, self.messages) == self.message)
            .fold(0, |causes, cause| causes | 1 << cause)
    }
}

impl InterruptHandler<Dpc<Tally>> for MessageHandler {
    fn service(&mut self, interrupt: &Interrupt<'_, Dpc<Tally>>) -> Serviced {
        // Nothing: another device on the line, or a message that came late. All ones: the device is
        // gone.
        let raised = self.registers.raised().unwrap_or(0) & self.causes();
        if raised == 0 {
            self.counts.not_mine += 1;
            return Serviced::NotMine;
        }
        // On a line, reading has cleared them. Writing, too, could clear what has been raised since.
        if interrupt.message().is_some() {
            self.registers.acknowledge(raised);
        }
        self.counts.serviced += 1;
        self.counts.causes |= u64::from(raised);
        self.counts.processors |= 1 << (current_processor() % u64::BITS);
        interrupt.queue_deferred();
        Serviced::Claimed
    }

    /// Lets its causes interrupt.
    fn enable(&mut self) {
        self.enabled = true;
        let messages = self.messages;
        self.registers.unmask(self.causes(), |cause| message_of(cause, messages));
    }

    /// Silences its causes.
    fn disable(&mut self) {
        self.enabled = false;
        self.registers.silence(self.causes());
    }
}

/// The deferred half of a message: nothing but a count of its runs.
#[derive(Debug)]
pub(crate) struct Tally;

impl DeferredHandler<MessageHandler> for Tally {
    fn run(&self, deferred: &Deferred<'_, MessageHandler>) {
        deferred.synchronize(|handler| handler.counts.deferred_runs += 1);
    }
}
