//! The hash of what a group's members want: when topics appear, vanish, grow or move between racks it changes, and with it
//! the group's epoch. It is in the log, so it is Kafka's to the bit (`Utils.computeTopicHash`, `computeGroupHash`).

use std::collections::BTreeMap;

use milena_metadata::{Image, Topic};
use milena_protocol::Text;
use twox_hash::XxHash3_64;

/// The version of what is hashed.
const MAGIC: u8 = 0;

/// The hash of one topic: its id, name and partitions with the racks of their replicas.
pub(super) fn topic_hash(topic: &Topic, image: &Image) -> i64 {
    let mut bytes = vec![MAGIC];
    let (high, low) = topic.id.0.split_at(8);
    bytes.extend(high.iter().rev());
    bytes.extend(low.iter().rev());
    put_text(&mut bytes, &topic.name);
    bytes.extend(length(topic.partitions.len()));
    for (number, partition) in topic.partitions.iter().enumerate() {
        bytes.extend(length(number));
        let brokers = partition.replicas.iter().filter_map(|id| image.cluster.broker(*id));
        let mut racks: Vec<&Text> = brokers.filter_map(|broker| broker.rack.as_ref()).collect();
        racks.sort();
        for rack in racks {
            bytes.extend(length(rack.encode_utf16().count()));
            put_text(&mut bytes, rack);
        }
    }
    hash(&bytes)
}

/// The hash of several topics, in the order of their names; 0 for none.
pub(super) fn group_hash(topics: &BTreeMap<&Text, i64>) -> i64 {
    if topics.is_empty() {
        return 0;
    }
    let bytes: Vec<u8> = topics.values().flat_map(|hash| hash.to_le_bytes()).collect();
    hash(&bytes)
}

fn hash(bytes: &[u8]) -> i64 {
    XxHash3_64::oneshot(bytes).cast_signed()
}

/// As hash4j takes strings: UTF-16, then the number of units.
fn put_text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend(text.encode_utf16().flat_map(u16::to_le_bytes));
    bytes.extend(length(text.encode_utf16().count()));
}

fn length(length: usize) -> [u8; 4] {
    i32::try_from(length).unwrap_or(i32::MAX).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use milena_metadata::{Delta, Partition};
    use milena_protocol::messages::{MetadataRecord, RegisterBrokerRecord};
    use milena_types::{BrokerId, LeaderEpoch, Offset, Uuid};

    use super::*;

    /// An image whose broker n is in the nth of these racks, and a topic with these replicas.
    fn topic(name: &str, id: u128, racks: &[&str], replicas: &[&[i32]]) -> (Topic, Image) {
        let mut image = Image::default();
        for (id, rack) in (0..).map(BrokerId).zip(racks) {
            let record = RegisterBrokerRecord {
                broker_id: id.0,
                rack: Some(Text::from(*rack)),
                ..RegisterBrokerRecord::default()
            };
            let record = MetadataRecord::RegisterBroker(record);
            image.replay(&record, Offset(0), LeaderEpoch(0), &mut Delta::default()).unwrap();
        }
        let partition = |ids: &&[i32]| {
            let replicas = ids.iter().copied().map(BrokerId).collect();
            Arc::new(Partition { replicas, ..Partition::default() })
        };
        let partitions = replicas.iter().map(partition).collect();
        (Topic { name: Text::from(name), id: Uuid(id.to_be_bytes()), partitions }, image)
    }

    /// Printed by `GroupOracle hash` for the same topics.
    #[test]
    fn hashes_are_kafkas() {
        let (foo, image) = topic("foo", 1, &["a", "b"], &[&[1, 0], &[7]]);
        let foo_hash = topic_hash(&foo, &image);
        assert_eq!(group_hash(&BTreeMap::from([(&foo.name, foo_hash)])), -1_711_751_365_744_386_992);
        let (other, image) = topic("topic-\u{e9}\u{1f600}", 2, &["rack-1"], &[&[0]]);
        let other_hash = topic_hash(&other, &image);
        let both = BTreeMap::from([(&foo.name, foo_hash), (&other.name, other_hash)]);
        assert_eq!(group_hash(&both), -5_276_881_866_950_955_015);
        assert_eq!(group_hash(&BTreeMap::new()), 0);
    }
}
