//! Changes of in-sync replicas on the wire: one AlterPartition for those of many partitions, and what an answer says. Pure.

use milena_protocol::messages::alter_partition_request::{BrokerState, PartitionData, TopicData};
use milena_protocol::messages::{AlterPartitionRequest, alter_partition_response};
use milena_replication::{Assignment, IsrChange, PartitionKey};
use milena_types::{BrokerId, LeaderEpoch};

/// The request of a broker in its epoch; `changes` in the order of their keys.
pub fn alter_partition_request<'a>(
    broker_id: BrokerId,
    broker_epoch: i64,
    changes: impl IntoIterator<Item = (&'a PartitionKey, &'a IsrChange)>,
) -> AlterPartitionRequest {
    let mut topics: Vec<TopicData> = Vec::new();
    for ((topic_id, index), change) in changes {
        let member = |(id, epoch): &(BrokerId, i64)| BrokerState {
            broker_id: id.0,
            broker_epoch: *epoch,
            ..BrokerState::default()
        };
        let data = PartitionData {
            partition_index: index.0,
            leader_epoch: change.leader_epoch.0,
            new_isr_with_epochs: change.new_isr.iter().map(member).collect(),
            leader_recovery_state: 0,
            partition_epoch: change.partition_epoch,
            ..PartitionData::default()
        };
        match topics.last_mut() {
            Some(topic) if topic.topic_id == *topic_id => topic.partitions.push(data),
            _ => topics.push(TopicData { topic_id: *topic_id, partitions: vec![data], ..TopicData::default() }),
        }
    }
    AlterPartitionRequest { broker_id: broker_id.0, broker_epoch, topics, ..AlterPartitionRequest::default() }
}

/// What the controller decided; it does not repeat the replicas.
#[must_use]
pub fn decided_assignment(answer: &alter_partition_response::PartitionData, replicas: &[BrokerId]) -> Assignment {
    Assignment {
        leader: BrokerId(answer.leader_id),
        leader_epoch: LeaderEpoch(answer.leader_epoch),
        partition_epoch: answer.partition_epoch,
        replicas: replicas.to_vec(),
        isr: answer.isr.iter().map(|id| BrokerId(*id)).collect(),
    }
}
