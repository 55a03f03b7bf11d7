//! The metrics of a running node: every one that is documented is there, and says what was done.

use crate::client::{TestNode, batch};
use crate::groups::{await_coordinator, commit};
use milena_broker::METRICS;
use milena_metrics::Kind;
use milena_types::ErrorCode;
use std::time::{Duration, Instant};

const SETTINGS: &[(&str, &str)] = &[
    ("milena.metrics.listener", "127.0.0.1:0"),
    ("offsets.topic.num.partitions", "3"),
    ("offsets.topic.replication.factor", "1"),
];

/// The value of one line, by everything before it.
fn value(page: &str, line: &str) -> Option<f64> {
    page.lines().find_map(|found| found.strip_prefix(line)?.strip_prefix(' ')?.parse().ok())
}

/// Scrapes until the lines have these values; a page may be a moment old.
fn await_values(node: &TestNode, expected: &[(&str, f64)]) {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let page = node.metrics();
        let found: Vec<_> = expected.iter().map(|(line, _)| (*line, value(&page, line))).collect();
        if expected.iter().zip(&found).all(|((_, expected), (_, found))| *found == Some(*expected)) {
            return;
        }
        assert!(Instant::now() < end, "{found:#?}");
    }
}

#[test]
fn without_the_key_nothing_is_served() {
    assert!(!TestNode::start(&[]).has_metrics());
}

#[test]
fn a_page_has_every_documented_metric_once() {
    let node = TestNode::start(SETTINGS);
    let mut client = node.connect();
    client.create_topic("t", 2, &[]);
    await_coordinator(&mut client, "g");
    let page = node.metrics();
    for metric in METRICS {
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Count => "unknown",
            Kind::Histogram => "histogram",
        };
        let line = format!("# TYPE {} {kind}", metric.name);
        assert_eq!(page.lines().filter(|found| *found == line).count(), 1, "{line}");
    }
    assert_eq!(page.lines().filter(|line| line.starts_with("# TYPE")).count(), METRICS.len());
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let (name, number) = line.rsplit_once(' ').unwrap();
        assert!(number.parse::<f64>().is_ok(), "{line}");
        let name = name.split('{').next().unwrap();
        let is_known = METRICS.iter().any(|metric| {
            let rest = name.strip_prefix(metric.name);
            rest.is_some_and(|rest| ["", "_total", "_sum", "_count", "_bucket"].contains(&rest))
        });
        assert!(is_known, "{line}");
    }
}

#[test]
fn partitions_and_groups_are_told_as_they_are() {
    let node = TestNode::start(SETTINGS);
    let mut client = node.connect();
    client.create_topic("t", 2, &[]);
    assert_eq!(client.produce("t", 0, batch(&["a", "b", "c"])).error_code, 0);
    await_coordinator(&mut client, "g");
    assert_eq!(commit(&mut client, "t", 1), ErrorCode::NONE);
    await_values(
        &node,
        &[
            ("kafka_server_kafkaserver_brokerstate", 3.0),
            ("kafka_server_replicamanager_partitioncount", 5.0),
            ("kafka_server_replicamanager_leadercount", 5.0),
            ("kafka_server_replicamanager_underreplicatedpartitions", 0.0),
            ("kafka_server_replicamanager_offlinereplicacount", 0.0),
            ("kafka_log_log_logendoffset{topic=\"t\",partition=\"0\"}", 3.0),
            ("kafka_log_log_logendoffset{topic=\"t\",partition=\"1\"}", 0.0),
            ("kafka_cluster_partition_insyncreplicascount{topic=\"t\",partition=\"0\"}", 1.0),
            ("kafka_server_group_coordinator_metrics_group_count{protocol=\"classic\"}", 1.0),
            ("kafka_server_group_coordinator_metrics_group_count{protocol=\"consumer\"}", 0.0),
            ("kafka_coordinator_group_groupmetadatamanager_numgroupsempty", 1.0),
            ("kafka_coordinator_group_groupmetadatamanager_numoffsets", 1.0),
            ("kafka_server_group_coordinator_metrics_offset_commit_count", 1.0),
            ("kafka_server_group_coordinator_metrics_num_partitions{state=\"active\"}", 3.0),
            ("kafka_consumergroup_members{consumergroup=\"g\"}", 0.0),
            ("kafka_consumergroup_current_offset{consumergroup=\"g\",topic=\"t\",partition=\"0\"}", 1.0),
            ("kafka_consumergroup_lag{consumergroup=\"g\",topic=\"t\",partition=\"0\"}", 2.0),
        ],
    );
    let page = node.metrics();
    assert!(value(&page, "process_resident_memory_bytes").unwrap() > 1e6);
    assert!(value(&page, "kafka_server_group_coordinator_metrics_batch_flush_time_ms_count").unwrap() >= 1.0);
}
