//! Which leader epoch began at which offset (`LeaderEpochFileCache`). Entries are few, so a sorted vector; the file is
//! written by the log, with the batch that brings a new epoch and before the recovery point passes it.

use milena_types::{LeaderEpoch, Offset};

/// The first offset of an epoch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EpochEntry {
    /// The epoch, at least 0.
    pub epoch: LeaderEpoch,
    /// Offset of the first record it may have.
    pub start_offset: Offset,
}

/// The epochs of one log, ascending in both numbers.
#[derive(Clone, Debug, Default)]
pub struct EpochCache {
    entries: Vec<EpochEntry>,
}

impl EpochCache {
    /// Builds the cache from a file's lines, dropping what is out of order as `assign` does.
    #[must_use]
    pub fn from_entries(entries: &[EpochEntry]) -> EpochCache {
        let mut cache = EpochCache::default();
        for entry in entries {
            cache.assign(entry.epoch, entry.start_offset);
        }
        cache
    }

    /// All entries.
    #[must_use]
    pub fn entries(&self) -> &[EpochEntry] {
        &self.entries
    }

    /// The newest epoch.
    #[must_use]
    pub fn latest(&self) -> Option<EpochEntry> {
        self.entries.last().copied()
    }

    /// Notes that `epoch` begins at `start_offset`; later entries that contradict it go. Whether anything changed.
    pub fn assign(&mut self, epoch: LeaderEpoch, start_offset: Offset) -> bool {
        if epoch.0 < 0 || start_offset.0 < 0 {
            return false;
        }
        if self.latest().is_some_and(|latest| latest.epoch == epoch && start_offset >= latest.start_offset) {
            return false;
        }
        while self.latest().is_some_and(|last| last.epoch >= epoch || last.start_offset >= start_offset) {
            self.entries.pop();
        }
        self.entries.push(EpochEntry { epoch, start_offset });
        true
    }

    /// A batch of `epoch` was found at `offset` after a crash. The file may tell of a later epoch that began before: one in
    /// which this node led without records, cut off since. It goes; Kafka keeps it, and as a leader tells its followers for
    /// ever that the logs part. Whether anything changed.
    pub fn recover(&mut self, epoch: LeaderEpoch, offset: Offset) -> bool {
        let before = self.entries.len();
        if epoch.0 >= 0 {
            self.entries.retain(|entry| entry.epoch <= epoch || entry.start_offset > offset);
        }
        let is_new = self.latest().is_none_or(|latest| epoch > latest.epoch) && self.assign(epoch, offset);
        is_new || before != self.entries.len()
    }

    /// The end of `epoch`: the start of the next greater one known, with the greatest known epoch that is not greater
    /// than it; the log's end for the newest; `None` if nothing can be said (`endOffsetFor`).
    #[must_use]
    pub fn end_offset_for(&self, epoch: LeaderEpoch, log_end_offset: Offset) -> Option<(LeaderEpoch, Offset)> {
        if epoch == LeaderEpoch::NONE {
            return None;
        }
        if self.latest().is_some_and(|latest| latest.epoch == epoch) {
            return Some((epoch, log_end_offset));
        }
        let at = self.entries.partition_point(|entry| entry.epoch <= epoch);
        let higher = self.entries.get(at)?;
        let floor = at.checked_sub(1).and_then(|at| self.entries.get(at));
        Some((floor.map_or(epoch, |floor| floor.epoch), higher.start_offset))
    }

    /// The epoch of the record at `offset`.
    #[must_use]
    pub fn epoch_for(&self, offset: Offset) -> Option<LeaderEpoch> {
        let at = self.entries.partition_point(|entry| entry.start_offset <= offset);
        at.checked_sub(1).and_then(|at| self.entries.get(at)).map(|entry| entry.epoch)
    }

    /// Drops epochs that begin at or after `end_offset`. Whether anything changed.
    pub fn truncate_from_end(&mut self, end_offset: Offset) -> bool {
        let before = self.entries.len();
        if end_offset.0 >= 0 {
            self.entries.retain(|entry| entry.start_offset < end_offset);
        }
        before != self.entries.len()
    }

    /// Drops epochs that end before `start_offset`; the one that holds it begins there now. Whether anything changed.
    pub fn truncate_from_start(&mut self, start_offset: Offset) -> bool {
        let below = self.entries.partition_point(|entry| entry.start_offset <= start_offset);
        let Some(last_below) = below.checked_sub(1) else { return false };
        let Some(holder) = self.entries.get_mut(last_below) else { return false };
        if last_below == 0 && holder.start_offset == start_offset {
            return false;
        }
        holder.start_offset = start_offset;
        self.entries.drain(..last_below);
        true
    }

    /// Forgets everything. Whether anything changed.
    pub fn clear(&mut self) -> bool {
        let changed = !self.entries.is_empty();
        self.entries.clear();
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(entries: &[(i32, i64)]) -> EpochCache {
        let mut cache = EpochCache::default();
        for (epoch, start) in entries {
            cache.assign(LeaderEpoch(*epoch), Offset(*start));
        }
        cache
    }

    fn listed(cache: &EpochCache) -> Vec<(i32, i64)> {
        cache.entries().iter().map(|entry| (entry.epoch.0, entry.start_offset.0)).collect()
    }

    #[test]
    fn an_epoch_ends_where_the_next_known_one_begins() {
        let cache = cache(&[(2, 10), (4, 20), (7, 30)]);
        let end = |epoch| cache.end_offset_for(LeaderEpoch(epoch), Offset(42)).map(|(e, o)| (e.0, o.0));
        assert_eq!(end(7), Some((7, 42)));
        assert_eq!(end(4), Some((4, 30)));
        assert_eq!(end(5), Some((4, 30)), "an unknown epoch answers with the one before");
        assert_eq!(end(1), Some((1, 10)), "before the first");
        assert_eq!(end(8), None);
        assert_eq!(end(-1), None);
    }

    #[test]
    fn assigning_removes_what_contradicts() {
        assert_eq!(listed(&cache(&[(1, 0), (2, 10), (3, 10)])), [(1, 0), (3, 10)], "an epoch without records");
        assert_eq!(listed(&cache(&[(1, 0), (5, 10), (3, 20)])), [(1, 0), (3, 20)]);
        assert_eq!(listed(&cache(&[(1, 0), (5, 10), (5, 20)])), [(1, 0), (5, 10)]);
        assert_eq!(listed(&cache(&[(1, 5), (5, 10), (6, 3)])), [(6, 3)]);
    }

    #[test]
    fn truncation_cuts_both_ends() {
        let mut epochs = cache(&[(1, 0), (2, 10), (3, 20)]);
        assert!(epochs.truncate_from_end(Offset(20)));
        assert_eq!(listed(&epochs), [(1, 0), (2, 10)]);
        assert!(epochs.truncate_from_start(Offset(15)));
        assert_eq!(listed(&epochs), [(2, 15)]);
        assert!(!epochs.truncate_from_start(Offset(15)));
        assert_eq!(epochs.epoch_for(Offset(14)), None);
        assert_eq!(epochs.epoch_for(Offset(15)), Some(LeaderEpoch(2)));
    }
}
