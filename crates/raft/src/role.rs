//! The roles of a member (class `QuorumState` and its `EpochState`s). An observer is a member that is not among the
//! voters: it is only ever unattached or a follower.

use std::collections::BTreeMap;

use milena_types::{BrokerId, Timestamp};

use crate::identity::Endpoint;
use crate::leader::Leadership;

/// The name of a role, for logs and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoleName {
    Unattached,
    Prospective,
    Candidate,
    Leader,
    Follower,
    Resigned,
    Observer,
}

/// What this member is doing in the current epoch.
#[derive(Debug)]
pub(crate) enum Role {
    /// Knows no leader.
    Unattached {
        deadline: Timestamp,
    },
    /// Asks whether an election would be won, without starting an epoch (KIP-996).
    Prospective {
        election: Election,
    },
    /// Stands for election.
    Candidate {
        election: Election,
    },
    Leader(Box<Leadership>),
    /// Fetches from a leader.
    Follower(Following),
    /// Was the leader of this epoch and gave it up.
    Resigned {
        deadline: Timestamp,
    },
}

/// Votes of one election; this member's own is among the granted.
#[derive(Debug)]
pub(crate) struct Election {
    /// `None` until the voter has answered.
    pub(crate) votes: BTreeMap<BrokerId, Option<bool>>,
    pub(crate) deadline: Timestamp,
}

impl Election {
    pub(crate) fn granted(&self) -> usize {
        self.votes.values().filter(|vote| **vote == Some(true)).count()
    }

    pub(crate) fn open(&self) -> usize {
        self.votes.values().filter(|vote| vote.is_none()).count()
    }

    pub(crate) fn granting(&self) -> Vec<BrokerId> {
        self.votes.iter().filter(|(_, vote)| **vote == Some(true)).map(|(id, _)| *id).collect()
    }
}

/// A follower's link to its leader.
#[derive(Debug)]
pub(crate) struct Following {
    pub(crate) leader: BrokerId,
    pub(crate) endpoints: Vec<Endpoint>,
    /// When to give the leader up.
    pub(crate) fetch_deadline: Timestamp,
    /// Whether the leader has answered a fetch in this epoch.
    pub(crate) has_fetched: bool,
}
