//! The service routine and the deferred half. They are the same in every way to connect, and take down
//! where they run.

use core::fmt;

use wdm_interrupt::{
    Deferred, DeferredHandler, Dpc, Interrupt, InterruptHandler, Irql, PassiveInterrupt,
    PassiveInterruptHandler, Serviced, SharedDeferred, SharedDeferredHandler, SharedDpc,
    ThreadedDpc, Work, WorkHandler, WorkItem,
};
use wdm_support::{Window, current_processor, pause};

use crate::device::{Device, Model};

/// What the service routine owns.
#[derive(Debug)]
pub(crate) struct Isr {
    registers: Window,
    model: Model,
    /// How many messages there are, 0 on a line.
    messages: u32,
    counts: Counts,
}

/// What was counted.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) claimed: u64,
    pub(crate) runs: u64,
    pub(crate) enabled: bool,
    service: Places,
    deferred: Places,
    /// Which of several vectors or messages came.
    vectors: Set,
}

/// Where a routine has run.
#[derive(Clone, Copy, Debug, Default)]
struct Places {
    irqls: Set,
    processors: Set,
}

impl Counts {
    /// What two have counted.
    pub(crate) const fn with(mut self, other: Self) -> Self {
        self.claimed += other.claimed;
        self.runs += other.runs;
        self.enabled |= other.enabled;
        self.service.add(other.service);
        self.deferred.add(other.deferred);
        self.vectors.add(other.vectors);
        self
    }
}

impl Places {
    fn here() -> Self {
        let irqls = Set::of(Irql::current().to_raw().into());
        Self { irqls, processors: Set::of(current_processor()) }
    }

    const fn add(&mut self, other: Self) {
        self.irqls.add(other.irqls);
        self.processors.add(other.processors);
    }
}

/// A set of small numbers.
#[derive(Clone, Copy, Debug, Default)]
struct Set(u32);

impl Set {
    const fn of(number: u32) -> Self {
        Self(1 << (number % u32::BITS))
    }

    const fn add(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

impl Isr {
    /// A service routine for the device behind `registers`, given so many messages or none.
    pub(crate) fn new(registers: Window, model: Model, messages: u32) -> Self {
        Self { registers, model, messages, counts: Counts::default() }
    }

    /// What was counted.
    pub(crate) const fn counts(&self) -> Counts {
        self.counts
    }

    const fn device(&self) -> Device<'_> {
        Device::new(&self.registers, self.model)
    }

    fn serve(&mut self, vector: Option<usize>) -> bool {
        let claimed = self.device().acknowledge(self.messages > 0);
        if claimed {
            self.counts.claimed += 1;
            self.counts.service.add(Places::here());
            if let Some(vector) = vector.and_then(|vector| u32::try_from(vector).ok()) {
                self.counts.vectors.add(Set::of(vector));
            }
        }
        claimed
    }

    fn unmask(&mut self) {
        self.counts.enabled = true;
        self.device().enable(self.messages.max(1));
    }

    fn silence(&mut self) {
        self.counts.enabled = false;
        self.device().disable(self.messages > 0);
    }
}

/// A handler that has a service routine's part in it.
pub(crate) trait HasIsr: Send + 'static {
    fn isr(&mut self) -> &mut Isr;
}

impl HasIsr for Isr {
    fn isr(&mut self) -> &mut Isr {
        self
    }
}

/// A handler that is far too large for the kernel stack.
#[derive(Debug)]
pub(crate) struct Large {
    isr: Isr,
    /// The last interrupts, by their numbers.
    log: [u64; Self::LOG],
}

impl Large {
    const LOG: usize = 8192;

    /// Writes a service routine's part to `place`.
    ///
    /// # Safety
    ///
    /// It is zeroed memory for a `Large`, aligned, and nobody else's.
    pub(crate) unsafe fn write(place: *mut Self, isr: Isr) {
        // The log is zeroes already.
        // SAFETY: within the memory (caller).
        let part = unsafe { &raw mut (*place).isr };
        // SAFETY: as above.
        unsafe { part.write(isr) };
    }
}

impl HasIsr for Large {
    fn isr(&mut self) -> &mut Isr {
        &mut self.isr
    }
}

/// A service routine does the same whatever its deferred half is.
macro_rules! interrupt_handler {
    ($half:ty) => {
        impl InterruptHandler<$half> for Isr {
            fn service(&mut self, interrupt: &Interrupt<'_, $half>) -> Serviced {
                let message = interrupt.message().map(|message| message.index());
                let claimed = self.serve(interrupt.vector_index().or(message));
                if claimed {
                    interrupt.queue_deferred();
                }
                claimed.into()
            }

            fn enable(&mut self) {
                self.unmask();
            }

            fn disable(&mut self) {
                self.silence();
            }
        }
    };
}

interrupt_handler!(Dpc<Half>);
interrupt_handler!(ThreadedDpc<Half>);
interrupt_handler!(WorkItem<Half>);
interrupt_handler!(SharedDpc<Half>);

impl InterruptHandler<Dpc<Half>> for Large {
    fn service(&mut self, interrupt: &Interrupt<'_, Dpc<Half>>) -> Serviced {
        let number = self.isr.counts.claimed;
        #[expect(clippy::cast_possible_truncation, reason = "less than the log has")]
        let index = (number % Self::LOG as u64) as usize;
        self.log[index] = number;
        InterruptHandler::service(&mut self.isr, interrupt)
    }

    fn enable(&mut self) {
        self.isr.unmask();
    }

    fn disable(&mut self) {
        self.isr.silence();
    }
}

/// At `PASSIVE_LEVEL`, where it may wait, and does.
impl PassiveInterruptHandler<WorkItem<Half>> for Isr {
    fn service(&mut self, interrupt: &PassiveInterrupt<'_, WorkItem<Half>>) -> Serviced {
        pause(1);
        let claimed = self.serve(None);
        if claimed {
            interrupt.queue_deferred();
        }
        claimed.into()
    }

    fn enable(&mut self) {
        self.unmask();
    }

    fn disable(&mut self) {
        self.silence();
    }
}

/// The deferred half, a DPC or a work item.
#[derive(Debug)]
pub(crate) struct Half;

impl Half {
    const fn run(isr: &mut Isr, here: Places) {
        isr.counts.runs += 1;
        isr.counts.deferred.add(here);
    }
}

impl<H: HasIsr> DeferredHandler<H> for Half {
    fn run(&self, deferred: &Deferred<'_, H>) {
        let here = Places::here();
        deferred.synchronize(|handler| Self::run(handler.isr(), here));
    }
}

/// Of whichever messages have come since it ran last; it counts as one run, the first message's.
impl<H: HasIsr> SharedDeferredHandler<H> for Half {
    fn run(&self, deferred: &SharedDeferred<'_, H>) {
        let here = Places::here();
        if let Some(first) = deferred.get(0) {
            first.synchronize(|handler| Self::run(handler.isr(), here));
        }
    }
}

impl<H: HasIsr> WorkHandler<H> for Half {
    fn run(&self, work: &Work<'_, H>) {
        let here = Places::here();
        work.synchronize(|handler| Self::run(handler.isr(), here));
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "service routine {}, deferred half {}", self.service, self.deferred)?;
        if self.vectors.0 != 0 {
            write!(f, ", interrupts {}", self.vectors)?;
        }
        Ok(())
    }
}

impl fmt::Display for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at IRQL {} on processor {}", self.irqls, self.processors)
    }
}

impl fmt::Display for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let members = (0..u32::BITS).filter(|number| self.0 >> number & 1 == 1);
        for (index, number) in members.enumerate() {
            let before = if index == 0 { "" } else { "+" };
            write!(f, "{before}{number}")?;
        }
        Ok(())
    }
}
