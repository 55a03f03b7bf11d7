//! UpdateFeatures (KIP-584, KIP-778), versions 0 to 2: answered by the controller (`controller/features`). Versions 0 and 1
//! carry a result for each feature. Kafka: `ControllerApis.handleUpdateFeatures`.

use super::{Api, Lane};
use crate::call::{Call, Outcome};
use milena_protocol::ApiKey;
use milena_protocol::messages::{UpdateFeaturesRequest, UpdateFeaturesResponse};
use milena_types::ErrorCode;

/// The row of the table.
pub(crate) const API: Api = Api { key: ApiKey::UPDATE_FEATURES, lane: Lane::Controller, handle };

fn handle(call: &mut Call<'_, '_>) -> Outcome {
    let Ok(request) = call.decode::<UpdateFeaturesRequest>() else { return Outcome::Close };
    call.forward(request, |result| {
        let failed = |error: ErrorCode| UpdateFeaturesResponse {
            error_code: error.0,
            error_message: None,
            ..Default::default()
        };
        result.unwrap_or_else(failed)
    })
}
