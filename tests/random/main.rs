//! Long random sequences of what can happen to devices and their registrations, compared step by
//! step with a reference that is plain state.
//!
//! The sequences are the same in every run. `PROPTEST_CASES` asks for more of them, and
//! `PROPTEST_RNG_SEED` for others. One that fails is shortened, printed as a script, and kept in
//! `sequences.proptest-regressions`, which is run first.

#[expect(dead_code, reason = "this has handlers of its own")]
#[path = "../common/mod.rs"]
mod common;
#[expect(dead_code, reason = "this has handlers of its own")]
#[path = "../common/counter.rs"]
mod counter;

mod sequence;
mod strategy;

use std::fs;
use std::panic::catch_unwind;
use std::path::Path;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use arbitrary::{Arbitrary, Unstructured};
use proptest::test_runner::{
    Config, FileFailurePersistence, RngAlgorithm, RngSeed, TestError, TestRunner,
};
use proptest_state_machine::ReferenceStateMachine as _;
use sequence::World;
use sequence::operation::Step;
use strategy::Sequences;

/// So many sequences in `cargo test`.
const CASES: u32 = 64;

/// The sequences of every run, unless the environment says otherwise.
fn config() -> Config {
    let asked = Config::default();
    let is_asked_for = |name| std::env::var_os(name).is_some();
    Config {
        cases: if is_asked_for("PROPTEST_CASES") { asked.cases } else { CASES },
        rng_seed: if is_asked_for("PROPTEST_RNG_SEED") {
            asked.rng_seed
        } else {
            RngSeed::Fixed(0)
        },
        rng_algorithm: RngAlgorithm::ChaCha,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/random/sequences.proptest-regressions"
        )))),
        max_shrink_iters: 4096,
        max_shrink_time: 60_000,
        // What is not possible in a state is drawn again.
        max_local_rejects: u32::MAX,
        ..asked
    }
}

/// Plays a sequence to its end.
fn play(steps: &[Step]) {
    let mut world = World::new();
    for &Step(operation) in steps {
        world.step(operation);
    }
    world.finish();
}

#[test]
fn whatever_happens_is_as_the_reference_says() {
    let sequences = Sequences::sequential_strategy(1..80);
    let played = TestRunner::new(config()).run(&sequences, |(_nothing, steps, seen)| {
        if let Some(seen) = seen {
            seen.store(steps.len(), SeqCst);
        }
        play(&steps);
        Ok(())
    });
    match played {
        Ok(()) => {}
        Err(TestError::Abort(reason)) => panic!("{reason}"),
        Err(TestError::Fail(reason, (_nothing, steps, _seen))) => {
            let fails = |steps: &[Step]| catch_unwind(|| play(steps)).is_err();
            let steps = shorten(steps, Duration::from_secs(20), fails);
            panic!("{reason}\n{steps:#?}");
        }
    }
}

/// Leaves out what a sequence fails without, one step after the other, for so long at most. The
/// strategy has done so once, when others were still there that are not any more.
fn shorten<T: Clone>(
    mut steps: Vec<T>,
    patience: Duration,
    fails: impl Fn(&[T]) -> bool,
) -> Vec<T> {
    let begun = Instant::now();
    loop {
        let before = steps.len();
        for index in (0..before).rev() {
            if begun.elapsed() > patience {
                return steps;
            }
            let mut fewer = steps.clone();
            fewer.remove(index);
            if fails(&fewer) {
                steps = fewer;
            }
        }
        if steps.len() == before {
            return steps;
        }
    }
}

#[test]
fn a_sequence_is_shortened_to_what_it_fails_by() {
    // 1 needs 2, as a disconnect needs a connect; 7 is what is wrong.
    let fails = |steps: &[u32]| steps.contains(&7) && (steps.contains(&2) || !steps.contains(&1));
    assert_eq!(shorten(vec![3, 1, 2, 7, 4], Duration::MAX, fails), [7]);
    assert_eq!(shorten(vec![1, 2, 7], Duration::ZERO, fails), [1, 2, 7]);
}

/// The sequences that the fuzzer keeps.
#[test]
fn every_sequence_of_the_corpus_is_as_the_reference_says() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join("corpus");
    let mut files = 0;
    for file in fs::read_dir(corpus.join("operations")).unwrap() {
        let input = fs::read(file.unwrap().path()).unwrap();
        // As the fuzzer reads it.
        let steps = Vec::<Step>::arbitrary_take_rest(Unstructured::new(&input)).unwrap();
        // The script of one that fails.
        println!("{steps:#?}");
        play(&steps);
        files += 1;
    }
    assert!(files > 0, "the corpus is empty");
}
