//! Who goes on: drawn by a seed.

use std::vec::Vec;

/// How the next thread is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Strategy {
    /// Even seeds are `Uniform`, odd ones `Priorities` with two changes.
    Both,
    /// Any that can go on, each as likely as the others.
    Uniform,
    /// The one of the highest priority. Priorities are drawn; at so many places they change.
    Priorities {
        /// How often the thread that runs falls behind all others.
        changes: usize,
    },
}

/// Numbers that a seed determines: `SplitMix64` (Steele, Lea and Flood, 2014).
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// One of `0..count`; 0 if there is none.
    pub(super) fn below(&mut self, count: usize) -> usize {
        // The upper half of the product: as even as 64 bits make it.
        let product = u128::from(self.next()) * count as u128;
        usize::try_from(product >> 64).unwrap_or(0)
    }
}

/// Chooses who goes on.
#[derive(Debug)]
pub(super) struct Chooser {
    random: Random,
    priorities: Option<Priorities>,
}

/// The priorities of a schedule after *A Randomized Scheduler with Probabilistic Guarantees of
/// Finding Bugs* (Burckhardt, Kothari, Musuvathi and Nagarakatte, 2010).
#[derive(Debug)]
struct Priorities {
    /// By thread.
    of: Vec<u64>,
    /// The steps at which the thread that runs falls behind.
    changes: Vec<u64>,
    /// For so many steps that others could have had, the same thread has run.
    monopoly: u32,
}

/// Priorities are drawn from here on; those who fell behind are below.
const HIGH: u64 = 1 << 63;
/// The places of changes are drawn from among the first 2⁵ to 2¹² steps: how many there will be is
/// not known, and guessing each power of two as often as the others is not far off.
const HORIZONS: (u32, usize) = (5, 8);
/// Who polls a register in a loop does not look as if it waited. After so many steps it is taken to.
const MONOPOLY: u32 = 200;

impl Chooser {
    pub(super) fn new(seed: u64, strategy: Strategy) -> Self {
        let mut random = Random::new(seed);
        let changes = match strategy {
            Strategy::Both => (seed % 2 == 1).then_some(2),
            Strategy::Uniform => None,
            Strategy::Priorities { changes } => Some(changes),
        };
        let priorities = changes.map(|changes| {
            let (shortest, count) = HORIZONS;
            let horizon = 1_usize << (shortest as usize + random.below(count));
            let changes = (0..changes).map(|_| random.below(horizon) as u64).collect();
            Priorities { of: Vec::new(), changes, monopoly: 0 }
        });
        Self { random, priorities }
    }

    /// Another thread is there, with the next number.
    pub(super) fn join(&mut self) {
        let random = &mut self.random;
        if let Some(priorities) = &mut self.priorities {
            priorities.of.push(random.next() | HIGH);
        }
    }

    /// One of `0..count`, for the test's own use.
    pub(super) fn below(&mut self, count: usize) -> usize {
        self.random.below(count)
    }

    /// One of `candidates`, of which there is at least one, at this step; `current` has run so far.
    pub(super) fn choose(&mut self, step: u64, current: usize, candidates: &[usize]) -> usize {
        let random = &mut self.random;
        let Some(priorities) = &mut self.priorities else {
            return candidates[random.below(candidates.len())];
        };
        if priorities.changes.contains(&step) || priorities.monopoly > MONOPOLY {
            priorities.of[current] = random.next() & !HIGH;
            priorities.monopoly = 0;
        }
        let highest = candidates.iter().copied().max_by_key(|thread| priorities.of[*thread]);
        let highest = highest.unwrap_or(current);
        if highest == current && candidates.len() > 1 {
            priorities.monopoly += 1;
        } else {
            priorities.monopoly = 0;
        }
        highest
    }
}

#[cfg(test)]
mod tests {
    use super::{Chooser, HIGH, Random, Strategy};

    #[test]
    fn the_numbers_are_those_of_the_algorithm() {
        // The first outputs of the reference implementation for the seed 1234567.
        let mut random = Random::new(1_234_567);
        let numbers = [random.next(), random.next(), random.next()];
        assert_eq!(
            numbers,
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]
        );
    }

    #[test]
    fn each_of_a_few_is_drawn() {
        let mut random = Random::new(0);
        let mut drawn = [false; 3];
        for _ in 0..100 {
            drawn[random.below(3)] = true;
        }
        assert_eq!((drawn, random.below(0)), ([true; 3], 0));
    }

    #[test]
    fn with_priorities_the_same_one_goes_on_until_a_change() {
        let mut chooser = Chooser::new(7, Strategy::Priorities { changes: 1 });
        chooser.join();
        chooser.join();
        let change = chooser.priorities.as_ref().unwrap().changes[0];
        let first = chooser.choose(change + 1, 0, &[0, 1]);
        assert_eq!(chooser.choose(change + 2, first, &[0, 1]), first);
        assert_ne!(chooser.choose(change, first, &[0, 1]), first);
        assert!(chooser.priorities.unwrap().of[first] < HIGH);
    }

    #[test]
    fn one_that_polls_for_ever_falls_behind() {
        let mut chooser = Chooser::new(7, Strategy::Priorities { changes: 0 });
        chooser.join();
        chooser.join();
        let first = chooser.choose(0, 0, &[0, 1]);
        let steps = (1..1000).take_while(|step| chooser.choose(*step, first, &[0, 1]) == first);
        assert!((100..500).contains(&steps.count()));
    }
}
