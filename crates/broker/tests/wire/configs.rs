//! Configs that change while the node runs: of a topic, of this broker, of all brokers. Each change is seen by its effect.

use crate::client::{Client, TestNode, batch, batch_at, now};
use crate::fetch::fetch_request;
use crate::offsets::list_offsets;
use milena_protocol::Records;
use milena_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use milena_protocol::messages::{DeleteTopicsRequest, IncrementalAlterConfigsRequest};
use milena_records::BatchHeader;
use milena_types::ErrorCode;

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const SET: i8 = 0;
const DELETE: i8 = 1;

fn alter(client: &mut Client, kind: i8, name: &str, operation: i8, key: &str, value: &str) -> (ErrorCode, String) {
    let config = AlterableConfig {
        name: key.into(),
        config_operation: operation,
        value: (operation == SET).then(|| value.into()),
        ..Default::default()
    };
    let resource = AlterConfigsResource {
        resource_type: kind,
        resource_name: name.into(),
        configs: vec![config],
        ..Default::default()
    };
    let request = IncrementalAlterConfigsRequest { resources: vec![resource], ..Default::default() };
    let response = client.call(1, &request).responses.remove(0);
    (ErrorCode(response.error_code), response.error_message.map(|text| text.to_string()).unwrap_or_default())
}

fn set(client: &mut Client, kind: i8, name: &str, key: &str, value: &str) {
    assert_eq!(alter(client, kind, name, SET, key, value), (ErrorCode::NONE, String::new()), "{key}={value}");
}

fn unset(client: &mut Client, kind: i8, name: &str, key: &str) {
    assert_eq!(alter(client, kind, name, DELETE, key, ""), (ErrorCode::NONE, String::new()), "{key}");
}

fn produce(client: &mut Client, value: &str) -> ErrorCode {
    ErrorCode(client.produce("t", 0, batch(&[value])).error_code)
}

/// The header of the last batch.
fn last_batch(client: &mut Client, offset: i64) -> BatchHeader {
    let response = client.call(11, &fetch_request("t", 0, offset));
    let Some(Records::Bytes(bytes)) = &response.responses[0].partitions[0].records else { panic!("{response:?}") };
    BatchHeader::parse(bytes).unwrap()
}

#[test]
fn a_topics_configs_take_effect_at_once_and_go_back() {
    let node = TestNode::start(&[]);
    let mut client = node.connect();
    client.create_topic("t", 1, &[]);
    set(&mut client, TOPIC, "t", "max.message.bytes", "100");
    assert_eq!(produce(&mut client, &"x".repeat(200)), ErrorCode::MESSAGE_TOO_LARGE);
    unset(&mut client, TOPIC, "t", "max.message.bytes");
    assert_eq!(produce(&mut client, &"x".repeat(200)), ErrorCode::NONE);

    // More in-sync replicas than there are replicas are not asked for (`Partition.effectiveMinIsr`).
    set(&mut client, TOPIC, "t", "min.insync.replicas", "2");
    assert_eq!(produce(&mut client, "a"), ErrorCode::NONE);
    unset(&mut client, TOPIC, "t", "min.insync.replicas");

    set(&mut client, TOPIC, "t", "compression.type", "zstd");
    let offset = client.produce("t", 0, batch(&["a"])).base_offset;
    assert_eq!(last_batch(&mut client, offset).attributes & 7, 4, "zstd");
    unset(&mut client, TOPIC, "t", "compression.type");

    set(&mut client, TOPIC, "t", "message.timestamp.type", "LogAppendTime");
    let answer = client.produce("t", 0, batch_at(1, &["a"]));
    assert!(answer.log_append_time_ms >= now() - 60_000, "{answer:?}");
    unset(&mut client, TOPIC, "t", "message.timestamp.type");

    set(&mut client, TOPIC, "t", "message.timestamp.before.max.ms", "1000");
    let error = ErrorCode(client.produce("t", 0, batch_at(1, &["a"])).error_code);
    assert_eq!(error, ErrorCode::INVALID_TIMESTAMP);
    unset(&mut client, TOPIC, "t", "message.timestamp.before.max.ms");

    set(&mut client, TOPIC, "t", "cleanup.policy", "compact");
    assert_eq!(produce(&mut client, "no key"), ErrorCode::INVALID_RECORD);
    unset(&mut client, TOPIC, "t", "cleanup.policy");
    assert_eq!(produce(&mut client, "a"), ErrorCode::NONE);
}

#[test]
fn brokers_defaults_of_topics_change_live_and_the_stronger_one_wins() {
    let node = TestNode::start(&[("message.max.bytes", "5000")]);
    let mut client = node.connect();
    client.create_topic("t", 1, &[]);
    let large = "x".repeat(1000);
    assert_eq!(produce(&mut client, &"x".repeat(6000)), ErrorCode::MESSAGE_TOO_LARGE, "the file");
    set(&mut client, BROKER, "", "message.max.bytes", "100");
    assert_eq!(produce(&mut client, &large), ErrorCode::MESSAGE_TOO_LARGE, "all brokers over the file");
    set(&mut client, BROKER, "1", "message.max.bytes", "2000");
    assert_eq!(produce(&mut client, &large), ErrorCode::NONE, "this broker over all");
    set(&mut client, TOPIC, "t", "max.message.bytes", "300");
    assert_eq!(produce(&mut client, &large), ErrorCode::MESSAGE_TOO_LARGE, "the topic over the broker");
    unset(&mut client, TOPIC, "t", "max.message.bytes");
    unset(&mut client, BROKER, "1", "message.max.bytes");
    assert_eq!(produce(&mut client, &large), ErrorCode::MESSAGE_TOO_LARGE, "all brokers again");
    unset(&mut client, BROKER, "", "message.max.bytes");
    assert_eq!(produce(&mut client, &large), ErrorCode::NONE, "the file again");
}

#[test]
fn bounds_on_connections_change_live() {
    let node = TestNode::start(&[]);
    let mut client = node.connect();
    set(&mut client, BROKER, "", "max.connections.per.ip", "1");
    assert!(node.connect().is_closed(), "one more from this address");
    set(&mut client, BROKER, "1", "max.connections.per.ip.overrides", "127.0.0.1:3");
    let mut second = node.connect();
    second.create_topic("t", 1, &[]);
    unset(&mut second, BROKER, "1", "max.connections.per.ip.overrides");
    assert!(node.connect().is_closed(), "the override is gone");
    unset(&mut second, BROKER, "", "max.connections.per.ip");
    assert_eq!(produce(&mut node.connect(), "a"), ErrorCode::NONE);
}

/// Resource, key, value, and why not.
const REFUSED: &[(&str, &str, &str, &str)] = &[
    ("1", "num.partitions", "3", "Cannot update these configs dynamically: [num.partitions]"),
    ("1", "log.dirs", "/x", "Cannot update these configs dynamically: [log.dirs]"),
    (
        "1",
        "listeners",
        "PLAINTEXT://:1",
        "listeners cannot be changed while the broker runs: set it in server.properties and restart",
    ),
    (
        "",
        "listeners",
        "PLAINTEXT://:1",
        "Cannot update these configs at default cluster level, broker id must be specified: [listeners]",
    ),
    // From here on in the words of Apache Kafka 4.3.1, asked the same.
    (
        "1",
        "max.connections.per.ip",
        "0",
        "requirement failed: max.connections.per.ip can be set to zero only if max.connections.per.ip.overrides property is set.",
    ),
    (
        "1",
        "max.connections.per.ip.overrides",
        "bad host!:1",
        "max.connections.per.ip.overrides contains invalid addresses : bad host!",
    ),
    (
        "1",
        "max.connections.per.ip.overrides",
        "127.0.0.1",
        "Error parsing configuration property 'max.connections.per.ip.overrides': begin 0, end -1, length 9",
    ),
    (
        "1",
        "log.retention.ms",
        "0",
        "requirement failed: log.retention.ms must be unlimited (-1) or, greater than or equal to 1",
    ),
    ("1", "log.roll.ms", "0", "requirement failed: log.roll.ms must be greater than or equal to 1"),
    (
        "1",
        "cordoned.log.dirs",
        "/nope",
        "requirement failed: All entries in cordoned.log.dirs must be present in log.dirs or log.dir. Missing entries : /nope",
    ),
    (
        "1",
        "log.cleaner.dedupe.buffer.size",
        "1",
        "requirement failed: log.cleaner.dedupe.buffer.size must be at least 1MB per cleaner thread.",
    ),
    (
        "1",
        "num.io.threads",
        "3",
        "Invalid value org.apache.kafka.common.config.ConfigException: Dynamic thread count update validation failed for num.io.threads=3, value should be at least half the current value 8 for configuration Invalid dynamic configuration",
    ),
    (
        "",
        "num.network.threads",
        "100",
        "Invalid value org.apache.kafka.common.config.ConfigException: Dynamic thread count update validation failed for num.network.threads=100, value should not be greater than double the current value 3 for configuration Invalid dynamic configuration",
    ),
    (
        "1",
        "log.cleaner.threads",
        "100",
        "Invalid value org.apache.kafka.common.config.ConfigException: Log cleaner threads cannot be increased to more than double the current value 1 for configuration Invalid dynamic configuration",
    ),
];

#[test]
fn what_cannot_change_live_is_refused() {
    let node = TestNode::start(&[]);
    let mut client = node.connect();
    for (name, key, value, why) in REFUSED {
        assert_eq!(
            alter(&mut client, BROKER, name, SET, key, value),
            (ErrorCode::INVALID_REQUEST, (*why).to_owned()),
            "{key}"
        );
    }
}

#[test]
fn retention_is_looked_at_as_often_as_asked_and_obeys_what_was_changed() {
    let node = TestNode::start(&[("log.initial.task.delay.ms", "1"), ("log.retention.check.interval.ms", "1")]);
    let mut client = node.connect();
    client.create_topic("t", 1, &[]);
    client.produce("t", 0, batch_at(now() - 60_000, &["old", "too"]));
    set(&mut client, TOPIC, "t", "retention.ms", "1000");
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    loop {
        let response = client.call(7, &list_offsets("t", -2));
        if response.topics[0].partitions[0].offset == 2 {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{response:?}");
        std::thread::yield_now();
    }
}

#[test]
fn topics_stay_where_deletion_is_turned_off() {
    let node = TestNode::start(&[("delete.topic.enable", "FALSE")]);
    let mut client = node.connect();
    client.create_topic("t", 1, &[]);
    let request = DeleteTopicsRequest { topic_names: vec!["t".into()], timeout_ms: 1000, ..Default::default() };
    let code = |version, client: &mut Client| ErrorCode(client.call(version, &request).responses[0].error_code);
    assert_eq!(code(5, &mut client), ErrorCode::TOPIC_DELETION_DISABLED);
    assert_eq!(code(2, &mut client), ErrorCode::INVALID_REQUEST);
    assert_eq!(produce(&mut client, "a"), ErrorCode::NONE);
}
