//! Reassignments from their begin to their end, through AlterPartition.

use milena_protocol::messages::alter_partition_reassignments_request::ReassignableTopic;
use milena_protocol::messages::list_partition_reassignments_request::ListPartitionReassignmentsTopics;
use milena_protocol::messages::{AlterPartitionRequest, alter_partition_request};

use super::*;
use crate::controller_tests::{Host, assigned};

fn reassign(host: &mut Host, partition: i32, replicas: Option<&[i32]>, may_resize: bool) -> (i16, Option<String>) {
    let target = ReassignablePartition {
        partition_index: partition,
        replicas: replicas.map(<[i32]>::to_vec),
        ..ReassignablePartition::default()
    };
    let topic = ReassignableTopic { name: "t".into(), partitions: vec![target], ..ReassignableTopic::default() };
    let request = AlterPartitionReassignmentsRequest {
        topics: vec![topic],
        allow_replication_factor_change: may_resize,
        ..AlterPartitionReassignmentsRequest::default()
    };
    let decision = host.controller.decide_alter_reassignments(&request);
    host.append(decision.records);
    let answer = &decision.response.responses[0].partitions[0];
    (answer.error_code, answer.error_message.as_ref().map(ToString::to_string))
}

fn partition(host: &Host) -> Partition {
    let topic = host.controller.image().topics.named("t").unwrap();
    topic.partition(PartitionIndex(0)).unwrap().as_ref().clone()
}

fn shown(host: &Host) -> (Vec<i32>, Vec<i32>, Vec<i32>, Vec<i32>, i32) {
    let partition = partition(host);
    let raw = |ids: &[BrokerId]| ids.iter().map(|id| id.0).collect();
    let (adding, removing) = (raw(&partition.adding_replicas), raw(&partition.removing_replicas));
    (raw(&partition.replicas), raw(&partition.isr), adding, removing, partition.leader.0)
}

fn in_sync(host: &mut Host, isr: &[i32]) -> i16 {
    let partition = partition(host);
    let leader = partition.leader.0;
    let state = |id: &i32| alter_partition_request::BrokerState { broker_id: *id, ..Default::default() };
    let data = alter_partition_request::PartitionData {
        leader_epoch: partition.leader_epoch.0,
        partition_epoch: partition.partition_epoch,
        new_isr_with_epochs: isr.iter().map(state).collect(),
        ..Default::default()
    };
    let topic_id = host.controller.image().topics.named("t").unwrap().id;
    let topic = alter_partition_request::TopicData { topic_id, partitions: vec![data], ..Default::default() };
    let request = AlterPartitionRequest {
        broker_id: leader,
        broker_epoch: host.epoch(leader),
        topics: vec![topic],
        ..AlterPartitionRequest::default()
    };
    let decision = host.controller.decide_alter_partition(&request);
    host.append(decision.records);
    decision.response.topics[0].partitions[0].error_code
}

#[test]
fn a_move_ends_when_the_new_replica_is_in_sync_and_the_old_leader_hands_over() {
    let mut host = Host::with_brokers(4);
    host.create(vec![assigned("t", &[(0, &[1, 2, 3])])]);
    assert_eq!(reassign(&mut host, 0, Some(&[4, 2, 3]), true), (0, None));
    assert_eq!(shown(&host), (vec![4, 2, 3, 1], vec![1, 2, 3], vec![4], vec![1], 1));
    let listed = host.controller.list_reassignments(&ListPartitionReassignmentsRequest::default());
    let ongoing = &listed.topics[0].partitions[0];
    assert_eq!(
        (ongoing.adding_replicas.as_slice(), ongoing.removing_replicas.as_slice()),
        ([4].as_slice(), [1].as_slice())
    );
    let before = partition(&host).leader_epoch;
    assert_eq!(in_sync(&mut host, &[1, 2, 3, 4]), ErrorCode::NEW_LEADER_ELECTED.0);
    assert_eq!(shown(&host), (vec![4, 2, 3], vec![2, 3, 4], vec![], vec![], 4));
    assert!(partition(&host).leader_epoch > before);
    let asked = ListPartitionReassignmentsTopics { name: "t".into(), partition_indexes: vec![0], ..Default::default() };
    let request = ListPartitionReassignmentsRequest { topics: Some(vec![asked]), ..Default::default() };
    assert!(host.controller.list_reassignments(&request).topics.is_empty());
}

#[test]
fn a_new_order_needs_no_waiting_and_keeps_the_leader() {
    let mut host = Host::with_brokers(3);
    host.create(vec![assigned("t", &[(0, &[1, 2, 3])])]);
    assert_eq!(reassign(&mut host, 0, Some(&[3, 1, 2]), false), (0, None));
    assert_eq!(shown(&host), (vec![3, 1, 2], vec![1, 2, 3], vec![], vec![], 1));
}

#[test]
fn fewer_replicas_wait_until_those_that_stay_are_in_sync() {
    let mut host = Host::with_brokers(3);
    host.create(vec![assigned("t", &[(0, &[1, 2, 3])])]);
    assert_eq!(in_sync(&mut host, &[1]), 0);
    assert_eq!(reassign(&mut host, 0, Some(&[1, 2]), true), (0, None));
    assert_eq!(shown(&host), (vec![1, 2, 3], vec![1], vec![], vec![3], 1), "replica 2 has not caught up");
    assert_eq!(in_sync(&mut host, &[1, 2]), 0);
    assert_eq!(shown(&host), (vec![1, 2], vec![1, 2], vec![], vec![], 1));
}

#[test]
fn of_two_reassignments_that_overlap_the_later_one_says_what_is_added_and_removed() {
    let mut host = Host::with_brokers(5);
    host.create(vec![assigned("t", &[(0, &[1, 2, 3])])]);
    reassign(&mut host, 0, Some(&[4, 2, 3]), true);
    // Back to where it was: 4 goes again, nothing is added.
    assert_eq!(reassign(&mut host, 0, Some(&[1, 2, 3]), true), (0, None));
    assert_eq!(shown(&host), (vec![1, 2, 3], vec![1, 2, 3], vec![], vec![], 1));
    // All that are there stay: nothing is removed, and 4 is still to come.
    reassign(&mut host, 0, Some(&[4, 2, 3]), true);
    assert_eq!(reassign(&mut host, 0, Some(&[1, 2, 3, 4]), true), (0, None));
    assert_eq!(shown(&host), (vec![1, 2, 3, 4], vec![1, 2, 3], vec![4], vec![], 1));
    // Another one is added besides, and one goes.
    assert_eq!(reassign(&mut host, 0, Some(&[5, 4, 3]), true), (0, None));
    assert_eq!(shown(&host), (vec![5, 4, 3, 1, 2], vec![1, 2, 3], vec![4, 5], vec![1, 2], 1));
    assert_eq!(in_sync(&mut host, &[1, 2, 3, 5]), 0);
    assert_eq!(shown(&host).0, [5, 4, 3, 1, 2], "4 is not in sync yet");
    assert_eq!(in_sync(&mut host, &[1, 2, 3, 4, 5]), ErrorCode::NEW_LEADER_ELECTED.0);
    assert_eq!(shown(&host), (vec![5, 4, 3], vec![3, 4, 5], vec![], vec![], 5));
}

#[test]
fn a_cancelled_reassignment_leaves_what_was_before() {
    let mut host = Host::with_brokers(4);
    host.create(vec![assigned("t", &[(0, &[1, 2, 3])])]);
    let none = reassign(&mut host, 0, None, true);
    assert_eq!(none, (ErrorCode::NO_REASSIGNMENT_IN_PROGRESS.0, None));
    reassign(&mut host, 0, Some(&[4, 2, 3]), true);
    assert_eq!(reassign(&mut host, 0, None, true), (0, None));
    assert_eq!(shown(&host), (vec![2, 3, 1], vec![1, 2, 3], vec![], vec![], 1));
}

#[test]
fn what_cannot_be_reassigned_is_refused_in_kafkas_words() {
    let mut host = Host::with_brokers(3);
    host.create(vec![assigned("t", &[(0, &[1, 2])])]);
    let refused = |error: ErrorCode, why: &str| (error.0, Some(why.to_owned()));
    assert_eq!(
        reassign(&mut host, 7, Some(&[1]), true),
        refused(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, "Unable to find partition t:7.")
    );
    assert_eq!(
        reassign(&mut host, 0, Some(&[1, 2, 3]), false),
        refused(ErrorCode::INVALID_REPLICATION_FACTOR, "The replication factor is changed from 2 to 3")
    );
    assert_eq!(
        reassign(&mut host, 0, Some(&[]), true),
        refused(
            ErrorCode::INVALID_REPLICA_ASSIGNMENT,
            "The manual partition assignment includes an empty replica list."
        )
    );
}
