//! AlterPartitionReassignments (KIP-455, KIP-860), versions 0 to 1: answered by the controller (`controller/reassignments`).
//! Kafka: `ControllerApis.handleAlterPartitionReassignments`.

use super::{Api, Lane};
use crate::call::{Call, Outcome};
use milena_protocol::ApiKey;
use milena_protocol::messages::{AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse};
use milena_types::ErrorCode;

/// The row of the table.
pub(crate) const API: Api = Api { key: ApiKey::ALTER_PARTITION_REASSIGNMENTS, lane: Lane::Controller, handle };

fn handle(call: &mut Call<'_, '_>) -> Outcome {
    let Ok(request) = call.decode::<AlterPartitionReassignmentsRequest>() else { return Outcome::Close };
    call.forward(request, |result| {
        result.unwrap_or_else(|error: ErrorCode| AlterPartitionReassignmentsResponse {
            error_code: error.0,
            error_message: None,
            ..Default::default()
        })
    })
}
