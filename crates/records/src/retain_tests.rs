//! Batches whose records are taken out.

use bytes::Bytes;
use milena_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};

use super::*;
use crate::{Batch, BatchBuilder, BuilderConfig, Header, verify_crc};

fn batch(compression: Compression, timestamp_type: TimestampType, delete_horizon_ms: Option<i64>) -> Batch {
    let mut builder = BatchBuilder::new(BuilderConfig {
        codec: compression.into(),
        timestamp_type,
        log_append_time_ms: 5000,
        producer_id: ProducerId(7),
        producer_epoch: ProducerEpoch(2),
        base_sequence: 40,
        transactional: true,
        delete_horizon_ms,
        ..BuilderConfig::default()
    });
    for at in 0..10_i64 {
        let key = format!("key {at}");
        let value = format!("a value that is somewhat longer, of record {at}").repeat(3);
        let value = (at % 4 != 3).then_some(value.as_bytes());
        let headers = [Header { key: Bytes::from_static(b"h"), value: None }];
        builder.append(1000 + (at * 37) % 20, Some(key.as_bytes()), value, &headers).unwrap();
    }
    Batch::parse(&builder.build(Offset(100), LeaderEpoch(3)).unwrap()).unwrap()
}

fn payload(batch: &Batch) -> Vec<u8> {
    match batch.header.compression().unwrap() {
        Compression::None => batch.payload().to_vec(),
        compression => Scratch::new().decompress(compression, &batch.payload(), 1 << 20).unwrap(),
    }
}

#[test]
fn views_see_what_records_hold() {
    let batch = batch(Compression::Zstd, TimestampType::CreateTime, None);
    let payload = payload(&batch);
    let views: Vec<_> = RecordViews::new(&batch.header, &payload).unwrap().map(Result::unwrap).collect();
    let records: Vec<_> = batch.records(1 << 20).unwrap().map(Result::unwrap).collect();
    assert_eq!(views.len(), 10);
    for (view, record) in views.iter().zip(&records) {
        assert_eq!(view.offset_delta, record.offset_delta);
        assert_eq!(view.timestamp(&batch.header), record.timestamp);
        assert_eq!(view.key, record.key.as_deref());
        assert_eq!(view.has_value, record.value.is_some());
    }
}

#[test]
fn kept_records_are_the_same_records_in_a_batch_of_the_same_kind() {
    for compression in Compression::ALL {
        for timestamp_type in [TimestampType::CreateTime, TimestampType::LogAppendTime] {
            for (before, after) in [(None, None), (None, Some(9000)), (Some(8000), Some(8000))] {
                let batch = batch(compression, timestamp_type, before);
                let payload = payload(&batch);
                let kept: Vec<_> =
                    RecordViews::new(&batch.header, &payload).unwrap().map(Result::unwrap).skip(2).step_by(3).collect();
                let mut out = b"before".to_vec();
                let header = write_retained(&mut out, &batch.header, &kept, after, &mut Scratch::new()).unwrap();
                verify_crc(&out[6..]).unwrap();
                let again = Batch::parse(&Bytes::from(out[6..].to_vec())).unwrap();
                assert_eq!(again.header, header);
                let expected: Vec<_> = batch.records(1 << 20).unwrap().map(Result::unwrap).skip(2).step_by(3).collect();
                let found: Vec<_> = again.records(1 << 20).unwrap().map(Result::unwrap).collect();
                assert_eq!(found, expected, "{compression} {timestamp_type:?} {before:?} {after:?}");
                assert_eq!(header.last_offset(), batch.header.last_offset());
                assert_eq!(header.last_sequence(), batch.header.last_sequence());
                assert_eq!(header.has_delete_horizon(), after.is_some());
                assert_eq!(header.base_timestamp, after.unwrap_or(expected[0].timestamp));
                assert_eq!(header.max_timestamp, expected.iter().map(|record| record.timestamp).max().unwrap());
                assert!(header.is_transactional() && header.timestamp_type() == timestamp_type);
            }
        }
    }
}

#[test]
fn an_emptied_batch_is_a_header_that_keeps_offsets_and_sequences() {
    let batch = batch(Compression::Lz4, TimestampType::CreateTime, Some(77));
    let mut out = Vec::new();
    let header = write_emptied(&mut out, &batch.header).unwrap();
    assert_eq!(out.len(), BATCH_OVERHEAD_BYTES);
    verify_crc(&out).unwrap();
    let expected = BatchHeader {
        batch_length: 49,
        attributes: 16,
        base_timestamp: -1,
        record_count: 0,
        crc: header.crc,
        ..batch.header
    };
    assert_eq!(header, expected);
    assert_eq!(Batch::parse(&Bytes::from(out)).unwrap().records(0).unwrap().count(), 0);
}

#[test]
fn damaged_records_are_an_error_and_end_the_iteration() {
    let batch = batch(Compression::None, TimestampType::CreateTime, None);
    let payload = payload(&batch);
    for cut in 0..payload.len() {
        let views: Vec<_> = RecordViews::new(&batch.header, &payload[..cut]).unwrap().collect();
        assert!(views.last().unwrap().is_err() && views.iter().rev().skip(1).all(Result::is_ok), "cut at {cut}");
    }
}
