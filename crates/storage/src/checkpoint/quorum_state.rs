//! `quorum-state`: what a voter must not forget, as JSON (`FileQuorumStateStore`). Version 0 lists the static voters
//! and is written below `kraft.version` 1; version 1 names the directory voted for (KIP-853).

use std::path::Path;

use milena_types::{BrokerId, LeaderEpoch, Uuid};
use serde_json::Value;

use crate::disk::{Disk, read_whole, write_atomic};
use crate::error::{At, Result, corrupt};

/// The file's name in the metadata log's directory.
pub const QUORUM_STATE: &str = "quorum-state";

/// The persistent state of a quorum member.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct QuorumState {
    /// Leader of the epoch, `BrokerId::NONE` if not known.
    pub leader_id: BrokerId,
    /// The greatest epoch seen.
    pub leader_epoch: LeaderEpoch,
    /// Whom this node voted for in the epoch, `BrokerId::NONE` if nobody.
    pub voted_id: BrokerId,
    /// The directory of that voter; only in version 1.
    pub voted_directory_id: Uuid,
    /// The static voters; only in version 0.
    pub current_voters: Vec<BrokerId>,
    /// 0 or 1.
    pub data_version: i16,
}

impl QuorumState {
    /// The file's text.
    #[must_use]
    pub fn to_json(&self) -> String {
        let (leader, epoch, voted) = (self.leader_id, self.leader_epoch, self.voted_id);
        if self.data_version == 0 {
            let voters: Vec<String> =
                self.current_voters.iter().map(|voter| format!("{{\"voterId\":{voter}}}")).collect();
            format!(
                "{{\"clusterId\":\"\",\"leaderId\":{leader},\"leaderEpoch\":{epoch},\"votedId\":{voted},\
                 \"appliedOffset\":0,\"currentVoters\":[{}],\"data_version\":0}}",
                voters.join(",")
            )
        } else {
            format!(
                "{{\"leaderId\":{leader},\"leaderEpoch\":{epoch},\"votedId\":{voted},\
                 \"votedDirectoryId\":\"{}\",\"data_version\":{}}}",
                self.voted_directory_id, self.data_version
            )
        }
    }

    /// Parses the file's text; `None` if it is not a quorum state of a known version.
    #[must_use]
    pub fn from_json(text: &[u8]) -> Option<QuorumState> {
        let value: Value = serde_json::from_slice(text).ok()?;
        let int = |name: &str| value.get(name).and_then(Value::as_i64).and_then(|number| i32::try_from(number).ok());
        let data_version = i16::try_from(int("data_version")?).ok()?;
        if !(0..=1).contains(&data_version) {
            return None;
        }
        let voters = value.get("currentVoters").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let voter = |voter: &Value| i32::try_from(voter.get("voterId")?.as_i64()?).ok().map(BrokerId);
        Some(QuorumState {
            leader_id: BrokerId(int("leaderId")?),
            leader_epoch: LeaderEpoch(int("leaderEpoch")?),
            voted_id: BrokerId(int("votedId").unwrap_or(-1)),
            voted_directory_id: match value.get("votedDirectoryId").and_then(Value::as_str) {
                Some(id) => id.parse().ok()?,
                None => Uuid::ZERO,
            },
            current_voters: voters.iter().map(voter).collect::<Option<_>>()?,
            data_version,
        })
    }

    /// Reads the file of the metadata log in `directory`; `None` if there is none.
    ///
    /// # Errors
    /// IO, or a file of another form: such a node must not vote.
    pub fn read<D: Disk>(disk: &D, directory: &Path) -> Result<Option<QuorumState>> {
        let path = directory.join(QUORUM_STATE);
        let Some(contents) = read_whole(disk, &path).at("read", &path)? else { return Ok(None) };
        QuorumState::from_json(&contents).map(Some).ok_or_else(|| corrupt(&path, 0, "not a quorum state"))
    }

    /// Replaces the file durably; only then may a vote or an epoch be told to others.
    ///
    /// # Errors
    /// IO.
    pub fn write<D: Disk>(&self, disk: &D, directory: &Path) -> Result<()> {
        let path = directory.join(QUORUM_STATE);
        write_atomic(disk, &path, self.to_json().as_bytes()).at("write", &path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_are_written_as_kafka_writes_them() {
        let mut state = QuorumState {
            leader_id: BrokerId(1),
            leader_epoch: LeaderEpoch(7),
            voted_id: BrokerId::NONE,
            voted_directory_id: Uuid::ZERO,
            current_voters: vec![BrokerId(1)],
            data_version: 0,
        };
        let v0 = r#"{"clusterId":"","leaderId":1,"leaderEpoch":7,"votedId":-1,"appliedOffset":0,"currentVoters":[{"voterId":1}],"data_version":0}"#;
        assert_eq!(state.to_json(), v0);
        assert_eq!(QuorumState::from_json(v0.as_bytes()), Some(state.clone()));
        state.data_version = 1;
        state.current_voters.clear();
        let v1 = r#"{"leaderId":1,"leaderEpoch":7,"votedId":-1,"votedDirectoryId":"AAAAAAAAAAAAAAAAAAAAAA","data_version":1}"#;
        assert_eq!(state.to_json(), v1);
        assert_eq!(QuorumState::from_json(v1.as_bytes()), Some(state));
        assert_eq!(QuorumState::from_json(b"{}"), None);
    }
}
