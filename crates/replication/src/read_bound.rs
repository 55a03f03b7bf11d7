//! How far a reader may read, and the fencing before it (class `Partition`, `getLocalLog` and `readRecords`).
//!
//! Whether the wanted offset is inside the log is the log's own check: an offset above the bound but not above the log
//! end reads nothing, it is not an error.

use milena_types::{BrokerId, ErrorCode, LeaderEpoch, Offset};

use crate::partition::{PartitionState, Role};

/// Which records a reader may see (class `FetchIsolation`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// Replicas and debugging consumers.
    LogEnd,
    /// `read_uncommitted` consumers.
    HighWatermark,
    /// `read_committed` consumers.
    LastStable,
}

/// One read of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadRequest {
    /// The epoch the reader believes in; `LeaderEpoch::NONE` when it does not say.
    pub current_leader_epoch: LeaderEpoch,
    /// The follower that reads, if it is one.
    pub replica: Option<BrokerId>,
    /// Whether only the leader may answer: followers, and consumers that sent no rack (KIP-392).
    pub leader_only: bool,
    pub isolation: Isolation,
    /// The start of the oldest open transaction, if the log has one.
    pub first_unstable_offset: Option<Offset>,
}

/// The offsets of one read; reading stops below `bound`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadBound {
    pub bound: Offset,
    pub high_watermark: Offset,
    pub last_stable_offset: Offset,
    pub log_end_offset: Offset,
}

impl PartitionState {
    /// Fences by leader epoch and role, then says how far the reader may read.
    ///
    /// # Errors
    /// `FENCED_LEADER_EPOCH` (the reader is behind), `UNKNOWN_LEADER_EPOCH` (we are behind, or the replica is not one
    /// of this partition), `NOT_LEADER_OR_FOLLOWER`.
    pub fn read_bound(&self, request: &ReadRequest) -> Result<ReadBound, ErrorCode> {
        self.check_access(request.current_leader_epoch, request.leader_only)?;
        if let Some(replica) = request.replica
            && self.replica(replica).is_none()
        {
            // Without an epoch it cannot be told which side is behind.
            let told = request.current_leader_epoch.is_some();
            return Err(if told { ErrorCode::UNKNOWN_LEADER_EPOCH } else { ErrorCode::NOT_LEADER_OR_FOLLOWER });
        }
        let high_watermark = self.high_watermark();
        let last_stable_offset = self.last_stable_offset(request.first_unstable_offset);
        let bound = match request.isolation {
            Isolation::LogEnd => self.log_end_offset(),
            Isolation::HighWatermark => high_watermark,
            Isolation::LastStable => last_stable_offset,
        };
        Ok(ReadBound { bound, high_watermark, last_stable_offset, log_end_offset: self.log_end_offset() })
    }

    /// The checks that every access to the partition begins with: epoch first, role second.
    ///
    /// # Errors
    /// As [`PartitionState::read_bound`].
    pub fn check_access(&self, current_leader_epoch: LeaderEpoch, leader_only: bool) -> Result<(), ErrorCode> {
        if current_leader_epoch.is_some() {
            if current_leader_epoch < self.leader_epoch() {
                return Err(ErrorCode::FENCED_LEADER_EPOCH);
            }
            if current_leader_epoch > self.leader_epoch() {
                return Err(ErrorCode::UNKNOWN_LEADER_EPOCH);
            }
        }
        match self.role() {
            Role::Leader => Ok(()),
            Role::Follower { .. } if !leader_only => Ok(()),
            Role::Follower { .. } => Err(ErrorCode::NOT_LEADER_OR_FOLLOWER),
            Role::Offline => Err(ErrorCode::KAFKA_STORAGE_ERROR),
        }
    }

    /// The last stable offset: the high watermark, or the start of the oldest transaction still open below it.
    #[must_use]
    pub fn last_stable_offset(&self, first_unstable_offset: Option<Offset>) -> Offset {
        first_unstable_offset.map_or(self.high_watermark(), |unstable| unstable.min(self.high_watermark()))
    }

    /// The end of the log for a ListOffsets "latest" (class `Partition.fetchOffsetForTimestamp`); `None` isolation is a
    /// replica or a debugging consumer.
    ///
    /// # Errors
    /// As [`PartitionState::read_bound`], and `OFFSET_NOT_AVAILABLE` while a new leader's high watermark is still below
    /// the start of its epoch (KIP-207).
    pub fn latest_offset(
        &self,
        current_leader_epoch: LeaderEpoch,
        isolation: Isolation,
        first_unstable_offset: Option<Offset>,
    ) -> Result<Offset, ErrorCode> {
        self.check_access(current_leader_epoch, true)?;
        match isolation {
            Isolation::LogEnd => Ok(self.log_end_offset()),
            _ if self.is_high_watermark_behind_epoch() => Err(ErrorCode::OFFSET_NOT_AVAILABLE),
            Isolation::HighWatermark => Ok(self.high_watermark()),
            Isolation::LastStable => Ok(self.last_stable_offset(first_unstable_offset)),
        }
    }
}
