//! Timers by name: setting one again moves it, and what is due comes out in the order of its time. They are not in the
//! log: a coordinator that loads sets them anew. Kafka's counterpart is `CoordinatorTimer`.

use milena_types::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// All timers of one machine.
#[derive(Clone, Debug)]
pub struct Timers<K> {
    by_key: BTreeMap<K, Timestamp>,
    by_time: BTreeSet<(Timestamp, K)>,
}

impl<K> Default for Timers<K> {
    fn default() -> Self {
        Timers { by_key: BTreeMap::new(), by_time: BTreeSet::new() }
    }
}

impl<K: Ord + Clone> Timers<K> {
    /// Sets a timer, or moves it.
    pub fn set(&mut self, key: K, at: Timestamp) {
        if let Some(before) = self.by_key.insert(key.clone(), at) {
            self.by_time.remove(&(before, key.clone()));
        }
        self.by_time.insert((at, key));
    }

    /// Sets a timer unless it is set already.
    pub fn set_if_absent(&mut self, key: K, at: Timestamp) {
        if !self.by_key.contains_key(&key) {
            self.set(key, at);
        }
    }

    /// Takes a timer back.
    pub fn cancel(&mut self, key: &K) {
        if let Some((key, at)) = self.by_key.remove_entry(key) {
            self.by_time.remove(&(at, key));
        }
    }

    /// When a timer is due, if it is set.
    #[must_use]
    pub fn get(&self, key: &K) -> Option<Timestamp> {
        self.by_key.get(key).copied()
    }

    /// When the first timer is due.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// Takes one timer that is due.
    pub fn pop_due(&mut self, now: Timestamp) -> Option<K> {
        if self.next_deadline()? > now {
            return None;
        }
        let (_, key) = self.by_time.pop_first()?;
        self.by_key.remove(&key);
        Some(key)
    }

    /// How many are set.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Whether none is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_come_out_in_order_and_only_when_due_and_not_when_taken_back() {
        let mut timers = Timers::default();
        timers.set("a", Timestamp(10));
        timers.set("b", Timestamp(5));
        timers.set("c", Timestamp(7));
        timers.set("b", Timestamp(12));
        timers.set_if_absent("a", Timestamp(1));
        timers.cancel(&"c");
        assert_eq!(timers.next_deadline(), Some(Timestamp(10)));
        assert_eq!(timers.pop_due(Timestamp(9)), None);
        assert_eq!(timers.pop_due(Timestamp(20)), Some("a"));
        assert_eq!(timers.pop_due(Timestamp(20)), Some("b"));
        assert_eq!((timers.pop_due(Timestamp(20)), timers.is_empty()), (None, true));
    }
}
