//! The model through raw kernel calls, as a driver without a library makes them.

mod adversary;
mod connecting;
mod deferred;
mod delivery;
mod pool;
mod raw;
mod synchronizing;
mod verifier;
