//! ElectLeaders (KIP-183, KIP-460), versions 0 to 2: answered by the controller (`controller/elect_leaders`).
//! Kafka: `ControllerApis.handleElectLeaders`.

use super::{Api, Lane};
use crate::call::{Call, Outcome};
use milena_protocol::ApiKey;
use milena_protocol::messages::elect_leaders_request::TopicPartitions;
use milena_protocol::messages::elect_leaders_response::{PartitionResult, ReplicaElectionResult};
use milena_protocol::messages::{ElectLeadersRequest, ElectLeadersResponse};
use milena_types::ErrorCode;

/// The row of the table.
pub(crate) const API: Api = Api { key: ApiKey::ELECT_LEADERS, lane: Lane::Controller, handle };

fn handle(call: &mut Call<'_, '_>) -> Outcome {
    let Ok(request) = call.decode::<ElectLeadersRequest>() else { return Outcome::Close };
    // Version 0 has no place for an error of the whole request.
    let has_error = call.version() > 0;
    let topics = request.topic_partitions.clone().unwrap_or_default();
    call.forward(request, move |result| {
        result.unwrap_or_else(|error| ElectLeadersResponse {
            error_code: if has_error { error.0 } else { 0 },
            replica_election_results: topics.iter().map(|topic| refused(topic, error)).collect(),
            ..Default::default()
        })
    })
}

/// The same error for each partition that was asked for.
fn refused(topic: &TopicPartitions, error: ErrorCode) -> ReplicaElectionResult {
    let partition = |&id: &i32| PartitionResult {
        partition_id: id,
        error_code: error.0,
        error_message: None,
        ..Default::default()
    };
    let partition_result = topic.partitions.iter().map(partition).collect();
    ReplicaElectionResult { topic: topic.topic.clone(), partition_result, ..Default::default() }
}
