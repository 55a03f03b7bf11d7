//! Writing the records of a produced batch anew in the topic's codec (`LogValidator.buildRecordsAndAssignOffsets`).
//!
//! Records are taken off the stream one by one, so what is held is one record and the batch that is built.

use bytes::Bytes;
use milena_types::{Offset, ProducerEpoch, ProducerId, Timestamp};

use crate::batch::Batch;
use crate::builder::{BatchBuilder, BuilderConfig};
use crate::codec::{Scratch, StreamInput};
use crate::compression::{Codec, Compression};
use crate::error::Error;
use crate::header::{BATCH_OVERHEAD_BYTES, BatchHeader};
use crate::produce::{ProduceRules, TargetCompression, ValidBatch, check_size};
use crate::record::{Record, RecordIter, read_record};
use crate::record_checks::RecordChecks;
use crate::reject::RejectReason;
use crate::varint::Input;
use crate::walk::RecordShape;

/// The batch in the codec the rules name. Offsets count up from 0 whatever they were.
pub(crate) fn rebuild(
    batch: &Batch,
    rules: &ProduceRules,
    now: Timestamp,
    scratch: &mut Scratch,
) -> Result<ValidBatch, RejectReason> {
    let header = &batch.header;
    let mut copy = Copy {
        checks: RecordChecks::new(header, rules, now),
        builder: BatchBuilder::with_capacity(rebuild_config(header, rules, now)?, batch.bytes.len()),
        base_timestamp: header.base_timestamp,
        unbuildable: check_producer(header).err(),
    };
    match header.compression()? {
        Compression::None => {
            for record in RecordIter::new(header, batch.payload())? {
                copy.record(&record?);
            }
        }
        compression => {
            let payload = batch.bytes.get(BATCH_OVERHEAD_BYTES..).unwrap_or_default();
            let limit_bytes = rules.max_rebuilt_bytes.min(rules.max_decompressed_bytes);
            let mut input = scratch.stream(compression, payload, limit_bytes)?;
            copy_stream(header, &mut input, &mut copy)?;
        }
    }
    copy.checks.finish()?;
    if let Some(error) = copy.unbuildable {
        return Err(error.into());
    }
    let bytes = copy.builder.build_with(Offset(0), header.partition_leader_epoch, scratch)?;
    check_size(bytes.len(), rules)?;
    Ok(ValidBatch { header: BatchHeader::parse(&bytes)?, bytes })
}

/// Every record of a compressed batch (`DefaultRecordBatch.streamingIterator`).
fn copy_stream(header: &BatchHeader, input: &mut StreamInput<'_>, copy: &mut Copy<'_>) -> Result<(), Error> {
    if header.record_count < 0 {
        return Err(Error::Record("the count of records is negative"));
    }
    for left in (0..header.record_count).rev() {
        let size = usize::try_from(input.varint()?).map_err(|_| Error::Record("the length of a record is negative"))?;
        let mut body = Vec::new();
        input.take(size, &mut body)?;
        let body = Bytes::from(body);
        let record = read_record(header, &body, 0..body.len())?;
        if left == 0 && !input.at_end()? {
            return Err(Error::Record("there are bytes behind the last record"));
        }
        copy.record(&record);
    }
    Ok(())
}

/// A batch in the making.
struct Copy<'a> {
    checks: RecordChecks<'a>,
    builder: BatchBuilder,
    base_timestamp: i64,
    /// The first reason why there can be no batch of these records, which counts after what is wrong with the records.
    unbuildable: Option<Error>,
}

impl Copy<'_> {
    fn record(&mut self, record: &Record) {
        self.checks.record(&RecordShape {
            timestamp_delta: record.timestamp.wrapping_sub(self.base_timestamp),
            offset_delta: record.offset_delta,
            key_len: record.key.as_ref().map_or(-1, |key| key.len() as i32),
            value_len: record.value.as_ref().map_or(-1, |value| value.len() as i32),
        });
        if self.unbuildable.is_none() {
            let (key, value) = (record.key.as_deref(), record.value.as_deref());
            self.unbuildable = self.builder.append(record.timestamp, key, value, &record.headers).err();
        }
    }
}

fn rebuild_config(header: &BatchHeader, rules: &ProduceRules, now: Timestamp) -> Result<BuilderConfig, Error> {
    let codec = match rules.compression {
        TargetCompression::Codec(codec) => codec,
        TargetCompression::Producer => Codec::from(header.compression()?),
    };
    Ok(BuilderConfig {
        codec,
        timestamp_type: rules.timestamp_type,
        log_append_time_ms: now.0,
        producer_id: header.producer_id,
        producer_epoch: header.producer_epoch,
        base_sequence: header.base_sequence,
        transactional: header.is_transactional(),
        control: false,
        delete_horizon_ms: None,
    })
}

/// What Kafka's builder asks of a producer (`MemoryRecordsBuilder.validateProducerState`).
fn check_producer(header: &BatchHeader) -> Result<(), Error> {
    let (id, epoch) = (header.producer_id, header.producer_epoch);
    if header.is_transactional() && id == ProducerId::NONE {
        return Err(Error::Build("a transactional batch has no producer id"));
    }
    if id != ProducerId::NONE && epoch == ProducerEpoch::NONE {
        return Err(Error::Build("a producer id has no epoch"));
    }
    if id != ProducerId::NONE && header.base_sequence < 0 {
        return Err(Error::Build("a producer id has no sequence"));
    }
    Ok(())
}
