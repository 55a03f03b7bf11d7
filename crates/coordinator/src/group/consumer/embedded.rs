//! What consumers of the classic protocol say to each other, which the coordinator reads and writes for them here: a
//! version, then a message. Kafka: `ConsumerProtocol`.

use bytes::Bytes;
use milena_metadata::Image;
use milena_protocol::messages::consumer_group_heartbeat_request::TopicPartitions as OwnedPartitions;
use milena_protocol::messages::consumer_protocol_assignment::TopicPartition as AssignedPartitions;
use milena_protocol::messages::{ConsumerProtocolAssignment, ConsumerProtocolSubscription};
use milena_protocol::{Message, Reader, Writer};
use milena_types::Uuid;

use crate::assignor::TopicPartitions;

/// The bytes are no message of consumers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Malformed;

fn read<M: Message>(bytes: &Bytes) -> Result<M, Malformed> {
    let mut reader = Reader::new(bytes.clone());
    let version = reader.read_i16().map_err(|_| Malformed)?;
    if version < 0 {
        return Err(Malformed);
    }
    // A later version begins like the last one that is known.
    M::decode(&mut reader, version.min(M::MAX_VERSION)).map_err(|_| Malformed)
}

/// What a member wants and has.
pub(super) fn read_subscription(bytes: &Bytes) -> Result<ConsumerProtocolSubscription, Malformed> {
    read(bytes)
}

/// What a member got from its leader.
pub(super) fn read_assignment(bytes: &Bytes) -> Result<ConsumerProtocolAssignment, Malformed> {
    read(bytes)
}

/// The partitions a member says to have, of topics that are there.
pub(super) fn owned_partitions(subscription: &ConsumerProtocolSubscription, image: &Image) -> Vec<OwnedPartitions> {
    let topics = subscription.owned_partitions.iter().filter_map(|topic| {
        let topic_id = image.topics.id_of(&topic.topic)?;
        Some(OwnedPartitions { topic_id, partitions: topic.partitions.clone(), ..Default::default() })
    });
    topics.collect()
}

/// An assignment by topic ids; topics that are gone are left out.
pub(super) fn by_topic_id(assignment: &ConsumerProtocolAssignment, image: &Image) -> TopicPartitions {
    let topics = assignment.assigned_partitions.iter().filter(|topic| !topic.partitions.is_empty());
    let by_id = topics.filter_map(|topic| {
        let id = image.topics.id_of(&topic.topic)?;
        Some((id, topic.partitions.iter().copied().collect()))
    });
    by_id.collect()
}

/// An assignment as a member of that subscription understands it.
pub(super) fn write_assignment(
    topics: impl Iterator<Item = (Uuid, Vec<i32>)>,
    subscription: &Bytes,
    image: &Image,
) -> Result<Bytes, Malformed> {
    let version = Reader::new(subscription.clone()).read_i16().map_err(|_| Malformed)?;
    if version < 0 {
        return Err(Malformed);
    }
    let version = version.min(ConsumerProtocolAssignment::MAX_VERSION);
    let assigned_partitions = topics.filter_map(|(id, partitions)| {
        let topic = image.topics.get(id)?.name.clone();
        Some(AssignedPartitions { topic, partitions })
    });
    let message =
        ConsumerProtocolAssignment { assigned_partitions: assigned_partitions.collect(), ..Default::default() };
    let mut writer = Writer::new();
    writer.write_i16(version);
    message.encode(&mut writer, version).map_err(|_| Malformed)?;
    writer.into_bytes().map_err(|_| Malformed)
}
