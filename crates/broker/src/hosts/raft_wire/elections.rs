//! Vote, BeginQuorumEpoch, EndQuorumEpoch: who leads, asked for and answered.

use milena_protocol::Text;
use milena_protocol::messages::{
    BeginQuorumEpochRequest, BeginQuorumEpochResponse, EndQuorumEpochRequest, EndQuorumEpochResponse, VoteRequest,
    VoteResponse, begin_quorum_epoch_response, end_quorum_epoch_response, vote_response,
};
use milena_raft::{
    BeginEpochAsk, EndEpochAsk, Endpoint, LeaderAndEpoch, OffsetAndEpoch, ReplicaKey, VoteAsk, VoteReply,
};
use milena_types::{BrokerId, ErrorCode, LeaderEpoch, Offset, Uuid};

use super::{METADATA_TOPIC, is_metadata, leader_id};

/// The vote asked for; before version 1 nobody says whose.
pub(crate) fn vote_ask(request: &VoteRequest) -> Option<VoteAsk> {
    let topic = request.topics.first().filter(|topic| is_metadata(&topic.topic_name, topic.partitions.len()))?;
    let partition = topic.partitions.first()?;
    let voter = ReplicaKey { id: BrokerId(request.voter_id), directory_id: partition.voter_directory_id };
    Some(VoteAsk {
        voter: Some(voter).filter(|voter| voter.id.is_some()),
        candidate: ReplicaKey { id: BrokerId(partition.replica_id), directory_id: partition.replica_directory_id },
        epoch: LeaderEpoch(partition.replica_epoch),
        last: OffsetAndEpoch { offset: Offset(partition.last_offset), epoch: LeaderEpoch(partition.last_offset_epoch) },
        pre_vote: partition.pre_vote,
    })
}

/// The answer to a vote.
pub(crate) fn vote_response(reply: &VoteReply) -> VoteResponse {
    let partition = vote_response::PartitionData {
        partition_index: 0,
        error_code: reply.error.0,
        leader_id: leader_id(reply.leader),
        leader_epoch: reply.leader.epoch.0,
        vote_granted: reply.granted,
        ..Default::default()
    };
    let topic_name = Text::from(METADATA_TOPIC);
    let topic = vote_response::TopicData { topic_name, partitions: vec![partition], ..Default::default() };
    VoteResponse { topics: vec![topic], ..Default::default() }
}

/// A leader's announcement.
pub(crate) fn begin_epoch_ask(request: &BeginQuorumEpochRequest) -> Option<BeginEpochAsk> {
    let topic = request.topics.first().filter(|topic| is_metadata(&topic.topic_name, topic.partitions.len()))?;
    let partition = topic.partitions.first()?;
    let voter = ReplicaKey { id: BrokerId(request.voter_id), directory_id: partition.voter_directory_id };
    Some(BeginEpochAsk {
        voter: Some(voter).filter(|voter| voter.id.is_some()),
        leader: BrokerId(partition.leader_id),
        epoch: LeaderEpoch(partition.leader_epoch),
        endpoints: request.leader_endpoints.iter().map(|at| endpoint(&at.name, &at.host, at.port)).collect(),
    })
}

fn endpoint(listener: &Text, host: &Text, port: u16) -> Endpoint {
    Endpoint { listener: listener.to_string(), host: host.to_string(), port }
}

/// The answer to it.
pub(crate) fn begin_epoch_response(error: ErrorCode, leader: LeaderAndEpoch) -> BeginQuorumEpochResponse {
    let partition = begin_quorum_epoch_response::PartitionData {
        error_code: error.0,
        leader_id: leader_id(leader),
        leader_epoch: leader.epoch.0,
        ..Default::default()
    };
    let topic_name = Text::from(METADATA_TOPIC);
    let topic =
        begin_quorum_epoch_response::TopicData { topic_name, partitions: vec![partition], ..Default::default() };
    BeginQuorumEpochResponse { topics: vec![topic], ..Default::default() }
}

/// A leader's farewell.
pub(crate) fn end_epoch_ask(request: &EndQuorumEpochRequest) -> Option<EndEpochAsk> {
    let topic = request.topics.first().filter(|topic| is_metadata(&topic.topic_name, topic.partitions.len()))?;
    let partition = topic.partitions.first()?;
    let by_key = partition.preferred_candidates.iter().map(|candidate| ReplicaKey {
        id: BrokerId(candidate.candidate_id),
        directory_id: candidate.candidate_directory_id,
    });
    let by_id =
        partition.preferred_successors.iter().map(|id| ReplicaKey { id: BrokerId(*id), directory_id: Uuid::ZERO });
    Some(EndEpochAsk {
        leader: BrokerId(partition.leader_id),
        epoch: LeaderEpoch(partition.leader_epoch),
        preferred: by_key.chain(by_id).collect(),
        endpoints: request.leader_endpoints.iter().map(|at| endpoint(&at.name, &at.host, at.port)).collect(),
    })
}

/// The answer to it.
pub(crate) fn end_epoch_response(error: ErrorCode, leader: LeaderAndEpoch) -> EndQuorumEpochResponse {
    let partition = end_quorum_epoch_response::PartitionData {
        error_code: error.0,
        leader_id: leader_id(leader),
        leader_epoch: leader.epoch.0,
        ..Default::default()
    };
    let topic_name = Text::from(METADATA_TOPIC);
    let topic = end_quorum_epoch_response::TopicData { topic_name, partitions: vec![partition], ..Default::default() };
    EndQuorumEpochResponse { topics: vec![topic], ..Default::default() }
}
