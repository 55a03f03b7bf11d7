//! Members of both protocols in one group, and groups that change their kind with them.
#![expect(clippy::unwrap_used, reason = "the helpers of a test fail by panicking")]

use bytes::Bytes;
use milena_coordinator::group::{Group, GroupConfig, GroupReply, GroupRequest, MigrationPolicy};
use milena_protocol::messages::consumer_protocol_subscription::TopicPartition;
use milena_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use milena_protocol::messages::leave_group_request::MemberIdentity;
use milena_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use milena_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use milena_protocol::messages::{
    ConsumerGroupHeartbeatRequest, ConsumerProtocolAssignment, ConsumerProtocolSubscription, HeartbeatRequest,
    JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, OffsetCommitRequest, SyncGroupRequest, SyncGroupResponse,
};
use milena_protocol::{Message, Reader, Text, Writer};
use milena_types::ErrorCode;

use crate::coordinator::{Coordinator, uuid};

const TOPIC: u128 = 100;

fn coordinator(policy: MigrationPolicy) -> Coordinator {
    let mut config = GroupConfig { consumer_migration_policy: policy, ..GroupConfig::default() };
    config.consumer_assignment_interval_ms.value = 0;
    let mut coordinator = Coordinator::new(config);
    coordinator.create_topic("t", uuid(TOPIC), 6);
    coordinator
}

fn embedded(version: i16, message: &impl Message) -> Bytes {
    let mut writer = Writer::new();
    writer.write_i16(version);
    message.encode(&mut writer, version).unwrap();
    writer.into_bytes().unwrap()
}

fn subscription(owned: &[i32]) -> Bytes {
    let owned_partitions = vec![TopicPartition { topic: "t".into(), partitions: owned.to_vec() }];
    let message = ConsumerProtocolSubscription { topics: vec!["t".into()], owned_partitions, ..Default::default() };
    embedded(3, &message)
}

fn assigned(partitions: &[i32]) -> Bytes {
    let topic = milena_protocol::messages::consumer_protocol_assignment::TopicPartition {
        topic: "t".into(),
        partitions: partitions.to_vec(),
    };
    embedded(3, &ConsumerProtocolAssignment { assigned_partitions: vec![topic], ..Default::default() })
}

fn join(member: &str, owned: &[i32]) -> JoinGroupRequest {
    JoinGroupRequest {
        group_id: "g".into(),
        session_timeout_ms: 30_000,
        rebalance_timeout_ms: 60_000,
        member_id: member.into(),
        protocol_type: "consumer".into(),
        protocols: vec![JoinGroupRequestProtocol {
            name: "range".into(),
            metadata: subscription(owned),
            ..Default::default()
        }],
        ..Default::default()
    }
}

fn joined(reply: &GroupReply) -> JoinGroupResponse {
    match reply {
        GroupReply::JoinGroup(response) => (**response).clone(),
        other => panic!("{other:?}"),
    }
}

fn synced(reply: &GroupReply) -> SyncGroupResponse {
    match reply {
        GroupReply::SyncGroup(response) => (**response).clone(),
        other => panic!("{other:?}"),
    }
}

fn partitions(bytes: &Bytes) -> Vec<i32> {
    let mut reader = Reader::new(bytes.clone());
    assert_eq!(reader.read_i16(), Ok(3));
    let assignment = ConsumerProtocolAssignment::decode(&mut reader, 3).unwrap();
    assignment.assigned_partitions.iter().flat_map(|topic| topic.partitions.clone()).collect()
}

impl Coordinator {
    fn join(&mut self, request: JoinGroupRequest) -> JoinGroupResponse {
        joined(&self.request(9, GroupRequest::JoinGroup(Box::new(request))))
    }

    fn sync(&mut self, member: &str, generation_id: i32) -> SyncGroupResponse {
        let request = SyncGroupRequest {
            group_id: "g".into(),
            member_id: member.into(),
            generation_id,
            protocol_type: Some("consumer".into()),
            protocol_name: Some("range".into()),
            ..Default::default()
        };
        synced(&self.request(5, GroupRequest::SyncGroup(Box::new(request))))
    }

    fn classic_beat(&mut self, member: &str, generation_id: i32) -> ErrorCode {
        let request =
            HeartbeatRequest { group_id: "g".into(), member_id: member.into(), generation_id, ..Default::default() };
        match self.request(4, GroupRequest::Heartbeat(request)) {
            GroupReply::Heartbeat(response) => ErrorCode(response.error_code),
            other => panic!("{other:?}"),
        }
    }

    fn is_classic(&self) -> bool {
        matches!(self.state.group("g"), Some(Group::Classic(_)))
    }

    /// A stable classic group of one member that has all partitions. Gives the member's id.
    fn classic_group(&mut self, instance: Option<&str>) -> Text {
        let mut request = JoinGroupRequest { group_instance_id: instance.map(Text::from), ..join("", &[]) };
        if instance.is_none() {
            let response = self.join(request.clone());
            assert_eq!(ErrorCode(response.error_code), ErrorCode::MEMBER_ID_REQUIRED);
            request.member_id = response.member_id;
        }
        assert!(self.send(7, 9, GroupRequest::JoinGroup(Box::new(request))).is_empty());
        let replies = self.advance(3000);
        let response = joined(&replies.first().unwrap().1);
        assert_eq!((response.error_code, response.generation_id), (0, 1));
        let request = SyncGroupRequest {
            group_id: "g".into(),
            member_id: response.member_id.clone(),
            generation_id: 1,
            assignments: vec![SyncGroupRequestAssignment {
                member_id: response.member_id.clone(),
                assignment: assigned(&[0, 1, 2, 3, 4, 5]),
                ..Default::default()
            }],
            ..Default::default()
        };
        let replies = self.send(8, 5, GroupRequest::SyncGroup(Box::new(request)));
        assert_eq!(partitions(&synced(&replies.first().unwrap().1).assignment), [0, 1, 2, 3, 4, 5]);
        response.member_id
    }
}

fn consumer(member: &str, epoch: i32) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        group_id: "g".into(),
        member_id: member.into(),
        member_epoch: epoch,
        rebalance_timeout_ms: 60_000,
        subscribed_topic_names: Some(vec!["t".into()]),
        topic_partitions: if epoch == 0 { Some(Vec::new()) } else { None },
        ..Default::default()
    }
}

#[test]
fn a_classic_group_becomes_a_consumer_group_and_classic_again() {
    let mut coordinator = coordinator(MigrationPolicy::Bidirectional);
    let classic = coordinator.classic_group(None);
    let response = coordinator.heartbeat(consumer("new", 0));
    assert_eq!((response.error_code, response.member_epoch), (0, 2), "{:?}", response.error_message);
    assert!(response.assignment.unwrap().topic_partitions.is_empty());
    assert!(!coordinator.is_classic());
    let described = coordinator.describe("g");
    let types: Vec<i8> = described.members.iter().map(|member| member.member_type).collect();
    assert_eq!((described.members.len(), types.iter().sum::<i8>()), (2, 1));
    coordinator.load();

    // The classic member is told to join, gives half back, and joins once more to be told that it is settled.
    assert_eq!(coordinator.classic_beat(&classic, 1), ErrorCode::REBALANCE_IN_PROGRESS);
    let response = coordinator.join(join(&classic, &[0, 1, 2, 3, 4, 5]));
    assert_eq!((response.error_code, response.generation_id), (0, 1));
    assert_eq!(partitions(&coordinator.sync(&classic, 1).assignment), [0, 1, 2]);
    assert_eq!(coordinator.classic_beat(&classic, 1), ErrorCode::REBALANCE_IN_PROGRESS);
    let response = coordinator.join(join(&classic, &[0, 1, 2]));
    assert_eq!((response.error_code, response.generation_id), (0, 2));
    assert_eq!(partitions(&coordinator.sync(&classic, 2).assignment), [0, 1, 2]);
    assert_eq!(coordinator.classic_beat(&classic, 2), ErrorCode::NONE);
    let response = coordinator.heartbeat(consumer("new", 2));
    assert_eq!(response.assignment.unwrap().topic_partitions.first().unwrap().partitions, [3, 4, 5]);
    assert_eq!(coordinator.describe("g").group_state, "Stable");

    // The last consumer of the new protocol goes.
    let response = coordinator.heartbeat(consumer("new", -1));
    assert_eq!((response.error_code, response.member_epoch), (0, -1));
    assert!(coordinator.is_classic());
    assert_eq!(coordinator.classic_beat(&classic, 2), ErrorCode::REBALANCE_IN_PROGRESS);
    let response = coordinator.join(join(&classic, &[0, 1, 2]));
    assert_eq!((response.error_code, response.generation_id, &response.leader), (0, 3, &classic));
    // The rebalance is lost with the coordinator, and begun again: three partitions are nobody's.
    coordinator.load();
    assert!(coordinator.is_classic());
    assert_eq!(coordinator.classic_beat(&classic, 2), ErrorCode::REBALANCE_IN_PROGRESS);
}

#[test]
fn a_static_member_takes_its_place_back_with_the_classic_protocol() {
    let mut coordinator = coordinator(MigrationPolicy::Bidirectional);
    let as_instance = |request| ConsumerGroupHeartbeatRequest { instance_id: Some("i".into()), ..request };
    coordinator.heartbeat(as_instance(consumer("new", 0)));
    let request = JoinGroupRequest { group_instance_id: Some("i".into()), ..join("", &[]) };
    let response = coordinator.join(request);
    assert_eq!((response.error_code, response.generation_id), (0, 2));
    assert!(coordinator.is_classic());
    let sync = coordinator.sync(&response.member_id, 2);
    assert_eq!((sync.error_code, partitions(&sync.assignment)), (0, vec![0, 1, 2, 3, 4, 5]));
}

#[test]
fn a_downgrade_by_a_static_member_goes_on_with_what_others_wait_for() {
    let mut coordinator = coordinator(MigrationPolicy::Bidirectional);
    let as_instance = |request| ConsumerGroupHeartbeatRequest { instance_id: Some("i".into()), ..request };
    coordinator.heartbeat(as_instance(consumer("new", 0)));
    let classic = coordinator.join(join("", &[])).member_id;
    assert_eq!(coordinator.join(join(&classic, &[])).generation_id, 3);
    // All its partitions are still with the static member, which dies with them and comes back as a classic one.
    assert_eq!(partitions(&coordinator.sync(&classic, 3).assignment), [] as [i32; 0]);
    coordinator.heartbeat(as_instance(consumer("new", 2)));
    let back = coordinator.join(JoinGroupRequest { group_instance_id: Some("i".into()), ..join("", &[]) });
    assert_eq!((back.error_code, back.generation_id), (0, 3));
    assert!(coordinator.is_classic());
    assert_eq!(coordinator.classic_beat(&classic, 3), ErrorCode::REBALANCE_IN_PROGRESS);
    // So it is, too, for a coordinator that has only the log.
    coordinator.load();
    assert_eq!(coordinator.classic_beat(&classic, 3), ErrorCode::REBALANCE_IN_PROGRESS);
}

#[test]
fn migration_is_refused_where_the_policy_says_so() {
    let refused = |policy, text: &str| {
        let mut coordinator = coordinator(policy);
        coordinator.classic_group(None);
        let response = coordinator.heartbeat(consumer("new", 0));
        assert_eq!(ErrorCode(response.error_code), ErrorCode::GROUP_ID_NOT_FOUND);
        assert_eq!(response.error_message.as_deref(), Some(text));
        assert!(coordinator.is_classic());
    };
    let text = "Cannot upgrade classic group g to consumer group because online upgrade is disabled.";
    refused(MigrationPolicy::Disabled, text);
    refused(MigrationPolicy::Downgrade, text);

    let mut coordinator = coordinator(MigrationPolicy::Disabled);
    coordinator.heartbeat(consumer("new", 0));
    let response = coordinator.join(join("", &[]));
    assert_eq!(ErrorCode(response.error_code), ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
}

#[test]
fn a_group_without_members_changes_its_kind_whatever_the_policy_is() {
    let mut coordinator = coordinator(MigrationPolicy::Disabled);
    let classic = coordinator.classic_group(None);
    let leave = LeaveGroupRequest {
        group_id: "g".into(),
        members: vec![MemberIdentity { member_id: classic, ..Default::default() }],
        ..Default::default()
    };
    coordinator.send(9, 5, GroupRequest::LeaveGroup(leave));
    coordinator.advance(60_000);
    assert_eq!(coordinator.heartbeat(consumer("new", 0)).error_code, 0);
    assert!(!coordinator.is_classic());
    coordinator.heartbeat(consumer("new", -1));
    coordinator.classic_group(None);
    assert!(coordinator.is_classic());
}

#[test]
fn classic_members_that_do_not_join_or_synchronize_in_time_are_thrown_out() {
    let mut coordinator = coordinator(MigrationPolicy::Bidirectional);
    coordinator.heartbeat(consumer("new", 0));
    let response = coordinator.join(join("", &[]));
    assert_eq!(ErrorCode(response.error_code), ErrorCode::MEMBER_ID_REQUIRED);
    let classic = response.member_id;
    let request = JoinGroupRequest { session_timeout_ms: 1_000_000, ..join(&classic, &[]) };
    let response = coordinator.join(request);
    assert_eq!((response.error_code, response.generation_id), (0, 3));
    assert_eq!(coordinator.describe("g").members.len(), 2);
    for _ in 0..6 {
        coordinator.advance(10_000);
        coordinator.heartbeat(consumer("new", 2));
    }
    assert_eq!(coordinator.describe("g").members.len(), 1);
    assert_eq!(coordinator.classic_beat(&classic, 3), ErrorCode::UNKNOWN_MEMBER_ID);
}

#[test]
fn requests_of_classic_members_are_refused_as_kafka_refuses_them() {
    let mut coordinator = coordinator(MigrationPolicy::Bidirectional);
    coordinator.heartbeat(consumer("new", 0));
    let classic = coordinator.join(join("", &[])).member_id;
    coordinator.join(join(&classic, &[]));
    assert_eq!(coordinator.classic_beat("new", 2), ErrorCode::UNKNOWN_MEMBER_ID);
    assert_eq!(coordinator.classic_beat("x", 2), ErrorCode::UNKNOWN_MEMBER_ID);
    assert_eq!(coordinator.classic_beat(&classic, 2), ErrorCode::ILLEGAL_GENERATION);
    assert_eq!(ErrorCode(coordinator.sync("new", 2).error_code), ErrorCode::UNKNOWN_MEMBER_ID);
    assert_eq!(ErrorCode(coordinator.sync(&classic, 2).error_code), ErrorCode::ILLEGAL_GENERATION);
    let mut other = join("", &[]);
    other.protocols.iter_mut().for_each(|protocol| protocol.name = "sticky".into());
    let response = coordinator.join(other);
    assert_eq!(ErrorCode(response.error_code), ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
    let response = coordinator.join(JoinGroupRequest { protocol_type: "connect".into(), ..join("", &[]) });
    assert_eq!(ErrorCode(response.error_code), ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
}

#[test]
fn offsets_are_committed_by_members_that_had_the_partition_at_the_epoch_they_say() {
    let mut coordinator = coordinator(MigrationPolicy::Bidirectional);
    coordinator.heartbeat(consumer("a", 0));
    coordinator.heartbeat(consumer("b", 0));
    let owned = [milena_protocol::messages::consumer_group_heartbeat_request::TopicPartitions {
        topic_id: uuid(TOPIC),
        partitions: vec![0, 1, 2],
        ..Default::default()
    }];
    coordinator.heartbeat(consumer("a", 2));
    let request = ConsumerGroupHeartbeatRequest { topic_partitions: Some(owned.to_vec()), ..consumer("a", 2) };
    assert_eq!(coordinator.heartbeat(request).member_epoch, 3);
    let mut commit = |member: &str, epoch: i32, partition: i32, version: i16| {
        let partition = OffsetCommitRequestPartition { partition_index: partition, ..Default::default() };
        let topic = OffsetCommitRequestTopic {
            name: "t".into(),
            topic_id: uuid(TOPIC),
            partitions: vec![partition],
            ..Default::default()
        };
        let request = OffsetCommitRequest {
            group_id: "g".into(),
            member_id: member.into(),
            generation_id_or_member_epoch: epoch,
            topics: vec![topic],
            ..Default::default()
        };
        match coordinator.request(version, GroupRequest::OffsetCommit(Box::new(request))) {
            GroupReply::OffsetCommit(response) => {
                ErrorCode(response.topics.first().unwrap().partitions.first().unwrap().error_code)
            }
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(commit("a", 3, 0, 9), ErrorCode::NONE);
    assert_eq!(commit("a", 4, 0, 9), ErrorCode::STALE_MEMBER_EPOCH);
    // It has had this one since its last epoch, and never had that one, which it gave back.
    assert_eq!(commit("a", 2, 0, 9), ErrorCode::NONE);
    assert_eq!(commit("a", 1, 0, 9), ErrorCode::STALE_MEMBER_EPOCH);
    assert_eq!(commit("a", 2, 5, 9), ErrorCode::STALE_MEMBER_EPOCH);
    assert_eq!(commit("a", 3, 0, 8), ErrorCode::UNSUPPORTED_VERSION);
    assert_eq!(commit("x", 3, 0, 9), ErrorCode::UNKNOWN_MEMBER_ID);
    assert_eq!(commit("", -1, 0, 9), ErrorCode::UNKNOWN_MEMBER_ID);
}

#[test]
fn what_the_leader_left_out_is_assigned_after_the_upgrade_though_nobody_wants_anything_else() {
    let mut coordinator = coordinator(MigrationPolicy::Bidirectional);
    coordinator.classic_group(Some("i"));
    // The leader never hears of the new partitions: its successor speaks the new protocol.
    coordinator.grow_topic(uuid(TOPIC), 6, 8);
    let request = ConsumerGroupHeartbeatRequest { instance_id: Some("i".into()), ..consumer("m", 0) };
    let response = coordinator.heartbeat(request);
    assert_eq!(response.error_code, 0, "{response:?}");
    let told = response.assignment.iter().flat_map(|told| &told.topic_partitions).map(|topic| topic.partitions.len());
    assert_eq!(told.sum::<usize>(), 8);
}
