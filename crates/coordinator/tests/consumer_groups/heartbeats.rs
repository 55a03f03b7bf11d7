//! One group, request by request: error codes, epochs, assignments.

use milena_coordinator::group::GroupConfig;
use milena_protocol::Text;
use milena_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use milena_protocol::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};
use milena_types::{ErrorCode, Uuid};

use crate::coordinator::{Coordinator, uuid};

const TOPIC: u128 = 100;

fn coordinator() -> Coordinator {
    let mut config = GroupConfig::default();
    config.consumer_assignment_interval_ms.value = 0;
    let mut coordinator = Coordinator::new(config);
    coordinator.create_topic("t", uuid(TOPIC), 6);
    coordinator
}

fn join(member: &str) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        group_id: "g".into(),
        member_id: member.into(),
        member_epoch: 0,
        rebalance_timeout_ms: 1000,
        subscribed_topic_names: Some(vec!["t".into()]),
        topic_partitions: Some(Vec::new()),
        ..Default::default()
    }
}

fn beat(member: &str, epoch: i32) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        group_id: "g".into(),
        member_id: member.into(),
        member_epoch: epoch,
        ..Default::default()
    }
}

fn owning(member: &str, epoch: i32, partitions: &[i32]) -> ConsumerGroupHeartbeatRequest {
    let owned = TopicPartitions { topic_id: uuid(TOPIC), partitions: partitions.to_vec(), ..Default::default() };
    let owned = if partitions.is_empty() { Vec::new() } else { vec![owned] };
    ConsumerGroupHeartbeatRequest { topic_partitions: Some(owned), ..beat(member, epoch) }
}

fn partitions(response: &ConsumerGroupHeartbeatResponse) -> Option<Vec<(Uuid, Vec<i32>)>> {
    let topics = &response.assignment.as_ref()?.topic_partitions;
    Some(topics.iter().map(|topic| (topic.topic_id, topic.partitions.clone())).collect())
}

fn only(partitions: &[i32]) -> Option<Vec<(Uuid, Vec<i32>)>> {
    Some(if partitions.is_empty() { Vec::new() } else { vec![(uuid(TOPIC), partitions.to_vec())] })
}

fn error(response: &ConsumerGroupHeartbeatResponse) -> (ErrorCode, &str) {
    (ErrorCode(response.error_code), response.error_message.as_deref().unwrap_or(""))
}

#[test]
fn one_member_gets_everything_at_epoch_two() {
    let mut coordinator = coordinator();
    let response = coordinator.heartbeat(join("a"));
    assert_eq!(error(&response), (ErrorCode::NONE, ""));
    assert_eq!((response.member_id.as_deref(), response.member_epoch), (Some("a"), 2));
    assert_eq!(response.heartbeat_interval_ms, 5000);
    assert_eq!(partitions(&response), only(&[0, 1, 2, 3, 4, 5]));
    assert_eq!(coordinator.written.len(), 5);
    let response = coordinator.heartbeat(beat("a", 2));
    assert_eq!((response.member_epoch, partitions(&response)), (2, None));
    assert!(coordinator.written.is_empty());
    assert_eq!(coordinator.describe("g").group_state, "Stable");
}

#[test]
fn a_second_member_gets_its_share_when_the_first_has_given_it_back() {
    let mut coordinator = coordinator();
    coordinator.heartbeat(join("a"));
    let response = coordinator.heartbeat(join("b"));
    assert_eq!((response.member_epoch, partitions(&response)), (3, only(&[])));
    assert_eq!(coordinator.describe("g").group_state, "Reconciling");
    // The first is told what to keep and keeps its epoch until it has given the rest back.
    let response = coordinator.heartbeat(beat("a", 2));
    assert_eq!((response.member_epoch, partitions(&response)), (2, only(&[0, 1, 2])));
    let response = coordinator.heartbeat(owning("a", 2, &[0, 1, 2, 3]));
    assert_eq!((response.member_epoch, partitions(&response)), (2, None));
    let response = coordinator.heartbeat(beat("b", 3));
    assert_eq!((response.member_epoch, partitions(&response)), (3, None));
    let response = coordinator.heartbeat(owning("a", 2, &[0, 1, 2]));
    assert_eq!((response.member_epoch, partitions(&response)), (3, None));
    let response = coordinator.heartbeat(beat("b", 3));
    assert_eq!((response.member_epoch, partitions(&response)), (3, only(&[3, 4, 5])));
    assert_eq!(coordinator.describe("g").group_state, "Stable");
}

#[test]
fn requests_are_refused_as_kafka_refuses_them() {
    let mut coordinator = coordinator();
    let mut expect = |request: ConsumerGroupHeartbeatRequest, code: ErrorCode, text: &str| {
        let response = coordinator.heartbeat(request);
        assert_eq!(error(&response), (code, text));
    };
    let invalid = ErrorCode::INVALID_REQUEST;
    expect(join(""), invalid, "MemberId can't be empty.");
    expect(ConsumerGroupHeartbeatRequest { group_id: " ".into(), ..join("a") }, invalid, "GroupId can't be empty.");
    let blank = || Some(Text::from("\t"));
    expect(ConsumerGroupHeartbeatRequest { instance_id: blank(), ..join("a") }, invalid, "InstanceId can't be empty.");
    expect(ConsumerGroupHeartbeatRequest { rack_id: blank(), ..join("a") }, invalid, "RackId can't be empty.");
    expect(
        ConsumerGroupHeartbeatRequest { rebalance_timeout_ms: -1, ..join("a") },
        invalid,
        "RebalanceTimeoutMs must be provided in first request.",
    );
    expect(
        ConsumerGroupHeartbeatRequest { topic_partitions: None, ..join("a") },
        invalid,
        "TopicPartitions must be empty when (re-)joining.",
    );
    expect(
        ConsumerGroupHeartbeatRequest { subscribed_topic_names: None, ..join("a") },
        invalid,
        "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.",
    );
    expect(beat("a", -2), invalid, "InstanceId can't be null.");
    expect(beat("a", -3), invalid, "MemberEpoch is invalid.");
    expect(
        ConsumerGroupHeartbeatRequest { server_assignor: Some("x".into()), ..join("a") },
        ErrorCode::UNSUPPORTED_ASSIGNOR,
        "ServerAssignor x is not supported. Supported assignors: uniform, range.",
    );
    expect(beat("a", 1), ErrorCode::GROUP_ID_NOT_FOUND, "Consumer group g not found.");
    expect(beat("a", -1), ErrorCode::GROUP_ID_NOT_FOUND, "Group g not found.");
    expect(join("a"), ErrorCode::NONE, "");
    expect(beat("b", 1), ErrorCode::UNKNOWN_MEMBER_ID, "Member b is not a member of group g.");
    expect(beat("b", -1), ErrorCode::UNKNOWN_MEMBER_ID, "Member b is not a member of group g.");
    expect(
        beat("a", 3),
        ErrorCode::FENCED_MEMBER_EPOCH,
        "The consumer group member has a greater member epoch (3) than the one known by the group coordinator (2). The \
         member must abandon all its partitions and rejoin.",
    );
    expect(
        beat("a", 1),
        ErrorCode::FENCED_MEMBER_EPOCH,
        "The consumer group member has a smaller member epoch (1) than the one known by the group coordinator (2). The \
         member must abandon all its partitions and rejoin.",
    );
    expect(
        ConsumerGroupHeartbeatRequest {
            subscribed_topic_names: None,
            subscribed_topic_regex: Some("a**".into()),
            ..join("c")
        },
        ErrorCode::INVALID_REGULAR_EXPRESSION,
        "SubscribedTopicRegex `a**` is not a valid regular expression: invalid nested repetition operator.",
    );
}

#[test]
fn the_last_epoch_is_taken_from_a_member_that_has_nothing_but_its_own() {
    let mut coordinator = coordinator();
    let epoch = coordinator.heartbeat(join("a")).member_epoch;
    coordinator.heartbeat(ConsumerGroupHeartbeatRequest { subscribed_topic_names: Some(vec![]), ..beat("a", epoch) });
    let response = coordinator.heartbeat(owning("a", epoch, &[]));
    assert_eq!((response.member_epoch, response.error_code), (epoch + 1, 0));
    let response = coordinator.heartbeat(owning("a", epoch, &[]));
    assert_eq!((response.member_epoch, response.error_code), (epoch + 1, 0));
    let response = coordinator.heartbeat(owning("a", epoch, &[0]));
    assert_eq!(ErrorCode(response.error_code), ErrorCode::FENCED_MEMBER_EPOCH);
}

#[test]
fn a_member_that_is_not_heard_of_is_thrown_out() {
    let mut coordinator = coordinator();
    coordinator.heartbeat(join("a"));
    coordinator.advance(44_999);
    assert_eq!(coordinator.describe("g").members.len(), 1);
    coordinator.advance(1);
    let described = coordinator.describe("g");
    assert_eq!((described.members.len(), &*described.group_state), (0, "Empty"));
    let response = coordinator.heartbeat(beat("a", 2));
    assert_eq!(ErrorCode(response.error_code), ErrorCode::UNKNOWN_MEMBER_ID);
}

#[test]
fn a_member_that_does_not_revoke_in_time_is_thrown_out_also_after_a_crash() {
    for crash in [false, true] {
        let mut coordinator = coordinator();
        coordinator.heartbeat(join("a"));
        coordinator.heartbeat(join("b"));
        coordinator.heartbeat(beat("a", 2));
        if crash {
            coordinator.load();
        }
        coordinator.advance(999);
        assert_eq!(coordinator.describe("g").members.len(), 2);
        coordinator.advance(1);
        assert_eq!(coordinator.describe("g").members.len(), 1);
        let response = coordinator.heartbeat(beat("b", 3));
        assert_eq!(partitions(&response), only(&[0, 1, 2, 3, 4, 5]));
    }
}

#[test]
fn a_static_member_comes_back_to_its_partitions() {
    let mut coordinator = coordinator();
    let as_instance = |request| ConsumerGroupHeartbeatRequest { instance_id: Some("i".into()), ..request };
    coordinator.heartbeat(as_instance(join("a")));
    let response = coordinator.heartbeat(as_instance(join("a2")));
    assert_eq!(
        error(&response),
        (
            ErrorCode::UNRELEASED_INSTANCE_ID,
            "Static member a2 with instance id i cannot join the group because the instance id is owned by a member."
        )
    );
    let response = coordinator.heartbeat(as_instance(beat("a", -2)));
    assert_eq!((response.member_epoch, response.error_code), (-2, 0));
    let response = coordinator.heartbeat(as_instance(join("a2")));
    assert_eq!((response.member_epoch, partitions(&response)), (2, only(&[0, 1, 2, 3, 4, 5])));
    let response = coordinator.heartbeat(as_instance(beat("a", 2)));
    assert_eq!(
        error(&response),
        (ErrorCode::FENCED_INSTANCE_ID, "Static member a with instance id i was fenced by member a2.")
    );
    let response = coordinator.heartbeat(as_instance(beat("a2", 2)));
    assert_eq!((response.member_epoch, response.error_code), (2, 0));
    let response =
        coordinator.heartbeat(ConsumerGroupHeartbeatRequest { instance_id: Some("j".into()), ..beat("a2", 2) });
    assert_eq!(error(&response), (ErrorCode::UNKNOWN_MEMBER_ID, "Instance id j is unknown."));
    let response = coordinator.heartbeat(as_instance(beat("a2", -1)));
    assert_eq!((response.member_epoch, response.error_code), (-1, 0));
    assert_eq!(coordinator.describe("g").group_state, "Empty");
}

#[test]
fn topics_that_grow_vanish_and_come_give_the_group_a_new_epoch() {
    let mut coordinator = coordinator();
    coordinator.heartbeat(join("a"));
    coordinator.grow_topic(uuid(TOPIC), 6, 8);
    let response = coordinator.heartbeat(beat("a", 2));
    assert_eq!((response.member_epoch, partitions(&response)), (3, only(&[0, 1, 2, 3, 4, 5, 6, 7])));
    coordinator.delete_topic(uuid(TOPIC));
    let response = coordinator.heartbeat(beat("a", 3));
    assert_eq!((response.member_epoch, partitions(&response)), (3, only(&[])));
    let response = coordinator.heartbeat(owning("a", 3, &[]));
    assert_eq!((response.member_epoch, partitions(&response)), (4, None));
    coordinator.create_topic("t", uuid(7), 1);
    let response = coordinator.heartbeat(beat("a", 4));
    assert_eq!((response.member_epoch, partitions(&response)), (5, Some(vec![(uuid(7), vec![0])])));
}

#[test]
fn an_expression_is_looked_up_after_the_answer_and_again_when_topics_come() {
    let mut coordinator = coordinator();
    let by_regex = |regex: &str| ConsumerGroupHeartbeatRequest {
        subscribed_topic_names: None,
        subscribed_topic_regex: Some(regex.into()),
        ..join("a")
    };
    let response = coordinator.heartbeat(by_regex("t.*"));
    assert_eq!((response.member_epoch, partitions(&response)), (1, only(&[])));
    coordinator.run_due();
    let response = coordinator.heartbeat(beat("a", 1));
    assert_eq!((response.member_epoch, partitions(&response)), (2, only(&[0, 1, 2, 3, 4, 5])));
    // A new topic is found, though not more often than every ten seconds.
    coordinator.create_topic("t2", uuid(200), 1);
    coordinator.heartbeat(beat("a", 2));
    coordinator.run_due();
    assert_eq!(coordinator.heartbeat(beat("a", 2)).member_epoch, 2);
    coordinator.advance(10_001);
    coordinator.heartbeat(beat("a", 2));
    coordinator.run_due();
    let response = coordinator.heartbeat(beat("a", 2));
    assert_eq!(response.member_epoch, 3);
    assert_eq!(response.assignment.unwrap().topic_partitions.len(), 2);
}

#[test]
fn a_groups_own_configs_count_within_the_brokers_bounds() {
    let mut coordinator = coordinator();
    coordinator.configure_group("g", "consumer.heartbeat.interval.ms", "7000");
    coordinator.configure_group("g", "consumer.session.timeout.ms", "50000");
    assert_eq!(coordinator.heartbeat(join("a")).heartbeat_interval_ms, 7000);
    coordinator.advance(49_999);
    assert_eq!(coordinator.describe("g").members.len(), 1);
    coordinator.advance(1);
    assert_eq!(coordinator.describe("g").members.len(), 0);
}

#[test]
fn one_member_too_many_is_refused() {
    let mut coordinator = coordinator();
    let mut config = GroupConfig::clone(&coordinator.config);
    config.consumer_max_size = 1;
    coordinator.config = std::sync::Arc::new(config);
    coordinator.load();
    coordinator.heartbeat(join("a"));
    let response = coordinator.heartbeat(join("b"));
    assert_eq!(
        error(&response),
        (ErrorCode::GROUP_MAX_SIZE_REACHED, "The consumer group has reached its maximum capacity of 1 members.")
    );
    assert_eq!(coordinator.heartbeat(join("a")).error_code, 0);
}

#[test]
fn a_new_target_waits_for_the_assignment_interval() {
    let mut coordinator = Coordinator::new(GroupConfig::default());
    coordinator.create_topic("t", uuid(TOPIC), 2);
    assert_eq!(coordinator.heartbeat(join("a")).member_epoch, 2);
    let response = coordinator.heartbeat(join("b"));
    assert_eq!((response.member_epoch, partitions(&response)), (2, only(&[])));
    assert_eq!(coordinator.describe("g").group_state, "Assigning");
    coordinator.advance(1000);
    assert_eq!(coordinator.heartbeat(beat("b", 2)).member_epoch, 3);
}

#[test]
fn a_member_that_joins_without_topics_takes_nobodys_partitions() {
    let mut coordinator = coordinator();
    coordinator.heartbeat(join("b"));
    coordinator.heartbeat(join("c"));
    coordinator.heartbeat(beat("c", -1));
    // The target is older than the group when the first comes that wants nothing.
    coordinator.heartbeat(ConsumerGroupHeartbeatRequest { subscribed_topic_names: Some(vec![]), ..join("a") });
    coordinator.heartbeat(beat("b", 2));
    let described = coordinator.describe("g");
    let member = described.members.iter().find(|member| member.member_id == "b").unwrap();
    let partitions = member.assignment.topic_partitions.iter().map(|topic| topic.partitions.len());
    assert_eq!(partitions.sum::<usize>(), 6);
}

#[test]
fn of_two_assignors_with_equally_many_members_the_new_one_counts() {
    let mut coordinator = coordinator();
    let with = |member: &str, assignor: &str| ConsumerGroupHeartbeatRequest {
        server_assignor: Some(assignor.into()),
        ..join(member)
    };
    coordinator.heartbeat(with("b", "uniform"));
    // By range the first by name gets the first half; uniform would leave it to the one that has it.
    coordinator.heartbeat(with("a", "range"));
    let response = coordinator.heartbeat(beat("b", 2));
    assert_eq!(partitions(&response), only(&[3, 4, 5]));
    assert_eq!(coordinator.describe("g").assignor_name, "uniform");
}
