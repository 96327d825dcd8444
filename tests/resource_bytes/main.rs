//! Resource lists of arbitrary bytes: read as a naive parser reads them, and nothing else is read.

mod check;
mod naive;
mod seeds;

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed};

use check::{check, split};
use seeds::seeds;

/// Where the fuzzer's inputs are.
fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join("corpus").join("resource_list")
}

/// The inputs that the fuzzer keeps, those that it found included.
#[test]
fn every_input_of_the_corpus_is_read_as_the_naive_parser_does() {
    let files: Vec<PathBuf> =
        fs::read_dir(corpus()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(files.len() >= seeds().len());
    for file in files {
        println!("{}", file.display());
        let input = fs::read(file).unwrap();
        let (raw, translated) = split(&input);
        check(raw, translated);
    }
}

/// With `WRITE_SEEDS` in the environment they are written.
#[test]
fn the_seeds_of_the_corpus_are_those_that_are_written_here() {
    for (name, bytes) in seeds() {
        let path = corpus().join(name);
        if std::env::var_os("WRITE_SEEDS").is_some() {
            fs::write(&path, &bytes).unwrap();
        }
        assert_eq!(fs::read(&path).unwrap(), bytes, "{name}");
    }
}

proptest! {
    #![proptest_config(Config {
        rng_seed: RngSeed::Fixed(0),
        failure_persistence: None,
        ..Config::default()
    })]

    /// A seed with some of its bytes changed, and cut somewhere.
    #[test]
    fn lists_that_are_damaged_are_read_as_the_naive_parser_does(
        (_name, bytes) in proptest::sample::select(seeds()),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = bytes;
        for (place, value) in damage {
            let length = bytes.len();
            bytes[place.index(length)] = value;
        }
        let whole = bytes.len();
        for length in [whole, cut.index(whole)] {
            let (raw, translated) = split(&bytes[..length]);
            check(raw, translated);
        }
    }
}
