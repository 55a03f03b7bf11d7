//! What `quorum-state` holds (class `ElectionState`, file written by `FileQuorumStateStore`): one JSON object without
//! spaces, data version 1 with kraft.version 1, else 0. It must be on disk before anything said in its epoch.

use std::fmt;

use milena_types::{BrokerId, LeaderEpoch, Uuid};

use crate::identity::ReplicaKey;

/// The epoch, its leader if known, and the vote given in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ElectionState {
    pub epoch: LeaderEpoch,
    pub leader: Option<BrokerId>,
    pub voted: Option<ReplicaKey>,
}

/// The file is not what `FileQuorumStateStore` writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseElectionStateError(pub String);

impl fmt::Display for ParseElectionStateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not a quorum-state file: {}", self.0)
    }
}

impl std::error::Error for ParseElectionStateError {}

impl ElectionState {
    /// Nothing known yet: epoch 0, as `ElectionState.withUnknownLeader(0)`.
    pub const INITIAL: ElectionState = ElectionState { epoch: LeaderEpoch(0), leader: None, voted: None };

    /// The text of the file. `voters` are written by data version 0 only.
    #[must_use]
    pub fn to_json(&self, kraft_version: i16, voters: &[BrokerId]) -> String {
        let leader = self.leader.unwrap_or(BrokerId::NONE);
        let voted = self.voted.map_or(BrokerId::NONE, |voted| voted.id);
        if kraft_version > 0 {
            let directory = self.voted.map_or(Uuid::ZERO, |voted| voted.directory_id);
            return format!(
                "{{\"leaderId\":{leader},\"leaderEpoch\":{},\"votedId\":{voted},\"votedDirectoryId\":\"{directory}\",\
                 \"data_version\":1}}",
                self.epoch
            );
        }
        let voters: Vec<String> = voters.iter().map(|id| format!("{{\"voterId\":{id}}}")).collect();
        format!(
            "{{\"clusterId\":\"\",\"leaderId\":{leader},\"leaderEpoch\":{},\"votedId\":{voted},\"appliedOffset\":0,\
             \"currentVoters\":[{}],\"data_version\":0}}",
            self.epoch,
            voters.join(",")
        )
    }

    /// Reads the file of either version.
    ///
    /// # Errors
    /// When a field is missing, not of its kind, or the data version is not 0 or 1.
    pub fn from_json(text: &str) -> Result<ElectionState, ParseElectionStateError> {
        let number = |name: &str| -> Result<i32, ParseElectionStateError> {
            let value = field(text, name).ok_or_else(|| ParseElectionStateError(format!("no {name}")))?;
            value.parse().map_err(|_| ParseElectionStateError(format!("{name} is {value}")))
        };
        let data_version = number("data_version")?;
        if !(0..=1).contains(&data_version) {
            return Err(ParseElectionStateError(format!("data_version {data_version}")));
        }
        let epoch = LeaderEpoch(number("leaderEpoch")?);
        let leader = Some(BrokerId(number("leaderId")?)).filter(|id| id.is_some());
        let voted_id = BrokerId(number("votedId")?);
        let directory_id = match field(text, "votedDirectoryId") {
            Some(directory) => {
                directory.parse().map_err(|_| ParseElectionStateError(format!("votedDirectoryId is {directory}")))?
            }
            None => Uuid::ZERO,
        };
        let voted = voted_id.is_some().then_some(ReplicaKey { id: voted_id, directory_id });
        Ok(ElectionState { epoch, leader, voted })
    }
}

/// The value of a scalar field of the one flat object the file holds; names occur once in it.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, after) = text.split_once(&format!("\"{name}\""))?;
    let value = after.trim_start().strip_prefix(':')?.trim_start();
    match value.strip_prefix('"') {
        Some(quoted) => quoted.split_once('"').map(|(inner, _)| inner),
        None => value.split([',', '}', ' ', '\n']).next(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_kafkas_and_reads_back() {
        let elected = ElectionState { epoch: LeaderEpoch(1), leader: Some(BrokerId(1)), voted: None };
        let text = "{\"leaderId\":1,\"leaderEpoch\":1,\"votedId\":-1,\
                    \"votedDirectoryId\":\"AAAAAAAAAAAAAAAAAAAAAA\",\"data_version\":1}";
        assert_eq!(elected.to_json(1, &[]), text);
        assert_eq!(ElectionState::from_json(text), Ok(elected));

        let voted = ReplicaKey { id: BrokerId(3), directory_id: Uuid::ZERO };
        let state = ElectionState { epoch: LeaderEpoch(9), leader: None, voted: Some(voted) };
        let text = state.to_json(0, &[BrokerId(1), BrokerId(3)]);
        assert!(text.contains("\"currentVoters\":[{\"voterId\":1},{\"voterId\":3}]"));
        assert_eq!(ElectionState::from_json(&text), Ok(state));
    }

    #[test]
    fn damaged_files_are_refused() {
        for text in
            ["", "{}", "{\"data_version\":2}", "{\"leaderId\":x,\"leaderEpoch\":1,\"votedId\":0,\"data_version\":1}"]
        {
            assert!(ElectionState::from_json(text).is_err(), "{text}");
        }
    }
}
