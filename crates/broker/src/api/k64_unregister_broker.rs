//! UnregisterBroker (KIP-631), version 0: answered by the controller (`controller/broker_registration`).
//! Kafka: `ControllerApis.handleUnregisterBroker`.

use super::{Api, Lane};
use crate::call::{Call, Outcome};
use milena_protocol::ApiKey;
use milena_protocol::messages::{UnregisterBrokerRequest, UnregisterBrokerResponse};
use milena_types::ErrorCode;

/// The row of the table.
pub(crate) const API: Api = Api { key: ApiKey::UNREGISTER_BROKER, lane: Lane::Controller, handle };

fn handle(call: &mut Call<'_, '_>) -> Outcome {
    let Ok(request) = call.decode::<UnregisterBrokerRequest>() else { return Outcome::Close };
    call.forward(request, |result| {
        let failed = |error: ErrorCode| UnregisterBrokerResponse {
            error_code: error.0,
            error_message: None,
            ..Default::default()
        };
        result.unwrap_or_else(failed)
    })
}
