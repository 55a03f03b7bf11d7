//! Passing over records without building them: the shape checks of produce at the cost of reading their varints.
//!
//! `skip_record` is `DefaultRecord.readPartiallyFrom` (the skip-key-value iterator of compressed batches): the record's
//! own length is read and not compared. `check_record` is `DefaultRecord.readFrom`, which compares it.

use crate::error::Error;
use crate::varint::{Input, OVERLONG_VARINT, SliceInput};

/// What validation wants to know of a record.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RecordShape {
    pub(crate) timestamp_delta: i64,
    pub(crate) offset_delta: i32,
    /// -1 if there is no key; other negative lengths mean the same.
    pub(crate) key_len: i32,
    /// As `key_len`.
    pub(crate) value_len: i32,
}

impl RecordShape {
    pub(crate) fn has_key(&self) -> bool {
        self.key_len >= 0
    }
}

/// One record whose declared length is ignored.
#[inline]
pub(crate) fn skip_record<I: Input>(input: &mut I) -> Result<RecordShape, Error> {
    input.varint()?;
    skip_body(input)
}

/// One record whose declared length must be that of its fields.
#[inline]
pub(crate) fn check_record(input: &mut SliceInput<'_>) -> Result<RecordShape, Error> {
    let size = input.varint().map_err(|error| match error {
        Error::Record(OVERLONG_VARINT) => Error::RecordLength,
        other => other,
    })?;
    let start = input.position();
    if size < 0 || size as usize > input.remaining() {
        return Err(Error::Record("it is longer than the batch"));
    }
    let shape = skip_body(input)?;
    if input.position() - start != size as usize {
        return Err(Error::Record("its length is not that of its fields"));
    }
    Ok(shape)
}

#[inline]
fn skip_body<I: Input>(input: &mut I) -> Result<RecordShape, Error> {
    input.byte()?;
    let timestamp_delta = input.varlong()?;
    let offset_delta = input.varint()?;
    let key_len = skip_field(input)?;
    let value_len = skip_field(input)?;
    let header_count = input.varint()?;
    if header_count < 0 {
        return Err(Error::Record("the count of headers is negative"));
    }
    for _ in 0..header_count {
        if skip_field(input)? < 0 {
            return Err(Error::Record("the length of a header key is negative"));
        }
        skip_field(input)?;
    }
    Ok(RecordShape { timestamp_delta, offset_delta, key_len, value_len })
}

#[inline]
fn skip_field<I: Input>(input: &mut I) -> Result<i32, Error> {
    let len = input.varint()?;
    if len > 0 {
        input.skip(len as usize)?;
    }
    Ok(len)
}
