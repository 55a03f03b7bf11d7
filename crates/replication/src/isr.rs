//! The in-sync replicas as the controller has committed them, and the one change that may be under way (KIP-497).
//!
//! While a change is under way the *maximal* ISR is the larger of the two: growing is assumed to have happened,
//! shrinking is assumed not to have, so that the high watermark never runs ahead of what the controller may decide.

use milena_types::{BrokerId, ErrorCode, LeaderEpoch};

/// A change of the ISR for the controller (AlterPartition).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IsrChange {
    /// The wanted ISR with the broker epoch of each member, -1 where it is not known.
    pub new_isr: Vec<(BrokerId, i64)>,
    pub leader_epoch: LeaderEpoch,
    pub partition_epoch: i32,
}

/// What became of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IsrReply {
    /// The answer no longer matters.
    Ignored,
    /// The controller refused before doing anything: the committed ISR holds again.
    Reverted,
    /// The controller is ahead of us: wait for its metadata.
    AwaitMetadata,
    /// Ask again.
    Retry,
    /// Taken over; the high watermark may have moved.
    Applied,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Pending {
    Expand(Vec<BrokerId>),
    Shrink(Vec<BrokerId>),
}

/// Committed members plus what is being asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IsrState {
    committed: Vec<BrokerId>,
    pending: Option<Pending>,
}

impl IsrState {
    /// What the controller has decided; drops a pending change.
    pub fn commit(&mut self, isr: &[BrokerId]) {
        self.committed.clear();
        self.committed.extend_from_slice(isr);
        self.pending = None;
    }

    /// The committed members.
    #[must_use]
    pub fn committed(&self) -> &[BrokerId] {
        &self.committed
    }

    /// The members that the high watermark must wait for.
    #[must_use]
    pub fn maximal(&self) -> &[BrokerId] {
        match &self.pending {
            Some(Pending::Expand(members)) => members,
            Some(Pending::Shrink(_)) | None => &self.committed,
        }
    }

    /// Whether an answer from the controller is outstanding.
    #[must_use]
    pub fn is_in_flight(&self) -> bool {
        self.pending.is_some()
    }

    pub(crate) fn expand(&mut self, member: BrokerId) -> Vec<BrokerId> {
        let mut members = self.committed.clone();
        members.push(member);
        self.pending = Some(Pending::Expand(members.clone()));
        members
    }

    pub(crate) fn shrink(&mut self, leaving: &[BrokerId]) -> Vec<BrokerId> {
        let members: Vec<BrokerId> = self.committed.iter().copied().filter(|id| !leaving.contains(id)).collect();
        self.pending = Some(Pending::Shrink(members.clone()));
        members
    }

    /// Handles a refusal; `Partition.handleAlterPartitionError` decides which errors mean what.
    pub(crate) fn refused(&mut self, error: ErrorCode) -> IsrReply {
        match error {
            ErrorCode::OPERATION_NOT_ATTEMPTED | ErrorCode::INELIGIBLE_REPLICA => {
                self.pending = None;
                IsrReply::Reverted
            }
            ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
            | ErrorCode::UNKNOWN_TOPIC_ID
            | ErrorCode::FENCED_LEADER_EPOCH
            | ErrorCode::INVALID_UPDATE_VERSION
            | ErrorCode::INVALID_REQUEST
            | ErrorCode::NEW_LEADER_ELECTED => IsrReply::AwaitMetadata,
            _ => IsrReply::Retry,
        }
    }
}
