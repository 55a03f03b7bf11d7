//! Zigzag varints as `ByteUtils` reads and writes them, over a slice or over a stream of decompressed pieces.

use std::hint::cold_path;

use crate::error::Error;

/// Said of a varint of more than five bytes.
pub(crate) const OVERLONG_VARINT: &str = "a varint is longer than five bytes";

/// Where the fields of records are read from.
pub(crate) trait Input {
    /// The next byte.
    fn byte(&mut self) -> Result<u8, Error>;

    /// Passes over `count` bytes.
    fn skip(&mut self, count: usize) -> Result<(), Error>;

    /// A zigzag varint of at most five bytes; bits beyond 32 are dropped as Kafka drops them.
    #[inline]
    fn varint(&mut self) -> Result<i32, Error> {
        let first = self.byte()?;
        if first < 0x80 {
            return Ok(zigzag_32(u32::from(first)));
        }
        let mut value = u32::from(first & 0x7f);
        for shift in [7, 14, 21, 28] {
            let byte = self.byte()?;
            value |= u32::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(zigzag_32(value));
            }
        }
        Err(Error::Record(OVERLONG_VARINT))
    }

    /// A zigzag varint of at most ten bytes; bits beyond 64 are dropped as Kafka drops them.
    #[inline]
    fn varlong(&mut self) -> Result<i64, Error> {
        let mut value = 0_u64;
        for shift in [0, 7, 14, 21, 28, 35, 42, 49, 56, 63] {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(zigzag_64(value));
            }
        }
        Err(Error::Record("a varlong is longer than ten bytes"))
    }
}

/// Input from a slice.
pub(crate) struct SliceInput<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> SliceInput<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    pub(crate) fn position(&self) -> usize {
        self.position
    }

    pub(crate) fn remaining(&self) -> usize {
        self.bytes.len() - self.position
    }

    /// What was not read yet.
    #[inline]
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.position..).unwrap_or_default()
    }
}

impl Input for SliceInput<'_> {
    #[inline]
    fn byte(&mut self) -> Result<u8, Error> {
        let byte = *self.bytes.get(self.position).ok_or(Error::Record("it ends too early"))?;
        self.position += 1;
        Ok(byte)
    }

    #[inline]
    fn skip(&mut self, count: usize) -> Result<(), Error> {
        if count > self.remaining() {
            return Err(Error::Record("a field is longer than what is left"));
        }
        self.position += count;
        Ok(())
    }
}

/// The unsigned varint of at most three bytes in the lowest bits of `word`, and how many bits it takes. Bits above
/// those of the bytes that were read must be 0 or not counted on.
#[inline]
pub(crate) const fn short_varint(word: u64) -> Option<(u32, u32)> {
    let low = word as u32;
    if low & 0x80 == 0 {
        return Some((low & 0x7f, 8));
    }
    // The widths are those of the record before: a branch that is guessed right costs less than computing all of them.
    cold_path();
    let value = (low & 0x7f) | ((low >> 1) & 0x3f80);
    if low & 0x8000 == 0 {
        return Some((value, 16));
    }
    cold_path();
    if low & 0x0080_0000 == 0 { Some((value | ((low >> 2) & 0x001f_c000), 24)) } else { None }
}

pub(crate) const fn zigzag_32(value: u32) -> i32 {
    (value >> 1) as i32 ^ -((value & 1) as i32)
}

const fn zigzag_64(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// Bytes a zigzag varint takes.
pub(crate) const fn varint_len(value: i32) -> usize {
    varlong_len(value as i64)
}

/// Bytes a zigzag varlong takes.
pub(crate) const fn varlong_len(value: i64) -> usize {
    let zigzag = ((value << 1) ^ (value >> 63)) as u64;
    let bits = 64 - (zigzag | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

/// Writes a zigzag varint; the bytes of an `i32` are the same as those of a varint of Kafka's.
pub(crate) fn put_varint(out: &mut Vec<u8>, value: i32) {
    put_varlong(out, i64::from(value));
}

/// Writes a zigzag varlong.
pub(crate) fn put_varlong(out: &mut Vec<u8>, value: i64) {
    let mut zigzag = ((value << 1) ^ (value >> 63)) as u64;
    while zigzag >= 0x80 {
        out.push((zigzag as u8) | 0x80);
        zigzag >>= 7;
    }
    out.push(zigzag as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_come_back_at_every_width() {
        for bits in 0..64 {
            for value in [1_i64 << bits, (1_i64 << bits).wrapping_sub(1), (1_i64 << bits).wrapping_neg()] {
                let mut out = Vec::new();
                put_varlong(&mut out, value);
                assert_eq!(out.len(), varlong_len(value), "{value}");
                assert_eq!(SliceInput::new(&out).varlong(), Ok(value));
                let Ok(small) = i32::try_from(value) else { continue };
                let mut out = Vec::new();
                put_varint(&mut out, small);
                let mut word = [0xee; 8];
                word[..out.len()].copy_from_slice(&out);
                let short = short_varint(u64::from_le_bytes(word)).map(|(value, bits)| (zigzag_32(value), bits));
                assert_eq!(short, (out.len() < 4).then_some((small, 8 * out.len() as u32)));
                assert_eq!(out.len(), varint_len(small));
                assert_eq!(SliceInput::new(&out).varint(), Ok(small));
            }
        }
    }

    #[test]
    fn a_varint_that_never_ends_is_refused() {
        assert!(SliceInput::new(&[0xff; 5]).varint().is_err());
        assert!(SliceInput::new(&[0xff; 20]).varint().is_err());
        assert!(SliceInput::new(&[0xff; 20]).varlong().is_err());
        assert!(SliceInput::new(&[0xff; 2]).varlong().is_err());
    }
}
