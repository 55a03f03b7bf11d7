//! Timers by name: setting one again moves it, and what is due comes out in the order of its time. They are not in the
//! log: a coordinator that loads sets them anew. Times are given and told by the time of day, but kept by steady time:
//! when somebody sets the clock, nothing becomes due earlier or later. Kafka's counterpart is `CoordinatorTimer`.

use milena_types::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// All timers of one machine.
#[derive(Clone, Debug)]
pub struct Timers<K> {
    /// Steady times.
    by_key: BTreeMap<K, Timestamp>,
    by_time: BTreeSet<(Timestamp, K)>,
    /// Steady time less the time of day, milliseconds.
    steady_ahead_ms: i64,
}

impl<K> Default for Timers<K> {
    fn default() -> Self {
        Timers { by_key: BTreeMap::new(), by_time: BTreeSet::new(), steady_ahead_ms: 0 }
    }
}

impl<K: Ord + Clone> Timers<K> {
    /// Says how far steady time is ahead of the time of day now.
    pub fn set_steady_ahead(&mut self, ms: i64) {
        self.steady_ahead_ms = ms;
    }

    fn steady(&self, time_of_day: Timestamp) -> Timestamp {
        Timestamp(time_of_day.0.saturating_add(self.steady_ahead_ms))
    }

    fn time_of_day(&self, steady: Timestamp) -> Timestamp {
        Timestamp(steady.0.saturating_sub(self.steady_ahead_ms))
    }

    /// Sets a timer, or moves it.
    pub fn set(&mut self, key: K, at: Timestamp) {
        let at = self.steady(at);
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
        self.by_key.get(key).map(|at| self.time_of_day(*at))
    }

    /// When the first timer is due.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.by_time.first().map(|(at, _)| self.time_of_day(*at))
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
    fn setting_the_clock_makes_nothing_due() {
        let mut timers = Timers::default();
        timers.set("a", Timestamp(1_000));
        // The clock is set an hour forward, and no time has passed.
        timers.set_steady_ahead(-3_600_000);
        assert_eq!(timers.next_deadline(), Some(Timestamp(3_601_000)));
        assert_eq!(timers.pop_due(Timestamp(3_600_900)), None);
        timers.set("b", Timestamp(3_600_950));
        assert_eq!(timers.pop_due(Timestamp(3_600_990)), Some("b"));
        // And back, by more than it was.
        timers.set_steady_ahead(500);
        assert_eq!(timers.get(&"a"), Some(Timestamp(500)));
        assert_eq!(timers.pop_due(Timestamp(500)), Some("a"));
    }

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
