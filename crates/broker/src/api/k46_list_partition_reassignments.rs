//! ListPartitionReassignments (KIP-455), version 0: answered by the controller (`controller/reassignments`).
//! Kafka: `ControllerApis.handleListPartitionReassignments`.

use super::{Api, Lane};
use crate::call::{Call, Outcome};
use milena_protocol::ApiKey;
use milena_protocol::messages::{ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse};
use milena_types::ErrorCode;

/// The row of the table.
pub(crate) const API: Api = Api { key: ApiKey::LIST_PARTITION_REASSIGNMENTS, lane: Lane::Controller, handle };

fn handle(call: &mut Call<'_, '_>) -> Outcome {
    let Ok(request) = call.decode::<ListPartitionReassignmentsRequest>() else { return Outcome::Close };
    call.forward(request, |result| {
        result.unwrap_or_else(|error: ErrorCode| ListPartitionReassignmentsResponse {
            error_code: error.0,
            error_message: None,
            ..Default::default()
        })
    })
}
