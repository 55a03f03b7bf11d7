//! What `quorum-state` holds (class `ElectionState`): it must be on disk before anything is said in its epoch. The file
//! itself is `storage`'s.

use milena_types::{BrokerId, LeaderEpoch};

use crate::identity::ReplicaKey;

/// The epoch, its leader if known, and the vote given in it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ElectionState {
    pub epoch: LeaderEpoch,
    pub leader: Option<BrokerId>,
    pub voted: Option<ReplicaKey>,
}

impl ElectionState {
    /// Nothing known yet: epoch 0, as `ElectionState.withUnknownLeader(0)`.
    pub const INITIAL: ElectionState = ElectionState { epoch: LeaderEpoch(0), leader: None, voted: None };
}
