//! DescribeCluster (KIP-700, KIP-919, KIP-1073), versions 0 to 2: the brokers that listen where the client asked, from the
//! image. As in Kafka, the "controller" a client is told is a broker: clients cannot reach controllers. From version 1
//! the client says which kind of node it asks; from version 2 fenced brokers are told on request.
//! Kafka: `KafkaApis.handleDescribeCluster`, `AuthHelper.computeDescribeClusterResponse`.

use super::{Api, Lane};
use crate::call::{Call, Outcome};
use milena_metadata::Image;
use milena_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use milena_protocol::messages::{DescribeClusterRequest, DescribeClusterResponse};
use milena_protocol::{ApiKey, Text};
use milena_types::ErrorCode;

/// The row of the table.
pub(crate) const API: Api = Api { key: ApiKey::DESCRIBE_CLUSTER, lane: Lane::Inline, handle };

const ENDPOINT_BROKER: i8 = 1;
const ENDPOINT_CONTROLLER: i8 = 2;

/// What may be done to a cluster when nobody is refused anything, a bit for each `AclOperation`: create, alter, describe,
/// cluster action, describe configs, alter configs, idempotent write.
const CLUSTER_OPERATIONS: i32 = 1 << 5 | 1 << 7 | 1 << 8 | 1 << 9 | 1 << 10 | 1 << 11 | 1 << 12;

fn handle(call: &mut Call<'_, '_>) -> Outcome {
    let Ok(request) = call.decode::<DescribeClusterRequest>() else { return Outcome::Close };
    let cluster_id = &call.broker.settings.cluster_id;
    let response = describe(&request, &call.broker.image(), cluster_id, &call.session.peer.listener);
    call.answer(&response)
}

fn describe(
    request: &DescribeClusterRequest,
    image: &Image,
    cluster_id: &str,
    listener: &str,
) -> DescribeClusterResponse {
    match request.endpoint_type {
        ENDPOINT_BROKER => {}
        ENDPOINT_CONTROLLER => {
            let why =
                "The request was sent to an endpoint of type BROKER, but we wanted an endpoint of type CONTROLLER";
            return refused(ErrorCode::MISMATCHED_ENDPOINT_TYPE, why);
        }
        other => return refused(ErrorCode::UNSUPPORTED_ENDPOINT_TYPE, &format!("Unsupported endpoint type {other}")),
    }
    let brokers =
        image.cluster.brokers.values().filter(|broker| request.include_fenced_brokers || !broker.is_fenced).filter_map(
            |broker| {
                let endpoint = broker.endpoint(listener)?;
                Some(DescribeClusterBroker {
                    broker_id: broker.id.0,
                    host: endpoint.host.clone(),
                    port: i32::from(endpoint.port),
                    rack: broker.rack.clone(),
                    is_fenced: broker.is_fenced,
                    ..Default::default()
                })
            },
        );
    let operations = DescribeClusterResponse::default().cluster_authorized_operations;
    DescribeClusterResponse {
        cluster_id: Text::from(cluster_id),
        controller_id: image.cluster.alive().next().map_or(-1, |broker| broker.id.0),
        brokers: brokers.collect(),
        cluster_authorized_operations: if request.include_cluster_authorized_operations {
            CLUSTER_OPERATIONS
        } else {
            operations
        },
        ..Default::default()
    }
}

fn refused(error: ErrorCode, why: &str) -> DescribeClusterResponse {
    DescribeClusterResponse { error_code: error.0, error_message: Some(why.into()), ..Default::default() }
}

#[cfg(test)]
mod tests {
    use milena_metadata::Delta;
    use milena_protocol::messages::register_broker_record::BrokerEndpoint;
    use milena_protocol::messages::{MetadataRecord, RegisterBrokerRecord};
    use milena_types::{LeaderEpoch, Offset};

    use super::*;

    fn image() -> Image {
        let mut image = Image::default();
        for (id, fenced) in [(1, true), (2, false)] {
            let endpoint =
                |name: &str, port| BrokerEndpoint { name: name.into(), host: "h".into(), port, ..Default::default() };
            let record = RegisterBrokerRecord {
                broker_id: id,
                fenced,
                end_points: vec![endpoint("PLAINTEXT", 9092), endpoint("OTHER", 9094)],
                ..Default::default()
            };
            let record = MetadataRecord::RegisterBroker(record);
            image.replay(&record, Offset(0), LeaderEpoch(0), &mut Delta::default()).unwrap();
        }
        image
    }

    #[test]
    fn brokers_are_told_at_the_listener_the_client_used() {
        let mut request = DescribeClusterRequest { endpoint_type: 1, ..Default::default() };
        let response = describe(&request, &image(), "id", "OTHER");
        assert_eq!((response.brokers.len(), response.brokers[0].port, response.controller_id), (1, 9094, 2));
        assert_eq!(response.cluster_authorized_operations, i32::MIN);
        request.include_fenced_brokers = true;
        request.include_cluster_authorized_operations = true;
        let response = describe(&request, &image(), "id", "PLAINTEXT");
        assert_eq!(response.brokers.iter().map(|broker| broker.is_fenced).collect::<Vec<_>>(), [true, false]);
        assert_eq!(response.cluster_authorized_operations, 0b1_1111_1010_0000);
    }

    #[test]
    fn a_client_that_wants_a_controller_is_told_so() {
        let ask = |endpoint_type| {
            let request = DescribeClusterRequest { endpoint_type, ..Default::default() };
            describe(&request, &image(), "id", "PLAINTEXT").error_code
        };
        assert_eq!(ask(2), ErrorCode::MISMATCHED_ENDPOINT_TYPE.0);
        assert_eq!(ask(7), ErrorCode::UNSUPPORTED_ENDPOINT_TYPE.0);
    }
}
