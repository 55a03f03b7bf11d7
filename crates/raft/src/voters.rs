//! The voters of the quorum: from `controller.quorum.voters` (kraft.version 0) or from VotersRecord control records
//! (kraft.version 1, KIP-853), and which version holds (class `KRaftControlRecordStateMachine`).

use std::fmt;

use milena_types::{BrokerId, Offset, Uuid};

use crate::identity::{Endpoint, ReplicaKey};

/// One voter with its controller listeners.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Voter {
    pub key: ReplicaKey,
    pub endpoints: Vec<Endpoint>,
    pub kraft_version_min: i16,
    pub kraft_version_max: i16,
}

/// All voters, sorted by id.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct VoterSet(Vec<Voter>);

/// The keys, in Apache Kafka's words, for texts that are sent.
impl fmt::Display for VoterSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<String> = self.0.iter().map(|voter| voter.key.to_string()).collect();
        write!(f, "[{}]", keys.join(", "))
    }
}

/// One entry of `controller.quorum.voters` is not `id@host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseVoterError(pub String);

impl fmt::Display for ParseVoterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is not of the form id@host:port", self.0)
    }
}

impl std::error::Error for ParseVoterError {}

impl VoterSet {
    #[must_use]
    pub fn new(mut voters: Vec<Voter>) -> VoterSet {
        voters.sort_by_key(|voter| voter.key.id);
        VoterSet(voters)
    }

    /// Reads `controller.quorum.voters`; an empty text is an empty set. Hosts may be IPv6 in brackets.
    ///
    /// # Errors
    /// Names the entry that is not `id@host:port`.
    pub fn parse_static(text: &str, listener: &str) -> Result<VoterSet, ParseVoterError> {
        let mut voters = Vec::new();
        for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            let bad = || ParseVoterError(entry.to_owned());
            let (id, address) = entry.split_once('@').ok_or_else(bad)?;
            let (host, port) = address.rsplit_once(':').ok_or_else(bad)?;
            let host = host.trim_start_matches('[').trim_end_matches(']');
            let endpoint = Endpoint {
                listener: listener.to_owned(),
                host: host.to_owned(),
                port: port.parse().map_err(|_| bad())?,
            };
            voters.push(Voter {
                key: ReplicaKey { id: BrokerId(id.parse().map_err(|_| bad())?), directory_id: Uuid::ZERO },
                endpoints: vec![endpoint],
                kraft_version_min: 0,
                kraft_version_max: 0,
            });
        }
        Ok(VoterSet::new(voters))
    }

    #[must_use]
    pub fn voters(&self) -> &[Voter] {
        &self.0
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    #[must_use]
    pub fn get(&self, id: BrokerId) -> Option<&Voter> {
        self.0.iter().find(|voter| voter.key.id == id)
    }

    /// Whether this replica is one of the voters.
    #[must_use]
    pub fn contains(&self, replica: &ReplicaKey) -> bool {
        self.0.iter().any(|voter| voter.key.covers(replica))
    }

    /// Whether this replica is the only voter.
    #[must_use]
    pub fn is_only(&self, replica: &ReplicaKey) -> bool {
        self.0.len() == 1 && self.contains(replica)
    }

    /// The set with one more voter; `None` if its id is taken.
    #[must_use]
    pub fn with(&self, voter: Voter) -> Option<VoterSet> {
        if self.get(voter.key.id).is_some() {
            return None;
        }
        let mut voters = self.0.clone();
        voters.push(voter);
        Some(VoterSet::new(voters))
    }

    /// The set without this very replica; `None` if it is not in it or the last one.
    #[must_use]
    pub fn without(&self, key: &ReplicaKey) -> Option<VoterSet> {
        let left: Vec<Voter> = self.0.iter().filter(|voter| voter.key != *key).cloned().collect();
        (!left.is_empty() && left.len() < self.0.len()).then_some(VoterSet(left))
    }

    /// The set with what is known of one of its voters replaced; `None` if it is not in it.
    #[must_use]
    pub fn updated(&self, voter: Voter) -> Option<VoterSet> {
        self.contains(&voter.key).then(|| self.replaced(voter))
    }

    /// The same by id alone: while voters are static their directories are not known.
    #[must_use]
    pub fn updated_by_id(&self, voter: Voter) -> Option<VoterSet> {
        self.get(voter.key.id).is_some().then(|| self.replaced(voter))
    }

    fn replaced(&self, voter: Voter) -> VoterSet {
        let others = self.0.iter().filter(|known| known.key.id != voter.key.id).cloned();
        VoterSet::new(others.chain([voter.clone()]).collect())
    }

    /// Whether the set holds this replica, but with other endpoints or versions.
    #[must_use]
    pub fn needs_update(&self, voter: &Voter) -> bool {
        self.get(voter.key.id).is_some_and(|known| known.key.covers(&voter.key) && known != voter)
    }

    /// How many voters make a majority.
    #[must_use]
    pub fn majority(&self) -> usize {
        self.0.len() / 2 + 1
    }
}

/// The voters and kraft.version in force, and where they came from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct KRaftState {
    pub kraft_version: i16,
    pub voters: VoterSet,
    /// The log offset of the record that set the voters; `None` when they come from the configuration or the bootstrap
    /// snapshot, so that the next leader must write them into the log.
    pub voters_offset: Option<Offset>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn static_voters_are_read_and_bad_ones_named() {
        let voters = VoterSet::parse_static("3@host-c:9093, 1@[::1]:9093", "CONTROLLER").unwrap();
        let ids: Vec<i32> = voters.voters().iter().map(|voter| voter.key.id.0).collect();
        assert_eq!(ids, [1, 3]);
        assert_eq!(voters.get(BrokerId(1)).unwrap().endpoints[0].host, "::1");
        assert_eq!(voters.majority(), 2);
        assert!(VoterSet::parse_static("", "CONTROLLER").unwrap().is_empty());
        assert_eq!(VoterSet::parse_static("1@h", "C"), Err(ParseVoterError("1@h".to_owned())));
    }
}
