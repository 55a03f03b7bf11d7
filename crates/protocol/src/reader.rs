//! Reads the primitive types of Kafka's protocol from a frame. Invariant: a length from the wire is compared with the
//! bytes that are left before anything is allocated or sliced. Kafka's counterpart: `ByteBufferAccessor`.

use bytes::Bytes;
use milena_types::Uuid;

use crate::{DecodeError, RawTaggedField, Records, Text, primitives};

/// A position in a frame. Strings and bytes that it returns are views of the frame.
#[derive(Clone, Debug)]
pub struct Reader {
    bytes: Bytes,
    position: usize,
    /// Bytes that the elements of arrays may still take in memory.
    allowance: usize,
}

/// What a tagged field of a frame may decode to, in bytes a byte: the part of the allowance that it is given.
const TAGGED_GROWTH: usize = 256;

impl Reader {
    /// Starts at the first byte.
    #[must_use]
    pub fn new(bytes: Bytes) -> Reader {
        Self::with_allowance(bytes, usize::MAX)
    }

    /// Starts at the first byte of a frame that must not take more than `allowance` bytes decoded. An element of an
    /// array may be one byte on the wire and a hundred in memory, so that the frame's size alone bounds little.
    #[must_use]
    pub fn with_allowance(bytes: Bytes, allowance: usize) -> Reader {
        Reader { bytes, position: 0, allowance }
    }

    /// What is left of the allowance.
    #[must_use]
    pub fn allowance_left(&self) -> usize {
        self.allowance
    }

    fn spend(&mut self, bytes: usize) -> Result<(), DecodeError> {
        let left = self.allowance.checked_sub(bytes);
        self.allowance = left.ok_or(DecodeError::TooLarge { allowance: self.allowance })?;
        Ok(())
    }

    /// Bytes not read yet.
    #[inline]
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.bytes.len() - self.position
    }

    /// Whether all is read.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.remaining() == 0
    }

    /// Bytes read so far.
    #[inline]
    #[must_use]
    pub fn position(&self) -> usize {
        self.position
    }

    /// What is not read yet, as a view; the reader stays where it is.
    #[must_use]
    pub fn rest(&self) -> Bytes {
        self.bytes.slice(self.position..)
    }

    #[inline]
    fn unread(&self) -> &[u8] {
        self.bytes.get(self.position..).unwrap_or_default()
    }

    #[inline]
    fn take<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        match self.unread().first_chunk::<N>() {
            Some(chunk) => {
                let chunk = *chunk;
                self.position += N;
                Ok(chunk)
            }
            None => Err(DecodeError::Truncated { needed: N, remaining: self.remaining() }),
        }
    }

    /// The next `len` bytes as a view.
    ///
    /// # Errors
    /// `LengthBeyondEnd`.
    #[inline]
    pub fn take_bytes(&mut self, len: usize) -> Result<Bytes, DecodeError> {
        if len > self.remaining() {
            return Err(DecodeError::LengthBeyondEnd { length: len as u64, remaining: self.remaining() });
        }
        let start = self.position;
        self.position += len;
        Ok(self.bytes.slice(start..self.position))
    }

    /// # Errors
    /// `Truncated`, as for every fixed-length type below.
    #[inline]
    pub fn read_i8(&mut self) -> Result<i8, DecodeError> {
        self.take().map(i8::from_be_bytes)
    }

    /// # Errors
    /// `Truncated`.
    #[inline]
    pub fn read_u8(&mut self) -> Result<u8, DecodeError> {
        self.take().map(u8::from_be_bytes)
    }

    /// Any byte but 0 is true.
    ///
    /// # Errors
    /// `Truncated`.
    #[inline]
    pub fn read_bool(&mut self) -> Result<bool, DecodeError> {
        self.read_i8().map(|byte| byte != 0)
    }

    /// # Errors
    /// `Truncated`.
    #[inline]
    pub fn read_i16(&mut self) -> Result<i16, DecodeError> {
        self.take().map(i16::from_be_bytes)
    }

    /// # Errors
    /// `Truncated`.
    #[inline]
    pub fn read_u16(&mut self) -> Result<u16, DecodeError> {
        self.take().map(u16::from_be_bytes)
    }

    /// # Errors
    /// `Truncated`.
    #[inline]
    pub fn read_i32(&mut self) -> Result<i32, DecodeError> {
        self.take().map(i32::from_be_bytes)
    }

    /// # Errors
    /// `Truncated`.
    #[inline]
    pub fn read_u32(&mut self) -> Result<u32, DecodeError> {
        self.take().map(u32::from_be_bytes)
    }

    /// # Errors
    /// `Truncated`.
    #[inline]
    pub fn read_i64(&mut self) -> Result<i64, DecodeError> {
        self.take().map(i64::from_be_bytes)
    }

    /// # Errors
    /// `Truncated`.
    #[inline]
    pub fn read_f64(&mut self) -> Result<f64, DecodeError> {
        self.take().map(f64::from_be_bytes)
    }

    /// # Errors
    /// `Truncated`.
    #[inline]
    pub fn read_uuid(&mut self) -> Result<Uuid, DecodeError> {
        self.take().map(Uuid)
    }

    #[inline]
    fn varint<T>(&mut self, read: impl Fn(&[u8]) -> Option<(T, usize)>, max: usize) -> Result<T, DecodeError> {
        match read(self.unread()) {
            Some((value, len)) => {
                self.position += len;
                Ok(value)
            }
            None if self.remaining() >= max => Err(DecodeError::VarintTooLong),
            None if self.unread().iter().any(|byte| byte & 0x80 == 0) => Err(DecodeError::VarintTooLong),
            None => Err(DecodeError::Truncated { needed: self.remaining() + 1, remaining: self.remaining() }),
        }
    }

    /// # Errors
    /// `Truncated`, `VarintTooLong`, as for every varint below.
    #[inline]
    pub fn read_uvarint(&mut self) -> Result<u32, DecodeError> {
        self.varint(primitives::read_uvarint, 5)
    }

    /// # Errors
    /// `Truncated`, `VarintTooLong`.
    #[inline]
    pub fn read_uvarlong(&mut self) -> Result<u64, DecodeError> {
        self.varint(primitives::read_uvarlong, 10)
    }

    /// # Errors
    /// `Truncated`, `VarintTooLong`.
    #[inline]
    pub fn read_varint(&mut self) -> Result<i32, DecodeError> {
        self.varint(primitives::read_varint, 5)
    }

    /// # Errors
    /// `Truncated`, `VarintTooLong`.
    #[inline]
    pub fn read_varlong(&mut self) -> Result<i64, DecodeError> {
        self.varint(primitives::read_varlong, 10)
    }

    /// A length of bytes or a count of elements, checked against the bytes that are left: whatever has a length takes
    /// at least a byte an element. `None` is null.
    #[inline]
    fn read_length(&mut self, flexible: bool) -> Result<Option<usize>, DecodeError> {
        let length = if flexible {
            match self.read_uvarint()?.checked_sub(1) {
                None => return Ok(None),
                Some(length) => length,
            }
        } else {
            match u32::try_from(self.read_i32()?) {
                Err(_) => return Ok(None),
                Ok(length) => length,
            }
        };
        if length as usize > self.remaining() {
            return Err(DecodeError::LengthBeyondEnd { length: u64::from(length), remaining: self.remaining() });
        }
        Ok(Some(length as usize))
    }

    /// # Errors
    /// Cut, too long, or not UTF-8.
    #[inline]
    pub fn read_nullable_string(&mut self, flexible: bool) -> Result<Option<Text>, DecodeError> {
        let length = if flexible {
            match self.read_uvarint()?.checked_sub(1) {
                None => return Ok(None),
                Some(length) if length > i16::MAX as u32 => {
                    return Err(DecodeError::StringTooLong { length: u64::from(length) });
                }
                Some(length) => length as usize,
            }
        } else {
            match usize::try_from(self.read_i16()?) {
                Err(_) => return Ok(None),
                Ok(length) => length,
            }
        };
        Text::from_bytes(self.take_bytes(length)?).map(Some)
    }

    /// # Errors
    /// Null, cut, too long, or not UTF-8.
    #[inline]
    pub fn read_string(&mut self, flexible: bool) -> Result<Text, DecodeError> {
        self.read_nullable_string(flexible)?.ok_or(DecodeError::UnexpectedNull)
    }

    /// # Errors
    /// Cut.
    #[inline]
    pub fn read_nullable_bytes(&mut self, flexible: bool) -> Result<Option<Bytes>, DecodeError> {
        match self.read_length(flexible)? {
            None => Ok(None),
            Some(length) => self.take_bytes(length).map(Some),
        }
    }

    /// # Errors
    /// Null or cut.
    #[inline]
    pub fn read_bytes(&mut self, flexible: bool) -> Result<Bytes, DecodeError> {
        self.read_nullable_bytes(flexible)?.ok_or(DecodeError::UnexpectedNull)
    }

    /// # Errors
    /// Cut.
    #[inline]
    pub fn read_nullable_records(&mut self, flexible: bool) -> Result<Option<Records>, DecodeError> {
        Ok(self.read_nullable_bytes(flexible)?.map(Records::Bytes))
    }

    /// # Errors
    /// Null or cut.
    #[inline]
    pub fn read_records(&mut self, flexible: bool) -> Result<Records, DecodeError> {
        self.read_bytes(flexible).map(Records::Bytes)
    }

    /// Reads a count and that many elements, whose memory is taken out of the allowance. Memory taken ahead of the elements is never more than the bytes that are
    /// left; past that the vector grows with what was really read.
    ///
    /// # Errors
    /// A count that the frame or the allowance cannot hold, or an element that does not decode.
    pub fn read_nullable_array<T>(
        &mut self,
        flexible: bool,
        mut element: impl FnMut(&mut Reader) -> Result<T, DecodeError>,
    ) -> Result<Option<Vec<T>>, DecodeError> {
        let Some(count) = self.read_length(flexible)? else {
            return Ok(None);
        };
        self.spend(count.saturating_mul(size_of::<T>()))?;
        let justified = self.remaining() / size_of::<T>().max(1);
        let mut elements = Vec::with_capacity(count.min(justified));
        for _ in 0..count {
            elements.push(element(self)?);
        }
        Ok(Some(elements))
    }

    /// # Errors
    /// Null, and those of `read_nullable_array`.
    #[inline]
    pub fn read_array<T>(
        &mut self,
        flexible: bool,
        element: impl FnMut(&mut Reader) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        self.read_nullable_array(flexible, element)?.ok_or(DecodeError::UnexpectedNull)
    }

    /// The byte before a nullable struct.
    ///
    /// # Errors
    /// `Truncated`.
    #[inline]
    pub fn read_presence(&mut self) -> Result<bool, DecodeError> {
        self.read_i8().map(|byte| byte >= 0)
    }

    /// The varint before a nullable struct in a tagged field.
    ///
    /// # Errors
    /// Those of a varint.
    #[inline]
    pub fn read_tagged_presence(&mut self) -> Result<bool, DecodeError> {
        self.read_uvarint().map(|byte| byte as i32 > 0)
    }

    /// The next tagged field: its tag and a reader that holds just its value.
    ///
    /// # Errors
    /// Cut, or more than the allowance.
    pub fn read_tagged_field(&mut self) -> Result<(u32, Reader), DecodeError> {
        let tag = self.read_uvarint()?;
        let value = {
            let size = self.read_uvarint()?;
            self.take_bytes(size as usize)?
        };
        // The field is kept, if it is unknown, or decoded with a share of what may be taken.
        let share = value.len().saturating_mul(TAGGED_GROWTH).min(self.allowance);
        self.spend(share.max(size_of::<RawTaggedField>()))?;
        Ok((tag, Reader::with_allowance(value, share)))
    }

    pub(crate) fn finish_tagged_field(&self, tag: u32) -> Result<(), DecodeError> {
        match self.remaining() {
            0 => Ok(()),
            remaining => Err(DecodeError::TaggedFieldSize { tag, remaining }),
        }
    }
}
