//! ListConfigResources (KIP-714, KIP-1142), versions 0 and 1: what configs can be described of, from the image. Version 0
//! only knows subscriptions of client metrics. Kafka: `KafkaApis.handleListConfigResources`.

use super::{Api, Lane};
use crate::call::{Call, Outcome};
use milena_metadata::{ConfigResource, Image};
use milena_protocol::messages::list_config_resources_response::ConfigResource as Listed;
use milena_protocol::messages::{ListConfigResourcesRequest, ListConfigResourcesResponse};
use milena_protocol::{ApiKey, Text};
use milena_types::ErrorCode;

/// The row of the table.
pub(crate) const API: Api = Api { key: ApiKey::LIST_CONFIG_RESOURCES, lane: Lane::Inline, handle };

/// Every type there is, in the order of their numbers.
const ALL: [i8; 5] = [
    ConfigResource::TOPIC,
    ConfigResource::BROKER,
    ConfigResource::BROKER_LOGGER,
    ConfigResource::CLIENT_METRICS,
    ConfigResource::GROUP,
];

fn handle(call: &mut Call<'_, '_>) -> Outcome {
    let Ok(request) = call.decode::<ListConfigResourcesRequest>() else { return Outcome::Close };
    let kinds = match (call.version(), request.resource_types.as_slice()) {
        (0, _) => &[ConfigResource::CLIENT_METRICS],
        (_, []) => ALL.as_slice(),
        (_, kinds) => kinds,
    };
    call.answer(&list(kinds, &call.broker.image()))
}

fn list(kinds: &[i8], image: &Image) -> ListConfigResourcesResponse {
    if kinds.iter().any(|kind| !ALL.contains(kind)) {
        let error_code = ErrorCode::UNSUPPORTED_VERSION.0;
        return ListConfigResourcesResponse { error_code, ..Default::default() };
    }
    let wanted = ALL.into_iter().filter(|kind| kinds.contains(kind));
    let config_resources = wanted.flat_map(|kind| {
        let listed = move |resource_name: Text| Listed { resource_name, resource_type: kind, ..Default::default() };
        names(kind, image).into_iter().map(listed)
    });
    ListConfigResourcesResponse { config_resources: config_resources.collect(), ..Default::default() }
}

/// Topics and brokers always have configs; groups and subscriptions are known by theirs.
fn names(kind: i8, image: &Image) -> Vec<Text> {
    match kind {
        ConfigResource::TOPIC => image.topics.iter().map(|topic| topic.name.clone()).collect(),
        ConfigResource::BROKER | ConfigResource::BROKER_LOGGER => {
            image.cluster.alive().map(|broker| Text::from(broker.id.to_string())).collect()
        }
        _ => {
            let of_kind = image.configs.iter().filter(|(resource, _)| resource.kind == kind);
            of_kind.map(|(resource, _)| resource.name.clone()).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use milena_metadata::Delta;
    use milena_protocol::messages::{ConfigRecord, MetadataRecord, RegisterBrokerRecord, TopicRecord};
    use milena_types::{LeaderEpoch, Offset};

    use super::*;

    #[test]
    fn resources_are_listed_by_the_types_asked_for() {
        let mut image = Image::default();
        let group = ConfigRecord {
            resource_type: 32,
            resource_name: "g".into(),
            name: "k".into(),
            value: Some("v".into()),
            ..Default::default()
        };
        let records = [
            MetadataRecord::Topic(TopicRecord { name: "t".into(), ..Default::default() }),
            MetadataRecord::RegisterBroker(RegisterBrokerRecord { broker_id: 1, fenced: false, ..Default::default() }),
            MetadataRecord::Config(group),
        ];
        for record in &records {
            image.replay(record, Offset(0), LeaderEpoch(0), &mut Delta::default()).unwrap();
        }
        let listed = |kinds: &[i8]| {
            let response = list(kinds, &image);
            let pair = |listed: &Listed| (listed.resource_type, listed.resource_name.to_string());
            response.config_resources.iter().map(pair).collect::<Vec<_>>()
        };
        let pair = |kind, name: &str| (kind, name.to_owned());
        assert_eq!(listed(&ALL), [pair(2, "t"), pair(4, "1"), pair(8, "1"), pair(32, "g")]);
        assert_eq!(listed(&[32]), [pair(32, "g")]);
        assert_eq!(list(&[3], &image).error_code, ErrorCode::UNSUPPORTED_VERSION.0);
    }
}
