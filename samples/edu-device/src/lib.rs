//! QEMU's edu device for a driver: its registers, its service routine with the deferred half, and
//! what is known of the requests it computes for.
//!
//! There is no kernel type here and no IRP. `edu.sys` gives it [mapped registers](Bus) and [a queue of
//! IRPs](Requests); the tests give it a fake device and a queue of numbers, and run it on the model of
//! the kernel.
//!
//! | module | idea |
//! |---|---|
//! | `interrupt` | the service routine and its deferred half |
//! | `registers` | the device's registers, and how they are reached |
//! | `computation` | whether the device has completed what it was asked for |
//! | `engine` | which request the device is computing, and whether it may begin another |

#![no_std]

extern crate alloc;

mod computation;
mod engine;
mod interrupt;
mod registers;

pub use engine::{Engine, Hold};
pub use interrupt::{Completion, Counters, EduInterrupt, Requests, Woken};
pub use registers::{Bus, FACTORIAL_COMPLETE, Register, Registers, ResetError};
