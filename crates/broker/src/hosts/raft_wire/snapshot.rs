//! FetchSnapshot: pieces of a snapshot, asked for and answered.

use milena_protocol::messages::{
    FetchSnapshotRequest, FetchSnapshotResponse, fetch_snapshot_request, fetch_snapshot_response,
};
use milena_protocol::{Records, Text};
use milena_raft::{LeaderNews, OffsetAndEpoch, ReplicaKey, SnapshotAsk, SnapshotFetchOut};
use milena_types::{BrokerId, ErrorCode, LeaderEpoch, Offset};

use super::{LeaderView, METADATA_TOPIC, is_metadata, leader_id, news, told_leader};

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
pub(crate) fn snapshot_request(
    out: &SnapshotFetchOut,
    position: i64,
    cluster_id: &str,
    max_bytes: i32,
) -> FetchSnapshotRequest {
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
        max_bytes,
        topics: vec![topic],
        ..Default::default()
    }
}

/// The head of an answer: what went wrong, and who leads. An error of the whole request says nothing of that.
pub(crate) fn snapshot_answer(response: &FetchSnapshotResponse, listener: &str) -> (ErrorCode, LeaderNews) {
    let partition = response.topics.first().and_then(|topic| topic.partitions.first());
    let (error, leader) = match partition {
        Some(partition) if response.error_code == 0 => {
            let leader = &partition.current_leader;
            (ErrorCode(partition.error_code), told_leader(leader.leader_id, leader.leader_epoch))
        }
        _ if response.error_code == 0 => (ErrorCode::UNKNOWN_SERVER_ERROR, told_leader(-1, -1)),
        _ => (ErrorCode(response.error_code), told_leader(-1, -1)),
    };
    let nodes = response.node_endpoints.iter().map(|node| (node.node_id, node.host.clone(), i32::from(node.port)));
    (error, news(leader, nodes, listener))
}
