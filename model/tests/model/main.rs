//! The model through raw kernel calls, as a driver without a library makes them.

mod adversary;
mod broken;
mod connecting;
mod deferred;
mod delivery;
mod exploring;
mod faults;
mod many;
mod passive;
mod pool;
mod power;
mod raw;
mod synchronizing;
mod threaded;
mod trace;
mod verifier;
mod waiting;
mod work;
