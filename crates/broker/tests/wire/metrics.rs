//! The metrics of a running node: every one that is documented is there, and says what was done.

use crate::client::{TestNode, batch, batch_at, now};
use crate::groups::{await_coordinator, commit};
use milena_broker::METRICS;
use milena_metrics::Kind;
use milena_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use milena_protocol::messages::{DeleteTopicsRequest, FetchRequest};
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

#[test]
fn what_goes_through_a_topic_is_counted_and_stays_in_the_sum_when_the_topic_is_gone() {
    let node = TestNode::start(SETTINGS);
    let mut client = node.connect();
    client.create_topic("t", 2, &[("max.message.bytes", "1000")]);
    let records = batch_at(now(), &["a", "b", "c"]);
    let bytes = records.len() as f64;
    assert_eq!(client.produce("t", 0, records.clone()).error_code, 0);
    assert_eq!(client.produce("t", 1, records).error_code, 0);
    let large = batch(&["x".repeat(2000).as_str()]);
    let rejected = large.len() as f64;
    assert_eq!(ErrorCode(client.produce("t", 0, large).error_code), ErrorCode::MESSAGE_TOO_LARGE);
    let partition = FetchPartition { partition_max_bytes: 1 << 20, ..Default::default() };
    let topic = FetchTopic { topic: "t".into(), partitions: vec![partition], ..Default::default() };
    let fetch = FetchRequest { max_bytes: 1 << 20, min_bytes: 1, topics: vec![topic], ..Default::default() };
    client.call(4, &fetch);
    await_values(
        &node,
        &[
            ("kafka_server_brokertopicmetrics_messagesin_total{topic=\"t\"}", 6.0),
            ("kafka_server_brokertopicmetrics_messagesin_total", 6.0),
            ("kafka_server_brokertopicmetrics_bytesin_total{topic=\"t\"}", 2.0 * bytes),
            ("kafka_server_brokertopicmetrics_bytesout_total{topic=\"t\"}", bytes),
            ("kafka_server_brokertopicmetrics_bytesrejected_total{topic=\"t\"}", rejected),
            ("kafka_server_brokertopicmetrics_totalproducerequests_total{topic=\"t\"}", 3.0),
            ("kafka_server_brokertopicmetrics_failedproducerequests_total{topic=\"t\"}", 0.0),
            ("kafka_server_brokertopicmetrics_totalfetchrequests_total{topic=\"t\"}", 1.0),
            ("kafka_network_requestmetrics_requests_total{request=\"Produce\",version=\"9\"}", 3.0),
            ("kafka_network_requestmetrics_requests_total{request=\"Fetch\",version=\"4\"}", 1.0),
            ("kafka_network_requestmetrics_totaltimems_count{request=\"Produce\"}", 3.0),
            ("kafka_network_requestmetrics_totaltimems_count{request=\"Fetch\"}", 1.0),
            ("kafka_network_requestmetrics_remotetimems_count{request=\"CreateTopics\"}", 1.0),
            ("kafka_server_socket_server_metrics_connection_count{listener=\"PLAINTEXT\"}", 1.0),
            ("kafka_controller_kafkacontroller_activecontrollercount", 1.0),
            ("kafka_controller_kafkacontroller_activebrokercount", 1.0),
            ("kafka_controller_kafkacontroller_globaltopiccount", 1.0),
            ("kafka_controller_kafkacontroller_globalpartitioncount", 2.0),
            ("kafka_controller_kafkacontroller_offlinepartitionscount", 0.0),
        ],
    );
    let request = DeleteTopicsRequest { topic_names: vec!["t".into()], timeout_ms: 5_000, ..Default::default() };
    assert_eq!(client.call(5, &request).responses[0].error_code, 0);
    await_values(
        &node,
        &[
            ("kafka_server_replicamanager_partitioncount", 0.0),
            ("kafka_server_brokertopicmetrics_messagesin_total", 6.0),
            ("kafka_server_brokertopicmetrics_bytesin_total", 2.0 * bytes),
        ],
    );
    assert_eq!(value(&node.metrics(), "kafka_server_brokertopicmetrics_messagesin_total{topic=\"t\"}"), None);
}
