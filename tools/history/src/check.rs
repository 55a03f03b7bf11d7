//! What must hold of every history of idempotent producers with `acks=all`, and of readers of what is committed:
//!
//! - an offset has one value, whoever tells or reads it (`inconsistent`);
//! - a value has one offset (`duplicate`);
//! - a value whose writing failed for certain is never read (`aborted`);
//! - a reader that begins at 0 reads one offset after the other (`skipped`);
//! - the values of one producer are in the order in which it sent them (`reordered`);
//! - what was acknowledged is read by whoever reads to the end (`lost`, in `unread`).
//!
//! Jepsen's names where it has one. Values of a producer grow; a value is written once to a partition.

use std::collections::{BTreeMap, BTreeSet};

use crate::operation::{Operation, Outcome, What};

/// How much happened.
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

/// What was wrong, a sentence each; the operations of a process are in its order.
#[must_use]
pub fn anomalies(history: &[Operation]) -> Vec<String> {
    let mut found = Vec::new();
    places(history, &mut found);
    readers(history, &mut found);
    order(history, &mut found);
    found
}

/// Everything at a place, told or read.
fn known(history: &[Operation]) -> impl Iterator<Item = &Operation> {
    history.iter().filter(|one| one.outcome == Outcome::Ok && one.offset >= 0)
}

/// One value at an offset, one offset of a value, nothing that failed.
fn places(history: &[Operation], found: &mut Vec<String>) {
    let mut values: BTreeMap<(&str, i64), &Operation> = BTreeMap::new();
    let mut offsets: BTreeMap<(&str, u64), &Operation> = BTreeMap::new();
    let mut told = BTreeSet::new();
    for one in known(history) {
        let first = values.entry((&one.key, one.offset)).or_insert(one);
        if first.value != one.value && told.insert((&one.key, one.offset)) {
            let (key, offset) = (&one.key, one.offset);
            found.push(format!("inconsistent: {} and {} are at {key}@{offset}", first.value, one.value));
        }
        let first = offsets.entry((&one.key, one.value)).or_insert(one);
        if first.offset != one.offset {
            found.push(format!("duplicate: {} is at {}@{} and @{}", one.value, one.key, first.offset, one.offset));
        }
    }
    for one in history.iter().filter(|one| (one.what, one.outcome) == (What::Send, Outcome::Fail)) {
        if let Some(there) = offsets.get(&(one.key.as_str(), one.value)) {
            found.push(format!("aborted: {} failed and is at {}@{}", one.value, one.key, there.offset));
        }
    }
}

/// No reader leaves anything out, or goes back.
fn readers(history: &[Operation], found: &mut Vec<String>) {
    let mut next: BTreeMap<(u64, &str), i64> = BTreeMap::new();
    for one in known(history).filter(|one| one.what == What::Poll) {
        let due = next.entry((one.process, &one.key)).or_insert(0);
        if *due != one.offset {
            let (process, key) = (one.process, &one.key);
            found.push(format!("skipped: {process} read {key}@{} where {due} was due", one.offset));
        }
        *due = one.offset + 1;
    }
}

/// The values of a producer grow with their offsets.
fn order(history: &[Operation], found: &mut Vec<String>) {
    let senders = history.iter().filter(|one| one.what == What::Send);
    let of: BTreeMap<(&str, u64), u64> = senders.map(|one| ((one.key.as_str(), one.value), one.process)).collect();
    let mut places: BTreeMap<(&str, i64), u64> = BTreeMap::new();
    for one in known(history) {
        places.insert((&one.key, one.offset), one.value);
    }
    let mut last: BTreeMap<(&str, u64), u64> = BTreeMap::new();
    for ((key, offset), value) in places {
        let Some(process) = of.get(&(key, value)) else { continue };
        if let Some(before) = last.insert((key, *process), value)
            && before > value
        {
            found.push(format!("reordered: {value} of {process} is at {key}@{offset}, after {before}"));
        }
    }
}

/// What was acknowledged, or read by somebody, and was not read by `reader`, which read to the end.
#[must_use]
pub fn unread(history: &[Operation], reader: u64) -> Vec<String> {
    let read: BTreeSet<(&str, u64)> = history
        .iter()
        .filter(|one| one.what == What::Poll && one.process == reader)
        .map(|one| (one.key.as_str(), one.value))
        .collect();
    let mut told = BTreeSet::new();
    let missing = history.iter().filter(|one| one.outcome == Outcome::Ok);
    let missing = missing.filter(|one| !read.contains(&(one.key.as_str(), one.value)));
    missing
        .filter(|one| told.insert((one.key.as_str(), one.value)))
        .map(|one| format!("lost: {} was at {}@{} and was not read at the end", one.value, one.key, one.offset))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{Figures, anomalies, unread};
    use crate::operation::parse;

    /// Two producers, a reader that follows and one that reads at the end.
    const GOOD: &str = "send 1 ok t-0 0 101 5\nsend 1 ok t-0 2 102 6\nsend 2 info t-0 -1 201 7\nsend 2 fail t-0 -1 202 7\n\
                        poll 8 ok t-0 0 101 8\npoll 8 ok t-0 1 201 9\npoll 9 ok t-0 0 101 20\npoll 9 ok t-0 1 201 21\n\
                        poll 9 ok t-0 2 102 22\n";

    fn found(change: impl FnOnce(String) -> String) -> String {
        let history = parse(&change(GOOD.to_owned()).replace(' ', "\t")).expect("a history");
        let mut found = anomalies(&history);
        found.extend(unread(&history, 9));
        found.join("\n")
    }

    #[test]
    fn nothing_is_found_where_nothing_is_wrong() {
        assert_eq!(found(|good| good), "");
        let history = parse(&GOOD.replace(' ', "\t")).expect("a history");
        assert_eq!(Figures::of(&history), Figures { acknowledged: 2, unknown: 1, failed: 1, read: 5 });
    }

    #[test]
    fn a_lost_record_is_found() {
        let found = found(|good| good + "send 1 ok t-0 3 103 7\n");
        assert_eq!(found, "lost: 103 was at t-0@3 and was not read at the end");
    }

    #[test]
    fn a_record_that_only_one_reader_saw_is_lost_too() {
        let found = found(|good| good + "poll 8 ok t-0 2 102 10\npoll 8 ok t-0 3 203 11\n");
        assert_eq!(found, "lost: 203 was at t-0@3 and was not read at the end");
    }

    #[test]
    fn a_value_at_two_offsets_is_found() {
        let found = found(|good| good + "poll 9 ok t-0 3 102 23\n");
        assert_eq!(found, "duplicate: 102 is at t-0@2 and @3");
    }

    #[test]
    fn an_acknowledgement_at_another_offset_is_found() {
        let found = found(|good| good.replace("send 1 ok t-0 2 102", "send 1 ok t-0 3 102"));
        assert_eq!(found, "duplicate: 102 is at t-0@3 and @2");
    }

    #[test]
    fn an_offset_with_two_values_is_found() {
        let found = found(|good| good.replace("poll 8 ok t-0 1 201", "poll 8 ok t-0 1 203"));
        assert!(found.starts_with("inconsistent: 203 and 201 are at t-0@1"), "{found}");
    }

    #[test]
    fn a_failed_write_that_is_read_is_found() {
        let found = found(|good| good + "poll 9 ok t-0 3 202 23\n");
        assert_eq!(found, "aborted: 202 failed and is at t-0@3");
    }

    #[test]
    fn a_reader_that_leaves_something_out_or_goes_back_is_found() {
        let skipped = found(|good| good.replace("poll 8 ok t-0 1 201 9\n", "poll 8 ok t-0 2 102 9\n"));
        assert_eq!(skipped, "skipped: 8 read t-0@2 where 1 was due");
        let back = found(|good| good + "poll 9 ok t-0 2 102 23\n");
        assert_eq!(back, "skipped: 9 read t-0@2 where 3 was due");
    }

    #[test]
    fn the_writes_of_a_producer_in_another_order_are_found() {
        let found = found(|good| good + "send 1 info t-0 -1 100 7\npoll 9 ok t-0 3 100 23\n");
        assert_eq!(found, "reordered: 100 of 1 is at t-0@3, after 102");
    }
}
