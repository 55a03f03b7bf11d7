//! CreatePartitions (`ReplicationControlManager.createPartitions`).

use milena_metadata::VersionedRecord;
use milena_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use milena_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use milena_protocol::messages::{CreatePartitionsRequest, CreatePartitionsResponse, MetadataRecord};
use milena_types::{BrokerId, ErrorCode, PartitionIndex};

use crate::create_topics::all_fenced_in_assignment;
use crate::manual_assignment::validate_manual_assignment;
use crate::placement::place;
use crate::{ApiError, Controller, Decision, Random};

impl Controller {
    /// Adds partitions to topics. Names must be unique within the request: `requests.rs` refuses others before, and is the only way here.
    #[must_use]
    pub(crate) fn decide_create_partitions(
        &self,
        request: &CreatePartitionsRequest,
        random: &mut dyn Random,
    ) -> Decision<CreatePartitionsResponse> {
        let mut records = Vec::new();
        let mut results = Vec::with_capacity(request.topics.len());
        for topic in &request.topics {
            let mut result =
                CreatePartitionsTopicResult { name: topic.name.clone(), ..CreatePartitionsTopicResult::default() };
            match self.added_partitions(topic, random) {
                Ok(added) => records.extend(added),
                Err(error) => {
                    result.error_code = error.error.0;
                    result.error_message = error.text();
                }
            }
            results.push(result);
        }
        let response = CreatePartitionsResponse { results, ..CreatePartitionsResponse::default() };
        let decision = Decision::atomic(records, response);
        if request.validate_only { decision.without_records() } else { decision }
    }

    fn added_partitions(
        &self,
        request: &CreatePartitionsTopic,
        random: &mut dyn Random,
    ) -> Result<Vec<VersionedRecord>, ApiError> {
        let Some(topic) = self.image.topics.named(&request.name) else {
            return Err(ApiError::bare(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
        };
        let refuse = |error, why: String| Err(ApiError::new(error, why));
        let existing = topic.partitions.len();
        let wanted = usize::try_from(request.count).unwrap_or(0);
        if wanted == existing {
            return refuse(ErrorCode::INVALID_PARTITIONS, format!("Topic already has {existing} partition(s)."));
        }
        if wanted < existing {
            let why = format!(
                "The topic {} currently has {existing} partition(s); {} would not be an increase.",
                request.name, request.count
            );
            return refuse(ErrorCode::INVALID_PARTITIONS, why);
        }
        let additional = wanted - existing;
        if additional > PARTITIONS_ADDED_MAX {
            let why = "Unable to perform excessively large batch operation.".to_owned();
            return refuse(ErrorCode::POLICY_VIOLATION, why);
        }
        let replication_factor = topic.partitions.first().map_or(0, |partition| partition.replicas.len());
        let replicas = match &request.assignments {
            Some(assignments) if assignments.len() != additional => {
                let why = format!(
                    "Attempted to add {additional} additional partition(s), but only {} assignment(s) were specified.",
                    assignments.len()
                );
                return refuse(ErrorCode::INVALID_REPLICA_ASSIGNMENT, why);
            }
            Some(assignments) => {
                let mut chosen = Vec::with_capacity(additional);
                for assignment in assignments {
                    let replicas: Vec<BrokerId> = assignment.broker_ids.iter().map(|id| BrokerId(*id)).collect();
                    validate_manual_assignment(&self.image.cluster, &replicas, Some(replication_factor))?;
                    chosen.push(replicas);
                }
                chosen
            }
            None => place(&self.image.cluster, additional, replication_factor as i16, random)?,
        };
        let version = self.image.features.metadata_version;
        let mut records = Vec::with_capacity(additional);
        for (index, replicas) in (existing as i32..).zip(replicas) {
            let Some(partition) = self.new_partition(&replicas) else {
                return Err(match request.assignments {
                    Some(_) => all_fenced_in_assignment(index),
                    None => unable_to_replicate(replication_factor),
                });
            };
            let record = partition.to_record(topic.id, PartitionIndex(index), version);
            records.push((MetadataRecord::Partition(record), version.partition_record_version()));
        }
        Ok(records)
    }
}

/// Most partitions one topic gains at once; Kafka's bound is its largest batch of records for one operation.
const PARTITIONS_ADDED_MAX: usize = 10_000;

fn unable_to_replicate(replication_factor: usize) -> ApiError {
    let why = format!(
        "Unable to replicate the partition {replication_factor} time(s): All brokers are currently fenced or in \
         controlled shutdown."
    );
    ApiError::new(ErrorCode::INVALID_REPLICATION_FACTOR, why)
}
