//! Writing a batch: records first, header last (`MemoryRecordsBuilder`).

use bytes::Bytes;
use milena_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};

use crate::codec::Scratch;
use crate::compression::Codec;
use crate::error::Error;
use crate::header::{BATCH_OVERHEAD_BYTES, BatchHeader, Flags, LOG_OVERHEAD_BYTES, MAGIC, TimestampType, compute_crc};
use crate::record::{Header, Record};
use crate::varint::{put_varint, put_varlong, varint_len, varlong_len};

const NO_TIMESTAMP: i64 = -1;

/// What a batch is besides its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BuilderConfig {
    /// How the records are compressed.
    pub codec: Codec,
    /// With `LogAppendTime` the batch's max timestamp is `log_append_time_ms`; records keep their own deltas.
    pub timestamp_type: TimestampType,
    /// Milliseconds; looked at with `LogAppendTime` only.
    pub log_append_time_ms: i64,
    /// `NONE` without idempotence.
    pub producer_id: ProducerId,
    /// `NONE` without idempotence.
    pub producer_epoch: ProducerEpoch,
    /// -1 without idempotence.
    pub base_sequence: i32,
    /// Part of a transaction.
    pub transactional: bool,
    /// Control records.
    pub control: bool,
    /// Set by compaction: the batch's base timestamp becomes this, and records' deltas count from it.
    pub delete_horizon_ms: Option<i64>,
}

impl Default for BuilderConfig {
    /// Not compressed, create time, not idempotent.
    fn default() -> Self {
        Self {
            codec: Codec::NONE,
            timestamp_type: TimestampType::CreateTime,
            log_append_time_ms: NO_TIMESTAMP,
            producer_id: ProducerId::NONE,
            producer_epoch: ProducerEpoch::NONE,
            base_sequence: -1,
            transactional: false,
            control: false,
            delete_horizon_ms: None,
        }
    }
}

/// Collects records and makes one batch of them.
#[derive(Debug)]
pub struct BatchBuilder {
    config: BuilderConfig,
    /// 61 bytes for the header, then the records, not compressed.
    buffer: Vec<u8>,
    count: i32,
    last_offset_delta: i32,
    base_timestamp: Option<i64>,
    max_timestamp: i64,
}

impl BatchBuilder {
    /// An empty batch.
    #[must_use]
    pub fn new(config: BuilderConfig) -> Self {
        Self::with_capacity(config, 0)
    }

    /// An empty batch with room for `records_bytes` of records.
    #[must_use]
    pub fn with_capacity(config: BuilderConfig, records_bytes: usize) -> Self {
        let mut buffer = Vec::with_capacity(BATCH_OVERHEAD_BYTES + records_bytes);
        buffer.resize(BATCH_OVERHEAD_BYTES, 0);
        Self {
            config,
            buffer,
            count: 0,
            last_offset_delta: -1,
            base_timestamp: config.delete_horizon_ms,
            max_timestamp: NO_TIMESTAMP,
        }
    }

    /// Records so far.
    #[must_use]
    pub fn count(&self) -> i32 {
        self.count
    }

    /// No record yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes of the batch if it were built now without compression.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.buffer.len()
    }

    /// Appends a record at the offset after the last.
    ///
    /// # Errors
    /// `Build` if a length or a count does not fit, or if the timestamp (milliseconds) is negative and not -1.
    pub fn append(
        &mut self,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header],
    ) -> Result<(), Error> {
        let offset_delta = self.last_offset_delta.checked_add(1).ok_or(Error::Build("too many records"))?;
        self.write(offset_delta, timestamp, Fields { key, value, headers })
    }

    /// Appends a record at an offset of its own, counted from the base offset; for compaction.
    ///
    /// # Errors
    /// As `append`; `Build` if offsets do not grow.
    pub fn append_record(&mut self, offset_delta: i32, record: &Record) -> Result<(), Error> {
        if offset_delta <= self.last_offset_delta {
            return Err(Error::Build("offsets do not grow"));
        }
        let fields = Fields { key: record.key.as_deref(), value: record.value.as_deref(), headers: &record.headers };
        self.write(offset_delta, record.timestamp, fields)
    }

    /// Makes the last offset delta larger than that of the last record, as compaction does when it removed the last.
    pub fn keep_last_offset_delta(&mut self, last_offset_delta: i32) {
        self.last_offset_delta = self.last_offset_delta.max(last_offset_delta);
    }

    /// The batch. With no record in it the batch is a header only.
    ///
    /// # Errors
    /// `Build` over 2 GiB, `Compression` if the codec refuses.
    pub fn build(self, base_offset: Offset, leader_epoch: LeaderEpoch) -> Result<Bytes, Error> {
        self.build_with(base_offset, leader_epoch, &mut Scratch::new())
    }

    /// As `build`, with compression contexts kept by the caller.
    ///
    /// # Errors
    /// As `build`.
    pub fn build_with(
        self,
        base_offset: Offset,
        leader_epoch: LeaderEpoch,
        scratch: &mut Scratch,
    ) -> Result<Bytes, Error> {
        let header = BatchHeader {
            base_offset,
            batch_length: 0,
            partition_leader_epoch: leader_epoch,
            magic: MAGIC,
            crc: 0,
            attributes: self.attributes(),
            last_offset_delta: self.last_offset_delta.max(0),
            base_timestamp: self.base_timestamp.unwrap_or(NO_TIMESTAMP),
            max_timestamp: match self.config.timestamp_type {
                TimestampType::CreateTime => self.max_timestamp,
                TimestampType::LogAppendTime => self.config.log_append_time_ms,
            },
            producer_id: self.config.producer_id,
            producer_epoch: self.config.producer_epoch,
            base_sequence: self.config.base_sequence,
            record_count: self.count,
        };
        let batch = match self.config.codec {
            Codec::NONE => self.buffer,
            codec => {
                let records = self.buffer.get(BATCH_OVERHEAD_BYTES..).unwrap_or_default();
                let mut out = Vec::with_capacity(BATCH_OVERHEAD_BYTES + records.len() / 2);
                out.resize(BATCH_OVERHEAD_BYTES, 0);
                scratch.compress(codec, records, &mut out)?;
                out
            }
        };
        finish(header, batch)
    }

    fn attributes(&self) -> i16 {
        let flags = Flags {
            transactional: self.config.transactional,
            control: self.config.control,
            delete_horizon: self.config.delete_horizon_ms.is_some(),
        };
        BatchHeader::make_attributes(self.config.codec.compression, self.config.timestamp_type, flags)
    }

    fn write(&mut self, offset_delta: i32, timestamp: i64, fields: Fields<'_>) -> Result<(), Error> {
        if timestamp < NO_TIMESTAMP {
            return Err(Error::Build("a timestamp is negative"));
        }
        let base_timestamp = *self.base_timestamp.get_or_insert(timestamp);
        let timestamp_delta = timestamp.wrapping_sub(base_timestamp);
        let body = 1 + varlong_len(timestamp_delta) + varint_len(offset_delta) + fields.len()?;
        let body = i32::try_from(body).map_err(|_| Error::Build("a record is larger than 2 GiB"))?;
        put_varint(&mut self.buffer, body);
        self.buffer.push(0);
        put_varlong(&mut self.buffer, timestamp_delta);
        put_varint(&mut self.buffer, offset_delta);
        fields.put(&mut self.buffer);
        self.count += 1;
        self.last_offset_delta = offset_delta;
        self.max_timestamp = self.max_timestamp.max(timestamp);
        Ok(())
    }
}

/// Fills in length and CRC and puts the header in front of the records.
pub(crate) fn finish(mut header: BatchHeader, mut batch: Vec<u8>) -> Result<Bytes, Error> {
    let length = batch.len().saturating_sub(LOG_OVERHEAD_BYTES);
    header.batch_length = i32::try_from(length).map_err(|_| Error::Build("a batch is larger than 2 GiB"))?;
    if let Some(front) = batch.first_chunk_mut() {
        *front = header.to_array();
    }
    header.crc = compute_crc(&batch);
    if let Some(front) = batch.first_chunk_mut() {
        *front = header.to_array();
    }
    Ok(Bytes::from(batch))
}

#[derive(Clone, Copy)]
struct Fields<'a> {
    key: Option<&'a [u8]>,
    value: Option<&'a [u8]>,
    headers: &'a [Header],
}

impl Fields<'_> {
    fn len(&self) -> Result<usize, Error> {
        let count = i32::try_from(self.headers.len()).map_err(|_| Error::Build("too many headers"))?;
        let mut len = varint_len(count) + field_len(self.key)? + field_len(self.value)?;
        for header in self.headers {
            len += field_len(Some(&header.key))? + field_len(header.value.as_deref())?;
        }
        Ok(len)
    }

    fn put(&self, out: &mut Vec<u8>) {
        put_field(out, self.key);
        put_field(out, self.value);
        put_varint(out, self.headers.len() as i32);
        for header in self.headers {
            put_field(out, Some(&header.key));
            put_field(out, header.value.as_deref());
        }
    }
}

fn field_len(field: Option<&[u8]>) -> Result<usize, Error> {
    let Some(field) = field else { return Ok(1) };
    let len = i32::try_from(field.len()).map_err(|_| Error::Build("a field is larger than 2 GiB"))?;
    Ok(varint_len(len) + field.len())
}

fn put_field(out: &mut Vec<u8>, field: Option<&[u8]>) {
    match field {
        None => put_varint(out, -1),
        Some(field) => {
            put_varint(out, field.len() as i32);
            out.extend_from_slice(field);
        }
    }
}

#[cfg(test)]
#[path = "builder_tests.rs"]
mod tests;
