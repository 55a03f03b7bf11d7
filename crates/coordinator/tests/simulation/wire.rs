//! Requests as client libraries make them, and what is in the answers.
#![expect(clippy::unwrap_used, reason = "the helpers of a test fail by panicking")]

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use milena_coordinator::group::GroupRequest;
use milena_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use milena_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use milena_protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use milena_protocol::messages::offset_fetch_response::OffsetFetchResponseGroup;
use milena_protocol::messages::{
    ConsumerProtocolAssignment, ConsumerProtocolSubscription, OffsetCommitRequest, consumer_protocol_assignment,
    consumer_protocol_subscription,
};
use milena_protocol::{Message, Reader, Text, Writer};

use crate::cluster::{Cluster, Spot};

fn embedded(version: i16, message: &impl Message) -> Bytes {
    let mut writer = Writer::new();
    writer.write_i16(version);
    message.encode(&mut writer, version).unwrap();
    writer.into_bytes().unwrap()
}

fn by_name(spots: &BTreeSet<Spot>, cluster: &Cluster) -> BTreeMap<Text, Vec<i32>> {
    let mut topics: BTreeMap<Text, Vec<i32>> = BTreeMap::new();
    for (id, number) in spots {
        if let Some(name) = cluster.name_of(*id) {
            topics.entry(name.clone()).or_default().push(*number);
        }
    }
    topics
}

/// What a classic member wants and has.
pub(crate) fn subscription(topics: Vec<Text>, owned: &BTreeSet<Spot>, generation: i32, cluster: &Cluster) -> Bytes {
    let owned = by_name(owned, cluster).into_iter();
    let owned = owned.map(|(topic, partitions)| consumer_protocol_subscription::TopicPartition { topic, partitions });
    let message = ConsumerProtocolSubscription {
        topics,
        owned_partitions: owned.collect(),
        generation_id: generation,
        ..Default::default()
    };
    embedded(3, &message)
}

pub(crate) fn read_subscription(bytes: &Bytes) -> ConsumerProtocolSubscription {
    let mut reader = Reader::new(bytes.clone());
    let version = reader.read_i16().unwrap();
    ConsumerProtocolSubscription::decode(&mut reader, version).unwrap()
}

/// What a leader gives to a member.
pub(crate) fn assignment(spots: &BTreeSet<Spot>, cluster: &Cluster) -> Bytes {
    let topics = by_name(spots, cluster).into_iter();
    let topics = topics.map(|(topic, partitions)| consumer_protocol_assignment::TopicPartition { topic, partitions });
    embedded(3, &ConsumerProtocolAssignment { assigned_partitions: topics.collect(), ..Default::default() })
}

pub(crate) fn read_assignment(bytes: &Bytes, cluster: &Cluster) -> BTreeSet<Spot> {
    if bytes.is_empty() {
        return BTreeSet::new();
    }
    let mut reader = Reader::new(bytes.clone());
    let version = reader.read_i16().unwrap();
    let message = ConsumerProtocolAssignment::decode(&mut reader, version).unwrap();
    let topics = message.assigned_partitions.into_iter();
    let known = topics.filter_map(|topic| Some((cluster.id_of(&topic.topic)?, topic.partitions)));
    known.flat_map(|(id, partitions)| partitions.into_iter().map(move |number| (id, number))).collect()
}

/// What a member of the new protocol says to have.
pub(crate) fn topic_partitions(owned: &BTreeSet<Spot>) -> Vec<TopicPartitions> {
    let mut topics: BTreeMap<_, Vec<i32>> = BTreeMap::new();
    for (topic, number) in owned {
        topics.entry(*topic).or_default().push(*number);
    }
    let topics = topics.into_iter();
    topics.map(|(topic_id, partitions)| TopicPartitions { topic_id, partitions, ..Default::default() }).collect()
}

/// Who commits.
pub(crate) struct Committer {
    pub(crate) group: Text,
    pub(crate) member: Text,
    pub(crate) instance: Option<Text>,
    pub(crate) epoch: i32,
}

/// A commit; topics that are gone are not named, as the host takes them out.
pub(crate) fn commit(by: Committer, offsets: &[(Spot, i64)], cluster: &Cluster) -> Option<GroupRequest> {
    let mut topics: BTreeMap<_, Vec<OffsetCommitRequestPartition>> = BTreeMap::new();
    for ((topic, number), offset) in offsets {
        topics.entry(*topic).or_default().push(OffsetCommitRequestPartition {
            partition_index: *number,
            committed_offset: *offset,
            ..Default::default()
        });
    }
    let topics = topics.into_iter().filter_map(|(topic_id, partitions)| {
        let name = cluster.name_of(topic_id)?.clone();
        Some(OffsetCommitRequestTopic { name, topic_id, partitions, ..Default::default() })
    });
    let topics: Vec<OffsetCommitRequestTopic> = topics.collect();
    if topics.is_empty() {
        return None;
    }
    Some(GroupRequest::OffsetCommit(Box::new(OffsetCommitRequest {
        group_id: by.group,
        member_id: by.member,
        group_instance_id: by.instance,
        generation_id_or_member_epoch: by.epoch,
        topics,
        ..Default::default()
    })))
}

/// What a commit is about.
pub(crate) fn commits(request: &GroupRequest) -> Vec<(Spot, i64)> {
    let GroupRequest::OffsetCommit(request) = request else { return Vec::new() };
    let of_topic = |topic: &OffsetCommitRequestTopic| {
        let id = topic.topic_id;
        let partitions = topic.partitions.iter();
        partitions
            .map(move |partition| ((id, partition.partition_index), partition.committed_offset))
            .collect::<Vec<_>>()
    };
    request.topics.iter().flat_map(of_topic).collect()
}

/// A look at offsets, by a member of the new protocol or by nobody.
pub(crate) fn fetch<'a>(
    group: &Text,
    member: Option<(Text, i32)>,
    spots: impl Iterator<Item = &'a Spot>,
    cluster: &Cluster,
    require_stable: bool,
) -> GroupRequest {
    let mut topics: BTreeMap<_, Vec<i32>> = BTreeMap::new();
    for (topic, number) in spots {
        topics.entry(*topic).or_default().push(*number);
    }
    let topics = topics.into_iter().filter_map(|(topic_id, partition_indexes)| {
        let name = cluster.name_of(topic_id)?.clone();
        Some(OffsetFetchRequestTopics { name, topic_id, partition_indexes, ..Default::default() })
    });
    let (member_id, member_epoch) = match member {
        Some((member, epoch)) => (Some(member), epoch),
        None => (None, -1),
    };
    let group = OffsetFetchRequestGroup {
        group_id: group.clone(),
        member_id,
        member_epoch,
        topics: Some(topics.collect()),
        ..Default::default()
    };
    GroupRequest::OffsetFetch { group, require_stable }
}

/// The offsets in an answer; an error for what has one.
pub(crate) fn offsets(response: &OffsetFetchResponseGroup) -> Vec<(Spot, Result<i64, i16>)> {
    let topics = response.topics.iter();
    let one = |topic: &milena_protocol::messages::offset_fetch_response::OffsetFetchResponseTopics| {
        let id = topic.topic_id;
        let partitions = topic.partitions.iter().map(move |partition| {
            let offset =
                if partition.error_code == 0 { Ok(partition.committed_offset) } else { Err(partition.error_code) };
            ((id, partition.partition_index), offset)
        });
        partitions.collect::<Vec<_>>()
    };
    topics.flat_map(one).collect()
}
