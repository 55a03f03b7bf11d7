//! What was below a high watermark once: it may never change.

use std::collections::BTreeSet;

use crate::broker::{Entry, Replica};

/// The committed records of one partition, by offset.
#[derive(Default)]
pub(crate) struct Ledger {
    pub(crate) entries: Vec<Entry>,
    pub(crate) values: BTreeSet<u64>,
}

impl Ledger {
    /// The offset after the last committed record.
    pub(crate) fn end(&self) -> i64 {
        i64::try_from(self.entries.len()).unwrap_or(i64::MAX)
    }

    pub(crate) fn get(&self, offset: i64) -> Option<Entry> {
        self.entries.get(usize::try_from(offset).ok()?).copied()
    }

    /// Where a log first differs, what is committed there and what it has; for messages.
    pub(crate) fn first_difference(&self, log: &[Entry]) -> (usize, Option<Entry>, Option<Entry>) {
        let at = self.entries.iter().zip(log).take_while(|(committed, here)| committed == here).count();
        (at, self.entries.get(at).copied(), log.get(at).copied())
    }

    /// Whether a log holds all of it. Where the last record is the same, those before it are: that is checked elsewhere.
    pub(crate) fn is_in(&self, log: &[Entry]) -> bool {
        match self.entries.len().checked_sub(1) {
            None => true,
            Some(last) => log.get(last) == self.entries.get(last),
        }
    }
}

/// Topics that allow unclean elections are promised nothing.
pub(crate) fn is_promised(topic: &str) -> bool {
    !topic.starts_with("unclean")
}

impl Replica {
    pub(crate) fn is_promised(&self) -> bool {
        is_promised(&self.name.topic)
    }

    /// For messages.
    pub(crate) fn title(&self) -> String {
        self.name.to_string()
    }
}

/// The same by key, as the newest metadata names it.
pub(crate) fn is_promised_key(world: &crate::world::World, key: milena_replication::PartitionKey) -> bool {
    world.newest.topics.get(key.0).is_some_and(|topic| is_promised(&topic.name))
}
