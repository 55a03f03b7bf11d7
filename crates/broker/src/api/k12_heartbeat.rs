//! Heartbeat, versions 0 to 4: a member of a classic group is alive, and learns whether it has to join again. Kafka:
//! `KafkaApis.handleHeartbeatRequest`, `GroupMetadataManager.classicGroupHeartbeat`.

use super::{Api, Lane};
use crate::call::{Call, Outcome};
use milena_coordinator::group::{GroupReply, GroupRequest};
use milena_protocol::ApiKey;
use milena_protocol::messages::HeartbeatRequest;

/// The row of the table.
pub(crate) const API: Api = Api { key: ApiKey::HEARTBEAT, lane: Lane::Coordinator, handle };

fn handle(call: &mut Call<'_, '_>) -> Outcome {
    let Ok(request) = call.decode::<HeartbeatRequest>() else { return Outcome::Close };
    call.coordinate(GroupRequest::Heartbeat(request), |reply| match reply {
        GroupReply::Heartbeat(response) => Some(response),
        _ => None,
    })
}
