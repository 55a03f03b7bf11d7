//! FindCoordinator, versions 0 to 6: the broker a coordinator is on; from version 4 for several keys (KIP-699). A group's coordinator leads the partition of `__consumer_offsets` the group is on, a transactional id's that of
//! `__transaction_state`; the topic is made when it is first asked for, and until it is there the coordinator is not
//! available. Share coordinators never are. Kafka: `KafkaApis.getCoordinator`.

use super::{Api, Lane};
use crate::broker::Broker;
use crate::call::{Call, Outcome};
use crate::hosts::{OFFSETS_TOPIC, TRANSACTION_TOPIC, group_partition, transaction_partition};
use milena_protocol::messages::find_coordinator_response::Coordinator;
use milena_protocol::messages::{FindCoordinatorRequest, FindCoordinatorResponse};
use milena_protocol::{ApiKey, Text};
use milena_types::{BrokerId, ErrorCode, PartitionIndex};
use std::sync::Arc;

/// The row of the table.
pub(crate) const API: Api = Api { key: ApiKey::FIND_COORDINATOR, lane: Lane::Inline, handle };

const BATCHED_FROM_VERSION: i16 = 4;
const SHARE_FROM_VERSION: i16 = 6;

const KEY_TYPE_GROUP: i8 = 0;
const KEY_TYPE_TRANSACTION: i8 = 1;
const KEY_TYPE_SHARE: i8 = 2;

/// Where a coordinator is.
struct Node {
    id: BrokerId,
    host: Text,
    port: i32,
}

impl Node {
    fn none() -> Node {
        Node { id: BrokerId::NONE, host: Text::default(), port: -1 }
    }
}

fn handle(call: &mut Call<'_, '_>) -> Outcome {
    let Ok(request) = call.decode::<FindCoordinatorRequest>() else { return Outcome::Close };
    let version = call.version();
    if !(KEY_TYPE_GROUP..=KEY_TYPE_SHARE).contains(&request.key_type) {
        // Kafka knows no such coordinator and has no answer.
        return Outcome::Close;
    }
    let listener = Arc::clone(&call.session.peer.listener);
    let find = |key: &Text| find(call.broker, &listener, version, request.key_type, key);
    if version >= BATCHED_FROM_VERSION {
        let coordinators = request.coordinator_keys.iter().map(|key| {
            let (error, node) = find(key);
            Coordinator {
                key: key.clone(),
                error_code: error.0,
                error_message: Some(Text::default()),
                node_id: node.id.0,
                host: node.host,
                port: node.port,
                ..Default::default()
            }
        });
        let response = FindCoordinatorResponse { coordinators: coordinators.collect(), ..Default::default() };
        return call.answer(&response);
    }
    let (error, node) = find(&request.key);
    let message = match error {
        ErrorCode::NONE => "NONE",
        ErrorCode::COORDINATOR_NOT_AVAILABLE => "The coordinator is not available.",
        _ => {
            "This most likely occurs because of a request being malformed by the client library or the message was \
              sent to an incompatible broker. See the broker logs for more details."
        }
    };
    call.answer(&FindCoordinatorResponse {
        error_code: error.0,
        error_message: Some(Text::from_static(message)),
        node_id: node.id.0,
        host: node.host,
        port: node.port,
        ..Default::default()
    })
}

fn find(broker: &Arc<Broker>, listener: &str, version: i16, key_type: i8, key: &Text) -> (ErrorCode, Node) {
    let not_available = (ErrorCode::COORDINATOR_NOT_AVAILABLE, Node::none());
    match key_type {
        KEY_TYPE_SHARE if version < SHARE_FROM_VERSION => return (ErrorCode::INVALID_REQUEST, Node::none()),
        KEY_TYPE_SHARE => return not_available,
        _ => {}
    }
    let (name, index) = if key_type == KEY_TYPE_TRANSACTION {
        (TRANSACTION_TOPIC, transaction_partition(broker, key))
    } else {
        (OFFSETS_TOPIC, group_partition(broker, key))
    };
    let image = broker.image();
    let Some(topic) = image.topics.named(name) else {
        drop(image);
        broker.create_on_use(vec![Text::from_static(name)]);
        return not_available;
    };
    let index = PartitionIndex(index);
    let leader = topic.partition(index).map(|partition| partition.leader);
    let endpoint = leader.and_then(|leader| Some((leader, broker.endpoint_of(leader, listener)?)));
    match endpoint {
        Some((id, (endpoint, _))) => {
            (ErrorCode::NONE, Node { id, host: endpoint.host, port: i32::from(endpoint.port) })
        }
        None => not_available,
    }
}
