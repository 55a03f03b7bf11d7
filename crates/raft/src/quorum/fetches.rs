//! Fetching of the metadata log: the leader's side (Fetch, FetchSnapshot, DescribeQuorum) and the side of followers and
//! observers.

use milena_types::{ErrorCode, LeaderEpoch, Offset, Timestamp};

use super::Quorum;
use crate::effect::{Destination, Effect, FetchOut, Outbound, SnapshotFetchOut};
use crate::epochs::Validity;
use crate::identity::{Endpoint, OffsetAndEpoch};
use crate::leader::ReplicaProgress;
use crate::replies::{FetchAnswer, FetchAsk, FetchVerdict, QuorumDescription, SnapshotAsk};
use crate::role::Role;

/// How long a leader may hold a fetch (`KafkaRaftClient.MAX_FETCH_WAIT_MS`).
const FETCH_WAIT_MS: i32 = 500;

impl Quorum {
    /// A replica's fetch: what it has is noted, and may commit records.
    pub fn handle_fetch(&mut self, ask: &FetchAsk, now: Timestamp, fx: &mut Vec<Effect>) -> FetchVerdict {
        if ask.from.offset.0 < 0 || ask.from.epoch.0 < 0 || ask.from.epoch > ask.epoch {
            return FetchVerdict::Error(ErrorCode::INVALID_REQUEST);
        }
        if let Err(error) = self.check_leader_request(ask.epoch) {
            return FetchVerdict::Error(error);
        }
        let end = self.log.end_offset;
        let newest = self.log.snapshots.last().copied().filter(|id| *id != OffsetAndEpoch::BOOTSTRAP);
        let validity = match newest {
            // Loading a snapshot is always cheaper than replaying the log from its beginning.
            Some(snapshot) if ask.from.offset == Offset(0) => Validity::Snapshot(snapshot),
            _ => self.log.validate(ask.from.offset, ask.from.epoch),
        };
        let Role::Leader(state) = &mut self.role else {
            return FetchVerdict::Error(ErrorCode::NOT_LEADER_OR_FOLLOWER);
        };
        match validity {
            Validity::Diverging(to) => FetchVerdict::Diverging(to),
            Validity::Snapshot(id) => FetchVerdict::Snapshot(id),
            Validity::Valid => {
                if state.on_fetch(ask.replica, ask.from.offset, end, now) {
                    fx.extend(state.high_watermark.map(Effect::Commit));
                    fx.push(Effect::WakeFetches);
                }
                FetchVerdict::Read { end, high_watermark: state.high_watermark.unwrap_or(Offset::NONE) }
            }
        }
    }

    /// Whether a snapshot may be sent.
    ///
    /// # Errors
    /// The leader checks of Fetch, and `SNAPSHOT_NOT_FOUND`.
    pub fn handle_fetch_snapshot(&self, ask: &SnapshotAsk) -> Result<(), ErrorCode> {
        self.check_leader_request(ask.epoch)?;
        let known = ask.snapshot != OffsetAndEpoch::BOOTSTRAP && self.log.snapshots.contains(&ask.snapshot);
        if known { Ok(()) } else { Err(ErrorCode::SNAPSHOT_NOT_FOUND) }
    }

    /// DescribeQuorum.
    ///
    /// # Errors
    /// `NOT_LEADER_OR_FOLLOWER` unless this member leads.
    pub fn describe(&self, now: Timestamp) -> Result<QuorumDescription, ErrorCode> {
        let Role::Leader(state) = &self.role else {
            return Err(ErrorCode::NOT_LEADER_OR_FOLLOWER);
        };
        let row = |progress: &ReplicaProgress| {
            if progress.key.id == state.local.id {
                return (progress.key, self.log.end_offset, now, now);
            }
            (progress.key, progress.end_offset, progress.last_fetch, progress.last_caught_up)
        };
        Ok(QuorumDescription {
            leader: self.leader_and_epoch(),
            high_watermark: state.high_watermark.unwrap_or(Offset::NONE),
            voters: state.voters.values().map(row).collect(),
            observers: state.observers.values().map(row).collect(),
        })
    }

    fn check_leader_request(&self, epoch: LeaderEpoch) -> Result<(), ErrorCode> {
        if epoch < self.epoch {
            return Err(ErrorCode::FENCED_LEADER_EPOCH);
        }
        if epoch > self.epoch {
            return Err(ErrorCode::UNKNOWN_LEADER_EPOCH);
        }
        if !self.is_leader() {
            return Err(ErrorCode::NOT_LEADER_OR_FOLLOWER);
        }
        Ok(())
    }

    /// The next fetch of a follower, or of a member that looks for the leader. The host sends it when the one before is
    /// answered and handled, or after `retry_backoff_ms` when it failed.
    #[must_use]
    pub fn next_fetch(&self) -> Option<Effect> {
        let to = match &self.role {
            Role::Follower(following) => {
                Destination::Node { id: following.leader, endpoints: following.endpoints.clone() }
            }
            Role::Unattached { .. } => Destination::AnyBootstrapServer,
            _ => return None,
        };
        let fetch = FetchOut {
            replica: self.config.local,
            epoch: self.epoch,
            from: self.log.end(),
            high_watermark: self.follower_high_watermark.unwrap_or(Offset::NONE),
            max_wait_ms: FETCH_WAIT_MS,
        };
        Some(Effect::Send { to, request: Outbound::Fetch(fetch) })
    }

    /// The answer to a fetch. `endpoints` are those the answer names for the leader. With records, `AppendFetched` is
    /// asked for and the high watermark moves in [`Quorum::on_follower_append`].
    pub fn on_fetch_answer(
        &mut self,
        answer: &FetchAnswer,
        endpoints: Vec<Endpoint>,
        now: Timestamp,
        fx: &mut Vec<Effect>,
    ) {
        let known = self.leader_and_epoch();
        let other_leader = answer.leader.leader.is_some_and(|leader| leader != self.config.local.id)
            && (answer.leader.epoch > known.epoch || (answer.leader.epoch == known.epoch && known.leader.is_none()));
        if other_leader {
            let endpoints = if endpoints.is_empty() { self.voter_endpoints(answer) } else { endpoints };
            self.become_follower(answer.leader, endpoints, now, fx);
        } else if answer.leader.epoch > self.epoch {
            self.become_unattached(answer.leader.epoch, now, fx);
        }
        let deadline = Timestamp(now.0 + self.config.fetch_timeout_ms);
        let Role::Follower(following) = &mut self.role else {
            return;
        };
        if !answer.error.is_none() || answer.leader.epoch != self.epoch {
            return;
        }
        following.fetch_deadline = deadline;
        following.has_fetched = true;
        if let Some(diverging) = answer.diverging {
            let end = self.log.end_offset_for_epoch(diverging.epoch).offset.min(diverging.offset);
            // INV: what is committed is never cut.
            assert!(
                self.follower_high_watermark.is_none_or(|known| end >= known),
                "the leader lacks committed records"
            );
            self.log.on_truncate(end);
            fx.push(Effect::Truncate(end));
        } else if let Some(snapshot) = answer.snapshot {
            let to = Destination::Node { id: following.leader, endpoints: following.endpoints.clone() };
            let request = SnapshotFetchOut { replica: self.config.local, epoch: self.epoch, snapshot };
            fx.push(Effect::Send { to, request: Outbound::FetchSnapshot(request) });
        } else if answer.has_records {
            fx.push(Effect::AppendFetched);
        } else {
            self.move_follower_high_watermark(answer.high_watermark, fx);
        }
    }

    fn voter_endpoints(&self, answer: &FetchAnswer) -> Vec<Endpoint> {
        let voter = answer.leader.leader.and_then(|id| self.kraft.voters.get(id));
        voter.map(|voter| voter.endpoints.clone()).unwrap_or_default()
    }

    /// Fetched records are on disk: the epochs they brought (each with the end of its last batch), and the leader's high
    /// watermark of that answer.
    pub fn on_follower_append(
        &mut self,
        ends: &[(LeaderEpoch, Offset)],
        leader_high_watermark: Offset,
        fx: &mut Vec<Effect>,
    ) {
        for (epoch, end) in ends {
            self.log.on_append(*epoch, *end);
        }
        self.log.durable_end_offset = self.log.end_offset;
        self.move_follower_high_watermark(leader_high_watermark, fx);
    }

    /// A snapshot was downloaded whole and is on disk; the log begins behind it.
    pub fn on_snapshot_loaded(&mut self, id: OffsetAndEpoch, fx: &mut Vec<Effect>) {
        self.log.on_snapshot_loaded(id);
        self.move_follower_high_watermark(id.offset, fx);
    }

    fn move_follower_high_watermark(&mut self, leader_high_watermark: Offset, fx: &mut Vec<Effect>) {
        let wanted = leader_high_watermark.min(self.log.end_offset);
        if wanted.is_some() && self.follower_high_watermark.is_none_or(|known| wanted > known) {
            self.follower_high_watermark = Some(wanted);
            fx.push(Effect::Commit(wanted));
        }
    }
}
