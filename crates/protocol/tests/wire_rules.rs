//! Rules of the wire that random messages do not show: what a version cannot carry, headers, frames, segments.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use milena_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use milena_protocol::messages::{
    ApiVersionsRequest, ApiVersionsResponse, FetchRequest, FetchResponse, MetadataRequest, MetadataResponse,
    ProduceRequest,
};
use milena_protocol::{
    ApiKey, DecodeError, EncodeError, FileSlice, FileSource, Message, RawTaggedField, Reader, Records, Segment, Writer,
    decode_response, encode_request, encode_response, frame, response_header_version,
};
use milena_types::Uuid;

fn encode<M: Message>(message: &M, version: i16) -> Result<Bytes, EncodeError> {
    let mut writer = Writer::new();
    message.encode(&mut writer, version)?;
    writer.into_bytes()
}

#[test]
fn a_set_field_that_the_version_lacks_is_refused_unless_it_is_ignorable() {
    let refused = FetchRequest { replica_id: 5, ..FetchRequest::default() };
    let field = EncodeError::FieldNotInVersion { message: "FetchRequest", field: "ReplicaId", version: 15 };
    assert_eq!(encode(&refused, 15), Err(field));
    assert!(encode(&refused, 14).is_ok());
    let ignored = FetchRequest { rack_id: "here".into(), ..FetchRequest::default() };
    let without = encode(&FetchRequest::default(), 10).unwrap();
    assert_eq!(encode(&ignored, 10), Ok(without));
}

#[test]
fn a_null_that_the_version_lacks_is_refused() {
    let all_topics = MetadataRequest { topics: None, ..MetadataRequest::default() };
    let null = EncodeError::NullNotInVersion { message: "MetadataRequest", field: "Topics", version: 0 };
    assert_eq!(encode(&all_topics, 0), Err(null));
    assert!(encode(&all_topics, 1).is_ok());
    assert_eq!(
        MetadataRequest::decode(&mut Reader::new(Bytes::from_static(&[0xff; 4])), 0),
        Err(DecodeError::UnexpectedNull)
    );
}

#[test]
fn defaults_are_kafkas() {
    let request = FetchRequest::default();
    assert_eq!((request.replica_id, request.max_bytes, request.session_epoch), (-1, i32::MAX, -1));
    assert_eq!(request.replica_state.replica_epoch, -1);
    assert_eq!(request.cluster_id, None);
    assert_eq!(ProduceRequest::default().transactional_id, None);
    assert!(MetadataRequest::default().allow_auto_topic_creation);
    assert_eq!(MetadataResponse::default().cluster_authorized_operations, i32::MIN);
    assert_eq!(ApiVersionsResponse::default().finalized_features_epoch, -1);
    assert_eq!(PartitionData::default().records, None);
}

#[test]
fn unknown_tags_stay_in_order_around_known_ones_and_collisions_are_refused() {
    let raw = |tag, data: &'static [u8]| RawTaggedField { tag, data: Bytes::from_static(data) };
    let mut request = FetchRequest { cluster_id: Some("c".into()), ..FetchRequest::default() };
    request.replica_state.replica_id = 3;
    request.unknown_tagged_fields = vec![raw(2, b"two"), raw(70_000, b"")];
    let bytes = encode(&request, 17).unwrap();
    let mut reader = Reader::new(bytes);
    assert_eq!(FetchRequest::decode(&mut reader, 17), Ok(request.clone()));
    request.unknown_tagged_fields = vec![raw(1, b"one")];
    assert_eq!(encode(&request, 17), Err(EncodeError::TagCollision { tag: 1 }));
    assert!(matches!(encode(&request, 11), Err(EncodeError::FieldNotInVersion { .. })));
}

#[test]
fn a_tagged_field_with_bytes_left_over_is_refused() {
    // ApiVersions response 3: no error, no keys, no throttle, one tagged field: epoch (tag 1) of nine bytes.
    let bytes = [0, 0, 1, 0, 0, 0, 0, 1, 1, 9, 0, 0, 0, 0, 0, 0, 0, 1, 0];
    let outcome = ApiVersionsResponse::decode(&mut Reader::new(Bytes::copy_from_slice(&bytes)), 3);
    assert_eq!(outcome, Err(DecodeError::TaggedFieldSize { tag: 1, remaining: 1 }));
}

#[test]
fn a_known_tag_in_a_version_without_it_is_refused() {
    let request = FetchRequest::default();
    let mut bytes = BytesMut::from(encode(&request, 12).unwrap().as_ref());
    let end = bytes.len() - 1;
    bytes.truncate(end);
    bytes.extend_from_slice(&[1, 1, 0]);
    let outcome = FetchRequest::decode(&mut Reader::new(bytes.freeze()), 12);
    assert_eq!(outcome, Err(DecodeError::TagNotInVersion { tag: 1, version: 12 }));
}

#[test]
fn an_unknown_key_keeps_what_is_needed_to_answer() {
    let header = Bytes::from_static(&[0, 4, 0, 9, 0, 0, 0, 42, 0xff, 0xff]);
    let unknown = DecodeError::UnknownApiKey { api_key: ApiKey(4), api_version: 9, correlation_id: 42 };
    assert_eq!(frame::decode_request_header(&mut Reader::new(header)), Err(unknown));
}

#[test]
fn a_header_reads_at_versions_that_the_api_does_not_have() {
    let header = Bytes::from_static(&[0, 18, 0x03, 0xe8, 0, 0, 0, 1, 0, 1, b'c', 0, 9, 9]);
    let mut reader = Reader::new(header);
    let read = frame::decode_request_header(&mut reader).unwrap();
    assert_eq!((read.api_key, read.api_version, read.client_id.as_deref()), (ApiKey::API_VERSIONS, 1000, Some("c")));
    assert_eq!(reader.remaining(), 2);
}

#[test]
fn api_versions_answers_with_the_oldest_header() {
    assert_eq!(response_header_version(ApiKey::API_VERSIONS, 4), 0);
    assert_eq!(response_header_version(ApiKey::PRODUCE, 9), 1);
    assert_eq!(response_header_version(ApiKey::PRODUCE, 8), 0);
    assert_eq!(response_header_version(ApiKey::SASL_HANDSHAKE, 1), 0);
}

#[test]
fn a_request_frame_is_cut_and_read_back_with_its_header() {
    let request = ApiVersionsRequest { client_software_name: "test".into(), ..ApiVersionsRequest::default() };
    let mut received = BytesMut::new();
    for segment in encode_request(4, 77, Some("me"), &request).unwrap() {
        let Segment::Bytes(bytes) = segment else { panic!("no file in a request") };
        received.extend_from_slice(&bytes);
    }
    let whole = received.clone();
    let mut cut = BytesMut::from(&whole[..whole.len() - 1]);
    assert_eq!(frame::split(&mut cut, 1000), Ok(None));
    received.extend_from_slice(&[0, 0]);
    let frame = frame::split(&mut received, 1000).unwrap().unwrap();
    assert_eq!(received.len(), 2);
    let mut reader = Reader::new(frame);
    let header = frame::decode_request_header(&mut reader).unwrap();
    assert_eq!((header.correlation_id, header.client_id.as_deref()), (77, Some("me")));
    assert_eq!(ApiVersionsRequest::decode(&mut reader, 4), Ok(request));
    assert!(reader.is_empty());
}

#[derive(Debug)]
struct NoFile;

impl FileSource for NoFile {
    fn read_exact_at(&self, _: &mut [u8], _: u64) -> std::io::Result<()> {
        Err(std::io::Error::other("nobody may read records to encode them"))
    }

    fn raw_fd(&self) -> Option<i32> {
        None
    }
}

#[test]
fn records_become_segments_of_their_own_without_a_copy() {
    let big = Bytes::from(vec![7; 5000]);
    let slice = FileSlice { source: Arc::new(NoFile), position: 4096, len: 1_000_000 };
    let partition = |records| PartitionData { records: Some(records), ..PartitionData::default() };
    let topic = FetchableTopicResponse {
        topic_id: Uuid::ONE,
        partitions: vec![partition(Records::Bytes(big.clone())), partition(Records::File(slice.clone()))],
        ..FetchableTopicResponse::default()
    };
    let response = FetchResponse { responses: vec![topic], ..FetchResponse::default() };
    let segments = encode_response(ApiKey::FETCH, 17, 9, &response).unwrap();
    let [Segment::Bytes(head), Segment::Bytes(first), Segment::Bytes(_), Segment::File(second), Segment::Bytes(_)] =
        segments.as_slice()
    else {
        panic!("{segments:?}")
    };
    assert_eq!(first.as_ptr(), big.as_ptr());
    assert_eq!(second, &slice);
    let size: usize = segments.iter().map(Segment::len).sum();
    assert_eq!(head.first_chunk::<4>().map(|prefix| i32::from_be_bytes(*prefix) as usize), Some(size - 4));
}

#[test]
fn a_response_reads_back_with_its_correlation_id() {
    let response = FetchResponse { session_id: 5, ..FetchResponse::default() };
    let segments = encode_response(ApiKey::FETCH, 12, 1234, &response).unwrap();
    let [Segment::Bytes(bytes)] = segments.as_slice() else { panic!("{segments:?}") };
    assert_eq!(decode_response::<FetchRequest>(bytes.slice(4..), 12), Ok((1234, response)));
}

#[test]
fn strings_that_are_too_long_or_not_text_are_typed_errors() {
    let mut reader = Reader::new(Bytes::from_static(&[0, 2, 0xc3, 0x28]));
    assert_eq!(reader.read_string(false), Err(DecodeError::InvalidUtf8));
    let mut reader = Reader::new(Bytes::from(vec![0x81, 0x80, 0x02, 0, 0]));
    assert_eq!(reader.read_string(true), Err(DecodeError::StringTooLong { length: 32_768 }));
    assert_eq!(Writer::new().write_string(&"x".repeat(32_768), true), Err(EncodeError::TooLong { length: 32_768 }));
}

#[test]
fn what_a_request_takes_decoded_is_bounded_by_its_allowance() {
    // 200,000 topics of one byte each: an empty name.
    let mut writer = Writer::new();
    writer.write_i32(200_000);
    let mut frame = writer.into_bytes().unwrap().to_vec();
    frame.extend(std::iter::repeat_n(0, 400_000));
    let frame = Bytes::from(frame);
    let decode = |allowance| {
        let mut reader = Reader::with_allowance(frame.clone(), allowance);
        (MetadataRequest::decode(&mut reader, 0).map(|request| request.topics.unwrap().len()), reader.allowance_left())
    };
    let (count, left) = decode(64 << 20);
    assert_eq!(count, Ok(200_000));
    let taken = (64 << 20) - left;
    assert!(taken > 2 * frame.len(), "{taken} bytes for {} on the wire", frame.len());
    assert!(matches!(decode(taken - 1).0, Err(DecodeError::TooLarge { .. })));
    assert!(decode(taken).0.is_ok());
}

#[test]
fn tagged_fields_count_against_the_allowance() {
    // Version 9 of Metadata is flexible: no topics, three flags, then 100,000 unknown tags without a value.
    let mut body = vec![1, 0, 0, 0];
    body.extend([0xa0, 0x8d, 0x06]);
    body.extend((0..100_000u32).flat_map(|_| [0x64, 0x00]));
    let body = Bytes::from(body);
    let decode = |allowance| MetadataRequest::decode(&mut Reader::with_allowance(body.clone(), allowance), 9);
    assert_eq!(decode(64 << 20).unwrap().unknown_tagged_fields.len(), 100_000);
    assert!(matches!(decode(1 << 20), Err(DecodeError::TooLarge { .. })));
}
