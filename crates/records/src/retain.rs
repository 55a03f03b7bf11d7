//! What compaction does to a batch (`MemoryRecords.filterTo`): its records are looked at in place, and those that stay are
//! written as a batch with the same offsets, sequences and attributes. A record's bytes from its offset delta on are
//! copied as they are; only its time is counted from another base.

use crate::codec::Scratch;
use crate::compression::{Codec, Compression};
use crate::error::Error;
use crate::header::{BATCH_OVERHEAD_BYTES, BatchHeader, Flags, LOG_OVERHEAD_BYTES, TimestampType, compute_crc};
use crate::varint::{Input, SliceInput, put_varint, put_varlong, varlong_len};

const NO_TIMESTAMP: i64 = -1;

/// A record in its batch's decompressed bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordView<'a> {
    /// Offset minus the batch's base offset.
    pub offset_delta: i32,
    /// Time minus the batch's base timestamp, milliseconds.
    pub timestamp_delta: i64,
    /// Compaction's subject.
    pub key: Option<&'a [u8]>,
    /// Without a value the record is a tombstone.
    pub has_value: bool,
    /// The offset delta and all that follows it.
    rest: &'a [u8],
}

impl RecordView<'_> {
    /// Milliseconds: the producer's time, or the batch's max timestamp if that is the append time.
    fn timestamp(&self, header: &BatchHeader) -> i64 {
        match header.timestamp_type() {
            TimestampType::CreateTime => header.base_timestamp.wrapping_add(self.timestamp_delta),
            TimestampType::LogAppendTime => header.max_timestamp,
        }
    }
}

/// The records of a batch, from its decompressed bytes behind the header; after an error nothing more comes.
#[derive(Debug, Clone)]
pub struct RecordViews<'a> {
    rest: &'a [u8],
    remaining: i32,
}

impl<'a> RecordViews<'a> {
    /// Over `payload`, the records of the batch with `header`.
    ///
    /// # Errors
    /// `Record` if the count is negative.
    pub fn new(header: &BatchHeader, payload: &'a [u8]) -> Result<Self, Error> {
        if header.record_count < 0 {
            return Err(Error::Record("the count of records is negative"));
        }
        Ok(Self { rest: payload, remaining: header.record_count })
    }

    fn read(&mut self) -> Result<RecordView<'a>, Error> {
        let mut input = SliceInput::new(self.rest);
        let size = input.varint()?;
        let Some(body) = usize::try_from(size).ok().and_then(|size| input.rest().get(..size)) else {
            return Err(Error::Record("it is longer than the batch"));
        };
        self.rest = input.rest().get(body.len()..).unwrap_or_default();
        let mut input = SliceInput::new(body);
        input.byte()?;
        let timestamp_delta = input.varlong()?;
        let rest = input.rest();
        let offset_delta = input.varint()?;
        let key_len = input.varint()?;
        let key = match usize::try_from(key_len) {
            Ok(len) => {
                let key = input.rest().get(..len);
                input.skip(len)?;
                key
            }
            Err(_) => None,
        };
        let value_len = input.varint()?;
        if value_len > 0 {
            input.skip(value_len as usize)?;
        }
        Ok(RecordView { offset_delta, timestamp_delta, key, has_value: value_len >= 0, rest })
    }
}

impl<'a> Iterator for RecordViews<'a> {
    type Item = Result<RecordView<'a>, Error>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.remaining == 0 {
            return None;
        }
        let next = self.read();
        self.remaining = if next.is_ok() { self.remaining - 1 } else { 0 };
        Some(next)
    }
}

/// Appends to `out` the batch that keeps `kept` of the batch with `header`, of whose records they are views, and returns
/// its header. With a delete horizon that is the base timestamp.
///
/// # Errors
/// `Build` without a record or over 2 GiB, `Compression` if the codec refuses.
pub fn write_retained(
    out: &mut Vec<u8>,
    header: &BatchHeader,
    kept: &[RecordView<'_>],
    delete_horizon_ms: Option<i64>,
    scratch: &mut Scratch,
) -> Result<BatchHeader, Error> {
    let first = kept.first().ok_or(Error::Build("no record is kept"))?;
    let base_timestamp = delete_horizon_ms.unwrap_or_else(|| first.timestamp(header));
    let start = out.len();
    out.resize(start + BATCH_OVERHEAD_BYTES, 0);
    let compression = header.compression()?;
    match compression {
        Compression::None => put_records(out, header, kept, base_timestamp),
        compression => {
            let mut records = Vec::with_capacity(kept.iter().map(|record| record.rest.len() + 16).sum());
            put_records(&mut records, header, kept, base_timestamp);
            scratch.compress(Codec::from(compression), &records, out)?;
        }
    }
    let max_timestamp = match header.timestamp_type() {
        TimestampType::CreateTime => {
            kept.iter().map(|record| record.timestamp(header)).max().unwrap_or(NO_TIMESTAMP).max(NO_TIMESTAMP)
        }
        TimestampType::LogAppendTime => header.max_timestamp,
    };
    let flags = Flags { delete_horizon: delete_horizon_ms.is_some(), ..header.flags() };
    let retained = BatchHeader {
        attributes: BatchHeader::make_attributes(compression, header.timestamp_type(), flags),
        base_timestamp,
        max_timestamp,
        record_count: i32::try_from(kept.len()).map_err(|_| Error::Build("too many records"))?,
        ..*header
    };
    finish(out, start, retained)
}

/// Appends to `out` what is left of a batch that keeps no record but whose offsets and sequences must stay known
/// (`DefaultRecordBatch.writeEmptyHeader`), and returns its header.
///
/// # Errors
/// None but those of a batch over 2 GiB, which this is not.
pub fn write_emptied(out: &mut Vec<u8>, header: &BatchHeader) -> Result<BatchHeader, Error> {
    let start = out.len();
    out.resize(start + BATCH_OVERHEAD_BYTES, 0);
    let flags = Flags { delete_horizon: false, ..header.flags() };
    let emptied = BatchHeader {
        attributes: BatchHeader::make_attributes(Compression::None, header.timestamp_type(), flags),
        base_timestamp: NO_TIMESTAMP,
        record_count: 0,
        ..*header
    };
    finish(out, start, emptied)
}

fn put_records(out: &mut Vec<u8>, header: &BatchHeader, kept: &[RecordView<'_>], base_timestamp: i64) {
    for record in kept {
        let timestamp_delta = record.timestamp(header).wrapping_sub(base_timestamp);
        // The length fits: it is that of a record that was read, but for the time.
        put_varint(out, (1 + varlong_len(timestamp_delta) + record.rest.len()) as i32);
        out.push(0);
        put_varlong(out, timestamp_delta);
        out.extend_from_slice(record.rest);
    }
}

/// Fills in length, CRC and header of the batch that begins at `start` of `out`.
fn finish(out: &mut [u8], start: usize, mut header: BatchHeader) -> Result<BatchHeader, Error> {
    let batch = out.get_mut(start..).unwrap_or_default();
    let length = batch.len().saturating_sub(LOG_OVERHEAD_BYTES);
    header.batch_length = i32::try_from(length).map_err(|_| Error::Build("a batch is larger than 2 GiB"))?;
    if let Some(front) = batch.first_chunk_mut() {
        *front = header.to_array();
    }
    header.crc = compute_crc(batch);
    if let Some(front) = batch.first_chunk_mut() {
        *front = header.to_array();
    }
    Ok(header)
}

#[cfg(test)]
#[path = "retain_tests.rs"]
mod tests;
