//! Moving partitions to other brokers (KIP-455, KIP-860; `ReplicationControlManager.alterPartitionReassignments` and
//! `listPartitionReassignments`). A reassignment first adds replicas; `PartitionChange` completes it when they are in sync.

use milena_metadata::{Partition, Topic, VersionedRecord};
use milena_protocol::messages::alter_partition_reassignments_request::ReassignablePartition;
use milena_protocol::messages::alter_partition_reassignments_response::{
    ReassignablePartitionResponse, ReassignableTopicResponse,
};
use milena_protocol::messages::list_partition_reassignments_response::{
    OngoingPartitionReassignment, OngoingTopicReassignment,
};
use milena_protocol::messages::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse, ListPartitionReassignmentsRequest,
    ListPartitionReassignmentsResponse,
};
use milena_types::{BrokerId, ErrorCode, PartitionIndex};

use crate::manual_assignment::validate_manual_assignment;
use crate::partition_change::{Election, PartitionChange};
use crate::{ApiError, Controller, Decision};

impl Controller {
    /// Begins, changes or cancels reassignments; each partition by itself.
    #[must_use]
    pub fn decide_alter_reassignments(
        &self,
        request: &AlterPartitionReassignmentsRequest,
    ) -> Decision<AlterPartitionReassignmentsResponse> {
        if request.topics.is_empty() {
            // With an empty message, not with none (`QuorumController.alterPartitionReassignments`).
            return Decision::of(Vec::new(), AlterPartitionReassignmentsResponse::default());
        }
        let may_resize = request.allow_replication_factor_change;
        let mut records = Vec::new();
        let mut responses = Vec::with_capacity(request.topics.len());
        for topic in &request.topics {
            let partitions = topic.partitions.iter().map(|target| {
                let mut answer = ReassignablePartitionResponse {
                    partition_index: target.partition_index,
                    error_message: None,
                    ..ReassignablePartitionResponse::default()
                };
                match self.reassign(&topic.name, target, may_resize) {
                    Ok(record) => records.extend(record),
                    Err(error) => {
                        answer.error_code = error.error.0;
                        answer.error_message = error.text();
                    }
                }
                answer
            });
            responses.push(ReassignableTopicResponse {
                name: topic.name.clone(),
                partitions: partitions.collect(),
                ..ReassignableTopicResponse::default()
            });
        }
        let response = AlterPartitionReassignmentsResponse {
            allow_replication_factor_change: may_resize,
            responses,
            error_message: None,
            ..AlterPartitionReassignmentsResponse::default()
        };
        Decision::atomic(records, response)
    }

    fn reassign(
        &self,
        name: &str,
        target: &ReassignablePartition,
        may_resize: bool,
    ) -> Result<Option<VersionedRecord>, ApiError> {
        let unknown = |why: String| ApiError::new(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, why);
        let topic =
            self.image.topics.named(name).ok_or_else(|| unknown(format!("Unable to find a topic named {name}.")))?;
        let index = PartitionIndex(target.partition_index);
        let partition = topic
            .partition(index)
            .ok_or_else(|| unknown(format!("Unable to find partition {name}:{}.", target.partition_index)))?;
        match &target.replicas {
            None => self.cancel_reassignment(topic, index, partition),
            Some(replicas) => {
                let replicas: Vec<BrokerId> = replicas.iter().map(|id| BrokerId(*id)).collect();
                validate_manual_assignment(&self.image.cluster, &replicas, None)?;
                if !may_resize {
                    check_size(partition, replicas.len())?;
                }
                Ok(self.begin_reassignment(topic, index, partition, &replicas))
            }
        }
    }

    fn cancel_reassignment(
        &self,
        topic: &Topic,
        index: PartitionIndex,
        partition: &Partition,
    ) -> Result<Option<VersionedRecord>, ApiError> {
        if !is_in_progress(partition) {
            return Err(ApiError::bare(ErrorCode::NO_REASSIGNMENT_IN_PROGRESS));
        }
        let stays = |broker: &BrokerId| !partition.adding_replicas.contains(broker);
        let replicas: Vec<BrokerId> = partition.replicas.iter().copied().filter(stays).collect();
        let mut isr: Vec<BrokerId> = partition.isr.iter().copied().filter(stays).collect();
        let may_be_unclean = self.is_unclean_election_enabled(&topic.name);
        if isr.is_empty() {
            // Only replicas that would go are in sync: one that stays must lead without having everything.
            if !may_be_unclean {
                let why = format!(
                    "Unable to revert partition assignment for {}:{index} because it would require an unclean leader \
                     election.",
                    topic.name
                );
                return Err(ApiError::new(ErrorCode::INVALID_REPLICA_ASSIGNMENT, why));
            }
            isr.extend(replicas.first());
        }
        Ok(self.change_of(topic, index, partition, |change| {
            if may_be_unclean {
                change.election = Election::Unclean;
            }
            change.isr = isr;
            change.replicas = replicas;
            change.removing.clear();
            change.adding.clear();
        }))
    }

    fn begin_reassignment(
        &self,
        topic: &Topic,
        index: PartitionIndex,
        partition: &Partition,
        target: &[BrokerId],
    ) -> Option<VersionedRecord> {
        let sorted = |mut brokers: Vec<BrokerId>| {
            brokers.sort_unstable();
            brokers
        };
        let removing = sorted(partition.replicas.iter().copied().filter(|id| !target.contains(id)).collect());
        let is_added = |id: &BrokerId| !partition.replicas.contains(id) || partition.adding_replicas.contains(id);
        let adding = sorted(target.iter().copied().filter(is_added).collect());
        self.change_of(topic, index, partition, |change| {
            change.replicas = target.iter().chain(&removing).copied().collect();
            // Both lists say what this reassignment wants. Kafka leaves those of an earlier one where it finds nothing to add
            // or remove: a replica that is in both never goes and never stays.
            change.removing = removing;
            change.adding = adding;
        })
    }

    /// The record of one partition's change, with its topic's rules.
    pub(crate) fn change_of(
        &self,
        topic: &Topic,
        index: PartitionIndex,
        partition: &Partition,
        set: impl FnOnce(&mut PartitionChange<'_>),
    ) -> Option<VersionedRecord> {
        let can_lead = |partition: &Partition, broker: BrokerId| self.can_lead(partition, broker);
        let default_directory = |broker: BrokerId| self.default_directory(broker);
        let context = self.change_context(&can_lead, &default_directory);
        let mut change = PartitionChange::new(context, partition, self.min_insync_of(topic));
        set(&mut change);
        change.record(topic.id, index)
    }

    /// The reassignments under way, of the topics asked for or of all.
    #[must_use]
    pub fn list_reassignments(
        &self,
        request: &ListPartitionReassignmentsRequest,
    ) -> ListPartitionReassignmentsResponse {
        let topics = match &request.topics {
            None => {
                let all = self.image.topics.iter();
                all.filter_map(|topic| ongoing(topic, topic.iter().map(|(index, _)| index))).collect()
            }
            Some(asked) => asked
                .iter()
                .filter_map(|asked| {
                    let topic = self.image.topics.named(&asked.name)?;
                    ongoing(topic, asked.partition_indexes.iter().map(|index| PartitionIndex(*index)))
                })
                .collect(),
        };
        ListPartitionReassignmentsResponse {
            topics,
            error_message: None,
            ..ListPartitionReassignmentsResponse::default()
        }
    }
}

fn is_in_progress(partition: &Partition) -> bool {
    !partition.adding_replicas.is_empty() || !partition.removing_replicas.is_empty()
}

/// The replication factor, or what it will be when the reassignment under way is done, must stay.
fn check_size(partition: &Partition, wanted: usize) -> Result<(), ApiError> {
    let kept = partition.replicas.iter().filter(|broker| !partition.removing_replicas.contains(broker)).count();
    let size = if is_in_progress(partition) { kept } else { partition.replicas.len() };
    if size == wanted {
        return Ok(());
    }
    let why = format!("The replication factor is changed from {size} to {wanted}");
    Err(ApiError::new(ErrorCode::INVALID_REPLICATION_FACTOR, why))
}

fn ongoing(topic: &Topic, indexes: impl Iterator<Item = PartitionIndex>) -> Option<OngoingTopicReassignment> {
    let raw = |ids: &[BrokerId]| ids.iter().map(|id| id.0).collect::<Vec<i32>>();
    let one = |index: PartitionIndex| {
        let partition = topic.partition(index).filter(|partition| is_in_progress(partition))?;
        Some(OngoingPartitionReassignment {
            partition_index: index.0,
            replicas: raw(&partition.replicas),
            adding_replicas: raw(&partition.adding_replicas),
            removing_replicas: raw(&partition.removing_replicas),
            ..OngoingPartitionReassignment::default()
        })
    };
    let partitions: Vec<_> = indexes.filter_map(one).collect();
    (!partitions.is_empty()).then(|| OngoingTopicReassignment {
        name: topic.name.clone(),
        partitions,
        ..OngoingTopicReassignment::default()
    })
}

#[cfg(test)]
#[path = "reassignments_tests.rs"]
mod tests;
