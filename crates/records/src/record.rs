//! Records of one batch as views of its (decompressed) bytes. Keys, values and header keys are opaque; headers keep their
//! order and their duplicates. Kafka's counterpart is `DefaultRecord`.

use std::ops::Range;

use bytes::Bytes;
use milena_types::Offset;

use crate::error::Error;
use crate::header::{BatchHeader, TimestampType, increment_sequence};
use crate::varint::{Input, OVERLONG_VARINT, SliceInput};

/// Headers room is made for before they are read.
const HEADERS_RESERVED: usize = 16;

/// A header of a record. Kafka means the key to be UTF-8 but nothing checks it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    pub key: Bytes,
    pub value: Option<Bytes>,
}

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub offset: Offset,
    /// Offset minus the batch's base offset.
    pub offset_delta: i32,
    /// Milliseconds: the producer's time, or the batch's max timestamp if that is the append time.
    pub timestamp: i64,
    /// -1 if the batch has no sequences.
    pub sequence: i32,
    pub key: Option<Bytes>,
    pub value: Option<Bytes>,
    pub headers: Vec<Header>,
}

/// Iterates over the records of a batch; after an error nothing more comes.
#[derive(Debug, Clone)]
pub struct RecordIter {
    header: BatchHeader,
    payload: Bytes,
    position: usize,
    remaining: i32,
}

impl RecordIter {
    pub(crate) fn new(header: &BatchHeader, payload: Bytes) -> Result<Self, Error> {
        if header.record_count < 0 {
            return Err(Error::Record("the count of records is negative"));
        }
        Ok(Self { header: *header, payload, position: 0, remaining: header.record_count })
    }

    /// The records' bytes, decompressed.
    #[must_use]
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }

    fn read(&mut self) -> Result<Record, Error> {
        let payload = self.payload.get(self.position..).unwrap_or_default();
        let mut input = SliceInput::new(payload);
        let size = input.varint().map_err(|error| match error {
            Error::Record(OVERLONG_VARINT) if self.header.attributes & 7 == 0 => Error::RecordLength,
            other => other,
        })?;
        if size < 0 || size as usize > input.remaining() {
            return Err(Error::Record("it is longer than the batch"));
        }
        let body_start = self.position + input.position();
        let body_end = body_start + size as usize;
        let record = read_record(&self.header, &self.payload, body_start..body_end)?;
        self.position = body_end;
        if self.remaining == 1 && self.position != self.payload.len() {
            return Err(Error::Record("there are bytes behind the last record"));
        }
        Ok(record)
    }
}

impl Iterator for RecordIter {
    type Item = Result<Record, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.remaining == 0 {
            return None;
        }
        let next = self.read();
        self.remaining = if next.is_ok() { self.remaining - 1 } else { 0 };
        Some(next)
    }
}

/// The record whose fields, but for its length, are `body` of `payload`.
pub(crate) fn read_record(header: &BatchHeader, payload: &Bytes, body: Range<usize>) -> Result<Record, Error> {
    let mut fields =
        BodyReader { payload, start: body.start, input: SliceInput::new(payload.get(body).unwrap_or_default()) };
    fields.input.byte()?;
    let timestamp_delta = fields.input.varlong()?;
    let offset_delta = fields.input.varint()?;
    let key = fields.field()?;
    let value = fields.field()?;
    let headers = fields.headers()?;
    if fields.input.remaining() > 0 {
        return Err(Error::Record("its length is not that of its fields"));
    }
    let timestamp = match header.timestamp_type() {
        TimestampType::CreateTime => header.base_timestamp.wrapping_add(timestamp_delta),
        TimestampType::LogAppendTime => header.max_timestamp,
    };
    let sequence = match header.base_sequence {
        base if base >= 0 => increment_sequence(base, offset_delta),
        _ => -1,
    };
    let offset = Offset(header.base_offset.0.wrapping_add(i64::from(offset_delta)));
    Ok(Record { offset, offset_delta, timestamp, sequence, key, value, headers })
}

struct BodyReader<'a> {
    payload: &'a Bytes,
    /// Where the body starts in the payload.
    start: usize,
    input: SliceInput<'a>,
}

impl BodyReader<'_> {
    fn field(&mut self) -> Result<Option<Bytes>, Error> {
        let len = self.input.varint()?;
        if len < 0 {
            return Ok(None);
        }
        let from = self.start + self.input.position();
        self.input.skip(len as usize)?;
        Ok(Some(self.payload.slice(from..from + len as usize)))
    }

    fn headers(&mut self) -> Result<Vec<Header>, Error> {
        let count = self.input.varint()?;
        if count < 0 || count as usize > self.input.remaining() {
            return Err(Error::Record("the count of headers is out of range"));
        }
        let mut headers = Vec::with_capacity((count as usize).min(HEADERS_RESERVED));
        for _ in 0..count {
            let key = self.field()?.ok_or(Error::Record("the length of a header key is negative"))?;
            headers.push(Header { key, value: self.field()? });
        }
        Ok(headers)
    }
}
