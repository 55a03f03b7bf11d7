//! Fetch: bounds, long poll, sessions, errors.

use crate::client::{TestNode, batch, produce_request, values};
use milena_protocol::messages::FetchRequest;
use milena_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use milena_types::{ErrorCode, Uuid};
use std::time::{Duration, Instant};

/// One partition from an offset on, without waiting.
pub(crate) fn fetch_request(topic: &str, partition: i32, offset: i64) -> FetchRequest {
    FetchRequest {
        replica_id: -1,
        max_wait_ms: 0,
        min_bytes: 1,
        max_bytes: 50 << 20,
        session_epoch: -1,
        topics: vec![FetchTopic {
            topic: topic.into(),
            partitions: vec![FetchPartition {
                partition,
                fetch_offset: offset,
                current_leader_epoch: -1,
                partition_max_bytes: 1 << 20,
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    }
}

#[test]
fn a_long_poll_ends_with_the_append_it_waited_for() {
    let node = TestNode::start(&[]);
    let (mut consumer, mut producer) = (node.connect(), node.connect());
    producer.create_topic("polled", 1, &[]);
    let request = FetchRequest { max_wait_ms: 20_000, ..fetch_request("polled", 0, 0) };
    let began = Instant::now();
    consumer.send(11, &request);
    producer.produce("polled", 0, batch(&["news"]));
    let (_, response) = consumer.receive::<FetchRequest>(11);
    assert_eq!(values(&response.responses[0].partitions[0].records), [(0, "news".to_owned())]);
    assert!(began.elapsed() < Duration::from_secs(10), "it was the append that ended it, not the deadline");
}

#[test]
fn a_long_poll_without_news_ends_at_its_deadline_and_holds_back_later_answers() {
    let node = TestNode::start(&[]);
    let mut client = node.connect();
    client.create_topic("silent", 1, &[]);
    let began = Instant::now();
    let waiting = client.send(11, &FetchRequest { max_wait_ms: 300, ..fetch_request("silent", 0, 0) });
    let behind = client.send(9, &produce_request("absent", 1, vec![(0, batch(&["a"]))]));
    let (first, response) = client.receive::<FetchRequest>(11);
    assert_eq!((first, response.responses[0].partitions[0].high_watermark), (waiting, 0));
    assert!(began.elapsed() >= Duration::from_millis(290));
    let (second, _) = client.receive::<milena_protocol::messages::ProduceRequest>(9);
    assert_eq!(second, behind);
}

#[test]
fn min_bytes_wait_for_more_than_the_first_record() {
    let node = TestNode::start(&[]);
    let (mut consumer, mut producer) = (node.connect(), node.connect());
    producer.create_topic("lots", 1, &[]);
    let value = "x".repeat(1000);
    consumer.send(11, &FetchRequest { max_wait_ms: 20_000, min_bytes: 3000, ..fetch_request("lots", 0, 0) });
    for _ in 0..3 {
        producer.produce("lots", 0, batch(&[&value]));
    }
    let (_, response) = consumer.receive::<FetchRequest>(11);
    assert_eq!(values(&response.responses[0].partitions[0].records).len(), 3);
}

#[test]
fn the_first_batch_comes_whole_and_the_limits_hold_for_the_rest() {
    let node = TestNode::start(&[]);
    let mut client = node.connect();
    client.create_topic("large", 2, &[]);
    let value = "x".repeat(10_000);
    for partition in [0, 1] {
        for _ in 0..5 {
            client.produce("large", partition, batch(&[&value]));
        }
    }
    let mut request = FetchRequest { max_bytes: 100, ..fetch_request("large", 0, 2) };
    let mut second = request.topics[0].partitions[0].clone();
    second.partition = 1;
    request.topics[0].partitions.push(second);
    let response = client.call(11, &request);
    let partitions = &response.responses[0].partitions;
    assert_eq!(values(&partitions[0].records)[0].0, 2, "larger than max.bytes and still there");
    assert_eq!(partitions[1].records.as_ref().unwrap().len(), 0, "nothing was left for the second");
    request.max_bytes = 50 << 20;
    let response = client.call(11, &request);
    assert!(response.responses[0].partitions.iter().all(|partition| values(&partition.records).len() == 3));
}

#[test]
fn offsets_and_epochs_that_do_not_fit_are_refused() {
    let node = TestNode::start(&[]);
    let mut client = node.connect();
    let id = client.create_topic("fenced", 1, &[]);
    client.produce("fenced", 0, batch(&["a"]));
    let mut error = |request: &FetchRequest, version| {
        let response = client.call(version, request);
        let partition = &response.responses[0].partitions[0];
        let is_unknown = [3, 100].contains(&partition.error_code);
        assert_eq!(partition.aborted_transactions.is_some(), is_unknown, "as Kafka has it: a list or null");
        (ErrorCode(partition.error_code), partition.high_watermark)
    };
    assert_eq!(error(&fetch_request("fenced", 0, 2), 11), (ErrorCode::OFFSET_OUT_OF_RANGE, -1));
    assert_eq!(error(&fetch_request("fenced", 0, -1), 11).0, ErrorCode::OFFSET_OUT_OF_RANGE);
    assert_eq!(error(&fetch_request("fenced", 7, 0), 11).0, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    assert_eq!(error(&fetch_request("absent", 0, 0), 11).0, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    let mut ahead = fetch_request("fenced", 0, 0);
    ahead.topics[0].partitions[0].current_leader_epoch = 99;
    assert_eq!(error(&ahead, 11).0, ErrorCode::UNKNOWN_LEADER_EPOCH);
    let mut by_id = fetch_request("", 0, 0);
    by_id.topics[0].topic_id = Uuid([7; 16]);
    assert_eq!(error(&by_id, 13).0, ErrorCode::UNKNOWN_TOPIC_ID);
    by_id.topics[0].topic_id = id;
    assert_eq!(error(&by_id, 13), (ErrorCode::NONE, 1));
}

#[test]
fn what_is_not_known_is_answered_after_what_is_read() {
    let node = TestNode::start(&[]);
    let mut client = node.connect();
    let id = client.create_topic("known", 1, &[]);
    let mut request = fetch_request("", 3, 0);
    request.max_wait_ms = 0;
    request.topics[0].topic_id = id;
    let mut absent = request.topics[0].clone();
    absent.topic_id = Uuid([7; 16]);
    let mut present = request.topics[0].partitions[0].clone();
    present.partition = 0;
    request.topics[0].partitions.push(present);
    request.topics.push(absent);
    let response = client.call(13, &request);
    let order: Vec<_> =
        response.responses.iter().map(|topic| (topic.topic_id, topic.partitions[0].error_code)).collect();
    assert_eq!(order, [(id, 0), (Uuid([7; 16]), 100), (id, 3)]);
}

#[test]
fn a_session_tells_only_what_changed() {
    let node = TestNode::start(&[]);
    let mut client = node.connect();
    client.create_topic("session", 2, &[]);
    let mut request = FetchRequest { session_epoch: 0, ..fetch_request("session", 0, 0) };
    let mut second = request.topics[0].partitions[0].clone();
    second.partition = 1;
    request.topics[0].partitions.push(second);
    let full = client.call(11, &request);
    assert_eq!(full.responses[0].partitions.len(), 2);
    assert_ne!(full.session_id, 0);
    client.produce("session", 1, batch(&["a"]));
    let next = FetchRequest {
        session_id: full.session_id,
        session_epoch: 1,
        topics: Vec::new(),
        ..fetch_request("session", 0, 0)
    };
    let changed = client.call(11, &next);
    assert_eq!(changed.session_id, full.session_id);
    let partitions: Vec<_> = changed.responses[0].partitions.iter().map(|data| data.partition_index).collect();
    assert_eq!(partitions, [1]);
    let wrong = client.call(11, &FetchRequest { session_epoch: 7, ..next });
    assert_eq!(ErrorCode(wrong.error_code), ErrorCode::INVALID_FETCH_SESSION_EPOCH);
}
