//! The types and constants of the Windows kernel that interrupts are made of.
//!
//! Names, field names and layouts are those that `wdk-sys` generates from the WDK's headers for
//! x64, so code that is written against one compiles against the other. The meaning of each item
//! is in Microsoft's [driver reference](https://learn.microsoft.com/windows-hardware/drivers/ddi/);
//! what is said here is only what differs.
//!
//! Three things are this crate's own: [`nt_fn!`](crate::nt_fn) and
//! [`nt_fn_pointer!`](crate::nt_fn_pointer), which give functions and function pointers the calling
//! convention of the place the code runs at, and opaque structures whose inside is the kernel's
//! own business.

#![expect(
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    missing_docs,
    reason = "names are the WDK's, and so is what they mean"
)]
#![expect(clippy::pub_underscore_fields, reason = "names are bindgen's")]

mod abi;
mod base;
mod dpc;
mod interrupt;
mod io;
mod pool;
mod resource;
mod status;
mod thread;

pub use self::{base::*, dpc::*, interrupt::*, io::*, pool::*, resource::*, status::*, thread::*};
pub use crate::{nt_fn, nt_fn_pointer};

/// Gives each type a `Default` of zeroes, as bindgen does.
macro_rules! zeroed_default {
    ($($type:ty),+ $(,)?) => {$(
        impl Default for $type {
            fn default() -> Self {
                // SAFETY: the type is made of integers, pointers and optional function pointers,
                // for all of which zero is a value.
                unsafe { core::mem::MaybeUninit::zeroed().assume_init() }
            }
        }
    )+};
}
use zeroed_default;
