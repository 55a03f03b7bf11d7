//! In which order a process reads a key: on and on, with nothing left out that anybody reads.

use std::collections::BTreeMap;

use crate::anomaly::{Anomaly, Report};
use crate::index::Index;
use crate::operation::{Operation, What};

pub(crate) fn check(index: &Index<'_>, report: &mut Report) {
    // Of each process and key the last record it read.
    let mut last: BTreeMap<(&str, &str), &Operation> = BTreeMap::new();
    for one in index.history {
        let Some(offset) = one.offset.filter(|_| one.what == What::Poll) else {
            if one.what == What::Seek {
                last.retain(|(process, key), _| *process != one.process || one.key != "-" && *key != one.key);
            }
            continue;
        };
        let Some(before) = last.insert((&one.process, &one.key), one) else { continue };
        let before_offset = before.offset.unwrap_or(-1);
        let anomaly = if offset <= before_offset {
            if is_same_poll(before, one) { Anomaly::IntNonmonotonicPoll } else { Anomaly::NonmonotonicPoll }
        } else if index.between(&one.key, before_offset, offset) > 0 {
            if is_same_poll(before, one) { Anomaly::IntPollSkip } else { Anomaly::PollSkip }
        } else {
            continue;
        };
        report.add(anomaly, format!("{one} after {before_offset}"));
    }
}

fn is_same_poll(before: &Operation, one: &Operation) -> bool {
    match (&before.transaction, &one.transaction) {
        (Some(before), Some(one)) => before == one,
        (None, None) => before.at_ns == one.at_ns,
        _ => false,
    }
}
