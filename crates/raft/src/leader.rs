//! A leader's view of its epoch (class `LeaderState`): how far each replica is, what is committed, what is queued.
//!
//! The high watermark is the largest offset that a majority of voters has on disk, and moves only past the start of the
//! epoch, so that nothing of an earlier epoch is committed by counting alone.

use std::collections::BTreeMap;

use milena_types::{BrokerId, Offset, Timestamp};

use crate::accumulator::Accumulator;
use crate::identity::ReplicaKey;
use crate::voters::VoterSet;

/// Observers that have not fetched for this long are forgotten (`OBSERVER_SESSION_TIMEOUT_MS`).
const OBSERVER_SESSION_TIMEOUT_MS: i64 = 300_000;

/// How far a replica is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplicaProgress {
    pub key: ReplicaKey,
    /// `Offset::NONE` before its first fetch.
    pub end_offset: Offset,
    /// -1 before its first fetch.
    pub last_fetch: Timestamp,
    /// When it last had all the leader had; -1 never.
    pub last_caught_up: Timestamp,
    last_fetch_leader_end: Offset,
}

impl ReplicaProgress {
    fn new(key: ReplicaKey) -> ReplicaProgress {
        ReplicaProgress {
            key,
            end_offset: Offset::NONE,
            last_fetch: Timestamp::NONE,
            last_caught_up: Timestamp::NONE,
            last_fetch_leader_end: Offset::NONE,
        }
    }

    fn on_fetch(&mut self, offset: Offset, leader_end: Offset, now: Timestamp) {
        if offset >= leader_end {
            self.last_caught_up = now;
        } else if offset >= self.last_fetch_leader_end && self.last_fetch_leader_end.is_some() {
            self.last_caught_up = self.last_caught_up.max(self.last_fetch);
        }
        self.end_offset = self.end_offset.max(offset);
        self.last_fetch = self.last_fetch.max(now);
        self.last_fetch_leader_end = self.last_fetch_leader_end.max(leader_end);
    }
}

/// The state of a leader.
#[derive(Debug)]
pub(crate) struct Leadership {
    pub(crate) local: ReplicaKey,
    pub(crate) epoch_start: Offset,
    pub(crate) high_watermark: Option<Offset>,
    pub(crate) queue: Accumulator,
    pub(crate) voters: BTreeMap<BrokerId, ReplicaProgress>,
    pub(crate) observers: BTreeMap<ReplicaKey, ReplicaProgress>,
    /// Voters that have not yet shown that they know this epoch.
    pub(crate) unacknowledged: Vec<BrokerId>,
    pub(crate) next_begin_epoch: Timestamp,
    /// When a majority must have fetched again.
    pub(crate) check_quorum_deadline: Timestamp,
}

impl Leadership {
    pub(crate) fn new(local: ReplicaKey, voters: &VoterSet, queue: Accumulator, check_quorum: Timestamp) -> Leadership {
        let progress = voters.voters().iter().map(|voter| (voter.key.id, ReplicaProgress::new(voter.key)));
        Leadership {
            local,
            epoch_start: queue.next_offset(),
            high_watermark: None,
            queue,
            voters: progress.collect(),
            observers: BTreeMap::new(),
            unacknowledged: voters.voters().iter().map(|voter| voter.key.id).filter(|id| *id != local.id).collect(),
            next_begin_epoch: Timestamp(0),
            check_quorum_deadline: check_quorum,
        }
    }

    /// The leader's own log is on disk up to `end`.
    pub(crate) fn on_local_durable(&mut self, end: Offset, now: Timestamp) -> bool {
        let local = self.local.id;
        if let Some(own) = self.voters.get_mut(&local) {
            own.end_offset = own.end_offset.max(end);
            own.last_fetch = now;
            own.last_caught_up = now;
        }
        self.advance()
    }

    /// A replica fetched from `offset`: all below is on its disk. Says whether the high watermark moved.
    pub(crate) fn on_fetch(&mut self, replica: ReplicaKey, offset: Offset, leader_end: Offset, now: Timestamp) -> bool {
        if !replica.id.is_some() || replica.id == self.local.id {
            return false;
        }
        if let Some(voter) = self.voters.get_mut(&replica.id)
            && voter.key.is_same(&replica)
        {
            voter.on_fetch(offset, leader_end, now);
            self.unacknowledged.retain(|id| *id != replica.id);
            return self.advance();
        }
        let observer = self.observers.entry(replica).or_insert_with(|| ReplicaProgress::new(replica));
        observer.on_fetch(offset, leader_end, now);
        self.observers.retain(|_, observer| now.0 - observer.last_fetch.0 < OBSERVER_SESSION_TIMEOUT_MS);
        false
    }

    fn advance(&mut self) -> bool {
        let mut ends: Vec<Offset> = self.voters.values().map(|voter| voter.end_offset).collect();
        ends.sort_unstable_by(|left, right| right.cmp(left));
        let Some(agreed) = ends.get(ends.len() / 2).copied() else {
            return false;
        };
        let moves = agreed > self.epoch_start && self.high_watermark.is_none_or(|known| agreed > known);
        if moves {
            self.high_watermark = Some(agreed);
        }
        moves
    }

    /// Whether a majority (the leader among it) has fetched within the last `within_ms`.
    pub(crate) fn has_quorum(&self, within_ms: i64, now: Timestamp) -> bool {
        let alive = self
            .voters
            .values()
            .filter(|voter| voter.key.id == self.local.id || now.0 - voter.last_fetch.0 < within_ms);
        alive.count() > self.voters.len() / 2
    }
}
