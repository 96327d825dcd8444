//! A model of the Windows NT interrupt subsystem, with a verifier.
//!
//! It does what `IoConnectInterruptEx`, `KeSynchronizeExecution`, `KeInsertQueueDpc`,
//! `IoQueueWorkItem`, `KeWaitForSingleObject`, `ExAllocatePool2` and their like do, as Microsoft documents them and no more helpfully than that: service routines run
//! before connecting returns, messages have different IRQLs, failures come late, memory is aligned
//! to 16 bytes and not to 32. What breaks the kernel's contract is found out and reported with the
//! [rule](Rule), the call, the processor and its IRQL, as Driver Verifier would.
//!
//! With it the interrupt path of a driver is unit tested on any host:
//!
//! - [`nt`] has the kernel's types and constants, under the names that `wdk-sys` has for them;
//! - [`host`] has a machine whose processors are threads, devices that interrupt, and the kernel's
//!   functions;
//! - [`executive`] is the model proper, `no_std` with `alloc`, and [`hal`] is what it stands on:
//!   without the `std` feature they are a kernel for bare metal.
//!
//! # Example
//!
//! ```
//! use core::ptr::{self, null_mut};
//! use wdm_interrupt_model::{
//!     host::{Delivery, Machine, kernel},
//!     nt::{self, BOOLEAN, KINTERRUPT, PVOID},
//! };
//!
//! nt::nt_fn! {
//!     /// Counts the interrupts it is called for.
//!     unsafe fn service(_interrupt: *mut KINTERRUPT, context: PVOID) -> BOOLEAN {
//!         // SAFETY: connected with this context below.
//!         unsafe { *context.cast::<u32>() += 1 };
//!         1
//!     }
//! }
//!
//! let machine = Machine::new(1).enter();
//! let device = machine.device().line().build();
//!
//! let mut count = 0_u32;
//! let mut object: nt::PKINTERRUPT = null_mut();
//! let mut parameters =
//!     nt::IO_CONNECT_INTERRUPT_PARAMETERS { Version: nt::CONNECT_LINE_BASED, ..Default::default() };
//! parameters.__bindgen_anon_1.LineBased = nt::IO_CONNECT_INTERRUPT_LINE_BASED_PARAMETERS {
//!     PhysicalDeviceObject: device.physical_device_object(),
//!     InterruptObject: &raw mut object,
//!     ServiceRoutine: Some(service),
//!     ServiceContext: (&raw mut count).cast(),
//!     ..Default::default()
//! };
//! // SAFETY: the block is complete, and what it points to outlives the connection.
//! let status = unsafe { kernel::IoConnectInterruptEx(&raw mut parameters) };
//! assert_eq!(status, nt::STATUS_SUCCESS);
//!
//! assert_eq!(device.raise_line(), Delivery::Claimed);
//!
//! let mut parameters = nt::IO_DISCONNECT_INTERRUPT_PARAMETERS {
//!     Version: parameters.Version,
//!     ..Default::default()
//! };
//! parameters.ConnectionContext.InterruptObject = object;
//! // SAFETY: what the connect returned.
//! unsafe { kernel::IoDisconnectInterruptEx(&raw mut parameters) };
//! assert_eq!(count, 1);
//!
//! // Checks that nothing was left behind: pool, interrupts, DPCs, work items.
//! machine.leave();
//! ```
//!
//! Without the disconnect, the last line would have panicked with
//! `LeftBehind broken in the end of the run …: left behind: vector 0x90 connected`; with it twice, the
//! second would have with `InterruptObject broken in IoDisconnectInterruptEx …: the connection context
//! is a freed interrupt object …, was vector 0x90`.

#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;

pub mod executive;
pub mod hal;
#[cfg(feature = "std")]
pub mod host;
pub mod nt;
pub mod report;
pub mod trace;

pub use report::{BugCheck, Report, Rule};
