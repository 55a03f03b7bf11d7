//! ElectLeaders (KIP-183, KIP-460), versions 0 to 2: answered by the controller (`controller/elect_leaders`).
//! Kafka: `ControllerApis.handleElectLeaders`.

use super::{Api, Lane};
use crate::call::{Call, Outcome};
use milena_protocol::ApiKey;
use milena_protocol::messages::{ElectLeadersRequest, ElectLeadersResponse};
use milena_types::ErrorCode;

/// The row of the table.
pub(crate) const API: Api = Api { key: ApiKey::ELECT_LEADERS, lane: Lane::Controller, handle };

fn handle(call: &mut Call<'_, '_>) -> Outcome {
    let Ok(request) = call.decode::<ElectLeadersRequest>() else { return Outcome::Close };
    // Version 0 has no place for an error of the whole request.
    let has_error = call.version() > 0;
    call.forward(request, move |result| {
        result.unwrap_or_else(|error: ErrorCode| ElectLeadersResponse {
            error_code: if has_error { error.0 } else { 0 },
            ..Default::default()
        })
    })
}
