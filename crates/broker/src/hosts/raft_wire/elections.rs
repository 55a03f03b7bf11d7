//! Vote, BeginQuorumEpoch, EndQuorumEpoch: who leads, asked for and answered.

use milena_protocol::Text;
use milena_protocol::messages::{
    BeginQuorumEpochRequest, BeginQuorumEpochResponse, EndQuorumEpochRequest, EndQuorumEpochResponse, VoteRequest,
    VoteResponse, begin_quorum_epoch_request, begin_quorum_epoch_response, end_quorum_epoch_request,
    end_quorum_epoch_response, vote_request, vote_response,
};
use milena_raft::{
    BeginEpochAsk, EndEpochAsk, Endpoint, LeaderAndEpoch, OffsetAndEpoch, PlainAnswer, ReplicaKey, VoteAnswer, VoteAsk,
    VoteOut, VoteReply,
};
use milena_types::{BrokerId, ErrorCode, LeaderEpoch, Offset, Uuid};

use super::{LeaderView, METADATA_TOPIC, is_metadata, leader_id, news, told_leader};

/// The vote asked for; before version 1 nobody says whose.
pub(crate) fn vote_ask(request: &VoteRequest) -> Option<VoteAsk> {
    let topic = request.topics.first().filter(|topic| is_metadata(&topic.topic_name, topic.partitions.len()))?;
    let partition = topic.partitions.first().filter(|partition| partition.partition_index == 0)?;
    let voter = ReplicaKey { id: BrokerId(request.voter_id), directory_id: partition.voter_directory_id };
    Some(VoteAsk {
        voter: Some(voter).filter(|voter| voter.id.is_some()),
        candidate: ReplicaKey { id: BrokerId(partition.replica_id), directory_id: partition.replica_directory_id },
        epoch: LeaderEpoch(partition.replica_epoch),
        last: OffsetAndEpoch { offset: Offset(partition.last_offset), epoch: LeaderEpoch(partition.last_offset_epoch) },
        pre_vote: partition.pre_vote,
    })
}

/// A request for a vote or a pre-vote.
pub(crate) fn vote_request(out: &VoteOut, cluster_id: &str) -> VoteRequest {
    let partition = vote_request::PartitionData {
        partition_index: 0,
        replica_epoch: out.epoch.0,
        replica_id: out.candidate.id.0,
        replica_directory_id: out.candidate.directory_id,
        voter_directory_id: out.voter.directory_id,
        last_offset_epoch: out.last.epoch.0,
        last_offset: out.last.offset.0,
        pre_vote: out.pre_vote,
        ..Default::default()
    };
    let topic_name = Text::from(METADATA_TOPIC);
    let topic = vote_request::TopicData { topic_name, partitions: vec![partition], ..Default::default() };
    let (cluster_id, voter_id) = (Some(Text::from(cluster_id)), out.voter.id.0);
    VoteRequest { cluster_id, voter_id, topics: vec![topic], ..Default::default() }
}

/// What a voter answered. An error of the whole request comes without a word on who leads.
pub(crate) fn vote_answer(from: BrokerId, pre_vote: bool, response: VoteResponse, listener: &str) -> VoteAnswer {
    let partition = response.topics.into_iter().next().and_then(|topic| topic.partitions.into_iter().next());
    let (error, leader, granted) = match partition {
        Some(partition) if response.error_code == 0 => {
            let leader = told_leader(partition.leader_id, partition.leader_epoch);
            (ErrorCode(partition.error_code), leader, partition.vote_granted)
        }
        _ => (failed(response.error_code), told_leader(-1, -1), false),
    };
    let nodes = response.node_endpoints.into_iter().map(|node| (node.node_id, node.host, i32::from(node.port)));
    let endpoints = news(leader, nodes, listener).endpoints;
    VoteAnswer { from, pre_vote, reply: VoteReply { error, leader, granted }, endpoints }
}

/// The error of an answer that says nothing of the partition.
fn failed(code: i16) -> ErrorCode {
    if code == 0 { ErrorCode::UNKNOWN_SERVER_ERROR } else { ErrorCode(code) }
}

/// The answer to a vote.
pub(crate) fn vote_response(reply: &VoteReply, view: &LeaderView<'_>) -> VoteResponse {
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
    let node = view.endpoint().map(|(node_id, at)| vote_response::NodeEndpoint {
        node_id,
        host: Text::from(at.host.as_str()),
        port: at.port,
        ..Default::default()
    });
    VoteResponse { topics: vec![topic], node_endpoints: node.into_iter().collect(), ..Default::default() }
}

/// A leader's announcement.
pub(crate) fn begin_epoch_ask(request: &BeginQuorumEpochRequest) -> Option<BeginEpochAsk> {
    let topic = request.topics.first().filter(|topic| is_metadata(&topic.topic_name, topic.partitions.len()))?;
    let partition = topic.partitions.first().filter(|partition| partition.partition_index == 0)?;
    let voter = ReplicaKey { id: BrokerId(request.voter_id), directory_id: partition.voter_directory_id };
    Some(BeginEpochAsk {
        voter: Some(voter).filter(|voter| voter.id.is_some()),
        leader: BrokerId(partition.leader_id),
        epoch: LeaderEpoch(partition.leader_epoch),
        endpoints: request.leader_endpoints.iter().map(|at| endpoint(&at.name, &at.host, at.port)).collect(),
    })
}

/// A leader presents itself to a voter.
pub(crate) fn begin_epoch_request(
    voter: ReplicaKey,
    leader: LeaderAndEpoch,
    endpoints: &[Endpoint],
    cluster_id: &str,
) -> BeginQuorumEpochRequest {
    let partition = begin_quorum_epoch_request::PartitionData {
        partition_index: 0,
        voter_directory_id: voter.directory_id,
        leader_id: leader_id(leader),
        leader_epoch: leader.epoch.0,
        ..Default::default()
    };
    let topic_name = Text::from(METADATA_TOPIC);
    let topic = begin_quorum_epoch_request::TopicData { topic_name, partitions: vec![partition], ..Default::default() };
    let endpoint = |at: &Endpoint| begin_quorum_epoch_request::LeaderEndpoint {
        name: Text::from(at.listener.as_str()),
        host: Text::from(at.host.as_str()),
        port: at.port,
        ..Default::default()
    };
    BeginQuorumEpochRequest {
        cluster_id: Some(Text::from(cluster_id)),
        voter_id: voter.id.0,
        topics: vec![topic],
        leader_endpoints: endpoints.iter().map(endpoint).collect(),
        ..Default::default()
    }
}

/// What a voter answered to a leader that presented itself.
pub(crate) fn begin_epoch_answer(from: BrokerId, response: BeginQuorumEpochResponse, listener: &str) -> PlainAnswer {
    let partition = response.topics.into_iter().next().and_then(|topic| topic.partitions.into_iter().next());
    let (error, leader) = match partition {
        Some(partition) if response.error_code == 0 => {
            (ErrorCode(partition.error_code), told_leader(partition.leader_id, partition.leader_epoch))
        }
        _ => (failed(response.error_code), told_leader(-1, -1)),
    };
    let nodes = response.node_endpoints.into_iter().map(|node| (node.node_id, node.host, i32::from(node.port)));
    PlainAnswer { from, error, news: news(leader, nodes, listener) }
}

/// A leader takes its leave; the preferred successors go by key and, for version 0, by id.
pub(crate) fn end_epoch_request(
    leader: LeaderAndEpoch,
    preferred: &[ReplicaKey],
    endpoints: &[Endpoint],
    cluster_id: &str,
) -> EndQuorumEpochRequest {
    let candidate = |key: &ReplicaKey| end_quorum_epoch_request::ReplicaInfo {
        candidate_id: key.id.0,
        candidate_directory_id: key.directory_id,
        ..Default::default()
    };
    let partition = end_quorum_epoch_request::PartitionData {
        partition_index: 0,
        leader_id: leader_id(leader),
        leader_epoch: leader.epoch.0,
        preferred_successors: preferred.iter().map(|key| key.id.0).collect(),
        preferred_candidates: preferred.iter().map(candidate).collect(),
        ..Default::default()
    };
    let topic_name = Text::from(METADATA_TOPIC);
    let topic = end_quorum_epoch_request::TopicData { topic_name, partitions: vec![partition], ..Default::default() };
    let endpoint = |at: &Endpoint| end_quorum_epoch_request::LeaderEndpoint {
        name: Text::from(at.listener.as_str()),
        host: Text::from(at.host.as_str()),
        port: at.port,
        ..Default::default()
    };
    EndQuorumEpochRequest {
        cluster_id: Some(Text::from(cluster_id)),
        topics: vec![topic],
        leader_endpoints: endpoints.iter().map(endpoint).collect(),
        ..Default::default()
    }
}

/// What a voter answered to a leader's farewell.
pub(crate) fn end_epoch_answer(from: BrokerId, response: EndQuorumEpochResponse, listener: &str) -> PlainAnswer {
    let partition = response.topics.into_iter().next().and_then(|topic| topic.partitions.into_iter().next());
    let (error, leader) = match partition {
        Some(partition) if response.error_code == 0 => {
            (ErrorCode(partition.error_code), told_leader(partition.leader_id, partition.leader_epoch))
        }
        _ => (failed(response.error_code), told_leader(-1, -1)),
    };
    let nodes = response.node_endpoints.into_iter().map(|node| (node.node_id, node.host, i32::from(node.port)));
    PlainAnswer { from, error, news: news(leader, nodes, listener) }
}

fn endpoint(listener: &Text, host: &Text, port: u16) -> Endpoint {
    Endpoint { listener: listener.to_string(), host: host.to_string(), port }
}

/// The answer to it; as for a vote, version 0 learns no endpoints.
pub(crate) fn begin_epoch_response(error: ErrorCode, view: &LeaderView<'_>) -> BeginQuorumEpochResponse {
    let leader = view.leader;
    let partition = begin_quorum_epoch_response::PartitionData {
        error_code: error.0,
        leader_id: leader_id(leader),
        leader_epoch: leader.epoch.0,
        ..Default::default()
    };
    let topic_name = Text::from(METADATA_TOPIC);
    let topic =
        begin_quorum_epoch_response::TopicData { topic_name, partitions: vec![partition], ..Default::default() };
    let node = view.endpoint().map(|(node_id, at)| begin_quorum_epoch_response::NodeEndpoint {
        node_id,
        host: Text::from(at.host.as_str()),
        port: at.port,
        ..Default::default()
    });
    BeginQuorumEpochResponse { topics: vec![topic], node_endpoints: node.into_iter().collect(), ..Default::default() }
}

/// A leader's farewell.
pub(crate) fn end_epoch_ask(request: &EndQuorumEpochRequest) -> Option<EndEpochAsk> {
    let topic = request.topics.first().filter(|topic| is_metadata(&topic.topic_name, topic.partitions.len()))?;
    let partition = topic.partitions.first().filter(|partition| partition.partition_index == 0)?;
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

/// The answer to it. Version 0 says nothing of endpoints and understands none.
pub(crate) fn end_epoch_response(error: ErrorCode, view: &LeaderView<'_>) -> EndQuorumEpochResponse {
    let leader = view.leader;
    let partition = end_quorum_epoch_response::PartitionData {
        error_code: error.0,
        leader_id: leader_id(leader),
        leader_epoch: leader.epoch.0,
        ..Default::default()
    };
    let topic_name = Text::from(METADATA_TOPIC);
    let topic = end_quorum_epoch_response::TopicData { topic_name, partitions: vec![partition], ..Default::default() };
    let node = view.endpoint().map(|(node_id, at)| end_quorum_epoch_response::NodeEndpoint {
        node_id,
        host: Text::from(at.host.as_str()),
        port: at.port,
        ..Default::default()
    });
    EndQuorumEpochResponse { topics: vec![topic], node_endpoints: node.into_iter().collect(), ..Default::default() }
}
