//! Tests of the image: replay, deltas, snapshots, transactions.

use milena_protocol::messages::*;
use milena_types::{BrokerId, LeaderEpoch, Offset, PartitionIndex, Uuid};

use super::*;

fn topic(number: u8, name: &str) -> MetadataRecord {
    MetadataRecord::Topic(TopicRecord { name: name.into(), topic_id: Uuid([number; 16]), ..TopicRecord::default() })
}

fn partition(number: u8, index: i32) -> MetadataRecord {
    MetadataRecord::Partition(PartitionRecord {
        partition_id: index,
        topic_id: Uuid([number; 16]),
        replicas: vec![1, 2],
        isr: vec![1, 2],
        leader: 1,
        leader_epoch: 0,
        partition_epoch: 0,
        directories: vec![Uuid([7; 16]), Uuid([8; 16])],
        ..PartitionRecord::default()
    })
}

fn config(kind: i8, resource: &str, name: &str, value: Option<&str>) -> MetadataRecord {
    MetadataRecord::Config(ConfigRecord {
        resource_type: kind,
        resource_name: resource.into(),
        name: name.into(),
        value: value.map(Text::from),
        ..ConfigRecord::default()
    })
}

fn level(name: &str, feature_level: i16) -> MetadataRecord {
    MetadataRecord::FeatureLevel(FeatureLevelRecord {
        name: name.into(),
        feature_level,
        ..FeatureLevelRecord::default()
    })
}

fn broker(id: i32, epoch: i64) -> MetadataRecord {
    MetadataRecord::RegisterBroker(RegisterBrokerRecord {
        broker_id: id,
        broker_epoch: epoch,
        incarnation_id: Uuid([9; 16]),
        fenced: true,
        log_dirs: vec![Uuid([7; 16])],
        ..RegisterBrokerRecord::default()
    })
}

fn replay(image: &mut Image, records: &[MetadataRecord]) -> Delta {
    let mut delta = Delta::default();
    for record in records {
        let offset = Offset(image.offset.0 + 1);
        image.replay(record, offset, LeaderEpoch(1), &mut delta).unwrap();
    }
    delta
}

fn sample() -> Vec<MetadataRecord> {
    vec![
        level("metadata.version", 30),
        level("eligible.leader.replicas.version", 1),
        broker(1, 5),
        topic(3, "orders"),
        config(ConfigResource::TOPIC, "orders", "retention.ms", Some("1000")),
        partition(3, 0),
        partition(3, 1),
        topic(2, "a.b"),
        partition(2, 0),
        config(ConfigResource::BROKER, "", "min.insync.replicas", Some("1")),
        MetadataRecord::ProducerIds(ProducerIdsRecord { next_producer_id: 1000, ..ProducerIdsRecord::default() }),
    ]
}

#[test]
fn a_delta_names_what_changed_and_nothing_else() {
    let mut image = Image::default();
    let delta = replay(&mut image, &sample());
    assert!(delta.features && delta.producer_ids && !delta.acls);
    assert_eq!(delta.created_topics.len(), 2);
    assert_eq!(delta.changed_partitions[&Uuid([3; 16])].len(), 2);
    assert_eq!(image.topics.partition_count(), 3);
    assert_eq!(image.topics.named("orders").unwrap().partitions.len(), 2);

    let change = MetadataRecord::PartitionChange(PartitionChangeRecord {
        partition_id: 1,
        topic_id: Uuid([3; 16]),
        leader: 2,
        isr: Some(vec![2]),
        ..PartitionChangeRecord::default()
    });
    let before = image.clone();
    let delta = replay(&mut image, &[change]);
    let expected =
        Delta { changed_partitions: [(Uuid([3; 16]), [PartitionIndex(1)].into())].into(), ..Delta::default() };
    assert_eq!(delta, expected);
    let partition = image.topics.partition(Uuid([3; 16]), PartitionIndex(1)).unwrap();
    assert_eq!((partition.leader, partition.leader_epoch, partition.partition_epoch), (BrokerId(2), LeaderEpoch(1), 1));
    assert_eq!(partition.isr.as_ref(), [BrokerId(2)]);
    assert_eq!(before.topics.partition(Uuid([3; 16]), PartitionIndex(1)).unwrap().leader, BrokerId(1));
}

#[test]
fn a_deleted_topic_takes_its_configs_and_is_kept_in_the_delta() {
    let mut image = Image::default();
    replay(&mut image, &sample());
    let remove = MetadataRecord::RemoveTopic(RemoveTopicRecord { topic_id: Uuid([3; 16]), ..Default::default() });
    let delta = replay(&mut image, &[remove]);
    assert_eq!(&*delta.deleted_topics[&Uuid([3; 16])].name, "orders");
    assert!(delta.configs.contains(&ConfigResource::topic("orders".into())));
    assert!(image.topics.named("orders").is_none());
    assert!(image.configs.topic(&"orders".into()).is_none());
    assert_eq!(image.topics.partition_count(), 1);
}

#[test]
fn a_snapshot_replays_to_the_same_image_and_begins_with_the_metadata_version() {
    let mut image = Image::default();
    replay(&mut image, &sample());
    let records: Vec<_> = image.records().collect();
    assert_eq!(records[0], (level("metadata.version", 30), 0));
    let mut copy = Image::default();
    let mut delta = Delta::default();
    for (record, version) in &records {
        // What is written must be what is read back.
        let decoded = MetadataRecord::decode(record.encode(*version)).unwrap();
        assert_eq!(&decoded, record);
        copy.replay(&decoded, image.offset, image.epoch, &mut delta).unwrap();
    }
    // The offset of a registration is not in a snapshot.
    let registered =
        |image: &Image| image.cluster.broker(BrokerId(1)).unwrap().to_record(image.features.metadata_version);
    assert_eq!(registered(&copy), registered(&image));
    copy.cluster = Arc::clone(&image.cluster);
    assert_eq!(copy, image);
}

#[test]
fn an_aborted_transaction_leaves_no_trace() {
    let mut image = Image::default();
    replay(&mut image, &sample());
    let before = image.clone();
    let mut delta = Delta::default();
    let begin = MetadataRecord::BeginTransaction(BeginTransactionRecord::default());
    image.replay(&begin, Offset(20), LeaderEpoch(2), &mut delta).unwrap();
    image.replay(&topic(5, "half"), Offset(21), LeaderEpoch(2), &mut delta).unwrap();
    assert!(image.is_in_transaction());
    let abort = MetadataRecord::AbortTransaction(AbortTransactionRecord::default());
    image.replay(&abort, Offset(22), LeaderEpoch(2), &mut delta).unwrap();
    assert!(!image.is_in_transaction() && delta.is_empty());
    assert_eq!(image.offset, Offset(22));
    assert_eq!(image.topics, before.topics);
}

#[test]
fn records_that_do_not_fit_are_refused() {
    let mut image = Image::default();
    replay(&mut image, &sample());
    let mut delta = Delta::default();
    let mut refused = |record: MetadataRecord| image.replay(&record, Offset(50), LeaderEpoch(1), &mut delta).is_err();
    assert!(refused(topic(6, "orders")));
    assert!(refused(partition(6, 0)));
    assert!(refused(level("metadata.version", 99)));
    let stale = UnregisterBrokerRecord { broker_id: 1, broker_epoch: 4, ..UnregisterBrokerRecord::default() };
    assert!(refused(MetadataRecord::UnregisterBroker(stale)));
    assert!(refused(MetadataRecord::EndTransaction(EndTransactionRecord::default())));
    assert!(delta.is_empty());
}

#[test]
fn a_change_copies_neither_other_topics_nor_other_partitions() {
    let mut image = Image::default();
    let id = |number: u32| Uuid(u128::from(number).to_be_bytes());
    for number in 0..2000u32 {
        let name = format!("topic-{number}");
        let record = TopicRecord { name: name.as_str().into(), topic_id: id(number), ..TopicRecord::default() };
        replay(&mut image, &[MetadataRecord::Topic(record)]);
        for index in 0..2 {
            let MetadataRecord::Partition(mut record) = partition(0, index) else { unreachable!() };
            record.topic_id = id(number);
            replay(&mut image, &[MetadataRecord::Partition(record)]);
        }
    }
    let published = image.clone();
    let change = PartitionChangeRecord { partition_id: 1, topic_id: id(7), leader: 2, ..Default::default() };
    replay(&mut image, &[MetadataRecord::PartitionChange(change)]);
    let topic = |image: &Image, number| Arc::clone(image.topics.get(id(number)).unwrap());
    let copied = (0..2000).filter(|number| !Arc::ptr_eq(&topic(&image, *number), &topic(&published, *number)));
    assert_eq!(copied.collect::<Vec<_>>(), [7]);
    assert!(Arc::ptr_eq(&topic(&image, 7).partitions[0], &topic(&published, 7).partitions[0]));
    assert_eq!(image.topics.partition_count(), 4000);
}

#[test]
fn the_markers_for_directories_are_kafkas() {
    assert_eq!(DIRECTORY_MIGRATING, Uuid::ZERO);
    assert_eq!(DIRECTORY_UNASSIGNED.to_string(), "AAAAAAAAAAAAAAAAAAAAAQ");
    assert_eq!(DIRECTORY_LOST.to_string(), "AAAAAAAAAAAAAAAAAAAAAg");
}
