//! AlterPartitionReassignments (KIP-455, KIP-860), versions 0 to 1: answered by the controller (`controller/reassignments`).
//! Kafka: `ControllerApis.handleAlterPartitionReassignments`.

use super::{Api, Lane};
use crate::call::{Call, Outcome};
use milena_protocol::ApiKey;
use milena_protocol::messages::alter_partition_reassignments_request::ReassignableTopic;
use milena_protocol::messages::alter_partition_reassignments_response::{
    ReassignablePartitionResponse, ReassignableTopicResponse,
};
use milena_protocol::messages::{AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse};
use milena_types::ErrorCode;

/// The row of the table.
pub(crate) const API: Api = Api { key: ApiKey::ALTER_PARTITION_REASSIGNMENTS, lane: Lane::Controller, handle };

fn handle(call: &mut Call<'_, '_>) -> Outcome {
    let Ok(request) = call.decode::<AlterPartitionReassignmentsRequest>() else { return Outcome::Close };
    let topics = request.topics.clone();
    call.forward(request, move |result| {
        result.unwrap_or_else(|error| AlterPartitionReassignmentsResponse {
            error_code: error.0,
            error_message: None,
            responses: topics.iter().map(|topic| refused(topic, error)).collect(),
            ..Default::default()
        })
    })
}

/// The same error for each partition that was asked for.
fn refused(topic: &ReassignableTopic, error: ErrorCode) -> ReassignableTopicResponse {
    let partition = |index| ReassignablePartitionResponse {
        partition_index: index,
        error_code: error.0,
        error_message: None,
        ..Default::default()
    };
    let partitions = topic.partitions.iter().map(|one| partition(one.partition_index)).collect();
    ReassignableTopicResponse { name: topic.name.clone(), partitions, ..Default::default() }
}
