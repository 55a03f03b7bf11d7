//! The log as the quorum sees it: where it begins and ends and where each epoch began; and how a fetcher's position is
//! checked against it (class `ReplicatedLog.validateOffsetAndEpoch`).

use milena_types::{LeaderEpoch, Offset};

use crate::identity::OffsetAndEpoch;

/// Ends and epochs of the local log. `epochs` is sorted, each with the offset of its first record.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EpochCache {
    pub start_offset: Offset,
    pub end_offset: Offset,
    /// What a crash cannot take back.
    pub durable_end_offset: Offset,
    epochs: Vec<(LeaderEpoch, Offset)>,
    /// Snapshots by age, oldest first.
    pub snapshots: Vec<OffsetAndEpoch>,
}

/// What a fetch position is to the leader's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    Valid,
    /// The fetcher must cut its log to this.
    Diverging(OffsetAndEpoch),
    /// The records are gone; the fetcher must load this snapshot.
    Snapshot(OffsetAndEpoch),
}

impl EpochCache {
    #[must_use]
    pub fn new(start: Offset, end: Offset, epochs: Vec<(LeaderEpoch, Offset)>, snapshots: Vec<OffsetAndEpoch>) -> Self {
        let mut log = EpochCache { start_offset: start, end_offset: end, durable_end_offset: end, epochs, snapshots };
        log.on_start_offset(start);
        log
    }

    /// Notes that the log begins at `start`. Snapshots that end before it count no longer: what lies between them and the
    /// start is not known, so that nothing may be concluded from their epochs.
    pub fn on_start_offset(&mut self, start: Offset) {
        self.start_offset = self.start_offset.max(start);
        self.snapshots.retain(|id| id.offset >= start);
    }

    /// The epoch of the last record, or of the latest snapshot when the log is empty, or 0.
    #[must_use]
    pub fn last_epoch(&self) -> LeaderEpoch {
        let logged = self.epochs.last().map(|(epoch, _)| *epoch);
        logged.or(self.snapshots.last().map(|id| id.epoch)).unwrap_or(LeaderEpoch(0))
    }

    /// End offset and last epoch.
    #[must_use]
    pub fn end(&self) -> OffsetAndEpoch {
        OffsetAndEpoch { offset: self.end_offset, epoch: self.last_epoch() }
    }

    /// Notes an append that ends at `end` in `epoch`.
    pub fn on_append(&mut self, epoch: LeaderEpoch, end: Offset) {
        if end > self.end_offset && self.epochs.last().is_none_or(|(last, _)| *last < epoch) {
            self.epochs.push((epoch, self.end_offset));
        }
        self.end_offset = self.end_offset.max(end);
    }

    /// Notes that the log was cut.
    pub fn on_truncate(&mut self, end: Offset) {
        self.epochs.retain(|(_, start)| *start < end);
        self.end_offset = end;
        self.durable_end_offset = self.durable_end_offset.min(end);
    }

    /// Notes that the log begins anew behind a loaded snapshot.
    pub fn on_snapshot_loaded(&mut self, id: OffsetAndEpoch) {
        self.epochs.clear();
        self.start_offset = id.offset;
        self.on_start_offset(id.offset);
        self.end_offset = id.offset;
        self.durable_end_offset = id.offset;
        self.on_snapshot_written(id);
    }

    /// Notes a snapshot; they are told in any order.
    pub(crate) fn on_snapshot_written(&mut self, id: OffsetAndEpoch) {
        if let Err(at) = self.snapshots.binary_search(&id) {
            self.snapshots.insert(at, id);
        }
    }

    /// Where the last epoch not after the asked one ends.
    #[must_use]
    pub fn end_offset_for_epoch(&self, epoch: LeaderEpoch) -> OffsetAndEpoch {
        let after = self.epochs.partition_point(|(known, _)| *known <= epoch);
        let floor = after.checked_sub(1).and_then(|at| self.epochs.get(at));
        match (floor, self.epochs.get(after)) {
            (Some((known, _)), Some((_, next_start))) => OffsetAndEpoch { offset: *next_start, epoch: *known },
            (Some((known, _)), None) if *known == epoch => OffsetAndEpoch { offset: self.end_offset, epoch },
            // An epoch after all of ours: the fetcher is cut back to our end.
            (Some(_), None) => self.end(),
            (None, Some((_, first_start))) => match self.snapshots.first() {
                Some(oldest) if oldest.epoch <= epoch => OffsetAndEpoch { offset: *first_start, epoch: oldest.epoch },
                _ => OffsetAndEpoch { offset: *first_start, epoch },
            },
            (None, None) => self.end(),
        }
    }

    /// Checks a fetch position.
    #[must_use]
    pub fn validate(&self, fetch_offset: Offset, last_fetched_epoch: LeaderEpoch) -> Validity {
        if self.start_offset == Offset(0) && fetch_offset == Offset(0) && last_fetched_epoch == LeaderEpoch(0) {
            return Validity::Valid;
        }
        if let (Some(oldest), Some(latest)) = (self.snapshots.first(), self.snapshots.last()) {
            let at_start_of_other_history =
                fetch_offset == self.start_offset && last_fetched_epoch != oldest.epoch && self.start_offset.0 > 0;
            if fetch_offset < self.start_offset || at_start_of_other_history || last_fetched_epoch < oldest.epoch {
                return Validity::Snapshot(*latest);
            }
        }
        let end = self.end_offset_for_epoch(last_fetched_epoch);
        if end.epoch != last_fetched_epoch || end.offset < fetch_offset {
            return Validity::Diverging(end);
        }
        Validity::Valid
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offset: i64, epoch: i32) -> OffsetAndEpoch {
        OffsetAndEpoch { offset: Offset(offset), epoch: LeaderEpoch(epoch) }
    }

    #[test]
    fn a_fetcher_is_valid_diverging_or_sent_to_a_snapshot() {
        let epochs = vec![(LeaderEpoch(2), Offset(10)), (LeaderEpoch(5), Offset(20))];
        let log = EpochCache::new(Offset(10), Offset(30), epochs, vec![at(10, 1)]);
        assert_eq!(log.validate(Offset(30), LeaderEpoch(5)), Validity::Valid);
        assert_eq!(log.validate(Offset(20), LeaderEpoch(2)), Validity::Valid);
        assert_eq!(log.validate(Offset(25), LeaderEpoch(2)), Validity::Diverging(at(20, 2)));
        assert_eq!(log.validate(Offset(22), LeaderEpoch(3)), Validity::Diverging(at(20, 2)));
        assert_eq!(log.validate(Offset(35), LeaderEpoch(5)), Validity::Diverging(at(30, 5)));
        assert_eq!(log.validate(Offset(30), LeaderEpoch(7)), Validity::Diverging(at(30, 5)));
        assert_eq!(log.validate(Offset(10), LeaderEpoch(1)), Validity::Valid);
        assert_eq!(log.validate(Offset(5), LeaderEpoch(1)), Validity::Snapshot(at(10, 1)));
        assert_eq!(log.validate(Offset(0), LeaderEpoch(0)), Validity::Snapshot(at(10, 1)));
    }

    #[test]
    fn a_snapshot_older_than_the_start_says_nothing_of_epochs() {
        let mut log = EpochCache::new(Offset(0), Offset(60), vec![(LeaderEpoch(3), Offset(0))], vec![at(40, 3)]);
        log.on_snapshot_loaded(at(89, 4));
        log.on_append(LeaderEpoch(4), Offset(95));
        // Epoch 3 ended before 89, nobody here knows where.
        assert_eq!(log.validate(Offset(100), LeaderEpoch(3)), Validity::Snapshot(at(89, 4)));
        let restarted =
            EpochCache::new(Offset(89), Offset(95), vec![(LeaderEpoch(4), Offset(89))], vec![at(40, 3), at(89, 4)]);
        assert_eq!((restarted.snapshots, restarted.start_offset), (log.snapshots, log.start_offset));
    }

    #[test]
    fn appends_and_truncations_move_epochs() {
        let mut log = EpochCache::new(Offset(0), Offset(0), vec![], vec![]);
        assert_eq!(log.end(), at(0, 0));
        log.on_append(LeaderEpoch(1), Offset(3));
        log.on_append(LeaderEpoch(1), Offset(4));
        log.on_append(LeaderEpoch(2), Offset(6));
        assert_eq!((log.end(), log.end_offset_for_epoch(LeaderEpoch(1))), (at(6, 2), at(4, 1)));
        log.on_truncate(Offset(4));
        assert_eq!(log.end(), at(4, 1));
    }
}
