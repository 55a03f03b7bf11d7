//! ConsumerGroupHeartbeat, versions 0 and 1 (KIP-848): members join, stay, change what they want and leave with it. From
//! version 1 the member makes its own id, and topics can be given by a regular expression. Refused while
//! `group.version` is 0 or `group.coordinator.rebalance.protocols` has no `consumer`. Kafka:
//! `KafkaApis.handleConsumerGroupHeartbeat`, `GroupCoordinatorService.consumerGroupHeartbeat`.

use super::{Api, Lane};
use crate::broker::Broker;
use crate::call::{Call, Outcome};
use milena_coordinator::group::{GroupReply, GroupRequest, Refusal, check_heartbeat};
use milena_metadata::GROUP_VERSION;
use milena_protocol::ApiKey;
use milena_protocol::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};
use milena_types::ErrorCode;

/// The row of the table.
pub(crate) const API: Api = Api { key: ApiKey::CONSUMER_GROUP_HEARTBEAT, lane: Lane::Coordinator, handle };

/// Whether there may be consumer groups: by the broker's config and by the cluster's feature.
pub(super) fn is_enabled(broker: &Broker) -> bool {
    broker.settings.groups.consumer_protocol_enabled && broker.image().features.level(GROUP_VERSION) > 0
}

fn handle(call: &mut Call<'_, '_>) -> Outcome {
    let Ok(request) = call.decode::<ConsumerGroupHeartbeatRequest>() else { return Outcome::Close };
    let checked = match is_enabled(call.broker) {
        true => check_heartbeat(&request, call.version(), &call.broker.settings.groups.config),
        false => Err(Refusal::from(ErrorCode::UNSUPPORTED_VERSION)),
    };
    if let Err(refusal) = checked {
        let response = ConsumerGroupHeartbeatResponse {
            error_code: refusal.error.0,
            error_message: refusal.message,
            ..Default::default()
        };
        return call.answer(&response);
    }
    call.coordinate(GroupRequest::ConsumerGroupHeartbeat(Box::new(request)), |reply| match reply {
        GroupReply::ConsumerGroupHeartbeat(response) => Some(*response),
        _ => None,
    })
}
