//! A history by keys, values and transactions: what all questions begin with.

use std::collections::{BTreeMap, BTreeSet};

use crate::operation::{Operation, Outcome, What};

/// A key and a value in it.
pub(crate) type Place<'a> = (&'a str, &'a str);

/// The history, and what follows from it.
pub(crate) struct Index<'a> {
    pub(crate) history: &'a [Operation],
    /// Who sent a value: once, or again with the same fate.
    pub(crate) sends: BTreeMap<Place<'a>, Vec<&'a Operation>>,
    /// At which offsets a value was read.
    pub(crate) reads: BTreeMap<Place<'a>, BTreeSet<i64>>,
    /// The values that were read, in the order of their offsets.
    pub(crate) read_order: BTreeMap<&'a str, BTreeMap<i64, &'a str>>,
    /// Transactions that are known to be committed because something of them was read.
    pub(crate) proven: BTreeSet<&'a str>,
}

impl<'a> Index<'a> {
    pub(crate) fn new(history: &'a [Operation]) -> Index<'a> {
        let mut index = Index {
            history,
            sends: BTreeMap::new(),
            reads: BTreeMap::new(),
            read_order: BTreeMap::new(),
            proven: BTreeSet::new(),
        };
        for one in history {
            let place = (one.key.as_str(), one.value.as_str());
            match (one.what, one.offset) {
                (What::Send, _) => index.sends.entry(place).or_default().push(one),
                (What::Poll, Some(offset)) => {
                    index.reads.entry(place).or_default().insert(offset);
                    index.read_order.entry(place.0).or_default().entry(offset).or_insert(place.1);
                }
                _ => {}
            }
        }
        for (place, senders) in &index.sends {
            if index.reads.contains_key(place) {
                index.proven.extend(senders.iter().filter_map(|one| one.transaction.as_deref()));
            }
        }
        index
    }

    /// Whether it was told to be written, or, nobody having been told, is known to be.
    pub(crate) fn is_committed(&self, send: &Operation) -> bool {
        match send.outcome {
            Outcome::Ok => true,
            Outcome::Fail => false,
            Outcome::Info => match &send.transaction {
                Some(transaction) => self.proven.contains(transaction.as_str()),
                None => self.reads.contains_key(&(send.key.as_str(), send.value.as_str())),
            },
        }
    }

    /// The offset of a send: as it was told, or as it was read.
    pub(crate) fn offset_of(&self, send: &Operation) -> Option<i64> {
        let read = || self.reads.get(&(send.key.as_str(), send.value.as_str()))?.first().copied();
        send.offset.or_else(read)
    }

    /// How many values that were read are between two offsets.
    pub(crate) fn between(&self, key: &str, low: i64, high: i64) -> usize {
        let order = self.read_order.get(key);
        if low + 1 >= high { 0 } else { order.map_or(0, |order| order.range(low + 1..high).count()) }
    }

    /// The highest offset that was read of a key.
    pub(crate) fn highest_read(&self, key: &str) -> Option<i64> {
        self.read_order.get(key)?.last_key_value().map(|(offset, _)| *offset)
    }
}
