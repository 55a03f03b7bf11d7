//! Chance from a seed.

use milena_coordinator::group::Random;

/// What follows from a seed.
#[derive(Clone, Debug)]
pub(crate) struct Seed(Random);

impl Seed {
    pub(crate) fn new(number: u64) -> Seed {
        Seed(Random::new(number))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0.next_u64()
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    /// From `low` up to and including `high`.
    pub(crate) fn between(&mut self, low: i64, high: i64) -> i64 {
        low + (self.next() % (high - low + 1).max(1) as u64) as i64
    }

    pub(crate) fn one_in(&mut self, bound: usize) -> bool {
        self.below(bound) == 0
    }

    /// Milliseconds that are short as a rule and long now and then.
    pub(crate) fn delay(&mut self, usual: i64, rare: i64) -> i64 {
        if self.one_in(40) { self.between(usual, rare) } else { self.between(0, usual) }
    }
}
