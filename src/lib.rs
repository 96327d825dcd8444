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
//! # Choosing a request
//!
//! | the driver | request |
//! |---|---|
//! | has one ISR for all of a PCI device's messages, or its line when there are none | [`MessageBased`] with [`fall_back_to_line`](MessageBased::fall_back_to_line) |
//! | has one ISR, and the INF asks for no messages | [`LineBased`] |
//! | has several interrupts with an ISR each | [`FullySpecified`], one for each [`InterruptResource`] |
//!
//! # A driver's life with an interrupt
//!
//! - `AddDevice`: keep the physical device object.
//! - `IRP_MN_START_DEVICE`, when the lower drivers have completed it: map the registers, make a
//!   handler that owns the mapping, `connect`. The handler's `enable` unmasks the device.
//! - IOCTLs and the like: `synchronize`.
//! - `IRP_MN_STOP_DEVICE`, `IRP_MN_REMOVE_DEVICE`: [`disconnect`](InterruptRegistration::disconnect)
//!   (or drop), before passing the IRP down. The handler's `disable` silences the device; the
//!   mapping comes back with the handler, unused by then.
//! - `IRP_MN_SURPRISE_REMOVAL`:
//!   [`disconnect_removed`](InterruptRegistration::disconnect_removed), which leaves the hardware
//!   alone.
//!
//! # Back ends
//!
//! In a driver the kernel is Windows's, through `wdk-sys`. Off Windows it is the model of
//! `wdm-interrupt-model`, so that an ISR can be unit tested on any host, as the examples here are.
//! On a Windows host the feature `model` selects the model.
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
//!     .deferred(Completion)
//!     .connect(Device { events: 0 })
//!     .map_err(|error| error.kind())?;
//!
//! // The device interrupts.
//! model.raise_message(1);
//! assert_eq!(registration.synchronize(|device| device.events), 1);
//!
//! // In IRP_MN_STOP_DEVICE or IRP_MN_REMOVE_DEVICE.
//! let (device, Completion) = registration.disconnect().map_err(|error| error.to_string())?;
//! assert_eq!(device.events, 1);
//! # Ok(())
//! # }
//! ```
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
mod life;
mod nt;
mod registration;
mod request;
mod resource;
mod resource_list;
mod routine;

pub use deferred::{Deferred, DeferredHalf, DeferredHandler, DeferredKind, Dpc, NoDeferred};
pub use device::{NullDevice, PhysicalDevice};
pub use error::{ConnectError, ConnectErrorKind, DisconnectError};
pub use handler::{Interrupt, InterruptHandler, MessageId, Serviced};
pub use irql::Irql;
#[doc(no_inline)]
pub use nt::{CM_RESOURCE_LIST, DEVICE_OBJECT, NTSTATUS};
pub use registration::{ConnectionKind, InterruptRegistration};
pub use request::{FullySpecified, LineBased, MessageBased};
pub use resource::{InterruptMode, InterruptResource, InterruptResources, ResourceError};
