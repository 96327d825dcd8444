//! Where the seam expects the kernel's functions.

pub mod kernel;
