//! The driver of the sequences: an ISR, a deferred half, and the registers of its device.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};

use wdm_interrupt::{
    Deferred, DeferredHandler, Dpc, Interrupt, InterruptHandler, Irql, PassiveInterrupt,
    PassiveInterruptHandler, Serviced, SharedDeferred, SharedDeferredHandler, SharedDpc,
    ThreadedDpc, Work, WorkHandler, WorkItem,
};

/// The registers of a device: a bit for each interrupt that has a reason.
#[derive(Debug, Default)]
pub(super) struct Registers {
    status: AtomicU32,
    gone: AtomicBool,
}

impl Registers {
    pub(super) fn pend(&self, index: usize) {
        self.status.fetch_or(1 << index, SeqCst);
    }

    /// From now on they read as all ones.
    pub(super) fn pull_out(&self) {
        self.gone.store(true, SeqCst);
    }

    fn read(&self) -> u32 {
        if self.gone.load(SeqCst) { u32::MAX } else { self.status.load(SeqCst) }
    }

    fn acknowledge(&self, bits: u32) {
        self.status.fetch_and(!bits, SeqCst);
    }
}

/// How often what was called, over all handlers of a connect.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Counts {
    pub(super) calls: u32,
    pub(super) claimed: u32,
    /// Of those claimed, what the deferred half took.
    pub(super) taken: u32,
    pub(super) enables: u32,
    pub(super) disables: u32,
}

/// Where the halves of a connect count.
#[derive(Debug, Default)]
pub(super) struct Log {
    calls: AtomicU32,
    claimed: AtomicU32,
    taken: AtomicU32,
    enables: AtomicU32,
    disables: AtomicU32,
}

impl Log {
    pub(super) fn counts(&self) -> Counts {
        Counts {
            calls: self.calls.load(SeqCst),
            claimed: self.claimed.load(SeqCst),
            taken: self.taken.load(SeqCst),
            enables: self.enables.load(SeqCst),
            disables: self.disables.load(SeqCst),
        }
    }
}

/// How many halves were made, and how many dropped.
#[derive(Clone, Debug, Default)]
pub(super) struct Census(Arc<[AtomicU32; 2]>);

impl Census {
    fn born(&self) -> Alive {
        self.0[0].fetch_add(1, SeqCst);
        Alive(self.clone())
    }

    /// Those alive: made, less each drop.
    pub(super) fn alive(&self) -> i64 {
        i64::from(self.0[0].load(SeqCst)) - i64::from(self.0[1].load(SeqCst))
    }
}

/// A half is alive.
#[derive(Debug)]
struct Alive(Census);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.0[1].fetch_add(1, SeqCst);
    }
}

/// The upper half of the driver.
#[derive(Debug)]
pub(super) struct Isr {
    registers: Arc<Registers>,
    log: Arc<Log>,
    /// Claimed, and not yet taken by the deferred half.
    pub(super) events: u32,
    /// The bits of the interrupts that it was connected to.
    mine: u32,
    _alive: Alive,
}

impl Isr {
    pub(super) fn new(
        registers: &Arc<Registers>,
        log: &Arc<Log>,
        census: &Census,
        mine: u32,
    ) -> Self {
        let (registers, log) = (Arc::clone(registers), Arc::clone(log));
        Self { registers, log, events: 0, mine, _alive: census.born() }
    }

    /// As a driver's: looks at what the interrupt can be about, and acknowledges that.
    fn serviced(&mut self, index: Option<usize>) -> Serviced {
        self.log.calls.fetch_add(1, SeqCst);
        let status = self.registers.read();
        let about = index.map_or(self.mine, |index| self.mine & 1 << index);
        if status == u32::MAX || status & about == 0 {
            return Serviced::NotMine;
        }
        self.registers.acknowledge(about);
        self.events += 1;
        self.log.claimed.fetch_add(1, SeqCst);
        Serviced::Claimed
    }

    /// Gives the deferred half something to do without an interrupt.
    pub(super) fn add(&mut self) {
        self.events += 1;
        self.log.claimed.fetch_add(1, SeqCst);
    }

    fn enabled(&self) {
        self.log.enables.fetch_add(1, SeqCst);
    }

    fn disabled(&self) {
        self.log.disables.fetch_add(1, SeqCst);
    }
}

/// Which interrupt it is, where the kernel tells.
fn index<D>(interrupt: &Interrupt<'_, D>) -> Option<usize> {
    let message = interrupt.message().map(wdm_interrupt::MessageId::index);
    message.or_else(|| interrupt.vector_index())
}

macro_rules! interrupt_handler {
    ($half:ty $(, $queue:ident)?) => {
        impl InterruptHandler<$half> for Isr {
            fn service(&mut self, interrupt: &Interrupt<'_, $half>) -> Serviced {
                assert!(Irql::current() > Irql::DISPATCH);
                let serviced = self.serviced(index(interrupt));
                $(if serviced == Serviced::Claimed {
                    interrupt.$queue();
                })?
                serviced
            }

            fn enable(&mut self) {
                self.enabled();
            }

            fn disable(&mut self) {
                self.disabled();
            }
        }
    };
}

interrupt_handler!(wdm_interrupt::NoDeferred);
interrupt_handler!(Dpc<Completion>, queue_deferred);
interrupt_handler!(ThreadedDpc<Completion>, queue_deferred);
interrupt_handler!(WorkItem<Completion>, queue_deferred);
interrupt_handler!(SharedDpc<Completion>, queue_deferred);

macro_rules! passive_handler {
    ($half:ty $(, $queue:ident)?) => {
        impl PassiveInterruptHandler<$half> for Isr {
            fn service(&mut self, interrupt: &PassiveInterrupt<'_, $half>) -> Serviced {
                assert_eq!(Irql::current(), Irql::PASSIVE);
                let message = interrupt.message().map(wdm_interrupt::MessageId::index);
                let serviced = self.serviced(message);
                $(if serviced == Serviced::Claimed {
                    interrupt.$queue();
                })?
                serviced
            }

            fn enable(&mut self) {
                self.enabled();
            }

            fn disable(&mut self) {
                self.disabled();
            }
        }
    };
}

passive_handler!(wdm_interrupt::NoDeferred);
passive_handler!(WorkItem<Completion>, queue_deferred);

/// The lower half of the driver: takes what there is.
#[derive(Debug)]
pub(super) struct Completion {
    log: Arc<Log>,
    _alive: Alive,
}

impl Completion {
    pub(super) fn new(log: &Arc<Log>, census: &Census) -> Self {
        Self { log: Arc::clone(log), _alive: census.born() }
    }

    fn takes(&self, events: u32) {
        self.log.taken.fetch_add(events, SeqCst);
    }
}

fn take(isr: &mut Isr) -> u32 {
    std::mem::take(&mut isr.events)
}

impl DeferredHandler<Isr> for Completion {
    fn run(&self, deferred: &Deferred<'_, Isr>) {
        self.takes(deferred.synchronize(take));
    }
}

impl WorkHandler<Isr> for Completion {
    fn run(&self, work: &Work<'_, Isr>) {
        assert_eq!(Irql::current(), Irql::PASSIVE);
        self.takes(work.synchronize(take));
    }
}

impl SharedDeferredHandler<Isr> for Completion {
    fn run(&self, deferred: &SharedDeferred<'_, Isr>) {
        assert_eq!(Irql::current(), Irql::DISPATCH);
        self.takes(deferred.iter().map(|message| message.synchronize(take)).sum());
    }
}
