//! The service routine and its deferred half.
//!
//! How the device signals: raising a bit sets it in the interrupt status and asserts the line or,
//! if messages are enabled, sends one; it sends another for each further raise, also of a bit that
//! is set already. Acknowledging clears bits, and releases the line when none is left. So the
//! service routine acknowledges exactly what it has read. A bit raised after the read stays set:
//! on a line it keeps the level, and the routine is called again; as a message it has sent its
//! own. Nothing is lost, and no loop is needed. Two raises that one read sees count as one call,
//! and the message that then comes finds nothing: that is `NotMine`, and legal.

use alloc::collections::TryReserveError;
use alloc::vec::Vec;

use wdm_interrupt::{Deferred, DeferredHandler, Dpc, Interrupt, InterruptHandler, Serviced};

use crate::computation::Computation;
use crate::registers::{Bus, FACTORIAL_COMPLETE, Registers};

/// What the service routine owns. Everyone else reaches it through `synchronize` only.
#[derive(Debug)]
pub struct EduInterrupt<B> {
    registers: Registers<B>,
    mode: Mode,
    computation: Computation,
    counters: Counters,
}

/// What may be done with the registers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Mode {
    /// The device has power and is silenced: before it is enabled, and before it is disconnected.
    /// The service routine may look at it, and is then already, or still, called for others on the
    /// line.
    Silent,
    /// The device interrupts, and may be told to do something.
    Awake,
    /// The device is in D3, and its interrupt is reported inactive. Its registers are not there, so
    /// nobody may touch them.
    Asleep,
}

/// What a device was doing when it woke up.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Woken {
    /// It had not been asleep, so nothing has changed.
    WasAwake,
    /// Nothing.
    AtRest,
    /// It still computes what it was asked for before, and will interrupt.
    Busy,
}

/// What is counted from one START to the next.
#[derive(Debug)]
pub struct Counters {
    /// Interrupts that the device had raised.
    pub claimed: u64,
    /// Interrupts of others on the line, or for nothing.
    pub not_mine: u64,
    /// Claimed ones that came by line.
    pub line: u64,
    /// By message. Nonpaged, as all that the driver allocates, so the service routine may use it;
    /// as long as there are messages, which is known only when the device is started.
    pub messages: Vec<u64>,
    /// Runs of the deferred half.
    pub deferred_runs: u64,
    /// All interrupt status bits ever seen.
    pub status_seen: u32,
}

impl<B: Bus> EduInterrupt<B> {
    /// A handler for the device behind `registers`, which has been given this many messages.
    ///
    /// # Errors
    ///
    /// There is no memory for the counters.
    pub fn new(registers: Registers<B>, messages: usize) -> Result<Self, TryReserveError> {
        let mut by_message = Vec::new();
        // Never what aborts when memory is short: a driver fails the request instead.
        by_message.try_reserve_exact(messages)?;
        by_message.resize(messages, 0);
        Ok(Self {
            registers,
            mode: Mode::Silent,
            computation: Computation::None,
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

    /// Begins to compute the factorial of `number`. The device is not computing: the queue has one
    /// request begun at a time.
    ///
    /// A device that does not take orders any more is not told. That happens when it is silenced
    /// although it would not finish; whoever does that has the request begun again.
    pub fn compute(&mut self, number: u32) {
        if self.mode == Mode::Awake {
            self.computation.ask();
            self.registers.compute(number);
        }
    }

    /// Raises `bits`; `false` if the device sleeps.
    pub fn raise(&self, bits: u32) -> bool {
        let awake = self.mode == Mode::Awake;
        if awake {
            self.registers.raise(bits);
        }
        awake
    }

    /// The result, if the device has completed what it was asked for. Each is given once.
    fn take_result(&mut self) -> Option<u32> {
        self.counters.deferred_runs += 1;
        if !self.computation.is_complete(|| self.registers.is_busy()) {
            return None;
        }
        let factorial = self.registers.factorial();
        // Only a device that is still there afterwards has given this result. The request of one
        // that is gone stays in the queue until the removal is announced.
        if !self.registers.is_present() {
            return None;
        }
        self.computation.end();
        Some(factorial)
    }

    /// The device is about to lose its power, and has been silenced.
    pub const fn sleep(&mut self) {
        self.mode = Mode::Asleep;
    }

    /// The device has its power back; it does not interrupt yet. Whether it had been asleep.
    ///
    /// The edu device keeps its registers in D3. Most devices lose theirs: here is the place to
    /// write them again, before the device may interrupt.
    pub fn wake(&mut self) -> bool {
        let asleep = self.mode == Mode::Asleep;
        if asleep {
            self.mode = Mode::Silent;
        }
        asleep
    }

    /// What has become of what the device was computing when it fell asleep, which was given up.
    ///
    /// It has been enabled before: a device that is seen busy now will interrupt when it is done.
    pub fn take_stock(&mut self) -> Woken {
        if self.registers.is_busy() {
            self.computation.ask();
            Woken::Busy
        } else {
            Woken::AtRest
        }
    }

    /// What has been counted.
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }
}

impl<B: Bus, R: Requests> InterruptHandler<Dpc<Completion<R>>> for EduInterrupt<B> {
    fn service(&mut self, interrupt: &Interrupt<'_, Dpc<Completion<R>>>) -> Serviced {
        let raised = match self.mode {
            Mode::Silent | Mode::Awake => self.registers.raised(),
            Mode::Asleep => 0,
        };
        // Nothing: another device on the line. All ones: this one is gone. That cannot be a
        // status, for bit 8 is DMA's, which this driver does not use.
        if raised == 0 || raised == u32::MAX {
            self.counters.not_mine += 1;
            return Serviced::NotMine;
        }
        // Not read back, which would cost a round trip on the bus at every interrupt. Should the
        // write arrive after this routine's end, a level line calls it once more, for nothing:
        // `NotMine`, which is legal now and then.
        self.registers.acknowledge(raised);
        if raised & FACTORIAL_COMPLETE != 0 {
            self.computation.signal();
        }
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
        // What is to be done is in `computation`, not in the request, which is lost when one is
        // queued already.
        interrupt.queue_deferred();
        Serviced::Claimed
    }

    /// Lets the device interrupt.
    fn enable(&mut self) {
        self.mode = Mode::Awake;
        self.registers.unmask();
    }

    /// Silences the device. What it still computes is given up.
    fn disable(&mut self) {
        // Called again when the deferred half has ended, and also for a device that sleeps.
        if self.mode == Mode::Awake {
            self.mode = Mode::Silent;
            self.computation.end();
            self.registers.silence();
            self.registers.acknowledge(self.registers.raised());
            // On a level line a device that is not silenced yet when its service routine goes
            // would interrupt for ever.
            self.registers.flush();
        }
    }
}

/// The requests that the device computes for, as the deferred half sees them: the driver's queue.
///
/// Both are called at `DISPATCH_LEVEL`, on several processors at once.
pub trait Requests: Send + Sync + 'static {
    /// The device has computed: completes the request, unless it is gone, and makes the device
    /// free for the next.
    fn finish(&self, factorial: u32);

    /// Chooses the number that the device computes the factorial of next; `None` if there is none,
    /// the device is not free, or is held. Who gets a number must have the device compute it.
    fn begin(&self) -> Option<u32>;
}

/// The deferred half: completes the request, and has the device begin the next.
#[derive(Debug)]
pub struct Completion<R> {
    requests: R,
}

impl<R: Requests> Completion<R> {
    /// The deferred half for these requests.
    pub const fn new(requests: R) -> Self {
        Self { requests }
    }
}

impl<B: Bus, R: Requests> DeferredHandler<EduInterrupt<B>> for Completion<R> {
    fn run(&self, deferred: &Deferred<'_, EduInterrupt<B>>) {
        // This can run on two processors at once. `take_result` gives a result to one of them, and
        // nothing is asked for before that one has come to `begin`.
        let Some(factorial) = deferred.synchronize(EduInterrupt::take_result) else {
            return;
        };
        self.requests.finish(factorial);
        if let Some(number) = self.requests.begin() {
            deferred.synchronize(|handler| handler.compute(number));
        }
    }
}
