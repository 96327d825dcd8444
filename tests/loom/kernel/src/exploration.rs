//! An exploration: a test that is run in every order of its threads' steps.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use loom::model::Builder;

/// More steps than any test has in one execution.
const MAX_STEPS: usize = 2_000;

/// The variable with how many preemptions more than a test says are explored.
const DEEPER: &str = "LOOM_DEEPER";

/// What is explored, and how far.
#[derive(Clone, Copy, Debug)]
pub struct Exploration {
    /// The threads, in words: the test's own is the driver.
    pub threads: &'static str,
    /// How often a thread is made to stand still for another though it could go on; `None` for as
    /// often as there are steps.
    pub preemptions: Option<usize>,
}

impl Exploration {
    /// Runs `test` once for each order, and prints how many there are.
    pub fn run(self, test: impl Fn() + Send + Sync + 'static) {
        let mut builder = Builder::new();
        builder.max_branches = MAX_STEPS;
        // All or nothing: an exploration that was broken off would look like one that found nothing.
        builder.max_duration = None;
        builder.max_permutations = None;
        builder.preemption_bound = self.preemptions.map(|bound| bound + deeper());
        let bound = builder
            .preemption_bound
            .map_or_else(|| "any number of".to_owned(), |bound| format!("at most {bound}"));
        let executions = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&executions);
        let begun = Instant::now();
        builder.check(move || {
            counter.fetch_add(1, Ordering::Relaxed);
            test();
        });
        println!(
            "explored: {}; {bound} preemptions; {} executions in {:.1} s",
            self.threads,
            executions.load(Ordering::Relaxed),
            begun.elapsed().as_secs_f64()
        );
    }
}

/// How many preemptions more than a test says are to be explored.
fn deeper() -> usize {
    std::env::var(DEEPER).map_or(0, |number| number.parse().expect("LOOM_DEEPER is a number"))
}
