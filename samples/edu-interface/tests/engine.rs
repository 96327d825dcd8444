//! The driver's state machines, which are built for Windows only as a part of `edu.sys`: their own
//! tests, on whatever host this is.

#[path = "../../edu/src/computation.rs"]
mod computation;
#[path = "../../edu/src/engine.rs"]
mod engine;
