//! What DescribeConfigs answers, compared with Apache Kafka 4.3.1's answers to the same configs.

use milena_metadata::{ConfigResource, Delta, Image};
use milena_protocol::Text;
use milena_protocol::messages::describe_configs_request::DescribeConfigsResource;
use milena_protocol::messages::describe_configs_response::DescribeConfigsResourceResult;
use milena_protocol::messages::{ConfigRecord, DescribeConfigsRequest, MetadataRecord, TopicRecord};
use milena_types::{BrokerId, LeaderEpoch, Offset, Uuid};

use crate::describe_configs::{ConfigView, INVALID_REQUEST_TEXT};

fn image(configs: &[(i8, &str, &str, &str)]) -> Image {
    let mut image = Image::default();
    let mut delta = Delta::default();
    let topic = TopicRecord { name: "a.b".into(), topic_id: Uuid([3; 16]), ..TopicRecord::default() };
    image.replay(&MetadataRecord::Topic(topic), Offset(0), LeaderEpoch(0), &mut delta).unwrap();
    for (kind, resource, name, value) in configs {
        let record = ConfigRecord {
            resource_type: *kind,
            resource_name: Text::from(*resource),
            name: Text::from(*name),
            value: Some(Text::from(*value)),
            ..ConfigRecord::default()
        };
        image.replay(&MetadataRecord::Config(record), Offset(1), LeaderEpoch(0), &mut delta).unwrap();
    }
    image
}

/// Entries as `name=value source synonym=value source ...`.
fn described(image: &Image, kind: i8, name: &str, keys: &[&str]) -> Vec<String> {
    let text = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let texts = [text("log.segment.delete.delay.ms", "100"), text("node.id", "1")].into();
    let view = ConfigView::new(image, BrokerId(1), &texts);
    let resource = DescribeConfigsResource {
        resource_type: kind,
        resource_name: Text::from(name),
        configuration_keys: (!keys.is_empty()).then(|| keys.iter().map(|key| Text::from(*key)).collect()),
        ..DescribeConfigsResource::default()
    };
    let request = DescribeConfigsRequest { resources: vec![resource], include_synonyms: true, ..Default::default() };
    let response = view.describe(&request);
    let [result] = response.results.as_slice() else { panic!("one result") };
    if result.error_code != 0 {
        return vec![format!("{} {}", result.error_code, result.error_message.as_ref().unwrap())];
    }
    let line = |entry: &DescribeConfigsResourceResult| {
        let value = |text: &Option<Text>| text.as_ref().map_or("null".to_owned(), ToString::to_string);
        let mut line = format!("{}={} {}", entry.name, value(&entry.value), entry.config_source);
        for synonym in &entry.synonyms {
            line += &format!(", {}={} {}", synonym.name, value(&synonym.value), synonym.source);
        }
        line
    };
    result.configs.iter().map(line).collect()
}

#[test]
fn a_topics_configs_name_their_layers_as_kafka_does() {
    let image = image(&[
        (ConfigResource::TOPIC, "a.b", "retention.ms", "5"),
        (ConfigResource::TOPIC, "a.b", "cleanup.policy", "compact,delete"),
        (ConfigResource::BROKER, "", "log.retention.ms", "100000"),
        (ConfigResource::BROKER, "", "min.insync.replicas", "1"),
    ]);
    let keys = [
        "retention.ms",
        "cleanup.policy",
        "min.insync.replicas",
        "file.delete.delay.ms",
        "flush.ms",
        "segment.ms",
        "min.cleanable.dirty.ratio",
    ];
    assert_eq!(
        described(&image, ConfigResource::TOPIC, "a.b", &keys),
        [
            "cleanup.policy=compact,delete 1, cleanup.policy=compact,delete 1, log.cleanup.policy=delete 5",
            "file.delete.delay.ms=100 4, log.segment.delete.delay.ms=100 4, log.segment.delete.delay.ms=60000 5",
            "flush.ms=9223372036854775807 5",
            "min.cleanable.dirty.ratio=0.5 5, log.cleaner.min.cleanable.ratio=0.5 5",
            "min.insync.replicas=1 3, min.insync.replicas=1 3, min.insync.replicas=1 5",
            "retention.ms=5 1, retention.ms=5 1, log.retention.ms=100000 3, log.retention.hours=168 5",
            "segment.ms=604800000 5",
        ]
    );
    assert_eq!(described(&image, ConfigResource::TOPIC, "a.b", &[]).len(), 33);
}

#[test]
fn a_brokers_configs_name_their_layers_as_kafka_does() {
    let image = image(&[
        (ConfigResource::BROKER, "1", "log.cleaner.threads", "2"),
        (ConfigResource::BROKER, "", "log.retention.ms", "100000"),
        (ConfigResource::BROKER, "1", "foo.bar", "secret"),
    ]);
    let keys = ["broker.id", "log.cleaner.threads", "log.segment.delete.delay.ms", "log.flush.interval.ms", "foo.bar"];
    assert_eq!(
        described(&image, ConfigResource::BROKER, "1", &keys),
        [
            "broker.id=1 4, broker.id=1 4, broker.id=-1 5",
            "foo.bar=null 2, foo.bar=null 2",
            "log.cleaner.threads=2 2, log.cleaner.threads=2 2, log.cleaner.threads=1 5",
            "log.flush.interval.ms=null 5",
            "log.segment.delete.delay.ms=100 4, log.segment.delete.delay.ms=100 4, \
             log.segment.delete.delay.ms=60000 5",
        ]
    );
    assert_eq!(
        described(&image, ConfigResource::BROKER, "", &[]),
        ["log.retention.ms=100000 3, log.retention.ms=100000 3"]
    );
}

#[test]
fn groups_and_subscriptions_fall_back_to_the_broker_and_to_defaults() {
    let image = image(&[
        (ConfigResource::GROUP, "g", "consumer.session.timeout.ms", "50000"),
        (ConfigResource::CLIENT_METRICS, "g", "interval.ms", "1000"),
    ]);
    let keys = ["consumer.session.timeout.ms", "consumer.heartbeat.interval.ms", "share.auto.offset.reset"];
    assert_eq!(
        described(&image, ConfigResource::GROUP, "g", &keys),
        [
            "consumer.heartbeat.interval.ms=5000 5, group.consumer.heartbeat.interval.ms=5000 5",
            "consumer.session.timeout.ms=50000 8, consumer.session.timeout.ms=50000 8, \
             group.consumer.session.timeout.ms=45000 5",
            "share.auto.offset.reset=latest 5, share.auto.offset.reset=latest 5",
        ]
    );
    assert_eq!(
        described(&image, ConfigResource::CLIENT_METRICS, "g", &[]),
        ["interval.ms=1000 7, interval.ms=1000 7", "match= 5", "metrics= 5"]
    );
}

#[test]
fn what_cannot_be_described_is_refused_in_kafkas_words() {
    let image = image(&[]);
    let cases = [
        (ConfigResource::TOPIC, "zz", "3 "),
        (ConfigResource::BROKER, "x", "42 Broker id must be an integer, but it is: x"),
        (ConfigResource::BROKER, "9", "42 Unexpected broker id, expected 1 or empty string, but received 9"),
        (ConfigResource::BROKER_LOGGER, "", "42 Broker id must not be empty"),
        (ConfigResource::GROUP, "", "42 Group name must not be empty"),
        (ConfigResource::CLIENT_METRICS, "", "42 Client metrics subscription name must not be empty"),
        (1, "q", &format!("42 {INVALID_REQUEST_TEXT}")),
    ];
    for (kind, name, text) in cases {
        assert_eq!(described(&image, kind, name, &[]), [text]);
    }
}
