//! Passing over records without building them: the shape checks of produce at the cost of reading their varints.
//!
//! `skip_record` is `DefaultRecord.readPartiallyFrom` (the skip-key-value iterator of compressed batches): the record's
//! own length is read and not compared. `check_record` is `DefaultRecord.readFrom`, which compares it. `quick_record` reads
//! what nearly every record looks like with a load for several fields, and leaves everything else to those two.

use std::hint::cold_path;

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
    /// What the record's own length says of them.
    pub(crate) declared_len: usize,
}

/// The record in front of `bytes` if its numbers are short and all of it is there; `None` says nothing about the record.
#[inline(always)]
pub(crate) fn quick_record(bytes: &[u8]) -> Option<QuickRecord> {
    let front = u64::from_le_bytes(*bytes.first_chunk()?);
    let (size, size_bits) = short_varint(front)?;
    let Fields { timestamp_delta, offset_delta, key_len, bits } = fields(front >> size_bits, u64::BITS - size_bits)?;
    let mut at = ((size_bits + bits) / u8::BITS) as usize;
    // Branches and no conditional moves: where the next record is must not wait for what is in this one.
    if key_len > 0 {
        cold_path();
        at += key_len as usize;
    }
    let (value_len, used) = short_varint(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))?;
    let value_len = zigzag_32(value_len);
    at += (used / u8::BITS) as usize;
    if value_len > 0 {
        at += value_len as usize;
    } else {
        cold_path();
    }
    let header_count = *bytes.get(at)?;
    at += 1;
    if header_count != 0 {
        cold_path();
        at = behind_headers(bytes, at - 1)?;
    }
    let shape = RecordShape { timestamp_delta: i64::from(timestamp_delta), offset_delta, key_len, value_len };
    // Negative lengths, which are odd, come out as something too large.
    let declared_len = (size_bits / u8::BITS + (size.rotate_right(1))) as usize;
    Some(QuickRecord { shape, len: at, declared_len })
}

/// The fields between a record's length and its key, and how many bits they take.
struct Fields {
    timestamp_delta: i32,
    offset_delta: i32,
    key_len: i32,
    bits: u32,
}

/// The fields in the lowest `available` bits of `word`, if they are all there. The first byte is the attributes, which
/// nothing looks at.
#[inline(always)]
fn fields(word: u64, available: u32) -> Option<Fields> {
    let byte = |index: u32| (word >> (index * u8::BITS)) as u32 & 0x7f;
    let fields = |timestamp_delta, offset_delta, key_len, bits| Fields {
        timestamp_delta: zigzag_32(timestamp_delta),
        offset_delta: zigzag_32(offset_delta),
        key_len: zigzag_32(key_len),
        bits,
    };
    // One byte each, or two for the offset, with one branch: so are nearly all.
    if word & 0x8080_8000 == 0 {
        return Some(fields(byte(1), byte(2), byte(3), 32));
    }
    cold_path();
    if word & 0x0080_8080_8000 == 0x0080_0000 {
        return Some(fields(byte(1), byte(2) | byte(3) << 7, byte(4), 40));
    }
    cold_path();
    let mut bits = u8::BITS;
    let (timestamp_delta, used) = short_varint(word >> bits)?;
    bits += used;
    let (offset_delta, used) = short_varint(word >> bits)?;
    bits += used;
    let (key_len, used) = short_varint(word.checked_shr(bits)?)?;
    bits += used;
    if bits <= available { Some(fields(timestamp_delta, offset_delta, key_len, bits)) } else { None }
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
