//! Elections by request and by time.

use milena_protocol::messages::elect_leaders_request::TopicPartitions;
use milena_protocol::messages::{AlterPartitionRequest, alter_partition_request};

use super::*;
use crate::controller_tests::{Host, assigned};

fn elect(host: &mut Host, election_type: i8, asked: Option<&[i32]>) -> Vec<(i32, i16)> {
    let topic = |partitions: &[i32]| TopicPartitions {
        topic: "t".into(),
        partitions: partitions.to_vec(),
        ..TopicPartitions::default()
    };
    let request = ElectLeadersRequest {
        election_type,
        topic_partitions: asked.map(|partitions| vec![topic(partitions)]),
        ..ElectLeadersRequest::default()
    };
    let decision = host.controller.decide_elect_leaders(&request);
    host.append(decision.records);
    let results = decision.response.replica_election_results;
    results[0].partition_result.iter().map(|result| (result.partition_id, result.error_code)).collect()
}

fn fence(host: &mut Host, broker: i32) {
    let records = host.controller.decide_fence_broker(BrokerId(broker)).records;
    host.append(records);
}

fn unfence(host: &mut Host, broker: i32) {
    let epoch = host.epoch(broker);
    host.heartbeat(broker, epoch, i64::MAX, false);
}

#[test]
fn the_first_replica_leads_again_when_somebody_asks_or_when_it_is_time() {
    let mut host = Host::with_brokers(2);
    host.create(vec![assigned("t", &[(0, &[1, 2]), (1, &[2, 1])])]);
    fence(&mut host, 1);
    assert_eq!(elect(&mut host, PREFERRED, Some(&[0])), [(0, ErrorCode::PREFERRED_LEADER_NOT_AVAILABLE.0)]);
    unfence(&mut host, 1);
    assert_eq!((host.leader("t", 0), host.leader("t", 1)), (2, 2));
    assert_eq!(
        elect(&mut host, PREFERRED, Some(&[0, 1, 9])),
        [
            (0, ErrorCode::PREFERRED_LEADER_NOT_AVAILABLE.0),
            (1, ErrorCode::ELECTION_NOT_NEEDED.0),
            (9, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.0)
        ],
        "replica 1 is not in sync yet"
    );
    in_sync(&mut host, 0, &[2, 1]);
    let due = host.now + Duration::from_secs(300);
    assert!(host.controller.decide_due_elections(due - Duration::from_millis(1)).is_none());
    while let Some(decision) = host.controller.decide_due_elections(due) {
        host.append(decision.records);
    }
    assert_eq!(host.leader("t", 0), 1);
    assert_eq!(elect(&mut host, PREFERRED, None), [], "all have their preferred leader");
}

fn in_sync(host: &mut Host, index: i32, isr: &[i32]) {
    let request = wants_in_sync(host, index, isr);
    assert_eq!(alter(host, &request), 0);
}

/// What the leader asks that knows the partition as it is.
fn wants_in_sync(host: &Host, index: i32, isr: &[i32]) -> AlterPartitionRequest {
    let topic = host.controller.image().topics.named("t").unwrap();
    let (topic_id, partition) = (topic.id, topic.partition(PartitionIndex(index)).unwrap().as_ref().clone());
    let state = |id: &i32| alter_partition_request::BrokerState { broker_id: *id, ..Default::default() };
    let data = alter_partition_request::PartitionData {
        partition_index: index,
        leader_epoch: partition.leader_epoch.0,
        partition_epoch: partition.partition_epoch,
        new_isr_with_epochs: isr.iter().map(state).collect(),
        ..Default::default()
    };
    let topic = alter_partition_request::TopicData { topic_id, partitions: vec![data], ..Default::default() };
    let (broker_id, broker_epoch) = (partition.leader.0, host.epoch(partition.leader.0));
    AlterPartitionRequest { broker_id, broker_epoch, topics: vec![topic], ..Default::default() }
}

fn alter(host: &mut Host, request: &AlterPartitionRequest) -> i16 {
    let decision = host.controller.decide_alter_partition(request);
    host.append(decision.records);
    decision.response.topics[0].partitions[0].error_code
}

#[test]
fn an_earlier_copy_of_a_refused_request_changes_nothing() {
    let mut host = Host::with_brokers(2);
    host.create(vec![assigned("t", &[(0, &[1, 2])])]);
    in_sync(&mut host, 0, &[1]);
    fence(&mut host, 2);
    let request = wants_in_sync(&host, 0, &[1, 2]);
    assert_eq!(alter(&mut host, &request), ErrorCode::INELIGIBLE_REPLICA.0);
    unfence(&mut host, 2);
    assert_eq!(alter(&mut host, &request), ErrorCode::INVALID_UPDATE_VERSION.0);
    in_sync(&mut host, 0, &[1, 2]);
}

#[test]
fn an_unclean_election_takes_who_is_there_only_when_somebody_asks() {
    let mut host = Host::with_brokers(2);
    host.create(vec![assigned("t", &[(0, &[1, 2])])]);
    in_sync(&mut host, 0, &[1]);
    fence(&mut host, 1);
    assert_eq!(host.leader("t", 0), -1);
    assert_eq!(elect(&mut host, UNCLEAN, Some(&[0])), [(0, 0)]);
    assert_eq!(host.leader("t", 0), 2);
    assert_eq!(elect(&mut host, UNCLEAN, Some(&[0])), [(0, ErrorCode::ELECTION_NOT_NEEDED.0)]);
    let unknown = elect(&mut host, 7, Some(&[0]));
    assert_eq!(unknown, [(0, ErrorCode::INVALID_REQUEST.0)]);
}
