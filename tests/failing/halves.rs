//! Handlers and deferred halves that are counted, and that know what was done to them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use wdm_interrupt::{
    Deferred, DeferredHandler, Dpc, Interrupt, InterruptHandler, PassiveInterrupt,
    PassiveInterruptHandler, Serviced, SharedDeferred, SharedDeferredHandler, SharedDpc,
    ThreadedDpc, Work, WorkHandler, WorkItem,
};

/// What became of all halves of one attempt to connect.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    handlers: Tally,
    halves: Tally,
    services: AtomicU32,
    runs: AtomicU32,
}

/// How many there were, and how many there are no more.
#[derive(Debug, Default)]
struct Tally {
    made: AtomicU32,
    dropped: AtomicU32,
}

impl Tally {
    fn made(&self) -> u32 {
        self.made.load(Ordering::SeqCst)
    }

    fn alive(&self) -> u32 {
        self.made() - self.dropped.load(Ordering::SeqCst)
    }
}

impl Ledger {
    /// How many handlers were made, and how many of them there are.
    pub(crate) fn handlers(&self) -> (u32, u32) {
        (self.0.handlers.made(), self.0.handlers.alive())
    }

    /// How many deferred halves were made, and how many of them there are.
    pub(crate) fn halves(&self) -> (u32, u32) {
        (self.0.halves.made(), self.0.halves.alive())
    }

    /// How often handlers serviced an interrupt.
    pub(crate) fn services(&self) -> u32 {
        self.0.services.load(Ordering::SeqCst)
    }

    /// How often deferred halves ran.
    pub(crate) fn runs(&self) -> u32 {
        self.0.runs.load(Ordering::SeqCst)
    }
}

/// What a handler has in it from its beginning on, and what must be found in it.
const SEAL: [u64; 3] = [0x0123_4567_89AB_CDEF, u64::MAX, 0xA5A5_5A5A_C3C3_3C3C];

/// A handler that claims everything and queues its deferred half if it has one.
#[derive(Debug)]
pub(crate) struct Handler {
    ledger: Ledger,
    seal: [u64; 3],
    /// Which message it was made for.
    pub(crate) number: usize,
    pub(crate) services: u32,
    pub(crate) enables: u32,
    pub(crate) disables: u32,
    /// How often its deferred half got at it.
    pub(crate) visits: u32,
}

impl Handler {
    pub(crate) fn new(ledger: &Ledger, number: usize) -> Self {
        ledger.0.handlers.made.fetch_add(1, Ordering::SeqCst);
        let ledger = ledger.clone();
        Self { ledger, seal: SEAL, number, services: 0, enables: 0, disables: 0, visits: 0 }
    }

    /// Checks that nothing else was written where the handler is.
    pub(crate) fn require_intact(&self) {
        assert_eq!(self.seal, SEAL, "the handler was overwritten");
    }

    fn serve(&mut self) -> Serviced {
        self.require_intact();
        self.services += 1;
        self.ledger.0.services.fetch_add(1, Ordering::SeqCst);
        Serviced::Claimed
    }

    fn visit(&mut self) {
        self.require_intact();
        assert!(self.enables > 0, "the deferred half runs before the handler is enabled");
        self.visits += 1;
    }

    fn switch_on(&mut self) {
        self.require_intact();
        assert_eq!(self.enables, self.disables.min(1), "enabled twice in a row");
        self.enables += 1;
    }

    fn switch_off(&mut self) {
        self.require_intact();
        assert!(self.enables > 0, "disabled and never enabled");
        self.disables += 1;
    }
}

impl Drop for Handler {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.require_intact();
        }
        self.ledger.0.handlers.dropped.fetch_add(1, Ordering::SeqCst);
    }
}

impl InterruptHandler for Handler {
    fn service(&mut self, _interrupt: &Interrupt<'_>) -> Serviced {
        self.serve()
    }

    fn enable(&mut self) {
        self.switch_on();
    }

    fn disable(&mut self) {
        self.switch_off();
    }
}

macro_rules! queues {
    ($($kind:ident)*) => { $(
        impl InterruptHandler<$kind<Half>> for Handler {
            fn service(&mut self, interrupt: &Interrupt<'_, $kind<Half>>) -> Serviced {
                interrupt.queue_deferred();
                self.serve()
            }

            fn enable(&mut self) {
                self.switch_on();
            }

            fn disable(&mut self) {
                self.switch_off();
            }
        }
    )* };
}

queues!(Dpc ThreadedDpc WorkItem SharedDpc);

impl PassiveInterruptHandler for Handler {
    fn service(&mut self, _interrupt: &PassiveInterrupt<'_>) -> Serviced {
        self.serve()
    }

    fn enable(&mut self) {
        self.switch_on();
    }

    fn disable(&mut self) {
        self.switch_off();
    }
}

impl PassiveInterruptHandler<WorkItem<Half>> for Handler {
    fn service(&mut self, interrupt: &PassiveInterrupt<'_, WorkItem<Half>>) -> Serviced {
        interrupt.queue_deferred();
        self.serve()
    }

    fn enable(&mut self) {
        self.switch_on();
    }

    fn disable(&mut self) {
        self.switch_off();
    }
}

/// A deferred half that gets at its handler, or at all of them.
#[derive(Debug)]
pub(crate) struct Half {
    ledger: Ledger,
    seal: [u64; 3],
}

impl Half {
    pub(crate) fn new(ledger: &Ledger) -> Self {
        ledger.0.halves.made.fetch_add(1, Ordering::SeqCst);
        Self { ledger: ledger.clone(), seal: SEAL }
    }

    /// Checks that nothing else was written where the half is.
    pub(crate) fn require_intact(&self) {
        assert_eq!(self.seal, SEAL, "the deferred half was overwritten");
    }

    fn ran(&self) {
        self.require_intact();
        self.ledger.0.runs.fetch_add(1, Ordering::SeqCst);
    }
}

impl Drop for Half {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.require_intact();
        }
        self.ledger.0.halves.dropped.fetch_add(1, Ordering::SeqCst);
    }
}

impl DeferredHandler<Handler> for Half {
    fn run(&self, deferred: &Deferred<'_, Handler>) {
        deferred.synchronize(Handler::visit);
        self.ran();
    }
}

impl SharedDeferredHandler<Handler> for Half {
    fn run(&self, deferred: &SharedDeferred<'_, Handler>) {
        for one in deferred.iter() {
            one.synchronize(Handler::visit);
        }
        self.ran();
    }
}

impl WorkHandler<Handler> for Half {
    fn run(&self, work: &Work<'_, Handler>) {
        work.synchronize(Handler::visit);
        self.ran();
    }
}

/// What comes back as the deferred half.
pub(crate) trait Inner: 'static {
    fn into_half(self) -> Option<Half>;
}

impl Inner for () {
    fn into_half(self) -> Option<Half> {
        None
    }
}

impl Inner for Half {
    fn into_half(self) -> Option<Half> {
        Some(self)
    }
}
