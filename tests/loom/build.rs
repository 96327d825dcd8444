//! Says in the seam that loom's types are wanted. A name of this crate's own, because whoever
//! explores a driver with `--cfg loom` says that to all crates, and the library is to stay as it is.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-cfg=wdm_interrupt_loom");
}
