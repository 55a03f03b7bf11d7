//! SyncGroup, versions 0 to 5: the leader of a generation brings the assignment, everyone gets its part. From version 5
//! the protocol must be named (KIP-559). Kafka: `KafkaApis.handleSyncGroupRequest`, `GroupMetadataManager.classicGroupSync`.

use super::{Api, Lane};
use crate::call::{Call, Outcome};
use milena_coordinator::group::{GroupReply, GroupRequest};
use milena_protocol::ApiKey;
use milena_protocol::messages::{SyncGroupRequest, SyncGroupResponse};
use milena_types::ErrorCode;

/// The row of the table.
pub(crate) const API: Api = Api { key: ApiKey::SYNC_GROUP, lane: Lane::Coordinator, handle };

const PROTOCOL_FROM_VERSION: i16 = 5;

fn handle(call: &mut Call<'_, '_>) -> Outcome {
    let Ok(request) = call.decode::<SyncGroupRequest>() else { return Outcome::Close };
    let is_named = request.protocol_type.is_some() && request.protocol_name.is_some();
    if call.version() >= PROTOCOL_FROM_VERSION && !is_named {
        let error_code = ErrorCode::INCONSISTENT_GROUP_PROTOCOL.0;
        return call.answer(&SyncGroupResponse { error_code, ..Default::default() });
    }
    call.coordinate(GroupRequest::SyncGroup(Box::new(request)), |reply| match reply {
        GroupReply::SyncGroup(response) => Some(*response),
        _ => None,
    })
}
