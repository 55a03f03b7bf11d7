//! The roles of a member (class `QuorumState` and its `EpochState`s). An observer is a member that is not among the
//! voters: it is only ever unattached or a follower, or a leader or resigned one that has removed itself.

use std::collections::BTreeMap;

use milena_types::{BrokerId, Timestamp};

use crate::identity::{Endpoint, OffsetAndEpoch, ReplicaKey};
use crate::leader::Leadership;
use crate::voters::VoterSet;

/// A deadline that never comes: an observer does not elect.
pub(crate) const NEVER: Timestamp = Timestamp(i64::MAX);

/// The name of a role, for logs and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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
#[derive(Clone, Debug)]
pub(crate) enum Role {
    /// Follows nobody. It may know who leads, but then not where.
    Unattached {
        leader: Option<BrokerId>,
        deadline: Timestamp,
    },
    /// Asks whether an election would be won, without starting an epoch (KIP-996). It remembers the leader it followed.
    Prospective {
        leader: Option<(BrokerId, Vec<Endpoint>)>,
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
    Resigned(Resigned),
}

/// Votes of one election; this member's own is among the granted.
#[derive(Clone, Debug)]
pub(crate) struct Election {
    pub(crate) ballots: BTreeMap<BrokerId, Ballot>,
    pub(crate) deadline: Timestamp,
}

/// One voter's vote.
#[derive(Clone, Debug)]
pub(crate) struct Ballot {
    pub(crate) voter: ReplicaKey,
    /// `None` until the voter has answered.
    pub(crate) granted: Option<bool>,
    /// When to ask, or ask again.
    pub(crate) ask_at: Timestamp,
}

impl Election {
    pub(crate) fn new(voters: &VoterSet, local: BrokerId, now: Timestamp, deadline: Timestamp) -> Election {
        let ballot = |key: ReplicaKey| {
            let granted = (key.id == local).then_some(true);
            (key.id, Ballot { voter: key, granted, ask_at: now })
        };
        Election { ballots: voters.voters().iter().map(|voter| ballot(voter.key)).collect(), deadline }
    }

    fn count(&self, granted: Option<bool>) -> usize {
        self.ballots.values().filter(|ballot| ballot.granted == granted).count()
    }

    fn majority(&self) -> usize {
        self.ballots.len() / 2 + 1
    }

    pub(crate) fn is_won(&self) -> bool {
        self.count(Some(true)) >= self.majority()
    }

    /// Whether the votes that are open can no longer make a majority.
    pub(crate) fn is_lost(&self) -> bool {
        self.count(Some(true)) + self.count(None) < self.majority()
    }

    pub(crate) fn granting(&self) -> Vec<BrokerId> {
        self.ballots.iter().filter(|(_, ballot)| ballot.granted == Some(true)).map(|(id, _)| *id).collect()
    }

    /// When the next voter must be asked, if any.
    pub(crate) fn next_ask(&self) -> Option<Timestamp> {
        let open = self.ballots.values().filter(|ballot| ballot.granted.is_none());
        if self.is_lost() { None } else { open.map(|ballot| ballot.ask_at).min() }
    }
}

/// A follower's link to its leader.
#[derive(Clone, Debug)]
pub(crate) struct Following {
    pub(crate) leader: BrokerId,
    pub(crate) endpoints: Vec<Endpoint>,
    /// When to give the leader up.
    pub(crate) fetch_deadline: Timestamp,
    /// Whether the leader has answered a fetch in this epoch.
    pub(crate) has_fetched: bool,
    /// The last fetch from the leader failed: the next one asks any other who leads.
    pub(crate) asks_others: bool,
    /// The snapshot that is being downloaded.
    pub(crate) fetching_snapshot: Option<OffsetAndEpoch>,
    /// When to see again whether the leader must be told something about this member.
    pub(crate) update_voter_at: Timestamp,
    /// Whether the leader took what it was told.
    pub(crate) has_updated_leader: bool,
}

/// What a former leader still does in its epoch.
#[derive(Clone, Debug)]
pub(crate) struct Resigned {
    pub(crate) deadline: Timestamp,
    /// Most caught up first.
    pub(crate) preferred: Vec<ReplicaKey>,
    /// Voters that have not confirmed, each with when to tell it, or tell it again.
    pub(crate) unacknowledged: BTreeMap<BrokerId, Timestamp>,
}
