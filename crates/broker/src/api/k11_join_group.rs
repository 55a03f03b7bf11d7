//! JoinGroup, versions 0 to 9: a member joins a classic group and is answered when the generation is complete. From version
//! 4 a new member first gets its id (KIP-394), from 5 there are static members (KIP-345), from 9 their leader may keep
//! the assignment (KIP-814). Kafka: `KafkaApis.handleJoinGroupRequest`, `GroupMetadataManager.classicGroupJoin`.

use super::{Api, Lane};
use crate::call::{Call, Outcome};
use milena_coordinator::group::{GroupReply, GroupRequest};
use milena_protocol::ApiKey;
use milena_protocol::messages::JoinGroupRequest;

/// The row of the table.
pub(crate) const API: Api = Api { key: ApiKey::JOIN_GROUP, lane: Lane::Coordinator, handle };

/// From this version on there can be no protocol.
const NO_PROTOCOL_FROM_VERSION: i16 = 7;

fn handle(call: &mut Call<'_, '_>) -> Outcome {
    let Ok(mut request) = call.decode::<JoinGroupRequest>() else { return Outcome::Close };
    let version = call.version();
    if version == 0 {
        // It had one timeout for both.
        request.rebalance_timeout_ms = request.session_timeout_ms;
    }
    call.coordinate(GroupRequest::JoinGroup(Box::new(request)), move |reply| {
        let GroupReply::JoinGroup(mut response) = reply else { return None };
        // Without a protocol the name is empty, or since there is a way to say so, not there.
        let name = response.protocol_name.take().filter(|name| !name.is_empty());
        response.protocol_name = if version < NO_PROTOCOL_FROM_VERSION { Some(name.unwrap_or_default()) } else { name };
        Some(*response)
    })
}
