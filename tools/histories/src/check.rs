//! The checker: each kind of question has a file of its own.

use crate::anomaly::Report;
use crate::index::Index;
use crate::operation::Operation;
use crate::{cycles, polls, sends, writes};

/// What may be expected of a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// At its end somebody read everything there was: what was not read then is not there.
    pub is_read_to_the_end: bool,
}

/// Everything that is wrong with a history.
#[must_use]
pub fn check(history: &[Operation], rules: Rules) -> Report {
    let index = Index::new(history);
    let mut report = Report::default();
    writes::check(&index, rules, &mut report);
    polls::check(&index, &mut report);
    sends::check(&index, &mut report);
    cycles::check(&index, &mut report);
    report
}
