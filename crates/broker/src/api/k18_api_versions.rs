//! ApiVersions (KIP-35, KIP-511, KIP-584), versions 0 to 4: what this broker serves, computed from the table, and its
//! features. A version we do not know is answered as version 0 with UNSUPPORTED_VERSION and the versions of ApiVersions
//! itself, so that any client can go on. Kafka: `KafkaApis.handleApiVersionsRequest`, `ApiVersionsRequest`.

use super::{Api, Lane, apis};
use crate::call::{Call, Outcome};
use milena_metadata::{Features, KRAFT_VERSION, METADATA_VERSION, supported_features};
use milena_protocol::messages::api_versions_response::{ApiVersion, FinalizedFeatureKey, SupportedFeatureKey};
use milena_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse};
use milena_protocol::{ApiKey, Text, encode_response};
use milena_types::ErrorCode;

/// The row of the table.
pub(crate) const API: Api = Api { key: ApiKey::API_VERSIONS, lane: Lane::Inline, handle };

/// librdkafka turns compression off where it is not told of Produce 0, so Kafka tells of versions it refuses (KAFKA-18659).
const PRODUCE_MIN_TOLD: i16 = 0;

fn handle(call: &mut Call<'_, '_>) -> Outcome {
    let Ok(request) = call.decode::<ApiVersionsRequest>() else { return Outcome::Close };
    if !is_told_who_asks(&request, call.version()) {
        return call.answer(&ApiVersionsResponse { error_code: ErrorCode::INVALID_REQUEST.0, ..Default::default() });
    }
    let image = call.broker.image();
    let response = ApiVersionsResponse {
        api_keys: apis().iter().map(row).collect(),
        supported_features: supported(call.version()),
        finalized_features_epoch: image.offset.0,
        finalized_features: finalized(&image.features, call.broker.kraft_version()),
        ..Default::default()
    };
    call.answer(&response)
}

/// Whether the request names the client's software, as it must from version 3 on.
pub(crate) fn is_told_who_asks(request: &ApiVersionsRequest, version: i16) -> bool {
    let named = is_software_name(&request.client_software_name) && is_software_name(&request.client_software_version);
    version < 3 || named
}

/// Clients before version 4 cannot read a feature whose lowest level is 0 (KAFKA-17492).
fn supported(version: i16) -> Vec<SupportedFeatureKey> {
    supported_features()
        .filter(|(_, min, _)| version >= 4 || *min > 0)
        .map(|(name, min_version, max_version)| SupportedFeatureKey {
            name: Text::from_static(name),
            min_version,
            max_version,
            ..Default::default()
        })
        .collect()
}

fn finalized(features: &Features, kraft_version: i16) -> Vec<FinalizedFeatureKey> {
    let others = features.levels.iter().map(|(name, level)| (name.clone(), *level));
    others
        .chain([(Text::from_static(KRAFT_VERSION), kraft_version)])
        .filter(|(_, level)| *level > 0)
        .chain([(Text::from_static(METADATA_VERSION), features.metadata_version.level())])
        .map(|(name, level)| FinalizedFeatureKey {
            name,
            max_version_level: level,
            min_version_level: level,
            ..Default::default()
        })
        .collect()
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
        min_version: if api.key == ApiKey::PRODUCE { PRODUCE_MIN_TOLD } else { *versions.start() },
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
