//! A fake device, a handler for it and a deferred half, which watch what is done to them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};

use wdm_interrupt::{
    Deferred, DeferredHandler, Dpc, FunctionDevice, Interrupt, InterruptHandler, MessageId,
    PassiveInterrupt, PassiveInterruptHandler, PhysicalDevice, Serviced, SharedDeferred,
    SharedDeferredHandler, SharedDpc, ThreadedDpc, Work, WorkHandler, WorkItem,
};
use wdm_interrupt_model::host::{self, Delivery, Device, Machine, Registers};

/// A device with a status bit for each of its interrupts.
pub(crate) struct Hardware {
    registers: Registers<Status>,
    pub(crate) device: Device,
}

struct Status {
    interrupts: bool,
    raised: u32,
}

impl Hardware {
    pub(crate) fn new(device: Device) -> Arc<Self> {
        let registers = Registers::new(Status { interrupts: false, raised: 0 });
        Arc::new(Self { registers, device })
    }

    /// Raises an interrupt, on a processor that the seed chooses, if it has been told to interrupt.
    pub(crate) fn raise(&self, machine: &Machine, index: usize) {
        let raises = self.registers.access(|status| {
            if status.interrupts {
                status.raised |= 1 << index;
            }
            status.interrupts
        });
        if raises {
            let processor = machine.choose(2);
            let _delivery: Delivery = self.device.raise_on(processor, index);
        }
    }

    /// Takes a status bit back, and says whether it was there.
    fn acknowledge(&self, index: usize) -> bool {
        self.registers.access(|status| {
            let was = status.raised;
            status.raised &= !(1 << index);
            status.raised != was
        })
    }

    /// Lets it interrupt, or silences it.
    pub(crate) fn set_interrupts(&self, interrupts: bool) {
        self.registers.access(|status| {
            status.interrupts = interrupts;
            if !interrupts {
                status.raised = 0;
            }
        });
    }

    /// The library's view of it.
    pub(crate) fn physical(&self) -> PhysicalDevice {
        // SAFETY: the tests end their registrations before the machine is gone.
        unsafe { PhysicalDevice::new(self.device.physical_device_object()) }.unwrap()
    }

    /// The library's view of its function device object.
    pub(crate) fn function(&self) -> FunctionDevice {
        // SAFETY: as above.
        unsafe { FunctionDevice::new(self.device.function_device_object()) }.unwrap()
    }
}

/// What is true of a registration whatever happens.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    /// Set by the test when the registration's end has returned: nothing of it runs any more.
    over: AtomicBool,
    claimed: AtomicU32,
    not_mine: AtomicU32,
    taken: AtomicU32,
    handlers_dropped: AtomicU32,
    halves_dropped: AtomicU32,
}

impl Watch {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    fn require_not_over(&self, what: &str) {
        assert!(!self.over.load(SeqCst), "{what} after the registration's end returned");
    }

    /// The registration's end has returned.
    pub(crate) fn is_over(&self) {
        self.over.store(true, SeqCst);
    }

    pub(crate) fn claimed(&self) -> u32 {
        self.claimed.load(SeqCst)
    }

    pub(crate) fn not_mine(&self) -> u32 {
        self.not_mine.load(SeqCst)
    }

    pub(crate) fn taken(&self) -> u32 {
        self.taken.load(SeqCst)
    }

    /// Nothing claimed was lost, and so many handlers and halves were dropped, each once.
    pub(crate) fn require_accounts(&self, handlers: u32, halves: u32) {
        assert_eq!(self.taken(), self.claimed(), "taken, and claimed");
        let dropped = (self.handlers_dropped.load(SeqCst), self.halves_dropped.load(SeqCst));
        assert_eq!(dropped, (handlers, halves), "dropped");
    }
}

/// A handler that claims what its device has raised and counts it.
pub(crate) struct Handler {
    hardware: Arc<Hardware>,
    pub(crate) watch: Arc<Watch>,
    /// The one interrupt that it is for, or all.
    index: Option<usize>,
    /// Claimed, and not yet taken by the deferred half.
    events: u32,
    /// Somebody has a `&mut` to it.
    inside: AtomicBool,
}

impl Handler {
    pub(crate) fn new(hardware: &Arc<Hardware>, watch: &Arc<Watch>) -> Self {
        let (hardware, watch) = (Arc::clone(hardware), Arc::clone(watch));
        Self { hardware, watch, index: None, events: 0, inside: AtomicBool::new(false) }
    }

    /// A handler for one of the messages.
    pub(crate) const fn of_message(mut self, message: MessageId) -> Self {
        self.index = Some(message.index());
        self
    }

    /// Does something with the handler, which nobody else has meanwhile.
    fn alone<R>(&mut self, with: impl FnOnce(&mut Self) -> R) -> R {
        assert!(!self.inside.swap(true, SeqCst), "two have a &mut to a handler");
        host::point();
        let result = with(self);
        host::point();
        self.inside.store(false, SeqCst);
        result
    }

    fn serve(&mut self, message: Option<MessageId>) -> bool {
        self.watch.require_not_over("a service routine");
        self.alone(|handler| {
            let index = handler.index.or_else(|| message.map(MessageId::index)).unwrap_or(0);
            let claimed = handler.hardware.acknowledge(index);
            handler.events += u32::from(claimed);
            let count = if claimed { &handler.watch.claimed } else { &handler.watch.not_mine };
            count.fetch_add(1, SeqCst);
            claimed
        })
    }

    /// What has been claimed since it was last taken.
    pub(crate) fn take(&mut self) -> u32 {
        self.watch.require_not_over("a synchronised access");
        self.alone(|handler| std::mem::take(&mut handler.events))
    }

    /// Puts what is left in it on the account, where it is handed back.
    pub(crate) fn hand_back(&mut self) -> u32 {
        let left = std::mem::take(&mut self.events);
        self.watch.taken.fetch_add(left, SeqCst);
        left
    }

    fn switch(&mut self, interrupts: bool) {
        self.watch.require_not_over("enabling or disabling");
        self.alone(|handler| handler.hardware.set_interrupts(interrupts));
    }
}

impl Drop for Handler {
    fn drop(&mut self) {
        assert!(!self.inside.load(SeqCst), "dropped while somebody has a &mut to it");
        self.watch.handlers_dropped.fetch_add(1, SeqCst);
    }
}

/// The deferred half: takes what the handler has claimed.
#[derive(Debug)]
pub(crate) struct Half {
    watch: Arc<Watch>,
}

impl Half {
    pub(crate) fn new(watch: &Arc<Watch>) -> Self {
        Self { watch: Arc::clone(watch) }
    }

    fn take(&self, take: impl FnOnce() -> u32) {
        self.watch.require_not_over("a deferred half");
        host::point();
        let events = take();
        host::point();
        self.watch.taken.fetch_add(events, SeqCst);
        self.watch.require_not_over("a deferred half");
    }
}

impl Drop for Half {
    fn drop(&mut self) {
        self.watch.halves_dropped.fetch_add(1, SeqCst);
    }
}

impl DeferredHandler<Handler> for Half {
    fn run(&self, deferred: &Deferred<'_, Handler>) {
        self.take(|| deferred.synchronize(Handler::take));
    }
}

impl WorkHandler<Handler> for Half {
    fn run(&self, work: &Work<'_, Handler>) {
        self.take(|| work.synchronize(Handler::take));
    }
}

impl SharedDeferredHandler<Handler> for Half {
    fn run(&self, deferred: &SharedDeferred<'_, Handler>) {
        self.take(|| deferred.iter().map(|message| message.synchronize(Handler::take)).sum());
    }
}

macro_rules! queues_its_half {
    ($($trait:ident, $interrupt:ident: $($half:ident)*;)*) => { $($(
        impl $trait<$half<Half>> for Handler {
            fn service(&mut self, interrupt: &$interrupt<'_, $half<Half>>) -> Serviced {
                let claimed = self.serve(interrupt.message());
                if claimed {
                    interrupt.queue_deferred();
                }
                claimed.into()
            }

            fn enable(&mut self) {
                self.switch(true);
            }

            fn disable(&mut self) {
                self.switch(false);
            }
        }
    )*)* };
}

queues_its_half! {
    InterruptHandler, Interrupt: Dpc ThreadedDpc WorkItem SharedDpc;
    PassiveInterruptHandler, PassiveInterrupt: WorkItem;
}
