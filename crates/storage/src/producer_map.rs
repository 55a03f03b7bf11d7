//! Producers by id, in little more memory than they need themselves. Ids are given out in blocks, so that those of a
//! partition lie close together: they are kept in short sorted runs. A tree of single entries would be half empty, since
//! it is filled from the left; a hash map would have an order of its own.

use std::collections::BTreeMap;

use crate::producer_entry::ProducerEntry;

/// Ids that differ in these lowest bits only are in one run.
const RUN_BITS: u32 = 6;

type Run = Vec<(i64, ProducerEntry)>;

/// A sorted map of producer ids.
#[derive(Clone, Debug, Default)]
pub(crate) struct ProducerMap {
    runs: BTreeMap<i64, Run>,
    len: usize,
}

impl ProducerMap {
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn get(&self, producer_id: i64) -> Option<&ProducerEntry> {
        let run = self.runs.get(&(producer_id >> RUN_BITS))?;
        let at = place(run, producer_id).ok()?;
        run.get(at).map(|(_, entry)| entry)
    }

    pub(crate) fn get_mut(&mut self, producer_id: i64) -> Option<&mut ProducerEntry> {
        let run = self.runs.get_mut(&(producer_id >> RUN_BITS))?;
        let at = place(run, producer_id).ok()?;
        run.get_mut(at).map(|(_, entry)| entry)
    }

    /// Sets an entry and returns the one before.
    pub(crate) fn insert(&mut self, producer_id: i64, entry: ProducerEntry) -> Option<ProducerEntry> {
        let run = self.runs.entry(producer_id >> RUN_BITS).or_default();
        match place(run, producer_id) {
            Ok(at) => run.get_mut(at).map(|(_, known)| std::mem::replace(known, entry)),
            Err(at) => {
                if run.len() == run.capacity() {
                    let longest = 1 << RUN_BITS;
                    run.reserve_exact((1 + run.len() / 2).min(longest - run.len()));
                }
                run.insert(at, (producer_id, entry));
                self.len += 1;
                None
            }
        }
    }

    pub(crate) fn remove(&mut self, producer_id: i64) -> Option<ProducerEntry> {
        let key = producer_id >> RUN_BITS;
        let run = self.runs.get_mut(&key)?;
        let at = place(run, producer_id).ok()?;
        let (_, entry) = run.remove(at);
        if run.is_empty() {
            self.runs.remove(&key);
        }
        self.len -= 1;
        Some(entry)
    }

    /// In the order of their ids.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (i64, &ProducerEntry)> {
        self.runs.values().flatten().map(|(id, entry)| (*id, entry))
    }

    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&ProducerEntry) -> bool) {
        let mut len = 0;
        self.runs.retain(|_, run| {
            let before = run.len();
            run.retain(|(_, entry)| keep(entry));
            if run.len() < before {
                run.shrink_to_fit();
            }
            len += run.len();
            !run.is_empty()
        });
        self.len = len;
    }
}

fn place(run: &Run, producer_id: i64) -> Result<usize, usize> {
    run.binary_search_by_key(&producer_id, |(id, _)| *id)
}

#[cfg(test)]
mod tests {
    use milena_types::ProducerEpoch;

    use super::*;

    #[test]
    fn agrees_with_a_tree_and_wastes_no_room() {
        let mut state: u64 = 3;
        let mut next = move |bound: u64| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) % bound
        };
        let mut map = ProducerMap::default();
        let mut tree: BTreeMap<i64, ProducerEntry> = BTreeMap::new();
        for step in 0..20_000u64 {
            let id = next(1000) as i64;
            let entry = ProducerEntry::saved(ProducerEpoch((step % 1000) as i16), -1, step as i64, None);
            match next(5) {
                0 => assert_eq!(map.remove(id), tree.remove(&id)),
                1 => assert_eq!(map.get(id), tree.get(&id)),
                _ => assert_eq!(map.insert(id, entry.clone()), tree.insert(id, entry)),
            }
            if step % 4000 == 3999 {
                let old = |entry: &ProducerEntry| entry.last_timestamp + 1000 > step as i64;
                map.retain(old);
                tree.retain(|_, entry| old(entry));
            }
            assert_eq!(map.len(), tree.len());
        }
        assert!(map.iter().map(|(id, entry)| (id, entry.clone())).eq(tree));
        for id in 0..1000 {
            map.insert(id, ProducerEntry::EMPTY);
        }
        assert!(map.runs.values().all(|run| run.capacity() <= 1 << RUN_BITS));
        map.retain(|_| false);
        assert!(map.is_empty() && map.runs.is_empty());
    }
}
