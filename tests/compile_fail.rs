//! Mistakes that do not compile, and what the compiler says about them.
//!
//! Each file in `compile_fail` makes one, and the `.stderr` beside it has the compiler's words. They
//! are those of one release of Rust; `TRYBUILD=overwrite cargo test --test compile_fail` writes them
//! anew.

#[rustversion::attr(not(stable(1.95)), ignore = "the messages are those of Rust 1.95")]
#[test]
fn mistakes_do_not_compile() {
    trybuild::TestCases::new().compile_fail("tests/compile_fail/*.rs");
}
