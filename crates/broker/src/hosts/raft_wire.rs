//! The quorum's questions and answers as the wire's messages, and back. All are about one partition,
//! `__cluster_metadata-0`, whose topic id is fixed (`Uuid.METADATA_TOPIC_ID`).

mod elections;
mod fetch;
mod snapshot;

#[cfg(test)]
pub(crate) use elections::vote_request;
pub(crate) use elections::{
    begin_epoch_ask, begin_epoch_response, end_epoch_ask, end_epoch_response, vote_ask, vote_response,
};
pub(crate) use fetch::{fetch_answer, fetch_ask, fetch_request, fetch_response};
pub(crate) use snapshot::{snapshot_ask, snapshot_request, snapshot_response};

use milena_protocol::Text;
use milena_raft::{Endpoint, LeaderAndEpoch, VoterSet};
use milena_types::{BrokerId, Offset};

/// The topic of the metadata log.
pub(crate) const METADATA_TOPIC: &str = "__cluster_metadata";

/// How much of the log, or of a snapshot, one fetch of an observer asks for (`KafkaRaftClient.MAX_BATCH_SIZE_BYTES`).
const FETCH_MAX_BYTES: i32 = 8 * 1024 * 1024;

pub(super) fn leader_id(leader: LeaderAndEpoch) -> i32 {
    leader.leader.unwrap_or(BrokerId::NONE).0
}

fn is_metadata(name: &Text, partitions: usize) -> bool {
    &**name == METADATA_TOPIC && partitions == 1
}

/// Whether a request names another cluster than ours. Requests may leave the name out.
pub(crate) fn is_other_cluster(named: Option<&Text>, ours: &str) -> bool {
    named.is_some_and(|named| &**named != ours)
}

/// What the leader knows when it answers.
pub(crate) struct LeaderView<'a> {
    pub(crate) leader: LeaderAndEpoch,
    pub(crate) voters: &'a VoterSet,
    pub(crate) listener: &'a str,
    pub(crate) log_start_offset: Offset,
    pub(crate) high_watermark: Offset,
}

impl LeaderView<'_> {
    /// Where the leader listens, by the name of the listener the request came in on.
    fn endpoint(&self) -> Option<(i32, &Endpoint)> {
        let voter = self.voters.get(self.leader.leader?)?;
        let named = voter.endpoints.iter().find(|endpoint| endpoint.listener == self.listener);
        Some((voter.key.id.0, named.or(voter.endpoints.first())?))
    }
}
