//! Groups through the whole broker: the topic is made on first use, a group lives, and offsets outlive the node.

use crate::client::{Client, TestNode};
use milena_protocol::messages::find_coordinator_response::Coordinator;
use milena_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use milena_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use milena_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use milena_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use milena_protocol::messages::{
    DeleteTopicsRequest, DescribeGroupsRequest, FindCoordinatorRequest, HeartbeatRequest, JoinGroupRequest,
    MetadataRequest, OffsetCommitRequest, OffsetFetchRequest, SyncGroupRequest,
};
use milena_types::ErrorCode;
use std::time::{Duration, Instant};

const SETTINGS: &[(&str, &str)] = &[
    ("offsets.topic.num.partitions", "3"),
    ("offsets.topic.replication.factor", "1"),
    ("group.initial.rebalance.delay.ms", "0"),
];

fn find(client: &mut Client, group: &str) -> Coordinator {
    let request = FindCoordinatorRequest { coordinator_keys: vec![group.into()], ..Default::default() };
    client.call(6, &request).coordinators.remove(0)
}

/// Asks until the coordinator is there and has loaded.
pub(crate) fn await_coordinator(client: &mut Client, group: &str) {
    let end = Instant::now() + Duration::from_secs(20);
    let describe = DescribeGroupsRequest { groups: vec![group.into()], ..Default::default() };
    // Everyone is told who it is before that broker has begun to be it.
    while find(client, group).error_code != 0 || client.call(5, &describe).groups[0].error_code != 0 {
        assert!(Instant::now() < end, "the coordinator does not come");
        std::thread::yield_now();
    }
}

pub(crate) fn commit(client: &mut Client, topic: &str, offset: i64) -> ErrorCode {
    let partition = OffsetCommitRequestPartition {
        committed_offset: offset,
        committed_metadata: Some("told".into()),
        ..Default::default()
    };
    let topic = OffsetCommitRequestTopic { name: topic.into(), partitions: vec![partition], ..Default::default() };
    let request = OffsetCommitRequest { group_id: "g".into(), topics: vec![topic], ..Default::default() };
    ErrorCode(client.call(9, &request).topics[0].partitions[0].error_code)
}

/// Topic and offset of everything the group has committed.
fn offsets(client: &mut Client) -> Vec<(String, i64)> {
    let group = OffsetFetchRequestGroup { group_id: "g".into(), topics: None, ..Default::default() };
    let request = OffsetFetchRequest { groups: vec![group], require_stable: true, ..Default::default() };
    let answer = client.call(9, &request).groups.remove(0);
    assert_eq!(answer.error_code, 0);
    answer.topics.iter().map(|topic| (topic.name.to_string(), topic.partitions[0].committed_offset)).collect()
}

#[test]
fn the_groups_topic_is_made_when_a_coordinator_is_first_asked_for() {
    let node = TestNode::start(SETTINGS);
    let mut client = node.connect();
    let first = find(&mut client, "g");
    assert_eq!((first.error_code, first.node_id), (ErrorCode::COORDINATOR_NOT_AVAILABLE.0, -1));
    await_coordinator(&mut client, "g");
    let metadata = client.call(12, &MetadataRequest { topics: None, ..Default::default() });
    let topic = metadata.topics.iter().find(|topic| topic.name.as_deref() == Some("__consumer_offsets")).unwrap();
    assert_eq!((topic.is_internal, topic.partitions.len()), (true, 3));
    let transaction = FindCoordinatorRequest { key_type: 1, coordinator_keys: vec!["t".into()], ..Default::default() };
    let error = client.call(6, &transaction).coordinators[0].error_code;
    assert_eq!(error, ErrorCode::COORDINATOR_NOT_AVAILABLE.0);
}

#[test]
fn committed_offsets_outlive_the_node_and_go_with_their_topic() {
    let mut node = TestNode::start(SETTINGS);
    let mut client = node.connect();
    client.create_topic("kept", 1, &[]);
    client.create_topic("deleted", 1, &[]);
    await_coordinator(&mut client, "g");
    assert_eq!(commit(&mut client, "kept", 5), ErrorCode::NONE);
    assert_eq!(commit(&mut client, "deleted", 6), ErrorCode::NONE);
    assert_eq!(commit(&mut client, "never-was", 7), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    node.restart();
    let mut client = node.connect();
    await_coordinator(&mut client, "g");
    assert_eq!(offsets(&mut client), [("deleted".to_owned(), 6), ("kept".to_owned(), 5)]);
    let request = DeleteTopicsRequest { topic_names: vec!["deleted".into()], timeout_ms: 5_000, ..Default::default() };
    assert_eq!(client.call(5, &request).responses[0].error_code, 0);
    let end = Instant::now() + Duration::from_secs(20);
    while offsets(&mut client).len() > 1 {
        assert!(Instant::now() < end, "the offsets of the deleted topic stay");
        std::thread::yield_now();
    }
    assert_eq!(offsets(&mut client), [("kept".to_owned(), 5)]);
}

#[test]
fn a_group_forms_and_is_still_stable_after_a_restart() {
    let mut node = TestNode::start(SETTINGS);
    let mut client = node.connect();
    await_coordinator(&mut client, "g");
    let protocol = JoinGroupRequestProtocol { name: "p".into(), metadata: "all".into(), ..Default::default() };
    let mut join = JoinGroupRequest {
        group_id: "g".into(),
        session_timeout_ms: 30_000,
        rebalance_timeout_ms: 30_000,
        protocol_type: "test".into(),
        protocols: vec![protocol],
        ..Default::default()
    };
    let told = client.call(9, &join);
    assert_eq!(ErrorCode(told.error_code), ErrorCode::MEMBER_ID_REQUIRED);
    assert!(told.member_id.starts_with("wire-test-"), "{}", told.member_id);
    join.member_id = told.member_id;
    let joined = client.call(9, &join);
    assert_eq!((joined.error_code, joined.generation_id, &joined.leader), (0, 1, &joined.member_id));
    let sync = SyncGroupRequest {
        group_id: "g".into(),
        generation_id: 1,
        member_id: joined.member_id.clone(),
        protocol_type: Some("test".into()),
        protocol_name: Some("p".into()),
        assignments: vec![SyncGroupRequestAssignment {
            member_id: joined.member_id.clone(),
            assignment: "yours".into(),
            ..Default::default()
        }],
        ..Default::default()
    };
    assert_eq!(&client.call(5, &sync).assignment[..], b"yours");
    node.restart();
    let mut client = node.connect();
    await_coordinator(&mut client, "g");
    let describe = DescribeGroupsRequest { groups: vec!["g".into()], ..Default::default() };
    let described = client.call(6, &describe).groups.remove(0);
    assert_eq!((&*described.group_state, &described.members[0].member_assignment[..]), ("Stable", &b"yours"[..]));
    assert_eq!(&*described.members[0].client_host, "/127.0.0.1");
    let beat =
        HeartbeatRequest { group_id: "g".into(), generation_id: 1, member_id: joined.member_id, ..Default::default() };
    assert_eq!(client.call(4, &beat).error_code, 0);
}

#[test]
fn a_member_that_waits_when_the_node_stops_is_told_so() {
    let mut settings = SETTINGS.to_vec();
    settings.retain(|(name, _)| *name != "group.initial.rebalance.delay.ms");
    settings.push(("group.initial.rebalance.delay.ms", "60000"));
    let mut node = TestNode::start(&settings);
    let mut client = node.connect();
    await_coordinator(&mut client, "g");
    let join = JoinGroupRequest {
        group_id: "g".into(),
        group_instance_id: Some("i".into()),
        session_timeout_ms: 30_000,
        rebalance_timeout_ms: 120_000,
        protocol_type: "test".into(),
        protocols: vec![JoinGroupRequestProtocol { name: "p".into(), ..Default::default() }],
        ..Default::default()
    };
    client.send(9, &join);
    // Another request on another connection shows that the join has arrived.
    let mut other = node.connect();
    let describe = DescribeGroupsRequest { groups: vec!["g".into()], ..Default::default() };
    while &*other.call(6, &describe).groups[0].group_state != "PreparingRebalance" {
        std::thread::yield_now();
    }
    node.restart();
    let (_, answer) = client.receive::<JoinGroupRequest>(9);
    assert_eq!(ErrorCode(answer.error_code), ErrorCode::NOT_COORDINATOR);
}
