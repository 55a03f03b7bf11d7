//! JoinGroup, versions 0 to 9: a member joins a classic group and is answered when the generation is complete. From version
//! 4 a new member first gets its id (KIP-394), from 5 there are static members (KIP-345), from 9 their leader may keep
//! the assignment (KIP-814). Kafka: `KafkaApis.handleJoinGroupRequest`, `GroupMetadataManager.classicGroupJoin`.

use super::{Api, Lane};
use crate::call::{Call, Outcome};
use milena_coordinator::group::{GroupReply, GroupRequest};
use milena_protocol::messages::JoinGroupRequest;
use milena_protocol::{ApiKey, Text};

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
        if version < NO_PROTOCOL_FROM_VERSION && response.protocol_name.is_none() {
            response.protocol_name = Some(Text::default());
        }
        Some(*response)
    })
}
