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
//! That is so in free running, where the host's scheduler decides who gets how far. In a test that
//! [explores](Explore) a seed decides: at each kernel call, and at many other points, another
//! processor may go on, and a seed that fails does so again.
//!
//! What the system does at `PASSIVE_LEVEL` it does in threads of its own, while all others run on:
//! work items, threaded DPCs, and the service routines of passive interrupts.
//! [`Machine::settle`] waits until they are through. A test starts more of the kind with
//! [`Scope::spawn_system_thread`]. They are on processors that drivers do not know of, whose
//! numbers in reports and events come after those of the machine's own.
//!
//! A broken rule panics with a report that names it, so it fails the test, and `catch_unwind` or
//! `#[should_panic]` can expect it. What a system thread panics with, the test's own threads pass
//! on when they next call the kernel at `PASSIVE_LEVEL`, or settle, or leave. A wait that does not
//! end within 30 seconds is a broken rule, whose report says who waits.

mod builder;
mod chooser;
mod device;
mod explore;
mod hal;
pub mod kernel;
mod log;
mod machine;
mod mutex;
mod objects;
mod points;
mod processor;
mod registers;
mod requests;
mod resources;
mod schedule;
mod scope;
mod threads;
mod vectors;
mod violation;

pub use self::{
    builder::DeviceBuilder,
    device::{Delivery, Device},
    explore::{Explore, Failure},
    hal::HostHal,
    machine::{Entered, Machine},
    registers::{Registers, point},
    scope::Scope,
    violation::Violation,
};
