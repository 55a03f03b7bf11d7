//! Batches that are built are read back, and hostile ones are refused without a panic.

use super::*;
use crate::batch::{Batch, Batches};
use crate::compression::Compression;
use crate::control::{ControlType, control_batch, control_type, end_transaction_marker};

fn header(key: &'static [u8], value: Option<&'static [u8]>) -> Header {
    Header { key: Bytes::from_static(key), value: value.map(Bytes::from_static) }
}

fn build(compression: Compression) -> Bytes {
    let config = BuilderConfig {
        codec: compression.into(),
        producer_id: ProducerId(9),
        producer_epoch: ProducerEpoch(1),
        base_sequence: i32::MAX - 1,
        transactional: true,
        ..BuilderConfig::default()
    };
    let mut builder = BatchBuilder::new(config);
    builder.append(1000, Some(b"k"), Some(b"v"), &[]).unwrap();
    builder.append(990, None, Some(&[0xff; 300]), &[header(b"h", None), header(b"h", Some(b"2"))]).unwrap();
    builder.append(2000, Some(b""), None, &[header(b"\xff\xfe", Some(b""))]).unwrap();
    builder.build(Offset(50), LeaderEpoch(4)).unwrap()
}

#[test]
fn a_batch_comes_back_in_every_codec() {
    for compression in Compression::ALL {
        let bytes = build(compression);
        let mut batches = Batches::new(bytes.clone());
        let batch = batches.next().unwrap().unwrap();
        assert!(batches.next().is_none());
        assert_eq!(batches.tail_len(), 0);
        batch.verify_crc().unwrap();
        let parsed = batch.header;
        assert_eq!(parsed.compression(), Ok(compression));
        assert_eq!((parsed.base_offset, parsed.next_offset()), (Offset(50), Offset(53)));
        assert_eq!((parsed.base_timestamp, parsed.max_timestamp), (1000, 2000));
        assert_eq!(parsed.record_count, 3);
        assert!(parsed.is_transactional() && parsed.has_producer_id() && !parsed.is_control());
        let records: Vec<Record> = batch.records(1 << 20).unwrap().map(Result::unwrap).collect();
        assert_eq!(records.iter().map(|record| record.timestamp).collect::<Vec<_>>(), [1000, 990, 2000]);
        assert_eq!(records.iter().map(|record| record.sequence).collect::<Vec<_>>(), [i32::MAX - 1, i32::MAX, 0]);
        assert_eq!(records[1].key, None);
        assert_eq!(records[1].value.as_deref(), Some([0xff; 300].as_slice()));
        assert_eq!(records[1].headers, [header(b"h", None), header(b"h", Some(b"2"))]);
        assert_eq!((records[2].key.as_deref(), records[2].value.as_deref()), (Some(b"" as &[u8]), None));
        assert_eq!(records[2].headers, [header(b"\xff\xfe", Some(b""))]);
        assert_eq!(records[2].offset, Offset(52));
    }
}

#[test]
fn a_cut_tail_ends_the_iteration() {
    let one = build(Compression::None);
    let two: Bytes = [one.clone(), one.clone()].concat().into();
    for len in 0..two.len() {
        let mut batches = Batches::new(two.slice(..len));
        let count = batches.by_ref().map(Result::unwrap).count();
        assert_eq!(count, len / one.len(), "at {len}");
        assert_eq!(batches.tail_len(), len % one.len());
    }
}

#[test]
fn a_front_that_is_none_is_an_error_once() {
    let mut batches = Batches::new(Bytes::from_static(&[0; 40]));
    assert_eq!(batches.next(), Some(Err(Error::BatchLength(0))));
    assert_eq!(batches.next(), None);
    let mut bytes = build(Compression::None).to_vec();
    bytes[16] = 1;
    assert_eq!(Batches::new(bytes.clone().into()).next(), Some(Err(Error::OldMagic(1))));
    bytes[16] = 3;
    assert_eq!(Batches::new(bytes.into()).next(), Some(Err(Error::Magic(3))));
}

#[test]
fn damaged_batches_never_panic_and_damage_is_seen() {
    for compression in Compression::ALL {
        let bytes = build(compression);
        for position in 0..bytes.len() {
            for flip in [1, 0x80, 0xff] {
                let mut damaged = bytes.to_vec();
                damaged[position] ^= flip;
                let Ok(batch) = Batch::parse(&Bytes::from(damaged)) else { continue };
                if position >= 17 {
                    assert!(batch.verify_crc().is_err());
                }
                if let Ok(records) = batch.records(1 << 20) {
                    records.for_each(drop);
                }
            }
        }
    }
}

#[test]
fn a_count_that_lies_is_refused() {
    let mut bytes = build(Compression::None).to_vec();
    for (count, good) in [(2_i32, false), (3, true), (4, false), (i32::MAX, false)] {
        bytes[57..61].copy_from_slice(&count.to_be_bytes());
        let batch = Batch::parse(&bytes.clone().into()).unwrap();
        assert_eq!(batch.records(0).unwrap().all(|record| record.is_ok()), good, "{count}");
    }
    bytes[57] = 0x80;
    assert!(Batch::parse(&bytes.into()).unwrap().records(0).is_err());
}

#[test]
fn log_append_time_is_the_time_of_every_record() {
    let config = BuilderConfig {
        timestamp_type: TimestampType::LogAppendTime,
        log_append_time_ms: 77,
        ..BuilderConfig::default()
    };
    let mut builder = BatchBuilder::new(config);
    builder.append(5, None, None, &[]).unwrap();
    builder.append(9, None, None, &[]).unwrap();
    let batch = Batch::parse(&builder.build(Offset(0), LeaderEpoch(0)).unwrap()).unwrap();
    assert_eq!(batch.header.max_timestamp, 77);
    assert!(batch.records(0).unwrap().all(|record| record.unwrap().timestamp == 77));
}

#[test]
fn compaction_keeps_gaps_and_the_delete_horizon() {
    let whole = Batch::parse(&build(Compression::None)).unwrap();
    let kept = whole.records(0).unwrap().nth(1).unwrap().unwrap();
    let config = BuilderConfig { delete_horizon_ms: Some(5000), ..BuilderConfig::default() };
    let mut builder = BatchBuilder::new(config);
    builder.append_record(kept.offset_delta, &kept).unwrap();
    assert!(builder.append_record(0, &kept).is_err());
    builder.keep_last_offset_delta(2);
    let batch = Batch::parse(&builder.build(Offset(50), LeaderEpoch(4)).unwrap()).unwrap();
    assert!(batch.header.has_delete_horizon());
    assert_eq!(batch.header.base_timestamp, 5000);
    assert_eq!(batch.header.last_offset(), Offset(52));
    let back = batch.records(0).unwrap().next().unwrap().unwrap();
    assert_eq!((back.offset, back.timestamp), (kept.offset, kept.timestamp));
}

#[test]
fn control_batches_carry_their_type() {
    let records = [
        (ControlType::LeaderChange, Bytes::from_static(b"a")),
        (ControlType::KRaftVersion, Bytes::from_static(b"b")),
        (ControlType::KRaftVoters, Bytes::from_static(b"c")),
    ];
    let batch = Batch::parse(&control_batch(&records, 3, Offset(8), LeaderEpoch(2)).unwrap()).unwrap();
    assert!(batch.header.is_control() && !batch.header.is_transactional());
    for (record, (kind, value)) in batch.records(0).unwrap().zip(&records) {
        let record = record.unwrap();
        assert_eq!(control_type(record.key.as_deref().unwrap()), Ok(Some(*kind)));
        assert_eq!(record.value.as_ref(), Some(value));
    }
    assert_eq!(control_type(&[0, 0, 0, 99]), Ok(None));
    assert!(control_type(&[0, 0, 0]).is_err());
    assert!(control_type(&[0xff, 0xff, 0, 0]).is_err());
}

#[test]
fn a_transaction_marker_is_transactional_and_control() {
    let bytes = end_transaction_marker(ProducerId(5), ProducerEpoch(2), false, 7, 1).unwrap();
    let batch = Batch::parse(&bytes).unwrap();
    assert!(batch.header.is_control() && batch.header.is_transactional());
    let record = batch.records(0).unwrap().next().unwrap().unwrap();
    assert_eq!(record.key.as_deref(), Some([0, 0, 0, 0].as_slice()));
    assert_eq!(record.value.as_deref(), Some([0, 0, 0, 0, 0, 7].as_slice()));
}
