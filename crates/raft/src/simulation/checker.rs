//! What must hold at every step of a run, whatever fails. Each violation panics with what was seen.

use std::collections::BTreeMap;

use milena_types::{LeaderEpoch, Offset};

use super::disk::{Disk, Entry};
use super::world::Node;
use crate::identity::{OffsetAndEpoch, ReplicaKey};
use crate::voters::VoterSet;

/// What happened in a run, for the proof that the runs reach what they are meant to reach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Coverage {
    pub(super) elections: u64,
    pub(super) truncations: u64,
    pub(super) snapshot_loads: u64,
    pub(super) voter_changes: u64,
    pub(super) resignations: u64,
    pub(super) crashes: u64,
    pub(super) lost_tails: u64,
    pub(super) commits: u64,
}

/// What all members together have shown so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Checker {
    leaders: BTreeMap<LeaderEpoch, i32>,
    /// By epoch and offset: the record, and the epoch of the one before it. One place of one epoch holds one record, and
    /// always behind the same one: by induction two logs that agree in one place agree in all before it.
    written: BTreeMap<(LeaderEpoch, i64), (Entry, Option<LeaderEpoch>)>,
    /// What was ever committed, by offset, and in which epoch.
    committed: Vec<(Entry, LeaderEpoch)>,
    pub(super) coverage: Coverage,
}

impl Checker {
    /// A member leads from now on: nobody else led its epoch, and it has all that is committed.
    pub(super) fn on_leader(&mut self, node: i32, epoch: LeaderEpoch, disk: &Disk) {
        let first = *self.leaders.entry(epoch).or_insert(node);
        assert_eq!(first, node, "two leaders in epoch {epoch}");
        self.coverage.elections += 1;
        // The votes of an old epoch may come when a newer one has begun to commit.
        let before = self.committed.iter().zip(0..).filter(|((_, committed_in), _)| *committed_in < epoch);
        for ((entry, _), offset) in before.filter(|(_, offset)| *offset >= disk.start) {
            assert_eq!(disk.get(offset), Some(entry), "leader {node} of epoch {epoch} lacks committed {offset}");
        }
    }

    /// Records were written at the end of a log.
    pub(super) fn on_append(&mut self, disk: &Disk, from: i64) {
        for offset in from..disk.end() {
            let Some(entry) = disk.get(offset) else { continue };
            let before = disk.epoch_before(offset);
            assert!(before.is_none_or(|before| before <= entry.epoch), "epochs go back at {offset}");
            let known = self.written.entry((entry.epoch, offset)).or_insert_with(|| (entry.clone(), before));
            assert_eq!((&known.0, known.1), (entry, before), "two logs differ at {offset} of epoch {}", entry.epoch);
        }
    }

    /// A member takes everything between `from` and `end` as committed.
    pub(super) fn on_commit(&mut self, (node, epoch): (i32, LeaderEpoch), disk: &Disk, from: i64, end: i64) {
        assert!(end >= from, "the high watermark of {node} went from {from} to {end}");
        assert!(end <= disk.end(), "{node} commits up to {end} but has only {}", disk.end());
        for offset in from.max(disk.start)..end {
            let Some(entry) = disk.get(offset) else { continue };
            let known = i64::try_from(self.committed.len()).unwrap_or(i64::MAX);
            if offset < known {
                let before = usize::try_from(offset).ok().and_then(|at| self.committed.get(at));
                assert_eq!(before.map(|(before, _)| before), Some(entry), "{node} commits another record at {offset}");
            } else {
                assert_eq!(offset, known, "{node} commits {offset} before all below is committed");
                self.committed.push((entry.clone(), epoch));
                self.coverage.commits += 1;
            }
        }
    }

    /// A snapshot holds what is committed.
    pub(super) fn on_snapshot(&self, node: i32, id: OffsetAndEpoch) {
        let last = usize::try_from(id.offset.0 - 1).ok().and_then(|at| self.committed.get(at));
        assert_eq!(
            last.map(|(entry, _)| entry.epoch),
            Some(id.epoch),
            "{node} loads a snapshot of what is not committed"
        );
    }

    /// A leader commits up to `end`: a majority of its voters has that on disk; `lost` had it before its disk was gone.
    pub(super) fn on_leader_commit<'a>(
        &self,
        voters: &VoterSet,
        end: Offset,
        (leader, lost): (&Disk, Option<ReplicaKey>),
        disks: impl Iterator<Item = (ReplicaKey, &'a Disk)>,
    ) {
        let Some(last) = leader.get(end.0 - 1) else {
            return;
        };
        let holds = |(key, disk): &(ReplicaKey, &Disk)| {
            let same = disk.start >= end.0 || disk.get(end.0 - 1) == Some(last);
            voters.contains(key) && disk.synced_end >= end.0 && same
        };
        let held = disks.filter(holds).count() + usize::from(lost.is_some_and(|lost| voters.contains(&lost)));
        assert!(held >= voters.majority(), "{end} is committed but only {held} of {voters:?} have it on disk");
    }

    /// The voters in force are those that the log says.
    pub(super) fn on_voters(&self, node: &Node) {
        let Some(quorum) = &node.quorum else { return };
        let found = node.disk.clone().boot().kraft;
        assert_eq!(quorum.kraft(), found.current(), "{} knows other voters than its log", node.id);
    }

    pub(super) fn committed_end(&self) -> i64 {
        i64::try_from(self.committed.len()).unwrap_or(i64::MAX)
    }
}
