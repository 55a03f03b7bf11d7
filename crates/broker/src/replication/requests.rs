//! The fetch request of a follower, and finding the partitions of its answer (`RemoteLeaderEndPoint.buildFetch`).

use crate::broker::Broker;
use milena_protocol::messages::FetchRequest;
use milena_protocol::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic, ReplicaState};
use milena_replication::{RequestedPartition, SessionChanges, TopicKey};
use milena_types::TopicId;

/// The request that tells `changes`.
pub(super) fn fetch_request(broker: &Broker, changes: SessionChanges) -> FetchRequest {
    let settings = &broker.settings.replication;
    let mut topics: Vec<FetchTopic> = Vec::new();
    for ((topic_id, _), asked) in changes.partitions {
        let partition = FetchPartition {
            partition: asked.partition,
            current_leader_epoch: asked.current_leader_epoch,
            fetch_offset: asked.fetch_offset,
            last_fetched_epoch: asked.last_fetched_epoch,
            log_start_offset: asked.log_start_offset,
            partition_max_bytes: asked.max_bytes,
            ..FetchPartition::default()
        };
        match topics.last_mut() {
            Some(topic) if topic.topic_id == topic_id => topic.partitions.push(partition),
            _ => topics.push(FetchTopic { topic_id, partitions: vec![partition], ..FetchTopic::default() }),
        }
    }
    let mut forgotten: Vec<ForgottenTopic> = Vec::new();
    for (topic_id, index) in changes.forgotten {
        match forgotten.last_mut() {
            Some(topic) if topic.topic_id == topic_id => topic.partitions.push(index.0),
            _ => forgotten.push(ForgottenTopic { topic_id, partitions: vec![index.0], ..ForgottenTopic::default() }),
        }
    }
    FetchRequest {
        replica_state: ReplicaState {
            replica_id: broker.settings.node_id.0,
            replica_epoch: broker.epoch(),
            ..ReplicaState::default()
        },
        max_wait_ms: settings.fetch_wait_max_ms,
        min_bytes: settings.fetch_min_bytes,
        max_bytes: settings.fetch_response_max_bytes,
        session_id: changes.session_id,
        session_epoch: changes.session_epoch,
        topics,
        forgotten_topics_data: forgotten,
        ..FetchRequest::default()
    }
}

/// One partition as it is asked for.
pub(super) fn requested(
    topic: TopicId,
    index: i32,
    at: &crate::partitions::FollowerEnd,
    max_bytes: i32,
) -> RequestedPartition {
    RequestedPartition {
        topic: TopicKey::Id(topic),
        partition: index,
        max_bytes,
        fetch_offset: at.end.0,
        current_leader_epoch: at.leader_epoch.0,
        last_fetched_epoch: at.last_epoch.0,
        log_start_offset: at.log_start.0,
    }
}
