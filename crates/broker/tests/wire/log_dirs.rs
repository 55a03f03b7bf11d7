//! Log directories that fail, at the start and while the node runs, and cordoned ones. The answers are those of Apache
//! Kafka 4.3.1 in the same situations.

use crate::client::{Client, TestNode, batch, values};
use crate::fetch::fetch_request;
use milena_protocol::messages::alter_replica_log_dirs_request::{AlterReplicaLogDir, AlterReplicaLogDirTopic};
use milena_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use milena_protocol::messages::{
    AlterReplicaLogDirsRequest, CreateTopicsRequest, DescribeLogDirsRequest, IncrementalAlterConfigsRequest,
    MetadataRequest, create_topics_request::CreatableTopic, describe_log_dirs_response::DescribeLogDirsResult,
};
use milena_types::ErrorCode;
use std::path::Path;
use std::time::{Duration, Instant};

/// Checkpoints are written often, so that a directory that vanished is noticed.
const OFTEN: (&str, &str) = ("replica.high.watermark.checkpoint.interval.ms", "100");

fn describe(client: &mut Client) -> Vec<DescribeLogDirsResult> {
    client.call(5, &DescribeLogDirsRequest { topics: None, ..Default::default() }).results
}

fn described(client: &mut Client, path: &Path) -> DescribeLogDirsResult {
    let results = describe(client);
    results
        .iter()
        .find(|result| *result.log_dir == *path.to_str().unwrap())
        .unwrap_or_else(|| panic!("{results:?}"))
        .clone()
}

/// The partitions of `topic` in a directory.
fn held(client: &mut Client, path: &Path, topic: &str) -> Vec<i32> {
    let result = described(client, path);
    let found = result.topics.iter().find(|described| &*described.name == topic);
    found.map(|topic| topic.partitions.iter().map(|partition| partition.partition_index).collect()).unwrap_or_default()
}

fn leaders(client: &mut Client, topic: &str) -> Vec<(i32, bool)> {
    let metadata = client.call(12, &MetadataRequest { topics: None, ..Default::default() });
    let found = metadata.topics.iter().find(|found| found.name.as_deref() == Some(topic)).unwrap();
    found.partitions.iter().map(|partition| (partition.leader_id, !partition.offline_replicas.is_empty())).collect()
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < deadline, "not within 20 s: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn fetch_error(client: &mut Client, topic: &str, partition: i32) -> ErrorCode {
    let response = client.call(11, &fetch_request(topic, partition, 0));
    ErrorCode(response.responses[0].partitions[0].error_code)
}

#[test]
fn a_node_starts_without_a_directory_that_cannot_be_read_and_others_cannot_lead_what_is_in_it() {
    let mut node = TestNode::with_log_dirs(&["a", "b", "c"], &[]);
    let mut client = node.connect();
    client.create_topic("t", 6, &[]);
    let (b, c) = (node.log_dir("b"), node.log_dir("c"));
    let in_c = held(&mut client, &c, "t");
    assert_eq!((held(&mut client, &b, "t").len(), in_c.len()), (2, 2), "spread over the directories");
    for partition in 0..6 {
        assert_eq!(client.produce("t", partition, batch(&["x"])).error_code, 0);
    }
    drop(client);
    node.stop();
    let good = std::fs::read(c.join("meta.properties")).unwrap();
    std::fs::write(c.join("meta.properties"), "version=9\n").unwrap();
    node.run();
    let mut client = node.connect();
    let described_c = described(&mut client, &c);
    assert_eq!((described_c.error_code, described_c.topics.len()), (ErrorCode::KAFKA_STORAGE_ERROR.0, 0));
    assert_eq!((described_c.total_bytes, described_c.usable_bytes), (-1, -1));
    for (partition, (leader, has_offline)) in (0..).zip(leaders(&mut client, "t")) {
        let is_lost = in_c.contains(&partition);
        assert_eq!((leader, has_offline), if is_lost { (-1, true) } else { (1, false) }, "partition {partition}");
        let expected = if is_lost { ErrorCode::NOT_LEADER_OR_FOLLOWER } else { ErrorCode::NONE };
        assert_eq!(ErrorCode(client.produce("t", partition, batch(&["y"])).error_code), expected);
        assert_eq!(fetch_error(&mut client, "t", partition), expected);
    }
    client.create_topic("new", 4, &[]);
    assert!(held(&mut client, &c, "new").is_empty() && held(&mut client, &b, "new").len() == 2);
    drop(client);
    node.stop();
    std::fs::write(c.join("meta.properties"), good).unwrap();
    node.run();
    let mut client = node.connect();
    assert_eq!(leaders(&mut client, "t"), [(1, false); 6], "what was in it is there again");
    assert_eq!(held(&mut client, &c, "t"), in_c);
    assert_eq!(client.produce("t", in_c[0], batch(&["z"])).base_offset, 1);
}

#[test]
fn without_the_metadata_directory_or_any_a_node_does_not_start() {
    let mut node = TestNode::with_log_dirs(&["a", "b"], &[]);
    node.stop();
    std::fs::write(node.log_dir("a").join("meta.properties"), "version=9\n").unwrap();
    let refused = node.refusal();
    assert!(refused.starts_with("Encountered I/O error in metadata log directory"), "{refused}");
}

#[test]
fn a_directory_that_fails_while_the_node_runs_goes_offline_and_the_others_serve_on() {
    let node = TestNode::with_log_dirs(&["a", "b"], &[OFTEN]);
    let mut client = node.connect();
    client.create_topic("t", 4, &[]);
    let b = node.log_dir("b");
    let in_b = held(&mut client, &b, "t");
    assert_eq!(in_b.len(), 2);
    // Nothing can be made in the directory any more; files that are open still work.
    std::fs::rename(&b, node.log_dir("gone")).unwrap();
    std::fs::write(&b, "").unwrap();
    for partition in 0..4 {
        client.produce("t", partition, batch(&["x"]));
    }
    wait_until("the directory is offline", || {
        described(&mut client, &b).error_code == ErrorCode::KAFKA_STORAGE_ERROR.0
    });
    wait_until("the controller knows", || {
        let leaders = leaders(&mut client, "t");
        (0..4).zip(leaders).all(|(at, (leader, offline))| (leader == -1 && offline) == in_b.contains(&at))
    });
    for partition in 0..4 {
        let expected = if in_b.contains(&partition) { ErrorCode::KAFKA_STORAGE_ERROR } else { ErrorCode::NONE };
        assert_eq!(ErrorCode(client.produce("t", partition, batch(&["y"])).error_code), expected);
        assert_eq!(fetch_error(&mut client, "t", partition), expected);
    }
    client.create_topic("new", 2, &[]);
}

#[test]
fn a_node_whose_last_directory_fails_ends() {
    let mut node = TestNode::with_log_dirs(&["a", "b"], &[OFTEN]);
    let mut client = node.connect();
    client.create_topic("t", 2, &[]);
    for name in ["a", "b"] {
        let path = node.log_dir(name);
        std::fs::rename(&path, node.log_dir(&format!("gone-{name}"))).unwrap();
        std::fs::write(&path, "").unwrap();
    }
    for partition in 0..2 {
        client.produce("t", partition, batch(&["x"]));
    }
    assert!(node.ends());
}

fn cordon(client: &mut Client, value: Option<&str>) -> (i16, Option<String>) {
    let config = AlterableConfig {
        name: "cordoned.log.dirs".into(),
        config_operation: i8::from(value.is_none()),
        value: value.map(Into::into),
        ..Default::default()
    };
    let resource = AlterConfigsResource {
        resource_type: 4,
        resource_name: "1".into(),
        configs: vec![config],
        ..Default::default()
    };
    let request = IncrementalAlterConfigsRequest { resources: vec![resource], ..Default::default() };
    let response = client.call(1, &request).responses.remove(0);
    (response.error_code, response.error_message.map(|text| text.to_string()))
}

fn create(client: &mut Client, name: &str) -> (i16, Option<String>) {
    let topic = CreatableTopic { name: name.into(), num_partitions: 1, replication_factor: 1, ..Default::default() };
    let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 10_000, ..Default::default() };
    let response = client.call(7, &request).topics.remove(0);
    (response.error_code, response.error_message.map(|text| text.to_string()))
}

#[test]
fn a_cordoned_directory_takes_no_new_partitions_until_it_is_released() {
    let node = TestNode::with_log_dirs(&["a", "b"], &[]);
    let mut client = node.connect();
    client.create_topic("before", 2, &[]);
    let b = node.log_dir("b");
    assert_eq!(cordon(&mut client, b.to_str()).0, 0);
    wait_until("it is described as cordoned", || described(&mut client, &b).is_cordoned);
    client.create_topic("during", 4, &[]);
    let before = held(&mut client, &b, "before");
    assert_eq!((before.len(), held(&mut client, &b, "during").len()), (1, 0));
    assert_eq!(client.produce("before", before[0], batch(&["x"])).error_code, 0);
    assert_eq!(cordon(&mut client, Some("*")).0, 0);
    let why = "Unable to replicate the partition 1 time(s): All brokers are currently fenced, or have all their log \
               directories cordoned.";
    let mut last = (0, None);
    let mut number = 0;
    // The controller hears of it with the next heartbeat.
    wait_until("nothing can be created", || {
        number += 1;
        last = create(&mut client, &format!("none-{number}"));
        last.0 != 0
    });
    assert_eq!(last, (ErrorCode::INVALID_REPLICATION_FACTOR.0, Some(why.to_owned())));
    assert_eq!(cordon(&mut client, None).0, 0);
    wait_until("it takes partitions again", || create(&mut client, "after").0 == 0);
    assert!(!described(&mut client, &b).is_cordoned);
}

fn move_to(client: &mut Client, path: &Path, topic: &str, partition: i32) -> ErrorCode {
    let topic = AlterReplicaLogDirTopic { name: topic.into(), partitions: vec![partition], ..Default::default() };
    let dir = AlterReplicaLogDir { path: path.to_str().unwrap().into(), topics: vec![topic], ..Default::default() };
    let response = client.call(2, &AlterReplicaLogDirsRequest { dirs: vec![dir], ..Default::default() });
    ErrorCode(response.results[0].partitions[0].error_code)
}

/// Sizes of a partition's log and of its copy in a directory.
fn sizes(client: &mut Client, path: &Path, topic: &str) -> (Option<i64>, Option<i64>) {
    let result = described(client, path);
    let partitions =
        || result.topics.iter().filter(|described| &*described.name == topic).flat_map(|it| &it.partitions);
    let size = |is_future| partitions().find(|it| it.is_future_key == is_future).map(|it| it.partition_size);
    (size(false), size(true))
}

fn all_values(client: &mut Client, topic: &str) -> Vec<String> {
    let mut all = Vec::new();
    loop {
        let response = client.call(11, &fetch_request(topic, 0, all.len() as i64));
        let partition = &response.responses[0].partitions[0];
        assert_eq!(partition.error_code, 0);
        let some = values(&partition.records);
        if some.is_empty() {
            return all;
        }
        for (offset, value) in some {
            assert_eq!(offset, all.len() as i64);
            all.push(value);
        }
    }
}

fn set_broker_config(client: &mut Client, name: &str, value: Option<&str>) {
    let config = AlterableConfig {
        name: name.into(),
        config_operation: i8::from(value.is_none()),
        value: value.map(Into::into),
        ..Default::default()
    };
    let resource = AlterConfigsResource { resource_type: 4, configs: vec![config], ..Default::default() };
    let request = IncrementalAlterConfigsRequest { resources: vec![resource], ..Default::default() };
    assert_eq!(client.call(1, &request).responses[0].error_code, 0);
}

#[test]
fn a_replica_moves_to_another_directory_while_it_is_written_and_read() {
    let mut node = TestNode::with_log_dirs(&["a", "b"], &[("log.segment.bytes", "1048576")]);
    let mut client = node.connect();
    client.create_topic("t", 1, &[]);
    let (mut from, mut to) = (node.log_dir("a"), node.log_dir("b"));
    if sizes(&mut client, &from, "t").0.is_none() {
        std::mem::swap(&mut from, &mut to);
    }
    let big = "x".repeat(100_000);
    let mut expected = Vec::new();
    let add = |client: &mut Client, expected: &mut Vec<String>| {
        let value = format!("{}-{big}", expected.len());
        assert_eq!(client.produce("t", 0, batch(&[&value])).base_offset, expected.len() as i64);
        expected.push(value);
    };
    for _ in 0..40 {
        add(&mut client, &mut expected);
    }
    assert_eq!(move_to(&mut client, &to, "t", 0), ErrorCode::NONE);
    wait_until("the replica is in the other directory only", || {
        add(&mut client, &mut expected);
        sizes(&mut client, &from, "t") == (None, None) && matches!(sizes(&mut client, &to, "t"), (Some(_), None))
    });
    add(&mut client, &mut expected);
    assert_eq!(all_values(&mut client, "t"), expected);
    assert!(to.join("t-0").is_dir() && !from.join("t-0").exists());
    drop(client);
    node.restart();
    let mut client = node.connect();
    assert!(sizes(&mut client, &to, "t").0.is_some());
    assert_eq!(all_values(&mut client, "t"), expected);
    assert_eq!(leaders(&mut client, "t"), [(1, false)]);
}

#[test]
fn a_move_that_is_throttled_goes_on_after_a_restart_and_can_be_called_off() {
    let mut node = TestNode::with_log_dirs(&["a", "b", "c"], &[("file.delete.delay.ms", "0")]);
    let mut client = node.connect();
    client.create_topic("t", 1, &[]);
    let dirs = ["a", "b", "c"].map(|name| node.log_dir(name));
    let at = dirs.iter().position(|dir| sizes(&mut client, dir, "t").0.is_some()).unwrap();
    let (from, to, other) = (&dirs[at], &dirs[(at + 1) % 3], &dirs[(at + 2) % 3]);
    let big = "x".repeat(500_000);
    for _ in 0..6 {
        client.produce("t", 0, batch(&[&big]));
    }
    set_broker_config(&mut client, "replica.alter.log.dirs.io.max.bytes.per.second", Some("1000"));
    assert_eq!(move_to(&mut client, to, "t", 0), ErrorCode::NONE);
    let is_part = |sizes: (Option<i64>, Option<i64>)| sizes.0.is_none() && sizes.1.is_some_and(|size| size < 3_000_000);
    assert!(is_part(sizes(&mut client, to, "t")), "there is a copy at once, and not of all");
    assert_eq!(move_to(&mut client, other, "t", 0), ErrorCode::NONE, "it may be sent elsewhere");
    assert_eq!(sizes(&mut client, to, "t"), (None, None));
    assert!(is_part(sizes(&mut client, other, "t")));
    assert_eq!(move_to(&mut client, from, "t", 0), ErrorCode::NONE, "or stay");
    assert!(dirs.iter().all(|dir| sizes(&mut client, dir, "t").1.is_none()));
    assert_eq!(move_to(&mut client, to, "t", 0), ErrorCode::NONE);
    drop(client);
    node.restart();
    let mut client = node.connect();
    assert!(is_part(sizes(&mut client, to, "t")) && sizes(&mut client, from, "t").0.is_some());
    set_broker_config(&mut client, "replica.alter.log.dirs.io.max.bytes.per.second", None);
    wait_until("the replica has moved", || {
        sizes(&mut client, from, "t") == (None, None) && matches!(sizes(&mut client, to, "t"), (Some(_), None))
    });
    assert_eq!(all_values(&mut client, "t"), vec![big; 6]);
}

#[test]
fn moves_that_cannot_be_are_refused_with_kafkas_codes() {
    let node = TestNode::with_log_dirs(&["a", "b"], &[]);
    let mut client = node.connect();
    let (a, b) = (node.log_dir("a"), node.log_dir("b"));
    assert_eq!(move_to(&mut client, &node.log_dir("c"), "later", 0), ErrorCode::LOG_DIR_NOT_FOUND);
    assert_eq!(move_to(&mut client, &b, "later", 0), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    client.create_topic("later", 1, &[]);
    assert_eq!(held(&mut client, &b, "later"), [0], "where it was asked for before it was there");
    assert_eq!(cordon(&mut client, a.to_str()).0, 0);
    wait_until("it is cordoned", || move_to(&mut client, &a, "later", 0) == ErrorCode::INVALID_REPLICA_ASSIGNMENT);
}
