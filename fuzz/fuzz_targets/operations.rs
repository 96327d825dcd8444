//! Arbitrary sequences of operations on devices and their registrations, compared with the
//! reference that the random tests have.

#![no_main]

#[expect(dead_code, reason = "the sequences have handlers of their own")]
#[path = "../../tests/common/mod.rs"]
mod common;
#[expect(dead_code, reason = "as above")]
#[path = "../../tests/common/counter.rs"]
mod counter;
#[path = "../../tests/random/sequence/mod.rs"]
mod sequence;

use sequence::World;
use sequence::operation::Step;

libfuzzer_sys::fuzz_target!(|steps: Vec<Step>| {
    let mut world = World::new();
    for Step(operation) in steps {
        world.step(operation);
    }
    world.finish();
});
