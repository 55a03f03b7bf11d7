//! Writes the primitive types of Kafka's protocol into segments, so that record batches are never copied to build a
//! frame. Small things go into one growing buffer; big bytes and file slices are noted with the place in that buffer
//! where they belong.

use bytes::{BufMut, Bytes, BytesMut};
use milena_types::Uuid;

use crate::{EncodeError, FileSlice, RawTaggedField, Records, Segment, Text, primitives};

/// From this size on, bytes become a segment of their own: below it a copy is cheaper than one more entry of a
/// vectored write.
const OWN_SEGMENT_MIN_BYTES: usize = 1024;

/// An encoded message that is being written.
#[derive(Debug, Default)]
pub struct Writer {
    inline: BytesMut,
    /// Pieces that are not in `inline`, each with the position in `inline` it comes at.
    outside: Vec<(usize, Segment)>,
    outside_len: usize,
    /// Depth of open tagged fields, whose sizes must be known: inside, everything is copied inline.
    tagged_depth: usize,
}

impl Writer {
    /// Nothing written.
    #[must_use]
    pub fn new() -> Writer {
        Writer::default()
    }

    /// Nothing written, with room for `bytes`.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Writer {
        Writer { inline: BytesMut::with_capacity(bytes), ..Writer::default() }
    }

    /// Bytes written, those of segments included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.inline.len() + self.outside_len
    }

    /// Whether nothing was written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends bytes as they are; big ones become a segment, without a copy.
    pub fn put_bytes(&mut self, bytes: Bytes) {
        if bytes.len() < OWN_SEGMENT_MIN_BYTES || self.tagged_depth > 0 {
            self.inline.put_slice(&bytes);
        } else {
            self.outside_len += bytes.len();
            self.outside.push((self.inline.len(), Segment::Bytes(bytes)));
        }
    }

    /// Copies bytes as they are.
    #[inline]
    pub fn put_slice(&mut self, bytes: &[u8]) {
        self.inline.put_slice(bytes);
    }

    /// Appends a stretch of a file.
    pub fn put_file(&mut self, slice: FileSlice) {
        if slice.len > 0 {
            self.outside_len += slice.len as usize;
            self.outside.push((self.inline.len(), Segment::File(slice)));
        }
    }

    /// The message as pieces, in order.
    #[must_use]
    pub fn into_segments(self) -> Vec<Segment> {
        let mut segments = Vec::with_capacity(self.outside.len() * 2 + 1);
        let mut inline = self.inline.freeze();
        let mut taken = 0;
        for (at, segment) in self.outside {
            if at > taken {
                segments.push(Segment::Bytes(inline.split_to(at - taken)));
                taken = at;
            }
            segments.push(segment);
        }
        if !inline.is_empty() {
            segments.push(Segment::Bytes(inline));
        }
        segments
    }

    /// The message as one run of bytes.
    ///
    /// # Errors
    /// `HoldsFiles`.
    pub fn into_bytes(self) -> Result<Bytes, EncodeError> {
        if self.outside.is_empty() {
            return Ok(self.inline.freeze());
        }
        let mut whole = BytesMut::with_capacity(self.len());
        for segment in self.into_segments() {
            match segment {
                Segment::Bytes(bytes) => whole.put_slice(&bytes),
                Segment::File(_) => return Err(EncodeError::HoldsFiles),
            }
        }
        Ok(whole.freeze())
    }

    /// Writes the number of bytes after the first four into those four.
    pub(crate) fn patch_size(&mut self) -> Result<(), EncodeError> {
        let length = self.len();
        let size = i32::try_from(length.saturating_sub(4)).map_err(|_| EncodeError::TooLong { length })?;
        if let Some(place) = self.inline.first_chunk_mut::<4>() {
            *place = size.to_be_bytes();
        }
        Ok(())
    }

    /// One byte.
    #[inline]
    pub fn write_i8(&mut self, value: i8) {
        self.inline.put_i8(value);
    }

    /// One byte.
    #[inline]
    pub fn write_u8(&mut self, value: u8) {
        self.inline.put_u8(value);
    }

    /// One byte, 1 or 0.
    #[inline]
    pub fn write_bool(&mut self, value: bool) {
        self.inline.put_u8(u8::from(value));
    }

    /// Two bytes.
    #[inline]
    pub fn write_i16(&mut self, value: i16) {
        self.inline.put_i16(value);
    }

    /// Two bytes.
    #[inline]
    pub fn write_u16(&mut self, value: u16) {
        self.inline.put_u16(value);
    }

    /// Four bytes.
    #[inline]
    pub fn write_i32(&mut self, value: i32) {
        self.inline.put_i32(value);
    }

    /// Four bytes.
    #[inline]
    pub fn write_u32(&mut self, value: u32) {
        self.inline.put_u32(value);
    }

    /// Eight bytes.
    #[inline]
    pub fn write_i64(&mut self, value: i64) {
        self.inline.put_i64(value);
    }

    /// Eight bytes.
    #[inline]
    pub fn write_f64(&mut self, value: f64) {
        self.inline.put_f64(value);
    }

    /// Sixteen bytes.
    #[inline]
    pub fn write_uuid(&mut self, value: Uuid) {
        self.inline.put_slice(&value.0);
    }

    /// One to five bytes.
    #[inline]
    pub fn write_uvarint(&mut self, value: u32) {
        primitives::write_uvarint(&mut self.inline, value);
    }

    /// One to five bytes, zig-zag.
    #[inline]
    pub fn write_varint(&mut self, value: i32) {
        primitives::write_varint(&mut self.inline, value);
    }

    /// One to ten bytes, zig-zag.
    #[inline]
    pub fn write_varlong(&mut self, value: i64) {
        primitives::write_varlong(&mut self.inline, value);
    }

    /// A count as a varint, as before tagged fields.
    ///
    /// # Errors
    /// `TooLong`.
    pub fn write_count(&mut self, count: usize) -> Result<(), EncodeError> {
        let count = u32::try_from(count).map_err(|_| EncodeError::TooLong { length: count })?;
        self.write_uvarint(count);
        Ok(())
    }

    /// The length of bytes or the count of an array.
    ///
    /// # Errors
    /// `TooLong`.
    #[inline]
    pub fn write_array_count(&mut self, length: usize, flexible: bool) -> Result<(), EncodeError> {
        let length = i32::try_from(length).map_err(|_| EncodeError::TooLong { length })?;
        if flexible {
            self.write_uvarint(length as u32 + 1);
        } else {
            self.write_i32(length);
        }
        Ok(())
    }

    /// Null in place of bytes, records or an array.
    #[inline]
    pub fn write_null(&mut self, flexible: bool) {
        if flexible { self.write_uvarint(0) } else { self.write_i32(-1) }
    }

    /// Null in place of a string.
    #[inline]
    pub fn write_null_string(&mut self, flexible: bool) {
        if flexible { self.write_uvarint(0) } else { self.write_i16(-1) }
    }

    /// A length and the text.
    ///
    /// # Errors
    /// `TooLong` for more than 32,767 bytes.
    #[inline]
    pub fn write_string(&mut self, text: &str, flexible: bool) -> Result<(), EncodeError> {
        let length = i16::try_from(text.len()).map_err(|_| EncodeError::TooLong { length: text.len() })?;
        if flexible {
            self.write_uvarint(length as u32 + 1);
        } else {
            self.write_i16(length);
        }
        self.inline.put_slice(text.as_bytes());
        Ok(())
    }

    /// A string that may be null.
    ///
    /// # Errors
    /// `TooLong`.
    pub fn write_nullable_string(&mut self, text: Option<&Text>, flexible: bool) -> Result<(), EncodeError> {
        match text {
            None => self.write_null_string(flexible),
            Some(text) => self.write_string(text, flexible)?,
        }
        Ok(())
    }

    /// A length and the bytes.
    ///
    /// # Errors
    /// `TooLong`.
    pub fn write_bytes(&mut self, bytes: &Bytes, flexible: bool) -> Result<(), EncodeError> {
        self.write_array_count(bytes.len(), flexible)?;
        self.put_bytes(bytes.clone());
        Ok(())
    }

    /// A length and the batches.
    ///
    /// # Errors
    /// `TooLong`.
    pub fn write_records(&mut self, records: &Records, flexible: bool) -> Result<(), EncodeError> {
        self.write_array_count(records.len(), flexible)?;
        match records {
            Records::Bytes(bytes) => self.put_bytes(bytes.clone()),
            Records::File(slice) => self.put_file(slice.clone()),
        }
        Ok(())
    }

    /// Starts the value of a tagged field, after its tag; returns where it starts.
    pub(crate) fn begin_tagged_field(&mut self) -> usize {
        self.tagged_depth += 1;
        self.inline.len()
    }

    /// Ends the value that started at `start`: puts its size in front of it.
    pub(crate) fn end_tagged_field(&mut self, start: usize) -> Result<(), EncodeError> {
        self.tagged_depth -= 1;
        let length = self.inline.len() - start;
        let size = u32::try_from(length).map_err(|_| EncodeError::TooLong { length })?;
        self.write_uvarint(size);
        if let Some(field) = self.inline.get_mut(start..) {
            field.rotate_right(primitives::uvarint_len(size));
        }
        Ok(())
    }

    /// Unknown tagged fields, without their count.
    pub(crate) fn write_unknown_tags(&mut self, fields: &[RawTaggedField]) -> Result<(), EncodeError> {
        for field in fields {
            self.write_uvarint(field.tag);
            self.write_count(field.data.len())?;
            self.put_bytes(field.data.clone());
        }
        Ok(())
    }

    /// The leading unknown tagged fields whose tags come before `tag`; returns those left.
    pub(crate) fn write_unknown_tags_below<'a>(
        &mut self,
        tag: u32,
        fields: &'a [RawTaggedField],
    ) -> Result<&'a [RawTaggedField], EncodeError> {
        let below = fields.iter().take_while(|field| field.tag < tag).count();
        let (written, left) = fields.split_at_checked(below).unwrap_or((fields, &[]));
        if left.first().is_some_and(|field| field.tag == tag) {
            return Err(EncodeError::TagCollision { tag });
        }
        self.write_unknown_tags(written)?;
        Ok(left)
    }
}
