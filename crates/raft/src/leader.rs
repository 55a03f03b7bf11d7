//! A leader's view of its epoch (class `LeaderState`): how far each replica is, what is committed, what is queued, which
//! change of voters is under way.
//!
//! The high watermark is the largest offset that a majority of voters has on disk, and moves only past the start of the
//! epoch, so that nothing of an earlier epoch is committed by counting alone.

use std::collections::{BTreeMap, BTreeSet};

use milena_types::{BrokerId, Offset, Timestamp};

use crate::accumulator::Accumulator;
use crate::identity::{Endpoint, ReplicaKey};
use crate::planted::{Plant, Planted};
use crate::replies::Ticket;
use crate::voters::VoterSet;

/// Observers that have not fetched for this long are forgotten (`OBSERVER_SESSION_TIMEOUT_MS`).
const OBSERVER_SESSION_TIMEOUT_MS: i64 = 300_000;

/// A replica that fetched within this time, and once had everything, may become a voter.
const CAUGHT_UP_WITHIN_MS: i64 = 3_600_000;

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
        // The newest word holds, also when it is less: a replica that lost its log has only what it asks for.
        self.end_offset = offset;
        self.last_fetch = self.last_fetch.max(now);
        self.last_fetch_leader_end = leader_end;
    }
}

/// A voter on its way into the set.
#[derive(Clone, Debug)]
pub(crate) struct Adding {
    pub(crate) ticket: Ticket,
    pub(crate) voter: ReplicaKey,
    pub(crate) endpoints: Vec<Endpoint>,
    pub(crate) ack_when_committed: bool,
    pub(crate) deadline: Timestamp,
    /// The offset of the record, once it is appended.
    pub(crate) offset: Option<Offset>,
    pub(crate) answered: bool,
}

/// A voter on its way out of the set.
#[derive(Clone, Debug)]
pub(crate) struct Removing {
    pub(crate) ticket: Ticket,
    pub(crate) offset: Offset,
    pub(crate) deadline: Timestamp,
}

/// The state of a leader.
#[derive(Clone, Debug)]
pub(crate) struct Leadership {
    pub(crate) local: ReplicaKey,
    pub(crate) epoch_start: Offset,
    pub(crate) high_watermark: Option<Offset>,
    pub(crate) queue: Accumulator,
    pub(crate) voters: BTreeMap<BrokerId, ReplicaProgress>,
    pub(crate) observers: BTreeMap<ReplicaKey, ReplicaProgress>,
    /// Voters that fetched since a majority last had.
    fetched: BTreeSet<BrokerId>,
    pub(crate) next_begin_epoch: Timestamp,
    check_quorum_ms: i64,
    /// When a majority must have fetched again.
    pub(crate) check_quorum_deadline: Timestamp,
    pub(crate) adding: Option<Adding>,
    pub(crate) removing: Option<Removing>,
    /// With kraft.version 0: the static voters with what UpdateRaftVoter told of them, which an upgrade writes down.
    pub(crate) told_voters: Option<VoterSet>,
    pub(crate) upgrade_pending: Option<i16>,
    planted: Planted,
}

impl Leadership {
    pub(crate) fn new(local: ReplicaKey, voters: &VoterSet, queue: Accumulator, planted: Planted) -> Leadership {
        let progress = voters.voters().iter().map(|voter| (voter.key.id, ReplicaProgress::new(voter.key)));
        Leadership {
            local,
            epoch_start: queue.next_offset(),
            high_watermark: None,
            queue,
            voters: progress.collect(),
            observers: BTreeMap::new(),
            fetched: BTreeSet::new(),
            next_begin_epoch: Timestamp(0),
            check_quorum_ms: 0,
            check_quorum_deadline: Timestamp(0),
            adding: None,
            removing: None,
            told_voters: None,
            upgrade_pending: None,
            planted,
        }
    }

    /// Starts to count the time without a majority.
    pub(crate) fn start_check_quorum(&mut self, within_ms: i64, now: Timestamp) {
        self.check_quorum_ms = within_ms;
        self.check_quorum_deadline = Timestamp(now.0 + within_ms);
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
            && (voter.key.covers(&replica) || self.planted.is(Plant::IgnoreDirectory))
        {
            voter.on_fetch(offset, leader_end, now);
            self.note_heard(replica, now);
            return self.advance();
        }
        let observer = self.observers.entry(replica).or_insert_with(|| ReplicaProgress::new(replica));
        observer.on_fetch(offset, leader_end, now);
        self.observers.retain(|_, observer| now.0 - observer.last_fetch.0 < OBSERVER_SESSION_TIMEOUT_MS);
        false
    }

    /// A replica fetched, records or a snapshot: with enough of them the leader may go on for another while. What comes
    /// when its time is over already does not count: after a pause there may be such in its queue.
    pub(crate) fn note_heard(&mut self, replica: ReplicaKey, now: Timestamp) {
        if now >= self.check_quorum_deadline {
            return;
        }
        if self.voters.get(&replica.id).is_some_and(|voter| voter.key.covers(&replica)) {
            self.fetched.insert(replica.id);
        }
        let own = usize::from(self.voters.contains_key(&self.local.id));
        if self.fetched.len() + own > self.voters.len() / 2 {
            self.fetched.clear();
            self.check_quorum_deadline = Timestamp(now.0 + self.check_quorum_ms);
        }
    }

    fn advance(&mut self) -> bool {
        let mut ends: Vec<Offset> = self.voters.values().map(|voter| voter.end_offset).collect();
        ends.sort_unstable_by(|left, right| right.cmp(left));
        let at = if self.planted.is(Plant::HalfIsMajority) { ends.len().div_ceil(2) - 1 } else { ends.len() / 2 };
        let Some(agreed) = ends.get(at).copied() else {
            return false;
        };
        let own_epoch = agreed > self.epoch_start || self.planted.is(Plant::CommitOldEpochByCount);
        let moves = own_epoch && agreed.0 > 0 && self.high_watermark.is_none_or(|known| agreed > known);
        if moves {
            self.high_watermark = Some(agreed);
        }
        moves
    }

    /// The voters have changed. Progress follows a replica into the set and out of it.
    pub(crate) fn on_voters(&mut self, voters: &VoterSet) {
        let mut old = std::mem::take(&mut self.voters);
        for voter in voters.voters() {
            let known = old.remove(&voter.key.id).filter(|known| known.key.covers(&voter.key));
            let known = known.or_else(|| self.observers.get(&voter.key).copied());
            self.observers.remove(&voter.key);
            let progress = ReplicaProgress { key: voter.key, ..known.unwrap_or(ReplicaProgress::new(voter.key)) };
            self.voters.insert(voter.key.id, progress);
        }
        for progress in old.into_values() {
            self.observers.entry(progress.key).or_insert(progress);
        }
        self.fetched.retain(|id| self.voters.contains_key(id));
    }

    /// Whether an observer is close enough to become a voter without holding up the others.
    pub(crate) fn is_caught_up(&self, replica: &ReplicaKey, now: Timestamp) -> bool {
        self.observers.get(replica).is_some_and(|observer| {
            observer.last_caught_up.is_some() && observer.last_fetch.0 > now.0 - CAUGHT_UP_WITHIN_MS
        })
    }

    /// Voters that have not fetched within `within_ms`.
    pub(crate) fn silent_voters(&self, within_ms: i64, now: Timestamp) -> Vec<BrokerId> {
        let silent = |voter: &&ReplicaProgress| {
            voter.key.id != self.local.id && (!voter.last_fetch.is_some() || now.0 - voter.last_fetch.0 >= within_ms)
        };
        self.voters.values().filter(silent).map(|voter| voter.key.id).collect()
    }
}
