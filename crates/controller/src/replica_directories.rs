//! AssignReplicasToDirs: a broker says in which of its log directories replicas are
//! (`ReplicationControlManager.handleAssignReplicasToDirs`, KIP-858). A replica in a directory that is not online leaves
//! the in-sync replicas, and others lead.

use milena_metadata::{Partition, VersionedRecord};
use milena_protocol::messages::assign_replicas_to_dirs_request as request;
use milena_protocol::messages::assign_replicas_to_dirs_response as response;
use milena_protocol::messages::{AssignReplicasToDirsRequest, AssignReplicasToDirsResponse};
use milena_types::{BrokerId, ErrorCode, PartitionIndex, Uuid};

use crate::partition_change::{Election, PartitionChange};
use crate::{ApiError, Controller, Decision};

impl Controller {
    /// Notes the directories of replicas. The error is that of the whole answer.
    #[must_use]
    pub fn decide_assign_replicas(
        &self,
        request: &AssignReplicasToDirsRequest,
    ) -> Decision<Result<AssignReplicasToDirsResponse, ApiError>> {
        if !self.image.features.metadata_version.is_directory_assignment_supported() {
            let why = "Directory assignment is not supported yet.";
            return Decision::of(Vec::new(), Err(ApiError::new(ErrorCode::UNSUPPORTED_VERSION, why)));
        }
        let broker = BrokerId(request.broker_id);
        let registration = match self.check_broker_epoch(broker, request.broker_epoch) {
            Ok(registration) => registration,
            Err(error) => return Decision::of(Vec::new(), Err(error)),
        };
        let mut records = Vec::new();
        let mut directories = Vec::with_capacity(request.directories.len());
        for asked in &request.directories {
            let replica =
                Replica { broker, directory: asked.id, is_online: registration.has_online_directory(asked.id) };
            let topics = asked.topics.iter().map(|topic| self.assign_topic(replica, topic, &mut records));
            directories.push(response::DirectoryData {
                id: asked.id,
                topics: topics.collect(),
                ..response::DirectoryData::default()
            });
        }
        let answer = AssignReplicasToDirsResponse { directories, ..AssignReplicasToDirsResponse::default() };
        Decision::of(records, Ok(answer))
    }

    fn assign_topic(
        &self,
        replica: Replica,
        asked: &request::TopicData,
        records: &mut Vec<VersionedRecord>,
    ) -> response::TopicData {
        let topic = self.image.topics.get(asked.topic_id);
        let partitions = asked.partitions.iter().map(|data| {
            let index = PartitionIndex(data.partition_index);
            let error = match topic.map(|topic| (topic, topic.partition(index))) {
                None => ErrorCode::UNKNOWN_TOPIC_ID,
                Some((_, None)) => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
                Some((_, Some(partition))) if !partition.has_replica(replica.broker) => {
                    ErrorCode::NOT_LEADER_OR_FOLLOWER
                }
                Some((topic, Some(partition))) => {
                    let unclean = self.is_unclean_election_enabled(&topic.name);
                    let election = if unclean { Election::Unclean } else { Election::Online };
                    let can_lead = |partition: &Partition, broker: BrokerId| {
                        (replica.is_online || broker != replica.broker) && self.can_lead(partition, broker)
                    };
                    let default_directory = |broker: BrokerId| self.default_directory(broker);
                    let context = self.change_context(&can_lead, &default_directory);
                    let mut change = PartitionChange::new(context, partition, self.min_insync_of(topic));
                    change.moved = Some((replica.broker, replica.directory));
                    if !replica.is_online {
                        change.isr.retain(|broker| *broker != replica.broker);
                        change.election = election;
                    }
                    records.extend(change.record(topic.id, index));
                    ErrorCode::NONE
                }
            };
            response::PartitionData {
                partition_index: index.0,
                error_code: error.0,
                ..response::PartitionData::default()
            }
        });
        response::TopicData {
            topic_id: asked.topic_id,
            partitions: partitions.collect(),
            ..response::TopicData::default()
        }
    }
}

/// Whose replicas are where.
#[derive(Clone, Copy)]
struct Replica {
    broker: BrokerId,
    directory: Uuid,
    is_online: bool,
}

#[cfg(test)]
#[path = "replica_directories_tests.rs"]
mod tests;
