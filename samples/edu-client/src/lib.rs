//! What a program asks of `edu.sys`, and how it judges the answers.
//!
//! How a request gets to the device is left to a [`Device`]: on Windows that is `DeviceIoControl`, on the
//! test bed an IRP, in a test a table. [`play`] sends a [`Round`] of requests and checks every answer.
//! The program itself is the binary of this package.

#![no_std]
#![forbid(unsafe_code)]

mod control;
mod round;

pub use control::{Device, Failure, factorial, raise, statistics};
pub use round::{RAISED, Round, play};
