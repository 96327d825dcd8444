//! The driver's state machine, which is built for Windows only as a part of `edu.sys`: its own
//! tests, on whatever host this is.

#[path = "../../edu/src/engine.rs"]
mod engine;
