//! ListOffsets and Metadata.

use crate::client::{TestNode, batch_at, now};
use milena_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use milena_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use milena_protocol::messages::metadata_request::MetadataRequestTopic;
use milena_protocol::messages::{DeleteRecordsRequest, ListOffsetsRequest, MetadataRequest};
use milena_types::{ErrorCode, Uuid};

pub(crate) fn list_offsets(topic: &str, timestamp: i64) -> ListOffsetsRequest {
    ListOffsetsRequest {
        replica_id: -1,
        topics: vec![ListOffsetsTopic {
            name: topic.into(),
            partitions: vec![ListOffsetsPartition { timestamp, current_leader_epoch: -1, ..Default::default() }],
            ..Default::default()
        }],
        ..Default::default()
    }
}

#[test]
fn offsets_are_found_by_every_special_time_and_by_time() {
    let node = TestNode::start(&[]);
    let mut client = node.connect();
    client.create_topic("timed", 1, &[]);
    let start = now() - 100_000;
    client.produce("timed", 0, batch_at(start, &["a", "b", "c"]));
    client.produce("timed", 0, batch_at(start + 50_000, &["late"]));
    client.produce("timed", 0, batch_at(start + 10_000, &["d"]));
    let mut find = |timestamp, version| {
        let response = client.call(version, &list_offsets("timed", timestamp));
        let found = &response.topics[0].partitions[0];
        (ErrorCode(found.error_code), found.offset, found.timestamp)
    };
    assert_eq!(find(-1, 7), (ErrorCode::NONE, 5, -1));
    assert_eq!(find(-2, 7), (ErrorCode::NONE, 0, -1));
    assert_eq!(find(-3, 7), (ErrorCode::NONE, 3, start + 50_000));
    assert_eq!(find(-3, 6).0, ErrorCode::UNSUPPORTED_VERSION);
    assert_eq!(find(-4, 8), (ErrorCode::NONE, 0, -1));
    assert_eq!(find(-5, 9), (ErrorCode::NONE, -1, -1));
    assert_eq!(find(-6, 11), (ErrorCode::NONE, -1, -1));
    assert_eq!(find(start + 1, 7), (ErrorCode::NONE, 1, start + 1));
    assert_eq!(find(start + 3, 7), (ErrorCode::NONE, 3, start + 50_000));
    assert_eq!(find(start + 60_000, 7), (ErrorCode::NONE, -1, -1));
    let absent = client.call(7, &list_offsets("absent", -1));
    assert_eq!(ErrorCode(absent.topics[0].partitions[0].error_code), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    let mut twice = list_offsets("timed", -1);
    let again = twice.topics[0].partitions[0].clone();
    twice.topics[0].partitions.push(again);
    let twice = client.call(7, &twice);
    assert!(twice.topics[0].partitions.iter().all(|found| ErrorCode(found.error_code) == ErrorCode::INVALID_REQUEST));
}

fn asked(name: &str) -> MetadataRequest {
    let topic = MetadataRequestTopic { name: Some(name.into()), ..Default::default() };
    MetadataRequest { topics: Some(vec![topic]), ..Default::default() }
}

#[test]
fn a_topic_asked_for_is_created_unless_it_may_not() {
    let node = TestNode::start(&[]);
    let mut client = node.connect();
    let refused = MetadataRequest { allow_auto_topic_creation: false, ..asked("fresh") };
    let unknown = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.0;
    assert_eq!(client.call(9, &refused).topics[0].error_code, unknown);
    assert_eq!(client.call(9, &refused).topics[0].error_code, unknown, "asking without leave created nothing");
    assert_eq!(client.call(9, &asked("bad/name")).topics[0].error_code, ErrorCode::INVALID_TOPIC_EXCEPTION.0);
    assert_eq!(client.call(9, &asked("fresh")).topics[0].error_code, unknown, "Kafka's first answer");
    let created =
        (0..1000).map(|_| client.call(9, &asked("fresh"))).find(|response| response.topics[0].error_code == 0);
    let created = created.expect("it appears");
    assert_eq!(created.topics[0].partitions[0].leader_id, 1);
    assert_eq!(created.brokers[0].port, i32::from(node.address().port()));
}

#[test]
fn what_one_may_do_is_told_of_absent_topics_too_and_they_come_last() {
    let node = TestNode::start(&[]);
    let mut client = node.connect();
    let id = client.create_topic("there", 1, &[]);
    let named = |name: &str| MetadataRequestTopic { name: Some(name.into()), ..Default::default() };
    let request = MetadataRequest {
        topics: Some(vec![named("absent"), named("there")]),
        include_topic_authorized_operations: true,
        allow_auto_topic_creation: false,
        ..Default::default()
    };
    let topics = client.call(9, &request).topics;
    assert_eq!([&topics[0].name, &topics[1].name], [&Some("there".into()), &Some("absent".into())]);
    assert_eq!(topics.iter().map(|topic| topic.topic_authorized_operations).collect::<Vec<_>>(), [3576, 3576]);
    let by_id = |id| MetadataRequestTopic { name: None, topic_id: id, ..Default::default() };
    let request = MetadataRequest { topics: Some(vec![by_id(id), by_id(Uuid([5; 16]))]), ..request };
    let topics = client.call(12, &request).topics;
    assert_eq!([topics[0].topic_id, topics[1].topic_id], [Uuid([5; 16]), id], "ids nobody knows come first");
    assert_eq!(topics[0].topic_authorized_operations, i32::MIN);
}

#[test]
fn records_of_a_topic_that_is_only_compacted_are_not_deleted() {
    let node = TestNode::start(&[]);
    let mut client = node.connect();
    for (topic, policy, error) in [("compacted", "compact", 44), ("both", "compact,delete", 0)] {
        client.create_topic(topic, 1, &[("cleanup.policy", policy)]);
        let partition = DeleteRecordsPartition { partition_index: 0, offset: -1, ..Default::default() };
        let topics = vec![DeleteRecordsTopic { name: topic.into(), partitions: vec![partition], ..Default::default() }];
        let request = DeleteRecordsRequest { topics, timeout_ms: 1000, ..Default::default() };
        assert_eq!(client.call(2, &request).topics[0].partitions[0].error_code, error, "{policy}");
    }
}

#[test]
fn topics_are_found_by_id_and_all_or_none_of_them_listed() {
    let node = TestNode::start(&[]);
    let mut client = node.connect();
    let id = client.create_topic("one", 1, &[]);
    let by_id = |id| {
        let topic = MetadataRequestTopic { name: None, topic_id: id, ..Default::default() };
        MetadataRequest { topics: Some(vec![topic]), ..Default::default() }
    };
    assert_eq!(client.call(12, &by_id(id)).topics[0].name.as_deref(), Some("one"));
    assert_eq!(client.call(12, &by_id(Uuid([3; 16]))).topics[0].error_code, ErrorCode::UNKNOWN_TOPIC_ID.0);
    let none = MetadataRequest { topics: Some(Vec::new()), ..Default::default() };
    assert_eq!(client.call(0, &none).topics.len(), 1, "version 0 has no other way to ask for all");
    assert_eq!(client.call(1, &none).topics.len(), 0);
}
