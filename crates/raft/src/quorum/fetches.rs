//! Fetching of the metadata log, the leader's side: Fetch, FetchSnapshot, DescribeQuorum.

use milena_types::{ErrorCode, LeaderEpoch, Offset, Timestamp};

use super::Quorum;
use crate::effect::Effect;
use crate::epochs::Validity;
use crate::identity::OffsetAndEpoch;
use crate::leader::ReplicaProgress;
use crate::replies::{FetchAsk, FetchVerdict, QuorumDescription, SnapshotAsk};
use crate::role::Role;

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
                    self.on_leader_commit(now, fx);
                }
                FetchVerdict::Read { end, high_watermark: self.high_watermark().unwrap_or(Offset::NONE) }
            }
        }
    }

    /// Whether a snapshot may be sent. Who downloads one hears its leader, too.
    ///
    /// # Errors
    /// The leader checks of Fetch, and `SNAPSHOT_NOT_FOUND`.
    pub fn handle_fetch_snapshot(&mut self, ask: &SnapshotAsk, now: Timestamp) -> Result<(), ErrorCode> {
        self.check_leader_request(ask.epoch)?;
        if ask.snapshot == OffsetAndEpoch::BOOTSTRAP || !self.log.snapshots.contains(&ask.snapshot) {
            return Err(ErrorCode::SNAPSHOT_NOT_FOUND);
        }
        if let Role::Leader(state) = &mut self.role
            && ask.replica.id != state.local.id
        {
            state.note_heard(ask.replica, now);
        }
        Ok(())
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

    pub(super) fn check_leader_request(&self, epoch: LeaderEpoch) -> Result<(), ErrorCode> {
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
}
