//! Directories of replicas: told, lost, and refused. Codes and records are those of Apache Kafka 4.3.1.

use milena_metadata::{DIRECTORY_LOST, DIRECTORY_UNASSIGNED, Delta};
use milena_protocol::messages::create_topics_request::CreatableTopic;
use milena_protocol::messages::{BrokerHeartbeatRequest, assign_replicas_to_dirs_request as request};
use milena_types::{LeaderEpoch, TopicId};

use super::*;
use crate::controller_tests::Host;

const FIRST: Uuid = Uuid([51; 16]);
const SECOND: Uuid = Uuid([52; 16]);

/// Three brokers; the first has two directories. One topic with one partition on all three.
fn host() -> (Host, TopicId) {
    let mut host = Host::with_brokers(3);
    let mut registration = host.controller.image().cluster.broker(BrokerId(1)).unwrap().to_record(LATEST);
    registration.log_dirs = vec![FIRST, SECOND];
    host.append(vec![(milena_protocol::messages::MetadataRecord::RegisterBroker(registration), 4)]);
    host.append_topic("t", &[1, 2, 3])
}

const LATEST: milena_metadata::MetadataVersion = milena_metadata::MetadataVersion::LATEST;

impl Host {
    fn append_topic(mut self, name: &str, replicas: &[i32]) -> (Host, TopicId) {
        let assignment = milena_protocol::messages::create_topics_request::CreatableReplicaAssignment {
            partition_index: 0,
            broker_ids: replicas.to_vec(),
            ..Default::default()
        };
        let topic = CreatableTopic {
            name: name.into(),
            num_partitions: -1,
            replication_factor: -1,
            assignments: vec![assignment],
            ..Default::default()
        };
        assert_eq!(self.create(vec![topic])[0].0, 0);
        let id = self.controller.image().topics.id_of(name).unwrap();
        (self, id)
    }

    fn partition(&self, topic: TopicId) -> Partition {
        (**self.controller.image().topics.partition(topic, PartitionIndex(0)).unwrap()).clone()
    }

    fn assign(&mut self, topic: TopicId, index: i32, directory: Uuid) -> (i16, Delta) {
        let partition = request::PartitionData { partition_index: index, ..Default::default() };
        let topic = request::TopicData { topic_id: topic, partitions: vec![partition], ..Default::default() };
        let asked = request::DirectoryData { id: directory, topics: vec![topic], ..Default::default() };
        let request = AssignReplicasToDirsRequest {
            broker_id: 1,
            broker_epoch: self.epoch(1),
            directories: vec![asked],
            ..Default::default()
        };
        let decision = self.controller.decide_assign_replicas(&request);
        let delta = self.append(decision.records);
        let answer = decision.response.unwrap();
        assert_eq!(answer.directories[0].id, directory);
        (answer.directories[0].topics[0].partitions[0].error_code, delta)
    }
}

#[test]
fn a_replica_of_a_broker_with_two_directories_is_unassigned_until_the_broker_tells() {
    let (mut host, topic) = host();
    assert_eq!(host.partition(topic).directory(BrokerId(1)), Some(DIRECTORY_UNASSIGNED));
    let epoch = host.partition(topic).leader_epoch;
    assert_eq!(host.assign(topic, 0, SECOND).0, 0);
    let told = host.partition(topic);
    assert_eq!(told.directory(BrokerId(1)), Some(SECOND));
    assert_eq!((told.leader, told.leader_epoch, told.isr.len()), (BrokerId(1), epoch, 3), "nothing else changes");
    let (_, again) = host.assign(topic, 0, SECOND);
    assert!(again.is_empty(), "what is known already is not written again");
}

#[test]
fn a_failed_directory_moves_the_leaders_of_its_replicas_and_no_others() {
    let (mut host, topic) = host();
    host.assign(topic, 0, SECOND);
    let (mut host, other) = host.append_topic("other", &[1, 2]);
    host.assign(other, 0, FIRST);
    let request = BrokerHeartbeatRequest {
        broker_id: 1,
        broker_epoch: host.epoch(1),
        current_metadata_offset: 1 << 30,
        offline_log_dirs: vec![SECOND],
        ..Default::default()
    };
    let decision = host.controller.decide_broker_heartbeat(&request, milena_types::Offset(1 << 20), host.now);
    host.append(decision.records);
    let lost = host.partition(topic);
    assert_eq!((lost.leader, lost.isr.as_ref()), (BrokerId(2), [BrokerId(2), BrokerId(3)].as_slice()));
    assert!(lost.leader_epoch > LeaderEpoch(0));
    let kept = host.partition(other);
    assert_eq!((kept.leader, kept.isr.len()), (BrokerId(1), 2));
    assert_eq!(host.controller.image().cluster.broker(BrokerId(1)).unwrap().directories, [FIRST]);
}

#[test]
fn a_replica_that_is_told_to_be_in_a_lost_directory_leaves_the_in_sync_replicas() {
    for directory in [DIRECTORY_LOST, Uuid([77; 16])] {
        let (mut host, topic) = host();
        assert_eq!(host.assign(topic, 0, directory).0, 0);
        let lost = host.partition(topic);
        assert_eq!(lost.directory(BrokerId(1)), Some(directory));
        assert_eq!((lost.leader, lost.isr.as_ref()), (BrokerId(2), [BrokerId(2), BrokerId(3)].as_slice()));
    }
}

#[test]
fn what_is_unknown_or_anothers_is_refused() {
    let (mut host, topic) = host();
    assert_eq!(host.assign(Uuid([9; 16]), 0, FIRST).0, ErrorCode::UNKNOWN_TOPIC_ID.0);
    assert_eq!(host.assign(topic, 1, FIRST).0, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.0);
    let (mut host, elsewhere) = host.append_topic("elsewhere", &[2, 3]);
    assert_eq!(host.assign(elsewhere, 0, FIRST).0, ErrorCode::NOT_LEADER_OR_FOLLOWER.0);
    let stale = AssignReplicasToDirsRequest { broker_id: 1, broker_epoch: host.epoch(1) - 1, ..Default::default() };
    let refused = host.controller.decide_assign_replicas(&stale).response.unwrap_err();
    assert_eq!(refused.error, ErrorCode::STALE_BROKER_EPOCH);
}
