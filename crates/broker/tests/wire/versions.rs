//! Every version of every key that is advertised is answered, and nothing else is.

use crate::client::{TestNode, answers, batch, produce_request, producer_id_request};
use crate::fetch::fetch_request;
use crate::offsets::list_offsets;
use milena_protocol::messages::{
    ApiVersionsRequest, FetchRequest, InitProducerIdRequest, ListOffsetsRequest, MetadataRequest, ProduceRequest,
};
use milena_protocol::{ApiKey, api_keys};
use milena_types::ErrorCode;

#[test]
fn advertised_versions_are_the_tables() {
    let node = TestNode::start(&[]);
    let mut client = node.connect();
    let request = ApiVersionsRequest {
        client_software_name: "wire-test".into(),
        client_software_version: "1.0".into(),
        ..Default::default()
    };
    for version in 0..=4 {
        let response = client.call(version, &request);
        assert_eq!(response.error_code, 0);
        let advertised: Vec<_> = response.api_keys.iter().map(|row| row.api_key).collect();
        let served: Vec<_> = milena_broker::apis().iter().map(|api| api.key.0).collect();
        assert_eq!(advertised, served);
        for row in &response.api_keys {
            let info = api_keys::TABLE.iter().find(|info| info.key.0 == row.api_key).unwrap();
            // Produce is told from version 0 on, as librdkafka wants it; what it serves begins later.
            let min = if info.key == ApiKey::PRODUCE { 0 } else { info.min_version };
            assert_eq!((row.min_version, row.max_version), (min, info.max_stable_version()));
        }
        let zero_minimum = response.supported_features.iter().any(|feature| feature.min_version == 0);
        assert!(version >= 4 || !zero_minimum, "clients before version 4 cannot read them");
    }
    let features = client.call(4, &request).finalized_features;
    assert!(features.iter().any(|feature| &*feature.name == "metadata.version" && feature.max_version_level > 0));
    let nameless = client.call(3, &ApiVersionsRequest::default());
    assert_eq!(ErrorCode(nameless.error_code), ErrorCode::INVALID_REQUEST);
}

#[test]
fn the_data_path_answers_in_every_version() {
    let node = TestNode::start(&[]);
    let mut client = node.connect();
    let id = client.create_topic("every", 1, &[]);
    let all = |key: ApiKey| milena_broker::apis().iter().find(|api| api.key == key).unwrap().versions();
    answers::<ProduceRequest>(&mut client, all(ApiKey::PRODUCE), |version| {
        let mut request = produce_request("every", 1, vec![(0, batch(&["a"]))]);
        if version >= 13 {
            request.topic_data[0].name = "".into();
            request.topic_data[0].topic_id = id;
        }
        request
    });
    let mut fetched = 0;
    for version in all(ApiKey::FETCH) {
        let mut request = fetch_request("every", 0, 0);
        if version >= 13 {
            request.topics[0].topic = "".into();
            request.topics[0].topic_id = id;
        }
        if version >= 15 {
            request.replica_id = FetchRequest::default().replica_id;
        }
        let response = client.call(version, &request);
        assert_eq!(response.responses[0].partitions[0].error_code, 0, "version {version}");
        fetched = response.responses[0].partitions[0].high_watermark;
    }
    assert_eq!(fetched, all(ApiKey::PRODUCE).count() as i64);
    answers::<ListOffsetsRequest>(&mut client, all(ApiKey::LIST_OFFSETS), |_| list_offsets("every", -1));
    for topics in [None, Some(Vec::new())] {
        answers::<MetadataRequest>(&mut client, all(ApiKey::METADATA), |version| MetadataRequest {
            topics: if version == 0 { Some(Vec::new()) } else { topics.clone() },
            ..Default::default()
        });
    }
    answers::<InitProducerIdRequest>(&mut client, all(ApiKey::INIT_PRODUCER_ID), |_| producer_id_request());
}
