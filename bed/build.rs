//! Hands the linker script to the linker, by its full path.

fn main() {
    let folder = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
    println!("cargo::rerun-if-changed=bed.ld");
    println!("cargo::rustc-link-arg-bins=-T{folder}/bed.ld");
}
