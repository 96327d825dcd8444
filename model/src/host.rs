//! The host HAL: a machine whose processors are threads, for unit tests of drivers.
//!
//! A [`Machine`] has processors and devices. [`Machine::enter`] makes the current thread its
//! processor 0, and from then on the functions in [`kernel`] work on that machine.
//! [`Device`]s raise interrupts: a service routine runs at once on the thread that raises, if its
//! IRQL allows, and else as soon as the IRQL allows.
//!
//! Nothing here is preempted. Interrupts from other processors, and DPCs, come in wherever the
//! kernel is called and wherever IRQL is lowered.
//!
//! A broken rule panics with a report that names it, so it fails the test, and `catch_unwind` or
//! `#[should_panic]` can expect it.

mod device;
mod hal;
pub mod kernel;
mod machine;
mod processor;
mod resources;

pub use self::{
    device::{Delivery, Device, DeviceBuilder},
    hal::HostHal,
    machine::{Entered, Machine, Scope},
};
