//! Passing over records without building them: the shape checks of produce at the cost of reading their varints.
//!
//! `skip_record` is `DefaultRecord.readPartiallyFrom` (the skip-key-value iterator of compressed batches): the record's
//! own length is read and not compared. `check_record` is `DefaultRecord.readFrom`, which compares it. `quick_record` reads
//! what nearly every record looks like with a load for several fields, and leaves everything else to those two.

use crate::error::Error;
use crate::varint::{Input, OVERLONG_VARINT, SliceInput, short_varint, zigzag_32};

/// What validation wants to know of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

/// A record that `quick_record` knows.
pub(crate) struct QuickRecord {
    pub(crate) shape: RecordShape,
    /// Bytes of all of the record.
    pub(crate) len: usize,
    /// Whether that is what the record's own length says.
    pub(crate) has_declared_len: bool,
}

/// The record in front of `bytes` if its numbers are short and all of it is there; `None` says nothing about the record.
#[inline(always)]
pub(crate) fn quick_record(bytes: &[u8]) -> Option<QuickRecord> {
    let front = u64::from_le_bytes(*bytes.first_chunk()?);
    let (size, size_bits) = short_varint(front)?;
    let mut bits = size_bits + u8::BITS;
    let (timestamp_delta, used) = short_varint(front >> bits)?;
    bits += used;
    let (offset_delta, used) = short_varint(front >> bits)?;
    bits += used;
    if bits > u64::BITS {
        return None;
    }
    let mut at = (bits / u8::BITS) as usize;
    let mut word = u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?);
    let (key_len, used) = short_varint(word)?;
    let key_len = zigzag_32(key_len);
    at += (used / u8::BITS) as usize;
    word >>= used;
    if key_len > 0 {
        at += key_len as usize;
        word = u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?);
    }
    let (value_len, used) = short_varint(word)?;
    let value_len = zigzag_32(value_len);
    at += (used / u8::BITS) as usize + value_len.max(0) as usize;
    let header_count = *bytes.get(at)?;
    at += 1;
    if header_count != 0 {
        at = behind_headers(bytes, at - 1)?;
    }
    let shape = RecordShape {
        timestamp_delta: i64::from(zigzag_32(timestamp_delta)),
        offset_delta: zigzag_32(offset_delta),
        key_len,
        value_len,
    };
    let declared = i64::from(zigzag_32(size)) + i64::from(size_bits / u8::BITS);
    Some(QuickRecord { shape, len: at, has_declared_len: declared == at as i64 })
}

/// Where the headers end whose count is at `at`.
#[inline(never)]
fn behind_headers(bytes: &[u8], at: usize) -> Option<usize> {
    let mut input = SliceInput::new(bytes.get(at..)?);
    skip_headers(&mut input).ok()?;
    Some(at + input.position())
}

/// One record whose declared length is ignored.
#[inline(never)]
pub(crate) fn skip_record<I: Input>(input: &mut I) -> Result<RecordShape, Error> {
    input.varint()?;
    skip_body(input)
}

/// One record whose declared length must be that of its fields.
#[inline(never)]
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
    skip_headers(input)?;
    Ok(RecordShape { timestamp_delta, offset_delta, key_len, value_len })
}

#[inline]
fn skip_headers<I: Input>(input: &mut I) -> Result<(), Error> {
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
    Ok(())
}

#[inline]
fn skip_field<I: Input>(input: &mut I) -> Result<i32, Error> {
    let len = input.varint()?;
    if len > 0 {
        input.skip(len as usize)?;
    }
    Ok(len)
}

#[cfg(test)]
#[path = "walk_tests.rs"]
mod tests;
