//! ApiVersions (KIP-35, KIP-511, KIP-584), versions 0 to 4: what this broker serves, computed from the table, and its
//! features. A version we do not know is answered as version 0 with UNSUPPORTED_VERSION and the versions of ApiVersions
//! itself, so that any client can go on. Kafka: `KafkaApis.handleApiVersionsRequest`, `ApiVersionsRequest`.

use super::{Api, Lane, apis};
use crate::call::{Call, Outcome};
use milena_protocol::messages::api_versions_response::ApiVersion;
use milena_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse};
use milena_protocol::{ApiKey, encode_response};
use milena_types::ErrorCode;

/// The row of the table.
pub(crate) const API: Api = Api { key: ApiKey::API_VERSIONS, lane: Lane::Inline, handle };

fn handle(call: &mut Call<'_, '_>) -> Outcome {
    let Ok(request) = call.decode::<ApiVersionsRequest>() else { return Outcome::Close };
    if call.version() >= 3
        && !(is_software_name(&request.client_software_name) && is_software_name(&request.client_software_version))
    {
        return call.answer(&ApiVersionsResponse { error_code: ErrorCode::INVALID_REQUEST.0, ..Default::default() });
    }
    let response = ApiVersionsResponse {
        api_keys: apis().iter().map(row).collect(),
        finalized_features_epoch: -1,
        ..Default::default()
    };
    call.answer(&response)
}

/// The answer to a version of ApiVersions that is not served.
pub(crate) fn unsupported(call: &Call<'_, '_>) -> Outcome {
    let response = ApiVersionsResponse {
        error_code: ErrorCode::UNSUPPORTED_VERSION.0,
        api_keys: vec![row(&API)],
        ..Default::default()
    };
    match encode_response(ApiKey::API_VERSIONS, 0, call.header.correlation_id, &response) {
        Ok(segments) => Outcome::Ready(segments),
        Err(_) => Outcome::Close,
    }
}

fn row(api: &Api) -> ApiVersion {
    let versions = api.versions();
    ApiVersion {
        api_key: api.key.0,
        min_version: *versions.start(),
        max_version: *versions.end(),
        ..Default::default()
    }
}

/// Letters, digits, `-` and `.`, beginning and ending with a letter or digit (`ApiVersionsRequest.isValid`).
fn is_software_name(text: &str) -> bool {
    let bytes = text.as_bytes();
    let alphanumeric = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    alphanumeric(bytes.first())
        && alphanumeric(bytes.last())
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::is_software_name;

    #[test]
    fn software_names_are_checked_as_kafka_does() {
        for good in ["apache-kafka-java", "4.3.1", "a", "librdkafka", "2.0-beta.1"] {
            assert!(is_software_name(good), "{good}");
        }
        for bad in ["", "-a", "a-", "a b", "a_b", "ä"] {
            assert!(!is_software_name(bad), "{bad}");
        }
    }
}
