//! `Ordered`: a sorted map that is cheap to clone and cheap to change after a clone.
//!
//! Entries lie in sorted runs of at most `RUN_MAX`, each behind an `Arc`, in one vector behind an `Arc`: two levels of a
//! B+ tree. A clone is one reference count; the first change after it copies the vector of runs and one run, not the map.
//! No order but the keys' own is ever visible, so decisions that iterate are deterministic.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

/// Most entries of one run before it is split in two.
const RUN_MAX: usize = 128;

type Run<K, V> = Arc<Vec<(K, V)>>;

/// A persistent sorted map.
pub struct Ordered<K, V> {
    runs: Arc<Vec<Run<K, V>>>,
    len: usize,
}

impl<K, V> Clone for Ordered<K, V> {
    fn clone(&self) -> Self {
        Self { runs: Arc::clone(&self.runs), len: self.len }
    }
}

impl<K, V> Default for Ordered<K, V> {
    fn default() -> Self {
        Self { runs: Arc::new(Vec::new()), len: 0 }
    }
}

impl<K: fmt::Debug, V: fmt::Debug> fmt::Debug for Ordered<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.runs.iter().flat_map(|run| run.iter()).map(|(key, value)| (key, value))).finish()
    }
}

impl<K: PartialEq, V: PartialEq> PartialEq for Ordered<K, V> {
    fn eq(&self, other: &Self) -> bool {
        let entries = |map: &Self| map.runs.iter().flat_map(|run| run.iter()).count();
        entries(self) == entries(other)
            && self.runs.iter().flat_map(|run| run.iter()).eq(other.runs.iter().flat_map(|run| run.iter()))
    }
}

impl<K: Ord + Clone, V: Clone> Ordered<K, V> {
    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The value of a key.
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let run = self.runs.get(self.run_of(key)?)?;
        let at = run.binary_search_by(|entry| entry.0.borrow().cmp(key)).ok()?;
        run.get(at).map(|entry| &entry.1)
    }

    /// Whether a key is present.
    pub fn contains_key<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.get(key).is_some()
    }

    /// The value of a key, to be changed in place; its run is copied when a clone shares it.
    pub fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        let index = self.run_of(key)?;
        let at = self.runs.get(index)?.binary_search_by(|entry| entry.0.borrow().cmp(key)).ok()?;
        let run = Arc::make_mut(Arc::make_mut(&mut self.runs).get_mut(index)?);
        run.get_mut(at).map(|entry| &mut entry.1)
    }

    /// Sets the value of a key and returns the one it had.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let Some(index) = self.run_of(&key) else {
            Arc::make_mut(&mut self.runs).push(Arc::new(vec![(key, value)]));
            self.len += 1;
            return None;
        };
        let runs = Arc::make_mut(&mut self.runs);
        let run = Arc::make_mut(runs.get_mut(index)?);
        match run.binary_search_by(|entry| entry.0.cmp(&key)) {
            Ok(at) => run.get_mut(at).map(|entry| std::mem::replace(&mut entry.1, value)),
            Err(at) => {
                run.insert(at, (key, value));
                self.len += 1;
                if run.len() > RUN_MAX {
                    let upper = run.split_off(run.len() / 2);
                    runs.insert(index + 1, Arc::new(upper));
                }
                None
            }
        }
    }

    /// Removes a key and returns its value.
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let index = self.run_of(key)?;
        let at = self.runs.get(index)?.binary_search_by(|entry| entry.0.borrow().cmp(key)).ok()?;
        let runs = Arc::make_mut(&mut self.runs);
        let run = Arc::make_mut(runs.get_mut(index)?);
        let (_, value) = run.remove(at);
        if run.is_empty() {
            runs.remove(index);
        }
        self.len -= 1;
        Some(value)
    }

    /// All entries in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.runs.iter().flat_map(|run| run.iter()).map(|(key, value)| (key, value))
    }

    /// All keys in order.
    pub fn keys(&self) -> impl Iterator<Item = &K> {
        self.iter().map(|(key, _)| key)
    }

    /// All values in the order of their keys.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }

    /// The entries whose key is at least `key`, in order.
    pub fn range_from<Q: Ord + ?Sized>(&self, key: &Q) -> impl Iterator<Item = (&K, &V)>
    where
        K: Borrow<Q>,
    {
        let index = self.run_of(key).unwrap_or(0);
        let at = self.runs.get(index).map_or(0, |run| run.partition_point(|entry| entry.0.borrow() < key));
        let first = self.runs.get(index).and_then(|run| run.get(at..)).unwrap_or_default();
        let rest = self.runs.get(index + 1..).unwrap_or_default();
        first.iter().chain(rest.iter().flat_map(|run| run.iter())).map(|(key, value)| (key, value))
    }

    /// The run that holds the key or would hold it; `None` only when there are no runs.
    fn run_of<Q: Ord + ?Sized>(&self, key: &Q) -> Option<usize>
    where
        K: Borrow<Q>,
    {
        if self.runs.is_empty() {
            return None;
        }
        let after = self.runs.partition_point(|run| run.first().is_some_and(|entry| entry.0.borrow() <= key));
        Some(after.saturating_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn behaves_as_a_btree_map_under_random_changes() {
        let mut model = BTreeMap::new();
        let mut map = Ordered::default();
        let mut state: u64 = 7;
        for step in 0..20_000u64 {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let key = (state >> 33) % 1500;
            if state & 3 == 0 {
                assert_eq!(map.remove(&key), model.remove(&key));
            } else {
                assert_eq!(map.insert(key, step), model.insert(key, step));
            }
            assert_eq!(map.len(), model.len());
        }
        assert!(map.iter().eq(model.iter()));
        for key in 0..1500 {
            assert_eq!(map.get(&key), model.get(&key));
            assert!(map.range_from(&key).eq(model.range(key..)));
        }
    }

    #[test]
    fn a_clone_does_not_see_later_changes() {
        let mut map = Ordered::default();
        for key in 0..1000 {
            map.insert(key, key);
        }
        let before = map.clone();
        map.insert(5, 500);
        map.remove(&6);
        *map.get_mut(&7).unwrap() = 700;
        assert_eq!((before.get(&5), before.get(&6), before.get(&7)), (Some(&5), Some(&6), Some(&7)));
        assert_eq!((map.get(&5), map.get(&6), map.get(&7)), (Some(&500), None, Some(&700)));
        assert_ne!(before, map);
    }
}
