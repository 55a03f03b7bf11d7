//! Who takes part in a quorum and where a log stands.

use std::fmt;

use milena_types::{BrokerId, LeaderEpoch, Offset, Uuid};

/// A replica of the metadata log: node and the directory its log lives in (KIP-853). A zero directory id means "not
/// known".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReplicaKey {
    pub id: BrokerId,
    pub directory_id: Uuid,
}

impl ReplicaKey {
    /// Whether `other` is this replica: the ids are equal, and the directories too unless this one's is not known
    /// (class `VoterSet.VoterNode.isVoter`).
    #[must_use]
    pub fn covers(&self, other: &ReplicaKey) -> bool {
        self.id == other.id && (self.directory_id.is_zero() || self.directory_id == other.directory_id)
    }
}

/// In Apache Kafka's words, for texts that are sent.
impl fmt::Display for ReplicaKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.directory_id.is_zero() {
            return write!(f, "ReplicaKey(id={}, directoryId=<undefined>)", self.id);
        }
        write!(f, "ReplicaKey(id={}, directoryId={})", self.id, self.directory_id)
    }
}

/// One listener of a voter.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Endpoint {
    pub listener: String,
    pub host: String,
    pub port: u16,
}

/// The end of a log (exclusive) and the epoch of its last record; also names a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OffsetAndEpoch {
    pub offset: Offset,
    pub epoch: LeaderEpoch,
}

impl OffsetAndEpoch {
    /// The snapshot that `format` writes; it is never replicated.
    pub const BOOTSTRAP: OffsetAndEpoch = OffsetAndEpoch { offset: Offset(0), epoch: LeaderEpoch(0) };

    /// Log comparison of elections: the later epoch wins, then the longer log.
    #[must_use]
    pub fn is_at_least(&self, other: &OffsetAndEpoch) -> bool {
        (self.epoch, self.offset) >= (other.epoch, other.offset)
    }
}

/// Who leads, as far as this node knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaderAndEpoch {
    pub leader: Option<BrokerId>,
    pub epoch: LeaderEpoch,
}
