//! `Timeline`: a map that knows what of it is committed. Changes are made in numbered rounds (one for each append); a
//! round can be committed, or taken back while it is not. Values are behind `Arc`, so that the state before a round costs
//! one copy for each value the round touches and nothing when the round is committed.
//!
//! Rounds are opened and closed by the runtime for all maps of a machine alike. Kafka's counterparts are
//! `SnapshotRegistry` and `TimelineHashMap`.

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::RangeBounds;
use std::sync::Arc;

/// A map with its uncommitted rounds.
#[derive(Clone, Debug)]
pub struct Timeline<K, V> {
    /// With every change of every round.
    latest: BTreeMap<K, Arc<V>>,
    /// Oldest first; the values of changed keys before the round.
    rounds: VecDeque<Round<K, V>>,
}

#[derive(Clone, Debug)]
struct Round<K, V> {
    number: u64,
    before: BTreeMap<K, Option<Arc<V>>>,
}

impl<K, V> Default for Timeline<K, V> {
    fn default() -> Self {
        Timeline { latest: BTreeMap::new(), rounds: VecDeque::new() }
    }
}

impl<K: Ord + Clone, V: Clone> Timeline<K, V> {
    /// Opens a round; its number is larger than those before. Without an open round changes are committed at once, as
    /// while loading.
    pub fn begin(&mut self, number: u64) {
        assert!(self.rounds.back().is_none_or(|last| last.number < number), "rounds are numbered upwards");
        self.rounds.push_back(Round { number, before: BTreeMap::new() });
    }

    /// Rounds up to and including `number` are committed.
    pub fn commit(&mut self, number: u64) {
        while self.rounds.front().is_some_and(|round| round.number <= number) {
            self.rounds.pop_front();
        }
    }

    /// Takes back every round from `number` on.
    pub fn revert(&mut self, number: u64) {
        while self.rounds.back().is_some_and(|round| round.number >= number) {
            let Some(round) = self.rounds.pop_back() else { return };
            for (key, before) in round.before {
                match before {
                    Some(value) => self.latest.insert(key, value),
                    None => self.latest.remove(&key),
                };
            }
        }
    }

    /// The value with all rounds.
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.latest.get(key).map(|value| &**value)
    }

    /// The value without uncommitted rounds.
    pub fn committed<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        match self.rounds.iter().find_map(|round| round.before.get(key)) {
            Some(before) => before.as_deref(),
            None => self.get(key),
        }
    }

    /// Whether there is a value, with all rounds.
    pub fn contains_key<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.latest.contains_key(key)
    }

    /// Sets a value and returns the one before.
    pub fn insert(&mut self, key: K, value: V) -> Option<Arc<V>> {
        let before = self.latest.insert(key.clone(), Arc::new(value));
        self.remember(key, before.as_ref());
        before
    }

    /// The value to be changed in place.
    pub fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        if let Some(round) = self.rounds.back_mut()
            && !round.before.contains_key(key)
        {
            let (key, value) = self.latest.get_key_value(key)?;
            round.before.insert(key.clone(), Some(Arc::clone(value)));
        }
        self.latest.get_mut(key).map(Arc::make_mut)
    }

    /// Removes a value and returns it.
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<Arc<V>>
    where
        K: Borrow<Q>,
    {
        let (key, before) = self.latest.remove_entry(key)?;
        self.remember(key, Some(&before));
        Some(before)
    }

    /// All values with all rounds, in the order of their keys.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&K, &V)> {
        self.latest.iter().map(|(key, value)| (key, &**value))
    }

    /// The values of a range of keys with all rounds.
    pub fn range<Q, R>(&self, range: R) -> impl DoubleEndedIterator<Item = (&K, &V)>
    where
        Q: Ord + ?Sized,
        K: Borrow<Q>,
        R: RangeBounds<Q>,
    {
        self.latest.range(range).map(|(key, value)| (key, &**value))
    }

    /// The values of a range of keys without uncommitted rounds.
    pub fn committed_range<'a, Q, R>(&'a self, range: R) -> impl Iterator<Item = (&'a K, &'a V)>
    where
        Q: Ord + ?Sized + 'a,
        K: Borrow<Q>,
        R: RangeBounds<Q> + Clone,
    {
        let mut keys: BTreeSet<&K> = self.latest.range::<Q, R>(range.clone()).map(|(key, _)| key).collect();
        for round in &self.rounds {
            keys.extend(round.before.range::<Q, R>(range.clone()).map(|(key, _)| key));
        }
        keys.into_iter().filter_map(|key| Some((key, self.committed(key.borrow())?)))
    }

    /// How many values there are, with all rounds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.latest.len()
    }

    /// Whether there are none, with all rounds.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.latest.is_empty()
    }

    fn remember(&mut self, key: K, before: Option<&Arc<V>>) {
        if let Some(round) = self.rounds.back_mut() {
            round.before.entry(key).or_insert_with(|| before.cloned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(timeline: &Timeline<u32, u32>) -> Vec<(u32, u32)> {
        timeline.iter().map(|(key, value)| (*key, *value)).collect()
    }

    fn committed(timeline: &Timeline<u32, u32>) -> Vec<(u32, u32)> {
        timeline.committed_range(..).map(|(key, value)| (*key, *value)).collect()
    }

    #[test]
    fn what_is_not_committed_is_not_seen_as_committed_and_can_be_taken_back() {
        let mut map = Timeline::default();
        map.insert(1, 10);
        map.begin(1);
        map.insert(2, 20);
        *map.get_mut(&1).unwrap() = 11;
        map.begin(2);
        map.remove(&1);
        *map.get_mut(&2).unwrap() = 21;
        assert_eq!(values(&map), [(2, 21)]);
        assert_eq!(committed(&map), [(1, 10)]);
        map.commit(1);
        assert_eq!(committed(&map), [(1, 11), (2, 20)]);
        map.revert(2);
        assert_eq!(values(&map), [(1, 11), (2, 20)]);
    }

    #[test]
    fn agrees_with_a_list_of_copies_under_random_rounds() {
        let mut state: u64 = 11;
        let mut next = move |bound: u64| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) % bound
        };
        let mut map = Timeline::default();
        // The state after each round; the first is committed.
        let mut copies: VecDeque<(u64, BTreeMap<u32, u32>)> = VecDeque::from([(0, BTreeMap::new())]);
        for number in 1..5000u64 {
            map.begin(number);
            let mut copy = copies.back().unwrap().1.clone();
            for _ in 0..next(5) {
                let key = next(12) as u32;
                match next(3) {
                    0 => assert_eq!(map.remove(&key).is_some(), copy.remove(&key).is_some()),
                    1 => {
                        map.insert(key, number as u32);
                        copy.insert(key, number as u32);
                    }
                    _ => {
                        if let Some(value) = map.get_mut(&key) {
                            *value += 1;
                        }
                        copy.entry(key).and_modify(|value| *value += 1);
                    }
                }
            }
            copies.push_back((number, copy));
            if next(4) == 0 && copies.len() > 1 {
                let upto = copies[1 + next(copies.len() as u64 - 1) as usize].0;
                map.commit(upto);
                copies.retain(|(number, _)| *number >= upto);
            }
            if next(6) == 0 && copies.len() > 1 {
                let from = copies[1 + next(copies.len() as u64 - 1) as usize].0;
                map.revert(from);
                copies.retain(|(number, _)| *number < from);
            }
            assert!(map.iter().map(|(k, v)| (*k, *v)).eq(copies.back().unwrap().1.clone()));
            assert!(map.committed_range(..).map(|(k, v)| (*k, *v)).eq(copies.front().unwrap().1.clone()));
        }
    }
}
