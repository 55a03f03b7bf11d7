//! How much happened in a history.

use crate::operation::{Operation, Outcome, What};

/// Operations by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    pub acknowledged: usize,
    /// Writes of which nobody knows.
    pub unknown: usize,
    pub failed: usize,
    pub read: usize,
}

impl Figures {
    #[must_use]
    pub fn of(history: &[Operation]) -> Self {
        let count = |what, outcome| history.iter().filter(|one| (one.what, one.outcome) == (what, outcome)).count();
        Self {
            acknowledged: count(What::Send, Outcome::Ok),
            unknown: count(What::Send, Outcome::Info),
            failed: count(What::Send, Outcome::Fail),
            read: count(What::Poll, Outcome::Ok),
        }
    }
}
