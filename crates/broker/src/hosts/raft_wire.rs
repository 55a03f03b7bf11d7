//! The quorum's questions and answers as the wire's messages, and back. All are about one partition,
//! `__cluster_metadata-0`, whose topic id is fixed (`Uuid.METADATA_TOPIC_ID`).

use milena_protocol::messages::{
    BeginQuorumEpochRequest, BeginQuorumEpochResponse, EndQuorumEpochRequest, EndQuorumEpochResponse, FetchRequest,
    FetchResponse, FetchSnapshotRequest, FetchSnapshotResponse, VoteRequest, VoteResponse, begin_quorum_epoch_response,
    end_quorum_epoch_response, fetch_request, fetch_response, fetch_snapshot_request, fetch_snapshot_response,
    vote_response,
};
use milena_protocol::{Records, Text};
use milena_raft::{
    BeginEpochAsk, EndEpochAsk, Endpoint, FetchAnswer, FetchAsk, FetchOut, FetchVerdict, LeaderAndEpoch,
    OffsetAndEpoch, ReplicaKey, SnapshotAsk, SnapshotFetchOut, VoteAsk, VoteReply, VoterSet,
};
use milena_types::{BrokerId, ErrorCode, LeaderEpoch, Offset, Uuid};

/// The topic of the metadata log.
pub(crate) const METADATA_TOPIC: &str = "__cluster_metadata";

/// How much of the log one fetch of an observer asks for (`KafkaRaftClient.MAX_BATCH_SIZE_BYTES`).
#[allow(dead_code, reason = "the observer of a broker in a process of its own sends it")]
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

/// The one partition of a metadata fetch.
pub(crate) fn fetch_ask(request: &FetchRequest) -> Option<(FetchAsk, i32)> {
    let [topic] = request.topics.as_slice() else {
        return None;
    };
    let [partition] = topic.partitions.as_slice() else {
        return None;
    };
    if partition.partition != 0 || (topic.topic_id != Uuid::ONE && &*topic.topic != METADATA_TOPIC) {
        return None;
    }
    let id = if request.replica_state.replica_id >= 0 { request.replica_state.replica_id } else { request.replica_id };
    let ask = FetchAsk {
        replica: ReplicaKey { id: BrokerId(id), directory_id: partition.replica_directory_id },
        epoch: LeaderEpoch(partition.current_leader_epoch),
        from: OffsetAndEpoch {
            offset: Offset(partition.fetch_offset),
            epoch: LeaderEpoch(partition.last_fetched_epoch),
        },
        high_watermark: Offset(partition.high_watermark),
    };
    Some((ask, request.max_wait_ms))
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

/// The answer to a metadata fetch.
pub(crate) fn fetch_response(verdict: &FetchVerdict, records: Records, view: &LeaderView<'_>) -> FetchResponse {
    let mut partition = fetch_response::PartitionData {
        partition_index: 0,
        high_watermark: view.high_watermark.0,
        log_start_offset: view.log_start_offset.0,
        current_leader: fetch_response::LeaderIdAndEpoch {
            leader_id: leader_id(view.leader),
            leader_epoch: view.leader.epoch.0,
            ..Default::default()
        },
        records: Some(records),
        ..Default::default()
    };
    match verdict {
        FetchVerdict::Error(error) => {
            partition.error_code = error.0;
            partition.high_watermark = -1;
        }
        FetchVerdict::Diverging(to) => {
            partition.diverging_epoch.epoch = to.epoch.0;
            partition.diverging_epoch.end_offset = to.offset.0;
        }
        FetchVerdict::Snapshot(id) => {
            partition.snapshot_id.epoch = id.epoch.0;
            partition.snapshot_id.end_offset = id.offset.0;
        }
        FetchVerdict::Read { .. } => {}
    }
    let topic = fetch_response::FetchableTopicResponse {
        topic: Text::from(METADATA_TOPIC),
        topic_id: Uuid::ONE,
        partitions: vec![partition],
        ..Default::default()
    };
    let node = view.endpoint().map(|(node_id, endpoint)| fetch_response::NodeEndpoint {
        node_id,
        host: Text::from(endpoint.host.as_str()),
        port: i32::from(endpoint.port),
        ..Default::default()
    });
    FetchResponse { responses: vec![topic], node_endpoints: node.into_iter().collect(), ..Default::default() }
}

/// A metadata fetch for the leader.
#[allow(dead_code, reason = "the observer of a broker in a process of its own sends it")]
pub(crate) fn fetch_request(fetch: &FetchOut, cluster_id: &str) -> FetchRequest {
    let partition = fetch_request::FetchPartition {
        partition: 0,
        current_leader_epoch: fetch.epoch.0,
        fetch_offset: fetch.from.offset.0,
        last_fetched_epoch: fetch.from.epoch.0,
        log_start_offset: -1,
        partition_max_bytes: 0,
        replica_directory_id: fetch.replica.directory_id,
        high_watermark: fetch.high_watermark.0,
        ..Default::default()
    };
    let topic = fetch_request::FetchTopic {
        topic: Text::from(METADATA_TOPIC),
        topic_id: Uuid::ONE,
        partitions: vec![partition],
        ..Default::default()
    };
    FetchRequest {
        cluster_id: Some(Text::from(cluster_id)),
        replica_state: fetch_request::ReplicaState { replica_id: fetch.replica.id.0, ..Default::default() },
        max_wait_ms: fetch.max_wait_ms,
        max_bytes: FETCH_MAX_BYTES,
        topics: vec![topic],
        ..Default::default()
    }
}

/// The head of a fetch answer, the leader's endpoints in it, and its records.
pub(crate) fn fetch_answer(response: FetchResponse, listener: &str) -> (FetchAnswer, Vec<Endpoint>, Records) {
    let mut answer = FetchAnswer {
        error: ErrorCode(response.error_code),
        leader: LeaderAndEpoch { leader: None, epoch: LeaderEpoch::NONE },
        high_watermark: Offset::NONE,
        diverging: None,
        snapshot: None,
        has_records: false,
    };
    let endpoints = response.node_endpoints;
    let partition = response.responses.into_iter().next().and_then(|topic| topic.partitions.into_iter().next());
    let Some(partition) = partition else {
        if answer.error.is_none() {
            answer.error = ErrorCode::UNKNOWN_SERVER_ERROR;
        }
        return (answer, Vec::new(), Records::EMPTY);
    };
    if answer.error.is_none() {
        answer.error = ErrorCode(partition.error_code);
    }
    answer.leader = LeaderAndEpoch {
        leader: Some(BrokerId(partition.current_leader.leader_id)).filter(|id| id.is_some()),
        epoch: LeaderEpoch(partition.current_leader.leader_epoch),
    };
    answer.high_watermark = Offset(partition.high_watermark);
    let place = |offset: i64, epoch: i32| {
        (epoch >= 0).then_some(OffsetAndEpoch { offset: Offset(offset), epoch: LeaderEpoch(epoch) })
    };
    answer.diverging = place(partition.diverging_epoch.end_offset, partition.diverging_epoch.epoch);
    answer.snapshot = place(partition.snapshot_id.end_offset, partition.snapshot_id.epoch);
    let records = partition.records.unwrap_or(Records::EMPTY);
    answer.has_records = !records.is_empty();
    let endpoints = endpoints
        .iter()
        .filter(|node| Some(BrokerId(node.node_id)) == answer.leader.leader)
        .map(|node| Endpoint {
            listener: listener.to_owned(),
            host: node.host.to_string(),
            port: u16::try_from(node.port).unwrap_or(0),
        })
        .collect();
    (answer, endpoints, records)
}

/// The one partition of a FetchSnapshot: what is asked, from which position, at most how many bytes.
pub(crate) fn snapshot_ask(request: &FetchSnapshotRequest) -> Option<(SnapshotAsk, i64)> {
    let topic = request.topics.first().filter(|topic| is_metadata(&topic.name, topic.partitions.len()))?;
    let partition = topic.partitions.first().filter(|partition| partition.partition == 0)?;
    let ask = SnapshotAsk {
        replica: ReplicaKey { id: BrokerId(request.replica_id), directory_id: partition.replica_directory_id },
        epoch: LeaderEpoch(partition.current_leader_epoch),
        snapshot: OffsetAndEpoch {
            offset: Offset(partition.snapshot_id.end_offset),
            epoch: LeaderEpoch(partition.snapshot_id.epoch),
        },
    };
    Some((ask, partition.position))
}

/// A piece of a snapshot, or why there is none.
pub(crate) fn snapshot_response(
    id: OffsetAndEpoch,
    piece: Result<(Records, i64, i64), ErrorCode>,
    view: &LeaderView<'_>,
) -> FetchSnapshotResponse {
    let (error, (records, size, position)) = match piece {
        Ok(piece) => (ErrorCode::NONE, piece),
        Err(error) => (error, (Records::EMPTY, 0, 0)),
    };
    let partition = fetch_snapshot_response::PartitionSnapshot {
        index: 0,
        error_code: error.0,
        snapshot_id: fetch_snapshot_response::SnapshotId {
            end_offset: id.offset.0,
            epoch: id.epoch.0,
            ..Default::default()
        },
        current_leader: fetch_snapshot_response::LeaderIdAndEpoch {
            leader_id: leader_id(view.leader),
            leader_epoch: view.leader.epoch.0,
            ..Default::default()
        },
        size,
        position,
        unaligned_records: records,
        ..Default::default()
    };
    let topic = fetch_snapshot_response::TopicSnapshot {
        name: Text::from(METADATA_TOPIC),
        partitions: vec![partition],
        ..Default::default()
    };
    let node = view.endpoint().map(|(node_id, endpoint)| fetch_snapshot_response::NodeEndpoint {
        node_id,
        host: Text::from(endpoint.host.as_str()),
        port: endpoint.port,
        ..Default::default()
    });
    FetchSnapshotResponse { topics: vec![topic], node_endpoints: node.into_iter().collect(), ..Default::default() }
}

/// A request for the piece of a snapshot that begins at `position`.
#[allow(dead_code, reason = "the observer of a broker in a process of its own sends it")]
pub(crate) fn snapshot_request(out: &SnapshotFetchOut, position: i64, cluster_id: &str) -> FetchSnapshotRequest {
    let partition = fetch_snapshot_request::PartitionSnapshot {
        partition: 0,
        current_leader_epoch: out.epoch.0,
        snapshot_id: fetch_snapshot_request::SnapshotId {
            end_offset: out.snapshot.offset.0,
            epoch: out.snapshot.epoch.0,
            ..Default::default()
        },
        position,
        replica_directory_id: out.replica.directory_id,
        ..Default::default()
    };
    let topic = fetch_snapshot_request::TopicSnapshot {
        name: Text::from(METADATA_TOPIC),
        partitions: vec![partition],
        ..Default::default()
    };
    FetchSnapshotRequest {
        cluster_id: Some(Text::from(cluster_id)),
        replica_id: out.replica.id.0,
        max_bytes: FETCH_MAX_BYTES,
        topics: vec![topic],
        ..Default::default()
    }
}

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
    })
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
