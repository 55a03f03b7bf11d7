//! A log of numbers: one record an offset, each with its leader epoch; and the epochs' starts, as the storage keeps them.

use milena_replication::EpochEnd;
use milena_types::{LeaderEpoch, Offset};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) epoch: i32,
    pub(crate) value: u64,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Log {
    pub(crate) entries: Vec<Entry>,
    starts: Vec<(i32, usize)>,
    /// What a power cut cannot take.
    pub(crate) synced: usize,
}

impl Log {
    pub(crate) fn end(&self) -> Offset {
        Offset(self.entries.len() as i64)
    }

    pub(crate) fn begin_epoch(&mut self, epoch: i32, start: usize) {
        if self.starts.last().is_some_and(|last| last.0 == epoch && start >= last.1) {
            return;
        }
        while self.starts.last().is_some_and(|last| last.0 >= epoch || last.1 >= start) {
            self.starts.pop();
        }
        self.starts.push((epoch, start));
    }

    pub(crate) fn append(&mut self, entry: Entry) {
        self.begin_epoch(entry.epoch, self.entries.len());
        self.entries.push(entry);
    }

    pub(crate) fn truncate(&mut self, end: usize) {
        self.entries.truncate(end);
        self.synced = self.synced.min(end);
        self.starts.retain(|(_, start)| *start < end);
    }

    pub(crate) fn latest_epoch(&self) -> LeaderEpoch {
        self.starts.last().map_or(LeaderEpoch::NONE, |(epoch, _)| LeaderEpoch(*epoch))
    }

    /// Where an epoch ends, or the greatest one below it.
    pub(crate) fn end_of(&self, epoch: LeaderEpoch) -> Option<EpochEnd> {
        if !epoch.is_some() {
            return None;
        }
        if self.latest_epoch() == epoch {
            return Some(EpochEnd { epoch, end: self.end() });
        }
        let at = self.starts.partition_point(|(known, _)| *known <= epoch.0);
        let higher = self.starts.get(at)?;
        let floor = at.checked_sub(1).map_or(epoch, |at| LeaderEpoch(self.starts[at].0));
        Some(EpochEnd { epoch: floor, end: Offset(higher.1 as i64) })
    }
}
