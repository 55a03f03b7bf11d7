//! One member's disk: log, `quorum-state` and snapshots. A crash may take back whatever of the log was not synced.

use milena_types::{LeaderEpoch, Offset};

use super::random::Random;
use crate::accumulator::{BatchContent, ControlRecord, LeaderBatch};
use crate::election_state::ElectionState;
use crate::epochs::EpochCache;
use crate::fetched::Fetched;
use crate::identity::OffsetAndEpoch;
use crate::kraft_history::KRaftHistory;
use crate::quorum::Boot;
use crate::voters::KRaftState;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Payload {
    Control(ControlRecord),
    Data(u64),
}

/// One record of the log.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Entry {
    pub(super) epoch: LeaderEpoch,
    pub(super) payload: Payload,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Snapshot {
    pub(super) id: OffsetAndEpoch,
    pub(super) kraft: KRaftState,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Disk {
    pub(super) start: i64,
    entries: Vec<Entry>,
    pub(super) synced_end: i64,
    election: Option<ElectionState>,
    /// What a crash leaves of `quorum-state` when the host does not sync it.
    synced_election: Option<ElectionState>,
    /// Oldest first.
    pub(super) snapshots: Vec<Snapshot>,
    formatted: KRaftState,
}

impl Disk {
    pub(super) fn formatted(formatted: KRaftState) -> Disk {
        Disk {
            start: 0,
            entries: Vec::new(),
            synced_end: 0,
            election: None,
            synced_election: None,
            snapshots: Vec::new(),
            formatted,
        }
    }

    pub(super) fn end(&self) -> i64 {
        self.start + i64::try_from(self.entries.len()).unwrap_or(i64::MAX)
    }

    pub(super) fn get(&self, offset: i64) -> Option<&Entry> {
        self.entries.get(usize::try_from(offset - self.start).ok()?)
    }

    /// The epoch of the record before `offset`.
    pub(super) fn epoch_before(&self, offset: i64) -> Option<LeaderEpoch> {
        let snapshot = || self.snapshots.iter().find(|snapshot| snapshot.id.offset.0 == offset);
        self.get(offset - 1).map(|entry| entry.epoch).or_else(|| snapshot().map(|snapshot| snapshot.id.epoch))
    }

    pub(super) fn read(&self, from: i64, end: i64) -> Vec<Entry> {
        (from..end.min(self.end())).map_while(|offset| self.get(offset).cloned()).collect()
    }

    pub(super) fn append(&mut self, entries: impl IntoIterator<Item = Entry>) {
        self.entries.extend(entries);
    }

    pub(super) fn append_batch(&mut self, batch: &LeaderBatch) {
        assert_eq!(batch.base_offset.0, self.end(), "a leader appends at the end of its log");
        let entry = |payload| Entry { epoch: batch.epoch, payload };
        match &batch.content {
            BatchContent::Control(records) => {
                self.append(records.iter().cloned().map(|record| entry(Payload::Control(record))));
            }
            BatchContent::Records(values) => self.append(values.iter().map(|value| {
                let bytes = value.first_chunk::<8>().copied().unwrap_or_default();
                entry(Payload::Data(u64::from_be_bytes(bytes)))
            })),
        }
    }

    pub(super) fn truncate(&mut self, end: i64) {
        assert!(end >= self.start, "the log is cut below its start");
        self.entries.truncate(usize::try_from(end - self.start).unwrap_or(0));
        self.synced_end = self.synced_end.min(end);
    }

    pub(super) fn write_election(&mut self, state: ElectionState, synced: bool) {
        if synced {
            self.synced_election = Some(state.clone());
        }
        self.election = Some(state);
    }

    /// The log goes back to any length between what was synced and what was written.
    pub(super) fn crash(&mut self, random: &mut Random) {
        let kept = random.between(self.synced_end, self.end().max(self.synced_end));
        self.entries.truncate(usize::try_from(kept - self.start).unwrap_or(0));
        self.election.clone_from(&self.synced_election);
    }

    pub(super) fn write_snapshot(&mut self, snapshot: Snapshot) {
        self.snapshots.push(snapshot);
    }

    /// Everything below the newest snapshot goes.
    pub(super) fn clean(&mut self) {
        let Some(newest) = self.snapshots.pop() else {
            return;
        };
        let drop = usize::try_from(newest.id.offset.0 - self.start).unwrap_or(0);
        self.entries.drain(..drop.min(self.entries.len()));
        self.start = newest.id.offset.0;
        self.snapshots = vec![newest];
    }

    /// A downloaded snapshot replaces the log.
    pub(super) fn load(&mut self, snapshot: Snapshot) {
        self.start = snapshot.id.offset.0;
        self.synced_end = self.start;
        self.entries.clear();
        self.snapshots = vec![snapshot];
    }

    /// What a restarted member finds.
    pub(super) fn boot(&mut self) -> Boot {
        // What survived the crash is on disk: a start syncs it.
        self.synced_end = self.end();
        let base = self.snapshots.first().filter(|snapshot| snapshot.id.offset.0 == self.start);
        let mut kraft = KRaftHistory::from(base.map_or(&self.formatted, |snapshot| &snapshot.kraft).clone());
        let mut epochs: Vec<(LeaderEpoch, Offset)> = Vec::new();
        for (entry, offset) in self.entries.iter().zip(self.start..) {
            if epochs.last().is_none_or(|(epoch, _)| *epoch < entry.epoch) {
                epochs.push((entry.epoch, Offset(offset)));
            }
            if let Payload::Control(record) = &entry.payload {
                kraft.on_control(Offset(offset), record);
            }
        }
        let snapshots = self.snapshots.iter().map(|snapshot| snapshot.id).collect();
        let log = EpochCache::new(Offset(self.start), Offset(self.end()), epochs, snapshots);
        Boot { election: self.election.clone(), log, kraft }
    }
}

/// What the core must know of fetched records that begin at `base`.
pub(super) fn fetched(base: i64, entries: &[Entry]) -> Fetched {
    let mut fetched = Fetched::default();
    for (entry, offset) in entries.iter().zip(base..) {
        fetched.ends.push((entry.epoch, Offset(offset + 1)));
        if let Payload::Control(record) = &entry.payload {
            fetched.controls.push((Offset(offset), record.clone()));
        }
    }
    fetched
}
