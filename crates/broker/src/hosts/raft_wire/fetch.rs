//! Fetch of the metadata log: what followers and observers ask, and the answers.

use milena_protocol::messages::{FetchRequest, FetchResponse, fetch_request, fetch_response};
use milena_protocol::{Records, Text};
use milena_raft::{
    Endpoint, FetchAnswer, FetchAsk, FetchOut, FetchVerdict, LeaderAndEpoch, OffsetAndEpoch, ReplicaKey,
};
use milena_types::{BrokerId, ErrorCode, LeaderEpoch, Offset, Uuid};

use super::{LeaderView, METADATA_TOPIC, leader_id, news, told_leader};

/// The one partition of a metadata fetch.
pub(crate) fn fetch_ask(request: &FetchRequest) -> Option<(FetchAsk, i32)> {
    let [topic] = request.topics.as_slice() else {
        return None;
    };
    let [partition] = topic.partitions.as_slice() else {
        return None;
    };
    // Of older versions, which name the topic, Kafka takes none (`RaftUtil.hasValidTopicPartition`).
    if partition.partition != 0 || topic.topic_id != Uuid::ONE {
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
pub(crate) fn fetch_request(fetch: &FetchOut, cluster_id: &str, max_bytes: i32) -> FetchRequest {
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
        max_bytes,
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
    answer.leader = told_leader(partition.current_leader.leader_id, partition.current_leader.leader_epoch);
    answer.high_watermark = Offset(partition.high_watermark);
    let place = |offset: i64, epoch: i32| {
        (epoch >= 0).then_some(OffsetAndEpoch { offset: Offset(offset), epoch: LeaderEpoch(epoch) })
    };
    answer.diverging = place(partition.diverging_epoch.end_offset, partition.diverging_epoch.epoch);
    answer.snapshot = place(partition.snapshot_id.end_offset, partition.snapshot_id.epoch);
    let records = partition.records.unwrap_or(Records::EMPTY);
    answer.has_records = !records.is_empty();
    let nodes = endpoints.into_iter().map(|node| (node.node_id, node.host, node.port));
    let endpoints = news(answer.leader, nodes, listener).endpoints;
    (answer, endpoints, records)
}
