//! The requests of the sequences, each with the half it is asked to have.

use std::sync::Arc;

use wdm_interrupt::{
    ConnectEachError, ConnectError, ConnectErrorKind, DeferredHalf, DeferredKind, Dpc, EachMessage,
    FullySpecified, InterruptHandler, InterruptRegistration, InterruptResource, InterruptResources,
    LineBased, MessageBased, MessageHalf, MessageId, MessageRegistration, NoDeferred,
    PassiveFullySpecified, PassiveHalf, PassiveInterruptHandler, PassiveInterruptRegistration,
    PassiveLineBased, PhysicalDevice, SharedDpc, ThreadedDpc, WorkItem,
};
use wdm_interrupt_model::host::Device;

use super::driver::{Census, Completion, Isr, Log, Registers};
use super::operation::{Half, Request};
use super::registered::{Kept, Registered, Registration, Returned, of_messages};
use crate::common::physical_device;
use crate::counter::function_device;

/// What comes of a connect: a registration, or why not and what came back.
pub(super) type Outcome = Result<Box<dyn Registered>, (ConnectErrorKind, Returned)>;

/// All bits that a device has.
const EVERY: u32 = 0xFFFF;

/// What a driver connects with.
pub(super) struct Driver<'a> {
    pub(super) device: &'a Device,
    pub(super) registers: &'a Arc<Registers>,
    pub(super) log: &'a Arc<Log>,
    pub(super) census: &'a Census,
}

impl Driver<'_> {
    /// Connects with the half that [`Request::half`] says.
    pub(super) fn connect(&self, request: Request, half: Half) -> Outcome {
        match (request, half) {
            (Request::EachMessage { fall_back }, half) => self.connect_each(fall_back, half),
            (
                Request::PassiveLineBased
                | Request::PassiveFullySpecified
                | Request::PassiveMessageBased,
                Half::None,
            ) => self.connect_passive(request, NoDeferred),
            (
                Request::PassiveLineBased
                | Request::PassiveFullySpecified
                | Request::PassiveMessageBased,
                _,
            ) => self.connect_passive(request, self.work_item()),
            (_, Half::None) => self.connect_one(request, NoDeferred),
            (_, Half::ThreadedDpc) => self.connect_one(request, ThreadedDpc::new(self.half())),
            (_, Half::WorkItem) => self.connect_one(request, self.work_item()),
            (_, Half::Dpc | Half::SharedDpc) => self.connect_one(request, Dpc::new(self.half())),
        }
    }

    fn half(&self) -> Completion {
        Completion::new(self.log, self.census)
    }

    fn work_item(&self) -> WorkItem<Completion> {
        WorkItem::new(function_device(self.device), self.half())
    }

    fn isr(&self, mine: u32) -> Isr {
        Isr::new(self.registers, self.log, self.census, mine)
    }

    fn physical_device(&self) -> PhysicalDevice {
        physical_device(self.device)
    }

    fn lists(&self) -> InterruptResources<'_> {
        let (raw, translated) = (self.device.raw_resources(), self.device.translated_resources());
        // SAFETY: the model's lists are complete and stay until the device is stopped.
        unsafe { InterruptResources::from_start_device(raw, translated) }.unwrap()
    }

    fn resources(&self) -> Vec<InterruptResource> {
        self.lists().iter().collect()
    }

    fn connect_one<D>(&self, request: Request, half: D) -> Outcome
    where
        D: DeferredKind + DeferredHalf<Isr>,
        Isr: InterruptHandler<D>,
        InterruptRegistration<Isr, D>: Registration,
    {
        let device = self.physical_device();
        let connected = match request {
            Request::LineBased => LineBased::new(device).deferred(half).connect(self.isr(EVERY)),
            Request::FullySpecified(number) => {
                let resources = self.resources();
                let index = number.index().min(resources.len() - 1);
                let request = FullySpecified::new(device, resources[index]).deferred(half);
                request.connect(self.isr(1 << index))
            }
            Request::SeveralFullySpecified => {
                let resources = self.resources();
                let request = FullySpecified::several(device, &resources).deferred(half);
                request.connect(self.isr(EVERY))
            }
            Request::MessageBased { fall_back: false } => {
                MessageBased::new(device).deferred(half).connect(self.isr(EVERY))
            }
            Request::MessageBased { fall_back: true } => {
                let request = MessageBased::new(device).fall_back_to_line().deferred(half);
                request.connect(self.isr(EVERY))
            }
            _ => unreachable!("{request:?} is another function's"),
        };
        kept(connected.map_err(IntoParts::into_parts))
    }

    fn connect_passive<D>(&self, request: Request, half: D) -> Outcome
    where
        D: DeferredKind + PassiveHalf<Isr>,
        Isr: PassiveInterruptHandler<D>,
        PassiveInterruptRegistration<Isr, D>: Registration,
    {
        let device = self.physical_device();
        let isr = self.isr(EVERY);
        let connected = match request {
            Request::PassiveLineBased => PassiveLineBased::new(device).deferred(half).connect(isr),
            Request::PassiveFullySpecified => {
                let resource = self.resources()[0];
                PassiveFullySpecified::new(device, resource).deferred(half).connect(isr)
            }
            Request::PassiveMessageBased => {
                wdm_interrupt::ExperimentalPassiveMessageBased::new(device)
                    .deferred(half)
                    .connect(isr)
            }
            _ => unreachable!("{request:?} is another function's"),
        };
        kept(connected.map_err(IntoParts::into_parts))
    }

    fn connect_each(&self, fall_back: bool, half: Half) -> Outcome {
        let request = EachMessage::new(self.physical_device(), self.lists().message_count());
        let request = if fall_back { request.fall_back_to_line() } else { request };
        // A handler for each message is about that; who serves the line, about all there is.
        let has_messages = self.lists().message_count() > 0;
        let isr =
            |message: MessageId| self.isr(if has_messages { 1 << message.index() } else { EVERY });
        match half {
            Half::None | Half::WorkItem => each(request.connect(isr)),
            Half::SharedDpc => each(request.deferred(SharedDpc::new(self.half())).connect(isr)),
            Half::Dpc => {
                each(request.connect_with_deferred(|message| (isr(message), Dpc::new(self.half()))))
            }
            Half::ThreadedDpc => each(
                request
                    .connect_with_deferred(|message| (isr(message), ThreadedDpc::new(self.half()))),
            ),
        }
    }
}

/// A failed connect, taken apart.
trait IntoParts {
    fn into_parts(self) -> (ConnectErrorKind, Returned);
}

impl<T> IntoParts for ConnectError<Isr, T> {
    fn into_parts(self) -> (ConnectErrorKind, Returned) {
        let kind = self.kind();
        let (isr, _half) = self.into_halves();
        (kind, Returned::of([&isr]))
    }
}

fn kept<R: Registration>(connected: Result<R, (ConnectErrorKind, Returned)>) -> Outcome {
    connected.map(|registration| -> Box<dyn Registered> { Box::new(Kept::Owned(registration)) })
}

fn each<D>(connected: Result<MessageRegistration<Isr, D>, ConnectEachError<Isr, D>>) -> Outcome
where
    D: MessageHalf<Isr>,
    Isr: InterruptHandler<D>,
    MessageRegistration<Isr, D>: Registration,
{
    kept(connected.map_err(|error| match error {
        ConnectEachError::NotMade { kind, .. } => (kind, Returned::default()),
        ConnectEachError::NotConnected { kind, halves } => (kind, of_messages(&halves)),
    }))
}
