//! What became of each value: where it is, whether it was to be there, and whether it was read.

use std::collections::{BTreeMap, BTreeSet};

use crate::anomaly::{Anomaly, Report};
use crate::check::Rules;
use crate::index::Index;
use crate::operation::{Operation, Outcome, What};

pub(crate) fn check(index: &Index<'_>, rules: Rules, report: &mut Report) {
    offsets(index, report);
    for ((key, value), offsets) in &index.reads {
        match index.sends.get(&(*key, *value)) {
            None => report.add(Anomaly::Phantom, format!("{key}: {value} at {offsets:?}")),
            Some(senders) if senders.iter().all(|one| one.outcome == Outcome::Fail) => {
                report.add(Anomaly::G1a, format!("{key}: {value} at {offsets:?}"));
            }
            Some(_) => {}
        }
    }
    for one in index.history.iter().filter(|one| one.what == What::Poll && one.transaction.is_some()) {
        let senders = index.sends.get(&(one.key.as_str(), one.value.as_str()));
        if senders.is_some_and(|all| all.iter().any(|send| send.transaction == one.transaction)) {
            report.add(Anomaly::PrecommittedRead, one.to_string());
        }
    }
    for (place, senders) in &index.sends {
        if index.reads.contains_key(place) {
            continue;
        }
        if let Some(send) = senders.iter().find(|one| index.is_committed(one)) {
            unread(index, rules, send, report);
        }
    }
}

/// One value an offset, one offset a value.
fn offsets(index: &Index<'_>, report: &mut Report) {
    let mut by_offset: BTreeMap<(&str, i64), BTreeSet<&str>> = BTreeMap::new();
    let mut by_value: BTreeMap<(&str, &str), BTreeSet<i64>> = BTreeMap::new();
    for one in index.history.iter().filter(|one| one.what != What::Seek) {
        if let Some(offset) = one.offset {
            by_offset.entry((&one.key, offset)).or_default().insert(&one.value);
            by_value.entry((&one.key, &one.value)).or_default().insert(offset);
        }
    }
    for ((key, offset), values) in by_offset.iter().filter(|(_, values)| values.len() > 1) {
        report.add(Anomaly::InconsistentOffsets, format!("{key}: at {offset} {values:?}"));
    }
    for ((key, value), offsets) in by_value.iter().filter(|(_, offsets)| offsets.len() > 1) {
        report.add(Anomaly::Duplicate, format!("{key}: {value} at {offsets:?}"));
    }
}

/// A value that is committed and that nobody read.
fn unread(index: &Index<'_>, rules: Rules, send: &Operation, report: &mut Report) {
    let highest = index.highest_read(&send.key);
    let is_passed = send.offset.is_some_and(|offset| highest.is_some_and(|highest| offset < highest));
    if send.outcome == Outcome::Info {
        if is_passed || rules.is_read_to_the_end {
            report.add(Anomaly::G1b, format!("{send}: others of its transaction were read"));
        }
    } else if is_passed {
        report.add(Anomaly::LostWrite, send.to_string());
    } else if rules.is_read_to_the_end {
        report.add(Anomaly::Unseen, send.to_string());
    }
}
