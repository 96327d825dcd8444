//! Sequences of operations on devices and their registrations, each compared with a reference.
//! Shared by the random tests and the fuzzer.

mod connecting;
mod driver;
mod foreign;
pub(crate) mod operation;
mod plan;
pub(crate) mod reference;
mod registered;
mod world;

pub(crate) use world::World;
