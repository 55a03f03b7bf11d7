//! How often what happened: a simulation that never elects proves nothing of elections.

use std::collections::BTreeMap;

/// Counters by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage(BTreeMap<&'static str, u64>);

impl Coverage {
    /// What every hundredth seed must show at least.
    pub const DEMANDED: [&'static str; 11] = [
        "acknowledged batches",
        "leader elections",
        "controller elections",
        "truncations",
        "ISR shrinks",
        "ISR expansions",
        "snapshot loads",
        "unclean starts",
        "power cuts",
        "reassignments",
        "voter changes",
    ];

    pub(crate) fn count(&mut self, what: &'static str) {
        self.add(what, 1);
    }

    pub(crate) fn add(&mut self, what: &'static str, count: u64) {
        *self.0.entry(what).or_default() += count;
    }

    /// A counter; 0 if it was never counted.
    #[must_use]
    pub fn get(&self, what: &str) -> u64 {
        self.0.get(what).copied().unwrap_or(0)
    }

    /// All counters.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.0.iter().map(|(name, count)| (*name, *count))
    }
}
