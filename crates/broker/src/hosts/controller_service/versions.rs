//! What a controller listener says it serves.

use std::ops::RangeInclusive;

use milena_network::Replies;
use milena_protocol::messages::api_versions_response::ApiVersion;
use milena_protocol::messages::{self, ApiVersionsRequest, ApiVersionsResponse};
use milena_protocol::{ApiKey, Message, Reader, RequestHeader, encode_response};
use milena_types::ErrorCode;

use super::Unreadable;
use crate::api::k18_api_versions::is_told_who_asks;

/// The keys a controller listener serves.
const SERVED: &[ApiKey] = &[
    ApiKey::FETCH,
    ApiKey::API_VERSIONS,
    ApiKey::CREATE_TOPICS,
    ApiKey::DELETE_TOPICS,
    ApiKey::ALTER_CONFIGS,
    ApiKey::CREATE_PARTITIONS,
    ApiKey::ELECT_LEADERS,
    ApiKey::INCREMENTAL_ALTER_CONFIGS,
    ApiKey::ALTER_PARTITION_REASSIGNMENTS,
    ApiKey::LIST_PARTITION_REASSIGNMENTS,
    ApiKey::VOTE,
    ApiKey::BEGIN_QUORUM_EPOCH,
    ApiKey::END_QUORUM_EPOCH,
    ApiKey::DESCRIBE_QUORUM,
    ApiKey::ALTER_PARTITION,
    ApiKey::UPDATE_FEATURES,
    ApiKey::ENVELOPE,
    ApiKey::FETCH_SNAPSHOT,
    ApiKey::DESCRIBE_CLUSTER,
    ApiKey::BROKER_REGISTRATION,
    ApiKey::BROKER_HEARTBEAT,
    ApiKey::UNREGISTER_BROKER,
    ApiKey::ALLOCATE_PRODUCER_IDS,
    ApiKey::CONTROLLER_REGISTRATION,
    ApiKey::ASSIGN_REPLICAS_TO_DIRS,
    ApiKey::ADD_RAFT_VOTER,
    ApiKey::REMOVE_RAFT_VOTER,
    ApiKey::UPDATE_RAFT_VOTER,
];

/// The stable versions of a key that is served here; empty otherwise.
#[expect(clippy::reversed_empty_ranges, reason = "the empty range")]
pub(super) fn served(key: ApiKey) -> RangeInclusive<i16> {
    match key.info() {
        Some(info) if SERVED.contains(&key) => info.min_version..=info.max_stable_version(),
        _ => 0..=-1,
    }
}

fn version_row(key: ApiKey) -> ApiVersion {
    let versions = served(key);
    ApiVersion { api_key: key.0, min_version: *versions.start(), max_version: *versions.end(), ..Default::default() }
}

pub(super) fn answer_versions(
    header: &RequestHeader,
    body: &mut Reader,
    replies: &mut Replies<'_>,
) -> Result<(), Unreadable> {
    let request = ApiVersionsRequest::decode(body, header.api_version).map_err(|_| Unreadable)?;
    if !is_told_who_asks(&request, header.api_version) {
        let response = ApiVersionsResponse { error_code: ErrorCode::INVALID_REQUEST.0, ..Default::default() };
        let encoded = encode_response(ApiKey::API_VERSIONS, header.api_version, header.correlation_id, &response);
        replies.ready(encoded.map_err(|_| Unreadable)?);
        return Ok(());
    }
    let feature = |(name, min, max): (&'static str, i16, i16)| messages::api_versions_response::SupportedFeatureKey {
        name: milena_protocol::Text::from_static(name),
        min_version: min,
        max_version: max,
        ..Default::default()
    };
    let response = ApiVersionsResponse {
        api_keys: SERVED.iter().map(|key| version_row(*key)).collect(),
        supported_features: milena_metadata::supported_features().map(feature).collect(),
        finalized_features_epoch: -1,
        ..Default::default()
    };
    let key = ApiKey::API_VERSIONS;
    let segments =
        encode_response(key, header.api_version, header.correlation_id, &response).map_err(|_| Unreadable)?;
    replies.ready(segments);
    Ok(())
}

/// A client learns from version 0 which versions there are (KIP-511).
pub(super) fn unsupported_version(header: &RequestHeader, replies: &mut Replies<'_>) -> Result<(), Unreadable> {
    let response = ApiVersionsResponse {
        error_code: ErrorCode::UNSUPPORTED_VERSION.0,
        api_keys: vec![version_row(ApiKey::API_VERSIONS)],
        ..Default::default()
    };
    let segments =
        encode_response(ApiKey::API_VERSIONS, 0, header.correlation_id, &response).map_err(|_| Unreadable)?;
    replies.ready(segments);
    Ok(())
}
