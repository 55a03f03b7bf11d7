//! Produce: what is appended, what is refused and how, and that it is still there after a restart.

use crate::client::{TestNode, batch, batch_at, flat, idempotent, now, produce_request, producer_id_request, values};
use crate::fetch::fetch_request;
use bytes::Bytes;
use milena_protocol::encode_request;
use milena_protocol::messages::{InitProducerIdRequest, ProduceRequest};
use milena_records::BatchHeader;
use milena_types::{ErrorCode, Uuid};
use std::io::Write;

#[test]
fn records_are_read_back_after_a_restart() {
    let mut node = TestNode::start(&[]);
    let mut client = node.connect();
    client.create_topic("kept", 2, &[]);
    assert_eq!(client.produce("kept", 0, batch(&["a", "b"])).base_offset, 0);
    assert_eq!(client.produce("kept", 0, batch(&["c"])).base_offset, 2);
    assert_eq!(client.produce("kept", 1, batch(&["d"])).base_offset, 0);
    drop(client);
    node.restart();
    let mut client = node.connect();
    let response = client.call(11, &fetch_request("kept", 0, 0));
    let partition = &response.responses[0].partitions[0];
    assert_eq!((partition.error_code, partition.high_watermark), (0, 3));
    let expected = [(0, "a"), (1, "b"), (2, "c")].map(|(offset, value)| (offset, value.to_owned()));
    assert_eq!(values(&partition.records), expected);
    assert_eq!(client.produce("kept", 0, batch(&["e"])).base_offset, 3);
}

#[test]
fn many_requests_of_one_read_get_consecutive_offsets_in_order() {
    let node = TestNode::start(&[]);
    let mut client = node.connect();
    client.create_topic("many", 3, &[]);
    let mut all = Vec::new();
    for number in 0..300 {
        let request = produce_request("many", 1, vec![(number % 3, batch(&["x", "y"]))]);
        all.extend(flat(encode_request(9, number, None, &request).unwrap()));
    }
    client.stream.write_all(&all).unwrap();
    for number in 0..300 {
        let (correlation, response) = client.receive::<ProduceRequest>(9);
        let partition = &response.responses[0].partition_responses[0];
        assert_eq!(correlation, number);
        assert_eq!((partition.error_code, partition.base_offset), (0, i64::from(number / 3 * 2)));
    }
}

#[test]
fn refusals_carry_kafkas_codes() {
    let node = TestNode::start(&[]);
    let mut client = node.connect();
    client.create_topic("strict", 1, &[("max.message.bytes", "1000")]);
    client.create_topic("compacted", 1, &[("cleanup.policy", "compact")]);
    let error = |response: milena_protocol::messages::produce_response::PartitionProduceResponse| {
        assert_eq!(response.base_offset, -1);
        ErrorCode(response.error_code)
    };
    assert_eq!(error(client.produce("absent", 0, batch(&["a"]))), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    assert_eq!(error(client.produce("strict", 1, batch(&["a"]))), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    assert_eq!(error(client.produce("strict", -1, batch(&["a"]))), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    let large = "x".repeat(2000);
    assert_eq!(error(client.produce("strict", 0, batch(&[&large]))), ErrorCode::MESSAGE_TOO_LARGE);
    let mut torn = batch(&["a"]).to_vec();
    *torn.last_mut().unwrap() ^= 1;
    assert_eq!(error(client.produce("strict", 0, torn.into())), ErrorCode::CORRUPT_MESSAGE);
    assert_eq!(error(client.produce("strict", 0, Bytes::new())), ErrorCode::INVALID_RECORD);
    let two = [batch(&["a"]), batch(&["b"])].concat();
    assert_eq!(error(client.produce("strict", 0, two.into())), ErrorCode::INVALID_RECORD);
    let future = client.produce("strict", 0, batch_at(now() + 7_200_000, &["a"]));
    assert_eq!(ErrorCode(future.error_code), ErrorCode::INVALID_TIMESTAMP);
    assert_eq!((future.log_start_offset, future.record_errors.len()), (0, 1));
    assert!(future.error_message.unwrap().contains("invalid timestamp"));
    let keyless = client.produce("compacted", 0, batch(&["a"]));
    assert_eq!(ErrorCode(keyless.error_code), ErrorCode::INVALID_RECORD);
    assert_eq!(keyless.record_errors[0].batch_index, 0);
    let acks = client.call(9, &produce_request("strict", 2, vec![(0, batch(&["a"]))]));
    assert_eq!(ErrorCode(acks.responses[0].partition_responses[0].error_code), ErrorCode::INVALID_REQUIRED_ACKS);
    assert_eq!(client.produce("strict", 0, batch(&["good"])).base_offset, 0, "nothing above was appended");
}

#[test]
fn sequences_of_an_idempotent_producer_are_kept_in_order_and_apart() {
    let node = TestNode::start(&[]);
    let mut client = node.connect();
    client.create_topic("exact", 1, &[]);
    let asked = client.call(4, &producer_id_request());
    assert_eq!((asked.error_code, asked.producer_epoch), (0, 0));
    let other = client.call(4, &producer_id_request());
    assert_ne!(asked.producer_id, other.producer_id);
    let id = asked.producer_id;
    let mut produce = |epoch, sequence, values: &[&str]| {
        let response = client.produce("exact", 0, idempotent(id, epoch, sequence, values));
        (ErrorCode(response.error_code), response.base_offset)
    };
    assert_eq!(produce(0, 0, &["a", "b"]), (ErrorCode::NONE, 0));
    assert_eq!(produce(0, 2, &["c"]), (ErrorCode::NONE, 2));
    assert_eq!(produce(0, 0, &["a", "b"]), (ErrorCode::NONE, 0), "a retry is answered with its old offset");
    assert_eq!(produce(0, 5, &["f"]).0, ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER);
    assert_eq!(produce(1, 0, &["d"]), (ErrorCode::NONE, 3));
    assert_eq!(produce(0, 3, &["old"]).0, ErrorCode::INVALID_PRODUCER_EPOCH);
    let transactional = InitProducerIdRequest {
        transactional_id: Some("t".into()),
        transaction_timeout_ms: 1000,
        ..Default::default()
    };
    assert_eq!(ErrorCode(client.call(4, &transactional).error_code), ErrorCode::NOT_COORDINATOR);
}

#[test]
fn a_repeated_batch_is_answered_with_its_newest_timestamp_as_append_time() {
    let node = TestNode::start(&[]);
    let mut client = node.connect();
    client.create_topic("twice", 1, &[]);
    let id = client.call(4, &producer_id_request()).producer_id;
    let records = idempotent(id, 0, 0, &["a", "b"]);
    let newest = BatchHeader::parse(&records).unwrap().max_timestamp;
    assert_eq!(client.produce("twice", 0, records.clone()).log_append_time_ms, -1);
    let again = client.produce("twice", 0, records);
    assert_eq!((again.error_code, again.base_offset, again.log_append_time_ms), (0, 0, newest));
}

#[test]
fn one_bad_front_refuses_the_whole_request() {
    let node = TestNode::start(&[]);
    let mut client = node.connect();
    client.create_topic("fronts", 2, &[]);
    let changed = |at: usize, value: u8| {
        let mut bytes = batch(&["a"]).to_vec();
        bytes[at] = value;
        Bytes::from(bytes)
    };
    for (at, value, error, message) in [
        (16, 3, ErrorCode::CORRUPT_MESSAGE, Some("Invalid magic found in record: 3")),
        (22, 0x10, ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED, None),
    ] {
        let request = produce_request("fronts", 1, vec![(0, batch(&["good"])), (1, changed(at, value))]);
        let response = client.call(9, &request);
        for answer in &response.responses[0].partition_responses {
            assert_eq!((ErrorCode(answer.error_code), answer.base_offset), (error, -1));
            assert_eq!(answer.error_message.as_deref(), message);
        }
        client.send(9, &produce_request("fronts", 0, vec![(0, changed(at, value))]));
        assert!(client.is_closed(), "no answer was expected, so the connection tells");
        client = node.connect();
    }
    assert_eq!(client.produce("fronts", 0, batch(&["a"])).base_offset, 0, "nothing of those was appended");
}

#[test]
fn a_failed_produce_without_acks_closes_the_connection() {
    let node = TestNode::start(&[]);
    let mut client = node.connect();
    client.create_topic("quiet", 1, &[]);
    client.send(9, &produce_request("quiet", 0, vec![(0, batch(&["a"]))]));
    assert_eq!(client.produce("quiet", 0, batch(&["b"])).base_offset, 1, "the first got no answer but is there");
    client.send(9, &produce_request("absent", 0, vec![(0, batch(&["a"]))]));
    assert!(client.is_closed());
}

#[test]
fn topic_ids_name_topics_from_version_13_on() {
    let node = TestNode::start(&[]);
    let mut client = node.connect();
    let id = client.create_topic("by-id", 1, &[]);
    let mut request = produce_request("", -1, vec![(0, batch(&["a"]))]);
    request.topic_data[0].topic_id = id;
    let response = client.call(13, &request);
    let topic = &response.responses[0];
    assert_eq!((topic.topic_id, topic.partition_responses[0].error_code), (id, 0));
    request.topic_data[0].topic_id = Uuid([9; 16]);
    let response = client.call(13, &request);
    let error = ErrorCode(response.responses[0].partition_responses[0].error_code);
    assert_eq!(error, ErrorCode::UNKNOWN_TOPIC_ID);
}

#[test]
fn with_fsync_durability_an_acknowledged_record_waits_for_the_device_and_arrives() {
    let node = TestNode::start(&[("milena.durability", "fsync")]);
    let mut client = node.connect();
    client.create_topic("safe", 1, &[]);
    for number in 0..20 {
        let response = client.produce("safe", 0, batch(&["a"]));
        assert_eq!((response.error_code, response.base_offset), (0, number));
    }
    let response = client.call(11, &fetch_request("safe", 0, 0));
    assert_eq!(response.responses[0].partitions[0].high_watermark, 20);
}
