//! Interrupts for Windows kernel-mode drivers (WDM).
//!
//! This crate wraps [`IoConnectInterruptEx`] and [`IoDisconnectInterruptEx`] behind an
//! [`InterruptRegistration`] that owns what the ISR uses and disconnects on drop.
//!
//! - **The ISR's state is owned and typed.** The driver writes an [`InterruptHandler`]; its ISR gets
//!   `&mut self` under the interrupt's lock. Everyone else reaches the same state only through
//!   [`InterruptRegistration::synchronize`], which is `KeSynchronizeExecution`.
//! - **What removing the ISR needs is kept**: the interrupt object of a line-based or fully
//!   specified connection, or the Version that the kernel *returned* and the connection context of
//!   a message-based one.
//! - **The teardown is one function**, in [one order](InterruptRegistration#teardown), also when
//!   connecting fails half way.
//!
//! # Example
//!
//! ```
//! use wdm_interrupt::{
//!     Deferred, DeferredHandler, Dpc, Interrupt, InterruptHandler, MessageBased, PhysicalDevice,
//!     Serviced,
//! };
//!
//! /// What the ISR owns. Here registers would be, behind a mapping that unmaps on drop.
//! struct Device {
//!     events: u32,
//! }
//!
//! impl InterruptHandler<Dpc<Completion>> for Device {
//!     fn service(&mut self, interrupt: &Interrupt<'_, Dpc<Completion>>) -> Serviced {
//!         // Read and acknowledge the device's status here.
//!         self.events += 1;
//!         interrupt.queue_deferred();
//!         Serviced::Claimed
//!     }
//! }
//!
//! /// What runs later, at `DISPATCH_LEVEL`.
//! struct Completion;
//!
//! impl DeferredHandler<Device> for Completion {
//!     fn run(&self, deferred: &Deferred<'_, Device>) {
//!         let _events = deferred.synchronize(|device| device.events);
//!         // Complete IRPs here.
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // The model's part: a machine, and a device with two messages.
//! let machine = wdm_interrupt_model::host::Machine::new(1).enter();
//! let model = machine.device().messages(2).build();
//! let pdo = model.physical_device_object();
//!
//! // In IRP_MN_START_DEVICE, with the PDO that AddDevice was given.
//! // SAFETY: started; stopped only after the registration's end; the image stays loaded.
//! let device = unsafe { PhysicalDevice::new(pdo) }?;
//! let registration = MessageBased::new(device)
//!     .fall_back_to_line()
//!     .deferred(Dpc::new(Completion))
//!     .connect(Device { events: 0 })?;
//!
//! // The device interrupts.
//! model.raise_message(1);
//! assert_eq!(registration.synchronize(|device| device.events), 1);
//!
//! // In IRP_MN_STOP_DEVICE or IRP_MN_REMOVE_DEVICE.
//! let (device, Completion) = registration.disconnect()?;
//! assert_eq!(device.events, 1);
//! # Ok(())
//! # }
//! ```
//!
//! # Where to read on
//!
//! | | |
//! |---|---|
//! | [`guide`] | how to use it: the ISR, a driver's life, the requests, shared state, the teardown, what is sound |
//! | [`windows_calls`] | from the C call or the KMDF function to the item here |
//! | [`contract`] | the kernel's rules, and how each is upheld |
//! | [`scenarios`] | mistakes that real drivers made, what stops each, and the tests that show it |
//!
//! # Back ends
//!
//! In a driver the kernel is Windows's, through `wdk-sys`. Off Windows it is the model of
//! `wdm-interrupt-model`, so that an ISR can be unit tested on any host, as the examples here are.
//! On a Windows host the feature `model` selects the model.
//!
//! [`IoConnectInterruptEx`]: https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/nf-wdm-ioconnectinterruptex
//! [`IoDisconnectInterruptEx`]: https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/nf-wdm-iodisconnectinterruptex

#![no_std]

mod block;
mod connect;
mod connection;
mod deferred;
mod device;
mod error;
mod handler;
mod irql;
mod link;
mod messages;
mod nt;
mod passive;
mod pool;
mod registration;
mod request;
mod resource;
mod resource_list;
mod routine;
mod table;
mod teardown;

pub use block::Halves;
pub use deferred::{
    Deferred, DeferredHalf, DeferredHandler, DeferredKind, Dpc, DpcImportance, FunctionDevice,
    NoDeferred, ProcessorNumber, SharedDeferred, SharedDeferredHandler, SharedDpc, ThreadedDpc,
    Work, WorkHandler, WorkItem,
};
pub use device::{NullDevice, PhysicalDevice};
pub use error::{
    ConnectError, ConnectErrorKind, DisconnectError, DisconnectErrorKind, InPlaceError,
};
pub use handler::{Interrupt, InterruptHandler, MessageId, Serviced};
pub use irql::Irql;
pub use messages::{
    ConnectEachError, EachMessage, IntoHandlers, Message, MessageHalf, MessageHalves,
    MessageRegistration,
};
pub use nt::KINTERRUPT;
#[doc(no_inline)]
pub use nt::{CM_RESOURCE_LIST, DEVICE_OBJECT, NTSTATUS};
pub use passive::{
    ExperimentalPassiveMessageBased, PassiveFullySpecified, PassiveHalf, PassiveInterrupt,
    PassiveInterruptHandler, PassiveInterruptRegistration, PassiveLineBased,
};
pub use registration::{BorrowedRegistration, ConnectionKind, InterruptRegistration};
pub use request::{FullySpecified, InPlace, LineBased, MessageBased, SeveralFullySpecified};
pub use resource::{InterruptMode, InterruptResource, InterruptResources, ResourceError};
pub use table::{InterruptPolarity, MessageEntry, MessageTable};

#[doc = include_str!("../docs/guide.md")]
pub mod guide {}

#[doc = include_str!("../docs/windows-calls.md")]
pub mod windows_calls {}

#[doc = include_str!("../docs/contract.md")]
pub mod contract {}

#[doc = include_str!("../docs/scenarios.md")]
pub mod scenarios {}
