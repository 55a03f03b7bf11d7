//! UpdateFeatures (KIP-584, KIP-778), versions 0 to 2: answered by the controller (`controller/features`). Versions 0 and 1
//! carry a result for each feature. Kafka: `ControllerApis.handleUpdateFeatures`.

use super::{Api, Lane};
use crate::call::{Call, Outcome};
use milena_protocol::ApiKey;
use milena_protocol::messages::{UpdateFeaturesRequest, UpdateFeaturesResponse};
use milena_types::ErrorCode;

/// The row of the table.
pub(crate) const API: Api = Api { key: ApiKey::UPDATE_FEATURES, lane: Lane::Controller, handle };

/// `FeatureUpdate.UpgradeType.SAFE_DOWNGRADE`.
const SAFE_DOWNGRADE: i8 = 2;

fn handle(call: &mut Call<'_, '_>) -> Outcome {
    let Ok(request) = call.decode::<UpdateFeaturesRequest>() else { return Outcome::Close };
    call.forward(as_newest(request), |result| {
        let failed = |error: ErrorCode| UpdateFeaturesResponse {
            error_code: error.0,
            error_message: None,
            ..Default::default()
        };
        result.unwrap_or_else(failed)
    })
}

/// Version 0 allows a downgrade where later ones name its kind: a controller in another process is asked in the newest.
fn as_newest(mut request: UpdateFeaturesRequest) -> UpdateFeaturesRequest {
    for update in request.feature_updates.iter_mut().filter(|update| update.allow_downgrade) {
        update.allow_downgrade = false;
        update.upgrade_type = SAFE_DOWNGRADE;
    }
    request
}

#[cfg(test)]
mod tests {
    use super::*;
    use milena_protocol::messages::update_features_request::FeatureUpdateKey;

    #[test]
    fn a_downgrade_that_version_0_allows_is_a_safe_one() {
        let update = FeatureUpdateKey { allow_downgrade: true, ..Default::default() };
        let request = UpdateFeaturesRequest { feature_updates: vec![update], ..Default::default() };
        let passed_on = &as_newest(request).feature_updates[0];
        assert_eq!((passed_on.allow_downgrade, passed_on.upgrade_type), (false, SAFE_DOWNGRADE));
    }
}
