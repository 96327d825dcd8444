//! Arbitrary bytes as a raw and a translated resource list.

#![no_main]

#[path = "../../tests/resource_bytes/check.rs"]
mod check;
#[path = "../../tests/resource_bytes/naive.rs"]
mod naive;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let (raw, translated) = check::split(input);
    check::check(raw, translated);
});
