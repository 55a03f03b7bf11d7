//! AlterPartition: a leader reports who is in sync (`ReplicationControlManager.alterPartition`, KIP-497, KIP-903).

use milena_metadata::NO_LEADER_CHANGE;
use milena_metadata::{Partition, Topic, VersionedRecord};
use milena_protocol::messages::alter_partition_request::{self as request, BrokerState};
use milena_protocol::messages::alter_partition_response as response;
use milena_protocol::messages::{AlterPartitionRequest, AlterPartitionResponse, MetadataRecord, PartitionChangeRecord};
use milena_types::{BrokerId, ErrorCode, LeaderEpoch, PartitionIndex};

use crate::partition_change::Election;
use crate::{Controller, Decision};

impl Controller {
    /// Changes ISRs as their leaders ask.
    #[must_use]
    pub fn decide_alter_partition(&self, request: &AlterPartitionRequest) -> Decision<AlterPartitionResponse> {
        if request.topics.is_empty() {
            // Whoever asks (`QuorumController.alterPartition`).
            return Decision::of(Vec::new(), AlterPartitionResponse::default());
        }
        let broker = BrokerId(request.broker_id);
        if let Err(error) = self.check_broker_epoch(broker, request.broker_epoch) {
            let response = AlterPartitionResponse { error_code: error.error.0, ..AlterPartitionResponse::default() };
            return Decision::of(Vec::new(), response);
        }
        let mut records = Vec::new();
        let mut topics = Vec::with_capacity(request.topics.len());
        for asked in &request.topics {
            let known = self.image.topics.get(asked.topic_id);
            let partitions = asked.partitions.iter().map(|data| match known {
                Some(topic) => self.alter_one(broker, topic, data, &mut records),
                None => failure(data.partition_index, ErrorCode::UNKNOWN_TOPIC_ID),
            });
            topics.push(response::TopicData {
                topic_id: asked.topic_id,
                partitions: partitions.collect(),
                ..response::TopicData::default()
            });
        }
        Decision::of(records, AlterPartitionResponse { topics, ..AlterPartitionResponse::default() })
    }

    fn alter_one(
        &self,
        broker: BrokerId,
        topic: &Topic,
        data: &request::PartitionData,
        records: &mut Vec<VersionedRecord>,
    ) -> response::PartitionData {
        let index = PartitionIndex(data.partition_index);
        // Version 2 names the brokers without their epochs.
        let isr: Vec<BrokerState> = if data.new_isr.is_empty() {
            data.new_isr_with_epochs.clone()
        } else {
            let state = |id: &i32| BrokerState { broker_id: *id, broker_epoch: -1, ..BrokerState::default() };
            data.new_isr.iter().map(state).collect()
        };
        let Some(partition) = topic.partition(index) else {
            return failure(index.0, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
        };
        if let Err(error) = self.check_alter_partition(broker, partition, data, &isr) {
            if error == ErrorCode::INELIGIBLE_REPLICA {
                records.push(self.restated(topic, index, partition));
            }
            return failure(index.0, error);
        }
        let change = self.change_of(topic, index, partition, |change| {
            if self.is_unclean_election_enabled(&topic.name) {
                change.election = Election::Unclean;
            }
            change.isr = isr.iter().map(|state| BrokerId(state.broker_id)).collect();
            change.is_recovering = data.leader_recovery_state == 1;
        });
        let Some((record, record_version)) = change else {
            return success(index.0, partition);
        };
        let MetadataRecord::PartitionChange(change) = &record else { return success(index.0, partition) };
        let changed = partition.merge(change);
        // A reassignment that this ISR completes may move the leader: then the asking leader must look again.
        let moved = change.leader != broker.0 && change.leader != NO_LEADER_CHANGE;
        records.push((record, record_version));
        if moved { failure(index.0, ErrorCode::NEW_LEADER_ELECTED) } else { success(index.0, &changed) }
    }

    /// The ISR once more, which raises the partition's epoch. A leader that is refused waits for the new member no longer,
    /// and an earlier copy of its request that nobody answered may still be on its way: it must not find the member
    /// eligible again.
    fn restated(&self, topic: &Topic, index: PartitionIndex, partition: &Partition) -> VersionedRecord {
        let record = PartitionChangeRecord {
            topic_id: topic.id,
            partition_id: index.0,
            isr: Some(partition.isr.iter().map(|id| id.0).collect()),
            ..PartitionChangeRecord::default()
        };
        let version = self.image.features.metadata_version.partition_change_record_version();
        (MetadataRecord::PartitionChange(record), version)
    }

    /// `ReplicationControlManager.validateAlterPartitionData`; the order of the checks decides the code.
    fn check_alter_partition(
        &self,
        broker: BrokerId,
        partition: &Partition,
        data: &request::PartitionData,
        isr: &[BrokerState],
    ) -> Result<(), ErrorCode> {
        let leader_epoch = LeaderEpoch(data.leader_epoch);
        // The leader knows more than this controller: it is not the active one any more.
        if leader_epoch > partition.leader_epoch || data.partition_epoch > partition.partition_epoch {
            return Err(ErrorCode::NOT_CONTROLLER);
        }
        if leader_epoch < partition.leader_epoch {
            return Err(ErrorCode::FENCED_LEADER_EPOCH);
        }
        if broker != partition.leader {
            return Err(ErrorCode::INVALID_REQUEST);
        }
        if data.partition_epoch < partition.partition_epoch {
            return Err(ErrorCode::INVALID_UPDATE_VERSION);
        }
        let mut ids: Vec<BrokerId> = isr.iter().map(|state| BrokerId(state.broker_id)).collect();
        let has_leader = ids.contains(&partition.leader);
        let all_replicas = ids.iter().all(|id| partition.has_replica(*id));
        ids.sort_unstable();
        ids.dedup();
        let unique = ids.len() == isr.len();
        if ids.is_empty() || !all_replicas || !unique || !has_leader {
            return Err(ErrorCode::INVALID_REQUEST);
        }
        let recovering = data.leader_recovery_state == 1;
        if recovering && (isr.len() > 1 || !partition.is_recovering) {
            return Err(ErrorCode::INVALID_REQUEST);
        }
        let eligible = |state: &BrokerState| {
            self.image.cluster.broker(BrokerId(state.broker_id)).is_some_and(|registration| {
                let same_epoch = state.broker_epoch == -1 || state.broker_epoch == registration.epoch;
                registration.is_active() && same_epoch
            })
        };
        if isr.iter().all(eligible) { Ok(()) } else { Err(ErrorCode::INELIGIBLE_REPLICA) }
    }
}

fn failure(index: i32, error: ErrorCode) -> response::PartitionData {
    response::PartitionData { partition_index: index, error_code: error.0, ..response::PartitionData::default() }
}

fn success(index: i32, partition: &Partition) -> response::PartitionData {
    response::PartitionData {
        partition_index: index,
        leader_id: partition.leader.0,
        leader_epoch: partition.leader_epoch.0,
        isr: partition.isr.iter().map(|id| id.0).collect(),
        leader_recovery_state: i8::from(partition.is_recovering),
        partition_epoch: partition.partition_epoch,
        ..response::PartitionData::default()
    }
}
