//! DescribeTopicPartitions, version 0 (KIP-966): topics in the order of their names with at most
//! `max.request.partition.size.limit` partitions, and a cursor to go on from. Kafka:
//! `DescribeTopicPartitionsRequestHandler`, `KRaftMetadataCache.describeTopicResponse`. Without an authorizer a client may
//! do everything with a topic, and is told so whether it asks or not.

use super::{Api, Lane};
use crate::call::{Call, Outcome};
use crate::partitions::is_internal;
use milena_controller::validate_topic_name;
use milena_metadata::{Image, Partition, Topic};
use milena_protocol::messages::describe_topic_partitions_request::Cursor as RequestCursor;
use milena_protocol::messages::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};
use milena_protocol::messages::{DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse};
use milena_protocol::{ApiKey, Text};
use milena_types::{BrokerId, ErrorCode, Uuid};
use std::collections::BTreeSet;

/// The row of the table.
pub(crate) const API: Api = Api { key: ApiKey::DESCRIBE_TOPIC_PARTITIONS, lane: Lane::Inline, handle };

/// The bits of all operations on a topic: read, write, create, delete, alter, describe, describe and alter configs
/// (`AclEntry.supportedOperations`).
const ALL_TOPIC_OPERATIONS: i32 = 0b1101_1111_1000;

fn handle(call: &mut Call<'_, '_>) -> Outcome {
    let Ok(request) = call.decode::<DescribeTopicPartitionsRequest>() else { return Outcome::Close };
    let image = call.broker.image();
    let response =
        describe(&image, &request, &call.session.peer.listener, call.broker.settings.max_request_partition_size_limit);
    call.answer(&response)
}

/// The answer for clients of `listener`, with at most `partitions_max` partitions.
fn describe(
    image: &Image,
    request: &DescribeTopicPartitionsRequest,
    listener: &str,
    partitions_max: i32,
) -> DescribeTopicPartitionsResponse {
    let cursor = request.cursor.as_ref();
    let from: &str = cursor.map_or("", |cursor| &cursor.topic_name);
    let wanted: BTreeSet<&Text> =
        request.topics.iter().map(|topic| &topic.name).filter(|name| ***name >= *from).collect();
    let is_all = request.topics.is_empty();
    if cursor.is_some_and(|cursor| !is_valid(cursor, is_all, &wanted)) {
        return refused(request);
    }
    let start_of = |name: &str| cursor.filter(|_| name == from).map_or(0, |cursor| cursor.partition_index);
    let remaining = partitions_max.min(request.response_partition_limit).max(1);
    let mut page = Page { image, listener, remaining, response: DescribeTopicPartitionsResponse::default() };
    if is_all {
        for topic in image.topics.iter_from(from) {
            if !page.add(&topic.name, Some(topic), start_of(&topic.name)) {
                break;
            }
        }
    } else {
        for name in wanted {
            if !page.add(name, image.topics.named(name).map(|topic| &**topic), start_of(name)) {
                break;
            }
        }
    }
    page.response
}

/// The cursor's topic must be among those asked for, its partition a number.
fn is_valid(cursor: &RequestCursor, is_all: bool, wanted: &BTreeSet<&Text>) -> bool {
    (is_all || wanted.contains(&cursor.topic_name)) && cursor.partition_index >= 0
}

/// `DescribeTopicPartitionsRequest.getErrorResponse`.
fn refused(request: &DescribeTopicPartitionsRequest) -> DescribeTopicPartitionsResponse {
    let topic = |name: &Text| DescribeTopicPartitionsResponseTopic {
        error_code: ErrorCode::INVALID_REQUEST.0,
        name: Some(name.clone()),
        ..Default::default()
    };
    DescribeTopicPartitionsResponse {
        topics: request.topics.iter().map(|asked| topic(&asked.name)).collect(),
        ..Default::default()
    }
}

/// The answer while it grows.
struct Page<'a> {
    image: &'a Image,
    listener: &'a str,
    /// How many partitions may still be told.
    remaining: i32,
    response: DescribeTopicPartitionsResponse,
}

impl Page<'_> {
    /// Adds a topic from its partition `start` on. Whether there may be more.
    fn add(&mut self, name: &Text, topic: Option<&Topic>, start: i32) -> bool {
        if self.remaining <= 0 {
            self.set_cursor(name, 0);
            return false;
        }
        let mut answer = DescribeTopicPartitionsResponseTopic {
            name: Some(name.clone()),
            is_internal: is_internal(name),
            topic_authorized_operations: ALL_TOPIC_OPERATIONS,
            ..Default::default()
        };
        let Some(topic) = topic else {
            let unknown = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
            answer.error_code = validate_topic_name(name).map_or_else(|invalid| invalid.error, |()| unknown).0;
            answer.topic_id = Uuid::ZERO;
            self.response.topics.push(answer);
            return true;
        };
        let count = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
        let end = count.min(start.saturating_add(self.remaining));
        answer.topic_id = topic.id;
        answer.partitions = topic
            .iter()
            .filter(|(index, _)| (start..end).contains(&index.0))
            .map(|(index, partition)| self.partition(index.0, partition))
            .collect();
        self.remaining -= (end - start).max(0);
        self.response.topics.push(answer);
        if end < count {
            self.set_cursor(name, end);
            return false;
        }
        true
    }

    fn set_cursor(&mut self, topic: &Text, partition_index: i32) {
        self.response.next_cursor = Some(Cursor { topic_name: topic.clone(), partition_index, ..Default::default() });
    }

    fn partition(&self, index: i32, partition: &Partition) -> DescribeTopicPartitionsResponsePartition {
        let ids = |brokers: &[BrokerId]| brokers.iter().map(|broker| broker.0).collect::<Vec<i32>>();
        let cluster = &self.image.cluster;
        let has_endpoint =
            cluster.broker(partition.leader).is_some_and(|leader| leader.endpoint(self.listener).is_some());
        let offline = partition.replicas.iter().enumerate().filter(|(at, replica)| {
            cluster.broker(**replica).is_none_or(|broker| {
                let is_online = partition.directories.get(*at).is_none_or(|id| broker.has_online_directory(*id));
                broker.is_fenced || broker.endpoint(self.listener).is_none() || !is_online
            })
        });
        DescribeTopicPartitionsResponsePartition {
            partition_index: index,
            leader_id: if has_endpoint { partition.leader.0 } else { BrokerId::NONE.0 },
            leader_epoch: partition.leader_epoch.0,
            replica_nodes: ids(&partition.replicas),
            isr_nodes: ids(&partition.isr),
            eligible_leader_replicas: Some(ids(&partition.eligible_leader_replicas)),
            last_known_elr: Some(ids(&partition.last_known_elr)),
            offline_replicas: offline.map(|(_, replica)| replica.0).collect(),
            ..Default::default()
        }
    }
}

#[cfg(test)]
#[path = "k75_tests.rs"]
mod tests;
