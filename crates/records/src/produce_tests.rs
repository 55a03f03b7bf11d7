//! Each rule of produce, accepted and refused.

use super::*;
use crate::builder::{BatchBuilder, BuilderConfig};
use crate::reject::{RecordError, RecordFault};
use milena_types::{ProducerEpoch, ProducerId};

const NOW: Timestamp = Timestamp(1_700_000_000_000);

fn sample_with(config: BuilderConfig, keyed: bool) -> Bytes {
    let mut builder = BatchBuilder::new(config);
    for index in 0..20 {
        let key = (keyed || index != 3).then_some(b"key".as_slice());
        builder.append(NOW.0 - index, key, Some(&[b'v'; 200]), &[]).unwrap();
    }
    builder.build(Offset(0), LeaderEpoch::NONE).unwrap()
}

fn sample(compression: Compression) -> Bytes {
    sample_with(BuilderConfig { codec: compression.into(), ..BuilderConfig::default() }, true)
}

/// Changes the header and makes the CRC right again.
fn with_header(bytes: &Bytes, change: impl FnOnce(&mut BatchHeader)) -> Bytes {
    let mut header = BatchHeader::parse(bytes).unwrap();
    change(&mut header);
    finish(header, bytes.to_vec()).unwrap()
}

fn validate(bytes: Bytes, rules: &ProduceRules) -> Result<ValidBatch, RejectReason> {
    validate_produce(bytes, rules, NOW, &mut Scratch::new())
}

fn code(bytes: Bytes, rules: &ProduceRules) -> ErrorCode {
    validate(bytes, rules).map_or_else(|reason| reason.error, |_| ErrorCode::NONE)
}

#[test]
fn a_good_batch_is_passed_on_without_a_copy() {
    for compression in Compression::ALL {
        let bytes = sample(compression);
        let valid = validate(bytes.clone(), &ProduceRules::default()).unwrap();
        assert_eq!(valid.bytes.as_ptr(), bytes.as_ptr(), "{compression}");
        assert_eq!(valid.header.max_timestamp, NOW.0);
    }
}

#[test]
fn stamped_bytes_keep_their_crc() {
    let valid = validate(sample(Compression::Lz4), &ProduceRules::default()).unwrap();
    let mut stamped = valid.bytes.to_vec();
    stamped[..16].copy_from_slice(&valid.stamped_prefix(Offset(1234), LeaderEpoch(6)));
    let batch = Batch::parse(&stamped.into()).unwrap();
    batch.verify_crc().unwrap();
    assert_eq!(batch.header.last_offset(), Offset(1253));
    assert_eq!(batch.header.partition_leader_epoch, LeaderEpoch(6));
}

#[test]
fn the_number_and_kind_of_batches_is_checked_first() {
    let rules = ProduceRules::default();
    let one = sample(Compression::None);
    assert_eq!(code(Bytes::new(), &rules), ErrorCode::INVALID_RECORD);
    assert_eq!(code(one.slice(..100), &rules), ErrorCode::INVALID_RECORD);
    assert_eq!(code([one.clone(), one.clone()].concat().into(), &rules), ErrorCode::INVALID_RECORD);
    assert_eq!(code([&one as &[u8], &[0; 20]].concat().into(), &rules), ErrorCode::CORRUPT_MESSAGE);
    assert_eq!(code([&one as &[u8], &[0; 11]].concat().into(), &rules), ErrorCode::NONE);
    let mut old = one.to_vec();
    old[16] = 1;
    assert_eq!(code(old.clone().into(), &rules), ErrorCode::INVALID_RECORD);
    old[16] = 9;
    assert_eq!(code(old.into(), &rules), ErrorCode::CORRUPT_MESSAGE);
    let early = ProduceRules { request_version: 6, ..rules };
    assert_eq!(code(sample(Compression::Zstd), &early), ErrorCode::UNSUPPORTED_COMPRESSION_TYPE);
    assert_eq!(code(sample(Compression::Lz4), &early), ErrorCode::NONE);
}

#[test]
fn damage_sizes_and_offsets_are_refused() {
    let rules = ProduceRules::default();
    let one = sample(Compression::None);
    let mut damaged = one.to_vec();
    *damaged.last_mut().unwrap() ^= 1;
    assert_eq!(code(damaged.into(), &rules), ErrorCode::CORRUPT_MESSAGE);
    let max_message_bytes = one.len() as i32;
    assert_eq!(code(one.clone(), &ProduceRules { max_message_bytes, ..rules }), ErrorCode::NONE);
    let max_message_bytes = max_message_bytes - 1;
    assert_eq!(code(one.clone(), &ProduceRules { max_message_bytes, ..rules }), ErrorCode::MESSAGE_TOO_LARGE);
    let segment_bytes = 500;
    assert_eq!(code(one.clone(), &ProduceRules { segment_bytes, ..rules }), ErrorCode::RECORD_LIST_TOO_LARGE);
    let moved = with_header(&one, |header| header.base_offset = Offset(1));
    assert_eq!(code(moved, &rules), ErrorCode::INVALID_RECORD);
}

#[test]
fn header_fields_must_agree() {
    let rules = ProduceRules::default();
    let changes: [fn(&mut BatchHeader); 7] = [
        |header| header.last_offset_delta = -1,
        |header| header.record_count = 0,
        |header| header.record_count = -5,
        |header| header.record_count = 19,
        |header| (header.record_count, header.last_offset_delta) = (21, 20),
        |header| header.attributes |= 0x20,
        |header| header.producer_id = ProducerId(4),
    ];
    for compression in Compression::ALL {
        let one = sample(compression);
        for (index, change) in changes.iter().enumerate() {
            assert_eq!(code(with_header(&one, change), &rules), ErrorCode::INVALID_RECORD, "{compression} {index}");
        }
        let fewer = with_header(&one, |header| (header.record_count, header.last_offset_delta) = (19, 18));
        assert_eq!(code(fewer, &rules), ErrorCode::INVALID_RECORD);
        let idempotent = with_header(&one, |header| (header.producer_id, header.base_sequence) = (ProducerId(4), 0));
        assert_eq!(code(idempotent, &rules), ErrorCode::NONE);
        let unknown = with_header(&one, |header| header.attributes |= 7);
        assert_eq!(code(unknown, &rules), ErrorCode::UNKNOWN_SERVER_ERROR);
    }
}

#[test]
fn a_record_with_a_wrong_length_is_found_wherever_it_is() {
    let one = sample(Compression::None);
    let record_bytes = (one.len() - 61) / 20;
    for record in 0..20 {
        for change in [2, 4, 1, 0x40] {
            let mut wrong = one.to_vec();
            wrong[61 + record * record_bytes] ^= change;
            let wrong = finish(BatchHeader::parse(&wrong).unwrap(), wrong).unwrap();
            assert_eq!(code(wrong, &ProduceRules::default()), ErrorCode::INVALID_RECORD, "{record} {change}");
        }
    }
}

#[test]
fn a_record_that_says_it_ends_where_a_later_one_does_is_refused() {
    let one = sample(Compression::None);
    let record_bytes = (one.len() - 61) / 20;
    for record in [0, 7, 18] {
        let mut longer = one.to_vec();
        let mut size = Vec::new();
        crate::varint::put_varint(&mut size, (2 * record_bytes - 2) as i32);
        longer[61 + record * record_bytes..][..2].copy_from_slice(&size);
        let mut header = BatchHeader::parse(&longer).unwrap();
        (header.record_count, header.last_offset_delta) = (19, 18);
        let longer = finish(header, longer).unwrap();
        assert_eq!(code(longer, &ProduceRules::default()), ErrorCode::INVALID_RECORD, "{record}");
    }
}

#[test]
fn compacted_topics_need_keys() {
    let rules = ProduceRules { compacted: true, ..ProduceRules::default() };
    for compression in Compression::ALL {
        assert_eq!(code(sample(compression), &rules), ErrorCode::NONE);
        let config = BuilderConfig { codec: compression.into(), ..BuilderConfig::default() };
        let reason = validate(sample_with(config, false), &rules).unwrap_err();
        assert_eq!(reason.error, ErrorCode::INVALID_RECORD);
        assert_eq!(reason.record_errors, [RecordError { index: 3, fault: RecordFault::MissingKey }]);
        assert!(reason.message(&"t-0").contains("1 record errors in total"));
    }
}

#[test]
fn timestamps_out_of_range_are_refused_record_by_record() {
    let rules = ProduceRules { before_max_ms: 10, ..ProduceRules::default() };
    for compression in Compression::ALL {
        let reason = validate(sample(compression), &rules).unwrap_err();
        assert_eq!(reason.error, ErrorCode::INVALID_TIMESTAMP);
        let indexes: Vec<i32> = reason.record_errors.iter().map(|error| error.index).collect();
        assert_eq!(indexes, (11..20).collect::<Vec<i32>>());
        let append_time = ProduceRules { timestamp_type: TimestampType::LogAppendTime, ..rules };
        assert_eq!(code(sample(compression), &append_time), ErrorCode::NONE);
    }
    let late = ProduceRules { after_max_ms: 5, ..ProduceRules::default() };
    let now = Timestamp(NOW.0 - 10);
    let reason = validate_produce(sample(Compression::None), &late, now, &mut Scratch::new()).unwrap_err();
    assert_eq!((reason.error, reason.record_errors.len()), (ErrorCode::INVALID_TIMESTAMP, 5));
}

#[test]
fn append_time_is_written_by_the_broker_and_never_by_the_producer() {
    let rules = ProduceRules { timestamp_type: TimestampType::LogAppendTime, ..ProduceRules::default() };
    for compression in Compression::ALL {
        let valid = validate(sample(compression), &rules).unwrap();
        let batch = Batch { header: valid.header, bytes: valid.bytes };
        batch.verify_crc().unwrap();
        assert_eq!(batch.header.timestamp_type(), TimestampType::LogAppendTime);
        assert_eq!(batch.header.compression(), Ok(compression));
        assert!(batch.records(1 << 20).unwrap().all(|record| record.unwrap().timestamp == NOW.0));
        let claimed = with_header(&sample(compression), |header| header.attributes |= 8);
        let reason = validate(claimed, &rules).unwrap_err();
        assert_eq!((reason.error, reason.record_errors.len()), (ErrorCode::INVALID_TIMESTAMP, 20));
    }
}

#[test]
fn a_wrong_max_timestamp_is_put_right() {
    for compression in Compression::ALL {
        let wrong = with_header(&sample(compression), |header| header.max_timestamp += 5);
        let valid = validate(wrong, &ProduceRules::default()).unwrap();
        assert_eq!(valid.header.max_timestamp, NOW.0);
        crate::header::verify_crc(&valid.bytes).unwrap();
    }
}

#[test]
fn another_codec_recompresses_and_keeps_every_record() {
    let config = BuilderConfig {
        producer_id: ProducerId(7),
        producer_epoch: ProducerEpoch(1),
        base_sequence: 33,
        transactional: true,
        ..BuilderConfig::default()
    };
    let mut scratch = Scratch::new();
    for source in Compression::ALL {
        for target in Compression::ALL {
            let bytes = sample_with(BuilderConfig { codec: source.into(), ..config }, true);
            let before: Vec<_> = Batch::parse(&bytes).unwrap().records(1 << 20).unwrap().collect();
            let rules =
                ProduceRules { compression: TargetCompression::Codec(target.into()), ..ProduceRules::default() };
            let valid = validate_produce(bytes, &rules, NOW, &mut scratch).unwrap();
            crate::header::verify_crc(&valid.bytes).unwrap();
            assert_eq!(valid.header.compression(), Ok(target));
            assert_eq!((valid.header.producer_id, valid.header.base_sequence), (ProducerId(7), 33));
            assert!(valid.header.is_transactional());
            let batch = Batch { header: valid.header, bytes: valid.bytes };
            let after: Vec<_> = batch.records_with(1 << 20, &mut scratch).unwrap().collect();
            assert_eq!(before, after, "{source} to {target}");
        }
    }
}

#[test]
fn the_level_asked_for_is_the_level_written() {
    let mut builder = BatchBuilder::new(BuilderConfig::default());
    for index in 0..300_u64 {
        let line = format!("{{\"user\":{},\"path\":\"/shop/item/{}\"}}", index * index % 9973, index * 7919 % 500);
        builder.append(NOW.0, None, Some(line.as_bytes()), &[]).unwrap();
    }
    let bytes = builder.build(Offset(0), LeaderEpoch::NONE).unwrap();
    for (compression, low, high) in [(Compression::Gzip, 1, 9), (Compression::Lz4, 9, 12), (Compression::Zstd, -20, 19)]
    {
        let size = |level| {
            let compression = TargetCompression::Codec(Codec { compression, level });
            validate(bytes.clone(), &ProduceRules { compression, ..ProduceRules::default() }).unwrap().bytes.len()
        };
        assert!(size(high) < size(low), "{compression}: {} and {}", size(high), size(low));
    }
}

#[test]
fn recompression_that_grows_a_batch_past_the_limit_is_refused() {
    let bytes = sample(Compression::Zstd);
    let rules = ProduceRules {
        compression: TargetCompression::Codec(Codec::NONE),
        max_message_bytes: bytes.len() as i32,
        ..ProduceRules::default()
    };
    assert_eq!(code(bytes, &rules), ErrorCode::MESSAGE_TOO_LARGE);
}

#[test]
fn a_bomb_is_refused() {
    let mut builder = BatchBuilder::new(BuilderConfig { codec: Compression::Zstd.into(), ..BuilderConfig::default() });
    builder.append(NOW.0, None, Some(&vec![0; 4 << 20]), &[]).unwrap();
    let bomb = builder.build(Offset(0), LeaderEpoch::NONE).unwrap();
    let rules = ProduceRules { max_decompressed_bytes: 1 << 20, ..ProduceRules::default() };
    assert_eq!(code(bomb.clone(), &rules), ErrorCode::MESSAGE_TOO_LARGE);
    assert_eq!(code(bomb.clone(), &ProduceRules::default()), ErrorCode::NONE);
    // Written anew all of it is held, hence a limit of its own.
    let compression = TargetCompression::Codec(Compression::Lz4.into());
    let rules = ProduceRules { max_rebuilt_bytes: 1 << 20, compression, ..ProduceRules::default() };
    assert_eq!(code(bomb.clone(), &rules), ErrorCode::MESSAGE_TOO_LARGE);
    assert_eq!(code(bomb, &ProduceRules { compression, ..ProduceRules::default() }), ErrorCode::NONE);
}

#[test]
fn any_damaged_byte_behind_a_right_crc_gives_a_typed_answer() {
    let mut scratch = Scratch::new();
    let rules = ProduceRules { max_decompressed_bytes: 1 << 20, ..ProduceRules::default() };
    let recompress = ProduceRules { compression: TargetCompression::Codec(Compression::Gzip.into()), ..rules };
    for compression in Compression::ALL {
        let bytes = sample(compression);
        for position in 21..bytes.len().min(600) {
            for flip in [1, 0x80, 0xff] {
                let mut damaged = bytes.to_vec();
                damaged[position] ^= flip;
                let header = BatchHeader::parse(&damaged).unwrap();
                let damaged = finish(header, damaged).unwrap();
                for rules in [&rules, &recompress] {
                    drop(validate_produce(damaged.clone(), rules, NOW, &mut scratch));
                }
            }
        }
        for len in 0..bytes.len() {
            assert!(validate_produce(bytes.slice(..len), &rules, NOW, &mut scratch).is_err());
        }
    }
}

#[test]
fn a_coordinator_may_write_control_records() {
    let marker = crate::control::end_transaction_marker(ProducerId(1), ProducerEpoch(0), true, 3, NOW.0).unwrap();
    assert_eq!(code(marker.clone(), &ProduceRules::default()), ErrorCode::INVALID_RECORD);
    let rules = ProduceRules {
        origin: AppendOrigin::Coordinator,
        compression: TargetCompression::Codec(Compression::Zstd.into()),
        ..ProduceRules::default()
    };
    assert_eq!(validate(marker.clone(), &rules).unwrap().bytes, marker);
}
